package imap

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/watch"
)

// view is what the client was told of the mailbox that it has selected. Sequence
// number n is snap.At(n-1); a new snapshot takes the old one's place only when all that
// differs was told, so the numbers of both sides always agree (RFC 9051 section 7.5.1). Messages that went and may not be told of yet
// are kept in it (storage.Snapshot.Keeping).
type view struct {
	account  int64 // the owner's
	id       int64
	name     string
	readOnly bool
	guest    *guest // nil: the mailbox is the account's own
	snap     *storage.Snapshot
	saved    []uidRange // ascending: the result of SEARCH RETURN (SAVE) that "$" stands for, as far as it is still there
	recent   []uidRange // ascending; none for a client of rev2, which knows no \Recent
	toldSeq  uint64     // greatest mod-sequence told since tellBehind looked; 0: none
	behind   bool       // tellBehind told HIGHESTMODSEQ below what was told
	contexts contexts   // searches whose result the client is told the changes of
}

func (v *view) topic() watch.Topic { return watch.Topic{Account: v.account, Mailbox: v.id} }

// change is what this session did to flags itself, just now. The command that did it tells of these messages.
type change struct {
	uids     []uint32 // ascending
	op       storage.FlagOp
	flags    storage.Flags
	keywords []string
	bits     uint64        // of keywords, for known
	newFirst bool          // new messages are told of before those that went: REPLACE
	keep     storage.Flags // flags that a change to those given leaves as they are
	keepKeys bool          // so are keywords
}

func (o *change) keepWords() uint64 {
	if o.keepKeys {
		return ^uint64(0)
	}
	return 0
}

// mine tells whether a message is one of those.
func (o *change) mine(uid uint32) bool {
	if o == nil {
		return false
	}
	_, ok := slices.BinarySearch(o.uids, uid)
	return ok
}

// known tells whether the client knows the flags of m without being told: it asked for them, and nobody else changed them since they were
// old's.
func (o *change) known(old, m storage.Entry) bool {
	flags, bits := old.Flags, old.Keywords
	switch o.op {
	case storage.FlagsAdd:
		flags, bits = flags|o.flags, bits|o.bits
	case storage.FlagsRemove:
		flags, bits = flags&^o.flags, bits&^o.bits
	default:
		flags, bits = flags&o.keep|o.flags, bits&o.keepWords()|o.bits
	}
	return flags == m.Flags && bits == m.Keywords
}

// keywordBits are the bits of keywords in a snapshot; of one that nobody has there is none.
func keywordBits(p *storage.Snapshot, keywords []string) (bits uint64) {
	for bit, name := range p.Keywords() {
		if slices.ContainsFunc(keywords, func(k string) bool { return strings.EqualFold(k, name) }) {
			bits |= 1 << bit
		}
	}
	return bits
}

// newest is the mailbox's snapshot as of now. A mailbox that was deleted under the client ends its connection (RFC 2180 section 3.3).
func (c *client) newest() (*storage.Snapshot, error) {
	p, err := c.srv.store.Snapshot(c.ctx(), c.view.id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &errBye{text: "Selected mailbox was deleted"}
	}
	return p, err
}

// sync tells the client what changed since it was told last. Without expunge all but what went. uid: the
// FETCH responses tell UIDs too (RFC 9051 section 6.4.9).
func (c *client) sync(expunge, uid bool) error { return c.syncBut(expunge, uid, nil) }

// syncBut leaves out the messages of the client's own change.
func (c *client) syncBut(expunge, uid bool, own *change) error {
	v := c.view
	if v == nil {
		return nil
	}
	if err := c.recheck(); err != nil {
		return err
	}
	now, err := c.newest()
	if err != nil {
		return err
	}
	if now == v.snap && !v.aged() {
		return nil
	}
	flags := c.wants(wire.FlagChange)
	uid = uid || c.notify != nil // RFC 5465 section 5.1
	gone, changed, added := now.Diff(v.snap)
	if len(gone) > 0 && !expunge {
		if len(changed)+added == 0 {
			return nil
		}
		// All else is told, and what the client does next sees it: only the messages that went stay until it may know.
		now = now.Keeping(v.snap, gone)
		gone, changed, added = now.Diff(v.snap)
	}
	newFirst := own != nil && own.newFirst
	if added > 0 && newFirst {
		c.e.Raw("* ").Num(uint64(v.snap.Len() + added)).Raw(" EXISTS").CRLF()
	}
	c.tellLeaving(v.snap, gone)
	c.tellGone(v.snap, gone)
	old := v.snap
	v.snap = now
	if added > 0 {
		if !newFirst {
			c.e.Raw("* ").Num(uint64(now.Len())).Raw(" EXISTS").CRLF()
		}
		c.tellRecent(len(v.recent) > 0)
	}
	if n := len(now.Keywords()); n > len(old.Keywords()) {
		c.tellFlags(now)
		if n == maxKeywords {
			c.tellPermanent(now, v) // RFC 9051 section 7.1: without \*
		}
	}
	for _, i := range changed {
		if m := now.At(i); flags && !own.mine(m.UID) && (c.condstore || updated(old, now, m.UID)) {
			c.tellMessage(now, i, m, uid)
		}
	}
	c.tellUpdates(changed, added, len(gone) > 0)
	// RFC 5465 section 5.2: what NOTIFY fetches of new messages follows what they add to results; what UPDATE fetches (section 7) comes before it.
	if err := c.tellArrivals(added); err != nil {
		return err
	}
	return c.e.Err()
}

// tellGone tells expunges; indexes in old are descending, so that no number is moved by the one before it.
func (c *client) tellGone(old *storage.Snapshot, gone []int) {
	if c.qresync || c.uidOnly {
		c.tellVanished(old, gone)
		return
	}
	for _, i := range gone {
		b := append(c.e.Buf(), "* "...)
		b = wire.AppendNumber(b, uint64(i+1))
		c.e.Set(append(b, " EXPUNGE"...))
		c.e.CRLF()
	}
}

// tellRecent looks for messages that are recent to this session and tells their number, if there are new ones or always. To a client
// of rev2, which knows nothing of them, it says nothing, but they are nobody else's then.
func (c *client) tellRecent(always bool) {
	v := c.view
	v.meet(c.srv.o.Recents, v.snap)
	if c.rev2 {
		v.recent = nil
		return
	}
	if always || len(v.recent) > 0 {
		c.e.Raw("* ").Num(uint64(count(v.recentSpans()))).Raw(" RECENT").CRLF()
	}
}

// tellMessage tells a message's flags. uid: during a UID command.
func (c *client) tellMessage(p *storage.Snapshot, i int, m storage.Entry, uid bool) {
	b := c.head(c.e.Buf(), i, m.UID)
	if c.tellUID(uid) {
		b = wire.AppendNumber(append(b, "UID "...), uint64(m.UID))
		b = append(b, ' ')
	}
	b = appendFlags(b, m, p.Keywords(), c.view.isRecent(m.UID))
	if c.condstore {
		b = c.appendModSeq(append(b, ' '), m)
	}
	c.e.Set(append(b, ')'))
	c.e.CRLF()
}

// flagNames in the order of the bits of storage.Flags.
var flagNames = [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}

// appendFlags appends FLAGS (...).
func appendFlags(b []byte, m storage.Entry, keywords []string, recent bool) []byte {
	b = append(b, "FLAGS ("...)
	start := len(b)
	for bit, name := range flagNames {
		if m.Flags&(1<<bit) != 0 {
			b = append(spaced(b, start), name...)
		}
	}
	if recent {
		b = append(spaced(b, start), `\Recent`...)
	}
	for k := m.Keywords; k != 0; k &= k - 1 {
		if bit := trailing(k); bit < len(keywords) {
			b = append(spaced(b, start), keywords[bit]...)
		}
	}
	return append(b, ')')
}

func spaced(b []byte, start int) []byte {
	if len(b) > start {
		return append(b, ' ')
	}
	return b
}

// span is a run of indexes in a snapshot, first included, end not.
type span struct{ first, end int }

// count is how many messages spans hold.
func count(spans []span) (n int) {
	for _, s := range spans {
		n += s.end - s.first
	}
	return n
}

// each yields the indexes of spans in order.
func each(spans []span) func(func(int) bool) {
	return func(yield func(int) bool) {
		for _, s := range spans {
			for i := s.first; i < s.end; i++ {
				if !yield(i) {
					return
				}
			}
		}
	}
}

// withIndex adds an index behind the last one.
func withIndex(spans []span, i int) []span {
	if n := len(spans); n > 0 && spans[n-1].end == i {
		spans[n-1].end++
		return spans
	}
	return append(spans, span{i, i + 1})
}

// filter keeps the indexes of spans for which keep holds.
func filter(spans []span, keep func(i int) bool) []span {
	var out []span
	for i := range each(spans) {
		if !keep(i) {
			continue
		}
		out = withIndex(out, i)
	}
	return out
}

// named are the messages that the set of a command names. The command was wholly read: so for a UID command what changed may be
// told first, expunges too, and a message that came a moment ago is found by its UID.
func (c *client) named(t *task, s wire.NumSet) ([]span, error) {
	if t.uid() {
		if err := c.sync(true, true); err != nil {
			return nil, err
		}
	}
	return c.view.resolve(s, t.uid(), true)
}

// resolve lays a set over what the client was told: ascending spans without overlap. The set is never written out. strict: a sequence
// number that is not there is an error (RFC 9051 section 9, seq-number).
func (v *view) resolve(s wire.NumSet, uid, strict bool) ([]span, error) {
	p := v.snap
	if s.Saved {
		return savedSpans(p, v.saved), nil
	}
	spans := make([]span, 0, len(s.Ranges))
	for _, r := range s.Ranges {
		var sp span
		if uid {
			sp = uidSpan(p, r.Start, r.Stop)
		} else {
			first, last := star(r.Start, uint32(p.Len())), star(r.Stop, uint32(p.Len()))
			first, last = min(first, last), max(first, last)
			if strict && (first == 0 || int(last) > p.Len()) {
				return nil, &wire.Error{Text: "No message of that number"}
			}
			sp = span{max(int(first), 1) - 1, min(int(last), p.Len())}
		}
		if sp.first < sp.end {
			spans = append(spans, sp)
		}
	}
	return merge(spans), nil
}

func star(n, largest uint32) uint32 {
	if n == 0 {
		return largest
	}
	return n
}

// uidSpan: "*" is the largest UID, also when the other end is beyond it (RFC 9051 section 9, seq-range).
func uidSpan(p *storage.Snapshot, a, b uint32) span {
	if p.Len() == 0 {
		return span{}
	}
	largest := p.UID(p.Len() - 1)
	a, b = star(a, largest), star(b, largest)
	a, b = min(a, b), max(a, b)
	first, _ := p.Find(a)
	end, found := p.Find(b)
	if found {
		end++
	}
	return span{first, end}
}

// merge sorts spans and joins those that touch.
func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.first - b.first })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.first <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, s.end)
			continue
		}
		out = append(out, s)
	}
	return out
}

// savedSpans is "$": what is left of a saved result (RFC 9051 section 6.4.4.1).
func savedSpans(p *storage.Snapshot, saved []uidRange) []span {
	var spans []span
	for _, r := range saved {
		first, _ := p.Find(r.first)
		if end, _ := p.Find(r.end); first < end {
			spans = append(spans, span{first, end})
		}
	}
	return merge(spans)
}

// uids are the UIDs of spans.
func (v *view) uids(spans []span) []uint32 {
	out := make([]uint32, 0, count(spans))
	for i := range each(spans) {
		out = append(out, v.snap.UID(i))
	}
	return out
}
