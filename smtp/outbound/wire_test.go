package outbound

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// scripted is a connection on which a peer has said all that it says.
type scripted struct {
	net.Conn // nil: nothing else is called
	r        io.Reader
	one      bool // a byte at a time
}

func (s *scripted) Read(b []byte) (int, error) {
	if s.one && len(b) > 1 {
		b = b[:1]
	}
	return s.r.Read(b)
}
func (s *scripted) SetReadDeadline(time.Time) error { return nil }

// Replies (RFC 5321 section 4.2), and what is none.
func TestReply(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"250 ok\r\n", "250 ok"},
		{"250\r\n", "250"},
		{"250 \r\n", "250"},
		{"250 ok\n", "250 ok"},
		{"250-a\r\n250 b\r\n", "250 a b"},
		{"550-5.1.1 a\r\n550 5.1.1 b\r\n", "550 5.1.1 a b"},
		{"550 5.1.1\r\n", "550 5.1.1"},
		{"550 2.1.1 class is another\r\n", "550 2.1.1 class is another"},
		{"550 5.1.1234 no code\r\n", "550 5.1.1234 no code"},
		{"550 5.1 no code\r\n", "550 5.1 no code"},
		{"250 \x1b[2Jclear \xff\u202e\r\n", "250 ?[2Jclear ??"},
		{"250-a\r\n", "EOF"},
		{"", "EOF"},
		{"25", "EOF"},
		{"25 ok\r\n", "not SMTP"},
		{"2500 ok\r\n", "not SMTP"},
		{"650 ok\r\n", "not SMTP"},
		{"150 ok\r\n", "not SMTP"},
		{"\r\n", "not SMTP"},
		{"250-a\r\n550 b\r\n", "not SMTP"},
		{"250 " + strings.Repeat("x", 5000) + "\r\n", "not SMTP"},
		{strings.Repeat("250-x\r\n", 300), "not SMTP"},
		{"550 " + strings.Repeat("x", 3000) + "\r\n", "550 " + strings.Repeat("x", 996)},
	} {
		for _, one := range []bool{false, true} {
			w := &wire{conn: &scripted{r: strings.NewReader(c.in), one: one}}
			r, err := w.reply(time.Time{})
			got := r.String()
			switch {
			case errors.Is(err, errProtocol):
				got = "not SMTP"
			case err != nil:
				got = "EOF"
			}
			if got != c.want {
				t.Errorf("%.60q: %.100q (%v)", c.in, got, err)
			}
		}
	}
}

// Replies follow one another in one piece.
func TestReplies2(t *testing.T) {
	w := &wire{conn: &scripted{r: strings.NewReader("250 a\r\n250-b\r\n250 c\r\n354 d\r\n")}}
	for _, want := range []string{"250 a", "250 b c", "354 d"} {
		if r, err := w.reply(time.Time{}); err != nil || r.String() != want {
			t.Errorf("%v, %v; want %s", r, err, want)
		}
	}
}

// Addresses as they stand in a command; nothing in them can end it.
func TestWirePath(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"joe@example.org":           "joe@example.org",
		`"a b"@example.org`:         `"a b"@example.org`,
		`"a>b"@example.org`:         `"a>b"@example.org`,
		`"a@b"@example.org`:         `"a@b"@example.org`,
		`"a\\"@example.org`:         `"a\\"@example.org`,
		`"a\"b"@example.org`:        `"a\"b"@example.org`,
		`"a\"@example.org`:          "bad",
		`"a\\">b@example.org`:       "bad",
		`a\>b@example.org`:          "bad",
		"joe@bücher.test":           "joe@xn--bcher-kva.test",
		"jösé@bücher.test":          "jösé@xn--bcher-kva.test",
		"joe@[192.0.2.1]":           "joe@[192.0.2.1]",
		"a b@example.org":           "bad",
		"a>b@example.org":           "bad",
		"a\r\nb@example.org":        "bad",
		"\"a\r\nDATA\"@example.org": "bad",
		`"a@example.org`:            "bad",
		"a@b c":                     "bad",
		"a@b>":                      "bad",
		"a":                         "bad",
		"a@":                        "bad",
		"@b":                        "bad",
		"a\xff@b":                   "bad",
	} {
		got, ok := wirePath(in)
		if !ok {
			got = "bad"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzReply looks for a peer that gets more than a bounded, printable text in.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 x\r\n", "250-\r\n", "\xff\r\n", "334 \x00\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &wire{conn: &scripted{r: bytes.NewReader(b)}}
		for {
			r, err := w.reply(time.Time{})
			if err != nil {
				return
			}
			s := r.String()
			if len(s) > maxKept || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00\x1b") || r.Code < 200 || r.Code > 599 {
				t.Errorf("%q", s)
			}
			c := &client{}
			c.introduced(r)
			if len(c.server) > 255 {
				t.Errorf("a name of %d bytes", len(c.server))
			}
		}
	})
}
