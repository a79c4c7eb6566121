package ftp

import (
	"io/fs"
	"path"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestFacts(t *testing.T) {
	const rest = "UNIX.owner;UNIX.ownername;UNIX.group;UNIX.groupname;"
	if got, want := usualFacts.feature(), "type*;size*;modify*;perm*;unique*;UNIX.mode*;"+rest; got != want {
		t.Errorf("%q", got)
	}
	// RFC 3659 section 7.9.2, mostly.
	for _, tt := range []struct{ list, want string }{
		{"Type;size;nonsense;unix.MODE;", "type;size;UNIX.mode;"},
		{"size", "size;"}, // a semicolon short
		{"lang;type;charset;create;", "type;"},
		{"unix.OWNER;unix.groupname;", "UNIX.owner;UNIX.groupname;"},
		{"", ""},
		{"frogs;", ""},
	} {
		if f, ok := parseFacts(tt.list); !ok || f.String() != tt.want {
			t.Errorf("%q: %q, %v", tt.list, f.String(), ok)
		}
	}
	for _, list := range []string{"unique type;", "type; size;", ";", "type;;size;", "type=x;"} {
		if f, ok := parseFacts(list); ok {
			t.Errorf("%q: %q", list, f.String())
		}
	}
}

func TestAppend(t *testing.T) {
	if got := string(appendStamp(nil, time.Date(2024, 2, 9, 3, 4, 5, 0, time.FixedZone("", 3600)))); got != "20240209020405" {
		t.Error(got)
	}
	if got := string(appendName(nil, "a\r\n\x7fb\xc3\xbc")); got != "a???b\xc3\xbc" {
		t.Errorf("%q", got)
	}
	if got := string(appendMode(nil, fs.ModeDir|0o754, true)); got != "drwxr-xr--" {
		t.Error(got)
	}
	if got := string(appendRight(nil, 1234, 6)); got != "  1234" {
		t.Errorf("%q", got)
	}
	if got := string(appendRight(nil, 1234, 2)); got != "1234" {
		t.Errorf("%q", got)
	}
}

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*.txt", "a.txt", true}, {"*.txt", "a.txt.gz", false}, {"a?c", "abc", true}, {"[ab]*", "bx", true}, {"[", "[", true}, {"[", "x", false},
		{"*", "", true}, {"**", "x", true}, {"a*b*c", "a12b34c", true}, {"a*b*c", "a12c34b", false}, {"*a*a*b", "aaaaab", true}, {"?", "ü", true}, {"??", "ü", false},
		{"[!a]x", "bx", true}, {"[^a]x", "ax", false}, {"[a-c]", "b", true}, {"[a-c]", "d", false}, {"[]]", "]", true}, {"[a-]", "-", true}, {"[à-ü]", "é", true},
		{`\*`, "*", true}, {`\*`, "x", false}, {`x\`, `x\`, true}, {"[ab", "[ab", true}, {"[ab", "a", false},
		{"*", ".hidden", false}, {"?hidden", ".hidden", false}, {"[.]hidden", ".hidden", false}, {".*", ".hidden", true}, {".h*", ".hidden", true}, {`\.h*`, ".hidden", true},
	}
	for _, tt := range tests {
		if newGlob(tt.pattern).match(tt.name, false) != tt.want {
			t.Errorf("%q %q", tt.pattern, tt.name)
		}
	}
	if !newGlob("*").match(".hidden", true) {
		t.Error("-a")
	}
}

// What a name longer than any pattern costs is at most their product, also for the patterns that others take for ever for.
func TestGlobHostile(t *testing.T) {
	name := strings.Repeat("a", 255)
	for _, pattern := range []string{
		strings.Repeat("*a", 4000), strings.Repeat("a*", 100) + "b", strings.Repeat("*a", 120) + "*b", strings.Repeat("*?", 120) + "b", strings.Repeat("*[a-b]", 40) + "c",
	} {
		g := newGlob(pattern)
		for range 1000 {
			if g.match(name, false) {
				t.Fatal(pattern[:10])
			}
		}
	}
}

// FuzzGlob compares with path.Match where both mean the same.
func FuzzGlob(f *testing.F) {
	for _, s := range [][2]string{{"*.txt", "a.txt"}, {"[a-c]?", "bü"}, {`\**`, "*x"}, {"[^x]*", "y"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 300 || len(name) > 300 {
			return
		}
		got := newGlob(pattern).match(name, true)
		if strings.ContainsAny(pattern, `[\/`) || strings.Contains(name, "/") || !utf8.ValidString(pattern) || !utf8.ValidString(name) {
			return
		}
		if want, err := path.Match(pattern, name); err == nil && got != want {
			t.Errorf("%q %q: %v", pattern, name, got)
		}
	})
}

func TestSplitFlags(t *testing.T) {
	tests := []struct {
		in, name string
		flags    lsFlags
	}{
		{"", "", lsFlags{}}, {"-la", "", lsFlags{all: true}}, {"-la dir x", "dir x", lsFlags{all: true}}, {"-l -a dir", "dir", lsFlags{all: true}},
		{"-d dir", "dir", lsFlags{self: true}}, {"dir -la", "dir -la", lsFlags{}}, {"./-la", "./-la", lsFlags{}}, {"-- -la", "-la", lsFlags{}},
		{"-1l", "", lsFlags{}}, {"-l1", "", lsFlags{short: true}}, {"-tSr", "", lsFlags{bySize: true, reverse: true}}, {"-St", "", lsFlags{byTime: true}},
		{"-QXz9\xff", "", lsFlags{}}, {"-CF d", "d", lsFlags{classify: true}}, {"-", "", lsFlags{}}, {"-nR", "", lsFlags{numeric: true, recursive: true}},
	}
	for _, tt := range tests {
		if name, flags := splitFlags(tt.in); name != tt.name || flags != tt.flags {
			t.Errorf("%q: %q %+v", tt.in, name, flags)
		}
	}
}
