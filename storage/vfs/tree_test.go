package vfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

// house is an account's tree with the store behind it. Its methods fail the test.
type house struct {
	testing.TB
	*vfs.Tree
	store   *storage.Store
	account *storage.Account
}

func newHouse(t testing.TB) *house { return newHouseOf(t, vfs.Options{}) }

func newHouseOf(t testing.TB, o vfs.Options) *house {
	s := storagetest.New(t)
	a := storagetest.Account(t, s, "ann@example.test")
	return &house{t, vfs.New(s, o).Tree(a), s, a}
}

// again is another session of the same account.
func (h *house) again() *house {
	return &house{h.TB, vfs.New(h.store, vfs.Options{}).Tree(h.account), h.store, h.account}
}

func (h *house) ctx() context.Context { return context.Background() }

func (h *house) put(path, text string) vfs.Info {
	h.Helper()
	i, err := h.tryPut(path, text, vfs.CreateOptions{Expect: -1})
	if err != nil {
		h.Fatal(err)
	}
	return i
}

func (h *house) tryPut(path, text string, o vfs.CreateOptions) (vfs.Info, error) {
	w, err := h.Create(h.ctx(), path, o)
	if err != nil {
		return vfs.Info{}, err
	}
	defer w.Abort(h.ctx(), false)
	if _, err := io.WriteString(w, text); err != nil {
		return vfs.Info{}, err
	}
	return w.Commit(h.ctx())
}

func (h *house) get(path string) string {
	h.Helper()
	f, err := h.Open(h.ctx(), path)
	if err != nil {
		h.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		h.Fatal(err)
	}
	if f.Info.Size() != int64(len(b)) {
		h.Fatalf("%s: %d bytes, Info says %d", path, len(b), f.Info.Size())
	}
	return string(b)
}

// list is the names of a folder, with "/" behind those of folders.
func (h *house) list(path string) []string {
	h.Helper()
	var names []string
	for i, err := range h.ReadDir(h.ctx(), path) {
		if err != nil {
			h.Fatal(err)
		}
		n := i.Name()
		if i.IsDir() {
			n += "/"
		}
		names = append(names, n)
		same, err := h.Stat(h.ctx(), path+"/"+i.Name())
		if err != nil || same != i && !i.IsLink() { // only a listing tells of links
			h.Errorf("listing says %+v, Stat %+v, %v", i, same, err)
		}
	}
	return names
}

func (h *house) ok(err error) {
	h.Helper()
	if err != nil {
		h.Error(err)
	}
}

// refused checks the kind of an error and that it is a *fs.PathError of a virtual path.
func (h *house) refused(err, kind error, path string) {
	h.Helper()
	var p *fs.PathError
	if !errors.Is(err, kind) || !errors.As(err, &p) || p.Path != path {
		h.Errorf("error %v, want %v of %s", err, kind, path)
	}
}

func (h *house) mailbox(name string) storage.Mailbox {
	h.Helper()
	m, err := h.store.Mailbox(h.ctx(), h.account.ID, name)
	if err != nil {
		h.Fatal(err)
	}
	return m
}

func (h *house) stat(path string) vfs.Info {
	h.Helper()
	i, err := h.Stat(h.ctx(), path)
	if err != nil {
		h.Fatal(err)
	}
	return i
}

func (h *house) want(path string, names ...string) {
	h.Helper()
	if got := h.list(path); !slices.Equal(got, names) {
		h.Errorf("%s holds %q, want %q", path, got, names)
	}
}

func letter(subject, date string) string {
	return fmt.Sprintf("From: joe@example.org\nSubject: %s\nDate: %s\n\nHi\n", subject, date)
}

const monday = "Mon, 09 Nov 2026 08:30:00 +0100"

func TestHome(t *testing.T) {
	h := newHouse(t)
	h.want("/", "Mail/")
	h.want("/Mail", "Archive/", "Drafts/", "INBOX/", "Junk/", "Sent/", "Trash/")
	for path, perm := range map[string]string{
		"/": "celmp", "/Mail": "elmp", "/Mail/INBOX": "celmp", "/Mail/inbox": "celmp", "/Mail/Trash": "ceflmp",
	} {
		if i := h.stat(path); i.Perm() != perm || !i.IsDir() || i.Mode()&fs.ModeDir == 0 {
			t.Errorf("%s: perm %s, mode %v", path, i.Perm(), i.Mode())
		}
	}
	if i := h.stat("/mail/../Mail/inBox/."); i.Name() != "INBOX" || !i.IsMailbox() {
		t.Errorf("%+v", i)
	}
	ctx := t.Context()
	for _, path := range []string{"/", "/Mail"} {
		h.refused(h.RemoveDir(ctx, path), fs.ErrPermission, path)
		h.refused(h.Rename(ctx, path, "/x"), fs.ErrPermission, path)
		h.refused(h.Mkdir(ctx, path), fs.ErrExist, path)
		_, err := h.Create(ctx, path, vfs.CreateOptions{})
		h.refused(err, fs.ErrExist, path)
		_, err = h.Open(ctx, path)
		h.refused(err, fs.ErrInvalid, path)
		h.refused(h.RemoveFile(ctx, path), fs.ErrInvalid, path)
	}
	_, err := h.Stat(ctx, "/mail")
	h.refused(err, fs.ErrNotExist, "/mail")
	_, err = h.Stat(ctx, "/a\nb")
	h.refused(err, storage.ErrInvalid, "/a?b")
}

func TestFiles(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.ok(h.Mkdir(ctx, "/scans"))
	h.refused(h.Mkdir(ctx, "/scans"), fs.ErrExist, "/scans")
	h.refused(h.Mkdir(ctx, "/a/b"), fs.ErrNotExist, "/a/b")
	i := h.put("/scans/a.pdf", "one")
	if i.Name() != "a.pdf" || i.Size() != 3 || i.IsDir() || i.Perm() != "adfrw" || time.Since(i.ModTime()).Abs() > time.Minute {
		t.Errorf("%+v", i)
	}
	h.put("/scans/a.pdf", "two!")
	if got := h.get("/scans/a.pdf"); got != "two!" {
		t.Errorf("%q", got)
	}
	h.put("/scans/empty", "")
	if got := h.get("/scans/empty"); got != "" {
		t.Errorf("%q", got)
	}
	h.want("/scans", "a.pdf", "empty")
	_, err := h.tryPut("/scans/a.pdf", "x", vfs.CreateOptions{Exclusive: true})
	h.refused(err, fs.ErrExist, "/scans/a.pdf")
	_, err = h.tryPut("/scans", "x", vfs.CreateOptions{})
	h.refused(err, fs.ErrExist, "/scans")
	_, err = h.tryPut("/none/x", "x", vfs.CreateOptions{})
	h.refused(err, fs.ErrNotExist, "/none/x")
	_, err = h.tryPut("/scans/a.pdf/x", "x", vfs.CreateOptions{})
	if err == nil {
		t.Error("a file is no folder")
	}
	h.refused(h.RemoveDir(ctx, "/scans"), fs.ErrPermission, "/scans")
	h.refused(h.RemoveFile(ctx, "/scans"), fs.ErrInvalid, "/scans")
	h.refused(h.RemoveDir(ctx, "/scans/a.pdf"), fs.ErrInvalid, "/scans/a.pdf")
	when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	h.ok(h.SetModified(ctx, "/scans/a.pdf", when))
	h.ok(h.SetMode(ctx, "/scans/a.pdf", 0o640))
	if i := h.stat("/scans/a.pdf"); !i.ModTime().Equal(when) || i.Mode() != 0o640 {
		t.Errorf("%v %v", i.ModTime(), i.Mode())
	}
	h.ok(h.RemoveFile(ctx, "/scans/a.pdf"))
	h.ok(h.RemoveFile(ctx, "/scans/empty"))
	h.refused(h.RemoveFile(ctx, "/scans/empty"), fs.ErrNotExist, "/scans/empty")
	h.ok(h.RemoveDir(ctx, "/scans"))
	h.want("/", "Mail/")
}

func TestRenameFiles(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.ok(h.Mkdir(ctx, "/a"))
	h.ok(h.Mkdir(ctx, "/a/b"))
	h.put("/a/b/x", "x")
	h.put("/y", "y")
	unique := h.stat("/y").Unique()
	h.ok(h.Rename(ctx, "/y", "/y"))
	h.ok(h.Rename(ctx, "/y", "/a/b/z"))
	if h.stat("/a/b/z").Unique() != unique {
		t.Error("another unique fact after a move")
	}
	h.ok(h.Rename(ctx, "/a/b/z", "/a/b/x")) // replaces
	if got := h.get("/a/b/x"); got != "y" {
		t.Errorf("%q", got)
	}
	h.ok(h.Rename(ctx, "/a", "/c"))
	h.want("/c/b", "x")
	h.refused(h.Rename(ctx, "/c", "/c/b/d"), fs.ErrInvalid, "/c")
	h.refused(h.Rename(ctx, "/c/b", "/none/b"), fs.ErrNotExist, "/c/b")
	h.refused(h.Rename(ctx, "/none", "/n"), fs.ErrNotExist, "/none")
	h.ok(h.Mkdir(ctx, "/d"))
	h.refused(h.Rename(ctx, "/c/b/x", "/d"), fs.ErrExist, "/c/b/x")
	h.refused(h.Rename(ctx, "/d", "/c"), fs.ErrExist, "/d")
	h.refused(h.Rename(ctx, "/d", "/c/b/x"), fs.ErrExist, "/d")
	h.refused(h.Rename(ctx, "/d", "/Mail/d"), fs.ErrPermission, "/d")
	h.refused(h.Rename(ctx, "/d", "/Mail"), fs.ErrExist, "/d")
	h.refused(h.Rename(ctx, "/Mail/Sent", "/Sent"), fs.ErrPermission, "/Mail/Sent")
}

func TestResume(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.put("/f", "the old file")
	cut := func(path, text string, o vfs.CreateOptions) {
		t.Helper()
		w, err := h.Create(ctx, path, o)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
		ended, cancel := context.WithCancel(ctx)
		cancel() // as the session's has when its client went away
		h.ok(w.Abort(ended, true))
	}
	cut("/f", "the new", vfs.CreateOptions{Expect: -1})
	h.want("/", "Mail/", "f")
	if got := h.get("/f"); got != "the old file" {
		t.Errorf("%q", got)
	}
	if n, err := h.Partial(ctx, "/f"); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	cut("/f", " and", vfs.CreateOptions{Offset: 7, Expect: -1})
	w, err := h.Create(ctx, "/f", vfs.CreateOptions{Offset: 8, Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.ReadFrom(strings.NewReader("file, resumed")); n != 13 || err != nil || w.Size() != 21 {
		t.Fatal(n, err, w.Size())
	}
	h.ok(w.Prepare(ctx))
	if _, err := w.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	h.ok(w.Abort(ctx, true)) // nothing after Commit
	if got := h.get("/f"); got != "the new file, resumed" {
		t.Errorf("%q", got)
	}
	_, err = h.Partial(ctx, "/f")
	h.refused(err, fs.ErrNotExist, "/f")
	_, err = h.tryPut("/f", "!", vfs.CreateOptions{Append: true})
	h.ok(err)
	_, err = h.tryPut("/g", "new", vfs.CreateOptions{Append: true})
	h.ok(err)
	if got := h.get("/f") + h.get("/g"); got != "the new file, resumed!new" {
		t.Errorf("%q", got)
	}
	_, err = h.Create(ctx, "/f", vfs.CreateOptions{Offset: 1000})
	if err == nil {
		t.Error("resumed behind the end")
	}
	_, err = h.Create(ctx, "/none", vfs.CreateOptions{Offset: 1})
	h.refused(err, fs.ErrNotExist, "/none")
	cut("/f", "thrown away", vfs.CreateOptions{})
	_, err = h.tryPut("/f", "!", vfs.CreateOptions{Append: true}) // to the file, not to what was to replace it
	h.ok(err)
	if got := h.get("/f"); got != "the new file, resumed!!" {
		t.Errorf("%q", got)
	}
	cut("/f", "thrown away", vfs.CreateOptions{})
	cut("/none", "thrown away", vfs.CreateOptions{})
	for _, path := range []string{"/f", "/none"} {
		h.ok(h.RemoveFile(ctx, path))
		_, err = h.Partial(ctx, path)
		h.refused(err, fs.ErrNotExist, path)
		h.refused(h.RemoveFile(ctx, path), fs.ErrNotExist, path)
	}
	w, _ = h.Create(ctx, "/g", vfs.CreateOptions{})
	io.WriteString(w, "x")
	h.ok(w.Abort(ctx, false))
	_, err = h.Partial(ctx, "/g")
	h.refused(err, fs.ErrNotExist, "/g")
	_, err = h.Partial(ctx, "/Mail/INBOX/x.eml")
	h.refused(err, fs.ErrNotExist, "/Mail/INBOX/x.eml")
}

func TestExclusiveRace(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	w, err := h.Create(ctx, "/f", vfs.CreateOptions{Exclusive: true, Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	h.put("/f", "first")
	io.WriteString(w, "second")
	_, err = w.Commit(ctx)
	h.refused(err, fs.ErrExist, "/f")
	h.ok(w.Abort(ctx, false))
	if got := h.get("/f"); got != "first" {
		t.Errorf("%q", got)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}

// The network's error comes back as it is, for the protocol to tell from the store's.
func TestReadFromFails(t *testing.T) {
	h := newHouse(t)
	reset := errors.New("connection reset")
	for _, path := range []string{"/f", "/Mail/INBOX/f.eml"} {
		w, err := h.Create(t.Context(), path, vfs.CreateOptions{Expect: -1})
		if err != nil {
			t.Fatal(err)
		}
		n, err := w.ReadFrom(io.MultiReader(strings.NewReader("A: b\r\n"), broken{reset}))
		if n != 6 || err != reset {
			t.Errorf("%s: %d, %v", path, n, err)
		}
		h.ok(w.Abort(t.Context(), true))
	}
	if n, err := h.Partial(t.Context(), "/f"); n != 6 || err != nil {
		t.Error(n, err)
	}
	h.want("/Mail/INBOX")
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func TestQuota(t *testing.T) {
	h := newHouse(t)
	quota := int64(1000)
	if _, err := h.store.UpdateAccount(t.Context(), h.account.ID, storage.AccountChange{Quota: &quota}); err != nil {
		t.Fatal(err)
	}
	h.put("/f", strings.Repeat("x", 900))
	if used, limit, err := h.Usage(t.Context()); used != 900 || limit != 1000 || err != nil {
		t.Error(used, limit, err)
	}
	_, err := h.tryPut("/g", strings.Repeat("x", 200), vfs.CreateOptions{Expect: -1})
	h.refused(err, storage.ErrQuota, "/g")
	_, err = h.Create(t.Context(), "/g", vfs.CreateOptions{Expect: 101})
	h.refused(err, storage.ErrQuota, "/g")
	_, err = h.tryPut("/Mail/INBOX/x.eml", letter(strings.Repeat("x", 200), monday), vfs.CreateOptions{Expect: -1})
	h.refused(err, storage.ErrQuota, "/Mail/INBOX/x.eml")
	h.want("/", "Mail/", "f")
}

// More entries than a page of the listing.
func TestLongListing(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.ok(h.Mkdir(ctx, "/d"))
	const n = 1003
	var want []string
	for i := range n {
		name := fmt.Sprintf("%04d", i)
		h.put("/d/"+name, "x")
		want = append(want, name)
	}
	h.want("/d", want...)
	seen := 0
	for range h.ReadDir(ctx, "/d") {
		if seen++; seen == 5 {
			break
		}
	}
	for _, path := range []string{"/none", "/d/0001"} {
		for _, err := range h.ReadDir(ctx, path) {
			if err == nil {
				t.Errorf("%s listed", path)
			}
		}
	}
}
