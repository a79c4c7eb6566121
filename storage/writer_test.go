package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage/watch"
)

// together makes the writer run the jobs in one batch.
func together(t *testing.T, s *Store, jobs ...func(*tx) error) []error {
	t.Helper()
	batch := make([]*job, len(jobs))
	for i, run := range jobs {
		batch[i] = &job{ctx: t.Context(), run: run, done: make(chan struct{})}
	}
	// A job that runs in the writer's goroutine keeps the others waiting until all are there.
	block, begun := make(chan struct{}), make(chan struct{})
	go s.do(t.Context(), func(*tx) error { close(begun); <-block; return nil })
	<-begun
	for _, j := range batch {
		s.jobs <- j
	}
	close(block)
	errs := make([]error, len(jobs))
	for i, j := range batch {
		<-j.done
		errs[i] = j.err
	}
	return errs
}

func insertDomain(name string) func(*tx) error {
	return func(t *tx) error { return t.exec(`INSERT INTO domain (name, is_default, id) VALUES (?, 0, 0)`, name) }
}

func hasDomain(t *testing.T, s *Store, name string) bool {
	t.Helper()
	var n int
	if err := s.db.Row(`SELECT COUNT(*) FROM domain WHERE name = ?`, name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n == 1
}

// TestBatchWithoutTheBad: a job that fails or panics after it has written is left out, and the others are as if it had never been.
func TestBatchWithoutTheBad(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	bad := errors.New("bad")
	errs := together(t, s,
		insertDomain("one"),
		func(*tx) error { return bad },
		func(t *tx) error { insertDomain("two")(t); return bad },
		func(t *tx) error { insertDomain("three")(t); panic("oops") },
		insertDomain("one"),
		insertDomain("four"),
	)
	for i, want := range []error{nil, bad, bad, errPanic, nil, nil} {
		if i == 4 {
			if errs[i] == nil {
				t.Error("a duplicate row was taken")
			}
			continue
		}
		if !errors.Is(errs[i], want) {
			t.Errorf("job %d: %v, want %v", i, errs[i], want)
		}
	}
	for name, want := range map[string]bool{"one": true, "two": false, "three": false, "four": true} {
		if hasDomain(t, s, name) != want {
			t.Errorf("domain %s: %v", name, !want)
		}
	}
}

// TestCommitFails: nobody is told of success, and rows, pictures and counters in memory are what they were.
func TestCommitFails(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	inbox := mailboxNamed(t, s, a.ID, "INBOX").ID
	target := []Target{{Account: a.ID, Mailbox: inbox}}
	if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, "Subject: 1\r\n\r\n"), target); err != nil {
		t.Fatal(err)
	}
	before, err := s.Snapshot(t.Context(), inbox)
	if err != nil {
		t.Fatal(err)
	}
	together(t, s, func(t *tx) error { t.w.commit = func() error { return errors.New("no space left") }; return nil })
	u := newMessage(t, s, 0, "Subject: 2\r\n\r\n")
	if _, err := s.Deliver(t.Context(), u, target); !errors.Is(err, ErrTemporary) {
		t.Fatal(err)
	}
	if after, _ := s.Snapshot(t.Context(), inbox); after != before {
		t.Error("the picture shows what was not committed")
	}
	// This batch cannot commit either; the next can.
	together(t, s, func(t *tx) error { t.w.commit = t.db.Commit; return nil })
	res, err := s.Deliver(t.Context(), u, target)
	if err != nil || res[0].UID != 2 {
		t.Fatal(res, err)
	}
	verifyStore(t, s)
}

// TestDiskFull: what does not fit is refused as a temporary fault, what is there stays, and later it goes on.
func TestDiskFull(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{InlineMax: 1 << 20})
	a := newAccount(t, s, "ann@example.test", 0)
	put := func(name string) error {
		u, err := s.NewUpload(t.Context(), a.ID, -1)
		if err != nil {
			return err
		}
		defer u.Abort()
		io.WriteString(u, strings.Repeat("x", 200<<10))
		_, err = s.PutFile(t.Context(), a.ID, a.Home, name, u, time.Time{})
		return err
	}
	limit := func(n int) {
		together(t, s, func(t *tx) error { var k int; return t.db.Row(fmt.Sprintf(`PRAGMA max_page_count = %d`, n)).Scan(&k) })
	}
	limit(200)
	ok := 0
	var err error
	for ; ok < 20 && err == nil; ok++ {
		err = put(fmt.Sprint(ok))
	}
	if !errors.Is(err, ErrTemporary) {
		t.Fatalf("after %d files: %v", ok, err)
	}
	verifyStore(t, s)
	limit(100000)
	if err := put("later"); err != nil {
		t.Fatal(err)
	}
	verifyStore(t, s)
}

// TestChanges: those who wait hear of a commit once, after the picture is new.
func TestChanges(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	inbox := mailboxNamed(t, s, a.ID, "INBOX").ID
	if _, err := s.Snapshot(t.Context(), inbox); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var lens []int
	sub := s.Watch().Subscribe(watch.Topic{Account: a.ID, Mailbox: inbox}, 10, func() {
		p, err := s.Snapshot(context.Background(), inbox)
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		lens = append(lens, p.Len())
	})
	defer sub.Close()
	if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, "Subject: 1\r\n\r\n"), []Target{{Account: a.ID, Mailbox: inbox}}); err != nil {
		t.Fatal(err)
	}
	seq, _, err := s.SetFlags(t.Context(), a.ID, inbox, []uint32{1}, FlagChange{Flags: Seen})
	if err != nil {
		t.Fatal(err)
	}
	// Nothing changes, so nobody is told.
	if again, _, err := s.SetFlags(t.Context(), a.ID, inbox, []uint32{1}, FlagChange{Flags: Seen}); err != nil || again != seq {
		t.Fatal(again, err)
	}
	got, stale := sub.Take()
	if stale || len(got) != 2 || got[0].Kind != watch.Appended || got[1].Kind != watch.Flagged || got[1].ModSeq != seq || got[1].UIDs[0] != 1 {
		t.Errorf("%+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(lens) != 2 || lens[0] != 1 {
		t.Error("the listener saw", lens)
	}
}

// TestClosed: after Close every write says so, and nobody waits for ever.
func TestClosed(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for k := range 20 {
				if err := s.AddDomain(context.Background(), fmt.Sprintf("d%d-%d.test", i, k)); err != nil && !errors.Is(err, ErrTemporary) {
					t.Error(err)
				}
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := s.AddDomain(t.Context(), "late.test"); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
}

// TestOneProcess: a second Open says that the store is open.
func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	if _, err := Open(t.Context(), dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	s.Close()
	again, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
