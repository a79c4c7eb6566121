package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"
)

func putText(t *testing.T, s *Store, a *Account, parent int64, name, text string) (Node, error) {
	t.Helper()
	u, err := s.NewFile(t.Context(), a.ID, parent, name, int64(len(text)), false)
	if err != nil {
		return Node{}, err
	}
	defer u.Abort()
	if _, err := io.WriteString(u, text); err != nil {
		return Node{}, err
	}
	return s.PutFile(t.Context(), a.ID, parent, name, u, time.Unix(1e9, 0))
}

func TestTree(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a, other := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	ctx := t.Context()
	must := func(n Node, err error) Node {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	refused := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	d := must(s.MakeFolder(ctx, a.ID, a.Home, "d"))
	e := must(s.MakeFolder(ctx, a.ID, d.ID, "e"))
	_, err := s.MakeFolder(ctx, a.ID, a.Home, "d")
	refused(err, fs.ErrExist)
	_, err = s.MakeFolder(ctx, a.ID, a.Mail, "d")
	refused(err, fs.ErrPermission)
	_, err = s.MakeFolder(ctx, other.ID, d.ID, "mine")
	refused(err, fs.ErrNotExist)
	f := must(putText(t, s, a, d.ID, "f", "one"))
	if f.Size != 3 || !f.Modified.Equal(time.Unix(1e9, 0)) || f.Kind != KindFile {
		t.Fatal(f)
	}
	g := must(putText(t, s, a, d.ID, "f", "second"))
	if g.ID != f.ID || g.Blob == f.Blob || g.ModSeq <= f.ModSeq {
		t.Fatal(g)
	}
	wantBody(t, s, f.Blob, "one") // who reads the old one goes on
	wantBody(t, s, g.Blob, "second")
	_, err = putText(t, s, a, d.ID, "e", "x")
	refused(err, fs.ErrExist)
	_, err = putText(t, s, a, f.ID, "below a file", "x")
	refused(err, ErrInvalid)
	_, err = putText(t, s, a, a.Mail, "x.eml", "x")
	refused(err, fs.ErrPermission)
	u, _ := s.NewUpload(ctx, a.ID, -1)
	_, err = s.PutNewFile(ctx, a.ID, d.ID, "f", u, time.Time{})
	refused(err, fs.ErrExist)
	empty, err := s.PutNewFile(ctx, a.ID, d.ID, "empty", u, time.Time{})
	if must(empty, err).Blob != 0 {
		t.Fatal(empty)
	}
	wantBody(t, s, 0, "")

	_, err = s.Rename(ctx, a.ID, d.ID, e.ID, "d", false)
	refused(err, ErrInvalid)
	_, err = s.Rename(ctx, a.ID, f.ID, d.ID, "empty", false)
	refused(err, fs.ErrExist)
	must(s.Rename(ctx, a.ID, f.ID, d.ID, "empty", true))
	_, err = s.Rename(ctx, a.ID, f.ID, d.ID, "e", true)
	refused(err, fs.ErrExist)
	moved := must(s.Rename(ctx, a.ID, f.ID, e.ID, "moved", false))
	if n := must(s.Walk(ctx, a.ID, []string{"d", "e", "moved"})); n.ID != f.ID || n.Size != 6 || moved != n {
		t.Fatal(n)
	}
	refused(s.Remove(ctx, a.ID, d.ID), fs.ErrPermission)
	refused(s.Remove(ctx, a.ID, a.Home), fs.ErrPermission)
	refused(s.Remove(ctx, a.ID, a.Mail), fs.ErrPermission)
	refused(s.Remove(ctx, other.ID, f.ID), fs.ErrNotExist)
	refused(s.Remove(ctx, a.ID, mailboxNamed(t, s, a.ID, "Trash").ID), fs.ErrPermission)
	refused(s.RemoveIf(ctx, a.ID, f.ID, f.ModSeq), ErrConflict)
	if err := s.SetModified(ctx, a.ID, f.ID, time.Unix(77, 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMode(ctx, a.ID, f.ID, 0o640); err != nil {
		t.Fatal(err)
	}
	if n := must(s.Node(ctx, a.ID, f.ID)); n.Modified.Unix() != 77 || n.Mode != 0o640 {
		t.Fatal(n)
	}
	verifyStore(t, s)
	for _, id := range []int64{f.ID, e.ID, d.ID} {
		if err := s.Remove(ctx, a.ID, id); err != nil {
			t.Fatal(err)
		}
	}
	if u, err := s.Usage(ctx, a.ID); err != nil || u != (Usage{Entries: beginning}) {
		t.Fatal(u, err)
	}
	verifyStore(t, s)
}

// TestDepth: a tree is at most MaxDepth deep, also by moving folders.
func TestDepth(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	parent := a.Home
	for range MaxDepth {
		n, err := s.MakeFolder(t.Context(), a.ID, parent, "d")
		if err != nil {
			t.Fatal(err)
		}
		parent = n.ID
	}
	if _, err := s.MakeFolder(t.Context(), a.ID, parent, "d"); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	x, err := s.MakeFolder(t.Context(), a.ID, a.Home, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rename(t.Context(), a.ID, x.ID, parent, "x", false); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	top, err := s.Lookup(t.Context(), a.ID, a.Home, "d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rename(t.Context(), a.ID, top.ID, x.ID, "d", false); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}

func TestChildrenPages(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	want := []string{"Mail"}
	for i := range 25 {
		name := fmt.Sprintf("f%02d", i)
		want = append(want, name)
		if _, err := putText(t, s, a, a.Home, name, name); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	after := ""
	for {
		page, err := s.Children(t.Context(), a.ID, a.Home, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, n := range page {
			got = append(got, n.Name)
		}
		after = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Fatal(got)
	}
}

// TestPartial: a cut upload is kept, counted, taken up again, and gone when the file is whole.
func TestPartial(t *testing.T) {
	for _, inline := range []int{1 << 20, 16} {
		t.Run(fmt.Sprint(inline), func(t *testing.T) { testPartial(t, inline) })
	}
}

func testPartial(t *testing.T, inline int) {
	now := time.Now()
	s := openTest(t, t.TempDir(), Options{InlineMax: inline, Now: func() time.Time { return now }})
	a := newAccount(t, s, "ann@example.test", 150)
	ctx := t.Context()
	text := strings.Repeat("0123456789", 10)
	if _, err := putText(t, s, a, a.Home, "f", "the old file"); err != nil {
		t.Fatal(err)
	}
	u, err := s.NewUpload(ctx, a.ID, -1)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(u, text[:60])
	if err := s.SavePartial(ctx, a.ID, a.Home, "f", u); err != nil {
		t.Fatal(err)
	}
	verifyStore(t, s)
	p, err := s.Partial(ctx, a.ID, a.Home, "f")
	if err != nil || p.Size != 60 {
		t.Fatal(p, err)
	}
	if n, err := s.Lookup(ctx, a.ID, a.Home, "f"); err != nil || n.Size != 12 {
		t.Fatal(n, err)
	}
	if _, err := s.ResumeUpload(ctx, a.ID, a.Home, "f", 61, false); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	if _, err := s.ResumeUpload(ctx, a.ID, a.Home, "g", 0, false); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	u, err = s.ResumeUpload(ctx, a.ID, a.Home, "f", 50, false)
	if err != nil || u.Size() != 50 {
		t.Fatal(err)
	}
	if _, err := u.ReadFrom(strings.NewReader(text[50:])); err != nil {
		t.Fatal(err)
	}
	var b [4]byte
	if _, err := u.ReadAt(b[:], 48); err != nil || string(b[:]) != "8901" {
		t.Fatalf("%q, %v", b, err)
	}
	n, err := s.PutFile(ctx, a.ID, a.Home, "f", u, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	wantBody(t, s, n.Blob, text)
	if _, err := s.Partial(ctx, a.ID, a.Home, "f"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	// APPE to the whole file.
	if u, err = s.ResumeUpload(ctx, a.ID, a.Home, "f", -1, false); err != nil || u.Size() != 100 {
		t.Fatal(err)
	}
	io.WriteString(u, "more")
	// File and partial together are beyond the quota: half of what is left is taken.
	if err := s.SavePartial(ctx, a.ID, a.Home, "f", u); err != nil {
		t.Fatal(err)
	}
	use, err := s.Usage(ctx, a.ID)
	if p, perr := s.Partial(ctx, a.ID, a.Home, "f"); err != nil || perr != nil || p.Size == 0 || p.Size != (a.Quota-100)/2 || use.Bytes != 100+p.Size {
		t.Fatal(p, use, err, perr)
	}
	if err := s.DropPartial(ctx, a.ID, a.Home, "f"); err != nil {
		t.Fatal(err)
	}
	u, _ = s.NewUpload(ctx, a.ID, -1)
	io.WriteString(u, "left")
	if err := s.SavePartial(ctx, a.ID, a.Home, "left", u); err != nil {
		t.Fatal(err)
	}
	if k, err := s.DropPartials(ctx, 0, now); err != nil || k != 0 {
		t.Fatal(k, err)
	}
	if k, err := s.DropPartials(ctx, a.ID, now.Add(time.Second)); err != nil || k != 1 {
		t.Fatal(k, err)
	}
	if use, err := s.Usage(ctx, a.ID); err != nil || use.Bytes != 100 {
		t.Fatal(use, err)
	}
	verifyStore(t, s)
	if err := s.RemoveAccount(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	leaveNothing(t, s)
}

// TestBody: both kinds of bodies read alike.
func TestBody(t *testing.T) {
	for _, inline := range []int{1 << 20, 1} {
		s := openTest(t, t.TempDir(), Options{InlineMax: inline})
		a := newAccount(t, s, "ann@example.test", 0)
		n, err := putText(t, s, a, a.Home, "f", "0123456789")
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.OpenBlob(t.Context(), n.Blob)
		if err != nil {
			t.Fatal(err)
		}
		var w strings.Builder
		if k, err := b.WriteRange(&w, 3, 4); k != 4 || err != nil || w.String() != "3456" {
			t.Errorf("%d, %v, %q", k, err, w.String())
		}
		if _, err := b.Seek(8, io.SeekStart); err != nil {
			t.Error(err)
		}
		if k, err := b.WriteTo(&w); k != 2 || err != nil || w.String() != "345689" || b.Size() != 10 {
			t.Errorf("%d, %v, %q", k, err, w.String())
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	s := openTest(t, t.TempDir(), Options{})
	if _, err := s.OpenBlob(t.Context(), 12345); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestHeaders: the header block is kept whether the message is a row or a file, up to 64 KiB.
func TestHeaders(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{InlineMax: 1000})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	small := "Subject: s\r\n\r\n"
	large := "X: " + strings.Repeat("y", 70<<10) + "\r\n\r\n"
	texts := []string{small, small + strings.Repeat("b", 5000), large, "no header at all", ""}
	for _, text := range texts {
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, text), []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Snapshot(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range s.Mail(t.Context(), p, upTo(5), WantHeader|WantEnvelope|WantStructure|WantIndex|WantBody) {
		if m.Err != nil || len(m.Envelope) == 0 || len(m.Structure) == 0 {
			t.Fatal(i, m.Err)
		}
		if i < 2 && string(m.Header) != small || i == 2 && m.Header != nil || i == 4 && len(m.Header) != 0 {
			t.Errorf("%d: %q", i, m.Header)
		}
		if inline := len(texts[i]) <= 1000; inline != (m.Body != nil) || inline && string(m.Body) != texts[i] {
			t.Errorf("%d: body %q", i, m.Body)
		}
		if x, err := m.Index(); err != nil || i < 2 && x.Root.BodyOffset != int64(len(small)) {
			t.Error(i, err)
		}
	}
	verifyStore(t, s)
}
