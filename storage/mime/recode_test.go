package mime

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func indexOf(text string) *Index {
	x := NewIndexer(Limits{})
	_, _ = x.Write([]byte(text))
	return x.Finish()
}

func recoded(text string) (string, error) {
	var out bytes.Buffer
	err := indexOf(text).Recode(&out, strings.NewReader(text))
	return out.String(), err
}

func TestRecode(t *testing.T) {
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	for _, c := range []struct{ name, in, want string }{
		{"nothing to do", crlf("A: b\n\nx\n"), crlf("A: b\n\nx\n")},
		{"a message without MIME", "A: b\r\n\r\nx\x00y", crlf("A: b\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\neAB5\n")},
		{"binary", "Mime-Version: 1.0\r\ncontent-transfer-encoding:\r\n binary\r\nContent-Type: a/b\r\n\r\n\x00", crlf("Mime-Version: 1.0\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n\nAA==\n")},
		{
			"one part of several", crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: binary\n\nplain\n--b\n\n\x00\n\n--b--\n"),
			crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: binary\n\nplain\n--b\nContent-Transfer-Encoding: base64\n\nAA0K\n--b--\n"),
		},
		{
			"in a message in a message", crlf("Content-Type: message/rfc822\n\nA: b\nMIME-Version: 1.0\n\n\x00"),
			crlf("Content-Type: message/rfc822\n\nA: b\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nAA==\n"),
		},
		{"long lines", "A: b\r\nMIME-Version: 1\r\n\r\n" + strings.Repeat("\x00", 60), "A: b\r\nMIME-Version: 1\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("A", 76) + "\r\nAAAA\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := recoded(c.in)
			if err != nil || got != c.want {
				t.Fatalf("%v\n%q\n%q", err, got, c.want)
			}
		})
	}
	for name, in := range map[string]string{
		"header":           "A: \x00\r\n\r\nx",
		"preamble":         "Content-Type: multipart/mixed; boundary=b\r\n\r\n\x00\r\n--b\r\n\r\nx\r\n--b--\r\n",
		"epilogue":         "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n\x00",
		"base64":           "Content-Transfer-Encoding: base64\r\n\r\n\x00",
		"quoted-printable": "Content-Transfer-Encoding: quoted-printable\r\n\r\n\x00",
		"no boundary":      "Content-Type: multipart/mixed\r\n\r\n\x00",
		"report":           "Content-Type: message/delivery-status\r\n\r\n\x00",
		"part's header":    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nA: \x00\r\n\r\n\x00\r\n--b--\r\n",
	} {
		if got, err := recoded(in); !errors.Is(err, ErrNUL) {
			t.Errorf("%s: %v %q", name, err, got)
		}
	}
}

// leaves are the decoded bodies of a message.
func leaves(t testing.TB, p *Part, text string, all []string) []string {
	for i := range p.Parts {
		all = leaves(t, &p.Parts[i], text, all)
	}
	if len(p.Parts) > 0 {
		return all
	}
	body := text[p.BodyOffset:p.End]
	r, ok := Decoder(strings.NewReader(body), p.Encoding)
	if !ok {
		return append(all, body)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, string(b))
}

// FuzzRecode: what comes out has no NUL, and the same parts with the same content.
func FuzzRecode(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\x01\r\n--b\r\n\r\nx\x00\r\n--b--\r\n")
	f.Add("Content-Type: message/rfc822\n\nA: b\n\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := recoded(text)
		if err != nil {
			if !errors.Is(err, ErrNUL) || !strings.Contains(text, "\x00") {
				t.Fatal(err)
			}
			return
		}
		if strings.Contains(got, "\x00") {
			t.Fatalf("%q", got)
		}
		was, now := leaves(t, &indexOf(text).Root, text, nil), leaves(t, &indexOf(got).Root, got, nil)
		if len(was) != len(now) {
			t.Fatalf("%q\n%q", was, now)
		}
		for i := range was {
			if was[i] != now[i] {
				t.Fatalf("%d: %q\n%q\n%q\n%q", i, was[i], now[i], text, got)
			}
		}
	})
}

func TestRecodeBinary(t *testing.T) {
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	long := strings.Repeat("x", 999)
	for _, c := range []struct{ name, in, want string }{
		{"nothing to do", crlf("A: b\n\nx\n"), crlf("A: b\n\nx\n")},
		{"text", crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: BINARY\n\nü\n"), crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\nü\n")},
		{"nothing", crlf("Content-Transfer-Encoding: binary\n\n"), crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\n")},
		{"a NUL", "Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00", crlf("Content-Type: a/b\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nAA==\n")},
		{"a bare LF", "Content-Transfer-Encoding: binary\r\n\r\n\n", crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nCg==\n")},
		{"a bare CR at the end", "Content-Transfer-Encoding: binary\r\n\r\n\r", crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nDQ==\n")},
		{"two CRs", "Content-Transfer-Encoding: binary\r\n\r\n\r\r\n", crlf("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nDQ0K\n")},
		{"a long line", "A: b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n" + long[:3], "A: b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\nxxx"},
		{
			"parts of several", crlf("Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: binary\n\n--b\nContent-Transfer-Encoding: binary\n\nplain\n--b\nContent-Transfer-Encoding: binary\n\n\x00\n\n--b--\n"),
			crlf("Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\n--b\nContent-Transfer-Encoding: 8bit\n\nplain\n--b\nContent-Transfer-Encoding: base64\n\nAA0K\n--b--\n"),
		},
		{
			"in a message in a message", crlf("Content-Type: message/rfc822\nContent-Transfer-Encoding: binary\n\nA: b\nContent-Transfer-Encoding: binary\nMIME-Version: 1.0\n\n\x00"),
			crlf("Content-Type: message/rfc822\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\nA: b\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nAA==\n"),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			err := indexOf(c.in).RecodeBinary(&out, strings.NewReader(c.in))
			if err != nil || out.String() != c.want {
				t.Fatalf("%v\n%q\n%q", err, out.String(), c.want)
			}
		})
	}
	var out bytes.Buffer
	in := "MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n" + long
	if err := indexOf(in).RecodeBinary(&out, strings.NewReader(in)); err != nil || !strings.Contains(out.String(), "base64") {
		t.Errorf("%v\n%q", err, out.String())
	}
	for name, in := range map[string]string{
		"header":      "A: \x00\r\nContent-Transfer-Encoding: binary\r\n\r\nx",
		"no boundary": "Content-Type: multipart/mixed\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00",
	} {
		if err := indexOf(in).RecodeBinary(io.Discard, strings.NewReader(in)); !errors.Is(err, ErrNUL) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What RecodeBinary made has no binary part, and again stays as it is.
func FuzzRecodeBinary(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\r\n--b\r\n\r\nx\r\n--b--\r\n"))
	f.Add([]byte("Content-Transfer-Encoding: binary\r\n\r\n\r\r\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var once, twice bytes.Buffer
		if indexOf(string(in)).RecodeBinary(&once, bytes.NewReader(in)) != nil {
			return
		}
		if bytes.IndexByte(once.Bytes(), 0) >= 0 {
			t.Fatalf("%q became %q", in, once.String())
		}
		if err := indexOf(once.String()).RecodeBinary(&twice, bytes.NewReader(once.Bytes())); err != nil || twice.String() != once.String() {
			t.Fatalf("%q became %q and then %q (%v)", in, once.String(), twice.String(), err)
		}
	})
}
