package imap

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

// maxKeyword is how long a keyword may be.
const maxKeyword = 128

// Refusals of a message.
var (
	errTooBig    = &wire.Error{No: true, Code: "TOOBIG", Text: "Message too large"} // RFC 7889 section 4, RFC 4469 section 4.2
	errEmpty     = &wire.Error{No: true, Code: "CANNOT", Text: "A message cannot be empty"}
	errUTF8First = &wire.Error{No: true, Code: "CANNOT", Text: "ENABLE UTF8=ACCEPT must come first"}
	errNUL       = &wire.Error{Text: "NUL in a literal"} // RFC 9051 section 9, CHAR8
	errBinary    = &wire.Error{No: true, Code: "UNKNOWN-CTE", Text: "A NUL may only be in the body of a part that is 7bit, 8bit or binary"}
)

// appender reads the messages of an APPEND or the one of a REPLACE. What can be refused is refused before the client is given leave to send.
type appender struct {
	*client
	t     *task
	name  string          // of the mailbox, as it was written
	box   storage.Mailbox // it, once looked up
	batch *storage.Batch  // messages before this one; nil in a REPLACE
	old   storage.Entry   // the message that goes in a REPLACE
	from  int64           // and whose it is

	// of the message that is being read
	target storage.Target
	u      *storage.Upload // nil until its first bytes come
	size   int64           // bytes of it so far
	nul    nulFinder       // a NUL came where one may be: in a literal8 or a stored message
	bad    nulFinder       // or in an ordinary literal
}

// append is APPEND (RFC 9051 section 6.3.12) of one or several messages (RFC 3502): all are stored or none.
func (c *client) append(t *task) error {
	a := &appender{client: c, t: t, batch: c.srv.store.NewBatch()}
	defer a.end()
	c.d.SP()
	a.name = c.d.Mailbox()
	for {
		c.d.SP()
		if limit := c.srv.o.appendMax(); a.batch.Len() == limit {
			return &wire.Error{No: true, Code: fmt.Sprintf("MESSAGELIMIT %d", limit), Text: "Too many messages in one APPEND"} // RFC 9738 section 3.1
		}
		if err := a.message(); err != nil || c.d.Err() != nil {
			return err
		}
		if err := a.batch.Add(c.ctx(), a.u, a.target); err != nil {
			return err
		}
		a.u = nil
		if c.d.AtEnd() {
			break
		}
	}
	if !c.d.EOL() {
		return nil
	}
	done, err := c.srv.store.DeliverBatch(c.ctx(), a.batch)
	if errors.Is(err, fs.ErrNotExist) {
		return errTryCreate // it went meanwhile
	}
	if err != nil {
		return err
	}
	t.code = appendUID(a.box, done)
	return nil
}

// appendUID is the APPENDUID code (RFC 4315 section 3, RFC 3502): the UIDs in the order of the messages. Who cannot read the mailbox is not told.
func appendUID(box storage.Mailbox, done []storage.Appended) string {
	if !box.Rights.Has(storage.MayRead) {
		return ""
	}
	b := fmt.Appendf(nil, "APPENDUID %d ", done[0].UIDValidity)
	uids := make([]uint32, len(done))
	for i := range done {
		uids[i] = done[i].UID
	}
	return string(wire.AppendSet(b, uids))
}

// end gives back what was not stored.
func (a *appender) end() {
	if a.u != nil {
		a.u.Abort()
	}
	if a.batch != nil {
		a.batch.Abort()
	}
}

// message reads one: [flags] [date] data. Without an error, and the grammar's, it lies in u.
func (a *appender) message() error {
	a.target, a.size, a.nul.found, a.bad.found = storage.Target{}, 0, false, false
	var set []imap.Flag
	if a.d.Peek('(') {
		set = a.d.Flags()
		a.d.SP()
	}
	if a.d.Peek('"') {
		a.target.InternalDate = a.d.DateTime()
		a.d.SP()
	}
	if a.d.Err() != nil {
		return nil
	}
	var err error
	if a.target.Flags, a.target.Keywords, err = splitFlags(set); err != nil {
		return err
	}
	if err := a.data(); err != nil || a.d.Err() != nil {
		return err
	}
	return a.check()
}

// data reads append-data (RFC 4466 section 3, RFC 4469 section 5, RFC 6855 section 4).
func (a *appender) data() error {
	if a.d.Peek('{') || a.d.Peek('~') {
		return a.alone()
	}
	switch a.d.Label() {
	case "UTF8":
		return a.utf8Literal(a.alone)
	case "CATENATE":
		return a.catenate()
	}
	a.d.Fail("Unknown APPEND data")
	return nil
}

// alone takes the literal that is the whole message.
func (a *appender) alone() error {
	lit, ok := a.d.Literal()
	if !ok {
		return nil
	}
	if lit.Size == 0 {
		if err := a.begin(0); err != nil {
			return err
		}
		return errEmpty // RFC 3502: which is how a client gives up
	}
	return a.literal(&lit, lit.Size)
}

// utf8Literal reads UTF8 (~{n}) (RFC 6855 section 4). RFC 9755 has it no more, but the clients of RFC 6855 send it.
func (a *appender) utf8Literal(take func() error) error {
	a.d.SP()
	a.d.Expect('(')
	if !a.d.Peek('~') {
		a.d.Fail("Expected a literal8")
		return nil
	}
	if !a.utf8 {
		if err := a.begin(-1); err != nil {
			return err
		}
		return errUTF8First
	}
	if err := take(); err != nil {
		return err
	}
	a.d.Expect(')')
	return nil
}

// begin looks at what can refuse the message before its first bytes. expect is how many they are or -1.
func (a *appender) begin(expect int64) (err error) {
	if a.u != nil {
		return nil
	}
	if a.box.ID == 0 {
		if a.box, err = a.client.target(a.name); err != nil {
			return err
		}
	}
	if expect > a.srv.o.MaxAppend {
		return errTooBig
	}
	a.target.Account, a.target.Mailbox = a.box.Account, a.box.ID
	a.target.Flags, a.target.Keywords = settable(a.box.Rights, a.target.Flags, a.target.Keywords)
	a.u, err = a.newMail(expect)
	return err
}

// newMail begins an upload. RFC 8508 section 3.4: what goes counts as free.
func (a *appender) newMail(expect int64) (*storage.Upload, error) {
	credit := int64(a.old.Size)
	if a.from != a.box.Account {
		credit = 0
	}
	return a.srv.store.NewReplacement(a.ctx(), a.box.Account, expect, credit)
}

// room tells whether n bytes more fit into the message.
func (a *appender) room(n int64) error {
	if n > a.srv.o.MaxAppend-a.size {
		return errTooBig
	}
	a.size += n
	return nil
}

// literal streams a literal into the message. expect is begin's.
func (a *appender) literal(lit *wire.Literal, expect int64) error {
	if err := a.begin(expect); err != nil {
		return err
	}
	if err := a.room(lit.Size); err != nil {
		return err
	}
	a.ses.SetActivity(fmt.Sprintf("%s %s %d bytes", a.t.name, a.box.Name, a.size))
	if err := lit.Open(); err != nil {
		return err
	}
	w := &nulReader{r: lit, f: &a.bad}
	if lit.Binary {
		w.f = &a.nul
	}
	_, err := a.u.ReadFrom(w)
	if e := lit.Close(); e != nil {
		return e
	}
	return err
}

// check is what is asked of a message that came to its end.
func (a *appender) check() error {
	switch {
	case a.bad.found:
		return errNUL
	case a.u == nil || a.size == 0:
		return errEmpty
	}
	// Who is not offered UTF8=ACCEPT could not enable it: withholding it is how mail of before is let in as it is.
	if !a.utf8 && !a.withholds("UTF8=ACCEPT") {
		needs, err := needsUTF8(a.u)
		if err != nil {
			return err
		}
		if needs {
			// RFC 6855 section 4: 8-bit header fields are not taken from a client that did not enable them
			return errUTF8First
		}
	}
	if a.nul.found {
		return a.encode()
	}
	return nil
}

// encode puts in the message's place the same one with its binary parts in base64 (RFC 3516 section 4.4).
func (a *appender) encode() error {
	v, err := a.newMail(-1)
	if err != nil {
		return err
	}
	if err := a.u.Index().Recode(v, a.u); err != nil {
		v.Abort()
		if errors.Is(err, mime.ErrNUL) {
			return errBinary
		}
		return err
	}
	a.u.Abort()
	a.u = v
	return nil
}

// systemFlags are those of storage.Flags by name in lower case.
var systemFlags = map[string]storage.Flags{
	`\seen`: storage.Seen, `\answered`: storage.Answered, `\flagged`: storage.Flagged,
	`\deleted`: storage.Deleted, `\draft`: storage.Draft,
}
