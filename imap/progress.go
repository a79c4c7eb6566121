package imap

import (
	"strings"
	"time"

	"github.com/packetboat/packetboat/imap/wire"
)

// work is a command that may take long: it tells the client how far it got (INPROGRESS, RFC 9585), and ends at a deadline.
type work struct {
	*client
	tag      string
	text     string // what is being done: "Searching"
	goal     uint64 // how many messages there are to look at; 0: not known
	looked   uint64 // how many were looked at
	start    time.Time
	told     time.Time // when the client last heard of us
	deadline time.Time // zero: none
	probed   time.Time // when it was looked whether the client is still there
	closed   bool      // its end was closed then
	held     bool      // one of Server.heavy is ours
	numbers  bool      // message numbers are among the keys of the search
}

// searching begins the work of a command that searches.
func (c *client) searching(t *task) *work {
	now := time.Now()
	return &work{client: c, tag: t.tag, text: "Searching", start: now, told: now, deadline: now.Add(c.srv.o.SearchTimeout)}
}

var errTooLong = &wire.Error{No: true, Code: "LIMIT", Text: "Search takes too long"}

// tick is called while the work goes on; it says when it must end. It costs a look at the clock.
func (w *work) tick() error {
	if err := w.broken(); err != nil {
		return err
	}
	now := time.Now()
	if !w.deadline.IsZero() && now.After(w.deadline) {
		return errTooLong
	}
	if err := w.probe(now); err != nil {
		return err
	}
	if now.Sub(w.told) >= w.srv.o.Progress {
		w.told = now
		return w.tell()
	}
	return nil
}

// probeEvery is how long a client that hung up may be worked for.
const probeEvery = 200 * time.Millisecond

// probe ends work for a client that is gone. One whose end is closed may have said all its commands and listen: something that is
// sent tells, as the kernel of one that does not listen refuses it.
func (w *work) probe(now time.Time) error {
	if w.probed.IsZero() {
		w.probed = now
	}
	if now.Sub(w.probed) < probeEvery {
		return nil
	}
	w.probed = now
	closed, gone := hungUp(w.ses.Conn().Conn)
	switch {
	case gone:
		return errClosed
	case closed && !w.closed:
		w.closed = true
		return w.tell()
	}
	return nil
}

// tell gives an INPROGRESS. RFC 9585 section 4: what was looked at is less than the goal; what is not known, or a tag that cannot stand in a
// response code, is NIL.
func (w *work) tell() error {
	c := w.client
	c.e.Raw("* OK [INPROGRESS (")
	if strings.Contains(w.tag, "]") {
		c.e.Raw("NIL")
	} else {
		c.e.Raw(`"`, w.tag, `"`)
	}
	switch {
	case w.looked > 0 && w.goal > w.looked:
		c.e.Raw(" ").Num(w.looked).Raw(" ").Num(w.goal)
	case w.looked > 0 && w.goal == 0:
		c.e.Raw(" ").Num(w.looked).Raw(" NIL")
	default:
		c.e.Raw(" NIL NIL")
	}
	c.e.Raw(")] ", w.text).CRLF()
	return c.e.Flush()
}

// claim waits for the right to work hard, of which the Server has few: the rest of a thousand searches waits, and other commands find the
// machine free. It is held for a few messages at a time, and accounts take turns, so that a short search never waits for the end of a long one, nor for
// those of somebody else who has many.
func (w *work) claim() error {
	if w.tryClaim() {
		return nil
	}
	turn := w.srv.heavy.wait(w.account.ID)
	look := time.NewTicker(waitTick)
	defer look.Stop()
	defer func() {
		if !w.held {
			w.srv.heavy.leave(w.account.ID, turn)
		}
	}()
	for {
		select {
		case <-turn:
			w.held = true
			return nil
		case <-w.ctx().Done():
			return w.broken()
		case <-look.C:
			if err := w.tick(); err != nil {
				return err
			}
		}
	}
}

// tryClaim is claim where it need not wait.
func (w *work) tryClaim() bool {
	w.held = w.held || w.srv.heavy.take()
	return w.held
}

// waitTick is how often work that waits looks at the clock.
const waitTick = 100 * time.Millisecond

// release gives the right back, if it is held.
func (w *work) release() {
	if w.held {
		w.srv.heavy.give()
		w.held = false
	}
}

// step is tick between two pieces of work, of which heavy ones need the right.
func (w *work) step(heavy bool) error {
	w.release()
	if err := w.tick(); err != nil || !heavy {
		return err
	}
	return w.claim()
}
