package vfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

func leavePart(t testing.TB, tree *vfs.Tree, path, text string) {
	t.Helper()
	w, err := tree.Create(t.Context(), path, vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(t.Context(), true); err != nil {
		t.Fatal(err)
	}
}

// TestParts: parts have the paths that lead to them, also after a folder was moved, and one can be thrown away without the file beside it.
func TestParts(t *testing.T) {
	s := storagetest.New(t)
	a, joe := storagetest.Account(t, s, "ann@example.test"), storagetest.Account(t, s, "joe@example.test")
	f := vfs.New(s, vfs.Options{})
	tree := f.Tree(a)
	for _, p := range []string{"/a", "/a/b"} {
		if err := tree.Mkdir(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	leavePart(t, tree, "/a/b/x", "123")
	leavePart(t, tree, "/y", "1")
	leavePart(t, f.Tree(joe), "/z", "12345")
	w, err := tree.Create(t.Context(), "/y", vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context()); err != nil { // forgets the part
		t.Fatal(err)
	}
	leavePart(t, tree, "/y", "12")
	want := func(want ...string) {
		t.Helper()
		parts, others, more, err := tree.Parts(t.Context(), 10)
		var got []string
		for _, p := range parts {
			got = append(got, fmt.Sprint(p.Path, " ", p.Size, " ", p.Old))
			if p.Expires.Sub(p.Cut) != s.PartialAge() {
				t.Error(p)
			}
		}
		if err != nil || more || others != 0 || !sameSet(got, want) {
			t.Fatal(got, more, err)
		}
	}
	want("/a/b/x 3 false", "/y 2 true")
	if err := tree.Rename(t.Context(), "/a", "/c"); err != nil {
		t.Fatal(err)
	}
	want("/c/b/x 3 false", "/y 2 true")
	if parts, others, more, err := tree.Parts(t.Context(), 1); err != nil || len(parts) != 1 || others != 1 || more {
		t.Fatal(parts, others, more, err)
	}
	for _, p := range []string{"/a/b/x", "/z", "/", "/Mail/INBOX/x", "/missing", "/y/z", "/\x00"} {
		if err := tree.DropPart(t.Context(), p); err == nil {
			t.Error(p, "was thrown away")
		}
	}
	if err := tree.DropPart(t.Context(), "/y"); err != nil {
		t.Fatal(err)
	}
	want("/c/b/x 3 false")
	if err := tree.DropPart(t.Context(), "/y"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := tree.Stat(t.Context(), "/y"); err != nil {
		t.Fatal(err)
	}
}

func sameSet(a, b []string) bool {
	in := map[string]int{}
	for _, s := range a {
		in[s]++
	}
	for _, s := range b {
		in[s]--
	}
	for _, n := range in {
		if n != 0 {
			return false
		}
	}
	return true
}

// TestLastVisit: the row of the client's own name, else the latest at its address, and none whose folder Clean would not have made.
func TestLastVisit(t *testing.T) {
	s := storagetest.New(t)
	a, joe := storagetest.Account(t, s, "ann@example.test"), storagetest.Account(t, s, "joe@example.test")
	f := vfs.New(s, vfs.Options{})
	tree := f.Tree(a)
	for _, folder := range []string{"/a/../b", "//a", "/a/", "/./a", "/..", "/" + strings.Repeat("n", 256), strings.Repeat("/d", 65), "/e\u0301", "/a\u2028b"} {
		s.NoteVisit(storage.Visit{Account: a.ID, Epoch: a.Epoch, Address: "192.0.2.1", Folder: folder, Type: "I"})
		if v, ok, err := tree.LastVisit(t.Context(), "192.0.2.1", ""); ok || err != nil {
			t.Errorf("%q: %v %v", folder, v, err)
		}
	}
	tree.NoteVisit(vfs.Visit{Address: "192.0.2.1", Name: "lftp", Folder: "/l", Type: "I"})
	tree.NoteVisit(vfs.Visit{Address: "192.0.2.1", Name: "curl", Folder: "/c"})
	tree.NoteVisit(vfs.Visit{Address: "192.0.2.1", Name: "FileZilla 3.66.5", Folder: "/z"})
	tree.NoteVisit(vfs.Visit{Address: "192.0.2.2", Name: "FileZilla 3.66.5", Folder: "/elsewhere"})
	for name, want := range map[string]string{
		"lftp": "/l", "curl": "/c", "lftp/4.9.2": "/l", "FileZilla 3.66.5": "/z", "filezilla 3.70": "/z", "FileZillaPro": "", "other": "", "ftp": "",
	} {
		v, ok, err := tree.LastVisit(t.Context(), "192.0.2.1", name)
		if err != nil || ok != (want != "") || v.Folder != want {
			t.Error(name, v, ok, err)
		}
	}
	if v, ok, err := tree.LastVisit(t.Context(), "192.0.2.1", ""); err != nil || !ok || v.Folder == "/elsewhere" {
		t.Error(v, ok, err)
	}
	for _, other := range []*vfs.Tree{f.Tree(joe), f.Tree(&storage.Account{ID: a.ID, Home: a.Home, Epoch: a.Epoch + 1})} {
		if v, ok, err := other.LastVisit(t.Context(), "192.0.2.1", "lftp"); ok || err != nil {
			t.Error(v, err)
		}
	}
	if err := tree.ForgetVisits(t.Context(), "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := tree.LastVisit(t.Context(), "192.0.2.1", "lftp"); ok || err != nil {
		t.Error(v, err)
	}
}

// TestPartsAllowed: the parts that a session is told of are those where it may list and upload; a jail shows its own, by its own paths.
func TestPartsAllowed(t *testing.T) {
	s := storagetest.New(t)
	a := storagetest.Account(t, s, "ann@example.test")
	f := vfs.New(s, vfs.Options{})
	tree := f.Tree(a)
	for _, p := range []string{"/in", "/in/jail", "/drop", "/look"} {
		if err := tree.Mkdir(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		leavePart(t, tree, p+"/part", "123")
	}
	leavePart(t, tree, "/in/jailed", "123")
	for path, r := range map[string]storage.PathRights{"/drop": storage.CanUpload, "/look": storage.CanList | storage.CanDownload} {
		if err := s.SetPathRights(t.Context(), a.ID, path, r); err != nil {
			t.Fatal(err)
		}
	}
	want := func(tree *vfs.Tree, want ...string) {
		t.Helper()
		parts, others, more, err := tree.Parts(t.Context(), 10)
		var got []string
		for _, p := range parts {
			got = append(got, p.Path)
		}
		if err != nil || more || others != 0 || !sameSet(got, want) {
			t.Fatal(got, more, err)
		}
	}
	want(tree, "/in/part", "/in/jail/part", "/in/jailed")
	want(f.Whole(a), "/in/part", "/in/jail/part", "/in/jailed", "/drop/part", "/look/part")
	want(f.Anonymous(a))
	for _, p := range []string{"/drop/part", "/look/part"} {
		if err := tree.DropPart(t.Context(), p); !errors.Is(err, fs.ErrPermission) {
			t.Fatal(p, err)
		}
	}
	if err := s.SetJail(t.Context(), a.ID, "/in/jail"); err != nil {
		t.Fatal(err)
	}
	want(tree, "/part")
	if err := tree.DropPart(t.Context(), "/../jailed"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := tree.DropPart(t.Context(), "/part"); err != nil {
		t.Fatal(err)
	}
	want(tree)
	want(f.Whole(a), "/in/part", "/in/jailed", "/drop/part", "/look/part")

	guest := f.Anonymous(a)
	guest.NoteVisit(vfs.Visit{Address: "192.0.2.1", Folder: "/in"})
	if v, ok, err := tree.LastVisit(t.Context(), "192.0.2.1", ""); ok || err != nil {
		t.Fatal(v, err)
	}
	tree.NoteVisit(vfs.Visit{Address: "192.0.2.1", Folder: "/in"})
	if v, ok, err := guest.LastVisit(t.Context(), "192.0.2.1", ""); ok || err != nil {
		t.Fatal(v, err)
	}
	if err := guest.ForgetVisits(t.Context(), "192.0.2.1"); !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
}
