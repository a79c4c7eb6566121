package imap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

// maxParts is how many parts a CATENATE may have.
const maxParts = 1000

// catenate reads CATENATE (TEXT literal URL url ...) (RFC 4469 section 5).
func (a *appender) catenate() error {
	a.d.SP()
	a.d.Expect('(')
	for n := 0; ; n++ {
		if n == maxParts {
			return &wire.Error{No: true, Code: "LIMIT", Text: fmt.Sprintf("At most %d parts in a CATENATE", maxParts)}
		}
		if err := a.catPart(); err != nil {
			return err
		}
		if a.d.Accept(')') || !a.d.SP() {
			return nil
		}
	}
}

func (a *appender) catPart() error {
	switch a.d.Label() {
	case "TEXT":
		a.d.SP()
		return a.text()
	case "UTF8":
		return a.utf8Literal(a.text)
	case "URL":
		a.d.SP()
		url := a.d.AString()
		if a.d.Err() == nil && !a.d.Peek(' ') && !a.d.Peek(')') {
			a.d.Fail("An URL with a '%' or '*' must be quoted") // which are not in an atom
		}
		if a.d.Err() != nil {
			return nil
		}
		return a.url(url)
	}
	a.d.Fail("Unknown part of a CATENATE")
	return nil
}

// text takes a literal as a part.
func (a *appender) text() error {
	lit, ok := a.d.Literal()
	if !ok {
		return nil
	}
	return a.literal(&lit, -1)
}

// url takes what a URL names as a part.
func (a *appender) url(text string) error {
	if err := a.begin(-1); err != nil {
		return err
	}
	u, err := parseURL(text)
	if err == nil {
		err = a.copyURL(&u)
	}
	if errors.Is(err, errURL) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoPerm) {
		return &wire.Error{No: true, Code: badURL(text), Text: "No such message or part"} // RFC 4469 section 4.1
	}
	return err
}

// here tells whether an absolute URL is one of this server and account (RFC 4469 section 3: others are out of reach).
func (c *client) here(u *messageURL) bool {
	if u.user != "" && !strings.EqualFold(u.user, c.account.Name) {
		return false
	}
	if strings.EqualFold(u.host, c.srv.o.Name) || strings.EqualFold(u.host, "localhost") {
		return true
	}
	local, _, err := net.SplitHostPort(c.conn.LocalAddr().String())
	return err == nil && local == u.host
}

// message finds a message by where it is; fs.ErrNotExist. name "" is the selected mailbox; validity 0: whatever it is.
func (c *client) message(name string, validity, uid uint32) (p *storage.Snapshot, i int, err error) {
	var id int64
	if name == "" {
		if c.view == nil {
			return nil, 0, errURL // RFC 4469 section 3: the base is a mailbox in the selected state only
		}
		id = c.view.id
	} else {
		box, err := c.mailbox(name, storage.MayRead)
		if err != nil {
			return nil, 0, err
		}
		if box.NoSelect {
			return nil, 0, fs.ErrNotExist
		}
		id = box.ID
	}
	if p, err = c.srv.store.Snapshot(c.ctx(), id); err != nil {
		return nil, 0, err
	}
	// RFC 5092 section 5: a URL of another UIDVALIDITY is stale
	if validity != 0 && validity != p.Mailbox().UIDValidity {
		return nil, 0, fs.ErrNotExist
	}
	i, ok := p.Find(uid)
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return p, i, nil
}

// copyURL appends what a URL names, as FETCH BODY[...] would give it. \Seen stays as it is.
func (a *appender) copyURL(u *messageURL) error {
	if u.absolute && !a.here(u) {
		return errURL
	}
	p, i, err := a.client.message(u.mailbox, u.uidValidity, u.uid)
	if err != nil {
		return err
	}
	s := &section{body: u.section}
	s.body.Partial = u.partial
	if names := append(u.section.HeaderFields, u.section.HeaderFieldsNot...); len(names) > 0 {
		s.fields = mime.NewFilter(names, len(u.section.HeaderFieldsNot) > 0)
	}
	var want storage.MailWant
	if s.header() {
		want = storage.WantHeader
	} else if s.needsIndex() {
		want = storage.WantIndex
	}
	if want == 0 {
		return a.copySection(p.At(i), nil, s)
	}
	for _, row := range a.srv.store.Mail(a.ctx(), p, []int{i}, want) {
		if row.Err != nil {
			return row.Err
		}
		return a.copySection(p.At(i), &row.Mail, s)
	}
	return fs.ErrNotExist
}

// copySection appends a section of a message. mail has its header or its index, whichever the section needs.
func (a *appender) copySection(m storage.Entry, mail *storage.Mail, s *section) error {
	if s.header() && mail.Header != nil {
		return a.copyHeader(mail.Header, s)
	}
	body, err := a.srv.store.OpenBlob(a.ctx(), m.Blob)
	if err != nil {
		return err
	}
	defer body.Close()
	first, end := int64(0), body.Size()
	switch {
	case s.header():
		end, err = headerEnd(body)
	case !s.whole():
		var x *mime.Index
		if x, err = mail.Index(); err == nil {
			var ok bool
			if first, end, ok = extent(s, x); !ok {
				err = errURL
			}
		}
	}
	if err != nil {
		return err
	}
	if s.fields != nil {
		h := make([]byte, min(end-first, headerMax))
		if _, err := io.ReadFull(io.NewSectionReader(body, first, end-first), h); err != nil {
			return err
		}
		return a.copyHeader(h, s)
	}
	off, n := cut(end-first, s.partial())
	if err := a.room(n); err != nil {
		return err
	}
	_, err = a.u.ReadFrom(&nulReader{r: io.NewSectionReader(body, first+off, n), f: &a.nul})
	return err
}

// copyHeader appends a header block or fields of it.
func (a *appender) copyHeader(h []byte, s *section) error {
	if s.fields != nil {
		h = s.fields.Append(nil, h)
	}
	off, n := cut(int64(len(h)), s.partial())
	if err := a.room(n); err != nil {
		return err
	}
	_, _ = a.nul.Write(h[off : off+n])
	_, err := a.u.Write(h[off : off+n])
	return err
}
