package vfs

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/packetboat/packetboat/storage"
)

func TestClean(t *testing.T) {
	deep := strings.Repeat("/d", storage.MaxDepth)
	name := strings.Repeat("n", maxName)
	long := strings.Repeat("/"+strings.Repeat("n", 126), storage.MaxPath/127)
	tests := []struct{ cwd, path, want string }{
		{"/", "", "/"},
		{"/a/b", "", "/a/b"},
		{"/", ".", "/"},
		{"/", "/", "/"},
		{"/a", "/", "/"},
		{"/a", "b", "/a/b"},
		{"/a", "b/", "/a/b"},
		{"/a", "./b", "/a/b"},
		{"/a", "/b", "/b"},
		{"/a/", "b//c", "/a/b/c"},
		{"/a/b", "..", "/a"},
		{"/a/b", "../c", "/a/c"},
		{"/a/b", "../../c", "/c"},
		{"/a/b", "c/.", "/a/b/c"},
		{"/a/b", "c/..", "/a/b"},
		{"/", "a/../b/./../c", "/c"},
		{"", "a", "/a"},
		{"/", "...", "/..."},
		{"/", ".a", "/.a"},
		{"/", "a.", "/a."},
		{"/", " a ", "/ a "},
		{"/", "~", "/~"},
		{"/", "-rf", "/-rf"},
		{"/", "*", "/*"},
		{"/", `a\b`, `/a\b`},
		{"/", "C:", "/C:"},
		{"/", "\u00e9", "/\u00e9"},
		{"/", "e\u0301", "/\u00e9"},
		{"/", "\u0301", "/\u0301"},
		{"/", "\u202e", "/\u202e"}, // shown as it is: a file's name is its owner's
		{"/", "日本語/файл", "/日本語/файл"},
		{"/", deep, deep},
		{"/", deep + "/x/..", deep},
		{"/", "/" + name, "/" + name},
		{"/", long, long},
	}
	for _, tt := range tests {
		if got, err := Clean(tt.cwd, tt.path); got != tt.want || err != nil {
			t.Errorf("Clean(%q, %q) = %q, %v; want %q", tt.cwd, tt.path, got, err, tt.want)
		}
	}
	for _, bad := range []string{
		"a\x00b", "\x00", "a\nb", "a\rb", "a\r\nDELE b", "\x01.list", "\x1b[2J", "a\tb", "\x7f", "\u0080", "\u0085", "\u009b",
		"\u2028", "\u2029", "\xff", "a/\xc3", "\xc0\xae\xc0\xae/", "\xed\xa0\x80",
		deep + "/x", "/" + name + "n", "/" + strings.Repeat("é", 128), long + "/" + name, strings.Repeat("/", 5*storage.MaxPath),
	} {
		if got, err := Clean("/", bad); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("Clean(%.40q) = %.40q, %v", bad, got, err)
		}
	}
}

// traversals are ways out that somebody tried somewhere. All of them end inside the home or are refused.
var traversals = []string{
	"..", "../", "/..", "/../", "../..", "../../", "/../..", "../../..", "../../../../../../../../etc/passwd",
	"/../../../../../../../../etc/passwd", "./..", "./../", ".././..", "..//..", "..///", "//..", "///../..", "/./../", "/.././../",
	"a/../..", "a/../../", "a/../../..", "a/b/../../..", "a/b/../../../..", "a/./../..", "a//../..", "a/b//..//..//..",
	"Mail/..", "Mail/../..", "/Mail/../../", "/Mail/INBOX/../../..", "/Mail/INBOX/../../../etc", "Mail/../../bobby/secret",
	"../bob", "../bobby/secret", "../home/../../bob", "/../bob/", "a/../../bob", "/a/../../../../bob/file",
	"....", "..../", "....//", "....//....//", "...", ".../...", ". .", ".. /", ".. /..", " ..", " ../..", "../ ..", "..\t/", "\t../",
	"..;/", "..;/..;/", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%252f..%252f", "%252e%252e/", "%c0%ae%c0%ae/", "..%c0%af", "..%00/", "%00",
	`..\`, `..\..`, `..\..\..\windows\win.ini`, `\..\..`, `/..\..`, `a\..\..`, `..\/`, `..\/..\/`, `C:\`, `C:/`, `C:..`, `\\host\share`, `//host/share`,
	"../\x00", "..\x00/", "../etc/passwd\x00.jpg", "\x00../", "..\n/", "..\r\n/..", "..\x7f/", "\x08../",
	"\xc0\xae\xc0\xae/", "\xc0\xae\xc0\xae\xc0\xaf", "..\xc0\xaf", "\xe0\x80\xae\xe0\x80\xae/", "\xf0\x80\x80\xae/", "\xff../",
	"\uff0e\uff0e/", "\uff0e\uff0e\uff0f", "..\uff0f..", "\u2024\u2024/", "\u2025/", "..\u2215", "..\u2044..", "\u2026/", ".\u200b./", ".\u200d./..", "\ufeff../",
	".\u0338./", "..\u0338/", "\u202e../", "\u2066../\u2069", ".\u00ad./", "..\u0301/",
	"~", "~root", "~/../..", "$HOME/..", "${PWD}/../..", "`pwd`/..", "|ls", "-a/../..", "*/../..", "?/../../..", "[a]/../../..", "{..,a}/..",
	"/proc/self/root/..", "/dev/fd/0/..", "/./././../../..", "a/b/c/../../../../../../d", strings.Repeat("../", 1000), strings.Repeat("a/../", 800) + "..",
	strings.Repeat("/..", 1000) + "/etc/passwd", strings.Repeat("a/", 60) + strings.Repeat("../", 70), strings.Repeat("./", 2000) + "..",
}

func TestTraversal(t *testing.T) {
	for _, cwd := range []string{"/", "/a", "/a/b/c", "/Mail/INBOX"} {
		for _, p := range traversals {
			got, err := Clean(cwd, p)
			if err != nil {
				if !errors.Is(err, storage.ErrInvalid) {
					t.Errorf("Clean(%q, %.60q): %v", cwd, p, err)
				}
				continue
			}
			checkClean(t, cwd, p, got)
		}
	}
	if len(traversals) < 100 {
		t.Errorf("%d paths", len(traversals))
	}
}

// checkClean tells what holds of every clean path.
func checkClean(t *testing.T, cwd, path, got string) {
	t.Helper()
	if !strings.HasPrefix(got, "/") || len(got) > 1 && strings.HasSuffix(got, "/") || len(got) > storage.MaxPath {
		t.Errorf("Clean(%q, %.60q) = %.60q", cwd, path, got)
	}
	if !utf8.ValidString(got) || !norm.NFC.IsNormalString(got) || strings.ContainsFunc(got, unicode.IsControl) {
		t.Errorf("Clean(%q, %.60q) = %.60q is no clean text", cwd, path, got)
	}
	if names := strings.Split(got[1:], "/"); got != "/" {
		if len(names) > storage.MaxDepth {
			t.Errorf("%d levels", len(names))
		}
		for _, n := range names {
			if n == "" || n == "." || n == ".." || len(n) > maxName {
				t.Errorf("Clean(%q, %.60q) has the name %q", cwd, path, n)
			}
		}
	}
	if again, err := Clean("/elsewhere", got); again != got || err != nil {
		t.Errorf("Clean(%.60q) again = %.60q, %v", got, again, err)
	}
}

func FuzzClean(f *testing.F) {
	for i, p := range traversals {
		f.Add([]string{"/", "/a/b", ""}[i%3], p)
	}
	f.Fuzz(func(t *testing.T, cwd, path string) {
		got, err := Clean(cwd, path)
		if err != nil {
			if got != "" || !errors.Is(err, storage.ErrInvalid) {
				t.Fatalf("%q, %v", got, err)
			}
			return
		}
		checkClean(t, cwd, path, got)
	})
}
