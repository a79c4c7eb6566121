package smtp

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadHeader(t *testing.T) {
	for _, test := range []struct{ in, names, rest string }{
		{"A: 1\r\nB : 2\r\n\tmore\r\n\r\nbody\r\n", "a b", "\r\nbody\r\n"},
		{"\r\nbody", "", "\r\nbody"},
		{"", "", "\r\n"},
		{"A: 1\r\n", "a", "\r\n"},
		{"A: 1", "a", "\r\n"},
		{"A: 1\r\nno field\r\n\r\nbody", "a", "\r\nno field\r\n\r\nbody"},
		{" folded: first\r\nA: 1\r\n\r\n", "", "\r\n folded: first\r\nA: 1\r\n\r\n"},
		{": x\r\n\r\n", "", "\r\n: x\r\n\r\n"},
		{"From me\r\nA: 1\r\n\r\nx", "", "\r\nFrom me\r\nA: 1\r\n\r\nx"},
	} {
		for _, r := range []io.Reader{strings.NewReader(test.in), iotest.OneByteReader(strings.NewReader(test.in)), iotest.DataErrReader(strings.NewReader(test.in))} {
			h, err := readHeader(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range h.fields {
				names = append(names, f.name)
			}
			rest, _ := io.ReadAll(r)
			if got := strings.Join(names, " "); got != test.names || string(h.rest)+string(rest) != test.rest {
				t.Errorf("%q: %q, rest %q", test.in, got, string(h.rest)+string(rest))
			}
		}
	}
	long := strings.Repeat("text without a header\r\n", 100_000)
	if h, err := readHeader(strings.NewReader(long), nil); err != nil || len(h.fields) != 0 || h.ended {
		t.Error(err)
	}
	if _, err := readHeader(strings.NewReader(strings.Repeat("X-Field: "+strings.Repeat("text ", 20)+"\r\n", 20_000)), nil); err != errHeader {
		t.Error(err)
	}
	for n, want := range map[int]error{maxFields: nil, maxFields + 1: errFields} {
		if _, err := readHeader(strings.NewReader(strings.Repeat("a:\r\n", n)+"\r\nbody"), nil); err != want {
			t.Errorf("%d fields: %v", n, err)
		}
	}
	if _, err := readHeader(strings.NewReader("X: "+strings.Repeat("x", 2<<20)), nil); err != errHeader {
		t.Error(err)
	}
}

func TestAuthors(t *testing.T) {
	for in, want := range map[string][]string{
		"a@b":                                    {"a@b"},
		"Ann <a@b>, \"x, y\" <c@d>":              {"a@b", "c@d"},
		"=?utf-8?q?J=C3=BCrgen?= <j@m.example>":  {"j@m.example"},
		`"a b"@c`:                                {`"a b"@c`},
		`"a@b"@c`:                                {`"a@b"@c`},
		"jürgen@müller.example":                  {"jürgen@müller.example"},
		"friends: a@b, c@d;":                     {"a@b", "c@d"},
		"a@b (comment)":                          {"a@b"},
		"\"ann@example.test\" <mallory@b>":       {"mallory@b"},
		"=?utf-8?q?ann=40example.test?= <m@b.c>": {"m@b.c"},
		"=?koi8-r?B?8NXQy8nO?= <a@b>":            {"a@b"}, // charsets are the reader's business
		"J\xfcrgen <a@b>":                        {"a@b"},
		"(x@y) a@b (z)":                          {"a@b"},
		"Ann (Example) Smith <a@b>":              {"a@b"},
		"a . b @ c . d":                          {"a.b@c.d"},
		"<@x,@y:a@b>":                            {"a@b"},
		"Ann B. <a@b>,, <c@d>,":                  {"a@b", "c@d"},
		"friends:;, a@b":                         {"a@b"},
		`"a\"@b" <c@[192.0.2.1]>`:                {"c@[192.0.2.1]"},
	} {
		if got, err := authors(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "nobody", "friends:;", "<>", "a@b c@d", "a@b <c@d>", "<a@b> c", "a b@c", "a@b@c", "a@b (c", `"a`, "x: y: a@b;;", "x: a@b",
		"a@", "@b", "<a@b", `a."b"@c`, `""@b`, "a@b;", "a@b c", "[a]@b", "\\a@b", "<@x a@b>", "a\x00 <b@c"} {
		if got, err := authors(in); err == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// A header comes out as it went in, but for what was taken out.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"A: 1\r\nReturn-Path: <x>\r\n y\r\nFrom: a@b\r\n\r\nbody", "\r\n", "x", "From: \"a\" <b@c>, d@e\r\n\r\n", "From: x:;\r\n", "A:\r\n \r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		in, err := slowly(&message{src: &pieces{text: append(in, ".\r\n"...), n: 1 << 20}, dots: true, limit: 1 << 20}, 4096)
		if err != nil {
			return // lines end with CRLF by the time they get here
		}
		h, err := readHeader(bytes.NewReader(in), nil)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := h.writeWithout(&b, "return-path"); err != nil {
			t.Fatal(err)
		}
		out := append(b.Bytes(), h.rest...)
		again, err := readHeader(bytes.NewReader(out), nil)
		if err != nil || again.count("return-path") != 0 || again.count("from") != h.count("from") || again.count("received") != h.count("received") {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		if h.count("return-path") == 0 && len(h.fields) > 0 && !bytes.HasPrefix(bytes.ReplaceAll(out, crlf, nil), bytes.ReplaceAll(in, crlf, nil)) {
			t.Fatalf("%q became %q", in, out)
		}
		list, err := authors(h.first("from"))
		for _, a := range list {
			if err == nil && (!strings.Contains(a, "@") || strings.HasPrefix(a, "@")) {
				t.Fatalf("author %q of %q", a, h.first("from"))
			}
		}
	})
}
