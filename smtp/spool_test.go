package smtp

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// spoolSizes are around every edge: of a block, of the memory, of what an upload keeps in memory.
var spoolSizes = []int{0, 1, spoolBlock - 1, spoolBlock, spoolBlock + 1, spoolBlocks*spoolBlock - 1, spoolBlocks * spoolBlock, spoolBlocks*spoolBlock + 1,
	spoolBlocks*spoolBlock + 96<<10, spoolBlocks*spoolBlock + 96<<10 + 1, 1 << 20}

func spoolStore(t testing.TB, dir string) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func randomBytes(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestSpool(t *testing.T) {
	store := spoolStore(t, t.TempDir())
	defer store.Close()
	for _, n := range spoolSizes {
		want := randomBytes(n)
		for name, fill := range map[string]func(*spool) error{
			"Write":    func(s *spool) error { _, err := s.Write(want); return err },
			"ReadFrom": func(s *spool) error { _, err := s.ReadFrom(bytes.NewReader(want)); return err },
			"both": func(s *spool) error {
				_, err := s.Write(want[:n/3])
				_, err2 := s.ReadFrom(iotest.HalfReader(bytes.NewReader(want[n/3:])))
				return errors.Join(err, err2)
			},
		} {
			s := &spool{store: store}
			if err := fill(s); err != nil {
				t.Fatal(n, name, err)
			}
			if s.Size() != int64(n) {
				t.Errorf("%d %s: size %d", n, name, s.Size())
			}
			var out bytes.Buffer
			if k, err := s.WriteTo(&out); err != nil || k != int64(n) || !bytes.Equal(out.Bytes(), want) {
				t.Errorf("%d %s: WriteTo %d %v", n, name, k, err)
			}
			if err := iotest.TestReader(io.NewSectionReader(s, 0, s.Size()), want); err != nil {
				t.Errorf("%d %s: %v", n, name, err)
			}
			s.close()
			s.close()
		}
	}
}

// A reader that fails leaves nothing behind, once the spool is closed.
func TestSpoolAbort(t *testing.T) {
	dir := t.TempDir()
	store := spoolStore(t, dir)
	defer store.Close()
	s := &spool{store: store}
	broken := errors.New("broken")
	if _, err := s.ReadFrom(io.MultiReader(bytes.NewReader(randomBytes(1<<20)), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if len(files(t, dir)) == 0 {
		t.Fatal("a large message lies in memory")
	}
	s.close()
	if left := files(t, dir); len(left) != 0 {
		t.Fatal("left:", left)
	}
}

// What a crash leaves is swept by the next start, before anybody could fill the disk with it.
func TestSpoolCrash(t *testing.T) {
	dir := t.TempDir()
	store := spoolStore(t, dir)
	s := &spool{store: store}
	if _, err := s.Write(randomBytes(1 << 20)); err != nil {
		t.Fatal(err)
	}
	if len(files(t, dir)) == 0 {
		t.Fatal("nothing is staged")
	}
	// The process ends here: nobody closes the spool. The file is as old as the crash.
	for _, f := range files(t, dir) {
		if err := os.Chtimes(f, time.Now().Add(-time.Minute), time.Now().Add(-time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s.close()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if len(files(t, left)) == 0 {
		t.Fatal("the copy has nothing staged")
	}
	store = spoolStore(t, left)
	defer store.Close()
	if err := store.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := files(t, left); len(all) != 0 {
		t.Fatal("left after a sweep:", all)
	}
}

// files are those of blobs and of what is staged for them.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFoldedValue(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		"plain":                       "plain",
		" one\n two":                  "one\r\n two",
		"one\r\nX-Evil: two":          "one\r\n\tX-Evil: two",
		"one\r\rX: y\n\n.\r\n":        "one\r\n\tX: y\r\n\t.",
		"one\r\n\r\nbody":             "one\r\n\tbody",
		"one\n \t\n  two \r\n":        "one\r\n  two ",
		"\r\n\tfolded from the start": "folded from the start",
	} {
		if got, ok := foldedValue(in); !ok || got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if _, ok := foldedValue("a\x00b"); ok {
		t.Error("a NUL passes")
	}
}

func FuzzEdit(f *testing.F) {
	f.Add("X-Name", "value\r\n folded", 1, uint8(1))
	f.Add("X: evil\r\n", "\r\n\r\nbody", 0, uint8(2))
	f.Fuzz(func(t *testing.T, name, value string, index int, kind uint8) {
		h := &header{}
		h.parse([]byte("From: a@b\r\nSubject: x\r\n y\r\n\r\nbody"))
		before := len(h.fields)
		if h.apply([]Edit{{EditKind(kind % 3), name, index, value}}) != nil {
			return
		}
		block := h.block()
		again := &header{}
		again.parse(append(bytes.Clone(block), "\r\nbody"...))
		if len(again.fields) != len(h.fields) || string(again.rest) != "\r\nbody" || len(h.fields) > before+1 {
			t.Fatalf("%q: %q breaks the header: %q", name, value, block)
		}
	})
}

// Whatever an rspamd answers, it can change no more than fields.
func FuzzRspamd(f *testing.F) {
	f.Add([]byte(`{"action":"no action","score":1,"required_score":5,"symbols":{"A":{"score":1}},"milter":{"add_headers":{"X":{"value":"1","order":0},"Y":["a",{"value":"b"}]},"remove_headers":{"Z":1}}}`))
	f.Add([]byte(`{"action":"rewrite subject","subject":"a\r\nb","dkim-signature":["x"],"milter":{"reject":"discard"}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		found, err := readRspamd(answer)
		if err != nil {
			return
		}
		h := &header{}
		h.parse([]byte("From: a@b\r\nSubject: x\r\nX: y\r\n\r\nbody"))
		if h.apply(found.Edits) != nil {
			return
		}
		again := &header{}
		again.parse(append(h.block(), "\r\nbody"...))
		if len(again.fields) != len(h.fields) || string(again.rest) != "\r\nbody" {
			t.Fatalf("%q breaks the header: %q", answer, h.block())
		}
	})
}

func TestHeloFault(t *testing.T) {
	for _, test := range []struct {
		name, remote string
		fault        bool
	}{
		{"mx.example.org", "192.0.2.1", false},
		{"mx.example.org.", "192.0.2.1", false},
		{"[192.0.2.1]", "192.0.2.1", false},
		{"[IPv6:2001:db8::1]", "2001:db8::1", false},
		{"[ipv6:2001:DB8:0::1]", "2001:db8::1", false},
		{"[192.0.2.2]", "192.0.2.1", true},
		{"[192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"localhost", "192.0.2.1", true},
		{"MAIL.example.test", "192.0.2.1", true},
		{"", "192.0.2.1", true},
		{"a b.c", "192.0.2.1", true},
	} {
		if got := heloFault(test.name, netip.MustParseAddr(test.remote), "mail.example.test"); (got != "") != test.fault {
			t.Errorf("%q from %s: %q", test.name, test.remote, got)
		}
	}
}

func TestMethodPasses(t *testing.T) {
	for in, want := range map[string]bool{
		" ; dmarc=pass (p=none) header.from=a.example": true,
		";spf=pass; DMARC = Pass;dkim=fail":            true,
		"; dmarc=fail; x=dmarc=pass":                   false,
		"; dmarc/1=pass":                               true,
		"; xdmarc=pass":                                false,
		"; dmarc=passed":                               false,
		"":                                             false,
	} {
		if methodPasses(in, "dmarc") != want {
			t.Errorf("%q is not %v", in, want)
		}
	}
}

// However many addresses come, no more are remembered than fit.
func TestRatesBounded(t *testing.T) {
	r := newRates(RateOptions{Messages: Rate{Address: 1}}, time.Now)
	for i := range 3 * maxRates {
		a := netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		if r.over(messages, a) != "" {
			t.Fatal("the first message of", a, "is too much")
		}
		if i%100 == 0 && r.over(messages, a) == "" {
			t.Fatal("the second message of", a, "is not")
		}
	}
	if n := len(r.new) + len(r.old); n > maxRates {
		t.Fatal(n, "are remembered")
	}
}
