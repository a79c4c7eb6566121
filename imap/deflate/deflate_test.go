package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// said is what the vectors hold, piece by piece.
var said = []string{
	"a1 SELECT INBOX\r\n",
	"a2 UID FETCH 1:* (FLAGS)\r\n",
	"a3 UID FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)\r\na4 IDLE\r\n",
	"DONE\r\n",
	strings.Repeat("a5 NOOP\r\n", 40),
	"a6 LOGOUT\r\n",
	strings.Repeat("The quick brown fox jumps over the lazy dog; 0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ {[()]} ", 3) +
		"zyx wvu tsr qpo nml kji hgf edc ba!?\r\n",
}

// feed is a connection below that has what is in it, and then a deadline.
type feed struct {
	net.Conn
	bytes.Buffer
	most int // bytes a Read
	sent bytes.Buffer
}

func (f *feed) Read(p []byte) (int, error) {
	if f.Len() == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	if f.most > 0 {
		p = p[:min(len(p), f.most)]
	}
	return f.Buffer.Read(p)
}
func (f *feed) Write(p []byte) (int, error) { return f.sent.Write(p) }
func (f *feed) Close() error                { return nil }

// all reads what there is.
func all(t testing.TB, c *Conn, size int) string {
	t.Helper()
	var got []byte
	p := make([]byte, size)
	for {
		n, err := c.Read(p)
		got = append(got, p[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return string(got)
		}
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a client flushed is read at once, whichever way it flushed and in whatever pieces it comes, and a deadline in between loses nothing.
func TestFlushed(t *testing.T) {
	for _, v := range vectors {
		for _, most := range []int{0, 1, 3, 13} {
			for _, size := range []int{1, Small, 4096} {
				f := &feed{most: most}
				c := New(f, 1<<20)
				for i, piece := range strings.Fields(v.pieces) {
					f.Buffer.Write(unhex(t, piece))
					if got := all(t, c, size); got != said[i] {
						t.Errorf("%s, reads of %d and %d: piece %d is %q", v.name, most, size, i, got)
					}
				}
				if size <= Small && c.in.win != nil || c.buf != nil && size <= Small {
					t.Error("a connection that waits holds its buffers")
				}
			}
		}
	}
}

// texts are of several kinds, some larger than the window.
func texts() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 100000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	words := strings.Fields("UID FETCH FLAGS ENVELOPE Seen Answered 127 4711 the of and to in is that it was for on are as with his they at be this from")
	var prose, far bytes.Buffer
	for prose.Len() < 100000 {
		prose.WriteString(words[r.IntN(len(words))])
		prose.WriteByte(" \r\n\t"[r.IntN(4)])
	}
	for range 4 {
		far.Write(random[:32768]) // matches as far back as may be
	}
	var skewed bytes.Buffer // code lengths up to the longest
	for i := range 16 {
		skewed.Write(bytes.Repeat([]byte{byte(i)}, 1<<i))
	}
	return [][]byte{nil, []byte("x"), random, prose.Bytes(), far.Bytes(), make([]byte, 1<<18), skewed.Bytes()}
}

func TestAgainstFlate(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for i, text := range texts() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, level)
			for left := text; len(left) > 0; {
				n := min(len(left), 1+r.IntN(70000))
				_, _ = w.Write(left[:n])
				left = left[n:]
				if r.IntN(3) == 0 {
					_ = w.Flush()
				}
			}
			_ = w.Close()
			for _, most := range []int{0, 1, 700} {
				if most == 1 && b.Len() > 64<<10 {
					continue
				}
				f := &feed{most: most}
				f.Buffer.Write(b.Bytes())
				c := New(f, 1<<30)
				if got := all(t, c, []int{Small, 5000}[r.IntN(2)]); got != string(text) {
					t.Fatalf("text %d, level %d, reads of %d: %d bytes differ from %d", i, level, most, len(got), len(text))
				}
				if c.in.step != ended {
					t.Errorf("text %d, level %d: the end was not seen", i, level)
				}
			}
		}
	}
}

// What is written can be read by others after each Write.
func TestWrite(t *testing.T) {
	for i, text := range texts() {
		f := &feed{}
		c := New(f, 0)
		for left := text; len(left) > 0; {
			n := min(len(left), 60000)
			if k, err := c.Write(left[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			left = left[n:]
		}
		got, err := io.ReadAll(flate.NewReader(bytes.NewReader(f.sent.Bytes())))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(got, text) {
			t.Errorf("text %d: %d bytes of %d, %v", i, len(got), len(text), err)
		}
		if most := len(text) + len(text)/1000 + 100; f.sent.Len() > most {
			t.Errorf("text %d of %d bytes became %d", i, len(text), f.sent.Len())
		}
		if err := c.Plain(); err != nil {
			t.Fatal(err)
		}
		if got, err = io.ReadAll(flate.NewReader(bytes.NewReader(f.sent.Bytes()))); err != nil || !bytes.Equal(got, text) {
			t.Errorf("text %d after its end: %v", i, err)
		}
	}
}

// The compression ends behind a line (RFC 8437 section 4.1): in whatever way the client flushed it, finished its stream or did not, and in
// whatever pieces that came, what follows is read as it is.
func TestPlain(t *testing.T) {
	const after = "a9 LOGIN ann secret\r\n"
	for _, v := range vectors {
		for _, most := range []int{0, 1, 2, 5} {
			for _, end := range []string{"", "0300", "010000ffff"} {
				f := &feed{most: most}
				c := New(f, 1<<20)
				pieces := strings.Fields(v.pieces)
				for i, piece := range pieces {
					f.Buffer.Write(unhex(t, piece))
					if i < len(pieces)-1 {
						all(t, c, Small)
						continue
					}
					if !strings.HasPrefix(v.name, "partial") {
						f.Buffer.Write(unhex(t, end)) // its bits begin with a byte
					}
					f.Buffer.WriteString(after) // pipelined
				}
				got := make([]byte, len(said[len(pieces)-1]))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != said[len(pieces)-1] {
					t.Fatalf("%s, reads of %d: %q, %v", v.name, most, got, err)
				}
				if err := c.Plain(); err != nil {
					t.Fatal(err)
				}
				if got := all(t, c, Small); got != after {
					t.Errorf("%s, %q, reads of %d: %q follows", v.name, end, most, got)
				}
				if _, err := io.WriteString(c, "plain"); err != nil || !strings.HasSuffix(f.sent.String(), "plain") {
					t.Error("what is written is not plain", err)
				}
			}
		}
	}
}

func TestMixed(t *testing.T) {
	f := &feed{}
	c := New(f, 1<<20)
	w, _ := flate.NewWriter(&f.Buffer, 6)
	_, _ = w.Write([]byte("one\r\ntwo\r\n"))
	_ = w.Flush()
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	_ = c.Plain()
	if _, err := c.Read(got); !errors.Is(err, ErrMixed) {
		t.Error(err)
	}
}

func TestCorrupt(t *testing.T) {
	for _, s := range []string{
		"07",                       // a block type that is none
		"00 01 00 00 00",           // a length that its complement denies
		"03 02 00",                 // something behind the last block
		"4b04a2",                   // a distance before the beginning... of a fixed block
		"05 00 00 00 00 00 00 00",  // codes that are not complete
		"fdff ffff ffff ffff ffff", // too many codes
	} {
		f := &feed{}
		f.Buffer.Write(unhex(t, strings.ReplaceAll(s, " ", "")))
		c := New(f, 1<<20)
		var err error
		for p := make([]byte, 100); err == nil; {
			_, err = c.Read(p)
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", s, err)
		}
		if _, again := c.Read(make([]byte, 1)); again != err {
			t.Errorf("%s: %v, then %v", s, err, again)
		}
	}
}

func TestBomb(t *testing.T) {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	_, _ = w.Write(make([]byte, 64<<20))
	_ = w.Close()
	f := &feed{}
	f.Buffer.Write(b.Bytes())
	n, err := io.Copy(io.Discard, New(f, 8<<20))
	if !errors.Is(err, ErrBomb) || n > 64<<20*9/10 {
		t.Errorf("%d bytes and %v", n, err)
	}
	f = &feed{}
	f.Buffer.Write(b.Bytes())
	if n, err := io.Copy(io.Discard, New(f, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || n != 64<<20 {
		t.Errorf("within its slack: %d bytes and %v", n, err)
	}
	c := New(f, 1<<20)
	c.debt, c.since = 1<<20, time.Now().Add(-time.Second)
	if err := c.account(4<<20, 1); err != nil || c.debt > 1<<20 {
		t.Errorf("a second pays for 8 MiB: %v, %d left", err, c.debt)
	}
}

// A connection that waits holds what was sent to it, and little more.
func TestParked(t *testing.T) {
	f := &feed{}
	c := New(f, 1<<20)
	w, _ := flate.NewWriter(&f.Buffer, 6)
	for i := range 100 {
		_, _ = w.Write([]byte("a1 UID FETCH 1:* (FLAGS)\r\n"))
		_ = w.Flush()
		if len(all(t, c, Small)) != 26 {
			t.Fatal(i)
		}
	}
	if c.in.win != nil || c.buf != nil || cap(c.in.kept) > 2*2600 {
		t.Errorf("holds %d bytes", cap(c.in.kept))
	}
	_, _ = w.Write(texts()[3])
	_ = w.Flush()
	all(t, c, Small)
	if cap(c.in.kept) > history+history/4 {
		t.Errorf("holds %d bytes", cap(c.in.kept))
	}
}

func FuzzInflate(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, strings.ReplaceAll(v.pieces, " ", "")), uint8(3))
	}
	for _, text := range texts()[1:4] {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 6)
		_, _ = w.Write(text[:min(len(text), 3000)])
		_ = w.Close()
		f.Add(b.Bytes(), uint8(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, most uint8) {
		if len(b) > 1<<16 {
			return
		}
		want, oracle := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), 4<<20))
		below := &feed{most: int(most)}
		below.Buffer.Write(b)
		c := New(below, 1<<30)
		var got []byte
		var err error
		for p := make([]byte, 1+int(most)*7); err == nil && len(got) < 4<<20; {
			var n int
			n, err = c.Read(p)
			got = append(got, p[:n]...)
		}
		short := min(len(got), len(want))
		if !bytes.Equal(got[:short], want[:short]) {
			t.Fatal("differs from compress/flate")
		}
		if oracle == nil && len(want) < 4<<20 && (c.in.step != ended || len(got) != len(want)) {
			t.Fatalf("compress/flate read all, this ended with %v after %d of %d", err, len(got), len(want))
		}
		if errors.Is(oracle, io.ErrUnexpectedEOF) && (!errors.Is(err, os.ErrDeadlineExceeded) || len(got) < len(want)) && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("compress/flate waits for more, this ended with %v after %d of %d", err, len(got), len(want))
		}
	})
}

// reads is a connection that can be read.
type reads struct {
	net.Conn
	r io.Reader
}

func (r reads) Read(p []byte) (int, error) { return r.r.Read(p) }

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("a1 NOOP\r\na2 NOOP\r\n"), uint16(9), false)
	f.Add(bytes.Repeat([]byte("abc"), 3000), uint16(300), true)
	f.Fuzz(func(t *testing.T, text []byte, size uint16, one bool) {
		a := &feed{}
		w := New(a, 0)
		for left := text; len(left) > 0; {
			n := min(len(left), 1+int(size))
			_, _ = w.Write(left[:n])
			left = left[n:]
		}
		var below io.Reader = &a.sent
		if one {
			below = iotest.OneByteReader(&a.sent)
		}
		got, err := io.ReadAll(New(reads{nil, below}, 1<<30))
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%d of %d bytes, %v", len(got), len(text), err)
		}
	})
}
