package ftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// handle is the file of a transfer as an engine uses it: one WriteTo or ReadFrom with the data connection, then Close.
// Everything that matters (sendfile, counters, what is a whole upload) happens in these, so an engine cannot get it wrong. The outcome is in the transfer.
type handle interface {
	io.Reader
	io.Writer
	io.Seeker
	io.Closer
	TransferError(err error) // before Close: the engine could not do its part
}

// open opens the file of a transfer.
func (t *transfer) open(ctx context.Context, tree *vfs.Tree) (handle, error) {
	if t.verb == "RETR" {
		f, err := tree.Open(ctx, t.path)
		if err == nil && t.off > f.Size() {
			f.Close()
			err = refuse(554, "The file is shorter than that.") // RFC 3659 section 5.3 leaves the code open
		}
		if err != nil {
			t.result = err
			return nil, err
		}
		t.opening = fmt.Sprintf("Sending %s (%d bytes).", t.path, f.Size()-t.off)
		return &download{t: t, f: f}, nil
	}
	w, err := tree.Create(ctx, t.path, vfs.CreateOptions{Offset: t.off, Append: t.append, Expect: -1, Exclusive: t.unique})
	if err != nil {
		t.result = err
		return nil, err
	}
	if !t.unique {
		t.opening = "Ready for " + t.path + "."
	}
	return &upload{t: t, w: w, ctx: ctx}, nil
}

type download struct {
	t *transfer
	f *vfs.File
}

// WriteTo sends the file from the transfer's offset on. The engine's writer is the data connection itself.
func (h *download) WriteTo(io.Writer) (int64, error) {
	h.t.result = h.t.d.send(h.f.Body, h.t.off)
	h.t.whole = h.t.result == nil
	return h.t.bytes.Load(), h.t.result
}

func (h *download) Seek(int64, int) (int64, error) { return h.t.off, nil } // WriteTo knows the offset
func (h *download) Read([]byte) (int, error)       { return 0, errHandle }
func (h *download) Write([]byte) (int, error)      { return 0, errHandle }
func (h *download) Close() error                   { return h.f.Close() }
func (h *download) TransferError(err error)        { h.t.failed(err) }

var errHandle = errors.New("file handle is for whole transfers")

func (t *transfer) failed(err error) {
	if t.result == nil {
		t.result = err
	}
	t.whole = false
}

// upload is a file on its way in.
//
//	receiving --proper end--> received --Prepare--> durable --control alive--> Commit: visible
//	    \--cut, quota              \--error             \--control connection dead--> kept as a resumable part
type upload struct {
	t        *transfer
	w        *vfs.Writer
	ctx      context.Context
	received time.Time // when the proper end came; zero before
}

// ReadFrom takes everything from the data connection.
func (h *upload) ReadFrom(io.Reader) (int64, error) {
	if err := h.t.d.open(); err != nil {
		h.t.failed(err)
		return 0, err
	}
	n, err := h.w.ReadFrom(struct{ io.Reader }{h.t.d})
	if err != nil {
		h.t.failed(err)
		return n, err
	}
	h.received = time.Now()
	h.t.d.endRead()
	return n, nil
}

func (h *upload) Write(p []byte) (int, error) {
	if len(p) > 0 {
		return 0, errHandle
	}
	return 0, nil
}

func (h *upload) Seek(int64, int) (int64, error) { return h.t.off, nil } // Create knows the offset
func (h *upload) Read([]byte) (int, error)       { return 0, errHandle }
func (h *upload) TransferError(err error)        { h.t.failed(err) }

// Close makes a whole upload visible and keeps the part of another.
func (h *upload) Close() error {
	err := h.t.result
	if err == nil && h.received.IsZero() {
		err = errHandle
	}
	if err == nil {
		err = h.commit()
	}
	if err == nil {
		h.t.whole = true
		return nil
	}
	h.t.failed(err)
	// The part is kept also when the session was killed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), 30*time.Second)
	defer cancel()
	if aerr := h.w.Abort(ctx, h.keep(err)); aerr != nil {
		h.t.c.log.Warn("part of an upload was not kept", "path", h.t.path, "error", aerr)
	}
	return err
}

// keep tells whether what came is worth resuming: not when the name or content is refused.
func (h *upload) keep(err error) bool {
	cut := h.received.IsZero() || errors.Is(err, errControlGone) || errors.Is(err, storage.ErrTemporary) || h.ctx.Err() != nil
	return cut && h.w.Size() > 0
}

var errControlGone = errors.New("control connection ended during the upload")

// commit: in the clear an upload that was cut by the death of the client looks like a whole one, a FIN. Its control connection dies
// with it, a moment earlier or later (Linux closes the sockets of a killed process last opened first), so that is looked at as late as possible: when
// the bytes are durable, and not before PlainGrace is over, just before they become visible.
func (h *upload) commit() error {
	if err := h.w.Prepare(h.ctx); err != nil {
		return err
	}
	o := &h.t.c.srv.o
	proven := h.t.d.tls != nil && !o.LaxDataEnd // by close_notify
	if !proven && !h.t.c.alive(o.PlainGrace-time.Since(h.received)) {
		return &errorAnswer{answer{426, "The control connection ended during the upload."}, errControlGone}
	}
	if why := h.t.d.abortedBy(); why != nil {
		return why
	}
	_, err := h.w.Commit(h.ctx)
	return err
}

// graceStep is the clock of those who wait out PlainGrace.
const graceStep = time.Millisecond

// alive tells whether the peer holds its end of the control connection for as long as wait, or left with a QUIT.
func (c *client) alive(wait time.Duration) bool {
	if c.quitQueued() {
		return true
	}
	if wait > 0 {
		// Uploads that wait at the same time go on at the same time, so that they share one transaction of the store.
		now := time.Now()
		timer := time.NewTimer(now.Add(wait).Truncate(graceStep).Add(graceStep).Sub(now))
		defer timer.Stop()
		select {
		case <-c.left:
		case <-timer.C:
		}
	}
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
