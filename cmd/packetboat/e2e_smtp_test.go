//go:build e2e

package main

import (
	"bytes"
	"crypto/rand"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEndToEndMail(t *testing.T) {
	b := launch(t, "--set", "limits.message_size=1MiB")
	server := "127.0.0.1"
	swaks := func(args ...string) (string, error) {
		return b.client("", "swaks", append([]string{"--server", server, "--helo", "client.example.net", "--timeout", "10"}, args...)...)
	}
	good := func(t *testing.T, args ...string) {
		t.Helper()
		if out, err := swaks(args...); err != nil {
			t.Fatalf("swaks %v: %v\n%s", args, err, out)
		}
	}
	refused := func(t *testing.T, reply string, args ...string) {
		t.Helper()
		out, err := swaks(args...)
		if err == nil || !strings.Contains(out, reply) {
			t.Fatalf("swaks %v: %v, want a refusal with %q\n%s", args, err, reply, out)
		}
	}
	mx, submission, submissions := b.port(25), b.port(587), b.port(465)
	ann := []string{"--auth-user", "ann@example.test", "--auth-password", annPassword, "--from", "ann@example.test"}

	t.Run("swaks to the MX in plaintext", func(t *testing.T) {
		good(t, "--port", mx, "--from", "someone@example.net", "--to", "ann@example.test", "--header", "Subject: plain-to-mx", "--body", "hello\n..\n.dots\nFrom here")
		m := b.message(t, "ann@example.test", annPassword, "plain-to-mx")
		for _, want := range []string{"Return-Path: <someone@example.net>", "Received: from client.example.net", ".dots"} {
			if !strings.Contains(m, want) {
				t.Errorf("message lacks %q:\n%s", want, m)
			}
		}
	})
	t.Run("swaks to the MX with STARTTLS", func(t *testing.T) {
		good(t, "--port", mx, "--tls", "--tls-ca-path", b.ca(), "--from", "someone@example.net", "--to", "joe+tag@example.test")
	})
	for name, how := range map[string][]string{
		"AUTH PLAIN over STARTTLS": {"--port", submission, "-tls", "--auth", "PLAIN"},
		"AUTH LOGIN over STARTTLS": {"--port", submission, "-tls", "--auth", "LOGIN"},
		"AUTH over implicit TLS":   {"--port", submissions, "--tls-on-connect", "--auth", "PLAIN"},
	} {
		t.Run("swaks "+name, func(t *testing.T) {
			good(t, append(append(how, ann...), "--to", "joe@example.test")...)
		})
	}
	t.Run("swaks attachment", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "data.bin")
		data := make([]byte, 100_000)
		rand.Read(data)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		good(t, append([]string{"--port", submission, "-tls", "--auth", "PLAIN", "--to", "joe@example.test", "--header", "Subject: with-attachment", "--attach", "@" + file}, ann...)...)
		m := b.message(t, "joe@example.test", joePassword, "with-attachment")
		if !bytes.Contains(attachment(t, m), data) {
			t.Error("the attachment arrived with other bytes")
		}
	})
	t.Run("swaks pipelining, one recipient bad", func(t *testing.T) {
		good(t, "--port", mx, "--pipeline", "--from", "a@example.net", "--to", "ann@example.test,nobody@example.test,joe@example.test", "--header", "Subject: pipelined")
		b.message(t, "ann@example.test", annPassword, "pipelined")
		b.message(t, "joe@example.test", joePassword, "pipelined")
	})
	t.Run("swaks 8-bit", func(t *testing.T) {
		good(t, "--port", mx, "--from", "a@example.net", "--to", "ann@example.test", "--header", "Subject: eight-bit", "--add-header", "Content-Type: text/plain; charset=utf-8",
			"--add-header", "Content-Transfer-Encoding: 8bit", "--body", "Grüße, 你好\n"+strings.Repeat("ä", 400))
		if m := b.message(t, "ann@example.test", annPassword, "eight-bit"); !strings.Contains(m, "Grüße, 你好\r\n"+strings.Repeat("ä", 400)) {
			t.Errorf("8-bit text is not as it was:\n%.2000s", m)
		}
	})
	t.Run("swaks in bad sequences: what was cut or quit early delivers nothing and harms nobody", func(t *testing.T) {
		for _, how := range [][]string{
			{"--quit-after", "CONNECT"}, {"--quit-after", "MAIL"}, {"--quit-after", "RCPT"}, {"--drop-after", "MAIL"}, {"--drop-after-send", "RCPT"},
			{"--drop-after", "DATA"}, {"--drop-after-send", "DATA"},
		} {
			swaks(append([]string{"--port", mx, "--from", "a@example.net", "--to", "ann@example.test", "--header", "Subject: never-whole"}, how...)...)
		}
		good(t, "--port", mx, "--from", "a@example.net", "--to", "ann@example.test", "--header", "Subject: after-them")
		b.message(t, "ann@example.test", annPassword, "after-them")
		if out := b.stray(t, "never-whole"); out != "" {
			t.Errorf("a message that never ended is there:\n%s", out)
		}
	})
	t.Run("swaks bad recipient", func(t *testing.T) {
		refused(t, "550 5.1.1", "--port", mx, "--from", "a@example.net", "--to", "nobody@example.test")
	})
	t.Run("swaks relay denied", func(t *testing.T) {
		refused(t, "550 5.7.1", "--port", mx, "--from", "a@example.net", "--to", "b@example.org")
	})
	t.Run("swaks foreign recipient on submission is a temporary refusal", func(t *testing.T) {
	})
	t.Run("swaks wrong password", func(t *testing.T) {
		refused(t, "535 5.7.8", "--port", submission, "-tls", "--auth", "PLAIN", "--auth-user", "ann@example.test", "--auth-password", "wrong", "--from", "ann@example.test", "--to", "joe@example.test")
	})
	t.Run("swaks somebody else's address", func(t *testing.T) {
		refused(t, "553 5.7.1", "--port", submission, "-tls", "--auth", "PLAIN", "--auth-user", "ann@example.test", "--auth-password", annPassword, "--from", "joe@example.test", "--to", "joe@example.test")
	})
	t.Run("swaks oversize", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "big")
		if err := os.WriteFile(file, bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"), 1<<15), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, "552 5.3.4", "--port", mx, "--from", "a@example.net", "--to", "ann@example.test", "--body", "@"+file)
	})
	t.Run("msmtp", func(t *testing.T) {
		b.must("From: ann@example.test\nTo: joe@example.test\nSubject: by-msmtp\n\nhello\n", "msmtp", "--host=localhost", "--port="+submission,
			"--tls=on", "--tls-starttls=on", "--tls-trust-file="+b.ca(), "--auth=on", "--user=ann@example.test", "--passwordeval=printf %s \""+annPassword+"\"",
			"--from=ann@example.test", "joe@example.test")
		m := b.message(t, "joe@example.test", joePassword, "by-msmtp")
		if msg, err := mail.ReadMessage(strings.NewReader(m)); err != nil || msg.Header.Get("Date") == "" || msg.Header.Get("Message-Id") == "" {
			t.Errorf("submission added no Date or Message-ID: %v\n%s", err, m)
		}
	})
	t.Run("curl smtp", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "m.eml")
		if err := os.WriteFile(file, []byte("From: ann@example.test\r\nTo: joe@example.test\r\nSubject: by-curl\r\n\r\nhi\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, url := range []string{"smtp://localhost:" + submission, "smtps://localhost:" + submissions} {
			b.must("", "curl", "-sS", "--ssl-reqd", "--cacert", b.ca(), "--url", url, "--mail-from", "ann@example.test", "--mail-rcpt", "joe@example.test",
				"--user", "ann@example.test:"+annPassword, "--upload-file", file)
		}
		b.message(t, "joe@example.test", joePassword, "by-curl")
	})
	t.Run("python smtplib", func(t *testing.T) {
		b.python(t, `
import smtplib
s = smtplib.SMTP("localhost", PORT+587); s.ehlo("py"); s.starttls(context=ctx); s.ehlo("py")
s.login("ann@example.test", ANN)
s.sendmail("ann@example.test", ["joe@example.test", "ann@example.test"], "From: ann@example.test\r\nSubject: by-smtplib\r\n\r\nä\r\n".encode(), ["BODY=8BITMIME"])
s.quit()
s = smtplib.SMTP_SSL("localhost", PORT+465, context=ctx); s.login("ann@example.test", ANN); s.noop(); s.quit()
`)
		b.message(t, "joe@example.test", joePassword, "by-smtplib")
		b.message(t, "ann@example.test", annPassword, "by-smtplib")
	})
}

// stray is what SEARCH finds in ann's INBOX by a subject that should not be there, "" for nothing.
func (b *boat) stray(t *testing.T, subject string) string {
	t.Helper()
	l := b.dialTLS(993)
	defer l.Close()
	if _, err := l.until("", "* OK"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{`a1 LOGIN "ann@example.test" "` + annPassword + `"`, "a2 SELECT INBOX"} {
		if out, err := l.until(c, c[:2]+" OK"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	out, err := l.until(`a3 SEARCH SUBJECT "`+subject+`"`, "a3 OK")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(out, "\r\n")
	return strings.TrimSpace(strings.TrimPrefix(first, "* SEARCH"))
}

// message waits until the INBOX of user holds a message with the subject, and returns its bytes.
func (b *boat) message(t *testing.T, user, password, subject string) string {
	t.Helper()
	return b.found(t, user, password, "INBOX", `SUBJECT "`+subject+`"`)
}

// found waits until a mailbox of user holds a message that SEARCH finds with a key, and returns the bytes of the last one.
func (b *boat) found(t *testing.T, user, password, mailbox, key string) string {
	t.Helper()
	l := b.dialTLS(993)
	defer l.Close()
	if _, err := l.until("", "* OK"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{`a1 LOGIN "` + user + `" "` + password + `"`, "a2 SELECT " + mailbox} {
		if out, err := l.until(c, c[:2]+" OK"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		out, err := l.until("s SEARCH "+key, "s OK")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		numbers := strings.Fields(strings.TrimPrefix(strings.Split(out, "\r\n")[0], "* SEARCH"))
		if !strings.HasPrefix(out, "* SEARCH") || len(numbers) == 0 {
			continue
		}
		out, err = l.until("f FETCH "+numbers[len(numbers)-1]+" BODY.PEEK[]", "f OK")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, m, _ := strings.Cut(out, "\r\n")
		return m
	}
	t.Fatalf("no message with %s came to %s of %s", key, mailbox, user)
	return ""
}
