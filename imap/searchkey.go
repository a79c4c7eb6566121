package imap

import (
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
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
	withHeader              // and its header
	withBody                // and its bytes
)

// node is a key made ready for one mailbox.
type node struct {
	kind   wire.KeyKind
	kids   []node
	spans  []span // KeySeq, KeyUID, KeyRecent
	flags  storage.Flags
	bit    uint64 // keyword; 0 with flags 0: a keyword nobody has
	from   int64  // dates: Unix seconds of midnight UTC
	number int64
	field  string
	needle needle
	slot   int // KeyBody, KeyText: which of the searcher's texts
}

// searcher is a search being run.
type searcher struct {
	*client
	p     *storage.Snapshot
	saved []uint32
	texts []wanted // the needles of BODY and TEXT
	root  node
}

// compile makes a search ready. saved is what "$" stands for.
func (c *client) compile(k *wire.Key, saved []uint32) (*searcher, error) {
	s := &searcher{client: c, p: c.view.snap, saved: saved}
	n, err := s.node(k)
	s.root = n
	return s, err
}

func (s *searcher) node(k *wire.Key) (node, error) {
	n := node{kind: k.Kind, number: k.Number, field: k.Field, from: k.Date.Unix()}
	var err error
	switch k.Kind {
	case wire.KeySeq, wire.KeyUID:
		if k.Set.Saved {
			n.spans = savedSpans(s.p, s.saved)
		} else {
			n.spans, err = s.view.resolve(k.Set, k.Kind == wire.KeyUID, false)
		}
	case wire.KeyRecent:
		n.spans = s.view.recentSpans()
	case wire.KeyFlag:
		n.flags = systemFlags[strings.ToLower(string(k.Flag))]
		if n.flags == 0 {
			n.bit = keywordBits(s.p, []string{string(k.Flag)})
		}
	case wire.KeyHeader, wire.KeyAddress, wire.KeySubject, wire.KeyBody, wire.KeyText:
		n.needle = newNeedle(k.Text)
		if k.Kind == wire.KeyBody || k.Kind == wire.KeyText {
			n.slot = len(s.texts)
			s.texts = append(s.texts, wanted{n.needle, k.Kind == wire.KeyText})
		}
	}
	for i := range k.Keys {
		kid, e := s.node(&k.Keys[i])
		if e != nil {
			return n, e
		}
		n.kids = append(n.kids, kid)
	}
	return n, err
}

// candidate is a message that is looked at.
type candidate struct {
	i      int
	entry  storage.Entry
	at     depth
	header header
	text   *textScan // withBody
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
	case wire.KeyLarger:
		return truth(int64(e.Size) > n.number)
	case wire.KeySmaller:
		return truth(int64(e.Size) < n.number)
	case wire.KeyNot:
		return -n.kids[0].judge(m)
	case wire.KeyOr:
		return max(n.kids[0].judge(m), n.kids[1].judge(m))
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

// judgeText evaluates the keys that need the header or the bytes.
func (n *node) judgeText(m *candidate) verdict {
	if m.at < withHeader {
		return unknown
	}
	switch n.kind {
	case wire.KeySentBefore, wire.KeySentSince:
		day, ok := m.header.day()
		return truth(ok && (day < n.from) == (n.kind == wire.KeySentBefore))
	case wire.KeyHeader, wire.KeyAddress, wire.KeySubject:
		return truth(m.header.has(n.field, n.needle, n.kind == wire.KeyAddress))
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

// midnight is the beginning of the UTC day.
// day is the day of a message's internal date in the zone in which it was given, as midnight in UTC. RFC 9051 section 6.4.4: time and
// zone are disregarded.
func day(e *storage.Entry) int64 { return midnight(e.InternalDate + int64(e.Zone)*60) }

func midnight(unix int64) int64 { return unix - ((unix%86400)+86400)%86400 }

// run evaluates in three passes: the snapshot alone decides what it can, headers what is left, bodies what is left then.
func (s *searcher) run() ([]int, error) {
	var found, open []int
	for i := range s.p.Len() {
		m := candidate{i: i, entry: s.p.At(i)}
		switch s.root.judge(&m) {
		case yes:
			found = append(found, i)
		case unknown:
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return found, nil
	}
	more, open, err := s.headers(open)
	if err != nil {
		return nil, err
	}
	found = append(found, more...)
	if len(open) > 0 {
		if more, err = s.bodies(open); err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	slices.Sort(found)
	return found, nil
}

// searchBatch is how many rows are asked for at a time.
const searchBatch = 512

// headers judges the messages at the indexes by their headers.
func (s *searcher) headers(indexes []int) (found, open []int, err error) {
	var buf scratch
	for batch := range slices.Chunk(indexes, searchBatch) {
		if err := s.broken(); err != nil {
			return nil, nil, err
		}
		for i, row := range s.srv.store.Mail(s.ctx(), s.p, batch, storage.WantHeader) {
			if row.Err != nil {
				if missing(row.Err) {
					continue
				}
				return nil, nil, row.Err
			}
			if row.Header == nil {
				open = append(open, i)
				continue
			}
			m := candidate{i: i, entry: s.p.At(i), at: withHeader, header: header{row.Header, &buf}}
			switch s.root.judge(&m) {
			case yes:
				found = append(found, i)
			case unknown:
				open = append(open, i)
			}
		}
	}
	return found, open, nil
}

// bodies judges the messages at the indexes by all their bytes.
func (s *searcher) bodies(indexes []int) (found []int, err error) {
	scan := textScan{wanted: s.texts, broken: s.broken}
	for batch := range slices.Chunk(indexes, bodyBatch) {
		for i, row := range s.srv.store.Mail(s.ctx(), s.p, batch, storage.WantHeader|storage.WantIndex) {
			if err := s.broken(); err != nil {
				return nil, err
			}
			if row.Err != nil {
				if missing(row.Err) {
					continue
				}
				return nil, row.Err
			}
			ok, err := s.body(i, &row.Mail, &scan)
			if err != nil {
				return nil, err
			}
			if ok {
				found = append(found, i)
			}
		}
	}
	return found, nil
}

func (s *searcher) body(i int, mail *storage.Mail, scan *textScan) (bool, error) {
	m := candidate{i: i, entry: s.p.At(i), at: withBody, header: header{mail.Header, &scan.buf}, text: scan}
	x, err := mail.Index()
	if err != nil {
		return false, err
	}
	b, err := s.srv.store.OpenBlob(s.ctx(), m.entry.Blob)
	if err != nil {
		if missing(err) {
			return false, nil
		}
		return false, err
	}
	defer b.Close()
	if m.header.block == nil {
		h := make([]byte, min(x.Root.BodyOffset, headerMax))
		k, _ := b.ReadAt(h, 0)
		m.header.block = h[:k]
	}
	scan.reset(b, x)
	v := s.root.judge(&m)
	return v == yes, scan.err
}

// sentDay is the day of a Date field as written, its time and zone disregarded (RFC 9051 section 6.4.4).
func sentDay(t time.Time) int64 {
	y, mon, d := t.Date()
	return time.Date(y, mon, d, 0, 0, 0, 0, time.UTC).Unix()
}
