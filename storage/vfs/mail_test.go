package vfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

func TestUploadMessage(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	i := h.put("/Mail/INBOX/draft.eml", letter("=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", monday))
	const name = "2026-11-09 0730 Grüße (1).eml"
	if i.Name() != name || i.Perm() != "dfr" || i.IsDir() || !i.IsMessage() {
		t.Errorf("%+v", i)
	}
	h.want("/Mail/INBOX", name)
	text := strings.ReplaceAll(letter("=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", monday), "\n", "\r\n")
	if got := h.get("/Mail/INBOX/" + name); got != text {
		t.Errorf("%q", got)
	}
	// What a client asks right after, under the name that it knows.
	alias := "/Mail/inbox/draft.eml"
	if got := h.stat(alias); got != i || got.Size() != int64(len(text)) {
		t.Errorf("%+v, want %+v", got, i)
	}
	if h.get(alias) != text {
		t.Error("other bytes")
	}
	h.ok(h.SetModified(ctx, alias, time.Now()))
	h.ok(h.SetMode(ctx, alias, 0o644))
	if h.stat(alias).ModTime() != i.ModTime() {
		t.Error("time was changed")
	}
	h.refused(h.SetModified(ctx, "/Mail/INBOX/"+name, time.Now()), fs.ErrPermission, "/Mail/INBOX/"+name)
	h.refused(h.SetMode(ctx, "/Mail/INBOX/"+name, 0o644), fs.ErrPermission, "/Mail/INBOX/"+name)
	h.ok(h.SetModified(ctx, "/Mail/INBOX/"+name, i.ModTime()))
	h.refused(h.SetModified(ctx, "/Mail/INBOX", time.Now()), fs.ErrPermission, "/Mail/INBOX")
	_, err := h.again().Stat(ctx, alias) // another session knows nothing of it
	h.refused(err, fs.ErrNotExist, alias)
	if m := h.mailbox("INBOX"); m.Messages != 1 || m.Size != int64(len(text)) {
		t.Errorf("%+v", m)
	}
	if i.Unique() != h.stat("/Mail/INBOX/"+name).Unique() || i.Unique() == h.stat("/Mail/INBOX").Unique() {
		t.Error("unique facts")
	}
}

func TestUploadTwice(t *testing.T) {
	h := newHouse(t)
	one := h.put("/Mail/INBOX/a.eml", letter("a", monday))
	again := h.put("/Mail/INBOX/a.eml", letter("a", monday)) // a client that tries again
	if one != again {
		t.Errorf("%+v, then %+v", one, again)
	}
	h2 := h.again()
	path := "/Mail/INBOX/" + one.Name()
	if i := h2.put(path, h2.get(path)); i != one { // one that sends back what it fetched
		t.Errorf("%+v, then %+v", one, i)
	}
	h.want("/Mail/INBOX", one.Name())
	other := h.put("/Mail/INBOX/a.eml", letter("b", monday)) // other bytes: another message, the first stays
	h.want("/Mail/INBOX", one.Name(), other.Name())
	_, err := h.tryPut(path, letter("c", monday), vfs.CreateOptions{Exclusive: true})
	h.refused(err, fs.ErrExist, path)
	_, err = h.tryPut(path, "x", vfs.CreateOptions{Append: true})
	h.refused(err, fs.ErrPermission, path)
	_, err = h.tryPut(path, "x", vfs.CreateOptions{Offset: 5})
	h.refused(err, fs.ErrPermission, path)
	if i := h.stat("/Mail/INBOX/a.eml"); i != other {
		t.Errorf("alias of %+v, want the last", i)
	}
}

func TestUploadDates(t *testing.T) {
	h := newHouse(t)
	when := time.Date(2020, 2, 2, 2, 2, 2, 0, time.UTC)
	i, err := h.tryPut("/Mail/INBOX/a.eml", letter("a", monday), vfs.CreateOptions{Modified: when, Expect: -1})
	if err != nil || !i.ModTime().Equal(when) {
		t.Errorf("%v, %v", i.ModTime(), err)
	}
	for _, date := range []string{"nonsense", "Mon, 09 Nov 3026 08:30:00 +0100", "Mon, 09 Nov 1926 08:30:00 +0100"} {
		if i := h.put("/Mail/INBOX/b.eml", letter("b", date)); time.Since(i.ModTime()).Abs() > time.Minute {
			t.Errorf("%s: %v", date, i.ModTime())
		}
	}
}

func TestUploadRefused(t *testing.T) {
	h := newHouseOf(t, vfs.Options{MaxMessage: 1000})
	ctx := t.Context()
	for _, text := range []string{"", "hello\n", "\x00\x01", "A: b\n\nx\x00"} {
		_, err := h.tryPut("/Mail/INBOX/x.eml", text, vfs.CreateOptions{Expect: -1})
		h.refused(err, fs.ErrInvalid, "/Mail/INBOX/x.eml")
		if err != nil && !strings.Contains(err.Error(), "only messages") {
			t.Errorf("no clear text: %v", err)
		}
	}
	_, err := h.tryPut("/Mail/INBOX/x.eml", "A: b\n\n"+strings.Repeat("x\n", 500), vfs.CreateOptions{Expect: -1})
	h.refused(err, storage.ErrLimit, "/Mail/INBOX/x.eml")
	_, err = h.tryPut("/Mail/INBOX/x.eml", "A: b\n", vfs.CreateOptions{Expect: 1001})
	h.refused(err, storage.ErrLimit, "/Mail/INBOX/x.eml")
	_, err = h.tryPut("/Mail/x.eml", "A: b\n", vfs.CreateOptions{})
	h.refused(err, fs.ErrPermission, "/Mail/x.eml")
	if err == nil || !strings.Contains(err.Error(), "messages live in mailboxes") {
		t.Error(err)
	}
	_, err = h.tryPut("/Mail/None/x.eml", "A: b\n", vfs.CreateOptions{})
	h.refused(err, fs.ErrNotExist, "/Mail/None/x.eml")
	_, err = h.tryPut("/Mail/INBOX", "A: b\n", vfs.CreateOptions{})
	h.refused(err, fs.ErrExist, "/Mail/INBOX")
	_, err = h.tryPut("/Mail/INBOX/x.eml/y.eml", "A: b\n", vfs.CreateOptions{})
	if err == nil {
		t.Error("a message is no folder")
	}
	h.want("/Mail/INBOX")
	if used, _, err := h.Usage(ctx); used != 0 || err != nil {
		t.Error(used, err)
	}
}

func TestNames(t *testing.T) {
	h := newHouse(t)
	one := h.put("/Mail/INBOX/x", letter("same", monday)).Name()
	h.put("/Mail/INBOX/y", letter("same ", monday))
	if got := h.list("/Mail/INBOX"); len(got) != 2 || got[0] == got[1] {
		t.Fatalf("%q", got)
	}
	// The UID alone is no name.
	for _, wrong := range []string{"(1).eml", "x (1).eml", strings.ToUpper(one), " " + one, one + " ", strings.Replace(one, "same", "Same", 1), strings.Replace(one, "(1)", "(3)", 1)} {
		_, err := h.Stat(t.Context(), "/Mail/INBOX/"+wrong)
		h.refused(err, fs.ErrNotExist, "/Mail/INBOX/"+wrong)
	}
	// Bytes that no file name should have, from one who sends them.
	evil := h.put("/Mail/INBOX/z", letter("=?utf-8?Q?a=0D=0A/../b=00=E2=80=AE?=", monday)).Name()
	if evil != "2026-11-09 0730 a -..-b (3).eml" {
		t.Errorf("%q", evil)
	}
	h.get("/Mail/INBOX/" + evil)
}

func TestTrash(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	a := h.put("/Mail/INBOX/a.eml", letter("a", monday))
	h.ok(h.RemoveFile(ctx, "/Mail/INBOX/a.eml"))
	h.want("/Mail/INBOX")
	_, err := h.Stat(ctx, "/Mail/INBOX/a.eml")
	h.refused(err, fs.ErrNotExist, "/Mail/INBOX/a.eml")
	h.want("/Mail/Trash", a.Name())
	h.ok(h.RemoveFile(ctx, "/Mail/Trash/"+a.Name()))
	h.want("/Mail/Trash")
	h.refused(h.RemoveFile(ctx, "/Mail/Trash/"+a.Name()), fs.ErrNotExist, "/Mail/Trash/"+a.Name())

	// Below it as well.
	h.ok(h.Mkdir(ctx, "/Mail/Trash/old"))
	b := h.put("/Mail/Trash/old/b.eml", letter("b", monday))
	h.ok(h.RemoveFile(ctx, "/Mail/Trash/old/"+b.Name()))
	h.want("/Mail/Trash", "old/")
	h.want("/Mail/Trash/old")
	if used, _, err := h.Usage(ctx); used != 0 || err != nil {
		t.Error(used, err)
	}
	h.ok(h.RemoveDir(ctx, "/Mail/Trash/old"))

	// Gone: made anew. Renamed: still the one.
	h.ok(h.store.DeleteMailbox(ctx, h.account.ID, "Trash", false))
	c := h.put("/Mail/INBOX/c.eml", letter("c", monday))
	h.ok(h.RemoveFile(ctx, "/Mail/INBOX/"+c.Name()))
	if m := h.mailbox("Trash"); m.Messages != 1 || m.Role != "Trash" {
		t.Errorf("%+v", m)
	}
	h.ok(h.Rename(ctx, "/Mail/Trash", "/Mail/Papierkorb"))
	d := h.put("/Mail/INBOX/d.eml", letter("d", monday))
	h.ok(h.RemoveFile(ctx, "/Mail/INBOX/"+d.Name()))
	if m := h.mailbox("Papierkorb"); m.Messages != 2 {
		t.Errorf("%+v", m)
	}
}

func TestMailboxes(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.ok(h.Mkdir(ctx, "/Mail/Work"))
	h.ok(h.Mkdir(ctx, "/Mail/Work/2026"))
	h.ok(h.Mkdir(ctx, "/Mail/INBOX/sub"))
	if h.mailbox("Work/2026").NoSelect || h.mailbox("INBOX/sub").NoSelect {
		t.Error("no mailbox")
	}
	h.refused(h.Mkdir(ctx, "/Mail/Work"), fs.ErrExist, "/Mail/Work")
	h.refused(h.Mkdir(ctx, "/Mail/none/x"), fs.ErrNotExist, "/Mail/none/x")
	h.refused(h.Mkdir(ctx, "/Mail/x (1).eml"), fs.ErrInvalid, "/Mail/x (1).eml")
	i := h.put("/Mail/Work/a.eml", letter("a", monday))
	h.want("/Mail/Work", "2026/", i.Name())
	h.refused(h.RemoveDir(ctx, "/Mail/Work"), fs.ErrPermission, "/Mail/Work")
	h.refused(h.RemoveDir(ctx, "/Mail/INBOX"), fs.ErrPermission, "/Mail/INBOX")
	h.refused(h.RemoveDir(ctx, "/Mail/Drafts"), fs.ErrPermission, "/Mail/Drafts")
	h.refused(h.RemoveDir(ctx, "/Mail/Work/"+i.Name()), fs.ErrInvalid, "/Mail/Work/"+i.Name())
	h.refused(h.RemoveFile(ctx, "/Mail/Work"), fs.ErrInvalid, "/Mail/Work")
	h.ok(h.Rename(ctx, "/Mail/Work", "/Mail/Job"))
	h.want("/Mail/Job", "2026/", i.Name())
	h.refused(h.Rename(ctx, "/Mail/INBOX", "/Mail/In"), fs.ErrPermission, "/Mail/INBOX")
	h.refused(h.Rename(ctx, "/Mail/Job", "/Mail/Sent"), fs.ErrExist, "/Mail/Job")
	h.refused(h.Rename(ctx, "/Mail/Job", "/Mail/Job/2026/x"), fs.ErrInvalid, "/Mail/Job")
	h.refused(h.Rename(ctx, "/Mail/Job", "/Mail/none/x"), fs.ErrNotExist, "/Mail/Job")
	h.refused(h.Rename(ctx, "/Mail/Job", "/Mail/x (1).eml"), fs.ErrInvalid, "/Mail/Job")
	h.refused(h.Rename(ctx, "/Mail/Job", "/Job"), fs.ErrPermission, "/Mail/Job")
	h.ok(h.Rename(ctx, "/Mail/Job/2026", "/Mail/Archive/2026"))
	h.ok(h.RemoveDir(ctx, "/Mail/Archive/2026"))
	h.ok(h.RemoveFile(ctx, "/Mail/Job/"+i.Name()))
	h.ok(h.RemoveDir(ctx, "/Mail/Job"))

	// A name that holds mailboxes but no messages.
	h.ok(h.Mkdir(ctx, "/Mail/top"))
	h.ok(h.Mkdir(ctx, "/Mail/top/sub"))
	h.ok(h.store.DeleteMailbox(ctx, h.account.ID, "top", false))
	h.want("/Mail/top", "sub/")
	if perm := h.stat("/Mail/top").Perm(); strings.Contains(perm, "c") {
		t.Errorf("perm %s", perm)
	}
	_, err := h.tryPut("/Mail/top/a.eml", letter("a", monday), vfs.CreateOptions{})
	h.refused(err, fs.ErrPermission, "/Mail/top/a.eml")
}

func TestMoveMessages(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	a := h.put("/Mail/INBOX/a.eml", letter("a", monday))
	from := "/Mail/INBOX/" + a.Name()
	h.refused(h.Rename(ctx, from, "/Mail/INBOX/other.eml"), fs.ErrPermission, from)
	h.ok(h.Rename(ctx, from, from))
	h.refused(h.Rename(ctx, from, "/a.eml"), fs.ErrPermission, from)
	h.refused(h.Rename(ctx, from, "/Mail/a.eml"), fs.ErrPermission, from)
	h.refused(h.Rename(ctx, from, "/Mail/Sent"), fs.ErrPermission, from)
	h.refused(h.Rename(ctx, from, "/Mail/None/a.eml"), fs.ErrNotExist, from)
	h.ok(h.Mkdir(ctx, "/Mail/Sent/x"))
	h.refused(h.Rename(ctx, from, "/Mail/Sent/x"), fs.ErrExist, from)
	h.ok(h.Rename(ctx, from, "/Mail/Sent/kept.eml"))
	h.want("/Mail/INBOX")
	moved := h.stat("/Mail/Sent/kept.eml")
	h.want("/Mail/Sent", "x/", moved.Name())
	if moved.Unique() != a.Unique() || moved.ModTime() != a.ModTime() {
		t.Errorf("%+v became %+v", a, moved)
	}
	// Clients upload under a name for the time being and rename: both are aliases.
	h.put("/Mail/INBOX/b.eml.part", letter("b", monday))
	h.ok(h.Rename(ctx, "/Mail/INBOX/b.eml.part", "/Mail/INBOX/b.eml"))
	h.stat("/Mail/INBOX/b.eml")
	_, err := h.Stat(ctx, "/Mail/INBOX/b.eml.part")
	h.refused(err, fs.ErrNotExist, "/Mail/INBOX/b.eml.part")
	if n := len(h.list("/Mail/INBOX")); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestFileBecomesMessage(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.put("/a.eml", letter("a", monday))
	h.put("/photo.jpg", "\xff\xd8\xff\x00")
	h.ok(h.Rename(ctx, "/a.eml", "/Mail/INBOX/a.eml"))
	h.want("/", "Mail/", "photo.jpg")
	h.want("/Mail/INBOX", "2026-11-09 0730 a (1).eml")
	h.refused(h.Rename(ctx, "/photo.jpg", "/Mail/INBOX/photo.jpg"), fs.ErrInvalid, "/photo.jpg")
	h.refused(h.Rename(ctx, "/photo.jpg", "/Mail/photo.jpg"), fs.ErrPermission, "/photo.jpg")
	h.want("/", "Mail/", "photo.jpg")
	h.want("/Mail/INBOX", "2026-11-09 0730 a (1).eml")
}

// A mailbox of a message's name can be made by IMAP only; it hides the message.
func TestCollision(t *testing.T) {
	h := newHouse(t)
	a := h.put("/Mail/INBOX/a.eml", letter("a", monday))
	b := h.put("/Mail/INBOX/b.eml", letter("b", monday))
	if _, err := h.store.CreateMailbox(t.Context(), h.account.ID, "INBOX/"+a.Name(), ""); err != nil {
		t.Fatal(err)
	}
	h.want("/Mail/INBOX", a.Name()+"/", b.Name())
	if !h.stat("/Mail/INBOX/" + a.Name()).IsDir() {
		t.Error("the message hides the mailbox")
	}
	if h.stat("/Mail/INBOX/a.eml").IsDir() {
		t.Error("the alias is lost")
	}
}

func TestAliasesAreBounded(t *testing.T) {
	h := newHouse(t)
	for i := range 65 {
		h.put(fmt.Sprintf("/Mail/INBOX/%d.eml", i), letter(fmt.Sprint(i), monday))
	}
	_, err := h.Stat(t.Context(), "/Mail/INBOX/0.eml")
	h.refused(err, fs.ErrNotExist, "/Mail/INBOX/0.eml")
	h.stat("/Mail/INBOX/1.eml")
	h.stat("/Mail/INBOX/64.eml")
}

// Two sessions remove the same message: one of them is told that it is gone.
func TestRemoveRace(t *testing.T) {
	h := newHouse(t)
	var paths []string
	for i := range 20 {
		paths = append(paths, "/Mail/INBOX/"+h.put("/Mail/INBOX/x", letter(fmt.Sprint(i), monday)).Name())
	}
	errs := make(chan error, 2*len(paths))
	for _, tree := range []*house{h.again(), h.again()} {
		go func() {
			for _, p := range paths {
				errs <- tree.RemoveFile(t.Context(), p)
			}
		}()
	}
	done := 0
	for range 2 * len(paths) {
		if err := <-errs; err == nil {
			done++
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	if got := h.list("/Mail/Trash"); done != len(paths) || len(got) != len(paths) || slices.Contains(got, "") {
		t.Errorf("%d removed, %d in Trash", done, len(got))
	}
}

// A protocol that looks at its control connection between Prepare and Commit.
func TestPrepareMessage(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	w, err := h.Create(ctx, "/Mail/INBOX/a.eml", vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	text := letter("a", monday)
	if n, err := w.ReadFrom(strings.NewReader(text)); n != int64(len(text)) || err != nil || w.Size() != n {
		t.Fatal(n, err, w.Size())
	}
	h.ok(w.Prepare(ctx))
	h.want("/Mail/INBOX")
	i, err := w.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	h.want("/Mail/INBOX", i.Name())
	_, err = w.Commit(ctx)
	h.refused(err, fs.ErrClosed, "/Mail/INBOX/a.eml")
	h.refused(w.Prepare(ctx), fs.ErrClosed, "/Mail/INBOX/a.eml")

	w, err = h.Create(ctx, "/Mail/INBOX/b.eml", vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	h.refused(w.Prepare(ctx), fs.ErrInvalid, "/Mail/INBOX/b.eml") // empty
	h.ok(w.Abort(ctx, true))
}

// The mailbox goes while a message is on its way into it.
func TestMailboxGoes(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.ok(h.Mkdir(ctx, "/Mail/New"))
	w, err := h.Create(ctx, "/Mail/New/a.eml", vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(ctx, false)
	h.ok(h.RemoveDir(ctx, "/Mail/New"))
	if _, err := w.Write([]byte(letter("a", monday))); err != nil {
		t.Fatal(err)
	}
	_, err = w.Commit(ctx)
	h.refused(err, fs.ErrNotExist, "/Mail/New/a.eml")
}

// A mailbox called Trash without the special use serves, when there is none that has it.
func TestTrashByName(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.ok(h.store.DeleteMailbox(ctx, h.account.ID, "Trash", false))
	h.ok(h.Mkdir(ctx, "/Mail/Trash"))
	a := h.put("/Mail/INBOX/a.eml", letter("a", monday))
	h.ok(h.RemoveFile(ctx, "/Mail/INBOX/a.eml"))
	h.want("/Mail/Trash", a.Name())
}

// A message larger than what is kept in a row, with 8-bit data in its subject.
func TestLargeMessage(t *testing.T) {
	h := newHouse(t)
	body := strings.Repeat("a line of the body\n", 10_000)
	i := h.put("/Mail/INBOX/a.eml", letter("Gr\xfc\xdfe \"quoted\" \\", monday)+body)
	if i.Name() != "2026-11-09 0730 Grüße -quoted- - (1).eml" {
		t.Errorf("%q", i.Name())
	}
	if got := h.get("/Mail/INBOX/" + i.Name()); !strings.HasSuffix(got, strings.ReplaceAll(body, "\n", "\r\n")) {
		t.Error("other bytes")
	}
	if again := h.put("/Mail/INBOX/a.eml", letter("Gr\xfc\xdfe \"quoted\" \\", monday)+body); again != i {
		t.Errorf("%+v, then %+v", i, again)
	}
}

// One Tree used by many at once: each upload's alias leads to what was uploaded under it.
func TestParallelUploads(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5 {
				path := fmt.Sprintf("/Mail/INBOX/%d-%d.eml", g, i)
				info, err := h.tryPut(path, letter(fmt.Sprintf("%d-%d", g, i), monday), vfs.CreateOptions{Expect: -1})
				if err != nil {
					t.Error(err)
				}
				if got, err := h.Stat(t.Context(), path); err != nil || got != info || !strings.Contains(got.Name(), fmt.Sprintf(" %d-%d (", g, i)) {
					t.Errorf("%s: %+v, %v; want %+v", path, got, err, info)
				}
			}
		})
	}
	wg.Wait()
	names := h.list("/Mail/INBOX")
	if slices.Sort(names); len(slices.Compact(names)) != 40 {
		t.Errorf("%d messages", len(names))
	}
}
