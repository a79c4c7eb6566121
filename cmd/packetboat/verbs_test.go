//go:build e2e

package main

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// Verbs on a stopped server wait for one another.
func TestEndToEndParallelVerbs(t *testing.T) {
	b := launch(t)
	b.stop()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if out, err := b.try("", "account", "add", fmt.Sprint("user", i)); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	var all []accountJSON
	if b.json(&all, "account", "list"); len(all) != 9 {
		t.Errorf("%d accounts", len(all))
	}
}

// What is wrong with a request is said in words that name it.
func TestEndToEndRefusedVerbs(t *testing.T) {
	b := launch(t)
	for _, c := range []struct{ args, want string }{
		{"account add ann", "ann@example.test: exists already"},
		{"account add eve --alias joe", "joe@example.test: exists already"},
		{"account add eve --alias eve", "named twice"},
		{"account add eve@other.test", "packetboat domain add"},
		{"account show eve", `account "eve"`},
		{"account show ..", "is no name"},
		{"domain remove example.test", "addresses are in it"},
		{"domain remove other.test", "there is none"},
		{"session history --limit 0", "--limit"},
		{"account nonsense", "nonsense"},
		{"session nonsense", "nonsense"},
	} {
		if out, err := b.try("", strings.Fields(c.args)...); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v\n%s", c.args, err, out)
		}
	}
}

// A second SIGTERM does not wait for sessions that are busy.
func TestEndToEndSecondSignal(t *testing.T) {
	b := launch(t)
	l, err := b.plain(25)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, step := range [][2]string{{"", "220 "}, {"EHLO x", "250 "}, {"MAIL FROM:<>", "250 "}, {"RCPT TO:<ann@example.test>", "250 "}, {"DATA", "354 "}} {
		if _, err := l.until(step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	b.cmd.Process.Signal(syscall.SIGTERM)
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(b.stderr.String(), "saying goodbye"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("SIGTERM had no effect\n%s", b.stderr)
		}
	}
	b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(10 * time.Second): // drain_timeout is 20 s
		t.Error("a second SIGTERM had no effect")
	}
}

// The history is as long as history.max says.
func TestEndToEndHistoryMax(t *testing.T) {
	b := launch(t)
	for range 5 {
		b.imap(t).Close()
	}
	b.stop()
	b.args = []string{"--set", "history.max=2"}
	b.start()
	var all []session.Info
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if b.json(&all, "session", "history"); len(all) == 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are kept", len(all))
		}
	}
}
