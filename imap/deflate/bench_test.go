package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"os"
	"testing"
)

// BenchmarkRead is a client's upload.
func BenchmarkRead(b *testing.B) {
	for i, text := range texts()[2:4] {
		var packed bytes.Buffer
		w, _ := flate.NewWriter(&packed, 6)
		_, _ = w.Write(text)
		_ = w.Close()
		b.Run([]string{"random", "prose"}[i], func(b *testing.B) {
			p := make([]byte, 32<<10)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				f := &feed{}
				f.Buffer = *bytes.NewBuffer(packed.Bytes())
				c := New(f, 1<<30)
				var err error
				for err == nil {
					_, err = c.Read(p)
				}
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					b.Fatal(err)
				}
				_ = c.Close()
			}
		})
	}
}

// responses look like a FETCH of flags, and of envelopes.
func responses() (flags, envelopes []byte) {
	var f, e bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&f, "* %d FETCH (UID %d FLAGS (\\Seen))\r\n", i, i*3/2)
		fmt.Fprintf(&e, "* %d FETCH (UID %d ENVELOPE (\"Mon, 2 Feb 2026 23:30:%02d -0500\" \"message number %d\" ((\"Joe %d\" NIL \"joe%d\" \"example.test\")) NIL NIL ((NIL NIL \"ann\" \"example.test\")) NIL NIL NIL \"<%x@example.test>\"))\r\n", i, i*3/2, i%60, i, i%37, i%37, i*7919*7919)
	}
	return f.Bytes(), e.Bytes()
}

// BenchmarkWrite is a server's answer: in pieces as the encoder makes them, and a short line.
func BenchmarkWrite(b *testing.B) {
	flags, envelopes := responses()
	for _, c := range []struct {
		name string
		text []byte
	}{{"flags", flags}, {"envelopes", envelopes}, {"line", []byte("* 17 EXISTS\r\n")}} {
		b.Run(c.name, func(b *testing.B) {
			f := &feed{}
			conn := New(f, 0)
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				f.sent.Reset()
				if _, err := conn.Write(c.text); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(c.text))/float64(f.sent.Len()), "ratio")
		})
	}
}
