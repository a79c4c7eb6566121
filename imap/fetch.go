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
	rowBatch  = 1024 // of which the store holds as much in memory as it likes
	bodyBatch = 32   // of which a search opens the bodies, or of which \Seen is set before they are told
)

// fetcher is a FETCH being answered. What is the same for each message is worked out once.
type fetcher struct {
	*client
	t        *task
	o        *wire.FetchOptions
	want     storage.MailWant
	sections []section
	filter   *mime.Filter // of the headers in rows; nil: they come whole
	seen     bool         // \Seen is set
	bodies   bool         // more than the header is sent of a message
	gone     bool         // a message's rows were not there any more
	damaged  error        // they were, and could not be read
	unknown  bool         // a part with an encoding that nobody knows was asked for decoded
	path     bool         // the part index is needed
	marked   []uint32     // UIDs of the batch that got \Seen

	// of the message that is answered now
	p        *storage.Snapshot // where its flags are
	now      *storage.Snapshot // and those of the ones in marked
	entry    storage.Entry
	first    bool
	tellSeen bool
	mail     *storage.Mail
	thread   uint64
	index    *mime.Index
	short    []byte // BODY of this message
	body     storage.Body
	scratch  []byte
}

// fetch is FETCH and UID FETCH (RFC 9051 section 6.4.5, RFC 7162 section 3.1.4).
func (c *client) fetch(t *task) error {
	c.d.SP()
	set := c.d.NumSet()
	c.d.SP()
	o := c.d.Fetch()
	c.d.FetchModifiers(o)
	if !c.d.EOL() {
		return nil
	}
	if err := c.mayModify(t, o); err != nil {
		return err
	}
	spans, err := c.named(t, set)
	if err != nil {
		return err
	}
	if o.ModSeq {
		c.modSeqAware()
	}
	if o.Vanished {
		if err := c.tellEarlier(c.uidRanges(set), o.ChangedSince, 0); err != nil {
			return err
		}
	}
	// RFC 9051 section 6.4.9: UID is always told, RFC 9586 section 3.3: when it does not stand in front
	o.UID = o.UID || t.uid() && !c.uidOnly
	if o.Partial != nil {
		spans = cutRange(spans, *o.Partial)
	}
	if o.Changed {
		spans = changedSince(c.view.snap, spans, o.ChangedSince)
	}
	spans = c.bound(t, spans)
	c.ses.SetActivity(fmt.Sprintf("%s %d messages", t.name, count(spans)))
	f := &fetcher{client: c, t: t, o: o}
	f.plan()
	if err := f.run(spans); err != nil {
		return err
	}
	switch {
	case f.unknown:
		err = &wire.Error{No: true, Code: "UNKNOWN-CTE", Text: "A part has an encoding that is not known"}
	case f.damaged != nil:
		err = f.damaged
	case f.gone:
		err = errGone
	}
	if err != nil && t.lowest != 0 {
		t.code = "-" // the tagged response has another
		c.codes(t)
	}
	return err
}

// mayModify checks the modifiers of a FETCH.
func (c *client) mayModify(t *task, o *wire.FetchOptions) error {
	switch {
	case o.Vanished && (!t.uid() || !c.qresync || !o.Changed):
		return &wire.Error{Text: "VANISHED needs UID FETCH, ENABLE QRESYNC and CHANGEDSINCE"} // RFC 7162 section 3.2.6
	case o.Partial != nil && !t.uid():
		return &wire.Error{Text: "PARTIAL needs UID FETCH"} // RFC 9394 section 3.3
	case o.Partial != nil && c.srv.o.MessageLimit > 0 && o.Partial.Width() > int64(c.srv.o.MessageLimit):
		// RFC 9738 section 3.1: what is known to be too much is not begun
		return &wire.Error{No: true, Code: fmt.Sprintf("MESSAGELIMIT %d", c.srv.o.MessageLimit), Text: "Too many messages for one command"}
	}
	return nil
}

// cutRange keeps that part of the messages of spans which PARTIAL names.
func cutRange(spans []span, p wire.PartialRange) []span {
	n := count(spans)
	first, end := p.Cut(n)
	if first >= end {
		return nil
	}
	spans = cutFront(spans, first)
	for over := n - end; over > 0; {
		last := &spans[len(spans)-1]
		if k := last.end - last.first; k <= over {
			over -= k
			spans = spans[:len(spans)-1]
			continue
		}
		last.end -= over
		over = 0
	}
	return spans
}

// changedSince keeps the messages of spans that changed after modseq.
func changedSince(p *storage.Snapshot, spans []span, modseq uint64) []span {
	if modseq >= p.Latest() {
		return nil
	}
	return filter(spans, func(i int) bool { return p.At(i).ModSeq > modseq })
}

// plan works out what is needed of each message.
func (f *fetcher) plan() {
	o := f.o
	if o.Envelope {
		f.want |= storage.WantEnvelope
	}
	if o.BodyStructure != nil || o.Body {
		f.want |= storage.WantStructure
	}
	if o.ThreadID {
		f.want |= storage.WantKeys
	}
	if o.Preview {
		f.want |= storage.WantPreview
	}
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
	f.filter = f.onlyFields()
}

// onlyFields is the filter of the one section that needs the message's own header, nil when there is none or more of them.
func (f *fetcher) onlyFields() (only *mime.Filter) {
	n := 0
	for i := range f.sections {
		if s := &f.sections[i]; s.header() {
			n++
			only = s.fields
		}
	}
	if n != 1 {
		return nil
	}
	return only
}

func (f *fetcher) add(s section, peek bool) {
	f.seen = f.seen || !peek
	if b := s.body; b != nil && len(b.HeaderFields)+len(b.HeaderFieldsNot) > 0 {
		s.fields = mime.NewFilter(append(b.HeaderFields, b.HeaderFieldsNot...), len(b.HeaderFieldsNot) > 0)
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
	if f.seen {
		size = bodyBatch
	}
	if f.t.lowest != 0 {
		size = 1
	}
	if f.bodies && (f.want != 0 || count(spans) > 1) {
		f.want |= storage.WantBody // one query for many small messages; one message alone is opened
	}
	batch := make([]int, 0, min(size, count(spans)))
	for i := range f.order(spans) {
		if batch = append(batch, i); len(batch) == size {
			if err := f.batch(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return f.batch(batch)
}

// order is in which order messages are answered: when not all are, from the last on (RFC 9738 section 3.1).
func (f *fetcher) order(spans []span) func(func(int) bool) {
	if f.t.lowest == 0 {
		return each(spans)
	}
	return func(yield func(int) bool) {
		for _, s := range slices.Backward(spans) {
			for i := s.end - 1; i >= s.first; i-- {
				if !yield(i) {
					return
				}
			}
		}
	}
}

// plain answers from the snapshot alone.
func (f *fetcher) plain(spans []span) error {
	f.p = f.view.snap
	for i := range f.order(spans) {
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
	for i, row := range f.srv.store.MailFiltered(f.ctx(), f.view.snap, indexes, f.want, f.filter) {
		err := row.Err
		if err == nil {
			err = f.message(i, &row.Mail)
		} else {
			err = f.missing(i, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// missing is called with a message that cannot be read; the others are. RFC 2180 section 4.1: another session may have expunged it, and the
// sweeper taken it since. If it is still in the mailbox, it is damaged.
func (f *fetcher) missing(i int, err error) error {
	if errors.Is(err, storage.ErrDamaged) {
		f.damaged = err
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p, e := f.newest()
	if e != nil {
		return e
	}
	if _, there := p.Find(f.view.snap.UID(i)); there {
		f.damaged = fmt.Errorf("%w: message %d of mailbox %d: %w", storage.ErrDamaged, f.view.snap.UID(i), f.view.id, err)
	} else {
		f.gone = true
	}
	return nil
}

// markSeen sets \Seen for those of a batch that have it not. It comes before the bodies, so that their responses can tell it.
func (f *fetcher) markSeen(indexes []int) error {
	v := f.view
	f.p, f.now, f.marked = v.snap, nil, nil
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
	if err := f.syncBut(false, f.t.uid(), &change{uids: uids}); err != nil {
		return err
	}
	f.p, f.marked = v.snap, uids
	f.now, err = f.newest()
	return err
}

// justSeen makes the message's entry what it is since \Seen was set: f.p does not know it when expunges wait to be told.
func (f *fetcher) justSeen() {
	if i, ok := f.now.Find(f.entry.UID); ok {
		f.entry = f.now.At(i)
	}
	f.entry.Flags |= storage.Seen
}

// message answers one.
func (f *fetcher) message(i int, mail *storage.Mail) error {
	if err := f.broken(); err != nil {
		return err
	}
	f.entry, f.mail, f.index = f.p.At(i), mail, nil
	if f.tellSeen = slices.Contains(f.marked, f.entry.UID); f.tellSeen {
		f.justSeen()
	}
	defer f.closeBody()
	if f.path {
		x, err := mail.Index()
		if err != nil {
			return f.missing(i, err)
		}
		f.index = x
	}
	if f.o.Body {
		b, err := mail.AppendShort(f.short[:0])
		if err != nil {
			return f.missing(i, err)
		}
		f.short = b
	}
	if err := f.ready(); err != nil {
		return f.missing(i, err)
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
	b := f.head(f.e.Buf(), i, m.UID)
	start := len(b)
	aware := f.tellSeen && f.condstore // RFC 7162 section 3.2.4: flags that were not asked for come with both
	if o.UID || aware && !f.uidOnly {
		b = append(b, "UID "...)
		b = wire.AppendNumber(b, uint64(m.UID))
	}
	if o.Flags || f.tellSeen {
		b = appendFlags(spaced(b, start), m, f.p.Keywords(), f.view.isRecent(m.UID))
	}
	if o.ModSeq || aware {
		b = f.appendModSeq(spaced(b, start), m)
	}
	if o.InternalDate {
		b = append(spaced(b, start), "INTERNALDATE "...)
		b = wire.AppendDateTime(b, m.InternalDate, m.Zone)
	}
	if o.RFC822Size {
		b = append(spaced(b, start), "RFC822.SIZE "...)
		b = wire.AppendNumber(b, uint64(m.Size))
	}
	if o.SaveDate {
		b = append(spaced(b, start), "SAVEDATE "...)
		b = wire.AppendDateTime(b, m.SaveDate, 0)
	}
	if o.EmailID {
		b = append(appendObjectID(append(spaced(b, start), "EMAILID ("...), emailPrefix, m.Blob), ')')
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
	if f.o.ThreadID {
		f.threadID()
	}
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
		f.e.Bytes(f.short)
	}
	if f.o.Preview {
		f.preview()
	}
	return nil
}
