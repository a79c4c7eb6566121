//go:build e2e

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth/session"
)

// login is an IMAP session of an account, with the reply to its LOGIN.
func (b *boat) login(t *testing.T, user, password string) (*line, string) {
	t.Helper()
	l := b.dialTLS(993)
	l.until("", "* OK")
	out, err := l.until(`a LOGIN `+user+` "`+password+`"`, "a ")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return l, out
}

// Each verb does on a running server what it says, at once and to those who are connected.
func TestEndToEndVerbs(t *testing.T) {
	b := launch(t)
	t.Run("domain", func(t *testing.T) {
		b.run("", "domain", "add", "other.test")
		var all []domainJSON
		b.json(&all, "domain", "list")
		if len(all) != 2 || !all[0].Default && !all[1].Default {
			t.Errorf("domains are %+v", all)
		}
		b.run("x y z 1 2 3\n", "account", "add", "sue@other.test", "--password-stdin")
		if out, err := b.try("", "domain", "remove", "other.test"); err == nil {
			t.Errorf("a domain in use was removed: %s", out)
		}
		b.run("", "account", "remove", "sue@other.test")
		b.run("", "domain", "remove", "other.test")
		if out := b.run("", "domain", "list"); strings.Contains(out, "other.test") {
			t.Error(out)
		}
	})
	t.Run("disable, enable, remove", func(t *testing.T) {
		l, out := b.login(t, "joe@example.test", joePassword)
		if !strings.Contains(out, "a OK") {
			t.Fatal(out)
		}
		b.run("", "account", "disable", "joe")
		if out, err := l.until("", "* BYE"); err != nil || !strings.Contains(out, "disabled") {
			t.Errorf("no BYE for a disabled account: %v %s", err, out)
		}
		if _, out := b.login(t, "joe@example.test", joePassword); !strings.Contains(out, "AUTHENTICATIONFAILED") {
			t.Errorf("a disabled account got %s", out)
		}
		b.must("", "swaks", "--server", "127.0.0.1", "--port", b.port(25), "--from", "a@example.net", "--to", "joe@example.test")
		b.run("", "account", "enable", "joe")
		l, out = b.login(t, "joe@example.test", joePassword)
		if !strings.Contains(out, "a OK") {
			t.Errorf("an enabled account got %s", out)
		}
		if out, err := l.until("s STATUS INBOX (MESSAGES)", "s OK"); err != nil || !strings.Contains(out, "MESSAGES 1") {
			t.Errorf("mail for a disabled account: %v %s", err, out)
		}
		b.run("", "account", "remove", "joe")
		if out, err := l.until("", "* BYE"); err != nil || !strings.Contains(out, "removed") {
			t.Errorf("no BYE for a removed account: %v %s", err, out)
		}
		if out, err := b.try("", "account", "show", "joe"); err == nil {
			t.Error(out)
		}
	})
	t.Run("session show and kill --account", func(t *testing.T) {
		one, _ := b.login(t, "ann@example.test", annPassword)
		two, _ := b.login(t, "ann@example.test", annPassword)
		found := b.find(t, "ann@example.test", "imaps")
		var s session.Info
		b.json(&s, "session", "show", found.ID)
		if s.ID != found.ID || s.Protocol != session.IMAP || !strings.HasPrefix(s.TLS, "TLS 1.") {
			t.Errorf("shown: %+v", s)
		}
		if out, err := b.try("", "session", "show", "01NOSUCH"); err == nil {
			t.Error(out)
		}
		if out := b.run("", "session", "kill", "--account", "ann"); out != "2 killed\n" {
			t.Error(out)
		}
		for _, l := range []*line{one, two} {
			if out, err := l.until("", "* BYE"); err != nil {
				t.Errorf("no BYE: %v %s", err, out)
			}
		}
	})
	t.Run("health, version, completion", func(t *testing.T) {
		var h healthJSON
		b.json(&h, "health")
		var v map[string]string
		b.json(&v, "version")
		if !h.OK || !h.Running || h.Version != v["version"] || v["version"] == "" {
			t.Errorf("health %+v, version %v", h, v)
		}
		for _, shell := range []string{"bash", "zsh", "fish"} {
			if out := b.run("", "completion", shell); !strings.Contains(out, "packetboat") {
				t.Errorf("completion for %s: %q", shell, out)
			}
		}
	})
	t.Run("mailbox stats and reindex", func(t *testing.T) {
		b.must("", "swaks", "--server", "127.0.0.1", "--port", b.port(25), "--from", "a@example.net", "--to", "ann@example.test", "--body", "a zqx42z in it")
		var all mailboxesJSON
		b.json(&all, "mailbox", "stats", "ann", "INBOX")
		if len(all.Mailboxes) != 1 || all.Mailboxes[0].Messages == 0 || all.Mailboxes[0].UIDNext < 2 || !all.Index.On || !all.Index.Running {
			t.Errorf("%+v", all)
		}
		var i indexJSON
		b.json(&i, "mailbox", "reindex", "--wait")
		if i.Unindexed != 0 || i.Indexed == 0 || i.Bytes == 0 || i.Error != "" {
			t.Errorf("after a reindex: %+v", i)
		}
		b.json(&all, "mailbox", "stats", "ann")
		if m := all.Mailboxes[0]; m.Name != "INBOX" || m.Unindexed == nil || *m.Unindexed != 0 || *m.Indexed != m.Messages {
			t.Errorf("after a reindex: %+v", m)
		}
		l, _ := b.login(t, "ann@example.test", annPassword)
		l.until("e EXAMINE INBOX", "e OK")
		if out, err := l.until("s SEARCH TEXT ZQX42Z", "s OK"); err != nil || !strings.Contains(out, "* SEARCH 1") {
			t.Errorf("searching by the index: %v %s", err, out)
		}
		if out := b.run("", "mailbox", "stats"); !strings.Contains(out, "ann@example.test") || !strings.Contains(out, "search index: ") {
			t.Error(out)
		}
		if out, err := b.try("", "mailbox", "stats", "ann", "nope"); err == nil {
			t.Error(out)
		}
	})
	b.stop()
	t.Run("a stopped server", func(t *testing.T) {
		if out, err := b.try("", "health"); err == nil {
			t.Error(out)
		}
		if out, err := b.try("", "session", "kill", "--account", "ann"); err == nil {
			t.Error(out)
		}
		b.run("", "domain", "add", "later.test")
		b.run("", "account", "disable", "ann")
		for _, verb := range [][]string{{"account", "list"}, {"account", "show", "ann"}, {"domain", "list"}, {"session", "history"}, {"mailbox", "stats"}, {"mailbox", "stats", "ann"}, {"mailbox", "reindex"}, {"config", "print"}, {"config", "check"}, {"version"}} {
			if out := b.run("", append(verb, "--json")...); !json.Valid([]byte(out)) {
				t.Errorf("%v --json: %s", verb, out)
			}
		}
		var a accountJSON
		b.json(&a, "account", "show", "ann")
		if !a.Disabled {
			t.Errorf("ann is %+v", a)
		}
	})
}
