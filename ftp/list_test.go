package ftp

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines runs a listing and splits it; every line ends in CRLF.
func (p *peer) lines(format string, args ...any) []string {
	p.t.Helper()
	text := p.retr(format, args...)
	if text == "" {
		return nil
	}
	body, ok := strings.CutSuffix(text, "\r\n")
	if !ok || strings.Count(body, "\n") != strings.Count(body, "\r\n") {
		p.t.Fatalf("lines of %q", text)
	}
	return strings.Split(body, "\r\n")
}

func TestList(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	p.cmd(257, "MKD d")
	p.cmd(257, "MKD d/sub")
	h.put("/d/a.txt", "12345")
	h.put("/d/b.txt", "")
	h.put("/d/c [1].bin", "x")
	h.put("/d/-la", "x")
	all := []string{"-la", "a.txt", "b.txt", "c [1].bin", "sub"}
	tests := []struct {
		cmd  string
		want []string
	}{
		{"NLST d", prefix("d/", all...)},
		{"NLST /d/", prefix("/d/", all...)},
		{"NLST -CF d", prefix("d/", all...)}, // ncftp
		{"NLST -la", []string{"Mail", "d"}},
		{"NLST d/*.txt", prefix("d/", "a.txt", "b.txt")},
		{"NLST d/?.txt", prefix("d/", "a.txt", "b.txt")},
		{"NLST d/[b-z]*", prefix("d/", "b.txt", "c [1].bin", "sub")},
		{"NLST d/c [1].bin", []string{"d/c [1].bin"}}, // a name comes before a pattern
		{"NLST d/a.txt", []string{"d/a.txt"}},
		{"NLST d/sub", nil},
		{"NLST -d d", []string{"d"}},
		{"NLST ./d/-la", []string{"./d/-la"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, p.lines("%s", tt.cmd)); diff != "" {
			t.Errorf("%s: %s", tt.cmd, diff)
		}
	}
	p.cmd(250, "CWD d")
	if diff := cmp.Diff(all, p.lines("NLST")); diff != "" {
		t.Error(diff)
	}
	for _, missing := range []string{"LIST missing", "NLST *.nothing", "NLST missing/*", "NLST */a.txt"} { // RFC 959 section 5.4
		p.epsv()
		p.cmd(450, "%s", missing)
	}
	for _, missing := range []string{"MLSD missing", "MLSD *.txt"} { // RFC 3659 section 7.2.1
		p.epsv()
		p.cmd(550, "%s", missing)
	}
	p.epsv()
	p.cmd(501, "MLSD a.txt") // RFC 3659 section 7.1
	ls := p.lines("LIST -al")
	if want := "-rw-r--r--   1 ftp      ftp                 5 Feb 29  2024 a.txt"; len(ls) != 5 || ls[1] != want {
		t.Errorf("%q", ls)
	}
	if !strings.HasPrefix(ls[4], "drwx") || !strings.HasSuffix(ls[4], " sub") || ls[4][len(ls[4])-7] != ':' {
		t.Errorf("%q", ls[4])
	}
	p.cmd(200, "OPTS MLST type;size;modify;")
	if got, want := p.lines("MLSD")[1], "type=file;size=5;modify=20240229123456; a.txt"; got != want {
		t.Errorf("%q", got)
	}
	if got := p.lines("MLSD /")[0]; !strings.HasPrefix(got, "type=dir;modify=") || !strings.HasSuffix(got, "; Mail") {
		t.Errorf("%q", got)
	}
}

func prefix(p string, names ...string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = p + n
	}
	return out
}

// TestListMany: a listing is sent in pieces, in the clear and under TLS, and can be aborted.
func TestListMany(t *testing.T) {
	h := newHouse(t)
	const files = 1000
	for i := range files {
		h.put(fmt.Sprintf("/f%04d %s", i, strings.Repeat("x", 200)), "")
	}
	for _, p := range []*peer{h.login(), h.secureLogin(0)} {
		got := p.lines("MLSD")
		if len(got) != files+1 { // and Mail
			t.Fatal(len(got))
		}
		if text := got[files]; !strings.Contains(text, "; f0999 x") {
			t.Fatal(text)
		}
		conn := p.open("MLSD")
		p.send("ABOR")
		if code, _ := p.reply(); code == 426 || code == 226 { // it may be quicker than the ABOR
			p.expect(226)
		}
		conn.Close()
	}
}

// TestMail: messages are files of a kind; what is none is refused.
func TestMail(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	text := "From: joe@example.test\r\nSubject: hello\r\nDate: Mon, 01 Jan 2024 10:00:00 +0000\r\n\r\nbody\r\n"
	if code := p.stor(text, "STOR /Mail/INBOX/new.eml"); code != 226 {
		t.Fatal(code)
	}
	names := p.lines("NLST /Mail/INBOX")
	if len(names) != 1 || !strings.HasSuffix(names[0], ".eml") || !strings.Contains(names[0], "hello") {
		t.Fatalf("%q", names)
	}
	if got := p.retr("RETR %s", names[0]); got != text {
		t.Fatalf("%q", got)
	}
	conn := p.open("STOR /Mail/INBOX/junk.eml")
	io.WriteString(conn, "no message at all")
	conn.Close()
	if got := p.expect(553); !strings.Contains(got, "553 ") {
		t.Fatal(got)
	}
	p.epsv()
	p.cmd(550, "APPE %s", names[0])
	p.cmd(250, "DELE %s", names[0])
	if got := p.lines("NLST /Mail/Trash"); len(got) != 1 {
		t.Fatal(got)
	}
	p.cmd(550, "RMD /Mail/INBOX")
	p.cmd(257, "MKD /Mail/Lists")
	p.cmd(250, "RMD /Mail/Lists")
}
