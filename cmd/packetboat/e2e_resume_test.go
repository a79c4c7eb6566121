//go:build e2e

package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// files is an FTP session of ann's, with the reply to her password.
func (b *boat) files(t *testing.T) (*line, string) {
	t.Helper()
	l, err := b.plain(21)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	l.say(t, "", "220 ")
	l.say(t, "USER ann@example.test", "331 ")
	return l, l.say(t, "PASS "+annPassword, "230 ")
}

// say sends a line and wants a reply.
func (l *line) say(t *testing.T, text, reply string) string {
	t.Helper()
	out, err := l.until(text, reply)
	if err != nil {
		t.Fatalf("%s: %v\n%s", text, err, out)
	}
	return out
}

// A client goes on where it was when the server was restarted under it: its folder, and the part of the upload that the restart cut; what the
// administrator sees of it, and that a new password ends it.
func TestEndToEndResume(t *testing.T) {
	b := launch(t, "--set", "ftp.restore_cwd=on", "--set", "server.drain_timeout=1s")
	l, welcome := b.files(t)
	if welcome != "230 Welcome.\r\n" {
		t.Fatalf("the first login got %q", welcome)
	}
	l.say(t, "MKD /scans", "257 ")
	l.say(t, "CWD /scans", "250 ")
	l.say(t, "TYPE I", "200 ")
	d, err := l.data()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l.say(t, "STOR a.pdf", "150 ")
	if _, err := io.WriteString(d, strings.Repeat("first half ", 100)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if s := b.find(t, "ann@example.test", "ftp"); s.BytesIn > 1100 || strings.Contains(s.Activity, "1.1 kB") {
			break
		}
		if time.Now().After(deadline) {
			break // the counters of data connections are not its; what came is looked at below
		}
	}
	b.stop()
	b.start()
	l, welcome = b.files(t)
	if welcome != "230 Welcome back, in \"/scans\".\r\n" {
		t.Errorf("after the restart: %q", welcome)
	}
	out := l.say(t, "SITE RESUME", "200 ")
	if !strings.Contains(out, ` Folder: "/scans"`) || !strings.Contains(out, " Type: I") || !strings.Contains(out, " 1100 /scans/a.pdf; ") {
		t.Errorf("after the restart: %s", out)
	}
	var all uploadsJSON
	if b.json(&all, "account", "uploads", "ann"); len(all.Uploads) != 1 || all.Uploads[0].Path != "/scans/a.pdf" || all.Uploads[0].Bytes != 1100 {
		t.Errorf("%+v", all)
	}
	l.say(t, "TYPE I", "200 ")
	if d, err = l.data(); err != nil {
		t.Fatal(err)
	}
	l.say(t, "REST 1100", "350 ")
	l.say(t, "STOR a.pdf", "150 ")
	io.WriteString(d, "second half")
	d.Close()
	l.say(t, "", "226 ")
	if out := l.say(t, "SIZE a.pdf", "213 "); out != "213 1111\r\n" {
		t.Error(out)
	}
	b.run(annPassword+"\n", "account", "passwd", "ann", "--password-stdin")
	if _, welcome = b.files(t); welcome != "230 Welcome.\r\n" {
		t.Errorf("after a new password: %q", welcome)
	}
	b.quiet()
}

// kill -9 while many sessions come and go leaves each client where it was at the end of one of its sessions, or at home.
func TestCrashResume(t *testing.T) {
	b := launch(t, "--set", "ftp.restore_cwd=on")
	l, _ := b.files(t)
	for i := range 3 {
		l.say(t, fmt.Sprintf("MKD /f%d", i), "257 ")
	}
	l.say(t, "QUIT", "221 ")
	for round := range 3 {
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					l, err := b.plain(21)
					if err != nil {
						return
					}
					for _, step := range [][2]string{{"", "220 "}, {"USER ann@example.test", "331 "}, {"PASS " + annPassword, "230 "},
						{fmt.Sprintf("CLNT device%d", w), "200 "}, {fmt.Sprintf("CWD /f%d", i%3), "250 "}, {"QUIT", "221 "}} {
						if _, err = l.until(step[0], step[1]); err != nil {
							break
						}
					}
					l.Close()
					if err != nil {
						return
					}
				}
			})
		}
		time.Sleep(300 * time.Millisecond)
		b.kill()
		wg.Wait()
		b.start()
		l, welcome := b.files(t)
		out := l.say(t, "PWD", "257 ")
		switch {
		case welcome == "230 Welcome.\r\n" && strings.HasPrefix(out, `257 "/" `):
		case strings.HasPrefix(welcome, `230 Welcome back, in "/f`) && strings.HasPrefix(out, `257 "/f`):
		default:
			t.Errorf("round %d: %q, %q", round, welcome, out)
		}
		l.say(t, "SITE RESUME", "200 ")
	}
}

// Who guesses at a password over three protocols in turn has no more guesses than over one, and then is refused by each of them, also with the right one.
func TestEndToEndGuessing(t *testing.T) {
	t.Parallel() // most of it is waiting
	b := launch(t)
	guess := 0
	refused := func(protocol string) bool {
		t.Helper()
		guess++
		user, password := "joe@example.test", fmt.Sprintf("guess %d", guess)
		switch protocol {
		case "ftp":
			l, err := b.plain(21)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			l.say(t, "", "220 ")
			l.say(t, "USER "+user, "331 ")
			return strings.Contains(l.say(t, "PASS "+password, "530 "), "try again later")
		case "imap":
			_, out := b.login(t, user, password)
			if strings.Contains(out, "a OK") {
				t.Fatal(out)
			}
			return !strings.Contains(out, "AUTHENTICATIONFAILED")
		default:
			l := b.dialTLS(465)
			l.say(t, "", "220 ")
			l.say(t, "EHLO x.example.net", "250 ")
			out, err := l.until("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)), "535 ", "454 ", "4")
			if err != nil {
				t.Fatal(err, out)
			}
			return !strings.HasPrefix(out, "535 ")
		}
	}
	protocols := []string{"ftp", "imap", "smtp"}
	for i := 0; !refused(protocols[i%3]); i++ {
		if i == 12 {
			t.Fatal("twelve guesses over three protocols are not refused")
		}
	}
	for _, p := range protocols {
		if !refused(p) {
			t.Errorf("%s takes further guesses", p)
		}
	}
	if _, out := b.login(t, "joe@example.test", joePassword); strings.Contains(out, "a OK") {
		t.Errorf("who guessed gets in: %s", out)
	}
}
