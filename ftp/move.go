package ftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// move opens the file of a transfer and moves its bytes between it and the data connection. An engine calls it where it would open the file. Everything
// that matters (sendfile, counters, what is a whole upload) happens here, so an engine cannot get it wrong.
func (t *transfer) move(ctx context.Context, tree *vfs.Tree) error {
	t.d.pace = t.c.srv.o.Rates.of(t.c, t.verb != "RETR")
	if t.verb == "RETR" {
		return t.download(ctx, tree)
	}
	if t.end > 0 {
		return t.patch(ctx, tree)
	}
	o := vfs.CreateOptions{Offset: t.off, Append: t.append, Expect: -1, Exclusive: t.unique, Relaxed: t.c.srv.o.Relaxed}
	if t.size > 0 {
		o.Expect = t.size
	}
	w, err := tree.Create(ctx, t.path, o)
	if err != nil {
		if t.off > 0 && (errors.Is(err, vfs.ErrBeyond) || errors.Is(err, fs.ErrNotExist)) {
			// RFC 3659 section 5.3: a marker out of range is refused when the transfer is asked for.
			err = &errorAnswer{answer{554, "There is less of it here than that to go on from; ask SIZE, or send all of it."}, err}
		}
		return err
	}
	if !t.unique {
		t.opening = "Ready for " + t.path + "."
	}
	return (&upload{t: t, w: w, ctx: ctx}).run()
}

func (t *transfer) download(ctx context.Context, tree *vfs.Tree) error {
	f, err := tree.Open(ctx, t.path)
	if err != nil {
		return err
	}
	defer f.Close()
	body := t.cut(f.Body)
	if t.off > body.Size() {
		return refuse(554, "The file is shorter than that.") // RFC 3659 section 5.3 leaves the code open
	}
	if t.ascii { // the number of bytes is not known before they are sent
		t.opening = "Sending " + t.path + " with lines ending in CR LF."
		t.started()
		return t.sendASCII(body)
	}
	t.opening = fmt.Sprintf("Sending %s (%d bytes).", t.path, body.Size()-t.off)
	t.started()
	return t.d.send(body, t.off)
}

// upload is a file on its way in.
//
//	receiving --proper end--> received --Prepare--> durable --control alive--> Commit: visible
//	    \--cut, quota              \--error             \--control connection dead--> kept as a resumable part
type upload struct {
	t        *transfer
	w        *vfs.Writer
	ctx      context.Context
	from     io.Reader // what is stored, when it is not just what comes over the data connection
	begun    time.Time // when the data connection was there
	received time.Time // when the proper end came; zero before
	unproven bool      // it came in a way that proves nothing under TLS either
}

// run makes a whole upload visible and keeps the part of another.
func (u *upload) run() error {
	u.t.started()
	err := u.receive()
	if err == nil {
		err = u.commit()
	}
	if err == nil {
		return nil
	}
	// The part is kept also when the session was killed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), 30*time.Second)
	defer cancel()
	if aerr := u.w.Abort(ctx, u.keep(err)); aerr != nil {
		u.t.c.log.Warn("part of an upload was not kept", "path", u.t.path, "error", aerr)
	}
	return err
}

// receive takes everything from the data connection.
func (u *upload) receive() error {
	u.t.d.receiving()
	if err := u.t.d.open(); err != nil {
		return err
	}
	u.begun = time.Now()
	from := u.from
	if from == nil {
		from = u.t.d
	}
	if u.t.ascii {
		from = newLFReader(from)
	}
	kept := u.w.Size()
	if _, err := u.w.ReadFrom(struct{ io.Reader }{from}); err != nil {
		if !errors.Is(err, errTruncated) || !u.nothing() {
			return err
		}
		u.unproven = true
	}
	// In the clear a FIN can be that of a dying client, and clients that give up (an interrupt, a file that can no longer be read) end TLS properly. Some
	// announce by ALLO what is still to come and some, as lftp, the whole file: when less came than either, it was cut. More is no harm: the file grew, or
	// its line ends did (TYPE A).
	if all := kept + u.t.bytes.Load(); all < u.t.size {
		return refuse(426, fmt.Sprintf("Cut: %d bytes of the %d that ALLO announced.", all, u.t.size))
	}
	u.received = time.Now()
	u.t.d.endRead()
	return nil
}

// proven tells whether nobody but the client can have ended the data connection: close_notify.
func (u *upload) proven() bool { return u.t.d.tls != nil && !u.t.c.srv.o.LaxDataEnd && !u.unproven }

// nothing tells whether the upload is of no bytes and would take none away. Node loses the close_notify of a connection on which nothing was written, so
// such an upload is taken as one in the clear is; cutting a connection off at its beginning must not empty a file. Who sent the beginning of a record had
// something to send.
func (u *upload) nothing() bool {
	if u.t.bytes.Load() > 0 || u.t.off > 0 || u.t.d.wire.records.inside() {
		return false
	}
	if u.w.New() {
		return true
	}
	if _, err := u.t.c.tree.Partial(u.ctx, u.t.path); !errors.Is(err, fs.ErrNotExist) {
		return false // some of it came before
	}
	info, err := u.t.c.tree.Stat(u.ctx, u.t.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0
}

// keep tells whether what came is worth resuming: not when the name or content is refused, nor when the client cannot count in the bytes that are stored.
func (u *upload) keep(err error) bool {
	if u.from != nil || u.t.ascii {
		return false
	}
	cut := u.received.IsZero() || errors.Is(err, errControlGone) || errors.Is(err, storage.ErrTemporary) || u.ctx.Err() != nil
	return cut && u.w.Size() > 0
}

var (
	errControlGone = errors.New("control connection ended during the transfer")

	errLost error = &errorAnswer{answer{426, "The control connection ended during the transfer."}, errControlGone}
)

// commit: in the clear an upload that was cut by the death of the client looks like a whole one, a FIN. Its control connection dies
// with it, a moment earlier or later (Linux closes the sockets of a killed process last opened first), so that is looked at as late as possible: when
// the bytes are durable, and not before the grace is over, just before they become visible.
func (u *upload) commit() error {
	if err := u.w.Prepare(u.ctx); err != nil {
		return err
	}
	var why error // as storage wraps it in its own words
	look := storage.Look{Whole: func() error {
		why = u.whole()
		return why
	}}
	if !u.proven() {
		look.NotBefore = u.received.Add(u.grace())
		u.t.c.waitFor(look.NotBefore.Add(-storage.MaxLookWait))
	}
	u.w.Last(look)
	if _, err := u.w.Commit(u.ctx); why == nil {
		return err
	}
	return why
}

// maxGrace is more than the time that a busy machine lets pass between the sockets of a process that it ends.
const maxGrace = 20 * time.Millisecond

// grace is a quarter of the time that the upload took, between PlainGrace and maxGrace: the longer it went on, the likelier it is that its client died in the middle
// of it, and the less does its user notice.
func (u *upload) grace() time.Duration {
	least := u.t.c.srv.o.PlainGrace
	if least < 0 {
		return 0
	}
	return max(least, min(u.received.Sub(u.begun)/4, maxGrace))
}

// waitFor waits until then, or for the end of the control connection.
func (c *client) waitFor(then time.Time) {
	wait := time.Until(then)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-c.left:
	case <-c.ctx.Done():
	case <-timer.C:
	}
}

// whole tells why the upload must not become visible; nil: it may.
func (u *upload) whole() error {
	proven := u.proven()
	if !proven && !u.t.c.alive() {
		return errLost
	}
	if why := u.t.d.abortedBy(); why != nil && !(proven && why == errLost) {
		return why
	}
	return nil
}

// alive tells whether the peer holds its end of the control connection, or left with a QUIT.
func (c *client) alive() bool {
	if c.quitQueued() {
		return true
	}
	select {
	case <-c.left:
		return false
	default:
	}
	// The reader may be waiting for room in the queue.
	conn, ok := c.raw.(*session.Conn)
	return !ok || !hungUp(conn.Conn)
}

// quitQueued tells whether a QUIT waits for the end of the transfer: who says goodbye has not been killed.
func (c *client) quitQueued() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.queue, func(line string) bool {
		verb, _ := parseLine([]byte(line))
		return verb == "QUIT"
	})
}
