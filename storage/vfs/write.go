package vfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// CreateOptions say how a file is written.
type CreateOptions struct {
	Offset    int64     // REST n: keep the first n bytes of the partial upload or else of the file; only for files
	Append    bool      // APPE: keep all of the file, or else of the partial upload, if there is one; only for files, else as if it were not set
	Expect    int64     // size announced, -1 unknown (of what will be written now, without what is kept)
	Modified  time.Time // zero: now; of a message: its Date field
	Relaxed   bool      // durable only a while after Commit (storage.Upload.Relax); only for files
	Exclusive bool      // fs.ErrExist when there is something already, looked at now and once more by Commit

	blind bool // nothing may be told of what is there: a name that is taken makes Commit choose another
}

// keepTimeout is how long Abort may take to keep a partial upload although the context has ended.
const keepTimeout = 10 * time.Second

// Writer is a file being written, by one goroutine:
//
//	writing --Commit--> visible
//	   |  \--Commit fails--> writing (Abort it)
//	   \----Abort----> gone, or kept as a partial upload
type Writer struct {
	t     *Tree
	path  string   // as Create was told
	names []string // that lead there from home
	o     CreateOptions
	into  storage.Node // the folder or mailbox
	u     *storage.Upload
	kept  int64 // bytes that it began with
	ended bool

	mail *mailText // of a message
	old  *place    // of a message: the one that has this name already

	host *hostWriter // on a mount; into and u are not set
}

// Create begins to write a file, or (below /Mail) a message. Nothing is visible before Commit. The folder must exist.
func (t *Tree) Create(ctx context.Context, path string, o CreateOptions) (*Writer, error) {
	names, o, err := t.mayCreate(ctx, path, o)
	if err != nil {
		return nil, fail("create", path, err)
	}
	w, err := t.create(ctx, names, o)
	if o.blind && errors.Is(err, errNotFolder) {
		err = fs.ErrNotExist // a file has that name: not to be told
	}
	if err != nil {
		return nil, fail("create", path, err)
	}
	w.path, w.kept = path, w.Size()
	return w, nil
}

func (t *Tree) create(ctx context.Context, names []string, o CreateOptions) (w *Writer, err error) {
	w = &Writer{t: t, names: names, o: o}
	switch {
	case len(names) == 0 || isMailRoot(names):
		err = errFolderExists
	case inMail(names):
		err = w.beginMessage(ctx)
	default:
		err = w.begin(ctx)
	}
	return w, err
}

func (w *Writer) begin(ctx context.Context) error {
	h, err := w.t.hosted(ctx, w.names)
	if err != nil {
		return err
	}
	if h == nil {
		return w.beginFile(ctx)
	}
	w.host, err = newHostWriter(ctx, h, w.o)
	return err
}

func (w *Writer) beginFile(ctx context.Context) (err error) {
	if w.into, err = w.t.parent(ctx, w.names); err != nil {
		return err
	}
	if err := w.vacant(ctx); err != nil {
		return err
	}
	if err := w.ownPart(ctx); err != nil {
		return err
	}
	s, last := w.t.store, w.names[len(w.names)-1]
	switch {
	case w.o.Offset < 0:
		return fs.ErrInvalid
	case w.o.Append:
		w.u, err = s.ResumeUpload(ctx, w.t.account, w.into.ID, last, -1, w.o.Exclusive)
		if errors.Is(err, fs.ErrNotExist) {
			w.u, err = s.NewFile(ctx, w.t.account, w.into.ID, last, w.o.Expect, w.o.Exclusive)
		}
	case w.o.Offset > 0:
		if w.u, err = s.ResumeUpload(ctx, w.t.account, w.into.ID, last, w.o.Offset, w.o.Exclusive); errors.Is(err, storage.ErrInvalid) {
			err = ErrBeyond // the name was checked
		}
	case w.o.blind: // what a file of that name takes must not show in what is left of the quota
		w.u, err = s.NewUpload(ctx, w.t.account, w.o.Expect)
	default:
		w.u, err = s.NewFile(ctx, w.t.account, w.into.ID, last, w.o.Expect, w.o.Exclusive)
	}
	if err == nil && w.o.Relaxed {
		w.u.Relax()
	}
	return err
}

// vacant tells whether the file may be put under its name.
func (w *Writer) vacant(ctx context.Context) error {
	if w.o.blind {
		return nil
	}
	n, err := w.t.store.Lookup(ctx, w.t.account, w.into.ID, w.names[len(w.names)-1])
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case n.Kind != storage.KindFile:
		return errFolderExists
	case w.o.Exclusive:
		return fs.ErrExist
	}
	return nil
}

func (w *Writer) beginMessage(ctx context.Context) (err error) {
	if len(w.names) == 2 {
		p, err := w.t.find(ctx, w.names)
		if err == nil && p.folder() && !w.o.blind {
			return errFolderExists
		}
		return errMailRoot
	}
	if w.into, err = w.t.parent(ctx, w.names); err != nil {
		return err
	}
	p, err := w.t.find(ctx, w.names)
	switch {
	case w.o.blind && (err == nil || errors.Is(err, fs.ErrNotExist)):
	case err == nil && p.folder():
		return errFolderExists
	case err == nil && w.o.Exclusive:
		return fs.ErrExist
	case err == nil && w.o.Append:
		return errNoRewrite
	case err == nil:
		w.old = p
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	switch {
	case w.into.Kind != storage.KindMailbox:
		return errNoSelect
	case w.o.Offset != 0:
		return errNoRewrite
	case w.o.Expect > w.t.fs.maxMessage:
		return errTooLarge
	}
	if w.u, err = w.t.store.NewMail(ctx, w.t.account, w.o.Expect); err != nil {
		return err
	}
	w.mail = &mailText{w: w.u, max: w.t.fs.maxMessage}
	return nil
}

func (w *Writer) fail(err error) error { return fail("write", w.path, err) }

// Write adds to the file. What is no message is refused as soon as it shows, as fs.ErrInvalid.
func (w *Writer) Write(p []byte) (n int, err error) {
	switch {
	case w.ended:
		return 0, w.fail(fs.ErrClosed)
	case w.host != nil:
		n, err = w.host.write(p)
	case w.mail != nil:
		n, err = w.mail.Write(p)
	default:
		n, err = w.u.Write(p)
	}
	return n, w.fail(err)
}

// ReadFrom adds all of r to the file. An error of r is returned as it is.
func (w *Writer) ReadFrom(r io.Reader) (n int64, err error) {
	src := &source{r: r}
	switch {
	case w.ended:
		return 0, w.fail(fs.ErrClosed)
	case w.host != nil:
		n, err = w.host.readFrom(src)
	case w.mail != nil:
		n, err = w.mail.ReadFrom(src)
	default:
		n, err = w.u.ReadFrom(src)
	}
	if src.err != nil {
		return n, src.err
	}
	return n, w.fail(err)
}

// source remembers what ended it, to tell a network's errors from the store's.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Size is the bytes written so far, with what was kept.
func (w *Writer) Size() int64 {
	switch {
	case w.host != nil:
		return w.host.size
	case w.mail != nil:
		return w.mail.received
	}
	return w.u.Size()
}

// New tells whether it can replace nothing.
func (w *Writer) New() bool { return w.o.Exclusive }

// Prepare makes the bytes durable without making them visible; nothing can be written after it. Optional: Commit does it too.
func (w *Writer) Prepare(ctx context.Context) error {
	if w.ended {
		return w.fail(fs.ErrClosed)
	}
	switch {
	case w.host != nil:
		return w.fail(w.host.prepare(ctx))
	case w.mail != nil:
		if err := w.mail.finish(); err != nil {
			return w.fail(err)
		}
	}
	return w.fail(w.u.Prepare(ctx))
}

// Last sets the last look before Commit makes it visible; its NotBefore is waited for.
func (w *Writer) Last(l storage.Look) {
	if w.host != nil {
		w.host.look = &l
	} else {
		w.u.Last(l)
	}
}

// Commit makes it visible under its path, durable when it returns (unless Relaxed). A message that is none (no header field) is refused: fs.ErrInvalid
// with a clear text. The Info of a message has the name that it got; the path is an alias of it from now on.
func (w *Writer) Commit(ctx context.Context) (Info, error) {
	err := w.stillAllowed(ctx)
	if err != nil {
		return Info{}, w.fail(err)
	}
	i, err := w.commit(ctx)
	if err != nil {
		return Info{}, w.fail(err)
	}
	return i, nil
}

func (w *Writer) commit(ctx context.Context) (i Info, err error) {
	switch {
	case w.ended:
		return Info{}, fs.ErrClosed
	case w.host != nil:
		i, err = w.host.commit(ctx)
	case w.mail != nil:
		i, err = w.deliver(ctx)
	default:
		i, err = w.put(ctx)
	}
	w.ended = err == nil
	return i, err
}

func (w *Writer) put(ctx context.Context) (Info, error) {
	put := w.t.store.PutFile
	if w.o.Exclusive {
		put = w.t.store.PutNewFile
	}
	n, err := put(ctx, w.t.account, w.into.ID, w.names[len(w.names)-1], w.u, w.o.Modified)
	if w.o.blind && errors.Is(err, fs.ErrExist) {
		n, err = w.putAside(ctx)
	}
	if err != nil {
		return Info{}, err
	}
	return w.t.nodeInfo(n, len(w.names), false, ""), nil
}

func (w *Writer) deliver(ctx context.Context) (Info, error) {
	if err := w.mail.finish(); err != nil {
		return Info{}, err
	}
	if same, err := w.sameAsOld(ctx); err != nil || same {
		if same {
			w.u.Abort()
			return messageInfo(w.old.name, w.old.entry), nil
		}
		return Info{}, err
	}
	date, subject := w.o.Modified, ""
	if env := w.u.Index().Root.Envelope; env != nil {
		subject = env.Subject
		if date.IsZero() {
			date = env.SentDate
		}
	}
	if date.Unix() <= 0 || time.Until(date) > 24*time.Hour {
		date = time.Time{} // nonsense: now
	}
	size := w.u.Size()
	got, err := w.t.store.Deliver(ctx, w.u, []storage.Target{{Account: w.t.account, Mailbox: w.into.ID, InternalDate: date}})
	if err == nil {
		err = got[0].Err
	}
	if err != nil {
		return Info{}, err
	}
	w.t.remember(join(w.names), w.into.ID, got[0].UID)
	return w.delivered(ctx, got[0], size, date, subject), nil
}

// delivered is the Info of the message as the listing shows it. It never fails, as the message is there: if
// another session took it away in this moment, the Info is what it was.
func (w *Writer) delivered(ctx context.Context, got storage.Appended, size int64, date time.Time, subject string) Info {
	if snap, err := w.t.store.Snapshot(ctx, w.into.ID); err == nil {
		var p place
		if found, err := w.t.message(ctx, snap, got.UID, &p); err == nil && found {
			return messageInfo(p.name, p.entry)
		}
	}
	if date.IsZero() {
		date = time.Now()
	}
	e := storage.Entry{UID: got.UID, ID: got.ID, Size: uint32(size), InternalDate: date.Unix()}
	return messageInfo(messageName(e.InternalDate, subject, e.UID), e)
}

// sameAsOld tells whether the message that has this name already has the same bytes: a client that sends what it
// fetched, or tries again, then does no harm.
func (w *Writer) sameAsOld(ctx context.Context) (bool, error) {
	if w.old == nil || int64(w.old.entry.Size) != w.u.Size() {
		return false, nil
	}
	body, err := w.t.store.OpenBlob(ctx, w.old.entry.Blob)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer body.Close()
	a, b := make([]byte, 32<<10), make([]byte, 32<<10)
	for off := int64(0); off < body.Size(); {
		n := min(int64(len(a)), body.Size()-off)
		if err := readFull(body, a[:n], off); err != nil {
			return false, err
		}
		if err := readFull(w.u, b[:n], off); err != nil {
			return false, err
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return false, nil
		}
		off += n
	}
	return true, nil
}

func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	return err
}

// Abort throws it away; keep: what came so far stays as a resumable partial upload (files only), also when ctx has ended. When nothing came,
// a part that was there before stays as it was. After Commit it does nothing: defer it.
func (w *Writer) Abort(ctx context.Context, keep bool) error {
	if w.ended {
		return nil
	}
	w.ended = true
	keep = keep && w.Size() > w.kept
	if w.host != nil {
		return w.fail(w.host.abort(ctx, keep))
	}
	defer w.u.Abort()
	if !keep || w.mail != nil {
		return nil
	}
	// An upload is mostly cut by the end of its session, which ends ctx.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	return w.fail(w.t.store.SavePartial(ctx, w.t.account, w.into.ID, w.names[len(w.names)-1], w.u))
}

// Partial is the size of a resumable partial upload of path; fs.ErrNotExist.
func (t *Tree) Partial(ctx context.Context, path string) (int64, error) {
	_, names, err := t.allowed(ctx, path, storage.CanUpload)
	if err == nil && (len(names) == 0 || inMail(names)) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return 0, fail("partial", path, err)
	}
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		n, err := on(h, err, (*hosted).partial)
		return n, fail("partial", path, err)
	}
	into, err := t.parent(ctx, names)
	if err != nil {
		return 0, fail("partial", path, err)
	}
	p, err := t.store.Partial(ctx, t.account, into.ID, names[len(names)-1])
	return p.Size, fail("partial", path, err)
}
