package imap

import (
	"hash/maphash"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

// thread is THREAD and UID THREAD (RFC 5256).
func (c *client) thread(t *task) error {
	c.d.SP()
	o := c.d.Thread()
	if !c.d.EOL() {
		return nil
	}
	algorithm := algorithms[o.Algorithm]
	if algorithm == nil {
		return &wire.Error{Text: "Unknown threading algorithm"}
	}
	r, err := c.findFor(t, &o.SearchOptions)
	if err != nil {
		return err
	}
	w := c.searching(t)
	w.text = "Threading"
	f, err := w.threads(r, algorithm)
	if err != nil {
		return err
	}
	return c.tellThreads(t, r, f)
}

// algorithms make a forest of messages.
var algorithms = map[string]func(*forest) error{
	"ORDEREDSUBJECT": (*forest).orderedSubject,
	"REFERENCES":     (*forest).references,
	"REFS":           (*forest).refs,
}

// threads gathers what threading needs of the messages that were found, and makes the forest.
func (w *work) threads(r *result, algorithm func(*forest) error) (*forest, error) {
	defer w.release()
	f := newForest(len(r.found))
	var h maphash.Hash
	h.SetSeed(forestSeed)
	err := w.eachKeys(r, func(n int, e *storage.Entry, k mime.Keys) error {
		m := &f.messages[n]
		m.sent, m.arrived, m.id, m.reply = sentDate(e, k), e.InternalDate, k.ID(), k.Reply()
		if subject := k.Value(mime.SortSubject); len(subject) > 0 {
			h.Reset()
			h.Write(subject)
			m.subject = max(h.Sum64(), 1)
		}
		m.refs = uint32(len(f.ids))
		for i := range k.Refs() {
			f.ids = append(f.ids, k.Ref(i))
		}
		if len(f.ids) > maxReferences+8*len(r.found) {
			return errReferences
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := w.step(true); err != nil {
		return nil, err
	}
	return f, algorithm(f)
}

// maxReferences is how many references all messages together may have, beside eight for each: up to 50 bytes of memory each.
const maxReferences = 1 << 20

var errReferences = &wire.Error{No: true, Code: "LIMIT", Text: "Too many references to thread"}

// tellThreads gives the THREAD response (RFC 5256 section 4).
func (c *client) tellThreads(t *task, r *result, f *forest) error {
	c.e.Raw("* THREAD")
	if len(f.roots) > 0 {
		c.e.Raw(" ")
	}
	var stack []int32 // threads that wait to be told; below zero: a parenthesis that waits to be closed
	for _, root := range f.roots {
		stack = append(stack[:0], root)
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			if stack = stack[:len(stack)-1]; n < 0 {
				c.e.Raw(")")
				continue
			}
			stack = c.tellThread(t.uid(), r, f, n, stack)
			c.relieve()
		}
	}
	c.e.CRLF()
	return c.e.Err()
}

// tellThread gives a thread down to where it splits, and puts the threads that it splits into on the stack. No thread is too deep for that.
func (c *client) tellThread(uid bool, r *result, f *forest, n int32, stack []int32) []int32 {
	c.e.Raw("(")
	for {
		if !f.dummy(n) {
			c.e.Num(uint64(r.number(r.found[n], uid)))
		}
		child := f.first[n]
		if child < 0 {
			c.e.Raw(")")
			return stack
		}
		if !f.dummy(n) {
			c.e.Raw(" ")
		}
		if f.next[child] < 0 {
			c.relieve()
			n = child
			continue
		}
		stack = append(stack, -1)
		from := len(stack)
		for ; child >= 0; child = f.next[child] {
			stack = append(stack, child)
		}
		for a, b := from, len(stack)-1; a < b; a, b = a+1, b-1 {
			stack[a], stack[b] = stack[b], stack[a]
		}
		return stack
	}
}
