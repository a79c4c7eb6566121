package vfs

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestHiddenNames(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "a": false, ".packetboat": false, ".packetboat-": true, ".packetboat-up-01": true, ".PACKETBOAT-x": true, ".PacketBoat-part": true,
		".pac\u212aetboat-x": true, "\u200d.packetboat-x": true, ".packet\u200cboat-x": true, "\ufeff.packetboat-": true, ".packetboat\ufe0f-x": true,
		"\uff0epacketboat-x": true, "packetboat-x": false, ".packetboats": false, "..packetboat-": false, ".\xffpacketboat-": false,
	} {
		if hidden(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestShownNames(t *testing.T) {
	for raw, want := range map[string]string{
		"a": "a", "a b": "a b", `back\slash`: `back\slash`, "caf\u00e9": "caf\u00e9", "cafe\u0301": "caf\u00e9",
		"\u00e9a\u0301": "", "\xff": "", "a\n": "", "\x1b[m": "", "\u2028": "", "\u212b": "", ".packetboat-up": "", "\u0958": "", strings.Repeat("x", 255): strings.Repeat("x", 255),
	} {
		got, ok := shownName(raw)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", raw, got, ok)
		}
	}
}

// FuzzShownName: what is listed of a host's folder is one line, and the path to what it stands for.
func FuzzShownName(f *testing.F) {
	for _, s := range []string{"a", "cafe\u0301", "\u00e9a\u0301", ".packetboat-", "\xff", "a\r\nb", "\u0958", "\u1100\u1161\u11a8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if raw == "" || raw == "." || raw == ".." || strings.ContainsAny(raw, "/\x00") || len(raw) > 255 {
			return // no host has these
		}
		name, ok := shownName(raw)
		if !ok {
			return
		}
		clean, err := Clean("/", name)
		if err != nil || clean != "/"+name || !utf8.ValidString(name) || hidden(name) || hidden(raw) {
			t.Fatalf("%q is listed as %q, which leads to %q, %v", raw, name, clean, err)
		}
		if raw != name && raw != norm.NFD.String(name) {
			t.Fatalf("%q is listed as %q, and not found by it", raw, name)
		}
	})
}

// slowDir gives its names one at a time.
type slowDir []string

func (d *slowDir) Readdirnames(int) ([]string, error) {
	if len(*d) == 0 {
		return nil, io.EOF
	}
	page := (*d)[:1]
	*d = (*d)[1:]
	return page, nil
}

// Names that a host may take for others are looked for in the folder.
func TestSpelling(t *testing.T) {
	for name, want := range map[string]struct {
		other string
		sure  bool
	}{
		"Secret.TXT": {"sECRET.txt", true}, "123": {"123", true}, "123.": {"123.", false}, "SECRET~1": {"secret~1", false}, "x ": {"X ", false}, "\u00e9": {"\u00e9", false},
	} {
		if other, sure := flipped(name); other != want.other || sure != want.sure {
			t.Errorf("%q: %q, %v", name, other, sure)
		}
	}
	if err := listed(&slowDir{"a", "secret", "b"}, "secret"); err != nil {
		t.Error(err)
	}
	if err := listed(&slowDir{"a", "secret", "b"}, "SECRET"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
