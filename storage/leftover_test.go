package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestLeftovers: what a crash left is swept at the next start, not an hour later.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	blobs := filepath.Join(dir, "blobs")
	left := []string{filepath.Join(blobs, "staging", "01ARZ3NDEKTSV4RRFFQ69G5FAV"), filepath.Join(blobs, "aw", "01ARZ3NDEKTSV4RRFFQ69G5FAW")}
	if err := os.Mkdir(filepath.Join(blobs, "aw"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if err := os.WriteFile(f, []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * coarse) // so that they are older than the next start
	if s, err = Open(t.Context(), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	// Begun by this process, and not to be swept.
	u, err := s.NewUpload(t.Context(), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	if _, err := u.Write(make([]byte, inlineMax+1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	gone := func(f string) bool { _, err := os.Stat(f); return errors.Is(err, fs.ErrNotExist) }
	for deadline := time.Now().Add(10 * time.Second); !gone(left[0]) || !gone(left[1]); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still there:", left, gone(left[0]), gone(left[1]))
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := u.Prepare(t.Context()); err != nil {
		t.Error("an upload under way was swept:", err)
	}
}

// TestDamagedBlob: bytes that are missing or cut are a temporary failure, not a message or file that is not there.
func TestDamagedBlob(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	u, err := s.NewUpload(t.Context(), a.ID, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	if _, err := u.Write(make([]byte, 2*inlineMax)); err != nil {
		t.Fatal(err)
	}
	n, err := s.PutFile(t.Context(), a.ID, a.Home, "f", u, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "??", "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	for _, damage := range []func() error{
		func() error { return os.Truncate(files[0], 100) },
		func() error { return os.Remove(files[0]) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.OpenBlob(t.Context(), n.Blob); !errors.Is(err, ErrTemporary) || errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

// TestLoadedBeforePublish: a picture that was loaded between the commit of a batch and its publication holds the batch already. Its steps are
// not to be taken a second time: what was appended and went in the same batch would come back.
func TestLoadedBeforePublish(t *testing.T) {
	sl := &slot{}
	sl.snap.Store(newSnapshot(Mailbox{HighestModSeq: 12}, nil, [][]packed{{{uid: 6, modseq: 12}}}))
	sl.commit(&edits{mailbox: Mailbox{HighestModSeq: 12, Name: "new"}, steps: []edit{
		{put: packed{uid: 5, modseq: 10}}, {first: 5, last: 5}, {put: packed{uid: 6, modseq: 12}},
	}})
	p := sl.snap.Load()
	if list := slicesOf(p, nil); !slices.Equal(list, []packed{{uid: 6, modseq: 12}}) || p.Mailbox().Name != "new" {
		t.Error(list, p.Mailbox())
	}
}
