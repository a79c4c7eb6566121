//go:build e2e

package main

import (
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth/session"
)

// ftpAs is an FTP session of a user.
func (b *boat) ftpAs(t *testing.T, user, password string) *line {
	t.Helper()
	l := b.dial(21)
	l.until("", "220 ")
	l.until("USER "+user, "331 ")
	if out, err := l.until("PASS "+password, "230 "); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return l
}

// Rights, jails and the anonymous, from the verbs to the clients, on a running server and on a stopped one.
func TestEndToEndRights(t *testing.T) {
	b := launch(t, "--set", "ftp.anonymous=ann", "--set", "ftp.anonymous_sessions=1")
	ann := b.ftpAs(t, "ann@example.test", annPassword)
	says := func(l *line, command, want string) {
		t.Helper()
		if out, err := l.until(command, want[:4]); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
	says(ann, "MKD /pub", "257 ")
	if out := b.run("", "account", "rights", "ann", "/", "read"); !strings.Contains(out, "/     read") {
		t.Error(out)
	}
	says(ann, "MKD /other", "550 /other: Not allowed: you have no right to mkdir here.")
	if out := b.run("", "account", "rights", "ann", "/in", "drop"); !strings.Contains(out, "/in made\n") {
		t.Error(out)
	}
	says(ann, "CWD /in", "250 ")
	says(ann, "SIZE x", "550 ")
	b.run("", "account", "rights", "ann", "/", "--remove")
	says(ann, "MKD /other", "257 ")
	if out := b.run("", "account", "list"); !strings.Contains(out, "/in drop") {
		t.Error(out)
	}

	guest := b.ftpAs(t, "anonymous", "me@example.net")
	s := b.find(t, "anonymous", "ftp")
	if s.Via != "anonymous" || s.Client != "me@example.net" {
		t.Errorf("%+v", s)
	}
	says(guest, "CWD /Mail", "550 ")
	says(guest, "MKD /x", "550 ")
	more := b.dial(21)
	more.until("", "220 ")
	more.until("USER anonymous", "331 ")
	says(more, "PASS x@example.net", "421 Too many sessions")

	mail, _ := b.login(t, "ann@example.test", annPassword)
	b.run("", "account", "set", "ann", "--jail", "/pub")
	says(ann, "", "421 Closing: the folder of the account was changed")
	if out, err := mail.until("n NOOP", "n OK"); err != nil {
		t.Errorf("a jail ended an IMAP session: %v %s", err, out)
	}
	ann = b.ftpAs(t, "ann@example.test", annPassword)
	says(ann, "CWD /in", "550 ")
	says(ann, "MKD /sub", "257 \"/sub\"")
	if out, err := b.try("", "account", "rights", "ann", "/x", "write"); err == nil || !strings.Contains(out, "no right") {
		t.Error(out)
	}
	if out, err := b.try("", "account", "rights", "ann", "/x"); err == nil {
		t.Error(out)
	}
	b.stop()

	b.run("", "account", "set", "ann", "--jail", "none")
	b.run("", "account", "rights", "ann", "/pub", "list,download,upload")
	var j rightsJSON
	b.json(&j, "account", "rights", "ann")
	if j.Jail != "/" || len(j.Rights) != 2 || j.Rights[1].Path != "/pub" || j.Rights[1].Name != "list,download,upload" {
		t.Errorf("%+v", j)
	}
	var all []session.Info
	b.json(&all, "session", "history", "--account", "ann")
	guests := 0
	for _, i := range all {
		if i.Account == "anonymous" {
			guests++
		}
	}
	if guests == 0 {
		t.Errorf("the history of the account has no guest: %+v", all)
	}
	if out := b.run("", "account", "show", "ann"); !strings.Contains(out, "/in drop; /pub list,download,upload") {
		t.Error(out)
	}
}
