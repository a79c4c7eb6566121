package ftp

import (
	"io/fs"
	"testing"
	"time"
)

func TestFacts(t *testing.T) {
	if got, want := allFacts.feature(), "type*;size*;modify*;perm*;unique*;UNIX.mode*;"; got != want {
		t.Errorf("%q", got)
	}
	if f := parseFacts("Type;size; nonsense;unix.MODE;"); f.String() != "type;size;UNIX.mode;" {
		t.Errorf("%q", f.String())
	}
	if got := parseFacts("size;").feature(); got != "type;size*;modify;perm;unique;UNIX.mode;" {
		t.Errorf("%q", got)
	}
	if parseFacts("") != 0 {
		t.Error("no facts")
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

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*.txt", "a.txt", true}, {"*.txt", "a.txt.gz", false}, {"a?c", "abc", true}, {"[ab]*", "bx", true}, {"[", "[", true}, {"[", "x", false},
	}
	for _, tt := range tests {
		if match(tt.pattern, tt.name) != tt.want {
			t.Errorf("%q %q", tt.pattern, tt.name)
		}
	}
}

func TestSplitOptions(t *testing.T) {
	tests := []struct {
		in, name string
		self     bool
	}{
		{"", "", false}, {"-la", "", false}, {"-la dir x", "dir x", false}, {"-l -a dir", "dir", false}, {"-d dir", "dir", true}, {"dir -la", "dir -la", false}, {"./-la", "./-la", false},
	}
	for _, tt := range tests {
		if name, self := splitOptions(tt.in); name != tt.name || self != tt.self {
			t.Errorf("%q: %q %v", tt.in, name, self)
		}
	}
}
