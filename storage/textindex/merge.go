package textindex

import (
	"container/heap"
	"fmt"
	"os"
	"slices"
	"time"
)

// How segments are merged: fanIn neighbours of about the same size become one, until one is as large as segmentMax; it then stays as it is until
// enough of it is dead.
const (
	fanIn      = 8
	segmentMax = 1 << 30
	tierFirst  = 256 << 10 // bytes of a segment of tier 0
	deadShare  = 8         // written anew when every eighth document is dead
)

// recheck is after how long a segment's documents are compared with those that live although nothing is known to have died: what died
// before the last start is not remembered.
const recheck = 24 * time.Hour

// tier of a segment by its size: each is fanIn times the one before.
func tier(size int64) (n int) {
	for s := int64(tierFirst); s < size; s *= fanIn {
		n++
	}
	return n
}

// Merge does one step of keeping the index in shape: small neighbours become one, and documents that live does not give
// are left out. live gives the ids of a range that there are, ascending; pace is called often and may wait, or end the work with an error.
// It tells whether it did anything.
func (x *Index) Merge(live func(Range) ([]int64, error), pace func() error) (bool, error) {
	group, to := x.due()
	if len(group) == 0 {
		return false, nil
	}
	defer func() {
		for _, s := range group {
			s.release()
		}
	}()
	m := &merger{pace: pace}
	for _, s := range group {
		ids, err := live(Range{s.after, s.to})
		if err != nil {
			return false, err
		}
		if err := m.add(s, ids); err != nil {
			x.fault(s, err)
			return true, nil
		}
	}
	if len(group) == 1 && m.dropped == 0 {
		s := group[0]
		s.dead.Store(0)
		x.mu.Lock()
		s.checked = time.Now()
		x.mu.Unlock()
		return true, nil
	}
	if m.kept == 0 {
		x.remove(group)
		return true, nil
	}
	need := int64(0)
	for _, s := range group {
		need += s.size
	}
	err := x.put(to, group, need, m.write)
	if m.failed != nil {
		x.fault(m.failed, err)
		return true, nil
	}
	return err == nil, err
}

// due are the segments that should be written as one, held, and the range that they cover.
func (x *Index) due() ([]*segment, Range) {
	x.mu.Lock()
	defer x.mu.Unlock()
	group := dueOf(x.segs)
	if len(group) == 0 {
		return nil, Range{}
	}
	for _, s := range group {
		s.refs.Add(1)
	}
	return slices.Clone(group), Range{group[0].bridge, group[len(group)-1].to}
}

func dueOf(segs []*segment) []*segment {
	for i := range segs {
		// Neighbours of the same tier or below, as a large one among small ones is not written for them.
		n, total, top := 0, int64(0), tier(segs[i].size)
		for j := i; j < len(segs) && (j == i || segs[j].bridge == segs[j-1].to) && tier(segs[j].size) <= top && total+segs[j].size <= segmentMax; j++ {
			total += segs[j].size
			if tier(segs[j].size) == top {
				n++
			}
			if n == fanIn {
				return segs[i : j+1]
			}
		}
	}
	// Crumbs between large ones add up too.
	if n := lastSmall(segs); n > fanIn*4 {
		return segs[len(segs)-n:]
	}
	for i, s := range segs {
		if s.dead.Load()*deadShare > s.numDocs || time.Since(s.checked) > recheck {
			return segs[i : i+1]
		}
	}
	return nil
}

// lastSmall is how many of the last segments fit into one.
func lastSmall(segs []*segment) int {
	total, n := int64(0), 0
	for i, s := range slices.Backward(segs) {
		if total += s.size; total > segmentMax/8 || n > 0 && segs[i+1].bridge != s.to {
			break
		}
		n++
	}
	return n
}

// remove removes segments of which nothing is left.
func (x *Index) remove(group []*segment) {
	for _, s := range group {
		x.mu.Lock()
		i := slices.Index(x.segs, s)
		if i >= 0 {
			x.segs = slices.Delete(slices.Clone(x.segs), i, i+1)
		}
		x.mu.Unlock()
		if i >= 0 {
			os.Remove(s.path)
			s.release()
		}
	}
}

// merger writes several segments as one.
type merger struct {
	pace          func() error
	ins           []*input
	kept, dropped int
	failed        *segment // that could not be read
}

// input is a segment that is merged.
type input struct {
	s     *segment
	t     *table
	live  []bool   // by document
	units []uint32 // by unit: its number in the new segment, or gone
	block int      // of keys
	queue []posting
	lists window
}

const gone = ^uint32(0)

func (m *merger) add(s *segment, ids []int64) error {
	t, err := s.load()
	if err != nil {
		return err
	}
	in := &input{s: s, t: t, live: make([]bool, len(t.docs))}
	for i, e := range t.docs {
		if _, ok := slices.BinarySearch(ids, e.id); ok {
			in.live[i] = true
			m.kept++
		} else {
			m.dropped++
		}
	}
	m.ins = append(m.ins, in)
	return nil
}

func (m *merger) write(path string, h *head) (err error) {
	w, err := newWriter(path, h)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.abandon()
		}
	}()
	for _, in := range m.ins {
		if err := m.texts(w, in); err != nil {
			return err
		}
	}
	if err := m.keys(w); err != nil {
		return err
	}
	return w.finish()
}

// texts copies the units of documents that live.
func (m *merger) texts(w *writer, in *input) error {
	in.units = make([]uint32, in.s.numUnits)
	var win window
	for i, e := range in.t.docs {
		next := gone
		if in.live[i] {
			next = w.doc(e)
		}
		for u := e.unit; u < e.unit+e.units(); u++ {
			in.units[u] = next
			if next == gone {
				continue
			}
			next++
			b, err := win.get(in.s, headLen+int64(in.t.offsets[u]), headLen+int64(in.t.offsets[u+1]))
			if err == nil {
				_, err = checked(b)
			}
			if err != nil {
				m.failed = in.s
				return err
			}
			w.unit(b)
		}
		if i%64 == 0 {
			if err := m.pace(); err != nil {
				return err
			}
		}
	}
	return w.err
}

// keys merges the lists.
func (m *merger) keys(w *writer) error {
	var h inputs
	for _, in := range m.ins {
		if err := m.advance(&h, in); err != nil {
			return err
		}
	}
	var units []uint32
	for n := 0; len(h) > 0; n++ {
		key := h[0].queue[0].key
		units = units[:0]
		// Inputs with the same key come in their order, so that the units ascend.
		for len(h) > 0 && h[0].queue[0].key == key {
			in := heap.Pop(&h).(*input)
			var err error
			if units, err = in.append(units); err == nil {
				in.queue = in.queue[1:]
				err = m.advance(&h, in)
			}
			if err != nil {
				m.failed = in.s
				return err
			}
		}
		if len(units) > 0 {
			w.key(key, units)
		}
		if n%1024 == 0 {
			if err := m.pace(); err != nil {
				return err
			}
		}
	}
	return w.err
}

// advance puts an input back that has another key.
func (m *merger) advance(h *inputs, in *input) error {
	for len(in.queue) == 0 {
		if in.block == len(in.t.sparse) {
			return nil
		}
		sp := &in.t.sparse[in.block]
		in.block++
		b, err := in.s.read(nil, sp.at, sp.end)
		if err == nil {
			_, err = sp.each(b, in.s.tail.keys, func(p posting) bool {
				in.queue = append(in.queue, p)
				return true
			})
		}
		if err != nil {
			m.failed = in.s
			return err
		}
	}
	heap.Push(h, in)
	return nil
}

// append appends the units of the input's key that live.
func (in *input) append(units []uint32) ([]uint32, error) {
	p := &in.queue[0]
	b := p.here
	if b == nil {
		raw, err := in.lists.get(in.s, p.off, p.off+p.len+sumLen)
		if err == nil {
			b, err = checked(raw)
		}
		if err != nil {
			return units, err
		}
	}
	ok := eachUnit(b, p.bitmap, uint32(in.s.numUnits), func(u uint32) {
		if n := in.units[u]; n != gone {
			units = append(units, n)
		}
	})
	if !ok {
		return units, fmt.Errorf("%w: a list", errDamaged)
	}
	return units, nil
}

// inputs is a heap: the smallest key first, of equal ones that of the earlier segment.
type inputs []*input

func (h inputs) Len() int { return len(h) }
func (h inputs) Less(i, j int) bool {
	if a, b := h[i].queue[0].key, h[j].queue[0].key; a != b {
		return a < b
	}
	return h[i].s.to < h[j].s.to
}
func (h inputs) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push adds an input.
func (h *inputs) Push(v any) { *h = append(*h, v.(*input)) }

// Pop takes the last one.
func (h *inputs) Pop() any {
	last := len(*h) - 1
	in := (*h)[last]
	*h = (*h)[:last]
	return in
}
