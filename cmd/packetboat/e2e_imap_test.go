//go:build e2e

package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// python runs a script with PORT (the base), ANN and JOE (passwords) and ctx (TLS that trusts the CA) set.
func (b *boat) python(t *testing.T, script string) string {
	t.Helper()
	head := fmt.Sprintf("import ssl\nPORT=%d\nANN=%q\nJOE=%q\nCA=%q\nctx=ssl.create_default_context(cafile=CA)\n", b.base, annPassword, joePassword, b.ca())
	return b.must(head+script, "python3", "-")
}

// attachment is the decoded first base64 part of a message.
func attachment(t *testing.T, text string) []byte {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err != nil {
			t.Fatalf("no base64 part: %v", err)
		}
		if strings.EqualFold(p.Header.Get("Content-Transfer-Encoding"), "base64") {
			data, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
}

func TestEndToEndMailboxes(t *testing.T) {
	b := launch(t)
	t.Run("python imaplib", func(t *testing.T) {
		b.python(t, `
import imaplib, time
for how in ("tls", "starttls"):
    if how == "tls":
        c = imaplib.IMAP4_SSL("localhost", PORT+993, ssl_context=ctx)
    else:
        c = imaplib.IMAP4("localhost", PORT+143); c.starttls(ctx)
    c.login("ann@example.test", ANN)
    assert c.select("INBOX")[0] == "OK"
    typ, data = c.append("INBOX", r"(\Flagged hello)", imaplib.Time2Internaldate(time.time()), b"Subject: from imaplib\r\n\r\nbody\r\n")
    assert typ == "OK" and b"APPENDUID" in data[0], data
    typ, data = c.search(None, "SUBJECT", "imaplib"); assert data[0], data
    n = data[0].split()[-1]
    typ, data = c.fetch(n, "(FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT]<1.3>)"); assert b"ody" in data[0][1], data
    assert c.store(n, "+FLAGS", r"(\Seen)")[0] == "OK"
    assert c.create("Projects/" + how)[0] == "OK"
    assert c.copy(n, "Projects/" + how)[0] == "OK"
    assert c.store(n, "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert c.expunge()[0] == "OK"
    typ, data = c.status("Projects/" + how, "(MESSAGES UIDNEXT UNSEEN)"); assert b"MESSAGES 1" in data[0], data
    assert any(b"Trash" in x for x in c.list()[1])
    c.logout()
`)
	})
	t.Run("curl imap", func(t *testing.T) {
		user := []string{"-sS", "--ssl-reqd", "--cacert", b.ca(), "--user", "ann@example.test:" + annPassword}
		out := b.must("", "curl", append(user, "imaps://localhost:"+b.port(993)+"/")...)
		if !strings.Contains(out, "INBOX") {
			t.Errorf("no INBOX in\n%s", out)
		}
		file := filepath.Join(t.TempDir(), "m")
		if err := os.WriteFile(file, []byte("Subject: curled\r\n\r\nthe body\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.must("", "curl", append(user, "imap://localhost:"+b.port(143)+"/Drafts", "-T", file)...)
		if out = b.must("", "curl", append(user, "imaps://localhost:"+b.port(993)+"/Drafts;MAILINDEX=1;SECTION=TEXT")...); !strings.Contains(out, "the body") {
			t.Errorf("no body in %q", out)
		}
	})
	t.Run("mutt reads", func(t *testing.T) {
		saved := filepath.Join(t.TempDir(), "saved")
		rc := filepath.Join(t.TempDir(), "muttrc")
		text := fmt.Sprintf("set folder=imaps://localhost:%s/\nset imap_user=\"ann@example.test\"\nset imap_pass=\"%s\"\nset ssl_starttls=no\nset certificate_file=%s\n"+
			"set ssl_ca_certificates_file=%s\nset spoolfile=+Drafts\nset confirmappend=no\nset confirmcreate=no\nset delete=yes\nset wait_key=no\nset quit=yes\nset header_cache=\n"+
			"push \"<tag-pattern>~A<enter><tag-prefix><copy-message>%s<enter><quit>\"\n", b.port(993), annPassword, b.ca(), b.ca(), saved)
		if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := b.onTerminal("mutt", "-n", "-F", rc)
		m, rerr := os.ReadFile(saved)
		if rerr != nil || !strings.Contains(string(m), "the body") {
			t.Errorf("mutt saved nothing: %v, %v\n%q", err, rerr, out)
		}
	})
	t.Run("mbsync both ways", func(t *testing.T) { b.mbsync(t) })
}

// syncCount is how many messages mbsync carries.
const syncCount = 5000

// mbsync pushes 5,000 messages, pulls them into a second Maildir, and finds nothing to do the second time.
func (b *boat) mbsync(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"one/sync/cur", "one/sync/new", "one/sync/tmp", "two/sync/cur", "two/sync/new", "two/sync/tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range syncCount {
		text := fmt.Sprintf("From: a@example.net\nTo: ann@example.test\nSubject: message %d\nMessage-ID: <m%d@example.net>\n\n%s\n", i, i, strings.Repeat("line of text\n", i%40))
		name := filepath.Join(dir, "one/sync/cur", fmt.Sprintf("%d.test:2,%s", i, map[bool]string{true: "S"}[i%2 == 0]))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rc := filepath.Join(dir, "mbsyncrc")
	var text strings.Builder
	fmt.Fprintf(&text, "IMAPAccount a\nHost localhost\nPort %s\nUser ann@example.test\nPass \"%s\"\nSSLType IMAPS\nCertificateFile %s\nSystemCertificates no\n\nIMAPStore remote\nAccount a\n\n", b.port(993), annPassword, b.ca())
	for _, s := range []string{"one", "two"} {
		fmt.Fprintf(&text, "MaildirStore %s\nPath %s/%s/\nInbox %s/%s/INBOX\n\nChannel %s\nFar :remote:sync\nNear :%s:sync\nCreate Both\nExpunge Both\nSyncState *\n\n", s, dir, s, dir, s, s, s)
	}
	if err := os.WriteFile(rc, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	count := func(s string) int {
		n := 0
		for _, d := range []string{"cur", "new"} {
			entries, err := os.ReadDir(filepath.Join(dir, s, "sync", d))
			if err != nil {
				t.Fatal(err)
			}
			n += len(entries)
		}
		return n
	}
	status := func() string {
		l := b.dialTLS(993)
		defer l.Close()
		l.until("", "* OK")
		l.until(`a LOGIN ann@example.test "`+annPassword+`"`, "a OK")
		out, err := l.until("b STATUS sync (MESSAGES UNSEEN UIDNEXT)", "b OK")
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(strings.Split(out, "\r\n")[0], ")", " ")
	}
	b.must("", "mbsync", "-c", rc, "one")
	if s := status(); !strings.Contains(s, fmt.Sprintf("MESSAGES %d ", syncCount)) || !strings.Contains(s, fmt.Sprintf("UNSEEN %d ", syncCount/2)) {
		t.Fatalf("after the push: %s", s)
	}
	b.must("", "mbsync", "-c", rc, "two")
	if n := count("two"); n != syncCount {
		t.Fatalf("%d messages were pulled, want %d", n, syncCount)
	}
	before := status()
	b.must("", "mbsync", "-c", rc, "one")
	out := b.must("", "mbsync", "-V", "-c", rc, "two")
	if s := status(); s != before || count("one") != syncCount || count("two") != syncCount {
		t.Errorf("the second run was no no-op: %s, then %s\n%s", before, s, out)
	}
	// A deletion and a flag travel.
	entries, err := os.ReadDir(filepath.Join(dir, "two/sync/cur"))
	if err != nil || len(entries) == 0 {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "two/sync/cur", entries[0].Name())); err != nil {
		t.Fatal(err)
	}
	b.must("", "mbsync", "-c", rc, "two")
	b.must("", "mbsync", "-c", rc, "one")
	if n := count("one"); n != syncCount-1 {
		t.Errorf("%d messages after a deletion, want %d", n, syncCount-1)
	}
}
