package mime

import (
	"bytes"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// RFC 5051 section 2: the comparator i;unicode-casemap.
func TestAppendCasemap(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"Hello, World 09[]{}@`", "HELLO, WORLD 09[]{}@`"},
		{"\u01c4", "D" + "z\u030c"}, // the example of the RFC: its title case is U+01C5, which is decomposed
		{"\u01c6", "D" + "z\u030c"},
		{"grüße", "GRU\u0308ßE"}, // no simple title case: ß is not ss
		{"GRÜSSE", "GRU\u0308SSE"},
		{"gru\u0308ße", "GRU\u0308ßE"}, // composed or not
		{"ẞ", "ẞ"},                     // capital sharp s: UnicodeData maps it down only
		{"ſ", "S"},
		{"ı", "I"},
		{"İ", "I\u0307"},
		{"\u212a", "K"},    // the Kelvin sign
		{"\ufb01", "fi"},   // decomposed after it was put into title case
		{"ŉ", "\u02bcn"},   // likewise
		{"\u00b5", "Μ"},    // micro: title case is Greek capital mu
		{"ΑΣ ας", "ΑΣ ΑΣ"}, // final sigma
		{"привет", "ПРИВЕТ"},
		{"ё", "Е\u0308"},
		{"ａｂｃ", "ABC"}, // full width
		{"①", "1"},
		{"각", "\u1100\u1161\u11a8"},
		{"가", "\u1100\u1161"},
		{"ა", "ა"}, // Georgian has upper case, but no title case
		{"日本", "日本"},
		{"𐐨", "𐐀"}, // beyond the first plane
		{"a\xffü\xc3", "A\xffU\u0308\xc3"},
		{"\u0301\u0323", "\u0301\u0323"}, // marks are not put in order
	} {
		if got := string(AppendCasemap(nil, []byte(c.in))); got != c.want {
			t.Errorf("%q became %q; want %q", c.in, got, c.want)
		}
	}
	if got := string(AppendCasemap([]byte("keep "), []byte("x"))); got != "keep X" {
		t.Errorf("appended to what was there: %q", got)
	}
}

// Of each character: title case, then what normalization form KD makes of it alone.
func TestAppendCasemapAll(t *testing.T) {
	longest := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		got := AppendCasemap(nil, []byte(string(r)))
		if want := norm.NFKD.Bytes([]byte(string(unicode.ToTitle(r)))); !bytes.Equal(got, want) {
			t.Fatalf("%U became %q; want %q", r, got, want)
		}
		longest = max(longest, len(got)/utf8.RuneLen(r))
	}
	if longest > 11 {
		t.Errorf("a character becomes %d times as long", longest)
	}
}

func BenchmarkAppendCasemap(b *testing.B) {
	for _, c := range []struct{ name, text string }{{"ascii", "The quick brown fox jumps over "}, {"latin", "Größe und Maß für überall "}, {"cyrillic", "Съешь же ещё этих мягких "}, {"han", "日本語の文字列です"}} {
		b.Run(c.name, func(b *testing.B) {
			text := bytes.Repeat([]byte(c.text), 100)
			dst := make([]byte, 0, 4*len(text))
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				dst = AppendCasemap(dst[:0], text)
			}
		})
	}
}
