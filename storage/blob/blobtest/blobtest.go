// Package blobtest is the contract suite of blob.Store. Each implementation runs it.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/packetboat/packetboat/storage/blob"
)

// Run tests the store that open gives. Each part gets an empty one.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	parts := []struct {
		name string
		test func(t *testing.T, s blob.Store)
	}{
		{"put and get", putAndGet},
		{"empty", empty},
		{"pieces", pieces},
		{"read from", readFrom},
		{"read from fails", readFromFails},
		{"truncate", truncate},
		{"large", large},
		{"relaxed", relaxed},
		{"abort", abort},
		{"ended", ended},
		{"reader", readers},
		{"range", ranges},
		{"missing", missing},
		{"delete while open", deleteWhileOpen},
		{"walk", walk},
		{"sweep keeps what is held", sweepHeld},
		{"parallel", parallel},
		{"context", contexts},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.test(t, open(t)) })
	}
}

// Put stores b and returns its key.
func Put(t testing.TB, s blob.Store, b []byte) blob.Key {
	t.Helper()
	st := stage(t, s)
	defer st.Abort()
	if _, err := st.Write(b); err != nil {
		t.Fatal(err)
	}
	return commit(t, st, b)
}

// Get reads all of a blob.
func Get(t testing.TB, s blob.Store, k blob.Key) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != r.Size() {
		t.Fatalf("read %d bytes of %d", len(b), r.Size())
	}
	return b
}

// Bytes are n bytes that differ from seed to seed.
func Bytes(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func stage(t testing.TB, s blob.Store) blob.Staged {
	t.Helper()
	st, err := s.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func commit(t testing.TB, st blob.Staged, want []byte) blob.Key {
	t.Helper()
	k, sum, err := st.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if len(k) != 26 {
		t.Fatalf("key %q has not 26 characters", k)
	}
	if sum != blob.SumOf(want) {
		t.Fatal("the sum is not that of the bytes")
	}
	return k
}

func same(t testing.TB, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, want %d; or other ones", len(got), len(want))
	}
}

func putAndGet(t *testing.T, s blob.Store) {
	for _, n := range []int{1, 5, 4096, 1<<20 + 1} {
		b := Bytes(n, 1)
		k1, k2 := Put(t, s, b), Put(t, s, b)
		if k1 == k2 {
			t.Fatal("two blobs under one key")
		}
		same(t, Get(t, s, k1), b)
		same(t, Get(t, s, k2), b)
	}
}

func empty(t *testing.T, s blob.Store) {
	k := Put(t, s, nil)
	same(t, Get(t, s, k), nil)
	r, err := s.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.WriteTo(io.Discard); n != 0 || err != nil {
		t.Fatalf("WriteTo of nothing: %d, %v", n, err)
	}
}

func pieces(t *testing.T, s blob.Store) {
	b := Bytes(100_000, 2)
	st := stage(t, s)
	defer st.Abort()
	for at := 0; at < len(b); {
		n := min(1+at%7001, len(b)-at)
		if _, err := st.Write(b[at : at+n]); err != nil {
			t.Fatal(err)
		}
		at += n
		if st.Size() != int64(at) {
			t.Fatalf("Size %d after %d bytes", st.Size(), at)
		}
	}
	got := make([]byte, 1000)
	if _, err := st.ReadAt(got, 50_000); err != nil {
		t.Fatal(err)
	}
	same(t, got, b[50_000:51_000])
	if n, err := st.ReadAt(got, int64(len(b))-10); n != 10 || err != io.EOF {
		t.Fatalf("ReadAt over the end: %d, %v", n, err)
	}
	same(t, Get(t, s, commit(t, st, b)), b)
}

func readFrom(t *testing.T, s blob.Store) {
	b := Bytes(700_000, 3)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "one byte": nil,
		"half": iotest.HalfReader, "data with EOF": iotest.DataErrReader,
		"limited": func(r io.Reader) io.Reader { return io.LimitReader(r, 1<<40) },
	} {
		want := b
		if wrap == nil {
			wrap, want = iotest.OneByteReader, b[:3000]
		}
		st := stage(t, s)
		st.Write(want[:10])
		n, err := st.ReadFrom(wrap(bytes.NewReader(want[10:2000])))
		if err != nil || n != 1990 {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
		st.Write(want[2000:2010])
		if n, err = st.ReadFrom(wrap(bytes.NewReader(want[2010:]))); err != nil || n != int64(len(want)-2010) {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
		same(t, Get(t, s, commit(t, st, want)), want)
	}
}

func readFromFails(t *testing.T, s blob.Store) {
	cut := errors.New("cut")
	b := Bytes(5000, 4)
	st := stage(t, s)
	defer st.Abort()
	n, err := st.ReadFrom(io.MultiReader(bytes.NewReader(b), iotest.ErrReader(cut)))
	if n != 5000 || !errors.Is(err, cut) || st.Size() != 5000 {
		t.Fatalf("%d, %v, size %d", n, err, st.Size())
	}
	// What came before the cut is still good.
	same(t, Get(t, s, commit(t, st, b)), b)
}

func truncate(t *testing.T, s blob.Store) {
	b := Bytes(300_000, 5)
	for _, n := range []int{0, 1, 100_000, 299_999, 300_000} {
		st := stage(t, s)
		st.ReadFrom(bytes.NewReader(b))
		if err := st.Truncate(int64(n)); err != nil || st.Size() != int64(n) {
			t.Fatalf("Truncate(%d): %v, size %d", n, err, st.Size())
		}
		for _, bad := range []int64{-1, int64(n) + 1} {
			if st.Truncate(bad) == nil || st.Size() != int64(n) {
				t.Fatalf("Truncate(%d) of %d bytes", bad, n)
			}
		}
		st.Write(b[:77])
		if err := st.Truncate(int64(n) + 70); err != nil {
			t.Fatal(err)
		}
		st.ReadFrom(bytes.NewReader(b[1000:1005]))
		want := append(append(bytes.Clone(b[:n]), b[:70]...), b[1000:1005]...)
		same(t, Get(t, s, commit(t, st, want)), want)
	}
}

// large crosses the sizes at which a store begins to write to disk or to send parts.
func large(t *testing.T, s blob.Store) {
	b := Bytes(20<<20, 11)
	st := stage(t, s)
	defer st.Abort()
	for _, to := range []int{17 << 20, 9 << 20, 3} {
		st.ReadFrom(bytes.NewReader(b[st.Size():]))
		if err := st.Truncate(int64(to)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := st.ReadFrom(bytes.NewReader(b[3:])); n != int64(len(b)-3) || err != nil {
		t.Fatal(n, err)
	}
	same(t, Get(t, s, commit(t, st, b)), b)
}

func abort(t *testing.T, s blob.Store) {
	st := stage(t, s)
	st.Write(Bytes(100, 6))
	for range 2 {
		if err := st.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := st.Commit(); err == nil {
		t.Fatal("Commit after Abort")
	}
	count(t, s, 0)
	k := Put(t, s, []byte("x")) // its deferred Abort comes after Commit
	same(t, Get(t, s, k), []byte("x"))
	if n, err := s.SweepStaging(t.Context(), -time.Hour); n != 0 || err != nil {
		t.Fatalf("Abort left something: %d, %v", n, err)
	}
}

func ended(t *testing.T, s blob.Store) {
	st := stage(t, s)
	commit(t, st, nil)
	if _, err := st.Write([]byte("x")); err == nil {
		t.Error("Write after Commit")
	}
	if _, err := st.ReadFrom(strings.NewReader("x")); err == nil {
		t.Error("ReadFrom after Commit")
	}
	if err := st.Truncate(0); err == nil {
		t.Error("Truncate after Commit")
	}
	if _, _, err := st.Commit(); err == nil {
		t.Error("Commit after Commit")
	}
}

func readers(t *testing.T, s blob.Store) {
	b := Bytes(50_000, 7)
	k := Put(t, s, b)
	r, err := s.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := iotest.TestReader(r, b); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 1, 49_999, 50_000} {
		if n, err := r.Seek(at, io.SeekStart); n != at || err != nil {
			t.Fatal(n, err)
		}
		var buf bytes.Buffer
		if n, err := r.WriteTo(&buf); n != 50_000-at || err != nil {
			t.Fatal(n, err)
		}
		same(t, buf.Bytes(), b[at:])
		if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Fatalf("Read behind WriteTo: %d, %v", n, err)
		}
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Fatal("Seek before the beginning")
	}
}

// plain hides ReadFrom, so that a Reader must copy itself.
type plain struct{ io.Writer }

func ranges(t *testing.T, s blob.Store) {
	b := Bytes(600_000, 8)
	r, err := s.Open(t.Context(), Put(t, s, b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Seek(5, io.SeekStart)
	for _, c := range [][2]int{{0, 0}, {0, 1}, {0, 600_000}, {599_999, 1}, {600_000, 0}, {1000, 300_000}} {
		for _, hide := range []bool{false, true} {
			var buf bytes.Buffer
			var w io.Writer = &buf
			if hide {
				w = plain{&buf}
			}
			if n, err := r.WriteRange(w, int64(c[0]), int64(c[1])); n != int64(c[1]) || err != nil {
				t.Fatalf("%v: %d, %v", c, n, err)
			}
			same(t, buf.Bytes(), b[c[0]:c[0]+c[1]])
		}
	}
	if n, err := r.WriteRange(io.Discard, 599_990, 11); n != 10 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("range over the end: %d, %v", n, err)
	}
	for _, c := range [][2]int64{{-1, 1}, {0, -1}} {
		if _, err := r.WriteRange(io.Discard, c[0], c[1]); err == nil {
			t.Fatalf("range %v", c)
		}
	}
	got := make([]byte, 10)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	same(t, got, b[5:15])
}

func missing(t *testing.T, s blob.Store) {
	for _, k := range []blob.Key{"", "x", "../staging", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav",
		"../../../../../etc/hostnam", "01ARZ3NDEKTSV4RRFFQ69G5/AV"} {
		if _, err := s.Open(t.Context(), k); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v", k, err)
		}
		if err := s.Delete(t.Context(), k); err != nil {
			t.Errorf("Delete(%q): %v", k, err)
		}
	}
}

func deleteWhileOpen(t *testing.T, s blob.Store) {
	b := Bytes(10_000, 9)
	k := Put(t, s, b)
	r, err := s.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		if err := s.Delete(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Open(t.Context(), k); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, b)
}

func count(t *testing.T, s blob.Store, want int) map[blob.Key]int64 {
	t.Helper()
	got := map[blob.Key]int64{}
	err := s.Walk(t.Context(), func(k blob.Key, size int64, modified time.Time) error {
		if time.Since(modified).Abs() > time.Hour {
			t.Errorf("modified %v", modified)
		}
		got[k] = size
		return nil
	})
	if err != nil || len(got) != want {
		t.Fatalf("Walk: %d blobs, want %d; %v", len(got), want, err)
	}
	return got
}

func walk(t *testing.T, s blob.Store) {
	count(t, s, 0)
	want := map[blob.Key]int64{}
	for i := range 50 {
		want[Put(t, s, make([]byte, i))] = int64(i)
	}
	st := stage(t, s) // not committed: not seen
	defer st.Abort()
	for k, size := range count(t, s, 50) {
		if want[k] != size {
			t.Fatalf("%s has %d bytes, want %d", k, size, want[k])
		}
	}
	stop := errors.New("stop")
	calls := 0
	err := s.Walk(t.Context(), func(blob.Key, int64, time.Time) error { calls++; return stop })
	if calls != 1 || !errors.Is(err, stop) {
		t.Fatalf("%d calls, %v", calls, err)
	}
	// The sweeper deletes while it walks.
	err = s.Walk(t.Context(), func(k blob.Key, _ int64, _ time.Time) error { return s.Delete(t.Context(), k) })
	if err != nil {
		t.Fatal(err)
	}
	count(t, s, 0)
}

func sweepHeld(t *testing.T, s blob.Store) {
	b := Bytes(1000, 10)
	st := stage(t, s)
	st.Write(b)
	if n, err := s.SweepStaging(t.Context(), -time.Hour); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	same(t, Get(t, s, commit(t, st, b)), b)
}

func parallel(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				b := Bytes(1+i*1000+j, byte(i*10+j))
				k := Put(t, s, b)
				if !bytes.Equal(Get(t, s, k), b) {
					t.Error("other bytes")
				}
				if j%2 == 0 {
					s.Delete(t.Context(), k)
				}
			}
		})
	}
	wg.Wait()
	count(t, s, 40)
}

func contexts(t *testing.T, s blob.Store) {
	k := Put(t, s, []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Stage(ctx); !errors.Is(err, context.Canceled) {
		t.Error("Stage", err)
	}
	if _, err := s.Open(ctx, k); !errors.Is(err, context.Canceled) {
		t.Error("Open", err)
	}
	err := s.Walk(ctx, func(blob.Key, int64, time.Time) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error("Walk", err)
	}
	same(t, Get(t, s, k), []byte("x"))
}

// relaxed: what Commit need not make durable is there as well.
func relaxed(t *testing.T, s blob.Store) {
	st := stage(t, s)
	defer st.Abort()
	st.Relax()
	b := Bytes(300_000, 9)
	if _, err := st.Write(b); err != nil {
		t.Fatal(err)
	}
	same(t, Get(t, s, commit(t, st, b)), b)
}
