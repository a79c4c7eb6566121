package dsn

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"time"
)

// Message is what a notice tells.
type Message struct {
	Reporter  string    // the name of this server (Reporting-MTA)
	From      string    // the address of From; "" means MAILER-DAEMON at Reporter
	To        string    // the envelope sender of the message, whom it tells
	MessageID string    // without <>; "" makes one
	Now       time.Time // zero: the clock's

	Queue      string    // the id that the 250 named
	EnvelopeID string    // DSN ENVID, decoded; "" when there was none
	Return     string    // DSN RET: "FULL", "HDRS" or "" when the sender did not say
	UTF8       bool      // the message came with SMTPUTF8: the notice may hold UTF-8 (RFC 6533)
	Arrival    time.Time // when it came

	Original io.ReaderAt // the message
	Size     int64       // its bytes
	FullMax  int64       // a message over this many bytes is returned as its header alone; 0 means 64 KiB, below 0 none is returned whole
	EightBit bool        // the way to the sender takes 8-bit bytes, as a local mailbox does

	Recipients []Recipient // at least one
}

// Recipient is what became of one.
type Recipient struct {
	Address        string
	Original       string // DSN ORCPT, decoded, as "rfc822;address"; "" when there was none
	Action         Action
	Status         string    // RFC 3463, as "5.1.1"; "" means the class alone
	Remote         string    // who said Reply, as "mx.example (192.0.2.1)"; "" when nobody did
	Reply          string    // the reply of another server
	Why            string    // our own words, when no server said anything, or beside what it said
	LastAttempt    time.Time // zero: none
	WillRetryUntil time.Time // of Delayed
}

// Info is what must be known to send a notice.
type Info struct {
	UTF8     bool // its header holds UTF-8: it must go with SMTPUTF8
	EightBit bool // it holds 8-bit bytes
}

var errRecipients = errors.New("dsn: a notice of no recipient")

// Compose writes the notice. An error is that of w or of reading the original; what was written until then is no message.
func Compose(w io.Writer, m *Message) (Info, error) {
	if len(m.Recipients) == 0 {
		return Info{}, errRecipients
	}
	c := &composer{m: m, now: m.Now, boundary: "=_" + rand.Text()}
	if c.now.IsZero() {
		c.now = time.Now()
	}
	returned, err := c.returned()
	if err != nil {
		return Info{}, fmt.Errorf("dsn: reading the message: %w", err)
	}
	c.info.EightBit = returned.encoding == "8bit"
	if !ascii(m.To) {
		c.info = Info{true, true}
	}
	c.header(returned.id)
	c.human()
	c.status()
	c.part(returned.kind, returned.encoding, "Content-Description: "+returned.description)
	if _, err := w.Write(c.out.Bytes()); err != nil {
		return Info{}, fmt.Errorf("dsn: %w", err)
	}
	if err := returned.write(w); err != nil {
		return Info{}, fmt.Errorf("dsn: returning the message: %w", err)
	}
	if _, err := io.WriteString(w, "\r\n--"+c.boundary+"--\r\n"); err != nil {
		return Info{}, fmt.Errorf("dsn: %w", err)
	}
	return c.info, nil
}

// composer is a Compose under way.
type composer struct {
	m        *Message
	now      time.Time
	boundary string
	info     Info
	out      bytes.Buffer // all before the returned message
}

// line writes one.
func (c *composer) line(parts ...string) {
	for _, p := range parts {
		c.out.WriteString(p)
	}
	c.out.WriteString("\r\n")
}

// header is that of the notice; original is the Message-ID of the message.
func (c *composer) header(original string) {
	m := c.m
	from, id := m.From, m.MessageID
	if from == "" {
		from = "MAILER-DAEMON@" + m.Reporter
	}
	if id == "" {
		id = rand.Text() + "@" + m.Reporter
	}
	c.line("From: Mail Delivery System <", from, ">")
	c.line("To: <", oneLine(m.To), ">")
	c.line("Subject: ", subjects[c.worst()])
	c.line("Date: ", date(c.now))
	c.line("Message-ID: <", id, ">")
	if original != "" {
		c.line("In-Reply-To: ", original) // so that it is shown beside the message
		c.line("References: ", original)
	}
	// RFC 3834 section 5 and RFC 3464: a notice is an answer by a machine.
	c.line("Auto-Submitted: auto-replied")
	c.line("MIME-Version: 1.0")
	c.line("Content-Type: multipart/report; report-type=delivery-status;")
	c.line("\tboundary=\"", c.boundary, "\"")
	if c.info.EightBit {
		c.line("Content-Transfer-Encoding: 8bit")
	}
	c.line()
	c.line("This is a report of a mail server in several parts (RFC 3464).")
}

// worst is the action that the subject tells.
func (c *composer) worst() Action {
	for _, a := range []Action{Failed, Delayed, Expanded, Relayed} {
		for _, r := range c.m.Recipients {
			if r.Action == a {
				return a
			}
		}
	}
	return Delivered
}

var subjects = map[Action]string{
	Failed:    "Your message was not delivered",
	Delayed:   "Your message is delayed, and is still being tried",
	Delivered: "Your message was delivered",
	Relayed:   "Your message was passed on",
	Expanded:  "Your message was passed on to a list",
}

// part begins one.
func (c *composer) part(kind, encoding string, more ...string) {
	c.line()
	c.line("--", c.boundary)
	c.line("Content-Type: ", kind)
	for _, l := range more {
		c.line(l)
	}
	if encoding != "7bit" {
		c.line("Content-Transfer-Encoding: ", encoding)
	}
	c.line()
}

// text writes what may be UTF-8, so that it is 7-bit.
func (c *composer) text(encoding, s string) {
	if encoding == "7bit" {
		c.out.WriteString(s)
		return
	}
	w := quotedprintable.NewWriter(&c.out)
	io.WriteString(w, s) // a buffer takes all
	w.Close()
}

// encodingOf is how a text is sent.
func encodingOf(s string) string {
	if ascii(s) && !longLines(s) {
		return "7bit"
	}
	return "quoted-printable"
}

func longLines(s string) bool {
	for l := range strings.Lines(s) {
		if len(l) > 998 {
			return true
		}
	}
	return false
}

// ascii tells whether s is 7-bit as mail has it: without NUL.
func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 || s[i] == 0 {
			return false
		}
	}
	return true
}

// oneLine makes s fit into a line: control characters become blanks.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
}

func date(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }
