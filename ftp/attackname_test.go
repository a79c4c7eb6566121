package ftp

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage/vfs"
)

// hostileBytes are what names, users and other words of a client may be made of.
var hostileBytes = []string{
	"a\rb", "a\r\nb", "a\x00b", "\x1b[2J\x1b[1;31mred", "\xff\xf4\xff\xf2", "\xff\xfb\x01", "\xff\xff", "a\x7fb", "a\x08\x08\x08b", "a\tb", "\x9b2J", "\xc2\x9b31m", "a\u2028b", "a\u2029b",
	"a\u0085b", "\u202egpj.exe", "\ufeffa", "\xe4\xf6\xfc", "\xed\xa0\x80", "\xf4\x90\x80\x80", "%0d%0a", "a\nlevel=INFO msg=\"login\" account=root", "a\r\n226 Transfer complete.", "\" msg=forged", "=\x00", strings.Repeat("\x01", 300),
}

// replyLine is what RFC 959 section 4.2 lets a line of a reply be.
var replyLine = regexp.MustCompile(`^(\d{3}[ -]| )[^\x00-\x1f\x7f]*\r\n$`)

// logLine is what a line of the log is.
var logLine = regexp.MustCompile(`^time=\S+ level=(DEBUG|INFO|WARN|ERROR) msg=[^\x00-\x1f\x7f]*\n$`)

// TestControlCharacters: whatever a client sends in names, users, passwords and other words, replies, listings, log and session list are whole lines without
// a control character, and no line of the log is of its making.
func TestControlCharacters(t *testing.T) {
	book := &logBook{}
	h := newHouse(t, book.into, func(o *Options) { o.ConnectTimeout = 50 * time.Millisecond })
	for _, login := range []bool{false, true} {
		for _, hostile := range hostileBytes {
			conn, err := net.Dial("tcp", h.addr)
			if err != nil {
				t.Fatal(err)
			}
			if login {
				io.WriteString(conn, "USER ann@example.test\r\nPASS secret\r\nEPSV\r\n")
			}
			for _, verb := range []string{"USER", "PASS", "CLNT", "CSID", "ACCT", "HOST", "LANG", "AUTH", "PROT", "OPTS", "OPTS UTF8", "OPTS MLST", "TYPE", "REST", "ALLO", "HELP", "HELP SITE", "SITE", "SITE CHMOD 600", "SITE HELP", "PORT", "EPRT", "EPSV",
				"CWD", "MKD", "RMD", "DELE", "SIZE", "MDTM", "MFMT 20200101000000", "MLST", "STAT", "RNFR", "RNTO", "STOR", "RETR", "LIST", "NLST", "MLSD", "STOU", "APPE", "RANG", "HASH", "XCRC", "AVBL", "X", ""} {
				io.WriteString(conn, strings.TrimLeft(verb+" ", " ")+hostile+"\r\n")
			}
			io.WriteString(conn, "QUIT\r\n")
			for _, i := range h.reg.List() {
				if text := i.Client + i.Activity + i.Open + i.Account; strings.ContainsFunc(text, unicode.IsControl) {
					t.Errorf("the session list shows %q", text)
				}
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			all, _ := io.ReadAll(conn)
			conn.Close()
			said := strings.ReplaceAll(string(all), "\xff\xfe\x01", "") // an option of Telnet is refused where it stands between lines
			for line := range strings.Lines(said) {
				if !replyLine.MatchString(line) {
					t.Errorf("%q is answered %q", hostile, line)
				}
			}
		}
	}
	eventually(t, "the sessions are gone", func() bool { return len(h.reg.List()) == 0 })
	for line := range strings.Lines(book.String()) {
		if !logLine.MatchString(line) || strings.Contains(line, "account=root") && !strings.Contains(line, `\n`) {
			t.Errorf("the log has %q", line)
		}
	}
	if !strings.Contains(book.String(), "msg=") {
		t.Error("nothing was logged")
	}
	walk(t, h.fs.Tree(h.ann), "/", func(p string, _ vfs.Info) {
		if strings.ContainsFunc(p, unicode.IsControl) || strings.ContainsAny(p, "\u2028\u2029") {
			t.Errorf("there is %q", p)
		}
	})
}

// TestEchoes: of what a client sent, replies repeat no control characters of C1 (U+009B is ESC [ to a terminal), nothing that ends a line for some, and
// nothing that is no UTF-8.
func TestEchoes(t *testing.T) {
	p := newHouse(t).login()
	for _, evil := range []string{"\u009b31m", "\u0085", "\u2028", "\u2029", "\u202e", "\xff\xfe", "\xc3", "\x80"} {
		for _, line := range []string{"ST" + evil + "X", "MFF " + evil + "=1; f", "HASH " + evil, "MD5 " + evil, "OPTS " + evil, "SITE " + evil, "HELP " + evil, "TYPE " + evil} {
			p.send("%s", line)
			_, text := p.reply()
			if !utf8.ValidString(text) || strings.ContainsFunc(strings.ReplaceAll(text, "\r\n", ""), func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }) {
				t.Errorf("%q: %q", line, text)
			}
			p.cmd(200, "NOOP")
		}
	}
}

// TestHostileSubjects: names of messages come from their subjects, which strangers choose: a listing has a line for each, and the name leads back.
func TestHostileSubjects(t *testing.T) {
	h := newHouse(t)
	m := h.mail(h.imap())
	m.ok("LOGIN ann@example.test secret")
	subjects := []string{
		"=?utf-8?Q?a=0D=0A-rw-r--r--_1_x_x_1_Jan_1_00:00_forged?=", "=?utf-8?Q?=00=1B[2J?=", "../../etc/passwd", "a/b\\c", "=?utf-8?Q?=E2=80=AEgpj.exe?=", "=?utf-8?Q?=E2=80=A8x?=", "=?utf-8?Q?=C2=85x?=",
		"226 Transfer complete.", "type=dir;modify=20200101000000; x", strings.Repeat("long ", 180), "\xff\xfe\xe4", "CON", "-rf *", "*", "?", " . ", "..", "\"quoted\" ; rm", "=?utf-8?B?4oCu?=", "=?x?Q?y?=", "",
	}
	for _, s := range subjects {
		m.ok("APPEND INBOX", "Subject: "+s+"\r\nFrom: x@example.net\r\n\r\nbody of "+fmt.Sprintf("%q", s)+"\r\n")
	}
	p := h.login()
	p.cmd(250, "CWD /Mail/INBOX")
	for _, verb := range []string{"LIST", "NLST", "MLSD"} {
		lines := strings.SplitAfter(strings.TrimSuffix(p.retr("%s", verb), "\r\n"), "\r\n")
		if len(lines) != len(subjects) {
			t.Errorf("%s: %d lines for %d messages", verb, len(lines), len(subjects))
		}
		for _, line := range lines {
			line = strings.TrimSuffix(line, "\r\n")
			if strings.ContainsFunc(line, unicode.IsControl) || strings.ContainsAny(line, "\u2028\u2029") || !strings.HasSuffix(line, ").eml") {
				t.Errorf("%s shows %q", verb, line)
			}
			if verb == "NLST" {
				if text := p.retr("RETR %s", line); !strings.Contains(text, "body of ") {
					t.Errorf("RETR %s: %q", line, text)
				}
			}
		}
	}
	for line := range strings.Lines(p.cmd(212, "STAT /Mail/INBOX")) {
		if !replyLine.MatchString(line) {
			t.Errorf("STAT shows %q", line)
		}
	}
}

// TestReasons: replies say what is wrong, and not which part of the server found it.
func TestReasons(t *testing.T) {
	p := newHouse(t).login()
	for _, name := range []string{"a", "b"} {
		for i := range 40 {
			p.cmd(257, "MKD %s", strings.Repeat("/"+name, i+1))
		}
	}
	p.cmd(350, "RNFR /a")
	if text := p.cmd(553, "RNTO %s/c", strings.Repeat("/b", 40)); !strings.HasSuffix(text, ": Not possible: limit reached: the tree is 64 deep.\r\n") {
		t.Errorf("%q", text)
	}
}
