package imap

import (
	"slices"
	"sort"
	"time"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// Limits of the searches that are kept for a session (RFC 5267 section 4.3.1). The first one may find as much as there is.
const (
	maxContexts      = 8
	maxContextKeys   = 256              // keys of one
	maxContextText   = 16 << 10         // bytes of its strings
	maxContextRanges = 32 << 10         // ranges of UIDs, and UIDs of sorted ones, of all of them, from the second one on
	contextAge       = 10 * time.Second // after which keys that go by the clock are looked at again
)

// searchContext is a search whose result the client keeps and is told the changes of (CONTEXT=SEARCH, RFC 5267 section 4.3).
type searchContext struct {
	tag   string
	uid   bool
	box   *storage.Mailbox // as ESEARCH names it; nil for SEARCH
	key   wire.Key         // without sequence numbers
	found []uidRange       // what the client believes; messages that went may be in it

	criteria []wire.SortCriterion // of SORT
	order    []uint32             // of SORT: the UIDs in the order that the client knows

	fetch *wire.FetchOptions // what the client wants of new messages; nil: nothing

	clock bool // a key goes by the clock
	whole bool // a key goes by other messages: what did not change may match now or no longer
	last  time.Time
}

// contexts are those of a view.
type contexts []*searchContext

// find is the one of a tag.
func (l contexts) find(tag string) int {
	return slices.IndexFunc(l, func(x *searchContext) bool { return x.tag == tag })
}

// keep has the client told of changes to what was found. Where that is too much, it is told so, and the search stands. box is for ESEARCH.
//
// RFC 5267 section 4.3: sequence numbers in the keys, and "$", stand for the messages that they name now.
func (c *client) keep(t *task, o *wire.ReturnOptions, r *result, box *storage.Mailbox) {
	x := &searchContext{tag: t.tag, uid: t.uid(), box: box, fetch: o.Fetch, last: time.Now()}
	size := weight{}
	x.key = x.freeze(c.view, r.key, r.saved, &size)
	if x.criteria = r.criteria; x.criteria != nil {
		x.order = uidsOf(r.p, r.found)
		r.found = slices.Sorted(slices.Values(r.found))
	}
	x.found = rangesOf(r.p, r.found)
	ranges := len(x.found) + len(x.order)
	for _, other := range c.view.contexts {
		ranges += len(other.found) + len(other.order)
	}
	if n := len(c.view.contexts); n == maxContexts || size.keys > maxContextKeys || size.text > maxContextText || n > 0 && ranges > maxContextRanges {
		c.noUpdate(t.tag, "Too many contexts")
		return
	}
	c.view.contexts = append(c.view.contexts, x)
}

func (c *client) noUpdate(tag, why string) {
	c.e.Raw(`* NO [NOUPDATE "`, tag, `"] `, why).CRLF()
}

// weight is what a key takes.
type weight struct{ keys, text int }

// freeze copies a key with UIDs instead of what would mean other messages later.
func (x *searchContext) freeze(v *view, k *wire.Key, saved []uidRange, size *weight) wire.Key {
	f := *k
	size.keys += 1 + len(k.Set.Ranges)/8
	size.text += len(k.Text) + len(k.Field) + len(k.Flag)
	switch {
	case k.Kind == wire.KeySeq || k.Kind == wire.KeyUID && k.Set.Saved:
		spans := savedSpans(v.snap, saved)
		if !k.Set.Saved {
			spans, _ = v.resolve(k.Set, false, false)
		}
		f.Kind, f.Set = wire.KeyUID, wire.NumSet{}
		for _, s := range spans {
			f.Set.Ranges.AddRange(v.snap.UID(s.first), v.snap.UID(s.end-1))
		}
		size.keys += len(spans) / 8
	case k.Kind == wire.KeyUID:
		for _, r := range k.Set.Ranges {
			// "*" alone, or with a number beyond it, means another message when one comes or goes
			other := max(r.Start, r.Stop)
			x.whole = x.whole || min(r.Start, r.Stop) == 0 && (other == 0 || uint64(other)+1 >= uint64(v.snap.UIDNext()))
		}
	case k.Kind == wire.KeyOlder || k.Kind == wire.KeyYounger:
		x.clock = true
	}
	f.Keys = make([]wire.Key, len(k.Keys))
	for i := range k.Keys {
		f.Keys[i] = x.freeze(v, &k.Keys[i], saved, size)
	}
	return f
}

// has tells whether the client believes that a message matches.
func (x *searchContext) has(uid uint32) bool {
	i := sort.Search(len(x.found), func(i int) bool { return x.found[i].end > uid })
	return i < len(x.found) && x.found[i].first <= uid
}

// tellLeaving tells what expunges take from the results. It comes before the expunges are told, so that numbers are still those of old
// (RFC 5267 section 4.3.4). gone are descending indexes in it.
func (c *client) tellLeaving(old *storage.Snapshot, gone []int) {
	for _, x := range c.view.contexts {
		var out []int
		for _, i := range slices.Backward(gone) {
			if x.has(old.UID(i)) {
				out = append(out, i)
			}
		}
		if x.criteria != nil {
			x.tellSorted(c, old, nil, out)
		} else {
			x.tell(c, old, nil, out)
		}
	}
}

// tellUpdates tells what other changes did to the results, when those were told themselves: changed are indexes, added is how many are new, gone
// whether others went.
func (c *client) tellUpdates(changed []int, added int, gone bool) {
	v := c.view
	if len(v.contexts) == 0 {
		return
	}
	now := time.Now()
	candidates := slices.Clone(changed)
	for i := v.snap.Len() - added; i < v.snap.Len(); i++ {
		candidates = append(candidates, i)
	}
	kept := v.contexts[:0]
	for _, x := range v.contexts {
		if c.update(x, candidates, added, x.whole && (gone || added > 0), now) {
			kept = append(kept, x)
		} else {
			c.noUpdate(x.tag, "The search cannot be kept up")
		}
	}
	clear(v.contexts[len(kept):])
	v.contexts = kept
}

// update looks at candidates again, or at all messages, and tells what that did to a result. False: it could not.
func (c *client) update(x *searchContext, candidates []int, added int, all bool, now time.Time) bool {
	v := c.view
	if all || x.clock && now.Sub(x.last) >= contextAge {
		candidates = candidates[:0:0]
		for i := range v.snap.Len() {
			candidates = append(candidates, i)
		}
		x.last = now
	}
	if len(candidates) == 0 {
		return true
	}
	w := c.searching(&task{tag: x.tag})
	w.told, w.closed = w.deadline, true // its command was answered: nothing is in progress
	s, err := w.compile(v, &x.key, nil)
	if err != nil {
		return false
	}
	found, err := s.among(candidates)
	if err != nil {
		return false
	}
	var in, out []int
	for _, i := range candidates {
		matches := len(found) > 0 && found[0] == i
		if matches {
			found = found[1:]
		}
		switch was := x.has(v.snap.UID(i)); {
		case matches && !was:
			in = append(in, i)
		case was && !matches:
			out = append(out, i)
		}
	}
	x.apply(v.snap, in, out)
	first, _ := slices.BinarySearch(in, v.snap.Len()-added)
	if x.fetch != nil && first < len(in) && x.tellNew(c, in[first:]) != nil {
		return false
	}
	if x.criteria == nil {
		x.tell(c, v.snap, in, out)
		return true
	}
	order, err := x.place(w, v.snap, in, out)
	if err == nil {
		x.tellSorted(c, v.snap, order, out)
	}
	return err == nil
}

// tellNew tells what the client wants of messages that are new in the mailbox and in the result (RFC 5465 section 7).
func (x *searchContext) tellNew(c *client, indexes []int) error {
	o := *x.fetch
	o.UID = o.UID || x.uid
	return c.pushFetch(&o, spansOf(indexes))
}

// spansOf are ascending indexes as spans.
func spansOf(indexes []int) (out []span) {
	for _, i := range indexes {
		out = withIndex(out, i)
	}
	return out
}

// tell gives ADDTO and REMOVEFROM. RFC 5267 section 4.3.3: position 0 has the client keep the mailbox's order.
func (x *searchContext) tell(c *client, p *storage.Snapshot, in, out []int) {
	if len(in)+len(out) == 0 {
		return
	}
	r := &result{p: p}
	c.correlate(x.tag, x.box)
	if x.uid {
		c.e.Raw(" UID")
	}
	for _, d := range []struct {
		word    string
		indexes []int
	}{{" REMOVEFROM (0 ", out}, {" ADDTO (0 ", in}} {
		if len(d.indexes) > 0 {
			c.e.Raw(d.word)
			c.tellSet(d.indexes, x.uid, r)
			c.e.Raw(")")
		}
	}
	c.e.CRLF()
}

// apply keeps what was told. in and out are ascending indexes.
func (x *searchContext) apply(p *storage.Snapshot, in, out []int) {
	if len(in)+len(out) == 0 {
		return
	}
	var now []uidRange
	put := func(first, end uint32) {
		if n := len(now); n > 0 && first <= now[n-1].end {
			now[n-1].end = max(now[n-1].end, end)
		} else if first < end {
			now = append(now, uidRange{first, end})
		}
	}
	for _, r := range x.found {
		for ; len(in) > 0 && p.UID(in[0]) < r.first; in = in[1:] {
			put(p.UID(in[0]), p.UID(in[0])+1)
		}
		for ; len(out) > 0 && p.UID(out[0]) < r.end; out = out[1:] {
			put(r.first, p.UID(out[0]))
			r.first = p.UID(out[0]) + 1
		}
		put(r.first, r.end)
	}
	for _, i := range in {
		put(p.UID(i), p.UID(i)+1)
	}
	x.found = now
}

// aged tells whether a result may have changed although no message did.
func (v *view) aged() bool {
	return slices.ContainsFunc(v.contexts, func(x *searchContext) bool { return x.clock && time.Since(x.last) >= contextAge })
}

// cancelUpdate is CANCELUPDATE (RFC 5267 section 4.3.5).
func (c *client) cancelUpdate(*task) error {
	var tags []string
	for c.d.SP() {
		tags = append(tags, c.d.String())
		if c.d.AtEnd() || len(tags) > maxContexts {
			break
		}
	}
	if !c.d.EOL() {
		return nil
	}
	v := c.view
	for _, tag := range tags {
		if v.contexts.find(tag) < 0 {
			return &wire.Error{Text: "No such context"}
		}
	}
	v.contexts = slices.DeleteFunc(v.contexts, func(x *searchContext) bool { return slices.Contains(tags, x.tag) })
	return nil
}
