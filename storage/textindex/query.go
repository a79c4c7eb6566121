package textindex

import (
	"bytes"
	"errors"
	"math/bits"
	"slices"
	"sort"
	"sync"
)

// Verdict is what is known of a needle and a document.
type Verdict int8

// The verdicts.
const (
	No Verdict = iota - 1
	Unknown
	Yes
)

// Where a needle is looked for.
type Where uint8

// The places.
const (
	InText  Where = iota // in Fields, Inner and Body
	InBody               // in Body
	InField              // in the values of lines of that name in Fields and Forms
)

// Needle is what is looked for, folded.
type Needle struct {
	Where Where
	Text  []byte
	Name  []byte // InField
	Loose bool   // InField: lines that begin with Loose count too
}

// needleMax is the longest needle that is compared with texts; longer ones are filtered by their beginning only.
const needleMax = unitSize / 2

// Reader is the index as it is now. It and its Queries are for one goroutine. Close it.
type Reader struct {
	x    *Index
	segs []*segment
	w    *window
}

var windows = sync.Pool{New: func() any { return new(window) }}

// Reader gives a view for a search; nil while the index is empty.
func (x *Index) Reader() *Reader {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.segs) == 0 {
		return nil
	}
	r := &Reader{x: x, segs: slices.Clone(x.segs), w: windows.Get().(*window)}
	for _, s := range r.segs {
		s.refs.Add(1)
	}
	return r
}

// Close gives the view back.
func (r *Reader) Close() {
	for _, s := range r.segs {
		s.release()
	}
	r.w.s = nil
	windows.Put(r.w)
	r.segs, r.w = nil, nil
}

// Query is one needle being looked for.
type Query struct {
	r      *Reader
	n      Needle
	finder finder
	name   []byte // "NAME: "
	never  bool   // nothing is said
	none   bool   // no document has it
	parts  []part // of the segments
	at     int    // the segment asked last

	text   []byte // of a unit
	joined []byte
}

// part is a query in one segment.
type part struct {
	seg   *segment
	t     *table
	found bool     // whether any unit may have the needle
	exact bool     // those units have it
	units []uint64 // a bit for each of them
	bad   bool
	at    int // the document asked last
}

// Query begins to look for a needle.
func (r *Reader) Query(n Needle) *Query {
	q := &Query{r: r, n: n, finder: newFinder(n.Text), parts: make([]part, len(r.segs))}
	q.never = !clean(n.Text) || n.Where != InField && len(n.Text) == 0 || n.Where == InField && len(n.Name) == 0
	if n.Where == InField {
		q.name = append(slices.Clone(n.Name), ": "...)
		for _, c := range n.Name {
			q.none = q.none || c <= ' ' || c >= 0x7f || c == ':' // no line has such a name
		}
	}
	return q
}

// Ask tells whether the document of that id has the needle. Ascending ids are answered fastest. Unknown: look for yourself.
func (q *Query) Ask(id int64) Verdict {
	if q.never {
		return Unknown
	}
	p := q.part(id)
	if p == nil || p.bad {
		return Unknown
	}
	e := p.find(id)
	if e == nil || e.flags&flagOpaque != 0 {
		return Unknown
	}
	if q.none {
		return No
	}
	v, err := q.look(p, e)
	switch {
	case err != nil:
		q.r.x.fault(p.seg, err)
		p.bad = true
		return Unknown
	case v == No && e.flags&flagMore != 0 && q.n.Where != InField:
		return Unknown
	}
	return v
}

// part is the query in the segment that covers id, nil if none does.
func (q *Query) part(id int64) *part {
	if q.at >= len(q.r.segs) || id <= q.r.segs[q.at].after || id > q.r.segs[q.at].to {
		q.at = sort.Search(len(q.r.segs), func(i int) bool { return q.r.segs[i].to >= id })
		if q.at == len(q.r.segs) || id <= q.r.segs[q.at].after {
			return nil
		}
	}
	p := &q.parts[q.at]
	if p.seg == nil {
		p.seg = q.r.segs[q.at]
		var err error
		if p.t, err = p.seg.load(); err == nil && !q.none {
			err = q.filter(p)
		}
		if err != nil {
			q.r.x.fault(p.seg, err)
			p.bad = true
		}
	}
	return p
}

// find is the document of an id.
func (p *part) find(id int64) *entry {
	docs := p.t.docs
	// The same as last time, or the one behind it, or some way ahead: looked for in steps that double.
	if p.at < len(docs) && docs[p.at].id <= id {
		step := 1
		lo, hi := p.at, p.at
		for hi < len(docs) && docs[hi].id < id {
			lo, hi, step = hi, hi+step, step*2
		}
		hi = min(hi+1, len(docs))
		p.at = lo + sort.Search(hi-lo, func(i int) bool { return docs[lo+i].id >= id })
	} else {
		p.at = sort.Search(len(docs), func(i int) bool { return docs[i].id >= id })
	}
	if p.at < len(docs) && docs[p.at].id == id {
		return &docs[p.at]
	}
	return nil
}

// filter finds the units that may have the needle.
func (q *Query) filter(p *part) error {
	text := q.n.Text
	if len(text) == 0 { // whether there is such a field
		text = q.name
	}
	n := int(p.seg.numUnits)
	if len(text) < 3 {
		p.exact = true
		return q.prefixed(p, text, n)
	}
	p.exact = len(text) == 3
	list, err := q.lists(p, text)
	if err != nil || list == nil {
		return err
	}
	var buf []byte
	one := make([]uint64, (n+63)/64)
	for i := range list {
		b, err := p.seg.list(&list[i], &buf)
		if err != nil {
			return err
		}
		clear(one)
		if !setUnits(one, b, list[i].bitmap, uint32(n)) {
			return errDamaged
		}
		if p.units == nil {
			p.units = slices.Clone(one)
		}
		left := 0
		for w := range p.units {
			p.units[w] &= one[w]
			left += bits.OnesCount64(p.units[w])
		}
		if left == 0 {
			return nil
		}
		if left <= fewUnits {
			break
		}
	}
	p.found = true
	return nil
}

// fewUnits are looked at without asking for further trigrams.
const fewUnits = 4

// lists are those of the trigrams of a text, the shortest first; nil when one has none.
func (q *Query) lists(p *part, text []byte) ([]posting, error) {
	text = text[:min(len(text), overlap)]
	keys := make([]uint32, 0, len(text)-2)
	for i := range len(text) - 2 {
		keys = append(keys, uint32(text[i])<<16|uint32(text[i+1])<<8|uint32(text[i+2]))
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	list := make([]posting, 0, len(keys))
	for _, k := range keys {
		had := len(list)
		err := p.seg.postings(p.t, k, k, func(l posting) bool {
			list = append(list, l)
			return true
		})
		if err != nil || len(list) == had {
			return nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b posting) int { return int(a.len - b.len) })
	return list, nil
}

// prefixed finds the units with a text of one or two bytes: any trigram that begins so.
func (q *Query) prefixed(p *part, text []byte, n int) error {
	first, last := uint32(0), uint32(0)
	for i := range 3 {
		lo, hi := uint32(0), uint32(0xff)
		if i < len(text) {
			lo, hi = uint32(text[i]), uint32(text[i])
		}
		first, last = first<<8|lo, last<<8|hi
	}
	p.units = make([]uint64, (n+63)/64)
	var buf []byte
	var bad error
	err := p.seg.postings(p.t, first, last, func(l posting) bool {
		b, err := p.seg.list(&l, &buf)
		if err == nil && !setUnits(p.units, b, l.bitmap, uint32(n)) {
			err = errDamaged
		}
		bad, p.found = err, true
		return err == nil
	})
	return errors.Join(err, bad)
}

// look looks into the units of a document that may have the needle.
func (q *Query) look(p *part, e *entry) (Verdict, error) {
	if !p.found {
		return No, nil
	}
	header := e.unit + e.headerUnits()
	end := e.unit + e.units()
	if q.n.Where != InField {
		for u := p.candidate(header, end); u < end; u = p.candidate(u+1, end) {
			if p.exact {
				return Yes, nil
			}
			if len(q.n.Text) > needleMax {
				return Unknown, nil
			}
			if ok, err := q.inUnit(p, u, end); ok || err != nil {
				return Yes, err
			}
		}
	}
	if q.n.Where == InBody || p.candidate(e.unit, header) == header {
		return No, nil
	}
	if len(q.n.Text) > needleMax {
		return Unknown, nil
	}
	ok, err := q.inHeader(p, e)
	if ok {
		return Yes, err
	}
	return No, err
}

// candidate is the first unit from u to end that may have the needle, or end.
func (p *part) candidate(u, end uint32) uint32 {
	for u < end {
		if w := p.units[u>>6] >> (u & 63); w != 0 {
			return min(u+uint32(bits.TrailingZeros64(w)), end)
		}
		u = (u | 63) + 1
	}
	return end
}

// read gives the text of a unit. It is good until the next call.
func (q *Query) read(p *part, u uint32) ([]byte, error) {
	b, err := q.r.w.get(p.seg, headLen+int64(p.t.offsets[u]), headLen+int64(p.t.offsets[u+1]))
	if err != nil {
		return nil, err
	}
	if cap(q.text) < unitSize {
		q.text = make([]byte, unitSize)
	}
	return unitText(q.text, b)
}

// inUnit looks for the needle in a unit of a body, whose units end before end; it may end in the next one.
func (q *Query) inUnit(p *part, u, end uint32) (bool, error) {
	t, err := q.read(p, u)
	if err != nil || q.finder.in(t) {
		return err == nil, err
	}
	if u+1 == end {
		return false, nil
	}
	k := len(q.n.Text) - 1
	q.joined = append(q.joined[:0], t[len(t)-min(k, len(t)):]...)
	if t, err = q.read(p, u+1); err != nil {
		return false, err
	}
	q.joined = append(q.joined, t[:min(k, len(t))]...)
	return q.finder.in(q.joined), nil
}

// inHeader looks for the needle in the lines of headers.
func (q *Query) inHeader(p *part, e *entry) (bool, error) {
	t, err := q.read(p, e.unit)
	if err != nil {
		return false, err
	}
	if n := e.headerUnits(); n > 1 {
		q.joined = append(q.joined[:0], t...)
		for u := e.unit + 1; u < e.unit+n; u++ {
			if t, err = q.read(p, u); err != nil {
				return false, err
			}
			q.joined = append(q.joined, t...)
		}
		t = q.joined
	}
	if len(t) != int(e.header()) {
		return false, errDamaged
	}
	if q.n.Where == InText {
		return q.finder.in(t[:e.fields]) || q.finder.in(t[e.fields+e.forms:]), nil
	}
	return q.inLines(t[:e.fields+e.forms]), nil
}

// inLines looks for the needle in the values of lines of its name.
func (q *Query) inLines(t []byte) bool {
	for len(t) > 0 {
		line, rest, _ := bytes.Cut(t, []byte{Separator})
		t = rest
		if q.n.Loose && len(line) > 0 && line[0] == Loose {
			line = line[1:]
		}
		if value, ok := bytes.CutPrefix(line, q.name); ok && q.finder.in(value) {
			return true
		}
	}
	return false
}
