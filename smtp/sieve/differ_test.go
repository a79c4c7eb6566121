package sieve

import (
	"context"
	"strings"
	"testing"
)

const mail2 = "From: \"x \\\"y\\\"\"@z.test\r\nX-One: first\r\nX-Two: second\r\nX-One: third\r\nSubject: _under\r\n\r\nbody\r\n"

// What another interpreter and this one did not agree about, decided by the RFCs.
func TestDecided(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"RFC 5260 section 6: all named fields are counted, in the order of the names", `require ["index", "fileinto"]; if header :index 3 ["x-one", "x-two"] "second" { fileinto "yes"; }`, "file:yes"},
		{"from the end too", `require ["index", "fileinto"]; if header :index 1 :last ["x-two", "x-one"] "third" { fileinto "yes"; }`, "file:yes"},
		{"one that is not there takes no place", `require ["index", "fileinto"]; if header :index 1 ["x-none", "x-two"] "second" { fileinto "yes"; }`, "file:yes"},
		{"of addresses too", `require ["index", "fileinto"]; if address :domain :index 1 ["reply-to", "from"] "z.test" { fileinto "yes"; }`, "file:yes"},
		{"RFC 4790 section 9.2.1: i;ascii-casemap compares in upper case", `require ["relational", "fileinto"]; if header :value "gt" "subject" "zz" { fileinto "yes"; }`, "file:yes"},
		{"RFC 5228 section 2.7.4: the whole of an address has its quotes", `require ["variables", "fileinto"]; if address :matches "from" "*" { fileinto "${1}"; }`, `file:"x \"y\""@z.test`},
		{"its local part has none", `require ["variables", "fileinto"]; if address :localpart :matches "from" "*" { fileinto "${1}"; }`, `file:x "y"`},
		{"a reference that is broken off stands for itself", `require ["variables", "fileinto"]; set "b" "B"; fileinto "${a${b}${";`, "file:${aB${"},
		{"encoded characters that are broken off too", `require ["encoded-character", "fileinto"]; fileinto "${hex:41${HEX: 42 43 }${hex:}${unicode:";`, "file:${hex:41BC${hex:}${unicode:"},
	} {
		s, err := Compile(c.script)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		out, err := s.Run(context.Background(), env, message(mail2), Limits{})
		if got := told(out); err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
	}
}

// Strings full of what almost is a reference: each is looked at once, however long the string.
func TestReferencesByTheThousand(t *testing.T) {
	for _, piece := range []string{"${", "${1", "${a.", "${hex:", "${hex:41 ", "${unicode:"} {
		n := 200_000 / len(piece)
		s, err := Compile(`require ["variables", "encoded-character", "fileinto"]; fileinto "` + strings.Repeat(piece, n) + `";`)
		if err != nil {
			t.Errorf("%s: %v", piece, err)
			continue
		}
		out, err := s.Run(context.Background(), env, message(mail2), Limits{})
		if err != nil || len(out.Files) != 1 || out.Files[0].Mailbox != strings.Repeat(piece, n) {
			t.Errorf("%s: %v", piece, err)
		}
	}
}
