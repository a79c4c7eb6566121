package imap

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"slices"
)

// forestSeed keeps senders from choosing Message-IDs and subjects that fall together in our tables.
var forestSeed = maphash.MakeSeed()

// threaded is what threading needs of a message.
type threaded struct {
	sent    int64
	arrived int64
	id      uint64 // stands for the Message-ID; 0: none
	subject uint64 // stands for the base subject; 0: the empty one
	refs    uint32 // where its references begin in forest.ids
	reply   bool
}

// forest is threads. Nodes are numbers: the messages in the order of the mailbox, then dummies, which stand for messages that are not there
// (RFC 5256 section 3). The algorithms go through the messages by date, so that siblings come out in order, and take no more than one stack
// however deep a thread is.
type forest struct {
	messages []threaded
	ids      []uint64 // references, message by message

	parent []int32 // -1: none
	steps  int     // left for looking for loops

	first, last, next []int32 // children in order; -1: none
	roots             []int32 // in order
}

func newForest(n int) *forest {
	return &forest{messages: make([]threaded, n), ids: make([]uint64, 0, 4*n)}
}

// dummy tells whether a node is no message.
func (f *forest) dummy(n int32) bool { return int(n) >= len(f.messages) }

// byDate are the messages in the order of their sent dates (RFC 5256 section 2.2).
func (f *forest) byDate() []int32 {
	type item struct {
		sent int64
		n    int32
	}
	items := make([]item, len(f.messages))
	for n := range items {
		items[n] = item{f.messages[n].sent, int32(n)}
	}
	slices.SortFunc(items, func(a, b item) int {
		if a.sent != b.sent {
			return cmp.Compare(a.sent, b.sent)
		}
		return cmp.Compare(a.n, b.n)
	})
	order := make([]int32, len(items))
	for k := range items {
		order[k] = items[k].n
	}
	return order
}

// grow makes room for the children of n nodes in all.
func (f *forest) grow(n int) {
	for len(f.first) < n {
		f.first, f.last, f.next = append(f.first, -1), append(f.last, -1), append(f.next, -1)
	}
}

// adopt makes n the last child of p.
func (f *forest) adopt(p, n int32) {
	f.next[n] = -1
	if f.first[p] < 0 {
		f.first[p] = n
	} else {
		f.next[f.last[p]] = n
	}
	f.last[p] = n
}

// orderedSubject is ORDEREDSUBJECT (RFC 5256 section 3).
func (f *forest) orderedSubject() error {
	f.grow(len(f.messages))
	threads := make(map[uint64]int32)
	for _, n := range f.byDate() {
		s := f.messages[n].subject
		if first, ok := threads[s]; ok {
			f.adopt(first, n)
			continue
		}
		threads[s] = n
		f.roots = append(f.roots, n)
	}
	return nil
}

// references is REFERENCES (RFC 5256 section 3).
func (f *forest) references() error {
	f.link()
	f.prune()
	f.mergeSubjects()
	return nil
}

// refs is REFS (draft-ietf-morg-inthread-01 section 4): REFERENCES without the merging by subject, and with the thread last in which a message arrived last.
func (f *forest) refs() error {
	f.link()
	f.prune()
	f.byArrival()
	return nil
}

// nodeTable finds nodes by what stands for their Message-ID. The senders know that, but not the seeds by which it is mixed.
type nodeTable struct {
	slots  []nodeSlot
	used   int
	shift  int
	xor, k uint64
}

type nodeSlot struct {
	id   uint64 // 0: free
	node int32
}

func newNodeTable(n int) *nodeTable {
	t := &nodeTable{xor: maphash.Comparable(forestSeed, 0), k: maphash.Comparable(forestSeed, 1) | 1}
	t.resize(bits.Len(uint(2*n + 2)))
	return t
}

func (t *nodeTable) resize(size int) {
	old := t.slots
	t.slots, t.shift = make([]nodeSlot, 1<<size), 64-size
	for _, s := range old {
		if s.id != 0 {
			*t.at(s.id) = s
		}
	}
}

// at is the place of an id: where it is, or a free one.
func (t *nodeTable) at(id uint64) *nodeSlot {
	hi, lo := bits.Mul64(id^t.xor, t.k)
	for i := int((hi ^ lo) >> t.shift); ; i = (i + 1) & (len(t.slots) - 1) {
		if s := &t.slots[i]; s.id == id || s.id == 0 {
			return s
		}
	}
}

// node is the node of an id: the one that has it, or n, which has it from now on.
func (t *nodeTable) node(id uint64, n int32) int32 {
	s := t.at(id)
	if s.id != 0 {
		return s.node
	}
	*s = nodeSlot{id, n}
	if t.used++; t.used > len(t.slots)/2 {
		t.resize(65 - t.shift)
	}
	return n
}

// link is step 1: parents by references.
func (f *forest) link() {
	n := len(f.messages)
	table := newNodeTable(n)
	f.parent = slices.Repeat([]int32{-1}, n)
	f.grow(n)
	// RFC 5256 section 3: of messages with the same id the first one has it; without one a message is nobody's parent.
	for m := range f.messages {
		if id := f.messages[m].id; id != 0 {
			table.node(id, int32(m))
		}
	}
	// children are counted in first as long as there are none: a node without any is no ancestor.
	f.steps = maxSteps + 256*n
	for m := range f.messages {
		end := len(f.ids)
		if m+1 < n {
			end = int(f.messages[m+1].refs)
		}
		before := int32(-1)
		for _, id := range f.ids[f.messages[m].refs:end] {
			node := table.node(id, int32(len(f.parent)))
			if int(node) == len(f.parent) {
				f.parent = append(f.parent, -1)
				f.grow(len(f.parent))
			}
			if before >= 0 && f.parent[node] < 0 { // (A)
				f.setParent(node, before)
			}
			before = node
		}
		if p := f.parent[m]; p >= 0 && p != before { // (B)
			f.parent[m] = -1
			f.first[p]--
		}
		if before >= 0 && f.parent[m] < 0 {
			f.setParent(int32(m), before)
		}
	}
	for i := range f.first {
		f.first[i] = -1
	}
}

// maxSteps bounds the looking for loops in threads that were made to be deep: some tenths of a second. What is left then is not linked.
const maxSteps = 50 << 20

// setParent links unless that makes a loop. n has no parent, so there is one if it is where p's ancestors end.
func (f *forest) setParent(n, p int32) {
	if n == p {
		return
	}
	if f.first[n] >= 0 { // it has children
		for a := p; a >= 0; a = f.parent[a] {
			if f.steps--; a == n || f.steps < 0 {
				return
			}
		}
	}
	f.parent[n] = p
	f.first[p]++
}

// prune is steps 2 to 4: dummies go but for those that hold several threads together, and siblings come in the order of their dates.
func (f *forest) prune() {
	place := f.places()
	var roots []int32
	for _, n := range f.byDate() {
		p := place[n]
		if p < 0 {
			roots = append(roots, n)
			continue
		}
		if f.dummy(p) && f.first[p] < 0 {
			roots = append(roots, p) // where its first child is
		}
		f.adopt(p, n)
	}
	for i, r := range roots {
		if c := f.first[r]; f.dummy(r) && f.next[c] < 0 {
			roots[i] = c // RFC 5256 section 3 (3): an only child is promoted to the root
		}
	}
	f.roots = roots
}

// places are the parents that the messages have once dummies are spliced out: the nearest message above, or if there is none the highest dummy; -1
// for those with nothing above.
func (f *forest) places() []int32 {
	const unknown = -2
	place := slices.Repeat([]int32{unknown}, len(f.parent)) // of dummies: what those below them have
	var path []int32
	for n := range f.messages {
		p := f.parent[n]
		if p < 0 || !f.dummy(p) {
			place[n] = p
			continue
		}
		path = path[:0]
		for place[p] == unknown && f.parent[p] >= 0 && f.dummy(f.parent[p]) {
			path = append(path, p)
			p = f.parent[p]
		}
		if place[p] == unknown {
			if place[p] = f.parent[p]; place[p] < 0 {
				place[p] = p
			}
		}
		for _, d := range path {
			place[d] = place[p]
		}
		place[n] = place[p]
	}
	return place
}

// head is the message of a thread whose date and subject count: its first one.
func (f *forest) head(root int32) int32 {
	if f.dummy(root) {
		return f.first[root]
	}
	return root
}

// mergeSubjects is steps 5 and 6.
func (f *forest) mergeSubjects() {
	table := map[uint64]int32{}
	reply := func(n int32) bool { return !f.dummy(n) && f.messages[n].reply }
	for _, r := range f.roots { // (5) (B)
		s := f.messages[f.head(r)].subject
		if s == 0 {
			continue
		}
		t, ok := table[s]
		if !ok || !f.dummy(t) && (f.dummy(r) || reply(t) && !reply(r)) {
			table[s] = r
		}
	}
	gone := make([]bool, len(f.parent))
	changed := map[int32]bool{}
	roots := f.roots
	for _, r := range f.roots { // (5) (C)
		s := f.messages[f.head(r)].subject
		t := table[s]
		if s == 0 || t == r || gone[r] {
			continue
		}
		gone[r] = true
		switch {
		case f.dummy(t) && f.dummy(r):
			for c := f.first[r]; c >= 0; {
				next := f.next[c]
				f.adopt(t, c)
				c = next
			}
		case f.dummy(t), reply(r) && !reply(t):
			f.adopt(t, r)
		default:
			d := int32(len(f.first))
			f.grow(len(f.first) + 1)
			gone[t] = true
			gone = append(gone, false)
			f.adopt(d, r)
			f.adopt(d, t)
			roots, table[s], t = append(roots, d), d, d
		}
		changed[t] = true
	}
	roots = slices.DeleteFunc(slices.Clone(roots), func(r int32) bool { return gone[r] })
	for p := range changed {
		f.sortChildren(p)
	}
	slices.SortFunc(roots, func(a, b int32) int { return f.compare(f.head(a), f.head(b)) })
	f.roots = roots
}

// compare orders messages by sent date.
func (f *forest) compare(a, b int32) int {
	return cmp.Or(cmp.Compare(f.messages[a].sent, f.messages[b].sent), cmp.Compare(a, b))
}

// sortChildren is step 6 for one set of siblings.
func (f *forest) sortChildren(p int32) {
	var list []int32
	for c := f.first[p]; c >= 0; c = f.next[c] {
		list = append(list, c)
	}
	slices.SortFunc(list, f.compare)
	f.first[p] = -1
	for _, c := range list {
		f.adopt(p, c)
	}
}

// byArrival puts the threads into the order of their latest arrivals.
func (f *forest) byArrival() {
	type item struct {
		root    int32
		arrived int64
	}
	items := make([]item, len(f.roots))
	var stack []int32
	for i, r := range f.roots {
		items[i] = item{r, -1 << 63}
		stack = append(stack[:0], r)
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if !f.dummy(n) {
				items[i].arrived = max(items[i].arrived, f.messages[n].arrived)
			}
			for c := f.first[n]; c >= 0; c = f.next[c] {
				stack = append(stack, c)
			}
		}
	}
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(a.arrived, b.arrived) })
	for i := range items {
		f.roots[i] = items[i].root
	}
}
