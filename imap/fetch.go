package imap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

// Sizes of the batches in which rows are asked for.
const (
	rowBatch  = 256
	bodyBatch = 32 // when bodies are sent along, or \Seen is set
)

// fetcher is a FETCH being answered. What is the same for each message is worked out once.
type fetcher struct {
	*client
	t        *task
	o        *wire.FetchOptions
	want     storage.MailWant
	sections []section
	seen     bool     // \Seen is set
	bodies   bool     // more than the header is sent of a message
	gone     bool     // a message's rows were not there any more
	unknown  bool     // a part with an encoding that nobody knows was asked for decoded
	path     bool     // the part index is needed
	marked   []uint32 // UIDs of the batch that got \Seen

	// of the message that is answered now
	p        *storage.Snapshot // where its flags are
	entry    storage.Entry
	first    bool
	tellSeen bool
	mail     *storage.Mail
	index    *mime.Index
	body     storage.Body
	scratch  []byte
}

// fetch is FETCH and UID FETCH (RFC 9051 section 6.4.5).
func (c *client) fetch(t *task) error {
	c.d.SP()
	set := c.d.NumSet()
	c.d.SP()
	o := c.d.Fetch()
	if !c.d.EOL() {
		return nil
	}
	spans, err := c.named(t, set)
	if err != nil {
		return err
	}
	o.UID = o.UID || t.uid() // RFC 9051 section 6.4.9: UID is always told
	c.ses.SetActivity(fmt.Sprintf("%s %d messages", t.name, count(spans)))
	f := &fetcher{client: c, t: t, o: o}
	f.plan()
	if err := f.run(spans); err != nil {
		return err
	}
	switch {
	case f.unknown:
		return &wire.Error{No: true, Code: "UNKNOWN-CTE", Text: "A part has an encoding that is not known"}
	case f.gone:
		return errGone
	}
	return nil
}

// plan works out what is needed of each message.
func (f *fetcher) plan() {
	o := f.o
	if o.Envelope {
		f.want |= storage.WantEnvelope
	}
	if o.BodyStructure != nil {
		f.want |= storage.WantStructure
	}
	f.path = o.Body
	legacy := func(on bool, name string, s imap.FetchItemBodySection) {
		if on {
			f.add(section{name: []byte(name), body: &s}, s.Peek)
		}
	}
	legacy(o.RFC822, "RFC822", imap.FetchItemBodySection{})
	legacy(o.RFC822Header, "RFC822.HEADER", imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true})
	legacy(o.RFC822Text, "RFC822.TEXT", imap.FetchItemBodySection{Specifier: imap.PartSpecifierText})
	for _, s := range o.BodySection {
		f.add(section{name: wire.AppendSection(nil, s), body: s}, s.Peek)
	}
	for _, s := range o.BinarySection {
		f.add(section{name: wire.AppendBinary(nil, s.Part, s.Partial), binary: s}, s.Peek)
	}
	for _, s := range o.BinarySectionSize {
		name := append([]byte("BINARY.SIZE"), wire.AppendBinary(nil, s.Part, nil)[len("BINARY"):]...)
		f.add(section{name: name, binary: &imap.FetchItemBinarySection{Part: s.Part}, sizeOnly: true}, true)
	}
	for _, s := range o.BinaryText {
		name := "BINARY"
		if s.Size {
			name = "BINARY.SIZE"
		}
		f.add(section{name: append([]byte(name), wire.AppendSection(nil, s.FetchItemBodySection)[len("BODY"):]...), body: s.FetchItemBodySection, sizeOnly: s.Size}, s.Peek)
	}
	if f.path {
		f.want |= storage.WantIndex
	}
	f.seen = f.seen && !f.view.readOnly && f.view.rights().Has(storage.MaySee) // RFC 4314 section 4
	f.bodies = slices.ContainsFunc(f.sections, func(s section) bool { return !s.header() })
}

func (f *fetcher) add(s section, peek bool) {
	f.seen = f.seen || !peek
	if b := s.body; b != nil && len(b.HeaderFields)+len(b.HeaderFieldsNot) > 0 {
		s.fields = mime.NewFieldSet(append(b.HeaderFields, b.HeaderFieldsNot...)...)
	}
	if s.header() {
		f.want |= storage.WantHeader
	}
	f.path = f.path || s.needsIndex()
	f.sections = append(f.sections, s)
}

// run answers the messages of spans.
func (f *fetcher) run(spans []span) error {
	if f.want == 0 && len(f.sections) == 0 {
		return f.plain(spans)
	}
	size := rowBatch
	if f.seen || f.bodies {
		size = bodyBatch
	}
	if f.bodies && (f.want != 0 || count(spans) > 1) {
		f.want |= storage.WantBody // one query for many small messages; one message alone is opened
	}
	batch := make([]int, 0, min(size, count(spans)))
	for i := range each(spans) {
		if batch = append(batch, i); len(batch) == size {
			if err := f.batch(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return f.batch(batch)
}

// plain answers from the snapshot alone.
func (f *fetcher) plain(spans []span) error {
	f.p = f.view.snap
	for i := range each(spans) {
		f.entry = f.p.At(i)
		f.begin(i)
		f.end()
		if i&0x3ff == 0 {
			if err := f.broken(); err != nil {
				return err
			}
		}
	}
	return nil
}

// broken tells whether there is a reason to stop: the connection, or a kill. A drain lets the command end.
func (c *client) broken() error {
	if err := c.e.Err(); err != nil {
		return err
	}
	return context.Cause(c.ctx())
}

// batch answers some messages with rows and bodies.
func (f *fetcher) batch(indexes []int) error {
	if len(indexes) == 0 {
		return nil
	}
	if err := f.markSeen(indexes); err != nil {
		return err
	}
	if f.want == 0 {
		for _, i := range indexes {
			if err := f.message(i, nil); err != nil {
				return err
			}
		}
		return nil
	}
	for i, row := range f.srv.store.Mail(f.ctx(), f.view.snap, indexes, f.want) {
		if errors.Is(row.Err, fs.ErrNotExist) {
			f.gone = true
			continue
		}
		if row.Err != nil {
			return row.Err
		}
		if err := f.message(i, &row.Mail); err != nil {
			return err
		}
	}
	return nil
}

// markSeen sets \Seen for those of a batch that have it not. It comes before the bodies, so that their responses can tell it.
func (f *fetcher) markSeen(indexes []int) error {
	v := f.view
	f.p, f.marked = v.snap, nil
	if !f.seen {
		return nil
	}
	var uids []uint32
	for _, i := range indexes {
		if m := v.snap.At(i); m.Flags&storage.Seen == 0 {
			uids = append(uids, m.UID)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	_, _, err := f.srv.store.SetFlags(f.ctx(), v.account, v.id, uids, storage.FlagChange{Op: storage.FlagsAdd, Flags: storage.Seen})
	if err != nil {
		return err
	}
	if err := f.syncBut(false, f.t.uid(), &change{uids: uids, told: true}); err != nil {
		return err
	}
	f.p, f.marked = v.snap, uids
	return nil
}

// message answers one.
func (f *fetcher) message(i int, mail *storage.Mail) error {
	if err := f.broken(); err != nil {
		return err
	}
	f.entry, f.mail, f.index = f.p.At(i), mail, nil
	if f.tellSeen = slices.Contains(f.marked, f.entry.UID); f.tellSeen {
		f.entry.Flags |= storage.Seen // f.p does not know it when expunges wait to be told
	}
	defer f.closeBody()
	if f.path {
		x, err := mail.Index()
		if err != nil {
			return err
		}
		f.index = x
	}
	if err := f.open(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			f.gone = true
			return nil
		}
		return err
	}
	f.begin(i)
	if err := f.parsed(); err != nil {
		return err
	}
	for k := range f.sections {
		if err := f.section(&f.sections[k]); err != nil {
			return err
		}
	}
	f.end()
	return nil
}

// begin gives the items that the snapshot knows.
func (f *fetcher) begin(i int) {
	o, m := f.o, f.entry
	b := append(f.e.Buf(), "* "...)
	b = wire.AppendNumber(b, uint64(i+1))
	b = append(b, " FETCH ("...)
	start := len(b)
	if o.UID {
		b = append(b, "UID "...)
		b = wire.AppendNumber(b, uint64(m.UID))
	}
	if o.Flags || f.tellSeen {
		b = appendFlags(spaced(b, start), m, f.p.Keywords(), f.view.isRecent(m.UID))
	}
	if o.InternalDate {
		b = append(spaced(b, start), "INTERNALDATE "...)
		b = wire.AppendDateTime(b, m.InternalDate, m.Zone)
	}
	if o.RFC822Size {
		b = append(spaced(b, start), "RFC822.SIZE "...)
		b = wire.AppendNumber(b, uint64(m.Size))
	}
	f.first = len(b) == start
	f.e.Set(b)
}

// item begins another item.
func (f *fetcher) item(name []byte) {
	b := f.e.Buf()
	if !f.first {
		b = append(b, ' ')
	}
	f.first = false
	f.e.Set(append(append(b, name...), ' '))
}

func (f *fetcher) end() {
	f.e.Raw(")").CRLF()
}

// The names of the items that lie ready.
var (
	nameEnvelope  = []byte("ENVELOPE")
	nameStructure = []byte("BODYSTRUCTURE")
	nameBody      = []byte("BODY")
)

// parsed gives what was worked out when the message was stored.
func (f *fetcher) parsed() error {
	if f.o.Envelope {
		f.item(nameEnvelope)
		f.e.Bytes(f.mail.Envelope)
	}
	if f.o.BodyStructure != nil {
		f.item(nameStructure)
		f.e.Bytes(f.mail.Structure)
	}
	if f.o.Body {
		f.item(nameBody)
		f.e.Set(f.index.AppendStructure(f.e.Buf(), false))
	}
	return nil
}
