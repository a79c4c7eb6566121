package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/packetboat/packetboat/storage"
)

func TestMailText(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"as it is", "A: b\r\n\r\nbody\r\n", "A: b\r\n\r\nbody\r\n"},
		{"LF", "A: b\nC: d\n\nbody\n.\n", "A: b\r\nC: d\r\n\r\nbody\r\n.\r\n"},
		{"mixed", "A: b\r\nC: d\n\nx\r\ny\n", "A: b\r\nC: d\r\n\r\nx\r\ny\r\n"},
		{"no end", "A: b\n\nbody", "A: b\r\n\r\nbody"},
		{"header alone", "A: b", "A: b"},
		{"lone CR stays", "A: b\r\n\r\na\rb\r\r\n", "A: b\r\n\r\na\rb\r\r\n"},
		{"LF LF", "A: b\n\n\n\n", "A: b\r\n\r\n\r\n\r\n"},
		{"mbox", "From joe Mon Jan  1 00:00:00 2026\nA: b\n\nFrom x\n", "A: b\r\n\r\nFrom x\r\n"},
		{"mbox CRLF", "From - Mon\r\nA: b\r\n", "A: b\r\n"},
		{"space before the colon", "Subject : x\r\n", "Subject : x\r\n"},
		{"8 bit", "A: \xff\xc3\xa9\n", "A: \xff\xc3\xa9\r\n"},
	}
	for _, tt := range tests {
		for _, step := range []int{1, 2, 3, 7, 1000} {
			var out bytes.Buffer
			m := &mailText{w: &out, max: 1 << 20}
			for p := []byte(tt.in); len(p) > 0; {
				n := min(step, len(p))
				if got, err := m.Write(bytes.Clone(p[:n])); got != n || err != nil {
					t.Fatalf("%s: %d, %v", tt.name, got, err)
				}
				p = p[n:]
			}
			if err := m.finish(); err != nil || out.String() != tt.want {
				t.Errorf("%s in steps of %d: %q, %v; want %q", tt.name, step, out.String(), err, tt.want)
			}
			if m.received != int64(len(tt.in)) || m.written != int64(len(tt.want)) {
				t.Errorf("%s: received %d, written %d", tt.name, m.received, m.written)
			}
		}
	}
}

func TestMailTextRefuses(t *testing.T) {
	tests := []struct{ name, in string }{
		{"empty", ""},
		{"text", "hello world\n"},
		{"text without end", "hello world"},
		{"empty line", "\r\nA: b\r\n"},
		{"no name", ": b\r\n"},
		{"space in the name", "a note: b\r\n"},
		{"continuation", " A: b\r\n"},
		{"NUL", "A: b\r\n\r\nx\x00y"},
		{"NUL first", "\x00"},
		{"picture", "\x89PNG\r\n\x1a\n\x00\x00"},
		{"two separators", "From a\nFrom b\nA: b\n"},
		{"separator alone", "From a\n"},
		{"UTF-8 name", "Gr\u00fc\u00dfe: b\n"},
		{"long line", strings.Repeat("a", 5000) + ": b\n"},
		{"long line without end", strings.Repeat("a", 5000)},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		m := &mailText{w: &out, max: 1 << 20}
		_, err := m.ReadFrom(iotest.OneByteReader(strings.NewReader(tt.in)))
		if err == nil {
			err = m.finish()
		}
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "only messages") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, err2 := m.Write([]byte("A: b\r\n")); err2 != err {
			t.Errorf("%s: refused, then %v", tt.name, err2)
		}
	}
	m := &mailText{w: &bytes.Buffer{}, max: 10}
	if _, err := m.Write([]byte("A: b\n\n123\n")); !errors.Is(err, storage.ErrLimit) { // 13 bytes with CRs
		t.Errorf("too large: %v", err)
	}
	m = &mailText{w: &failing{}, max: 100}
	if _, err := m.Write([]byte("A: b\n")); !errors.Is(err, errDisk) {
		t.Errorf("%v", err)
	}
}

var errDisk = errors.New("disk")

type failing struct{}

func (*failing) Write([]byte) (int, error) { return 0, errDisk }

// However the bytes are cut, the text is the same as when each bare LF is replaced at once.
func FuzzMailText(f *testing.F) {
	f.Add("A: b\nC: d\r\n\r\nx\ry\n", uint64(1))
	f.Add("From x\nA: b\n", uint64(2))
	f.Fuzz(func(t *testing.T, in string, seed uint64) {
		run := func(cut func(n int) int) (string, error) {
			var out bytes.Buffer
			m := &mailText{w: &out, max: 1 << 30}
			for p := []byte(in); len(p) > 0; {
				n := cut(len(p))
				if _, err := m.Write(p[:n:n]); err != nil {
					return "", err
				}
				p = p[n:]
			}
			err := m.finish()
			return out.String(), err
		}
		whole, err := run(func(n int) int { return n })
		r := rand.New(rand.NewPCG(seed, 1))
		pieces, err2 := run(func(n int) int { return 1 + r.IntN(n) })
		if (err == nil) != (err2 == nil) {
			t.Fatalf("whole: %v, in pieces: %v", err, err2)
		}
		if err != nil {
			return
		}
		if whole != pieces {
			t.Fatalf("whole %q, in pieces %q", whole, pieces)
		}
		if strings.Contains(strings.ReplaceAll(whole, "\r\n", ""), "\n") {
			t.Fatalf("bare LF in %q", whole)
		}
	})
}
