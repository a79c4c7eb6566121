package storage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage/mime"
)

// library is a store with one account, whose INBOX gets messages of which each has "word<n>x" in its body and "<n>y" in its subject.
type library struct {
	t   testing.TB
	dir string
	s   *Store
	to  Target
}

func openLibrary(t testing.TB, dir string, o Options) *library {
	t.Helper()
	s, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	l := &library{t: t, dir: dir, s: s}
	a, err := s.AccountByLogin(t.Context(), "ann@example.test")
	if err != nil {
		if err := s.AddDomain(t.Context(), "example.test"); err != nil {
			t.Fatal(err)
		}
		if a, err = s.CreateAccount(t.Context(), NewAccount{Name: "ann@example.test"}); err != nil {
			t.Fatal(err)
		}
	}
	inbox, err := s.Mailbox(t.Context(), a.ID, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	l.to = Target{Account: a.ID, Mailbox: inbox.ID}
	return l
}

func (l *library) close() {
	if err := l.s.Close(); err != nil {
		l.t.Error(err)
	}
}

func (l *library) put(numbers ...int) {
	for _, n := range numbers {
		u, err := l.s.NewMail(context.Background(), 0, -1)
		if err == nil {
			_, err = fmt.Fprintf(u, "From: joe@example.test\r\nSubject: number %dy\r\n\r\nthe word%dx %s\r\n", n, n, strings.Repeat("and more of it ", n%97*n%97/3))
		}
		if err == nil {
			_, err = l.s.Deliver(context.Background(), u, []Target{l.to})
		}
		if err != nil {
			l.t.Error(err)
		}
	}
}

func count(from, to int) (n []int) {
	for ; from < to; from++ {
		n = append(n, from)
	}
	return n
}

func folded(s string) []byte { return mime.AppendCasemap(nil, []byte(s)) }

// check asks the index about every message: what it says must be true. It returns of how many it knows.
func (l *library) check() (known int) {
	l.t.Helper()
	p, err := l.s.Snapshot(context.Background(), l.to.Mailbox)
	if err != nil {
		l.t.Fatal(err)
	}
	asked := l.s.TextSearch()
	if asked == nil {
		return 0
	}
	defer asked.Close()
	all := asked.Look(TextNeedle{Text: folded("the WORD")})
	none := asked.Look(TextNeedle{Text: folded("and more of them")})
	for i := range p.Len() {
		e := p.At(i)
		b, err := l.s.OpenBlob(context.Background(), e.Blob)
		if err != nil {
			l.t.Error(err)
			continue
		}
		text := make([]byte, b.Size())
		_, _ = b.ReadAt(text, 0)
		b.Close()
		_, rest, _ := bytes.Cut(text, []byte("number "))
		number, _, _ := bytes.Cut(rest, []byte("y"))
		sure := 0
		for _, c := range []struct {
			n    int
			want bool
		}{
			{all, true}, {none, false},
			{asked.Look(TextNeedle{Text: folded("word" + string(number) + "x"), Body: true}), true},
			{asked.Look(TextNeedle{Text: folded(string(number) + "y"), Field: "subject"}), true},
			{asked.Look(TextNeedle{Text: folded(string(number) + "y"), Body: true}), false},
		} {
			has, ok := asked.Ask(c.n, e.Blob)
			if ok && has != c.want {
				l.t.Errorf("message %s (blob %d): needle %d: %v", number, e.Blob, c.n, has)
			}
			if ok {
				sure++
			}
		}
		if sure == 5 {
			known++
		}
	}
	return known
}

func (l *library) build() {
	l.t.Helper()
	if err := l.s.BuildIndex(context.Background()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *library) stats() TextStats {
	l.t.Helper()
	st, err := l.s.TextStats(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	return st
}

// The index follows what is delivered and expunged while it is searched.
func TestTextIndexFollows(t *testing.T) {
	l := openLibrary(t, t.TempDir(), Options{GarbageAge: time.Nanosecond})
	defer l.close()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- l.s.Run(ctx) }()
	var w sync.WaitGroup
	for i := range 4 {
		w.Go(func() { l.put(count(1000*i, 1000*i+150)...) })
	}
	w.Go(func() {
		for uid := uint32(1); uid < 100; uid += 2 {
			if _, err := l.s.Expunge(ctx, l.to.Account, l.to.Mailbox, []uint32{uid}, true); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		l.s.texts.index.Gaps()
		asked := l.s.TextSearch()
		if asked != nil {
			n := asked.Look(TextNeedle{Text: folded("the word")})
			for id := int64(1); id < 2000; id++ {
				if has, known := asked.Ask(n, id); known && !has {
					t.Errorf("blob %d has it", id)
				}
			}
			asked.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.Wait()
	for deadline := time.Now().Add(20 * time.Second); l.stats().Unindexed >= textFresh; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not follow: %+v", l.stats())
		}
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	l.build()
	p, err := l.s.Snapshot(t.Context(), l.to.Mailbox)
	if err != nil {
		t.Fatal(err)
	}
	if known := l.check(); known != p.Len() {
		t.Errorf("%d of %d are known", known, p.Len())
	}
}

// Expunged messages are forgotten once their bytes are.
func TestTextIndexForgets(t *testing.T) {
	l := openLibrary(t, t.TempDir(), Options{GarbageAge: time.Nanosecond})
	defer l.close()
	l.put(count(0, 100)...)
	l.build()
	before := l.stats()
	uids := make([]uint32, 90)
	for i := range uids {
		uids[i] = uint32(i + 1)
	}
	if _, err := l.s.Expunge(t.Context(), l.to.Account, l.to.Mailbox, uids, true); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(time.Unix(time.Now().Unix()+1, 0))) // garbage is dated in seconds
	if err := l.s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := l.stats(); st.Dead != 90 || st.Indexed != 10 {
		t.Errorf("after the sweep: %+v", st)
	}
	l.build()
	if st := l.stats(); st.Dead != 0 || st.Indexed != 10 || st.Bytes >= before.Bytes {
		t.Errorf("after the build: %+v, before %+v", st, before)
	}
	if known := l.check(); known != 10 {
		t.Error(known)
	}
}

func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// What a crash in the middle of a build leaves gives no wrong answer, and is completed.
func TestTextIndexCrash(t *testing.T) {
	l := openLibrary(t, t.TempDir(), Options{})
	defer l.close()
	l.put(count(0, 600)...)
	for round := range 4 {
		if err := l.s.Reindex(t.Context()); err != nil {
			t.Fatal(err)
		}
		p := &pacer{s: l.s, ctx: t.Context()}
		// Segments of every size: a build that is cut after some rows, published each time.
		for range 2 + round {
			ctx, cancel := context.WithCancel(t.Context())
			p.ctx = ctx
			time.AfterFunc(time.Duration(3+5*round)*time.Millisecond, cancel)
			_ = l.s.buildTexts(p)
			cancel()
		}
		done := make(chan error)
		go func() { done <- l.s.BuildIndex(context.Background()) }()
		time.Sleep(time.Duration(round) * 4 * time.Millisecond)
		image := t.TempDir()
		// The database first: the index may be of a time after it.
		for _, name := range []string{"packetboat.db", "packetboat.db-wal"} {
			b, err := os.ReadFile(filepath.Join(l.dir, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(image, name), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = os.CopyFS(filepath.Join(image, textFolder), os.DirFS(filepath.Join(l.dir, textFolder))) // files may go while it looks
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		c := openLibrary(t, image, Options{})
		c.check()
		c.build()
		if known := c.check(); known != 600 {
			t.Errorf("round %d: %d are known", round, known)
		}
		c.close()
	}
}

// Whatever happened to the files while the store was closed is found, and repaired.
func TestTextIndexHarmed(t *testing.T) {
	l := openLibrary(t, t.TempDir(), Options{})
	l.put(count(0, 300)...)
	l.build()
	l.close()
	segments, _ := filepath.Glob(filepath.Join(l.dir, textFolder, "*"))
	if len(segments) != 1 {
		t.Fatal(segments)
	}
	name := filepath.Base(segments[0])
	whole, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	cases := map[string]func(path string) error{
		"as it was":       func(string) error { return nil },
		"removed":         os.Remove,
		"folder removed":  func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"empty":           func(path string) error { return os.Truncate(path, 0) },
		"cut":             func(path string) error { return os.Truncate(path, int64(len(whole)/2)) },
		"another's":       func(path string) error { return os.WriteFile(path, []byte("something else"), 0o600) },
		"a folder":        func(path string) error { os.Remove(path); return os.Mkdir(path, 0o700) },
		"rest of a write": func(path string) error { return os.WriteFile(path+".tmp", whole[:100], 0o600) },
		"zeroes in it": func(path string) error {
			b := bytes.Clone(whole)
			clear(b[len(b)/3 : len(b)/2])
			return os.WriteFile(path, b, 0o600)
		},
		"twice":              func(path string) error { return os.WriteFile(filepath.Dir(path)+"/0000000000000000.seg", whole, 0o600) },
		"folder is unusable": func(path string) error { d := filepath.Dir(path); os.RemoveAll(d); return os.WriteFile(d, nil, 0o600) },
	}
	for i := range 40 {
		cases[fmt.Sprint("garbled ", i)] = func(path string) error {
			b := bytes.Clone(whole)
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
			return os.WriteFile(path, b, 0o600)
		}
	}
	for what, harm := range cases {
		dir := copyFolder(t, l.dir)
		if err := harm(filepath.Join(dir, textFolder, name)); err != nil {
			t.Fatal(what, err)
		}
		h := openLibrary(t, dir, Options{})
		known := h.check()
		h.build()
		after := h.check()
		if what == "as it was" && known != 300 || after != 300 && what != "folder is unusable" {
			t.Errorf("%s: %d known before, %d after a build", what, known, after)
		}
		if st := h.stats(); what == "folder is unusable" && (st.On || st.Err == nil) {
			t.Errorf("%s: %+v", what, st)
		}
		h.close()
	}
}

// A part that is found to be harmed while the store is open is built again soon, although no mail comes.
func TestTextIndexHarmedWhileOpen(t *testing.T) {
	l := openLibrary(t, t.TempDir(), Options{})
	l.put(count(0, 300)...)
	l.build()
	segments, _ := filepath.Glob(filepath.Join(l.dir, textFolder, "*"))
	for _, s := range segments {
		if err := os.WriteFile(s, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := &l.s.texts
	lost := x.index.Stats().Lost
	if x.due(2*textWait, lost) {
		t.Error("it is looked again although nothing happened")
	}
	l.check()
	if !x.due(2*textWait, lost) || x.due(textWait/2, lost) || x.due(2*textWait, x.index.Stats().Lost) {
		t.Errorf("%d lost", x.index.Stats().Lost)
	}
	l.build()
	if known := l.check(); known != 300 {
		t.Errorf("%d are known after a build", known)
	}
}

// A database that was set back gives ids anew to other messages, of which the index must not say what it knew of those before.
func TestTextIndexAfterRestore(t *testing.T) {
	l := openLibrary(t, t.TempDir(), Options{})
	l.put(count(0, 50)...)
	l.build()
	l.close()
	backup := copyFolder(t, l.dir)
	l = openLibrary(t, l.dir, Options{})
	l.put(count(1000, 1100)...)
	l.build()
	l.close()
	// The database of the backup with the index of now.
	if err := os.RemoveAll(filepath.Join(backup, textFolder)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(backup, textFolder), os.DirFS(filepath.Join(l.dir, textFolder))); err != nil {
		t.Fatal(err)
	}
	l = openLibrary(t, backup, Options{})
	defer l.close()
	l.put(count(2000, 2100)...)
	if known := l.check(); known > 50 {
		t.Errorf("%d are known before a build", known)
	}
	l.build()
	if known := l.check(); known != 150 {
		t.Errorf("%d are known after a build", known)
	}
}

// Without an index everything works, and says so.
func TestNoTextIndex(t *testing.T) {
	l := openLibrary(t, t.TempDir(), Options{NoTextIndex: true})
	defer l.close()
	l.put(1, 2, 3)
	l.build()
	if st := l.stats(); st.On || l.s.TextSearch() != nil {
		t.Errorf("%+v", st)
	}
	if err := l.s.Reindex(t.Context()); err == nil {
		t.Error("there is nothing to build anew")
	}
	if n, err := l.s.Unindexed(t.Context(), l.to.Mailbox); n != 3 || err != nil {
		t.Error(n, err)
	}
	if _, err := os.Stat(filepath.Join(l.dir, textFolder)); err == nil {
		t.Error("there is a folder for it")
	}
}
