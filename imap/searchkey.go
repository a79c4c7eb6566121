package imap

import (
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

// verdict of a key on a message. A key says unknown when it must see more of the message than it was given.
type verdict int8

const (
	no verdict = iota - 1
	unknown
	yes
)

func truth(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// depth is how much of a message is at hand.
type depth uint8

const (
	entryOnly  depth = iota // its row in the snapshot
	withKeys                // and its storage.Keys
	withHeader              // and its header
	withBody                // and its bytes
)

// node is a key made ready for one mailbox.
type node struct {
	kind   wire.KeyKind
	cost   depth // how much of a message it needs at most
	kids   []node
	spans  []span // KeySeq, KeyUID, KeyRecent
	flags  storage.Flags
	bit    uint64 // keyword; 0 with flags 0: a keyword nobody has
	from   int64  // times in Unix seconds; dates as midnight UTC
	number int64
	field  string
	needle needle
	keyed  bool // KeyAddress, KeySubject, KeyHeader: text says which of the Keys has the field
	text   mime.KeyText
	thread uint64
	slot   int // KeyBody, KeyText: which of the searcher's texts
	ask    int // if not 0: the needle's number with the text index, plus one
}

// keyTexts are the fields that are kept ready for searches.
var keyTexts = map[string]mime.KeyText{
	"subject": mime.TextSubject, "from": mime.TextFrom, "to": mime.TextTo, "cc": mime.TextCc, "bcc": mime.TextBcc,
}

// compile makes a search of what v shows ready. saved is what "$" stands for.
func (w *work) compile(v *view, k *wire.Key, saved []uidRange) (*searcher, error) {
	s := &searcher{work: w, v: v, p: v.snap, saved: saved}
	n, err := s.node(k)
	s.root = n
	return s, err
}

func (s *searcher) node(k *wire.Key) (node, error) {
	s.nodes++
	n := node{kind: k.Kind, number: k.Number, field: k.Field, from: k.Date.Unix()}
	var err error
	switch k.Kind {
	case wire.KeySeq, wire.KeyUID:
		if k.Kind == wire.KeySeq && !k.Set.Saved {
			if s.uidOnly {
				return n, errUIDRequired // RFC 9586 section 3.5
			}
			s.numbers = true
		}
		if k.Set.Saved {
			n.spans = savedSpans(s.p, s.saved)
		} else {
			n.spans, err = s.v.resolve(k.Set, k.Kind == wire.KeyUID, false)
		}
	case wire.KeyRecent:
		n.spans = s.v.recentSpans()
	case wire.KeyFlag:
		n.flags = systemFlags[strings.ToLower(string(k.Flag))]
		if n.flags == 0 {
			n.bit = keywordBits(s.p, []string{string(k.Flag)})
		}
	case wire.KeyOlder, wire.KeyYounger:
		n.from = s.start.Unix() - k.Number // RFC 5032 section 2
	case wire.KeyModSeq:
		s.modSeq = true
		s.modSeqAware()
	case wire.KeyEmailID:
		n.number, _ = parseObjectID(k.Text, emailPrefix) // 0 is nobody's
	case wire.KeyThreadID:
		n.cost, n.thread, s.threaded = withKeys, parseThreadID(k.Text), true
	case wire.KeySentBefore, wire.KeySentSince:
		n.cost = withKeys
	case wire.KeyHeader, wire.KeyAddress, wire.KeySubject:
		n.cost, n.needle = withKeys, newNeedle(k.Text)
		if n.text, n.keyed = keyTexts[strings.ToLower(k.Field)]; !n.keyed {
			n.cost = withHeader
		}
		n.ask = s.ask(storage.TextNeedle{Text: n.needle.folded, Field: k.Field, Address: k.Kind == wire.KeyAddress})
	case wire.KeyBody, wire.KeyText:
		if k.Text == "" {
			n.kind = wire.KeyAll // the empty text is in every message
			break
		}
		n.cost, n.needle = withBody, newNeedle(k.Text)
		n.slot = len(s.texts)
		s.texts = append(s.texts, wanted{n.needle, k.Kind == wire.KeyText})
		n.ask = s.ask(storage.TextNeedle{Text: n.needle.folded, Body: k.Kind == wire.KeyBody})
	}
	for i := range k.Keys {
		kid, e := s.node(&k.Keys[i])
		if e != nil {
			return n, e
		}
		n.cost = max(n.cost, kid.cost)
		n.kids = append(n.kids, kid)
	}
	s.keyed = s.keyed || n.cost == withKeys
	// What is cheap decides first.
	slices.SortStableFunc(n.kids, func(a, b node) int { return int(a.cost) - int(b.cost) })
	return n, err
}

// candidate is a message that is looked at.
type candidate struct {
	i      int
	entry  storage.Entry
	at     depth
	keys   *storage.KeysRow // at withKeys, or when THREADID is asked for
	header header
	text   *textScan           // withBody
	asked  *storage.TextSearch // nil: there is no text index
}

// judge evaluates a key as far as what is at hand allows. What is known without looking further decides first.
func (n *node) judge(m *candidate) verdict {
	e := &m.entry
	switch n.kind {
	case wire.KeyAll:
		return yes
	case wire.KeySeq, wire.KeyUID, wire.KeyRecent:
		return truth(within(n.spans, m.i))
	case wire.KeyFlag:
		return truth(e.Flags&n.flags != 0 || e.Keywords&n.bit != 0)
	case wire.KeyBefore:
		return truth(day(e) < n.from)
	case wire.KeySince:
		return truth(day(e) >= n.from)
	case wire.KeyOlder:
		return truth(e.InternalDate <= n.from)
	case wire.KeyYounger:
		return truth(e.InternalDate >= n.from)
	case wire.KeySavedBefore:
		return truth(midnight(e.SaveDate) < n.from)
	case wire.KeySavedSince:
		return truth(midnight(e.SaveDate) >= n.from)
	case wire.KeyModSeq:
		return truth(e.ModSeq >= uint64(n.number))
	case wire.KeyEmailID:
		return truth(e.Blob == n.number)
	case wire.KeyLarger:
		return truth(int64(e.Size) > n.number)
	case wire.KeySmaller:
		return truth(int64(e.Size) < n.number)
	case wire.KeyNot:
		return -n.kids[0].judge(m)
	case wire.KeyOr:
		v := no
		for i := range n.kids {
			if v = max(v, n.kids[i].judge(m)); v == yes {
				break
			}
		}
		return v
	case wire.KeyAnd:
		v := yes
		for i := range n.kids {
			if v = min(v, n.kids[i].judge(m)); v == no {
				break
			}
		}
		return v
	}
	return n.judgeText(m)
}

// judgeText evaluates the keys that need more of the message than its entry.
func (n *node) judgeText(m *candidate) verdict {
	if m.asked != nil && n.ask > 0 {
		if has, known := m.asked.Ask(n.ask-1, m.entry.Blob); known {
			return truth(has)
		}
	}
	need := n.cost
	if n.kind == wire.KeyText {
		need = withHeader // which may have it
	}
	switch {
	case m.at < need:
		return unknown
	case m.at == withKeys:
		return n.judgeKeys(m.keys)
	}
	switch n.kind {
	case wire.KeySentBefore, wire.KeySentSince:
		return n.sent(m.header.day())
	case wire.KeyHeader, wire.KeyAddress, wire.KeySubject:
		return truth(m.header.has(n.field, n.needle, n.kind == wire.KeyAddress))
	case wire.KeyThreadID:
		return truth(m.keys != nil && m.keys.Thread() == n.thread)
	case wire.KeyText:
		if m.header.contains(n.needle) {
			return yes
		}
	}
	if m.at < withBody {
		return unknown
	}
	return truth(m.text.contains(n.slot))
}

// judgeKeys evaluates by what is kept ready of a message.
func (n *node) judgeKeys(k *storage.KeysRow) verdict {
	switch n.kind {
	case wire.KeySentBefore, wire.KeySentSince:
		return n.sent(k.SentDay())
	case wire.KeyThreadID:
		return truth(k.Thread() == n.thread)
	}
	has, known := k.Has(n.text, n.needle.folded)
	switch {
	case !known, has && n.kind == wire.KeyHeader: // what is kept of addresses has them without comments too, which HEADER must not see
		return unknown
	}
	return truth(has)
}

// sent evaluates the day of a Date field.
func (n *node) sent(day int64, ok bool) verdict {
	return truth(ok && (day < n.from) == (n.kind == wire.KeySentBefore))
}

// within tells whether an index is in spans.
func within(spans []span, i int) bool {
	at, _ := slices.BinarySearchFunc(spans, i, func(s span, i int) int {
		if s.end <= i {
			return -1
		}
		return 1
	})
	return at < len(spans) && spans[at].first <= i
}

// day is the day of a message's internal date in the zone in which it was given, as midnight in UTC. RFC 9051 section 6.4.4: time and
// zone are disregarded.
func day(e *storage.Entry) int64 { return midnight(e.InternalDate + int64(e.Zone)*60) }

// midnight is the beginning of the UTC day.
func midnight(unix int64) int64 { return unix - ((unix%86400)+86400)%86400 }

// sentDay is the day of a Date field as written, its time and zone disregarded (RFC 9051 section 6.4.4).
func sentDay(t time.Time) int64 {
	y, mon, d := t.Date()
	return time.Date(y, mon, d, 0, 0, 0, 0, time.UTC).Unix()
}
