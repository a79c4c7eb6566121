package smtp

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// client is what SMTP knows of a session. It belongs to the goroutine of the connection.
//
//	connected --EHLO--> greeted --AUTH--> authenticated      (submission; MX stays greeted)
//	    ^                  |                  |
//	    +----STARTTLS------+                  |  MAIL
//	                       +------------------+--> mail --RCPT--> recipients --DATA, BDAT LAST--> (no mail)
//	                                                  RSET, EHLO, a refused message: (no mail)
type client struct {
	srv   *Server
	ses   *session.Session
	wire  wire
	log   *slog.Logger
	begun bool // a command runs (session.Begin)

	helo    string           // the name of EHLO or HELO, "" before; printable
	esmtp   bool             // it was EHLO
	account *storage.Account // after AUTH
	mail    *transaction     // between MAIL and the end of the message
	errors  int              // commands that were wrong
	notes   int16            // refusals that the journal was told
	unknown int16            // recipients that there are not, or that are refused for good for another reason
	work    int32            // commands since the last message
	told    *told            // what a front end said of its client; nil: nothing

	// For the engine.
	feed    []byte    // lines that it reads next
	instead []byte    // goes out in the place of the next line that it writes
	hush    int       // lines of it that do not go out
	from    *sender   // of the MAIL that it reads
	to      *envelope // of the RCPT that it reads
	chunk   *chunks
	over    bool // nothing is read or written any more
	closed  bool
}

// maxErrors is how many wrong commands a connection may send.
const maxErrors = 20

const (
	// maxWork is how many commands may come before the end of a message, beside its recipients. It is more than anybody needs; a client that goes on is
	// not closed, as some that keep a connection do nothing else for hours, but is served one command in each pace.
	maxWork = 1000
	pace    = 10 * time.Millisecond
)

// labour counts a command, and waits when there were too many.
func (c *client) labour() {
	if c.work++; int(c.work) <= maxWork+c.srv.o.MaxRecipients {
		return
	}
	c.work-- // it stays where it is
	if err := c.wire.flush(); err != nil {
		c.over = true
		return
	}
	t := time.NewTimer(pace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.context().Done():
	}
}

// answer sends a reply of one line.
func (c *client) answer(r *reply) {
	if c.over {
		return
	}
	if err := c.wire.put(r.append(nil)); err != nil {
		c.over = true
	}
}

// bad answers a command that is wrong and tells whether it was one too many.
func (c *client) bad(r *reply) bool {
	c.answer(r)
	if c.errors++; c.errors < maxErrors {
		return false
	}
	c.part(say(421, "4.7.0", "too many errors"), "too many errors")
	return true
}

// part is the server's goodbye: the last reply of the connection. The session is told to end, so that its
// Close gives the client time to read the reply, whatever else the client is still sending.
func (c *client) part(r *reply, reason string) {
	if c.over {
		return
	}
	c.answer(r)
	c.over = true
	c.ses.Kill(errors.New(reason))
}

// lose ends the connection for an error of its reading: with a 421 when the session was told
// to end or waited for too long, without a word when the client has gone.
func (c *client) lose(err error) {
	cause := c.ses.Ending()
	if cause == nil && !isTimeout(err) {
		c.over = true
		return
	}
	if cause == nil {
		cause = err
	}
	c.answer(farewell(cause, c.srv.o.Name))
	c.over = true
}

// quit is QUIT where the engine does not see it.
func (c *client) quit() *reply {
	bye := say(221, "2.0.0", "bye")
	c.answer(bye)
	c.ses.SetEnd("quit")
	c.over = true
	return bye
}

// context of a command. A message that is complete is finished whatever happens to its session.
func (c *client) context() context.Context { return c.ses.Context() }

// reset forgets the transaction.
func (c *client) reset() {
	c.mail = nil
	c.from, c.to = nil, nil
}

// forget is what STARTTLS does to what is known (RFC 3207 section 4.2).
func (c *client) forget() {
	c.reset()
	c.helo, c.esmtp = "", false
	if c.account != nil {
		c.account = nil
		c.ses.Logout()
	}
}
