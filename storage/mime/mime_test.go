package mime

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

func index(text string) *Index {
	x := NewIndexer(Limits{})
	x.Write([]byte(text))
	return x.Finish()
}

// crlf writes a message as it travels.
func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

const mixed = `From: "Joe Q. Public" <john.q.public@example.com>
To: Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>
Cc: A Group:Ed Jones <joe@where.test>,joe@where.test;
Subject: =?utf-8?q?caf=C3=A9?= and
 folded
Date: Tue, 1 Jul 2003 10:52:37 +0200
Message-ID: <5678.21-Nov-1997@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b1"

preamble
--b1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

one
two
--b1
Content-Type: message/rfc822

From: inner@example.net
Subject: inner

inner body
--b1
Content-Type: multipart/alternative; boundary=b2

--b2
Content-Type: text/html

<p>
--b2
Content-Type: application/pdf; name="a \"b\".pdf"
Content-Disposition: attachment; filename="x.pdf"
Content-Transfer-Encoding: base64
Content-Language: en, de
Content-ID: <id@x>

AAAA
--b2--
--b1--
epilogue
`

func TestStructure(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"mixed": {mixed, `(("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 8 1 NIL NIL NIL NIL)` +
			`("message" "rfc822" NIL NIL NIL "7bit" 53 (NIL "inner" ((NIL NIL "inner" "example.net")) ((NIL NIL "inner" "example.net")) ((NIL NIL "inner" "example.net")) NIL NIL NIL NIL NIL) ` +
			`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 0 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)` +
			`(("text" "html" NIL NIL NIL "7bit" 3 0 NIL NIL NIL NIL)` +
			`("application" "pdf" ("name" "a \"b\".pdf") "<id@x>" NIL "base64" 4 NIL ("attachment" ("filename" "x.pdf")) ("en" "de") NIL)` +
			` "alternative" ("boundary" "b2") NIL NIL NIL) "mixed" ("boundary" "b1") NIL NIL NIL)`},
		"empty":               {"", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)`},
		"no header":           {"\nbody\n", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1 NIL NIL NIL NIL)`},
		"only header":         {"Subject: x\n", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)`},
		"bad type":            {"Content-Type: text\n\nx", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0 NIL NIL NIL NIL)`},
		"no boundary":         {"Content-Type: multipart/mixed\n\nx\n", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1 NIL NIL NIL NIL) "mixed" NIL NIL NIL NIL)`},
		"boundary never":      {"Content-Type: multipart/mixed; boundary=x\n\nbody\n", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1 NIL NIL NIL NIL) "mixed" ("boundary" "x") NIL NIL NIL)`},
		"digest":              {"Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: d\n\nb\n--x--\n", `(("message" "rfc822" NIL NIL NIL "7bit" 15 (NIL "d" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL) "digest" ("boundary" "x") NIL NIL NIL)`},
		"prefix boundary":     {"Content-Type: multipart/mixed; boundary=b\n\n--bb\n\n--b\n\none\n--b--\n", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 0 NIL NIL NIL NIL) "mixed" ("boundary" "b") NIL NIL NIL)`},
		"encoded message":     {"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAAAA", `("application" "octet-stream" NIL NIL NIL "base64" 4 NIL NIL NIL NIL)`},
		"continuations":       {"Content-Type: a/b; f*1*=%20z; f*0*=utf-8''%c3%a4; g=\"x;y\"; h*=iso-8859-1'de'%e4\n\n", "(\"a\" \"b\" (\"f\" {4}\r\nä z \"g\" \"x;y\" \"h\" {2}\r\nä) NIL NIL \"7bit\" 0 NIL NIL NIL NIL)"},
		"comments":            {"Content-Type: (c) text/(d)html (e) ; charset (f) = (g) \"utf-8\" (h)\n\n", `("text" "html" ("charset" "utf-8") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)`},
		"closed by the outer": {"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--o\n\ny\n--o--", `((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0 NIL NIL NIL NIL) "mixed" ("boundary" "i") NIL NIL NIL)("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0 NIL NIL NIL NIL) "mixed" ("boundary" "o") NIL NIL NIL)`},
	} {
		t.Run(name, func(t *testing.T) {
			got := string(index(crlf(c.text)).AppendStructure(nil))
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestEnvelope(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"mixed": {mixed, `("Tue, 1 Jul 2003 10:52:37 +0200" "=?utf-8?q?caf=C3=A9?= and folded" (("Joe Q. Public" NIL "john.q.public" "example.com")) (("Joe Q. Public" NIL "john.q.public" "example.com")) (("Joe Q. Public" NIL "john.q.public" "example.com"))` +
			` (("Mary Smith" NIL "mary" "x.test")(NIL NIL "jdoe" "example.org")("Who?" NIL "one" "y.test")) ((NIL NIL "A Group" NIL)("Ed Jones" NIL "joe" "where.test")(NIL NIL "joe" "where.test")(NIL NIL NIL NIL)) NIL NIL "<5678.21-Nov-1997@example.com>")`},
		"empty":     {"\n", `(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)`},
		"present":   {"Subject:\nDate: \n\n", `("" "" NIL NIL NIL NIL NIL NIL NIL NIL)`},
		"8-bit":     {"Subject: ä\n\n", "(NIL {2}\r\nä NIL NIL NIL NIL NIL NIL NIL NIL)"},
		"comments":  {"From: Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>\nTo: <user (comment)@ (comment) domain.org>\nCc: a@ (c) b (Name)\n\n", `(NIL NIL (("Pete" NIL "pete" "silly.test")) (("Pete" NIL "pete" "silly.test")) (("Pete" NIL "pete" "silly.test")) ((NIL NIL "user" "domain.org")) (("Name" NIL "a" "b")) NIL NIL NIL)`},
		"broken":    {"From: root\nTo: <a@b>, \"un balanced <c@d>\nCc: x@y (Name)\n\n", `(NIL NIL ((NIL NIL "root" "MISSING_DOMAIN")) ((NIL NIL "root" "MISSING_DOMAIN")) ((NIL NIL "root" "MISSING_DOMAIN")) ((NIL NIL "a" "b")(NIL NIL "un balanced <c@d>" "MISSING_DOMAIN")) (("Name" NIL "x" "y")) NIL NIL NIL)`},
		"obsolete":  {"To: <@r1,@r2:a@b>, \"quo\\\"ted\" <\"lo cal\"@d . e>\n\n", `(NIL NIL NIL NIL NIL ((NIL "@r1,@r2" "a" "b")("quo\"ted" NIL "lo cal" "d.e")) NIL NIL NIL NIL)`},
		"no local":  {"To: \"\"@e, @\n\n", `(NIL NIL NIL NIL NIL ((NIL NIL "" "e")(NIL NIL "" "MISSING_DOMAIN")) NIL NIL NIL NIL)`},
		"no people": {"To: undisclosed-recipients:;\n\n", `(NIL NIL NIL NIL NIL ((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL)`},
	} {
		t.Run(name, func(t *testing.T) {
			got := string(index(crlf(c.text)).AppendEnvelope(nil))
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestFind(t *testing.T) {
	text := crlf(mixed)
	x := index(text)
	for _, c := range []struct {
		path []int
		body string
		ok   bool
	}{
		{[]int{1}, "one\r\ntwo", true},
		{[]int{2}, "From: inner@example.net\r\nSubject: inner\r\n\r\ninner body", true},
		{[]int{2, 1}, "inner body", true},
		{[]int{3, 1}, "<p>", true},
		{[]int{3, 2}, "AAAA", true},
		{[]int{3, 3}, "", false},
		{[]int{1, 1}, "", false},
		{[]int{4}, "", false},
		{[]int{0}, "", false},
		{nil, "", false},
	} {
		p, ok := x.Find(c.path)
		if ok != c.ok {
			t.Errorf("%v: found %v", c.path, ok)
		} else if ok && text[p.BodyOffset:p.End] != c.body {
			t.Errorf("%v: %q", c.path, text[p.BodyOffset:p.End])
		}
	}
	for _, path := range [][]int{{1, 1}, {1, 1, 1}, {2}} {
		if p, ok := index("Subject: x\r\n\r\nbody").Find(path); ok {
			t.Errorf("a plain message has a part %v: %v", path, p)
		}
	}
	forwarded := "Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nbody"
	if p, ok := index(forwarded).Find([]int{1, 1, 1}); !ok || forwarded[p.BodyOffset:] != "body" {
		t.Errorf("part 1.1.1 of a forwarded message: %v %v", p, ok)
	}
	if p, ok := index(forwarded).Find([]int{1, 1, 1, 1}); ok {
		t.Errorf("part 1.1.1.1 of a forwarded message: %v", p)
	}
	if p, ok := index("Subject: x\r\n\r\nbody").Find([]int{1}); !ok || p.BodyOffset != 14 {
		t.Errorf("part 1 of a plain message: %v %v", p, ok)
	}
}

// check fails when the index contradicts itself or its compact form.
func check(t testing.TB, x *Index, size int64) {
	t.Helper()
	if x.Size != size {
		t.Fatalf("size %d, want %d", x.Size, size)
	}
	var walk func(p *Part, start, end int64)
	walk = func(p *Part, start, end int64) {
		if p.HeaderOffset < start || p.BodyOffset < p.HeaderOffset || p.End < p.BodyOffset || p.End > end || p.Lines < 0 {
			t.Fatalf("part %d..%d..%d is not inside %d..%d", p.HeaderOffset, p.BodyOffset, p.End, start, end)
		}
		if p.Type == "multipart" && len(p.Parts) == 0 || p.Type == "" || p.Subtype == "" || p.Encoding == "" {
			t.Fatalf("part is %q/%q %q with %d parts", p.Type, p.Subtype, p.Encoding, len(p.Parts))
		}
		at := p.BodyOffset
		for i := range p.Parts {
			walk(&p.Parts[i], at, p.End)
			at = p.Parts[i].End
		}
	}
	walk(&x.Root, 0, size)
	b, err := x.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var y Index
	if err := y.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	b2, _ := y.AppendBinary(nil)
	if !bytes.Equal(b, b2) {
		t.Fatal("the compact form is not stable")
	}
	shortened, err := AppendBody(nil, x.AppendStructure(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, rendered := range [][]byte{x.AppendEnvelope(nil), x.AppendStructure(nil), shortened} {
		if err := wellFormed(rendered); err != nil {
			t.Fatalf("%v: %q", err, rendered)
		}
	}
}

// wellFormed reads what was rendered as IMAP's grammar of parenthesised lists.
func wellFormed(b []byte) error {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth < 0 || depth == 0 && i != len(b)-1 {
				return fmt.Errorf("unbalanced at %d", i)
			}
		case c == '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
				if i >= len(b) || b[i] == '\r' || b[i] == '\n' || b[i] == 0 || b[i] >= 0x80 {
					return fmt.Errorf("bad quoted string at %d", i)
				}
			}
		case c == '{':
			var n int
			if _, err := fmt.Sscanf(string(b[i:min(len(b), i+20)]), "{%d}\r\n", &n); err != nil {
				return err
			}
			i = i + bytes.IndexByte(b[i:], '\n') + n
			if i >= len(b) {
				return fmt.Errorf("literal beyond the end")
			}
		case c != ' ' && (c < '0' || c > '9') && (c < 'A' || c > 'Z'):
			return fmt.Errorf("stray %q at %d", c, i)
		}
	}
	if depth != 0 {
		return fmt.Errorf("%d lists are open", depth)
	}
	return nil
}

func TestAnySplitGivesTheSame(t *testing.T) {
	texts := []string{crlf(mixed), mixed, strings.ReplaceAll(crlf(mixed), "--b1", "--b1  ")}
	for range 40 {
		texts = append(texts, scramble(crlf(mixed)))
	}
	for _, text := range texts {
		want := index(text)
		check(t, want, int64(len(text)))
		for range 20 {
			x := NewIndexer(Limits{})
			for rest := text; rest != ""; {
				n := min(len(rest), 1+rand.IntN(1+rand.IntN(30)))
				x.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if got := x.Finish(); !reflect.DeepEqual(got, want) {
				t.Fatalf("another split gives another index of\n%q", text)
			}
		}
	}
}

// scramble moves lines of a message about.
func scramble(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for range 5 {
		i, j := rand.IntN(len(lines)), rand.IntN(len(lines))
		lines[i], lines[j] = lines[j], lines[i]
	}
	return strings.Join(lines, "")
}

// hostile messages: each must be indexed without error, and (see the benchmark) in milliseconds.
func hostile() map[string]string {
	nested := func(n int, line string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, line, i)
		}
		return b.String()
	}
	var parts strings.Builder
	parts.WriteString("Content-Type: multipart/mixed; boundary=x\r\n\r\n")
	for range 100_000 {
		parts.WriteString("--x\r\n\r\nab\r\n")
	}
	return map[string]string{
		"4,000 multiparts":      nested(4000, "Content-Type: multipart/mixed; boundary=b%[1]d\r\n\r\n--b%[1]d\r\n"),
		"4,000 messages":        nested(4000, "Content-Type: message/rfc822\r\nX: %d\r\n\r\n"),
		"same boundary":         nested(4000, "Content-Type: multipart/mixed; boundary=b\r\nX: %d\r\n\r\n--b\r\n"),
		"100,000 parts":         parts.String(),
		"10 MB header line":     "Subject: " + strings.Repeat("x", 10<<20) + "\r\n\r\nbody",
		"100,000 fields":        strings.Repeat("To: a@b\r\n", 100_000) + "\r\n",
		"100,000 parameters":    "Content-Type: a/b" + strings.Repeat("; a=b", 50_000) + "\r\n\r\n",
		"100,000 continuations": "Content-Type: a/b" + nested(20_000, "; a*%d=b") + "\r\n\r\n",
		"angle brackets":        "To: " + strings.Repeat("<", 200_000) + "\r\n\r\n",
		"backslashes":           "To: " + strings.Repeat("<\\", 100_000) + "\r\n\r\n",
		"parentheses":           "To: " + strings.Repeat("(", 200_000) + "\r\nContent-Type: " + strings.Repeat("(", 200_000) + "\r\n\r\n",
		"quotes":                "To: " + strings.Repeat("\"", 200_001) + "\r\n\r\n",
		"commas":                "To: " + strings.Repeat(",", 200_000) + "\r\n\r\n",
		"groups":                "To: " + strings.Repeat("a:;", 60_000) + "\r\n\r\n",
		"routes":                "To: " + strings.Repeat("<@", 100_000) + "\r\n\r\n",
		"hyphen lines":          "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--\r\n", 250_000),
		"1 MB hyphens":          "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("-", 1<<20),
	}
}

func TestHostile(t *testing.T) {
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) { check(t, index(text), int64(len(text))) })
	}
}

func TestParseDate(t *testing.T) {
	want := time.Date(2003, 7, 1, 10, 52, 37, 0, time.FixedZone("", 7200))
	for _, s := range []string{"Tue, 1 Jul 2003 10:52:37 +0200", "1 Jul 2003 10:52:37 +0200", "Tue,  01 Jul 2003 10:52:37 +0200 (CEST)", "Tuesday, 1 Jul 03 10:52:37 +0200", "(x) Tue, 1 Jul 2003 (y) 10:52:37 +0200", "1 July 2003 10:52:37 +0200"} {
		if got, ok := ParseDate(s); !ok || !got.Equal(want) {
			t.Errorf("%q is %v %v", s, got, ok)
		}
	}
	if got, ok := ParseDate("Tue, 1 Jul 2003 08:52:37 GMT"); !ok || !got.Equal(want) {
		t.Errorf("GMT: %v %v", got, ok)
	}
	if got, ok := ParseDate("1 Jul 2003 08:52:60 Z"); !ok || got.Second() != 59 {
		t.Errorf("a leap second: %v %v", got, ok)
	}
	for _, s := range []string{"1 Jul 2003 25:00:61 +0000", "Tue, 1 Jul 2003 10:52:37 +9999", "1 Jul 2003 noon"} {
		if got, ok := SentDate(s); !ok || got.Day() != 1 {
			t.Errorf("the day of %q is %v %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "yesterday", "32 Jul 2003 10:52:37 +0200", strings.Repeat("(", 300)} {
		if got, ok := ParseDate(s); ok {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func FuzzIndexer(f *testing.F) {
	f.Add([]byte(crlf(mixed)), 7)
	f.Add([]byte(mixed), 1)
	for _, text := range hostile() {
		if len(text) < 1<<16 {
			f.Add([]byte(text), 1000)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		want := index(string(text))
		check(t, want, int64(len(text)))
		x := NewIndexer(Limits{})
		for rest := text; len(rest) > 0; {
			k := min(len(rest), max(1, n%64))
			x.Write(rest[:k])
			rest = rest[k:]
		}
		if got := x.Finish(); !reflect.DeepEqual(got, want) {
			t.Fatal("another split gives another index")
		}
	})
}

func FuzzUnmarshalBinary(f *testing.F) {
	b, _ := index(crlf(mixed)).AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var x Index
		if x.UnmarshalBinary(b) == nil {
			x.AppendStructure(nil)
			x.Find([]int{1, 1})
		}
	})
}

func BenchmarkIndexer(b *testing.B) {
	attachment := "Content-Type: multipart/mixed; boundary=\"----=_Part_1\"\r\n\r\n------=_Part_1\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		strings.Repeat(strings.Repeat("A", 76)+"\r\n", 25<<20/78) + "------=_Part_1--\r\n"
	texts := hostile()
	texts["4 KiB"] = crlf(mixed) + strings.Repeat("text of a line that is of a usual length, more or less\r\n", 60)
	texts["25 MiB attachment"] = attachment
	for name, text := range texts {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				x := NewIndexer(Limits{})
				for rest := []byte(text); len(rest) > 0; {
					n := min(len(rest), 64<<10)
					x.Write(rest[:n])
					rest = rest[n:]
				}
				idx := x.Finish()
				idx.AppendEnvelope(nil)
				idx.AppendStructure(nil)
			}
		})
	}
}
