package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

const (
	// Lines that wait behind a transfer, and their bytes; then the control connection is not read. A client that sends NOOP every half minute
	// to keep the connection alive through a NAT is read for a day: ABOR still acts at once.
	maxQueue      = 4096
	maxQueueBytes = 64 << 10

	maxUnknown  = 20  // unknown commands in a row
	maxActivity = 300 // bytes of a command that the session list is told
)

// client is what FTP knows of its session.
//
// Its commands are run by the executor: the reading goroutine while no transfer runs, the transfer's goroutine from the start
// of a transfer until it and the lines queued behind it are done. The hand-over is under mu (busy), so the fields of the
// executor need no lock of their own:
//
//	  line                              line: queue it, or act (ABOR, STAT)
//	 +----+                             +----+
//	 v    |   RETR, STOR, LIST, ...     v    |
//	reader runs  ------------------>  transfer's goroutine runs
//	 ^                                       |
//	 +--------- queue empty -----------------+
type client struct {
	srv  *Server
	sess *session.Session
	log  *slog.Logger
	raw  net.Conn // as accepted
	lr   *lineReader
	conn net.Conn // raw or TLS over it; set by the reader under wmu

	// ctx is for what the executor asks of the tree. Unlike the session's it goes on while the server drains, so that a
	// transfer can end well.
	ctx    context.Context
	cancel context.CancelCauseFunc

	wmu  sync.Mutex
	out  []byte // replies not yet sent
	deaf bool   // a write failed

	mu      sync.Mutex
	busy    bool
	queue   []string
	queued  int           // bytes in queue
	abors   int           // ABORs in queue
	room    chan struct{} // capacity 1: the queue got shorter
	cur     *transfer     // runs now
	left    chan struct{} // closed when the peer closed the control connection
	closing bool          // the last reply was written
	wg      sync.WaitGroup

	waiting  bool        // the reader waits for a line
	engTimer *time.Timer // ends an engine that rests; nil before the first one, and when the session ends

	// of the executor
	onTransfer bool // the executor is the transfer's goroutine
	unknown    int
	tls        *tls.Config // with the ticket keys of this session; nil in plaintext
	user       string
	account    *storage.Account
	guest      bool // logged in as anonymous: account is whose tree it is, and nothing of the account's own may be shown or changed
	tree       *vfs.Tree
	eng        engine // nil until a command needs it, and when none did for a while
	engUsed    time.Time
	cwd        string
	pbsz       bool
	protect    bool // PROT P
	epsvAll    bool
	rest       int64            // REST, or where RANG begins
	until      int64            // one past the last byte of RANG; 0: there is none
	rates      [2]*rate.Limiter // of the session's downloads and uploads; nil until bounded
	announced  int64            // by ALLO, for the next upload; 0: unknown
	typ        atomic.Int32     // typeASCII or typeImage; STAT shows it while a transfer runs
	hash       *algorithm       // of HASH
	host       *virtualHost     // HOST; nil: none
	renameFrom string
	copyFrom   string // SITE CPFR
	facts      facts
	plan       *dataConn // what PASV, EPSV, PORT or EPRT prepared
	spent      *spent    // of the transfer that was refused last; mostly nil
	told       told      // by the last SIZE
	askedType  string    // "A" or "I" when the client sent TYPE, for its next session
	forget     bool      // nothing is to be remembered of this session, any more
}

// serve is the life of a session.
func (s *Server) serve(conn net.Conn, sess *session.Session) {
	c := &client{
		srv: s, sess: sess, raw: conn, conn: conn, room: make(chan struct{}, 1), left: make(chan struct{}), cwd: "/",
		log: s.log.With("session", sess.ID()),
	}
	c.resetParameters()
	c.lr = c.lines(conn)
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(sess.Context()))
	stop := context.AfterFunc(sess.Context(), c.ending)
	defer c.end(stop)
	defer c.recover()
	if s.o.ImplicitTLS {
		if err := c.startTLS(); err != nil {
			c.log.Debug("tls handshake failed", "error", err)
			c.deaf, c.closing = true, true
			return
		}
		c.protect, c.pbsz = true, true
	}
	c.reply(220, s.o.Name+" FTP server ready.")
	c.read()
}

// ending is called when the session is told to end. A drain lets the transfer finish, until it has waited long enough and closes
// the session.
func (c *client) ending() {
	cause := context.Cause(c.sess.Context())
	if errors.Is(cause, session.ErrDrain) && c.sess.Info().State != session.Ended {
		return
	}
	c.cancel(cause)
	c.abort(refuse(426, "Transfer cut: "+cause.Error()+"."))
}

// abort cuts the transfer that runs, if there is one.
func (c *client) abort(why error) {
	c.mu.Lock()
	t := c.cur
	c.mu.Unlock()
	if t != nil {
		t.abort(why)
	}
}

// lost is called when the control connection ended, by err.
// RFC 959 section 4.1.1: an unexpected close takes the effective action of an abort and a logout. After a QUIT it is not unexpected. Nor
// is it the client's doing when the network lost the connection, which a long transfer leaves silent (ETIMEDOUT, of TCP's keepalive): what
// moves may go on, and an upload in the clear is then a part at its end. The same is true of an upload under TLS, which close_notify proves
// whole: its client may have sent all of it and gone; there the data connection has lostWait to bring it.
func (c *client) lost(err error) {
	close(c.left)
	if c.quitQueued() || errors.Is(err, syscall.ETIMEDOUT) {
		return
	}
	c.mu.Lock()
	t := c.cur
	c.mu.Unlock()
	if t != nil && !t.d.hurry() {
		t.abort(errLost)
	}
}

// end waits for a transfer, says goodbye and closes.
func (c *client) end(stop func() bool) {
	c.mu.Lock()
	if c.sess.Ending() != nil {
		c.queue, c.queued, c.abors = nil, 0, 0
	}
	if c.engTimer != nil {
		c.engTimer.Stop()
		c.engTimer = nil
	}
	c.mu.Unlock()
	c.wg.Wait()
	c.noteVisit()
	if cause := c.sess.Ending(); cause != nil && !c.closing {
		c.reply(421, "Closing: "+cause.Error()+".")
	}
	c.flush()
	stop()
	c.cancel(session.ErrClosed)
	c.cutSpent()
	c.dropPlan()
	if t := c.cur; t != nil { // left behind by a panic
		t.d.cut()
	}
	c.dropEngine()
	c.conn.Close()
}

func (c *client) recover() {
	if p := recover(); p != nil {
		c.log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
		c.reply(421, "Internal error, closing.")
		c.hangUp("internal error")
	}
}

// lines reads the control connection.
func (c *client) lines(conn net.Conn) *lineReader {
	l := newLineReader(conn)
	l.refuse = c.write
	return l
}

// read reads lines until the connection or the session ends.
func (c *client) read() {
	for {
		line, err := c.lr.next(c.await)
		c.setWaiting(false)
		switch {
		case errors.Is(err, errLineTooLong):
			c.onLine("\x00")
		case err != nil:
			if c.sess.Ending() == nil {
				c.lost(err)
			}
			if err != io.EOF {
				c.log.Debug("control connection ended", "error", err)
			}
			return
		default:
			c.onLine(string(line))
		}
		c.mu.Lock()
		closing := c.closing && !c.busy
		c.mu.Unlock()
		if closing || c.sess.Ending() != nil {
			return
		}
	}
}

// onLine runs a line, or during a transfer queues it.
func (c *client) onLine(line string) {
	for {
		c.mu.Lock()
		if !c.busy {
			c.mu.Unlock()
			c.exec(line)
			return
		}
		verb, arg := parseLine([]byte(line))
		// RFC 959 section 4.1.3: STAT is answered during a transfer. Before its 150, or behind other commands, it waits its turn: replies come in
		// the order of the commands.
		if t := c.cur; verb == "STAT" && arg == "" && t != nil && (t.silent || t.begun.Load()) && len(c.queue) == 0 {
			c.mu.Unlock()
			c.replyStatus(t)
			c.flush()
			return
		}
		if len(c.queue) < maxQueue && c.queued+len(line) <= maxQueueBytes {
			c.queue = append(c.queue, line)
			c.queued += len(line)
			t := c.cur
			if verb == "ABOR" {
				c.abors++
			} else {
				t = nil
			}
			c.mu.Unlock()
			// RFC 959 section 4.1.3: ABOR acts at once; it is answered in its turn.
			if t != nil {
				t.abort(errAbor)
			}
			return
		}
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-c.sess.Context().Done():
			return
		}
	}
}

// start runs a transfer: in a goroutine of its own, which then runs what was queued meanwhile, or, when that is already the
// executor, at once.
func (c *client) start(t *transfer) {
	c.mu.Lock()
	c.busy, c.cur = true, t
	aborted := c.abors > 0
	c.mu.Unlock()
	if aborted { // it waits behind the command that began the transfer
		t.abort(errAbor)
	}
	if c.sess.Ending() != nil && !errors.Is(c.sess.Ending(), session.ErrDrain) {
		t.abort(refuse(426, "Transfer cut."))
	}
	select {
	case <-c.left:
		// Nobody is there for whom to begin (RFC 959 section 4.1.1), but a client that said all it wanted to, QUIT too, and reads the replies.
		if c.isDeaf() || !c.quitQueued() {
			t.abort(errLost)
		}
	default:
	}
	if c.onTransfer {
		c.transfer(t)
		return
	}
	c.onTransfer = true
	c.wg.Go(func() {
		defer c.recover()
		c.transfer(t)
		for {
			c.mu.Lock()
			if len(c.queue) == 0 || c.closing {
				c.onTransfer, c.busy = false, false
				c.mu.Unlock()
				c.wake()
				return
			}
			line := c.queue[0]
			c.queue = c.queue[1:]
			c.queued -= len(line)
			if c.abors > 0 {
				if verb, _ := parseLine([]byte(line)); verb == "ABOR" {
					c.abors--
				}
			}
			c.mu.Unlock()
			c.wake()
			c.exec(line)
			c.flush()
		}
	})
}

func (c *client) wake() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}

var errAbor = refuse(426, "Transfer aborted.")

const notLoggedIn = "Log in with USER and PASS first."

// exec runs one command line.
func (c *client) exec(line string) {
	if line == "\x00" {
		c.reply(500, "Line too long.")
		return
	}
	verb, arg := parseLine([]byte(line))
	cmd := c.srv.byName[verb]
	switch {
	case cmd == nil:
		c.unknownCommand(verb, arg)
		return
	case controlIn(arg):
		c.reply(501, "Control characters are not allowed.")
		return
	}
	c.unknown = 0
	switch {
	case cmd.flags&preAuth == 0 && c.account == nil:
		c.reply(530, notLoggedIn)
	case cmd.flags&needArg != 0 && arg == "":
		c.reply(501, "Usage: "+cmd.name+" "+cmd.syntax)
	default:
		c.run(cmd, arg)
	}
}

func (c *client) run(cmd *command, arg string) {
	activity := cmd.name
	if cmd.flags&secret == 0 && arg != "" {
		activity += " " + arg
	}
	if len(activity) > maxActivity {
		activity = strings.ToValidUTF8(activity[:maxActivity], "") + "..."
	}
	c.sess.Begin(activity)
	c.cutSpent()
	if cmd.name != "RNTO" { // RFC 959: RNTO follows RNFR immediately
		c.renameFrom = ""
	}
	if cmd.prepare == nil {
		cmd.run(c, arg)
		c.sess.Done()
		return
	}
	t, err := cmd.prepare(c, arg)
	c.rest, c.until = 0, 0
	if err != nil {
		c.fail(err, "", cmd.flags&creates != 0)
		c.flush()
		c.cutSoon(c.plan)
		c.plan = nil
		c.sess.Done()
		return
	}
	t.creates = cmd.flags&creates != 0
	c.start(t)
}

// unknownCommand counts, since a peer that sends nothing else is no FTP client.
func (c *client) unknownCommand(verb, arg string) {
	if foreign(verb, arg) {
		c.hangUpForeign(verb)
		return
	}
	c.unknown++
	if c.unknown >= maxUnknown {
		c.reply(421, "Too many unknown commands, closing.")
		c.hangUp("too many unknown commands")
		return
	}
	if len(verb) > 16 || strings.IndexFunc(verb, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		verb = "That"
	}
	if verb == "" {
		c.reply(500, "No command. See HELP.")
		return
	}
	c.reply(500, verb+" is not understood. See HELP.")
}

// hangUp ends the session after the reply that was written; the history says why.
func (c *client) hangUp(why string) {
	c.sess.SetEnd(why)
	c.mu.Lock()
	c.closing = true
	c.queue, c.queued, c.abors = nil, 0, 0
	c.mu.Unlock()
	c.flush()
	c.wake()
	if c.onTransfer {
		c.raw.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
}

// dropPlan gives up what PASV or PORT prepared.
func (c *client) dropPlan() {
	if c.plan != nil {
		c.plan.close()
		c.plan = nil
	}
}

// spent is the data connection of a transfer that was refused, for a moment longer.
type spent struct {
	d     *dataConn
	timer *time.Timer
}

// spentLife is long enough for a reply to be read before the end of the data connection is seen: curl sometimes looks only after a second.
const spentLife = 4 * time.Second

// cutSoon ends d (or nil), which was not used, by the next command or soon after. A client that is in its handshake when the connection breaks takes it for
// trouble of the network, tries another way, and misses the reply that says why (curl).
func (c *client) cutSoon(d *dataConn) {
	if d == nil {
		return
	}
	c.cutSpent()
	if d.opened {
		d.cut()
		return
	}
	c.spent = &spent{d, time.AfterFunc(spentLife, d.cut)}
}

func (c *client) cutSpent() {
	if c.spent != nil {
		c.spent.timer.Stop()
		c.spent.d.cut()
		c.spent = nil
	}
}

// resolve makes of a client's path an absolute clean one.
func (c *client) resolve(path string) (string, error) {
	p, err := vfs.Clean(c.cwd, path)
	if err != nil {
		return "", err
	}
	if len(p) > maxPath {
		return "", fmt.Errorf("%w: the path is too long", storage.ErrInvalid)
	}
	return p, nil
}

// maxPath is a little less than storage.MaxPath, so that a line of the engine holds it.
const maxPath = 4000
