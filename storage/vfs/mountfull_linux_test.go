package vfs

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// An upload that fills the disk is a failure that passes, and leaves the old file and half of what came.
func TestMountFull(t *testing.T) {
	s := storagetest.New(t)
	a := storagetest.Account(t, s, "ann@example.test")
	dir := t.TempDir()
	ctx := t.Context()
	if _, err := s.AddMount(ctx, a.ID, "/m", dir, false); err != nil {
		t.Fatal(err)
	}
	tree := New(s, Options{}).Tree(a)
	if err := os.WriteFile(dir+"/x", []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := tree.Create(ctx, "/m/x", CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(strings.Repeat("x", 1000))); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	file := w.host.f
	w.host.f = full
	if _, err := w.ReadFrom(strings.NewReader("more")); !errors.Is(err, storage.ErrTemporary) || !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "/dev") {
		t.Error(err)
	}
	w.host.f = file
	if err := w.Abort(ctx, true); err != nil {
		t.Error(err)
	}
	if n, err := tree.Partial(ctx, "/m/x"); err != nil || n != 500 {
		t.Error(n, err)
	}
	if b, err := os.ReadFile(dir + "/x"); string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
}

// Each error of the host is one of the tree's, without a path.
func TestHostErrors(t *testing.T) {
	for _, e := range hostErrors {
		err := outward(hostError(&os.PathError{Op: "open", Path: "/srv/secret", Err: e.no}))
		if !errors.Is(err, e.err) && !errors.Is(e.err, err) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: %v", e.no, err)
		}
	}
	for no, want := range map[syscall.Errno]error{syscall.EDQUOT: storage.ErrQuota, syscall.EIO: storage.ErrTemporary, syscall.ESTALE: storage.ErrTemporary, syscall.EMFILE: storage.ErrTemporary} {
		err := outward(hostError(&os.LinkError{Op: "rename", Old: "/srv/secret", New: "/srv/other", Err: no}))
		if !errors.Is(err, want) || strings.Contains(err.Error(), "/srv") {
			t.Errorf("%v: %v", no, err)
		}
	}
}
