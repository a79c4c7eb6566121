package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/imap/deflate"
	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// Bad commands in a row after which a connection is closed.
const (
	maxBad      = 20
	maxBadLogin = 10 // before login
)

// errBye ends a connection; its text is told with BYE. errClosed ends it without another word.
type errBye struct{ code, text string }

func (e *errBye) Error() string { return e.text }

var errClosed = errors.New("connection is to be closed")

// client is what IMAP knows of a session. It belongs to the connection's goroutine; woken alone is touched by others.
//
//	not authenticated --LOGIN/AUTHENTICATE--> authenticated --SELECT/EXAMINE--> selected
//	       |  ^                                 | |     ^-----CLOSE/UNSELECT-------| |
//	       |  '---------------UNAUTHENTICATE----|-'--------------------------------|-'
//	       '------------------------LOGOUT, BYE-'---------------------------------'--> logout
//
// docs/states.md has the modes beside these (IDLE, NOTIFY, COMPRESS, what ENABLE enables).
type client struct {
	srv  *Server
	conn net.Conn // the session's, or TLS over it
	ses  *session.Session
	r    wire.Reader
	d    *wire.Decoder
	e    wire.Encoder

	user
	knownBy  uint64 // the rules of Options.Withhold whose client this one is, by its ID
	withheld uint64 // the rules that hold now: see withhold

	idling   *idling   // set during IDLE; Read is interrupted by wake then
	lastSign time.Time // during IDLE: when the client last heard of us

	// small things together: there are many clients
	state   state
	badRow  uint8       // bad commands in a row
	waiting bool        // between two commands; with NOTIFY Read is interrupted by wake then
	woken   atomic.Bool // there is something new; set by wake
}

// user is what belongs to who is logged in: all of it goes with UNAUTHENTICATE.
type user struct {
	account *storage.Account
	view    *view // set while a mailbox is selected
	rev2    bool  // ENABLE IMAP4rev2 was said
	utf8    bool  // ENABLE UTF8=ACCEPT or IMAP4rev2 was said
	accept  bool  // ENABLE UTF8=ACCEPT was said
	// condstore: a CONDSTORE enabling command was given; qresync, uidOnly: ENABLE QRESYNC, ENABLE UIDONLY was said. uidOnly: numbers are
	// neither taken nor told.
	condstore, qresync, uidOnly bool
	meta                        *noted  // ENABLE METADATA was said
	notify                      *notify // nil: NOTIFY was not said
}

// ctx ends with the session. What is done under it is known as this session's once NOTIFY was said.
func (c *client) ctx() context.Context {
	if c.notify != nil {
		return c.notify.ctx
	}
	return c.ses.Context()
}

// run greets, runs commands until the connection is over and says goodbye. See serve about its stack.
func (c *client) run() {
	c.farewell(c.loop())
}

// farewell closes what is open and says BYE, unless the client is gone or has heard it (RFC 9051 section 7.1.5).
//
//go:noinline
func (c *client) farewell(err error) {
	c.stopIdling()
	c.notify.close()
	c.unselect()
	var bye *errBye
	switch cause := c.ses.Ending(); {
	case errors.As(err, &bye):
	case errors.Is(err, deflate.ErrCorrupt), errors.Is(err, deflate.ErrBomb), errors.Is(err, deflate.ErrMixed):
		bye = &errBye{code: "CLIENTBUG", text: sentence(err.Error())}
	case cause != nil && !errors.Is(err, errClosed):
		bye = &errBye{code: goodbye(cause), text: sentence(cause.Error())}
	}
	if bye != nil {
		c.ses.SetEnd(bye.text)
		c.e.Raw("* BYE ")
		c.code(bye.code)
		c.e.Raw(bye.text).CRLF()
	}
	if c.e.Flush() == nil && bye != nil && c.ses.Ending() == nil {
		c.linger()
	}
}

// lingerTime and lingerMax bound how long a client that is closed may take to read why.
const (
	lingerTime = 500 * time.Millisecond
	lingerMax  = 1 << 20
)

// linger ends what is sent and reads what still comes: closing a socket with unread input would reset the connection, and
// with it destroy the goodbye. A session that was told to end does the same in its Close.
func (c *client) linger() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	below := c.ses.Conn() // whatever TLS and compression make of it
	_ = below.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, below, lingerMax)
}

// goodbye is the response code for a session that was told to end.
func goodbye(cause error) string {
	is := func(errs ...error) bool {
		return slices.ContainsFunc(errs, func(err error) bool { return errors.Is(cause, err) })
	}
	switch { // RFC 5530 section 3
	case is(session.ErrDrain, session.ErrHurry, session.ErrLimit):
		return "UNAVAILABLE"
	case is(session.ErrRevoked, session.ErrPass):
		return "EXPIRED"
	case is(session.ErrDisabled, session.ErrRemoved):
		return "CONTACTADMIN"
	}
	return ""
}

// loop runs commands until one says that it was the last, or the connection fails.
func (c *client) loop() (err error) {
	defer c.recovered(&err)
	c.greet()
	for err == nil {
		c.waiting = true
		err = c.r.Wait()
		c.waiting = false
		if err == nil {
			err = c.next()
		}
	}
	return err
}

// recovered turns a panic into the connection's end: it is one client's and no other's.
func (c *client) recovered(err *error) {
	if p := recover(); p != nil {
		c.srv.o.Logger.Error("panic in imap", "session", c.ses.ID(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = &errBye{code: "SERVERBUG", text: "Internal error " + c.ses.ID()}
	}
}

func (c *client) greet() {
	// RFC 9051 section 7.1: the greeting may hold the capabilities.
	c.e.Raw("* OK [", c.capabilities(), "] ", c.srv.o.Name, " ready").CRLF()
}

// Read is what the Reader reads from: it sends what is pending before it waits, so responses leave once for each batch of commands, and
// it is the place where a waiting client is woken, given a sign of life, or told to go.
func (c *client) Read(p []byte) (int, error) {
	for {
		if c.idling != nil {
			// The order matters: wake marks first and sets its deadline then, so that
			// either the mark is seen here or the deadline set behind ours ends the Read.
			_ = c.conn.SetReadDeadline(c.lastSign.Add(c.srv.o.IdleKeepalive))
		}
		if c.listening() && c.woken.Swap(false) {
			if err := c.tellNews(); err != nil {
				return 0, err
			}
		}
		if c.e.Pending() > 0 {
			c.lastSign = time.Now()
			if err := c.e.Flush(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := c.conn.Read(p)
		if n > 0 || err == nil {
			return n, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if cause := c.ses.Ending(); cause != nil && c.ctx().Err() != nil {
			return 0, cause
		}
		if c.idling == nil {
			_ = c.conn.SetReadDeadline(time.Time{}) // of a wake: it is heard now if it may be, else when the command is over
		} else if time.Since(c.lastSign) >= c.srv.o.IdleKeepalive {
			c.e.Raw("* OK Still here").CRLF()
			if c.view != nil && c.view.aged() {
				c.woken.Store(true)
			}
		}
	}
}

// listening tells whether the client may be told something while it waits.
func (c *client) listening() bool { return c.idling != nil || c.waiting && c.notify != nil }

// tellNews tells it.
func (c *client) tellNews() error {
	if c.notify != nil {
		return c.tellNotified()
	}
	if err := c.sync(true, false); err != nil {
		return err
	}
	return c.tellNoted()
}

// wake interrupts a client that listens. It is called from any goroutine and does not block.
func (c *client) wake() {
	if !c.woken.Swap(true) {
		_ = c.ses.Conn().SetReadDeadline(time.Unix(1, 0)) // not conn, which is the goroutine's own
	}
}

// leave lets the client send a literal.
func (c *client) leave() error {
	c.e.Raw("+ OK").CRLF()
	return c.e.Flush()
}

// next runs one command, of which the beginning is buffered.
func (c *client) next() error {
	c.d.UTF8, c.e.UTF8 = c.utf8, c.utf8
	if err := c.d.Next(); err != nil {
		return err
	}
	if c.idling != nil {
		return c.done()
	}
	return c.command()
}

// code appends a response code in brackets.
func (c *client) code(code string) {
	if code != "" {
		c.e.Raw("[", code, "] ")
	}
}
