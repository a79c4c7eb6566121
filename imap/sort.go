package imap

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

// sort is SORT and UID SORT (RFC 5256, RFC 5957, RFC 5267 section 3).
func (c *client) sort(t *task) error {
	c.d.SP()
	o := c.d.Sort()
	if !c.d.EOL() {
		return nil
	}
	r, err := c.findFor(t, &o.SearchOptions)
	if err != nil {
		return err
	}
	w := c.searching(t)
	w.text = "Sorting"
	if r.found, err = w.sorted(r, o.Criteria); err != nil {
		return err
	}
	r.criteria = o.Criteria
	return c.tellFound(t, "SORT", &o.Return, r)
}

// findFor runs the search of SORT or THREAD, to which the charset must be said: what RFC 6855 section 3 forbids SEARCH is a charset other
// than UTF-8 here (its erratum 4029).
func (c *client) findFor(t *task, o *wire.SearchOptions) (*result, error) {
	if c.accept && !c.rev2 && o.Charset != "UTF-8" {
		return nil, &wire.Error{Text: "The charset is UTF-8 once UTF8=ACCEPT is enabled"}
	}
	err := knownCharset(o.Charset)
	if o.Charset = ""; err != nil {
		if o.Return.Save {
			c.view.saved = nil // RFC 9051 section 6.4.4.1: a NO leaves it empty
		}
		return nil, err
	}
	return c.find(t, o, limit{})
}

// column is one criterion of all messages that are sorted: numbers in whose order they come, and where those are the beginnings of
// texts the texts.
type column struct {
	numbers []uint64
	texts   []text
	reverse bool
}

// text is where a text lies in the sorter's arena.
type text struct{ from, size uint32 }

// sortArena is how many bytes of texts a SORT may hold: texts are cut to 1 KiB, and most have less than 50 bytes.
const sortArena = 64 << 20

var errSortArena = &wire.Error{No: true, Code: "LIMIT", Text: "Too many long texts to sort"}

// sorter puts messages in order.
type sorter struct {
	columns []column
	arena   []byte
}

// sortValues are the texts by which keys sort.
var sortValues = map[wire.SortKey]mime.SortValue{
	wire.SortSubject: mime.SortSubject, wire.SortFrom: mime.SortFrom, wire.SortTo: mime.SortTo, wire.SortCc: mime.SortCc,
	wire.SortDisplayFrom: mime.SortDisplayFrom, wire.SortDisplayTo: mime.SortDisplayTo,
}

// sorted gives what was found in the order of the criteria. RFC 5256 section 3: what is equal stays in the order of the sequence numbers.
func (w *work) sorted(r *result, criteria []wire.SortCriterion) ([]int, error) {
	if len(r.found) < 2 {
		return r.found, nil
	}
	s := &sorter{columns: make([]column, len(criteria))}
	keys := false
	for k, c := range criteria {
		s.columns[k] = column{numbers: make([]uint64, len(r.found)), reverse: c.Reverse}
		if _, ok := sortValues[c.Key]; ok {
			s.columns[k].texts = make([]text, len(r.found))
		}
		keys = keys || c.Key != wire.SortArrival && c.Key != wire.SortSize
	}
	defer w.release()
	if !keys {
		for n, i := range r.found {
			e := r.p.At(i)
			s.add(n, criteria, &e, nil)
		}
		return s.order(r.found), nil
	}
	err := w.eachKeys(r, func(n int, e *storage.Entry, k mime.Keys) error {
		s.add(n, criteria, e, k)
		if len(s.arena) > sortArena {
			return errSortArena
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.order(r.found), nil
}

// noKeys are those of a message that went: it sorts as one without a header.
var noKeys = mime.AppendKeys(nil, nil, true, new(mime.Envelope))

// eachKeys calls fn for each message that was found, n counting them.
func (w *work) eachKeys(r *result, fn func(n int, e *storage.Entry, k mime.Keys) error) error {
	w.goal, w.looked = uint64(len(r.found)), 0
	n := 0
	var e storage.Entry
	for batch := range slices.Chunk(r.found, keysStep) {
		if err := w.step(true); err != nil {
			return err
		}
		for i, row := range w.srv.store.Keys(w.ctx(), r.p, batch) {
			if row.Err != nil {
				if !missing(row.Err) {
					return row.Err
				}
				row.Keys = noKeys
			}
			e = r.p.At(i)
			if err := fn(n, &e, row.Keys); err != nil {
				return err
			}
			n++
		}
		w.looked = uint64(n)
	}
	return nil
}

// keysStep is how many messages are sorted between two looks at the clock.
const keysStep = 4096

// add puts a message's values into the columns.
func (s *sorter) add(n int, criteria []wire.SortCriterion, e *storage.Entry, k mime.Keys) {
	for i, c := range criteria {
		col := &s.columns[i]
		switch c.Key {
		case wire.SortArrival:
			col.numbers[n] = ordered(e.InternalDate)
		case wire.SortSize:
			col.numbers[n] = uint64(e.Size)
		case wire.SortDate:
			col.numbers[n] = ordered(sentDate(e, k))
		default:
			v := k.Value(sortValues[c.Key])
			col.numbers[n] = beginning(v)
			if len(v) > 8 {
				col.texts[n] = text{uint32(len(s.arena)), uint32(len(v) - 8)}
				s.arena = append(s.arena, v[8:]...)
			}
		}
	}
}

// sentDate is the sent date of a message (RFC 5256 section 2.2).
func sentDate(e *storage.Entry, k mime.Keys) int64 {
	if sent, ok := k.Sent(); ok {
		return sent
	}
	return e.InternalDate
}

// ordered is a number without a sign in whose order those with one come.
func ordered(n int64) uint64 { return uint64(n) ^ 1<<63 }

// beginning has the first eight bytes of a text. Shorter ones are filled up with NUL, which no text has.
func beginning(v []byte) uint64 {
	if len(v) >= 8 {
		return binary.BigEndian.Uint64(v)
	}
	var n uint64
	for i, c := range v {
		n |= uint64(c) << (56 - 8*i)
	}
	return n
}

// order sorts. The first column's numbers lie with the places, so that most comparisons look at nothing else.
func (s *sorter) order(found []int) []int {
	type item struct {
		number uint64
		n      uint32
	}
	items := make([]item, len(found))
	first := &s.columns[0]
	for n := range items {
		items[n] = item{first.numbers[n], uint32(n)}
		if first.reverse {
			items[n].number = ^items[n].number
		}
	}
	slices.SortFunc(items, func(a, b item) int {
		if a.number != b.number {
			if a.number < b.number {
				return -1
			}
			return 1
		}
		return s.compare(a.n, b.n)
	})
	out := make([]int, len(found))
	for k, it := range items {
		out[k] = found[it.n]
	}
	return out
}

// compare tells how two messages come; never that they are equal.
func (s *sorter) compare(a, b uint32) int {
	for i := range s.columns {
		c := &s.columns[i]
		n := cmp.Compare(c.numbers[a], c.numbers[b])
		if n == 0 && c.texts != nil {
			n = bytes.Compare(s.at(c.texts[a]), s.at(c.texts[b]))
		}
		if n != 0 {
			if c.reverse {
				return -n
			}
			return n
		}
	}
	return cmp.Compare(a, b)
}

func (s *sorter) at(t text) []byte { return s.arena[t.from : t.from+t.size] }
