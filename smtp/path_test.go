package smtp

import (
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage"
)

func TestParsePath(t *testing.T) {
	for _, test := range []struct {
		in, path, rest string
		ok, sender     bool
	}{
		{"<>", "", "", true, false},
		{" <a@b.example> SIZE=3", "a@b.example", " SIZE=3", true, true},
		{"<@x,@y:a@b>", "a@b", "", true, true},
		{`<"a b>\""@b>`, `"a b>\""@b`, "", true, true},
		{"<a@[127.0.0.1]>", "a@[127.0.0.1]", "", true, true},
		{"<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "", true, true},
		{"<jürgen@müller.example>", "jürgen@müller.example", "", true, true},
		{"a@b", "", "", false, false},
		{"<a@b", "", "", false, false},
		{"<@x a@b>", "", "", false, false},
		{"<a@b>x", "", "", false, false},
		{"<a\xff@b>", "", "", false, false},
		{"<" + strings.Repeat("a", 2000) + "@b>", "", "", false, false},
		{"<a>", "a", "", true, false},
		{"<a@>", "a@", "", true, false},
		{"<@b>", "", "", false, false},
		{"<a b@c>", "a b@c", "", true, false},
		{"<.a@c>", ".a@c", "", true, false},
		{"<a..b@c>", "a..b@c", "", true, false},
		{"<a@c..d>", "a@c..d", "", true, false},
		{"<a@[1.2.3.4>", "a@[1.2.3.4", "", true, false},
		{`<"a@c>"`, "", "", false, false},
		{"<" + strings.Repeat("a", 65) + "@b>", strings.Repeat("a", 65) + "@b", "", true, false},
		{"<a\x01@b>", "a\x01@b", "", true, false},
		{"<@x,:a@b>", "", "", false, false},
		{"<@:a@b>", "", "", false, false},
		{"<@x,y:a@b>", "", "", false, false},
		{"<a@b.>", "a@b.", "", true, false},
		{"<a@-b>", "a@-b", "", true, false},
		{"<a@b-.c>", "a@b-.c", "", true, false},
		{"<a@b_c.d>", "a@b_c.d", "", true, true},
		{"<a@[999.1.1.1]>", "a@[999.1.1.1]", "", true, false},
		{"<a@[IPv6:1.2.3.4]>", "a@[IPv6:1.2.3.4]", "", true, false},
		{"<a@[::1]>", "a@[::1]", "", true, false},
		{"<a@[IPv6:fe80::1%lo]>", "a@[IPv6:fe80::1%lo]", "", true, false},
		{"<a@" + strings.Repeat("b", 64) + ">", "a@" + strings.Repeat("b", 64), "", true, false},
	} {
		path, rest, ok := parsePath(test.in)
		if path != test.path || rest != test.rest || ok != test.ok {
			t.Errorf("%q: %q, %q, %v", test.in, path, rest, ok)
		}
		if got := validMailbox(path); got != test.sender {
			t.Errorf("%q: valid sender: %v", path, got)
		}
	}
}

// What is a mailbox of a recipient is one of a sender, and no path breaks a line of the header.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"<a@b>", `<"a\"b"@c> X=1`, "<@x:a@b>", "<a@[1.2.3.4]>", "<ü@ü.example>", "<\"\r\n\"@x>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, rest, ok := parsePath(s)
		if !ok {
			return
		}
		if !strings.HasSuffix(s, "<"+path+">"+rest) && !strings.HasSuffix(s, ":"+path+">"+rest) {
			t.Fatalf("%q gave %q and %q", s, path, rest)
		}
		if validMailbox(path) && strings.ContainsAny(path, "\r\n\x00") {
			t.Fatalf("%q is valid", path)
		}
		if local, domain, err := storage.ParseAddress(path); err == nil && strings.ContainsAny(local+domain, "\r\n\x00") {
			t.Fatalf("%q is an address", path)
		}
	})
}

func TestParseChunk(t *testing.T) {
	for _, s := range []string{"", "x", "-1", "+1", "1x", "1 2", "1 LAST x", "99999999999999999999", "1  "} {
		if n, last, ok := parseChunk(s); ok {
			t.Errorf("%q: %d, %v", s, n, last)
		}
	}
	if n, last, ok := parseChunk("12 last"); n != 12 || !last || !ok {
		t.Error(n, last, ok)
	}
}
