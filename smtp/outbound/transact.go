package outbound

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// oneShot is how large a message may be that is sent behind its envelope without waiting for the replies: what is sent
	// for nothing when all recipients are refused is no more than that.
	oneShot = 64 << 10
	// blockSize is how much of a message is sent at a time, each with a deadline of its own.
	blockSize = 64 << 10
	// maxBatch is how many recipients one transaction has at most: RFC 5321 section 4.5.3.1.8 makes every server take 100.
	maxBatch = 100
	// lastWords is how long the reason is waited for with which a server broke a message off.
	lastWords = 5 * time.Second
)

// attempt is one recipient in one transaction.
type attempt struct {
	path  string // "ann@example.org", ready for RCPT
	args  string // its DSN parameters, with a space before each
	reply Reply  // of the end of the message, when it was taken
	fail  *failure
	taken bool // RCPT was accepted
	again bool // another transaction may take it: this one has too many recipients
}

// parcel is a message as one transaction sends it.
type parcel struct {
	from string // reverse-path without brackets
	args string // parameters of MAIL, with a space before each
	to   []*attempt
	body *content
}

// send makes one transaction and leaves with each recipient what was said of it. The error is a *failure that holds for the recipients of which
// nothing was said. Several transactions can follow one another on a connection, unless it is broken.
func (c *client) send(p *parcel) error {
	c.messages++
	envelope := time.Now().Add(c.t.Envelope)
	if !c.ext.pipelining {
		return c.sendSlowly(p, envelope)
	}
	// RFC 2920 section 3.1: MAIL and RCPT may be sent together, and DATA as the last of a group; a chunk is not the last word of a group
	// (RFC 3030 section 4.2) and carries the message with it.
	atOnce := c.ext.chunking && p.body.total() <= oneShot
	if c.dirty {
		c.put("RSET")
	}
	c.put("MAIL FROM:<", p.from, ">", p.args)
	for _, a := range p.to {
		c.put("RCPT TO:<", a.path, ">", a.args)
	}
	if atOnce {
		c.put("BDAT ", strconv.FormatInt(p.body.total(), 10), " LAST")
		var err error
		if c.out, err = p.body.appendTo(c.out); err != nil {
			return c.lostBody(err)
		}
		if err := c.busy(); err != nil {
			return err
		}
	} else {
		c.put("DATA")
	}
	if err := c.flush(c.by(c.t.Block, envelope)); err != nil {
		return c.lost(atMail, err)
	}
	if err := c.reset(envelope, false); err != nil {
		return err
	}
	refused, err := c.envelope(p, envelope)
	if err != nil {
		return err
	}
	if atOnce {
		return c.finish(p, refused)
	}
	return c.data(p, refused, envelope)
}

// busy says that the message itself goes out now, which a drain waits for. Before, a drain ends the session at once, as nothing is in doubt yet:
// a server that does not answer does not keep ours from its end. The error is that of a session that ended meanwhile: what were sent would have no reply.
func (c *client) busy() error {
	c.ses.Begin(c.doing)
	if c.ses.Context().Err() != nil {
		return c.lost(atData, os.ErrDeadlineExceeded)
	}
	return nil
}

// by is the end of a wait that has its own patience and is part of a longer one.
func (c *client) by(patience time.Duration, whole time.Time) time.Time {
	if own := time.Now().Add(patience); own.Before(whole) {
		return own
	}
	return whole
}

// reset takes the reply to RSET, or with ask sends it first, when a transaction before left something.
func (c *client) reset(whole time.Time, ask bool) error {
	if !c.dirty {
		return nil
	}
	if ask {
		c.put("RSET")
		if err := c.flush(c.by(c.t.Command, whole)); err != nil {
			return c.lost(atMail, err)
		}
	}
	c.dirty = false
	r, err := c.reply(c.by(c.t.Command, whole))
	if err != nil {
		return c.lost(atMail, err)
	}
	if !r.ok() {
		c.broken = true
		return c.refused(atMail, r)
	}
	return nil
}

// envelope reads the replies to MAIL and to each RCPT. refused is why MAIL was, when it was.
func (c *client) envelope(p *parcel, whole time.Time) (refused *failure, err error) {
	r, err := c.reply(c.by(c.t.Command, whole))
	if err != nil {
		return nil, c.lost(atMail, err)
	}
	c.dirty = true
	if !r.ok() {
		refused = c.refused(atMail, r)
		if r.Code == 421 {
			return refused, refused
		}
	}
	for _, a := range p.to {
		r, err := c.reply(c.by(c.t.Command, whole))
		if err != nil {
			if refused != nil {
				return refused, refused
			}
			return nil, c.lost(atRcpt, err)
		}
		if refused == nil {
			c.recipient(p, a, r)
		}
		if c.broken {
			return refused, c.refused(atRcpt, r)
		}
	}
	return refused, nil
}

// recipient notes the reply to a RCPT.
func (c *client) recipient(p *parcel, a *attempt, r Reply) {
	switch {
	case r.ok():
		a.taken = true
	case (r.Code == 452 || r.Code == 552 && r.Enhanced == "" || strings.HasSuffix(r.Enhanced, ".5.3")) && p.taken() > 0:
		// RFC 5321 section 4.5.3.1.10: 452, of old 552, says that this transaction has as many recipients as it may have.
		a.again = true
	default:
		a.fail = c.refused(atRcpt, r)
	}
}

// taken is how many recipients were accepted.
func (p *parcel) taken() (n int) {
	for _, a := range p.to {
		if a.taken {
			n++
		}
	}
	return n
}

// data reads the reply to DATA and sends the message.
func (c *client) data(p *parcel, refused *failure, whole time.Time) error {
	r, err := c.reply(c.by(c.t.Data, whole))
	if err != nil {
		if refused != nil {
			return refused
		}
		return c.lost(atData, err)
	}
	if r.Code != 354 {
		switch {
		case refused != nil:
			return refused
		case p.taken() == 0 && !c.broken:
			return nil // each RCPT has its own reply
		}
		if r.ok() || r.Code/100 == 3 {
			c.broken = true
			return &failure{status: "4.5.0", reply: r, remote: c.remote, stage: atData}
		}
		return c.refused(atData, r)
	}
	if refused != nil || p.taken() == 0 {
		// RFC 2920 section 3.1: a server that says 354 although it has no recipient is given an empty message, which it must refuse.
		if err := c.write([]byte(".\r\n"), time.Now().Add(c.t.Block)); err != nil {
			return errors.Join(refusedOr(refused), c.lost(atData, err))
		}
		if _, err := c.reply(time.Now().Add(c.t.End)); err != nil {
			c.broken = true
		}
		c.dirty = true
		return refusedOr(refused)
	}
	if err := c.busy(); err != nil {
		return err
	}
	if err := c.dots(p.body); err != nil {
		return err
	}
	return c.finish(p, nil)
}

// refusedOr keeps a nil *failure from becoming an error.
func refusedOr(f *failure) error {
	if f == nil {
		return nil
	}
	return f
}

// finish reads the reply to the end of the message. LMTP has one for each recipient that was accepted (RFC 2033 section 4.2), SMTP one for all.
func (c *client) finish(p *parcel, refused *failure) error {
	by := time.Now().Add(c.t.End)
	if !c.lmtp || refused != nil || p.taken() == 0 {
		r, err := c.reply(by)
		if err != nil {
			return errors.Join(refusedOr(refused), c.lost(atEnd, err))
		}
		return c.finished(p, refused, r)
	}
	c.dirty = false
	for _, a := range p.to {
		if !a.taken {
			continue
		}
		r, err := c.reply(by)
		if err != nil {
			return c.lost(atEnd, err)
		}
		c.ended(a, r)
	}
	return nil
}

// finished notes the one reply for all recipients.
func (c *client) finished(p *parcel, refused *failure, r Reply) error {
	c.dirty = !r.ok()
	if refused != nil {
		return refused
	}
	for _, a := range p.to {
		if a.taken {
			c.ended(a, r)
		}
	}
	return nil
}

// ended notes the reply to the end of the message for one recipient.
func (c *client) ended(a *attempt, r Reply) {
	if r.ok() {
		a.reply = r
		return
	}
	a.fail = c.refused(atEnd, r)
	if r.Code/100 == 3 {
		a.fail.status, c.broken = "4.5.0", true
	}
}

// sendSlowly is send to a server that wants its commands one by one.
func (c *client) sendSlowly(p *parcel, whole time.Time) error {
	if err := c.reset(whole, true); err != nil {
		return err
	}
	r, err := c.command(atMail, c.t.Command, "MAIL FROM:<", p.from, ">", p.args)
	if err != nil {
		return err
	}
	if !r.ok() {
		return c.refused(atMail, r)
	}
	c.dirty = true
	for _, a := range p.to {
		if time.Now().After(whole) {
			return c.lost(atRcpt, errSlow)
		}
		if r, err = c.command(atRcpt, c.t.Command, "RCPT TO:<", a.path, ">", a.args); err != nil {
			return err
		}
		c.recipient(p, a, r)
		if c.broken {
			return c.refused(atRcpt, r)
		}
	}
	if p.taken() == 0 {
		return nil
	}
	c.put("DATA")
	if err := c.flush(c.by(c.t.Data, whole)); err != nil {
		return c.lost(atData, err)
	}
	return c.data(p, nil, whole)
}

var errSlow = errors.New("the envelope takes too long")

// errBody is a fault of ours while a message is on its way: it is broken off.
var errBody = errors.New("the message cannot be read")

func (c *client) lostBody(err error) *failure {
	c.broken = true
	return &failure{status: "4.3.0", text: errBody.Error(), remote: c.remote, stage: atData, err: errors.Join(errBody, err)}
}

var blocks = sync.Pool{New: func() any { b := make([]byte, 0, blockSize+blockSize/4); return &b }}

// dots sends a message as DATA wants it: a dot that begins a line is doubled, and a line of one dot ends it (RFC 5321 section 4.5.2).
// Its lines end with CRLF and hold no bare CR or LF (content).
func (c *client) dots(m *content) error {
	out := blocks.Get().(*[]byte)
	defer blocks.Put(out)
	s := stuffer{out: append((*out)[:0], m.header...)}
	defer func() { *out = s.out[:0] }()
	for off := int64(0); off < m.size; {
		block, n, err := m.block(off)
		if err != nil {
			return c.lostBody(err)
		}
		s.add(block)
		off += n
		if off < m.size || len(s.out) > blockSize {
			if err := c.pour(s.out); err != nil {
				return err
			}
			s.out = s.out[:0]
		}
	}
	s.out = append(s.out, ".\r\n"...)
	return c.pour(s.out)
}

// pour sends a piece of a message. When the server closed the connection, what it said of the reason counts.
func (c *client) pour(b []byte) error {
	err := c.write(b, time.Now().Add(c.t.Block))
	if err == nil {
		return nil
	}
	if r, e := c.reply(time.Now().Add(lastWords)); e == nil && !r.ok() && r.Code/100 != 3 {
		c.broken = true
		return c.refused(atData, r)
	}
	return c.lost(atData, err)
}

var dotted = []byte("\n.")

// stuffer doubles dots at the beginnings of lines.
type stuffer struct {
	out []byte
	mid bool // not at the beginning of a line
}

func (s *stuffer) add(b []byte) {
	for len(b) > 0 {
		if !s.mid && b[0] == '.' {
			s.out = append(s.out, '.')
		}
		i := bytes.Index(b, dotted)
		if i < 0 {
			s.out = append(s.out, b...)
			s.mid = b[len(b)-1] != '\n'
			return
		}
		s.out = append(s.out, b[:i+1]...)
		b, s.mid = b[i+1:], false
	}
}

// content is a message in the form in which it leaves: every line ends with CRLF, and no CR, LF or NUL is anywhere else.
type content struct {
	header []byte // signatures and the like, in front of the rest
	mem    []byte // the rest
	at     io.ReaderAt
	size   int64  // of the rest
	eight  bool   // there are octets above 127 in it
	buf    []byte // of block
	close  func()
}

func (m *content) total() int64 { return int64(len(m.header)) + m.size }

// appendTo appends all of it, which must be little.
func (m *content) appendTo(b []byte) ([]byte, error) {
	b = append(b, m.header...)
	for off := int64(0); off < m.size; {
		block, n, err := m.block(off)
		if err != nil {
			return b, err
		}
		b = append(b, block...)
		off += n
	}
	return b, nil
}

// block reads a piece from off on. It is good until the next call.
func (m *content) block(off int64) ([]byte, int64, error) {
	n := min(blockSize, m.size-off)
	if m.mem != nil {
		return m.mem[off : off+n], n, nil
	}
	if m.buf == nil {
		m.buf = make([]byte, blockSize)
	}
	got, err := m.at.ReadAt(m.buf[:n], off)
	if int64(got) == n {
		return m.buf[:n], n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return nil, 0, err
}
