package imap

import (
	"slices"
	"sort"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

// searcher is a search being run: over the snapshot first, which decides what it can; then, some messages at a time, over headers, and over
// bodies for what is still open.
type searcher struct {
	*work
	v     *view
	p     *storage.Snapshot
	saved []uidRange
	texts []wanted // the needles of BODY and TEXT
	asks  []storage.TextNeedle
	asked *storage.TextSearch // while run judges; nil: there is no text index
	root  node
	nodes int

	modSeq   bool   // MODSEQ is among the keys
	keyed    bool   // storage.Keys may decide some
	threaded bool   // THREADID is among the keys
	from     int    // index of the first message that is looked at
	base     uint64 // what was done before this mailbox
	buf      scratch
	scan     *textScan
}

// limit is how many messages from one end a search may stop at; the zero value means all.
type limit struct {
	n    int
	last bool // from the end
}

// limitOf is what suffices for the answer.
func limitOf(o *wire.ReturnOptions) limit {
	p := o.Partial
	switch {
	case !o.Data() || o.All || o.Count || o.Update:
		return limit{}
	case p != nil && (p.FromEnd && o.Min || !p.FromEnd && o.Max), o.Min && o.Max:
		return limit{}
	case p != nil:
		return limit{int(max(p.First, p.Last)), p.FromEnd}
	}
	return limit{1, o.Max}
}

// cut leaves what is within the limit.
func (l limit) cut(found []int) []int {
	switch n := len(found); {
	case l.n == 0 || n <= l.n:
		return found
	case l.last:
		return found[n-l.n:]
	}
	return found[:l.n]
}

// Sizes of the steps of a search.
const (
	searchBatch = 512  // messages that are judged in one go
	entryBatch  = 4096 // messages of which the snapshot is asked in one go
	firstBatch  = 32   // at first, when few may suffice
	manyNodes   = 64   // keys from which on even a search of the snapshot alone is taken for a heavy one
)

// run gives the indexes of what matches, ascending.
func (s *searcher) run(l limit) ([]int, error) {
	s.base = s.looked
	defer func() { s.looked = s.base + uint64(s.p.Len()) }()
	s.ready()
	defer s.done()
	found, open, err := s.entries(l)
	if err != nil || len(open) == 0 {
		return l.cut(found), err
	}
	s.looked += uint64(s.p.Len() - len(open))
	size := searchBatch
	if l.n > 0 {
		size = firstBatch
	}
	sure := len(found) // found[:sure] is what the snapshot and the text index decided
	for len(open) > 0 {
		var part []int
		part, open = next(open, size, l.last)
		size = min(2*size, searchBatch)
		more, err := s.judge(part)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
		if l.n > 0 && len(found)-sure+reached(found[:sure], part, l.last) >= l.n {
			found = slices.DeleteFunc(found, func(i int) bool { return beyond(i, part, l.last) })
			break
		}
	}
	slices.Sort(found)
	return l.cut(found), nil
}

// among gives those of the indexes that match, both ascending.
func (s *searcher) among(indexes []int) (found []int, err error) {
	if len(indexes) > searchBatch {
		s.ready()
		defer s.done()
	}
	var open []int
	for k, i := range indexes {
		if k%searchBatch == 0 {
			if err := s.tick(); err != nil {
				return nil, err
			}
		}
		m := candidate{i: i, entry: s.p.At(i), asked: s.asked}
		switch s.root.judge(&m) {
		case yes:
			found = append(found, i)
		case unknown:
			open = append(open, i)
		}
	}
	for part := range slices.Chunk(open, searchBatch) {
		more, err := s.judge(part)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	slices.Sort(found)
	return found, nil
}

// next takes the first or the last n of open.
func next(open []int, n int, last bool) (part, rest []int) {
	n = min(n, len(open))
	if last {
		return open[len(open)-n:], open[:len(open)-n]
	}
	return open[:n], open[n:]
}

// reached is how many of the sure ones lie before the end of part, or with last behind its beginning.
func reached(sure, part []int, last bool) int {
	if last {
		return len(sure) - sort.SearchInts(sure, part[0])
	}
	return sort.SearchInts(sure, part[len(part)-1])
}

// beyond tells whether an index lies where was not looked yet.
func beyond(i int, part []int, last bool) bool {
	if last {
		return i < part[0]
	}
	return i > part[len(part)-1]
}

// entries evaluates what the snapshot and the text index decide, some at a time: flags that all must have first. With the index it takes turns like what reads
// messages: a needle that might be everywhere is looked for in much text.
func (s *searcher) entries(l limit) (found, open []int, err error) {
	f, domain, rest := s.plan()
	defer s.release()
	size, heavy := entryBatch, s.nodes > manyNodes
	if s.asked != nil {
		size, heavy = searchBatch, true
	}
	buf := make([]int, 0, size)
	m := candidate{asked: s.asked}
	for !l.full(len(found), len(open)) {
		var part span
		if part, domain = nextSpan(domain, size, l.last); part.first == part.end {
			break
		}
		// What is kept ready decides too, and at once: with that, nobody waits for a turn.
		ready := heavy && s.asked != nil && s.root.cost <= withKeys
		if err := s.step(heavy && !ready); err != nil {
			return nil, nil, err
		}
		if m.asked = s.asked; ready && !s.tryClaim() {
			m.asked = nil
		}
		buf = s.p.Select(buf[:0], part.first, part.end, f)
		if l.last {
			slices.Reverse(buf)
		}
		if len(rest.kids) == 0 {
			found = append(found, buf...)
			continue
		}
		for _, i := range buf {
			m.i, m.entry = i, s.p.At(i)
			switch rest.judge(&m) {
			case yes:
				found = append(found, i)
			case unknown:
				open = append(open, i)
			}
			if l.full(len(found), len(open)) {
				break
			}
		}
	}
	if l.last {
		slices.Reverse(found)
		slices.Reverse(open)
	}
	return found, open, nil
}

// full tells whether so many, found without others before them that are open, are enough.
func (l limit) full(found, open int) bool { return l.n > 0 && open == 0 && found >= l.n }

// judge gives those of the indexes that match.
func (s *searcher) judge(indexes []int) (found []int, err error) {
	open := indexes
	for _, pass := range []func([]int) (found, open []int, err error){s.keys, s.headers, s.bodies} {
		var more []int
		if more, open, err = pass(open); err != nil {
			return nil, err
		}
		found = append(found, more...)
		if len(open) == 0 {
			break
		}
	}
	return found, s.tick()
}

// keys judges the messages at the indexes by what is kept ready of them. It is cheap: it takes no turns.
func (s *searcher) keys(indexes []int) (found, open []int, err error) {
	if !s.keyed {
		return nil, indexes, nil
	}
	for i, row := range s.srv.store.Keys(s.ctx(), s.p, indexes) {
		if row.Err != nil {
			if missing(row.Err) {
				continue
			}
			return nil, nil, row.Err
		}
		m := candidate{i: i, entry: s.p.At(i), at: withKeys, keys: &row, asked: s.asked}
		switch s.root.judge(&m) {
		case yes:
			found = append(found, i)
		case unknown:
			open = append(open, i)
		}
	}
	s.looked += uint64(len(indexes) - len(open))
	return found, open, nil
}

// threadOf is what THREADID asks for, in the later passes; nil when it is not among the keys.
func (s *searcher) threadOf(i int) *storage.KeysRow {
	if !s.threaded {
		return nil
	}
	for _, row := range s.srv.store.Keys(s.ctx(), s.p, []int{i}) {
		if row.Err == nil {
			return &row
		}
	}
	return nil
}

// asksMax is how many needles of one search the text index is asked for; messages are read for the others.
const asksMax = 64

// ask notes a needle for the text index. It gives its number with it, plus one; 0 when it is not asked.
func (s *searcher) ask(n storage.TextNeedle) int {
	if len(s.asks) == asksMax {
		return 0
	}
	s.asks = append(s.asks, n)
	return len(s.asks)
}

// ready begins to ask the text index.
func (s *searcher) ready() {
	if len(s.asks) == 0 {
		return
	}
	if s.asked = s.srv.store.TextSearch(); s.asked != nil {
		for _, n := range s.asks {
			s.asked.Look(n)
		}
	}
}

func (s *searcher) done() {
	if s.asked != nil {
		s.asked.Close()
		s.asked = nil
	}
}

// headers judges the messages at the indexes by their headers.
func (s *searcher) headers(indexes []int) (found, open []int, err error) {
	if err := s.claim(); err != nil {
		return nil, nil, err
	}
	defer s.release()
	for i, row := range s.srv.store.Mail(s.ctx(), s.p, indexes, storage.WantHeader) {
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
		m := candidate{i: i, entry: s.p.At(i), at: withHeader, keys: s.threadOf(i), header: header{row.Header, &s.buf}, asked: s.asked}
		switch s.root.judge(&m) {
		case yes:
			found = append(found, i)
		case unknown:
			open = append(open, i)
		}
	}
	s.looked += uint64(len(indexes) - len(open))
	return found, open, nil
}

// bodies judges the messages at the indexes by all their bytes.
func (s *searcher) bodies(indexes []int) (found, open []int, err error) {
	if s.scan == nil {
		s.scan = &textScan{wanted: s.texts, broken: s.tick}
	}
	defer s.release()
	for len(indexes) > 0 {
		batch := s.turn(indexes)
		indexes = indexes[len(batch):]
		if err := s.step(true); err != nil {
			return nil, nil, err
		}
		for i, row := range s.srv.store.Mail(s.ctx(), s.p, batch, storage.WantHeader|storage.WantIndex) {
			s.looked++
			if row.Err != nil {
				if missing(row.Err) {
					continue
				}
				return nil, nil, row.Err
			}
			ok, err := s.body(i, &row.Mail)
			if err != nil {
				return nil, nil, err
			}
			if ok {
				found = append(found, i)
			}
		}
	}
	return found, nil, nil
}

// turnBytes is how much of messages is read in one turn, unless one alone is larger.
const turnBytes = 4 << 20

// turn are the first of the indexes, as many as are read in one turn.
func (s *searcher) turn(indexes []int) []int {
	n, sum := 0, int64(0)
	for n < min(len(indexes), bodyBatch) {
		if sum += int64(s.p.At(indexes[n]).Size); n > 0 && sum > turnBytes {
			break
		}
		n++
	}
	return indexes[:n]
}

func (s *searcher) body(i int, mail *storage.Mail) (bool, error) {
	m := candidate{i: i, entry: s.p.At(i), at: withBody, keys: s.threadOf(i), header: header{mail.Header, &s.scan.buf}, text: s.scan, asked: s.asked}
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
		h := make([]byte, min(x.Root.BodyOffset, mime.SearchHeaderMax))
		k, _ := b.ReadAt(h, 0)
		m.header.block = h[:k]
	}
	s.scan.reset(b, x)
	v := s.root.judge(&m)
	return v == yes, s.scan.err
}
