package wire

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slowMatch is what Matcher should be, told in the simplest way.
func slowMatch(p, name string) bool {
	if p == "" {
		return name == ""
	}
	switch p[0] {
	case '*', '%':
		for i := 0; ; i++ {
			if slowMatch(p[1:], name[i:]) {
				return true
			}
			if i == len(name) || p[0] == '%' && name[i] == '/' {
				return false
			}
		}
	}
	return name != "" && name[0] == p[0] && slowMatch(p[1:], name[1:])
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "INBOX", true}, {"*", "a/b/c", true}, {"%", "a", true}, {"%", "a/b", false}, {"a/%", "a/b", true}, {"a/%", "a", false},
		{"a/%", "a/b/c", false}, {"a*", "a/b/c", true}, {"%/%", "a/b", true}, {"%/%", "a/b/c", false}, {"inbox", "INBOX", true}, {"inbox/x", "INBOX/x", true},
		{"inboxes", "INBOXES", false}, {"iNbOx%", "INBOX", true}, {"", "a", false}, {"a", "A", false}, {"*b", "ab/ab", true}, {"%*", "a/b", true},
		{"inbox*", "INBOX", true}, {"inbox*", "INBOX/a/b", true}, {"inbox*", "INBOX2", false}, {"inbox*", "inbox2", true}, {"INBOX*", "INBOX2", true}, {"INBOX*", "inbox2", false},
		{"inbox%", "INBOX/a", false}, {"inbox%/b", "INBOX/b", true}, {"inbox%", "inbox2", true}, {"inbox*b", "INBOX/a/b", true}, {"inbox*b", "INBOXb", false}, {"inbox2*", "inbox2", true},
		{"*%", "a/b", true}, {"%%", "a/b", false}, {"a%b", "axb", true}, {"a%b", "a/b", false}, {"%/", "a/", true},
	} {
		if got := NewMatcher("", []string{c.pattern}).Match(c.name); got != c.want {
			t.Errorf("%q, %q: %v", c.pattern, c.name, got)
		}
	}
	m := NewMatcher("a/", []string{"", "x%", "y"})
	for name, want := range map[string]bool{"a/": false, "a/x": true, "a/xy": true, "a/x/y": false, "a/y": true, "y": false} {
		if m.Match(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// It says what the simplest way says, also when it was used for other names before.
func TestMatchModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		reference := rapid.StringMatching(`[ab/%*]{0,3}`).Draw(t, "reference")
		patterns := rapid.SliceOfN(rapid.StringMatching(`[ab/%*]{1,9}`), 1, 3).Draw(t, "patterns")
		m := NewMatcher(reference, patterns)
		for _, n := range []int{0, 60, 120, 0} {
			name := strings.Repeat("b/", n/2) + rapid.StringMatching(`[ab/]{0,12}`).Draw(t, "name")
			want := false
			for _, p := range patterns {
				want = want || slowMatch(squeeze(reference+p), name)
			}
			if got := m.Match(name); got != want {
				t.Fatalf("%q %q, %q: %v", reference, patterns, name, got)
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("a%/*b", "ax/yb")
	f.Fuzz(func(t *testing.T, p, name string) {
		if len(p) > 12 || len(name) > 200 || p == "" || len(p) >= 5 && strings.EqualFold(p[:5], "INBOX") {
			return
		}
		if got := NewMatcher("", []string{p}).Match(name); got != slowMatch(squeeze(p), name) {
			t.Errorf("%q, %q: %v", p, name, got)
		}
	})
}

// Hostile patterns over long names: what they cost is told, the bound is in the doc of Matcher.
func BenchmarkMatch(b *testing.B) {
	for name, row := range map[string]struct{ pattern, name string }{
		"wild":    {strings.Repeat("%*", 500) + "x", strings.Repeat("a", 60)},
		"literal": {strings.Repeat("%a", 500) + "b", strings.Repeat("a", 60)},
		"long":    {strings.Repeat("*a", 500) + "b", strings.Repeat("a", 4000)},
		"plain":   {"group1/*", "group17/mailbox99"},
	} {
		b.Run(name, func(b *testing.B) {
			m := NewMatcher("", []string{row.pattern})
			for b.Loop() {
				m.Match(row.name)
			}
		})
	}
}
