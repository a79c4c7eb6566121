//go:build e2e

package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

// The scripts across protocols run against the real binary.
func TestEndToEndScripts(t *testing.T) {
	sessiontest.PlayFiles(t, "testdata/script/*.txt", func(t *testing.T) sessiontest.Env {
		b := launch(t)
		// A TLS session cache would let one client's ticket be used by the other.
		config := b.tls()
		config.ClientSessionCache = nil
		dial := func(standard int) func(context.Context) (net.Conn, error) { return sessiontest.TCP(b.addr(standard)) }
		return sessiontest.Env{
			Dial: map[string]func(context.Context) (net.Conn, error){
				"imap": dial(143), "imaps": sessiontest.OverTLS(b.addr(993), config),
				"mx": dial(25), "submission": dial(587), "submissions": sessiontest.OverTLS(b.addr(465), config),
				"ftp": dial(21), "ftps": sessiontest.OverTLS(b.addr(990), config),
			},
			Do:  b.scriptCommands(),
			TLS: config,
			Vars: map[string]string{
				"ann": annPassword, "joe": joePassword,
				"joeplain": base64.StdEncoding.EncodeToString([]byte("\x00joe@example.test\x00" + joePassword)),
			},
		}
	})
}

// scriptCommands are what a script may do beside speaking protocols.
func (b *boat) scriptCommands() map[string]func(t testing.TB, args ...string) {
	var clock time.Time
	return map[string]func(t testing.TB, args ...string){
		"clock": func(testing.TB, ...string) { clock = time.Now() },
		// within MS logs how long it took since clock; a machine may be slow, so that only seconds are a failure.
		"within": func(t testing.TB, args ...string) {
			goal, _ := strconv.Atoi(args[0])
			took := time.Since(clock)
			t.Logf("took %v (goal %d ms)", took.Round(time.Millisecond/10), goal)
			if took > 20*time.Second {
				t.Fatalf("took %v", took)
			}
		},
		"lftp": func(t testing.TB, args ...string) {
			out := b.must("", "lftp", "-c", fmt.Sprintf("set ssl:ca-file %s; set cmd:fail-exit yes; set net:timeout 10; open -u ann@example.test,\"%s\" ftp://localhost:%s; %s",
				b.ca(), annPassword, b.port(21), args[0]))
			if !strings.Contains(out, args[1]) {
				t.Fatalf("lftp %s: no %q in\n%s", args[0], args[1], out)
			}
		},
		"upload": func(t testing.TB, args ...string) {
			if out, err := b.upload(args[0], args[1]); err != nil || !strings.HasPrefix(out, "226 ") {
				t.Fatalf("upload of %s: %v %s", args[0], err, out)
			}
		},
		"refuse": func(t testing.TB, args ...string) {
			if out, err := b.upload(args[0], args[1]); err != nil || !strings.HasPrefix(out, "5") {
				t.Fatalf("upload of %s: %v %s, want a refusal", args[0], err, out)
			}
		},
		"usage": func(t testing.TB, args ...string) {
			var a accountJSON
			b.json(&a, "account", "show", "ann@example.test")
			want, _ := strconv.ParseInt(args[0], 10, 64)
			if a.Messages+a.Files != want || a.Used < 10+50 {
				t.Fatalf("usage is %+v, want %d items", a, want)
			}
		},
		"see":  func(t testing.TB, args ...string) { b.see(t, args...) },
		"kill": func(t testing.TB, args ...string) { b.run("", "session", "kill", b.find(t, args[0], args[1]).ID) },
		"gone": func(t testing.TB, args ...string) { b.gone(t, args[0], args[1]) },
		"acl":  func(t testing.TB, args ...string) { b.run("", append([]string{"mailbox", "acl"}, args...)...) },
		"passwd": func(t testing.TB, args ...string) {
			b.run(args[1]+"\n", "account", "passwd", args[0], "--password-stdin")
		},
	}
}

// upload stores a file over plain FTP as ann and returns the final reply.
func (b *boat) upload(path, text string) (string, error) {
	l, err := b.ftp()
	if err != nil {
		return "", err
	}
	defer l.Close()
	d, err := l.data()
	if err != nil {
		return "", err
	}
	defer d.Close()
	if out, err := l.until("STOR "+path, "150 ", "5"); err != nil || strings.HasPrefix(out, "5") {
		return out, err
	}
	if _, err := io.WriteString(d, text); err != nil {
		return "", err
	}
	d.Close()
	return l.until("", "226 ", "4", "5")
}

// find is the one session of an account on a listener that is not the test's own lookup.
func (b *boat) find(t testing.TB, account, listener string) session.Info {
	t.Helper()
	var all []session.Info
	b.json(&all, "session", "list")
	for _, s := range all {
		if s.Account == account && s.Listener == listener {
			return s
		}
	}
	t.Fatalf("no session of %s on %s in %+v", account, listener, all)
	return session.Info{}
}

func (b *boat) see(t testing.TB, args ...string) {
	t.Helper()
	s := b.find(t, args[0], args[1])
	text := fmt.Sprintf("%s %s %s", s.State, s.Activity, s.Open)
	for _, want := range args[2:] {
		if !strings.Contains(text, want) {
			t.Fatalf("session of %s on %s shows %q, want %q in it", args[0], args[1], text, want)
		}
	}
	if s.Remote == "" || s.Commands == 0 || s.BytesIn == 0 || s.BytesOut == 0 || s.Started.IsZero() {
		t.Fatalf("session shows too little: %+v", s)
	}
}

func (b *boat) gone(t testing.TB, account, listener string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var all []session.Info
		b.json(&all, "session", "list")
		there := false
		for _, s := range all {
			there = there || s.Account == account && s.Listener == listener
		}
		if !there {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the session of %s on %s is still there", account, listener)
		}
	}
	// The history is written behind the session's end.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var past []session.Info
		b.json(&past, "session", "history", "--account", account)
		for _, s := range past {
			if s.Listener == listener && strings.Contains(s.EndReason, "killed") {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the history does not show the killed session: %+v", past)
		}
	}
}
