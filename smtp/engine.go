package smtp

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// engine makes the go-smtp server that stands between gate and client. What it would do wrong it never gets to
// see: lines without a limit, AUTH, STARTTLS, BDAT, paths, parameters, and the bytes of messages. What EHLO tells is ours too: to the engine
// each greeting is a HELO.
func (s *Server) engine() *gosmtp.Server {
	e := gosmtp.NewServer(gosmtp.BackendFunc(func(c *gosmtp.Conn) (gosmtp.Session, error) {
		return &engineSession{c.Conn().(*client)}, nil
	}))
	e.Domain = s.o.Name
	e.MaxLineLength = 0 // its reader counts what it read ahead; wire has the limit
	e.MaxRecipients = s.o.MaxRecipients
	e.ErrorLog = engineLog{s.o.Logger}
	return e
}

// engineSession is the client as go-smtp sees it. Each method sets the reply that goes out.
type engineSession struct{ c *client }

// errReplied makes go-smtp refuse; its text is replaced.
var errReplied = &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "refused"}

func (s *engineSession) reply(r *reply) error {
	s.c.instead = r.append(nil)
	if r.failed() {
		return errReplied
	}
	return nil
}

func (s *engineSession) Mail(string, *gosmtp.MailOptions) error {
	m := s.c.from
	s.c.from = nil
	var refusal *reply
	if m.sending, refusal = s.c.sending(s.c.context()); refusal == nil {
		refusal = s.c.maySend(m.sending, 1) // there will be one at least
	}
	if refusal != nil {
		return s.reply(refusal)
	}
	return s.reply(s.c.begin(*m))
}

func (s *engineSession) Rcpt(string, *gosmtp.RcptOptions) error {
	to := s.c.to
	s.c.to = nil
	if refusal := s.c.maySend(s.c.mail.sender.sending, len(s.c.mail.recipients)+1); refusal != nil {
		return s.reply(refusal)
	}
	return s.reply(s.c.mail.receive(s.c.context(), recipient{envelope: *to}))
}

// Data takes the message from the wire, not from go-smtp's reader, which gets a lone dot afterwards.
func (s *engineSession) Data(io.Reader) error {
	c := s.c
	c.feed = []byte(".\r\n")
	c.work = 0
	k := c.chunk
	c.chunk = nil
	m := &message{src: &c.wire, dots: k == nil, strict: c.srv.o.BareNewline == Reject, limit: c.srv.o.MaxMessage}
	if k != nil {
		m.src = k
	}
	if err := c.wire.flush(); err != nil {
		c.over = true
		return errReplied
	}
	c.wire.enlarge()
	var body io.Reader = m
	if c.mail.sender.body == "BINARYMIME" {
		b := c.binaryBody(m)
		defer b.Close()
		c.mail.binary = b
		body = b
	}
	r := c.mail.data(c.context(), body)
	err := m.lost
	switch {
	case err != nil || m.done:
	case k != nil:
		err = k.discard(2*c.srv.o.MaxMessage + 1)
	default:
		err = m.drain(c.srv.o.MaxMessage)
	}
	switch {
	case c.over:
		return errReplied
	case err == errFlood:
		c.part(r, "too much data")
		return errReplied
	case err != nil && !isReply(err):
		c.lose(err)
		return errReplied
	}
	if k != nil && !k.last || m.lost != nil {
		return s.reply(r) // the message was given up, or refused before its last chunk came
	}
	_ = s.reply(r)
	c.instead = c.verdicts(c.mail, r)
	if r.failed() {
		return errReplied
	}
	return nil
}

func (s *engineSession) Reset()        { s.c.reset() }
func (s *engineSession) Logout() error { s.c.reset(); return nil }

func isReply(err error) bool { _, ok := err.(*reply); return ok }

// LocalAddr and the rest of net.Conn, which go-smtp wants.
func (c *client) LocalAddr() net.Addr              { return c.wire.conn.LocalAddr() }
func (c *client) RemoteAddr() net.Addr             { return c.wire.conn.RemoteAddr() }
func (c *client) SetDeadline(time.Time) error      { return nil } // session.Conn has its own
func (c *client) SetReadDeadline(time.Time) error  { return nil }
func (c *client) SetWriteDeadline(time.Time) error { return nil }

// engineLog is go-smtp's Logger: it tells of panics.
type engineLog struct{ log *slog.Logger }

func (l engineLog) Printf(format string, v ...any) {
	l.log.Error("engine", "text", fmt.Sprintf(format, v...))
}
func (l engineLog) Println(v ...any) { l.log.Error("engine", "text", fmt.Sprintln(v...)) }
