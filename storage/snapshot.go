package storage

import (
	"slices"
	"sort"
	"sync/atomic"
)

// packed is an Entry as pictures hold it: 56 bytes.
type packed struct {
	keywords uint64
	modseq   uint64
	date     int64
	blob     int64
	id       int64
	uid      uint32
	size     uint32
	saved    uint32 // Unix seconds; enough until 2106
	zone     int16
	flags    Flags
}

func (e *packed) entry() Entry {
	return Entry{UID: e.uid, Flags: e.flags, Keywords: e.keywords, Size: e.size, ModSeq: e.modseq,
		InternalDate: e.date, Zone: e.zone, SaveDate: int64(e.saved), Blob: e.blob, ID: e.id}
}

// chunkLen is how many entries a chunk has at most: what one changed flag copies.
const chunkLen = 512

// Snapshot is an immutable picture of a mailbox. Sessions share it: it costs a session nothing but a pointer. Sequence number n is At(n-1).
// Built in chunks; two snapshots of one mailbox share the chunks that are equal, so that Diff is cheap.
// Mailbox().Subscribed and Children are not kept here: ask Store.Mailbox.
//
// A chunk is never changed once it was published, with one exception that no reader can see: appending to the newest picture
// writes behind the end of its last chunk, where older pictures do not look. So two chunks that begin at the same address are equal as
// far as both go.
type Snapshot struct {
	mailbox  Mailbox
	keywords []string
	chunks   [][]packed // none empty
	starts   []int32    // index of each chunk's first entry
	n        int
	latest   uint64       // Latest, when that is more than HighestModSeq
	unseen   atomic.Int32 // FirstUnseen+2; 0: not looked for yet
}

func newSnapshot(m Mailbox, keywords []string, chunks [][]packed) *Snapshot {
	p := &Snapshot{mailbox: m, keywords: keywords, chunks: chunks, starts: make([]int32, len(chunks))}
	for i, c := range chunks {
		p.starts[i] = int32(p.n)
		p.n += len(c)
	}
	return p
}

// Mailbox has the name, counters, UIDNEXT and HIGHESTMODSEQ at this picture.
func (p *Snapshot) Mailbox() Mailbox { return p.mailbox }

// HighestModSeq is Mailbox's: every change up to it is in this picture, none after it.
func (p *Snapshot) HighestModSeq() uint64 { return p.mailbox.HighestModSeq }

// Latest is the greatest mod-sequence that a message in this picture may have: HighestModSeq, but for pictures made by Keeping.
func (p *Snapshot) Latest() uint64 { return max(p.latest, p.mailbox.HighestModSeq) }

// UIDNext is Mailbox's.
func (p *Snapshot) UIDNext() uint32 { return p.mailbox.UIDNext }

// Len is how many messages there are.
func (p *Snapshot) Len() int { return p.n }

// At is the message with sequence number i+1.
func (p *Snapshot) At(i int) Entry { return p.at(i).entry() }

// UID of the message with sequence number i+1.
func (p *Snapshot) UID(i int) uint32 { return p.at(i).uid }

func (p *Snapshot) at(i int) *packed {
	c := p.chunkOf(i)
	return &p.chunks[c][i-int(p.starts[c])]
}

// chunkOf finds the chunk of an index. Chunks are full but for a few, so the first guess is near.
func (p *Snapshot) chunkOf(i int) int {
	c := i / chunkLen
	if c < len(p.chunks) && int(p.starts[c]) <= i && i < int(p.starts[c])+len(p.chunks[c]) {
		return c
	}
	return sort.Search(len(p.starts), func(c int) bool { return int(p.starts[c]) > i }) - 1
}

// Keywords are the names of the keyword bits: index = bit; as first written; compared without case. Not to be changed.
func (p *Snapshot) Keywords() []string { return p.keywords }

// Filter asks for messages by their flags: those that have all of Flags and Keywords, and none of the others.
type Filter struct {
	Flags, NotFlags       Flags
	Keywords, NotKeywords uint64
}

// Select appends the indexes from first to end, end not included, of the messages that pass, ascending.
func (p *Snapshot) Select(dst []int, first, end int, f Filter) []int {
	flags, keywords := f.Flags|f.NotFlags, f.Keywords|f.NotKeywords
	for first < end {
		c := p.chunkOf(first)
		start := int(p.starts[c])
		chunk := p.chunks[c][first-start : min(end-start, len(p.chunks[c]))]
		for k := range chunk {
			if e := &chunk[k]; e.flags&flags == f.Flags && e.keywords&keywords == f.Keywords {
				dst = append(dst, first+k)
			}
		}
		first += len(chunk)
	}
	return dst
}

// FirstUnseen is the index of the first message without \Seen, -1 if there is none.
func (p *Snapshot) FirstUnseen() int {
	if u := p.unseen.Load(); u != 0 {
		return int(u) - 2
	}
	first := -1
	if p.mailbox.Unseen > 0 {
		first = p.findUnseen()
	}
	p.unseen.Store(int32(first + 2))
	return first
}

func (p *Snapshot) findUnseen() int {
	for c, chunk := range p.chunks {
		for i := range chunk {
			if chunk[i].flags&Seen == 0 {
				return int(p.starts[c]) + i
			}
		}
	}
	return -1
}

// Find is the index of uid, or of where it would be, and whether it is there.
func (p *Snapshot) Find(uid uint32) (int, bool) {
	c, i, ok := find(p.chunks, uid)
	if c == len(p.chunks) {
		return p.n, false
	}
	return int(p.starts[c]) + i, ok
}

// find is the place of uid, or of the first greater one; behind the last: (len(chunks), 0).
func find(chunks [][]packed, uid uint32) (c, i int, ok bool) {
	c = sort.Search(len(chunks), func(c int) bool { return chunks[c][len(chunks[c])-1].uid >= uid })
	if c == len(chunks) {
		return c, 0, false
	}
	i, ok = slices.BinarySearchFunc(chunks[c], uid, func(e packed, uid uint32) int {
		switch {
		case e.uid < uid:
			return -1
		case e.uid > uid:
			return 1
		}
		return 0
	})
	return c, i, ok
}

// Diff tells what a holder of old must be told: gone are indexes in old, descending (as EXPUNGE wants them); changed are indexes in p of
// messages that old has with other flags, keywords or modseq; added is how many at p's end are new. What both share is skipped.
func (p *Snapshot) Diff(old *Snapshot) (gone, changed []int, added int) {
	a, b := cursor{p: old}, cursor{p: p}
	for {
		if skipShared(&a, &b) {
			continue
		}
		x, y := a.get(), b.get()
		switch {
		case x == nil && y == nil:
			slices.Reverse(gone)
			return gone, changed, added
		case y == nil || x != nil && x.uid < y.uid:
			gone = append(gone, a.index())
			a.next(1)
		case x == nil || y.uid < x.uid:
			added++
			b.next(1)
		default:
			if x.flags != y.flags || x.keywords != y.keywords || x.modseq != y.modseq {
				changed = append(changed, b.index())
			}
			a.next(1)
			b.next(1)
		}
	}
}

// cursor walks a picture.
type cursor struct {
	p    *Snapshot
	c, i int
}

func (k *cursor) get() *packed {
	if k.c == len(k.p.chunks) {
		return nil
	}
	return &k.p.chunks[k.c][k.i]
}

func (k *cursor) index() int { return int(k.p.starts[k.c]) + k.i }

func (k *cursor) next(n int) {
	k.i += n
	if k.i == len(k.p.chunks[k.c]) {
		k.c, k.i = k.c+1, 0
	}
}

// skipShared passes over a chunk that both have, when both are at the same place of it.
func skipShared(a, b *cursor) bool {
	x, y := a.get(), b.get()
	if x == nil || x != y {
		return false
	}
	n := min(len(a.p.chunks[a.c])-a.i, len(b.p.chunks[b.c])-b.i)
	a.next(n)
	b.next(n)
	return true
}

// edit is one step of what happens to a mailbox's messages.
type edit struct {
	put   packed // appended, or instead of the one with its UID
	first uint32 // if not 0: messages with UIDs first..last went
	last  uint32
}

// with is the picture after steps, with the row's new counters. Without keywords it keeps those it has: they only become more, and who adds one has read
// them. p must be the newest picture of its mailbox, or one that is thrown away if
// the transaction is: see Snapshot.
func (p *Snapshot) with(m Mailbox, keywords []string, steps []edit) *Snapshot {
	e := editor{chunks: slices.Clone(p.chunks), own: make([]bool, len(p.chunks))}
	for i := range steps {
		if s := &steps[i]; s.first != 0 {
			e.remove(s.first, s.last)
		} else {
			e.put(&s.put)
		}
	}
	if keywords == nil {
		keywords = p.keywords
	}
	return newSnapshot(m, keywords, e.chunks)
}

// editor builds a picture from another's chunks, copying those that it changes.
type editor struct {
	chunks [][]packed
	own    []bool // copied already
}

func (e *editor) put(m *packed) {
	c, i, ok := find(e.chunks, m.uid)
	if ok {
		e.copy(c)
		e.chunks[c][i] = *m
		return
	}
	// UIDs only grow, so what is not there comes last.
	last := len(e.chunks) - 1
	if last < 0 || len(e.chunks[last]) >= chunkLen {
		e.chunks, e.own = append(e.chunks, nil), append(e.own, true)
		last++
	}
	e.chunks[last] = append(e.chunks[last], *m)
}

func (e *editor) copy(c int) {
	if !e.own[c] {
		e.chunks[c] = slices.Clone(e.chunks[c])
		e.own[c] = true
	}
}

func (e *editor) remove(first, last uint32) {
	c, i, _ := find(e.chunks, first)
	for c < len(e.chunks) {
		chunk := e.chunks[c]
		end := i
		for end < len(chunk) && chunk[end].uid <= last {
			end++
		}
		switch {
		case end == i:
			return
		case i == 0 && end == len(chunk):
			e.chunks, e.own = slices.Delete(e.chunks, c, c+1), slices.Delete(e.own, c, c+1)
		default:
			e.copy(c)
			e.chunks[c] = slices.Delete(e.chunks[c], i, end)
			c = e.merge(c)
			if c < len(e.chunks) && e.chunks[c][len(e.chunks[c])-1].uid > last {
				return
			}
			c++
		}
		i = 0
	}
}

// merge joins chunk c with its neighbours while they are small, so that many removals do not leave many crumbs.
// It returns where the entries of c are now.
func (e *editor) merge(c int) int {
	join := func(a int) {
		b := make([]packed, 0, chunkLen)
		b = append(append(b, e.chunks[a]...), e.chunks[a+1]...)
		e.chunks[a], e.own[a] = b, true
		e.chunks, e.own = slices.Delete(e.chunks, a+1, a+2), slices.Delete(e.own, a+1, a+2)
	}
	if c > 0 && len(e.chunks[c-1])+len(e.chunks[c]) <= chunkLen/2 {
		c--
		join(c)
	}
	return c
}
