package smtp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// pieces is a source that comes in pieces of n bytes.
type pieces struct {
	text []byte
	n    int
	have int
}

func (p *pieces) window() []byte { return p.text[:p.have] }

func (p *pieces) consume(n int) {
	p.text = p.text[n:]
	p.have -= n
}

func (p *pieces) more(n int) error {
	for p.have < n {
		if p.have == len(p.text) {
			return io.ErrUnexpectedEOF
		}
		p.have = min(p.have+p.n, len(p.text))
	}
	return nil
}

// slowly reads everything with a buffer of n bytes.
func slowly(r io.Reader, n int) ([]byte, error) {
	var all []byte
	buf := make([]byte, n)
	for {
		k, err := r.Read(buf)
		all = append(all, buf[:k]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func TestMessage(t *testing.T) {
	for _, test := range []struct {
		in, out, rest string
		strict        error // what Reject says
	}{
		{in: ".\r\nQUIT", out: "", rest: "QUIT"},
		{in: "a\r\n.\r\nQUIT", out: "a\r\n", rest: "QUIT"},
		{in: "\r\n..\r\n...\r\n.a\r\n.\r\n", out: "\r\n.\r\n..\r\na\r\n"},
		{in: "a\n.\nb\r\n.\r\n", out: "a\r\n.\r\nb\r\n", strict: errBareLF},
		{in: "a\n..\r\n.\r\n", out: "a\r\n.\r\n", strict: errBareLF},
		{in: "a\r.\rb\r\n.\r\n", out: "a\r\n.\r\nb\r\n", strict: errBareCR},
		{in: "a\r.\r\nb\r\n.\r\n", out: "a\r\n.\r\nb\r\n", strict: errBareCR},
		{in: "a\r\n.\nb\r\n.\r\n", out: "a\r\n.\r\nb\r\n", strict: errBareLF},
		{in: "a\r\r\r\n.\r\n", out: "a\r\n", strict: errBareCR},
		{in: "a\x00b\r\n\x00.\r\n.\r\n", out: "ab\r\n.\r\n", strict: errNUL},
		{in: strings.Repeat("x", 5000) + "\r\n.\r\n", out: strings.Repeat("x", 5000) + "\r\n"},
	} {
		for _, n := range []int{1, 2, 3, 7, 100, 10000} {
			for _, room := range []int{1, 2, 3, 64, 8192} {
				src := &pieces{text: []byte(test.in), n: n}
				got, err := slowly(&message{src: src, dots: true, limit: 1 << 20}, room)
				if err != nil || string(got) != test.out || string(src.text) != test.rest {
					t.Errorf("%q in pieces of %d into %d: %q, %v, rest %q", test.in, n, room, got, err, src.text)
				}
				src = &pieces{text: []byte(test.in), n: n}
				m := &message{src: src, dots: true, strict: true, limit: 1 << 20}
				_, err = slowly(m, room)
				if test.strict == nil && err != nil || test.strict != nil && err != test.strict {
					t.Errorf("%q strictly in pieces of %d into %d: %v", test.in, n, room, err)
				}
				if err == nil {
					continue
				}
				if err := m.drain(1 << 20); err != nil || string(src.text) != test.rest {
					t.Errorf("%q drained: %v, rest %q", test.in, err, src.text)
				}
			}
		}
	}
}

func TestMessageLimits(t *testing.T) {
	m := &message{src: &pieces{text: []byte(strings.Repeat("x\r\n", 1000) + ".\r\n"), n: 10}, dots: true, limit: 999}
	if _, err := slowly(m, 64); err != errTooLarge {
		t.Error(err)
	}
	if err := m.drain(1000); !errors.Is(err, errFlood) {
		t.Error(err)
	}
	for _, cut := range []string{"", "a", "a\r", "a\r\n", "a\r\n.", "a\r\n.\r"} {
		m := &message{src: &pieces{text: []byte(cut), n: 3}, dots: true, limit: 1000}
		if _, err := slowly(m, 64); !errors.Is(err, errLost) || m.done {
			t.Errorf("%q: %v", cut, err)
		}
	}
}

// reference is RFC 5321 section 4.1.1.4 and our rules in the simplest words: what comes of a message, and where it ends (-1: nowhere).
func reference(in []byte) (out []byte, end int, bare bool) {
	end = bytes.Index(append([]byte("\r\n"), in...), []byte("\r\n.\r\n"))
	if end < 0 {
		return nil, -1, false
	}
	text := string(in[:end])
	if strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n\x00") {
		return nil, end + 3, true
	}
	for _, line := range strings.SplitAfter(text, "\r\n") {
		out = append(out, strings.TrimPrefix(line, ".")...)
	}
	return out, end + 3, false
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{"a\r\n.\r\nQUIT\r\n", ".\r\n", "\n.\n\r\n.\r\n", "\r.\r\n.\r\n", "..\r\n...\r\n.\r\n", "\r\r\n.\r\n", "\x00\r\n.\r\n", "a\r\n.\r\r\n.\r\n"} {
		f.Add([]byte(s), uint8(3), uint8(5))
	}
	f.Fuzz(func(t *testing.T, in []byte, n, room uint8) {
		out, end, bare := reference(in)
		src := &pieces{text: bytes.Clone(in), n: int(n) + 1}
		m := &message{src: src, dots: true, strict: true, limit: 1 << 30}
		got, err := slowly(m, int(room)+1)
		if err != nil && isReply(err) {
			err = m.drain(1 << 30)
			if end >= 0 && !bare {
				t.Fatalf("%q was refused", in)
			}
			got = nil
		} else if bare && err == nil {
			t.Fatalf("%q was taken", in)
		}
		if (err == nil) != (end >= 0) {
			t.Fatalf("%q: %v, and it ends at %d", in, err, end)
		}
		if end >= 0 && (!bytes.Equal(got, out) || len(src.text) != len(in)-end) {
			t.Fatalf("%q: %q (want %q), %d bytes left (want %d)", in, got, out, len(src.text), len(in)-end)
		}
		// Normalized, the same end is found, and what comes out has nothing bare in it.
		src = &pieces{text: bytes.Clone(in), n: int(n) + 1}
		got, err = slowly(&message{src: src, dots: true, limit: 1 << 30}, int(room)+1)
		if (err == nil) != (end >= 0) || end >= 0 && len(src.text) != len(in)-end {
			t.Fatalf("%q normalized: %v, %d bytes left", in, err, len(src.text))
		}
		if err == nil && strings.ContainsAny(strings.ReplaceAll(string(got), "\r\n", ""), "\r\n\x00") {
			t.Fatalf("%q normalized: %q", in, got)
		}
	})
}

// BenchmarkMessage is the reader of messages alone.
func BenchmarkMessage(b *testing.B) {
	text := []byte(strings.Repeat(strings.Repeat("x", 74)+"\r\n", 10_000) + ".\r\n")
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		m := &message{src: &pieces{text: text, n: dataBuffer}, dots: true, strict: true, limit: 1 << 30}
		for {
			if _, err := m.Read(buf); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
