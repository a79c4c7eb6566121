package imap_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/imap"
)

// SORT, THREAD, searches of the usual fields and what a list of messages shows open no message: they are answered when all of them are gone.
func TestListsOpenNothing(t *testing.T) {
	h := small(t)
	for i := range 20 {
		h.letter(t, "ann", "INBOX", "2026-02-03T04:05:06Z", fmt.Sprintf("Subject: number %d", i), fmt.Sprintf("Message-ID: <%d@example.test>", i), fmt.Sprintf("References: <%d@example.test>", i/2),
			"From: Joe <joe@example.test>", "Date: Tue, 3 Feb 2026 04:05:06 +0000", "", "shown first", strings.Repeat("a line of a large message\r\n", 5000))
	}
	gone := 0
	err := filepath.WalkDir(filepath.Join(h.dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		gone++
		return os.Remove(path)
	})
	if err != nil || gone < 20 {
		t.Fatal(gone, err)
	}
	l := login(t, h)
	l.do("SELECT INBOX")
	for command, want := range map[string]string{
		"SORT (REVERSE SUBJECT FROM DATE SIZE ARRIVAL) UTF-8 ALL": "* SORT 10 ",
		"THREAD REFERENCES UTF-8 ALL":                             "* THREAD (",
		"THREAD REFS UTF-8 ALL":                                   "* THREAD (",
		"THREAD ORDEREDSUBJECT UTF-8 ALL":                         "* THREAD (",
		"SEARCH SUBJECT number FROM joe SENTON 3-Feb-2026":        "* SEARCH 1 2",
		"FETCH 20 (ENVELOPE BODYSTRUCTURE PREVIEW THREADID)":      "* 20 FETCH (THREADID (T",
		"FETCH 20 BODY.PEEK[HEADER.FIELDS (SUBJECT)]":             "* 20 FETCH (BODY[HEADER.FIELDS (SUBJECT)]",
	} {
		l.say("t " + command)
		if s := l.until(""); !strings.HasPrefix(s, want) {
			t.Errorf("%s: %.200s", command, s)
		}
		if s := l.until("t "); !strings.HasPrefix(s, "t OK") {
			t.Error(command, s)
		}
	}
	if s := l.do("FETCH 1 BODY.PEEK[TEXT]"); strings.HasPrefix(s, "t OK") {
		t.Error("they were not gone:", s)
	}
}

// A session is one goroutine, whatever it does and over whatever it does it.
func TestOneGoroutine(t *testing.T) {
	h := open(t, imap.Options{IdleKeepalive: time.Hour}, "")
	const sessions = 30
	var lines []*line
	settle := func() int {
		n := runtime.NumGoroutine()
		for range 60 { // those of before may still be ending
			time.Sleep(5 * time.Millisecond)
			n = min(n, runtime.NumGoroutine())
		}
		return n
	}
	before := settle()
	for i := range sessions {
		l := dialTLS(t, h)
		lines = append(lines, l)
		l.do("LOGIN ann@example.test secret")
		if i%2 == 0 {
			l.compress()
		}
		l.do("SELECT INBOX")
		if i%3 == 0 {
			l.do("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))")
			continue
		}
		l.say("t IDLE")
		l.until("+ ")
	}
	if n := settle() - before; n > sessions {
		t.Errorf("%d goroutines for %d sessions", n, sessions)
	}
	h.many(t, "ann", "INBOX", "1")
	for _, l := range lines {
		l.until("* 1 EXISTS")
	}
	for _, s := range h.registry.List() {
		if s.State != session.Idle {
			t.Errorf("%+v", s)
		}
	}
}
