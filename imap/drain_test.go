package imap_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// A drain says goodbye to who waits, in IDLE or between commands, at once, and lets a command that runs end first.
func TestDrain(t *testing.T) {
	h := small(t)
	waits, idles, appends := login(t, h), login(t, h), login(t, h)
	idles.do("SELECT INBOX")
	idles.say("t IDLE")
	idles.until("+ ")
	appends.say("t APPEND Drafts {10}")
	appends.until("+ ")
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		drained <- h.registry.Drain(ctx)
	}()
	for _, l := range []*line{waits, idles} {
		if s := l.until("* BYE"); !strings.HasPrefix(s, "* BYE [UNAVAILABLE] ") {
			t.Error(s)
		}
		if b, err := io.ReadAll(l.r); err != nil || len(b) > 0 {
			t.Errorf("after the goodbye: %q %v", b, err)
		}
	}
	appends.say("a: b\r\n\r\nc")
	appends.until("t OK [APPENDUID")
	appends.until("* BYE")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if b := h.box(t, "ann", "Drafts"); b.Messages != 1 {
		t.Error("the APPEND was not stored")
	}
}

// A killed session's FETCH ends at the next message.
func TestKillDuringFetch(t *testing.T) {
	h := small(t)
	body := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 8000)
	for range 40 {
		h.put(t, "ann", "INBOX", body)
	}
	l := login(t, h)
	l.do("SELECT INBOX")
	l.say("t FETCH 1:* BODY.PEEK[]")
	l.until("* 1 FETCH")
	if n := h.registry.KillAccount(h.accounts["ann"].ID, session.ErrKilled); n != 1 {
		t.Fatal("killed", n)
	}
	b, _ := io.ReadAll(l.r)
	if strings.Contains(string(b), "\r\nt OK") || len(b) > 39*len(body) {
		t.Errorf("%d bytes came after the kill", len(b))
	}
}

// A drain finds those who wait with NOTIFY, and says goodbye over COMPRESS too.
func TestDrainListeners(t *testing.T) {
	h := small(t)
	var lines []*line
	for i := range 4 {
		l := login(t, h)
		if i%2 == 1 {
			l.compress()
		}
		if i < 2 {
			l.do("NOTIFY SET (personal (MessageNew MessageExpunge))")
		} else {
			l.do("SELECT INBOX")
			l.say("t IDLE")
			l.until("+ ")
		}
		lines = append(lines, l)
	}
	h.many(t, "ann", "INBOX", "1")
	for i, l := range lines {
		l.until([]string{"* STATUS INBOX", "* 1 EXISTS"}[i/2])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- h.registry.Drain(ctx) }()
	for _, l := range lines {
		l.until("* BYE [UNAVAILABLE] ")
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
