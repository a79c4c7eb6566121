package mime

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

// decoded decodes in pieces of every sort; all must agree.
func decoded(t *testing.T, encoding, in string) string {
	t.Helper()
	var first string
	for i, reader := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
		r, ok := Decoder(reader(strings.NewReader(in)), encoding)
		if !ok {
			t.Fatalf("%s is not known", encoding)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s %q: %v", encoding, in, err)
		}
		if i == 0 {
			first = string(b)
		} else if string(b) != first {
			t.Errorf("%s %q: %q or %q, by the pieces", encoding, in, first, b)
		}
	}
	return first
}

func TestDecoder(t *testing.T) {
	for _, c := range []struct{ encoding, in, want string }{
		{"base64", "aGVsbG8=", "hello"}, {"BASE64", "aGVs\r\nbG8=\r\n", "hello"}, {"base64", "aGVsbG8", "hello"}, {"base64", "aG!Vs*bG8=junk", "hello"}, {"base64", "", ""}, {"base64", "====", ""},
		{"quoted-printable", "a=3Db=C3=A4", "a=bä"}, {"quoted-printable", "soft=\r\nbreak\r\n", "softbreak\r\n"}, {"quoted-printable", "100% = broken =ZZ", "100% = broken =ZZ"},
		{"quoted-printable", "low=c3=a4", "lowä"}, {"7bit", "as is=", "as is="}, {"", "x", "x"}, {"binary", "\x00", "\x00"},
	} {
		if got := decoded(t, c.encoding, c.in); got != c.want {
			t.Errorf("%s %q: %q; want %q", c.encoding, c.in, got, c.want)
		}
	}
	if _, ok := Decoder(strings.NewReader(""), "x-odd"); ok {
		t.Error("x-odd is known")
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte("hello"))
	f.Add([]byte("\x00\xff=\r\n \t\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if got := decoded(t, "base64", base64.StdEncoding.EncodeToString(in)); got != string(in) {
			t.Errorf("base64 of %q comes back as %q", in, got)
		}
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		w.Binary = true
		_, _ = w.Write(in)
		_ = w.Close()
		if got := decoded(t, "quoted-printable", b.String()); got != string(in) {
			t.Errorf("quoted-printable of %q comes back as %q", in, got)
		}
		decoded(t, "base64", string(in))
		decoded(t, "quoted-printable", string(in))
		if s := DecodeHeader(string(in)); strings.ContainsAny(s, "\r\n\x00") || strings.ToValidUTF8(s, "") != s {
			t.Errorf("%q is decoded to %q", in, s)
		}
	})
}

func TestText(t *testing.T) {
	for _, c := range []struct{ charset, encoding, in, want string }{
		{"utf-8", "8bit", "grüße", "grüße"}, {"iso-8859-1", "quoted-printable", "gr=FC=DFe", "grüße"}, {"", "8bit", "gr\xfc\xdfe", "grüße"}, {"koi8-r", "8bit", "\xcd\xc9\xd2", "мир"},
		{"gb2312", "base64", "xOO6ww==", "你好"}, {"iso-2022-jp", "7bit", "\x1b$BF|K\\\x1b(B", "日本"}, {"nonsense", "7bit", "abc", "abc"}, {"utf-8", "8bit", "a\xffb", "aÿb"},
	} {
		p := &Part{Type: "text", Encoding: c.encoding, Params: []Param{{"charset", c.charset}}}
		b, err := io.ReadAll(Text(iotest.OneByteReader(strings.NewReader(c.in)), p))
		if err != nil || string(b) != c.want {
			t.Errorf("%s %q: %q %v; want %q", c.charset, c.in, b, err, c.want)
		}
	}
}

func TestDecodeHeader(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "=?utf-8?q?J=C3=B6rg?= x": "Jörg x", "=?UTF-8?B?R3LDvMOfZQ==?= =?utf-8?Q?_aus?=": "Grüße aus", "=?iso-8859-1?q?gr=FC=DFe?=": "grüße", "a =?utf-8?q?b?= c": "a b c",
		"=?utf-8?q?=C3?= =?utf-8?q?=A4?=": "ä", "=?nonsense?q?abc?=": "=?nonsense?q?abc?=", "=?utf-8?x?abc?=": "=?utf-8?x?abc?=", "=?utf-8?q?abc": "=?utf-8?q?abc", "gr\xfc\xdfe": "grüße",
		"=?utf-8*de?q?ja?=": "ja", "=?utf-8?q?a=0D=0Ab?=": "ab", "=?": "=?", "": "",
	} {
		if got := DecodeHeader(in); got != want {
			t.Errorf("%q: %q; want %q", in, got, want)
		}
	}
}

func TestFilterHeader(t *testing.T) {
	h := "From: a\r\nSubject : b\r\n c\r\nX: d\r\nFROM: e\r\ngarbage\r\n\r\nbody: no\r\n"
	for _, c := range []struct {
		names string
		not   bool
		want  string
	}{
		{"from", false, "From: a\r\nFROM: e\r\n\r\n"}, {"subject x", false, "Subject : b\r\n c\r\nX: d\r\n\r\n"}, {"none", false, "\r\n"},
		{"from garbage", true, "Subject : b\r\n c\r\nX: d\r\ngarbage\r\n\r\n"},
	} {
		if got := string(FilterHeader(nil, []byte(h), NewFieldSet(strings.Fields(c.names)...), c.not)); got != c.want {
			t.Errorf("%s %v: %q; want %q", c.names, c.not, got, c.want)
		}
	}
	if got := string(FilterHeader(nil, []byte("a: b"), NewFieldSet("a"), false)); got != "a: b\r\n\r\n" {
		t.Errorf("an unfinished header: %q", got)
	}
}
