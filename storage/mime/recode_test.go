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
