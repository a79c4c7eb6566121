package mime

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func previewOf(message string) string {
	x := NewIndexer(Limits{})
	x.Write([]byte(message))
	return string(AppendPreview(nil, strings.NewReader(message), x.Finish()))
}

func TestPreview(t *testing.T) {
	const htmlPart = "Content-Type: text/html; charset=utf-8\r\n\r\n"
	for _, c := range []struct{ name, in, want string }{
		{"plain", "Subject: x\r\n\r\nHello,\r\n\r\n  this  is\ta text.\r\n", "Hello, this is a text."},
		{"empty", "Subject: x\r\n\r\n", ""},
		{"no body", "Subject: x\r\n", ""},
		{"quoted", "\r\n> what you said\r\nI agree.\r\n-- \r\nJoe\r\n", "I agree."},
		{"all quoted", "\r\n> what you said\r\n>> and before\r\n", "what you said and before"},
		{"base64", "Content-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nR3L832U=\r\n", "Grüße"},
		{"qp", "Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr=C3=BC=C3=9Fe =\r\naus Rom\r\n", "Grüße aus Rom"},
		{"latin1 not said", "\r\nGr\xfc\xdfe\r\n", "Grüße"},
		{"invisible", "\r\na\u00ad\u200b\ufeffb\u202ec\u0007d\r\n", "abcd"},
		{"joined", "\r\n\U0001F468\u200D\U0001F469\r\n", "\U0001F468\u200D\U0001F469"},
		{"html", htmlPart + "<!DOCTYPE html><html><head><title>T</title><style>p > a { color: red }</style></head><body><!-- no --><p>Hello <b>wor</b>ld &amp; all</p><script>if (a < b) alert('x')</script><td>one</td><td>two<br>three", "Hello world & all one two three"},
		{"html head not closed", htmlPart + "<head><meta x><body bgcolor=\"a>b\">Hello", "Hello"},
		{"html blockquote", htmlPart + "<blockquote>old <blockquote>older</blockquote></blockquote>new", "new"},
		{"html only quoted", htmlPart + "<blockquote>old</blockquote>", "old"},
		{"html less than", htmlPart + "1 < 2 &lt; 3 <3 <", "1 < 2 < 3 <3 <"},
		{"html unclosed comment", htmlPart + "Hello<!-- x", "Hello"},
		{"html unclosed tag", htmlPart + "Hello<a href=\"x", "Hello"},
		{"html stray quote", htmlPart + "<a title= \"x>Hello", "Hello"},
		{"html self closed", htmlPart + "<svg/>Hello<script/>x</script>", "Hello"},
		{"html nbsp", htmlPart + "a&nbsp;&zwnj;&#8203; b", "a \u200c b"},
		{"image", "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n", ""},
		{"encrypted", "Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\nVersion: 1\r\n--b\r\n\r\nxx\r\n--b--\r\n", ""},
		{"pgp", "\r\nsee:\r\n-----BEGIN PGP MESSAGE-----\r\nhQEMA\r\n", "see:"},
		{"pgp signed", "\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nHello\r\n", "Hello"},
		{"alternative", "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n" + htmlPart + "<p>rich</p>\r\n--b\r\n\r\nplain\r\n--b--\r\n", "plain"},
		{"alternative, plain is empty", "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n \r\n--b\r\n" + htmlPart + "<p>rich</p>\r\n--b--\r\n", "rich"},
		{"attachment first", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment\r\n\r\nfile\r\n--b\r\n\r\ntext\r\n--b--\r\n", "text"},
		{"forwarded", "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n", "inner text"},
	} {
		if got := previewOf(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		// the same of the index that is kept
		x := NewIndexer(Limits{})
		x.Write([]byte(c.in))
		kept, err := x.Finish().AppendBinary(nil)
		var y Index
		if err == nil {
			err = y.UnmarshalBinary(kept)
		}
		if err != nil {
			t.Fatal(c.name, err)
		}
		y.ReadDispositions(strings.NewReader(c.in))
		if got := string(AppendPreview(nil, strings.NewReader(c.in), &y)); got != c.want {
			t.Errorf("%s, kept index: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPreviewIsBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("word ", 1000), strings.Repeat("ü", 1000), strings.Repeat("a ", 5000)} {
		for _, head := range []string{"Content-Type: text/plain\r\n\r\n", "Content-Type: text/html\r\n\r\n"} {
			got := previewOf(head + text)
			if n := utf8.RuneCountInString(got); n > previewRunes || n < previewRunes-1 || !utf8.ValidString(got) {
				t.Errorf("%d characters: %q", n, got)
			}
		}
	}
	// What is far behind white space or style sheets is found.
	for _, c := range []string{strings.Repeat(" ", 9000) + "text", strings.Repeat("\r\n", 5000) + "text"} {
		if got := previewOf("\r\n" + c); got != "text" {
			t.Errorf("%q", got)
		}
		if got := previewOf("Content-Type: text/html\r\n\r\n<style>" + strings.Repeat("a{b:c}", 20_000) + "</style>" + c); got != "text" {
			t.Errorf("%q", got)
		}
	}
}

func FuzzPreview(f *testing.F) {
	f.Add([]byte("<p title=\"a>b\">x</p><script>y</scr"), true)
	f.Add([]byte("> a\r\nb\xff\r\n-- \r\n"), false)
	f.Fuzz(func(t *testing.T, text []byte, isHTML bool) {
		head := "Content-Type: text/plain\r\n\r\n"
		if isHTML {
			head = "Content-Type: text/html\r\n\r\n"
		}
		got := previewOf(head + string(text))
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > previewRunes || strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("%q", got)
		}
	})
}

func BenchmarkPreview(b *testing.B) {
	plain := "Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("some words of a text\r\n", 200)
	rich := "Content-Type: text/html; charset=utf-8\r\n\r\n<head><style>" + strings.Repeat("a{b:c}", 500) + "</style></head>" + strings.Repeat("<p>some <b>words</b> of a text\r\n", 200)
	for name, text := range map[string]string{"plain": plain, "html": rich} {
		b.Run(name, func(b *testing.B) {
			x := NewIndexer(Limits{})
			x.Write([]byte(text))
			index := x.Finish()
			var dst []byte
			for b.Loop() {
				dst = AppendPreview(dst[:0], bytes.NewReader([]byte(text)), index)
			}
		})
	}
}
