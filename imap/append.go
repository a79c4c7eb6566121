package imap

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// maxKeyword is how long a keyword may be.
const maxKeyword = 128

// append is APPEND (RFC 9051 section 6.3.12, RFC 7889). What can be refused is refused before the client is given leave to send.
func (c *client) append(t *task) error {
	c.d.DrainMax = 2 * c.srv.o.MaxAppend
	c.d.SP()
	name := c.d.Mailbox()
	c.d.SP()
	var set []imap.Flag
	if c.d.Peek('(') {
		set = c.d.Flags()
		c.d.SP()
	}
	var date time.Time
	if c.d.Peek('"') {
		date = c.d.DateTime()
		c.d.SP()
	}
	utf8 := c.appendUTF8()
	lit, ok := c.d.Literal()
	if !ok {
		return nil
	}
	flags, keywords, err := splitFlags(set)
	if err != nil {
		return err
	}
	box, err := c.target(name)
	if err != nil {
		return err
	}
	if lit.Size > c.srv.o.MaxAppend {
		return &wire.Error{No: true, Code: "TOOBIG", Text: "Message too large"} // RFC 7889 section 4
	}
	if lit.Size == 0 {
		return &wire.Error{No: true, Code: "CANNOT", Text: "A message cannot be empty"}
	}
	if utf8 && !c.utf8 {
		return &wire.Error{No: true, Code: "CANNOT", Text: "ENABLE UTF8=ACCEPT must come first"} // RFC 6855 section 4
	}
	c.ses.SetActivity(fmt.Sprintf("APPEND %s %d bytes", box.Name, lit.Size))
	flags, keywords = settable(box.Rights, flags, keywords)
	target := storage.Target{Account: box.Account, Mailbox: box.ID, Flags: flags, Keywords: keywords, InternalDate: date}
	return c.receive(t, &lit, target, utf8)
}

// appendUTF8 reads the beginning of UTF8 (literal8) (RFC 6855 section 4).
func (c *client) appendUTF8() bool {
	if !c.d.Peek('U') && !c.d.Peek('u') {
		return false
	}
	if c.d.Label() != "UTF8" {
		c.d.Fail("Unknown APPEND data")
	}
	c.d.SP()
	c.d.Expect('(')
	return true
}

// receive streams the literal into the store and delivers it.
func (c *client) receive(t *task, lit *wire.Literal, target storage.Target, utf8 bool) error {
	u, err := c.srv.store.NewMail(c.ctx(), target.Account, lit.Size)
	if err != nil {
		return err
	}
	defer u.Abort()
	if err := lit.Open(); err != nil {
		return err
	}
	nul := &nulReader{r: lit}
	_, err = u.ReadFrom(nul)
	if e := lit.Close(); e != nil {
		return e
	}
	if err != nil {
		return err
	}
	if utf8 {
		c.d.Expect(')')
	}
	if !c.d.EOL() {
		return nil
	}
	switch {
	case nul.found && lit.Binary:
		// RFC 3516 section 4.4: what could not be given back by BODY[] is not stored
		return &wire.Error{No: true, Code: "UNKNOWN-CTE", Text: "Binary content cannot be stored, send it encoded"}
	case nul.found:
		return &wire.Error{Text: "NUL in a literal"} // RFC 9051 section 9, CHAR8
	}
	done, err := c.srv.store.Deliver(c.ctx(), u, []storage.Target{target})
	if err != nil {
		return err
	}
	if err := done[0].Err; err != nil {
		return err
	}
	t.code = fmt.Sprintf("APPENDUID %d %d", done[0].UIDValidity, done[0].UID)
	return nil
}

// nulReader looks for NUL in what is read through it.
type nulReader struct {
	r     io.Reader
	found bool
}

func (n *nulReader) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	n.found = n.found || bytes.IndexByte(p[:k], 0) >= 0
	return k, err
}

// systemFlags are those of storage.Flags by name in lower case.
var systemFlags = map[string]storage.Flags{
	`\seen`: storage.Seen, `\answered`: storage.Answered, `\flagged`: storage.Flagged,
	`\deleted`: storage.Deleted, `\draft`: storage.Draft,
}
