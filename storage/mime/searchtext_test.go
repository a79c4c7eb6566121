package mime

import (
	"bytes"
	"strings"
	"testing"
)

func searchTextOf(t testing.TB, text string) *SearchText {
	t.Helper()
	var s SearchText
	if err := s.Read(strings.NewReader(text), index(text)); err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestSearchText(t *testing.T) {
	s := searchTextOf(t, crlf(`Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an
  alle
From: joe (the boss) <joe @ example.test>
no field
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

caf=E9
--b
Content-Type: application/octet-stream
Content-Description: secret

not text
--b
Content-Type: message/delivery-status

Action: failed
--b
Content-Type: message/rfc822

Subject: inner

deep text
--b--
`))
	for _, c := range []struct{ name, got, want string }{
		{"fields", string(s.Fields), "SUBJECT: GRU\u0308ßE AN  ALLE\xffFROM: JOE (THE BOSS) <JOE @ EXAMPLE.TEST>\xff NO FIELD\xffMIME-VERSION: 1.0\xffCONTENT-TYPE: MULTIPART/MIXED; BOUNDARY=B\xff"},
		{"forms", string(s.Forms), "\x01FROM: JOE <JOE@EXAMPLE.TEST>\xff"},
		{"body", string(s.Body), "CAFE\u0301\xffACTION: FAILED\xffDEEP TEXT"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
	if !bytes.Contains(s.Inner, []byte("CONTENT-DESCRIPTION: SECRET\xff")) || !bytes.Contains(s.Inner, []byte("SUBJECT: INNER\xff")) || s.More || s.Opaque {
		t.Errorf("inner: %q, more %v, opaque %v", s.Inner, s.More, s.Opaque)
	}
}

// What is too long is cut, and says so; a header that cannot be kept exactly is not kept.
func TestSearchTextLimits(t *testing.T) {
	long := strings.Repeat("0123456789abcdef\r\n", searchTextMax/16)
	if s := searchTextOf(t, "Subject: x\r\n\r\n"+long); !s.More || s.Opaque || len(s.Body) != searchTextMax {
		t.Errorf("a long body: more %v, opaque %v, %d bytes", s.More, s.Opaque, len(s.Body))
	}
	parts := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Description: "+strings.Repeat("y", 900)+"\r\n\r\nz\r\n", 2000) + "--b--\r\n"
	if s := searchTextOf(t, parts); !s.More || len(s.Inner) > searchTextMax {
		t.Errorf("long inner headers: more %v, %d bytes", s.More, len(s.Inner))
	}
	if s := searchTextOf(t, strings.Repeat("X: "+strings.Repeat("z", 990)+"\r\n", 1<<10)+strings.Repeat("From: (c) y\r\n", 5000)+"\r\nx"); !s.Opaque {
		t.Error("a long header is kept")
	}
	if s := searchTextOf(t, "From: (x) \xff\r\n\r\nx"); s.Opaque || bytes.Count(s.Fields, []byte{searchSeparator}) != 1 {
		t.Errorf("a raw octet: %q", s.Fields)
	}
}

func FuzzSearchText(f *testing.F) {
	f.Add([]byte(crlf(mixed)))
	for _, text := range hostile() {
		if len(text) < 1<<16 {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := searchTextOf(t, string(text))
		for _, b := range [][]byte{s.Fields, s.Forms, s.Inner, s.Body} {
			if len(b) > searchTextMax && !s.Opaque {
				t.Errorf("%d bytes", len(b))
			}
		}
		if lines := append(bytes.Clone(s.Fields), s.Forms...); len(lines) > 0 && lines[len(lines)-1] != searchSeparator {
			t.Errorf("a line has no end: %q", lines)
		}
	})
}
