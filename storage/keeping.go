package storage

// Keeping is p with the messages of old that are not in it any more, at their places and as they were: what a holder of old has who may not be told
// yet that they went. gone are their indexes in old, as Diff tells them. It shares the chunks of p in whose midst nothing is kept.
//
// Its HighestModSeq is old's, because not every change since is in it; Latest is p's.
func (p *Snapshot) Keeping(old *Snapshot, gone []int) *Snapshot {
	k := keeper{old: old, gone: gone}
	for _, chunk := range p.chunks {
		if k.before(chunk[len(chunk)-1].uid) {
			k.merge(chunk)
		} else {
			k.chunks = append(k.chunks, chunk)
		}
	}
	k.merge(nil)
	m := p.mailbox
	m.HighestModSeq = old.mailbox.HighestModSeq
	q := newSnapshot(m, p.keywords, k.chunks)
	q.latest = p.Latest()
	return q
}

// keeper builds the chunks of Keeping.
type keeper struct {
	old    *Snapshot
	gone   []int // descending; those at the end are next
	chunks [][]packed
}

// next is the next message that is kept, nil if there is none.
func (k *keeper) next() *packed {
	if len(k.gone) == 0 {
		return nil
	}
	return k.old.at(k.gone[len(k.gone)-1])
}

// before tells whether the next one comes before a UID.
func (k *keeper) before(uid uint32) bool {
	e := k.next()
	return e != nil && e.uid < uid
}

// merge adds a chunk with those that are kept in its midst, in chunks of the usual length; of nil, all that are left.
func (k *keeper) merge(chunk []packed) {
	var out []packed
	add := func(e *packed) {
		if len(out) == chunkLen {
			k.chunks, out = append(k.chunks, out), nil
		}
		out = append(out, *e)
	}
	for i := range chunk {
		for k.before(chunk[i].uid) {
			add(k.next())
			k.gone = k.gone[:len(k.gone)-1]
		}
		add(&chunk[i])
	}
	for chunk == nil && len(k.gone) > 0 {
		add(k.next())
		k.gone = k.gone[:len(k.gone)-1]
	}
	if len(out) > 0 {
		k.chunks = append(k.chunks, out)
	}
}
