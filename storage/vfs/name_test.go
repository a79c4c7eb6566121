package vfs

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const noon = 1794312000 // 2026-11-10 12:00 UTC

func TestMessageName(t *testing.T) {
	const at = "2026-11-10 1200 "
	tests := []struct {
		subject, want string
		uid           uint32
	}{
		{"Hello", "Hello (7).eml", 7},
		{"", "no subject (1).eml", 1},
		{"  \t ", "no subject (1).eml", 1},
		{"\x00\x1f", "no subject (1).eml", 1},
		{"Re: a/b\\c", "Re- a-b-c (4294967295).eml", 4294967295},
		{`<b> "quoted" what? * | now:`, "-b- -quoted- what- - - now- (3).eml", 3},
		{"two\r\n  lines\tand  spaces ", "two lines and spaces (1).eml", 1},
		{"../../etc/passwd", "..-..-etc-passwd (1).eml", 1},
		{"CON", "CON (1).eml", 1},
		{"ends...", "ends... (1).eml", 1},
		{"trick (9).eml", "trick (9).eml (1).eml", 1},
		{"abc\u202egpj.exe", "abcgpj.exe (1).eml", 1},                         // bidi override
		{"a\u200bb\ufeffc\u2066d\u2069", "abcd (1).eml", 1},                   // zero width, isolates
		{"a\u2028b\u0085c\u00a0d\u3000e", "a b c d e (1).eml", 1},             // what else is a space or a line
		{"cafe\u0301", "caf\u00e9 (1).eml", 1},                                // NFC
		{"=?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?utf-8?B?4pyT?=", "Grüße✓ (1).eml", 1}, // RFC 2047
		{"=?iso-8859-1?Q?Gr=FC=DFe?=", "Grüße (1).eml", 1},
		{"=?koi8-r?B?8NLJ18XU?=", "Привет (1).eml", 1},
		{"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本 (1).eml", 1},
		{"=?nosuch?Q?abc?=", "=-nosuch-Q-abc-= (1).eml", 1},
		{"=?utf-8?Q?a=00=0D=0Ab?=", "a b (1).eml", 1}, // hidden in the encoding
		{"=?utf-8?Q?=2F=2E=2E=2F?=", "-..- (1).eml", 1},
		{"Gr\xfc\xdfe", "Grüße (1).eml", 1}, // unencoded ISO 8859-1
		{"Gr\u00fc\u00dfe", "Grüße (1).eml", 1},
		{"\ue000\ufffe\U000f0000x", "x (1).eml", 1}, // private use, no characters
		{"👍🏽 ok", "👍🏽 ok (1).eml", 1},
		{strings.Repeat("x", 500), strings.Repeat("x", 200-len(at)-len(" (12).eml")) + " (12).eml", 12},
		{strings.Repeat("é", 500), strings.Repeat("é", (200-len(at)-len(" (1).eml"))/2) + " (1).eml", 1},
		{strings.Repeat("a ", 500), strings.Repeat("a ", 88)[:175] + " (1).eml", 1},
	}
	for _, tt := range tests {
		got := messageName(noon, tt.subject, tt.uid)
		if got != at+tt.want {
			t.Errorf("%.50q: %q, want %q", tt.subject, got, at+tt.want)
		}
		checkMessageName(t, got, tt.uid)
	}
	for sec, want := range map[int64]string{
		0: "1970-01-01 0000", -5: "1970-01-01 0000", 59: "1970-01-01 0000", 60: "1970-01-01 0001", 951782399: "2000-02-28 2359",
		lastDate: "9999-12-31 2359", 1 << 62: "9999-12-31 2359", -1 << 62: "1970-01-01 0000",
	} {
		if got := messageName(sec, "x", 1); got != want+" x (1).eml" {
			t.Errorf("%d: %q, want %q", sec, got, want)
		}
	}
}

// checkMessageName tells what holds of every message's name.
func checkMessageName(t *testing.T, name string, uid uint32) {
	t.Helper()
	if len(name) > maxMessageName || !utf8.ValidString(name) || !norm.NFC.IsNormalString(name) {
		t.Errorf("%q: %d bytes, or no NFC", name, len(name))
	}
	for _, r := range name {
		if strings.ContainsRune(`/\:*?"<>|`, r) || !unicode.IsGraphic(r) || unicode.IsSpace(r) && r != ' ' {
			t.Errorf("%q holds %q", name, r)
		}
	}
	if got, ok := messageUID(name); !ok || got != uid {
		t.Errorf("%q: UID %d, %v; want %d", name, got, ok, uid)
	}
	if clean, err := Clean("/Mail/INBOX", name); err != nil || clean != "/Mail/INBOX/"+name {
		t.Errorf("%q as a path: %q, %v", name, clean, err)
	}
}

func FuzzMessageName(f *testing.F) {
	for _, s := range []string{"", "Hello", "=?utf-8?Q?a=00b?=", "=?iso-2022-jp?B?GyRC?=", "\xff\xfe", "\u202e", "=?utf-7?Q?+AC8-?=", strings.Repeat("é", 300), "=?gb18030?B?gTCBMA==?="} {
		f.Add(int64(noon), s, uint32(7))
	}
	f.Add(int64(0), "A\u0308\u200b\u0301 A\u00a0\u0301", uint32(1)) // NFC after something was left out
	f.Fuzz(func(t *testing.T, date int64, subject string, uid uint32) {
		uid = max(uid, 1)
		name := messageName(date, subject, uid)
		checkMessageName(t, name, uid)
		if again := messageName(date, subject, uid); again != name {
			t.Fatalf("%q, then %q", name, again)
		}
	})
}

func TestMessageUID(t *testing.T) {
	for name, want := range map[string]uint32{
		"(1).eml": 1, "x (42).eml": 42, "x(4294967295).eml": 4294967295, "((3).eml": 3,
		"x": 0, "x.eml": 0, "x ().eml": 0, "x (0).eml": 0, "x (01).eml": 0, "x (+1).eml": 0, "x (-1).eml": 0, "x (4294967296).eml": 0,
		"x (1).EML": 0, "x (1).eml ": 0, "x (1) .eml": 0, "x 1).eml": 0, "": 0, ").eml": 0, "(1_0).eml": 0, "(٣).eml": 0,
	} {
		got, ok := messageUID(name)
		if ok != (want > 0) || ok && got != want {
			t.Errorf("%q: %d, %v; want %d", name, got, ok, want)
		}
	}
}

func TestEnvelopeSubject(t *testing.T) {
	for env, want := range map[string]string{
		`("Mon, 7 Feb" "Hello" NIL NIL)`:         "Hello",
		`(NIL "Hello" NIL`:                       "Hello",
		`("d" NIL ((`:                            "",
		`("d" "a \"b\" \\c" NIL`:                 `a "b" \c`,
		"(\"d\" {5}\r\nGr\xfc\xdfe NIL":          "Gr\xfc\xdfe",
		"({3}\r\nabc \"x\")":                     "x",
		"(\"a\\\"b\" {0}\r\n NIL":                "",
		"":                                       "",
		"(":                                      "",
		`("d`:                                    "",
		`("d"`:                                   "",
		`("d" "open`:                             "",
		`("d" "open\`:                            "",
		"(\"d\" {99}\r\nshort":                   "",
		"(\"d\" {x}\r\nshort":                    "",
		"(\"d\" {-1}\r\nshort":                   "",
		"(\"d\" {99999999999999999999}\r\nshort": "",
		"(\"d\" {3":                              "",
		"(\"d\" {3}":                             "",
		fmt.Sprintf("(NIL {2147483647}\r\n%s", ""): "",
	} {
		if got := envelopeSubject([]byte(env)); got != want {
			t.Errorf("%q: %q, want %q", env, got, want)
		}
	}
}

func FuzzEnvelopeSubject(f *testing.F) {
	f.Add([]byte(`("d" "a \"b\" \\c" NIL`))
	f.Add([]byte("(\"d\" {5}\r\nabcde NIL"))
	f.Fuzz(func(t *testing.T, env []byte) {
		if got := envelopeSubject(env); len(got) > len(env) {
			t.Fatalf("%d bytes of %d", len(got), len(env))
		}
	})
}

func BenchmarkMessageName(b *testing.B) {
	for name, s := range map[string]string{"ascii": "Re: [packetboat] the meeting of next Tuesday is moved", "encoded": "=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=", "utf8": "Grüße aus Köln, wie abgemacht"} {
		env := []byte(`("Mon, 7 Feb 1994 21:52:25 -0800" "` + s + `" ((`)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				messageName(noon, envelopeSubject(env), 12345)
			}
		})
	}
}
