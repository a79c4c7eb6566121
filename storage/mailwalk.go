package storage

import "context"

// mailWalk gives batch after batch of rows. While one is consumed the next is read by a goroutine of the walk's, unless the
// cache has it. Only batches in memory wait for a slow consumer, never a query. Bodies are not read ahead: what is
// copied at once, by the processor that read it, is still in its cache, which was worth more than two of them at work.
type mailWalk struct {
	s    *Store
	ctx  context.Context
	p    *Snapshot
	want mailWanted
	rest []int // not asked for yet

	part  mailPart
	own   [2]*mailRows  // of the pool, nil while not needed
	turn  int           // whose is part's
	ahead chan mailPart // capacity 1
	busy  bool          // a part is read or lies in ahead
}

// mailPart is a batch: the rows of some indexes, or why they could not be read.
type mailPart struct {
	indexes []int
	rows    *mailRows
	err     error
	fell    any // what the reading goroutine panicked with: the consumer does in its place, which is one session's end and not all of them
}

// next makes the next batch part; false when there is none.
func (w *mailWalk) next() bool {
	switch {
	case w.busy:
		w.part, w.busy = <-w.ahead, false
		if w.part.fell != nil {
			panic(w.part.fell)
		}
	case len(w.rest) == 0:
		return false
	default:
		w.part = w.read(w.mine(), w.rest)
	}
	w.rest = w.rest[len(w.part.indexes):]
	w.turn = 1 - w.turn
	if len(w.rest) > 0 && w.part.err == nil && w.want.MailWant&WantBody == 0 {
		w.readAhead()
	}
	return true
}

// mine are the rows that the next batch may be read into.
func (w *mailWalk) mine() *mailRows {
	if w.own[w.turn] == nil {
		w.own[w.turn] = mailRowsPool.Get().(*mailRows)
	}
	return w.own[w.turn]
}

func (w *mailWalk) readAhead() {
	if w.ahead == nil {
		w.ahead = make(chan mailPart, 1)
	}
	w.busy = true
	part := w.rest[:min(len(w.rest), mailBatch)]
	if w.s.caches(part, w.want) {
		if b := w.s.mails.get(w.p, part, w.want); b != nil {
			w.ahead <- mailPart{indexes: part, rows: b}
			return
		}
	}
	own, rest := w.mine(), w.rest
	go func() {
		var got mailPart
		defer func() {
			got.fell = recover()
			w.ahead <- got
		}()
		got = w.read(own, rest)
	}()
}

// read reads a batch of the first of some indexes, at least one.
func (w *mailWalk) read(own *mailRows, indexes []int) mailPart {
	part := mailPart{indexes: indexes[:min(len(indexes), mailBatch)]}
	if part.err = w.ctx.Err(); part.err == nil {
		part.rows, part.err = w.s.mailRows(own, w.p, part.indexes, w.want)
	}
	if part.err != nil || !part.rows.cut {
		return part
	}
	n := 0
	for n < len(part.indexes) && part.rows.at(n, w.p.at(part.indexes[n]).blob) != nil {
		n++
	}
	if n == 0 { // there was too much before it
		n = 1
		part.err = own.read(w.s, w.p, part.indexes[:1], w.want)
	}
	part.indexes = part.indexes[:n] // the next query begins with the rest
	return part
}

// close waits for what is being read.
func (w *mailWalk) close() {
	if w.busy {
		<-w.ahead
	}
	for _, own := range w.own {
		if own != nil {
			mailRowsPool.Put(own)
		}
	}
}
