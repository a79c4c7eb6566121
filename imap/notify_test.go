package imap_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// A client that does not read is brought up to date when it does: one STATUS tells a thousand changes, and what it is told of the open mailbox is the
// difference. Nothing was queued for it.
func TestNotifySlowReader(t *testing.T) {
	h, _, l := counted(t)
	h.many(t, "ann", "INBOX", "2")
	for i := range 40 {
		if _, err := h.store.CreateMailbox(t.Context(), h.accounts["ann"].ID, fmt.Sprintf("box%02d", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	l.do("SELECT INBOX")
	l.do("NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge MailboxName))")
	// It says a command and nothing more of it: while that is so it can be told nothing.
	ses := h.registry.Of(h.accounts["ann"].ID)[0]
	had := ses.Info().BytesIn
	if _, err := l.Conn.Write([]byte("t NO")); err != nil {
		t.Fatal(err)
	}
	for by := time.Now().Add(30 * time.Second); ses.Info().BytesIn == had && time.Now().Before(by); {
		time.Sleep(time.Millisecond)
	}
	for i := range 200 { // more than is remembered one by one
		h.put(t, "ann", fmt.Sprintf("box%02d", i%5), "a: b\r\n\r\nc")
		h.put(t, "ann", "INBOX", "a: b\r\n\r\nc")
	}
	h.expunge(t, "ann", "INBOX", "1,5")
	if err := h.store.DeleteMailbox(t.Context(), h.accounts["ann"].ID, "box39", false); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Conn.Write([]byte("OP\r\n")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "* STATUS box04") {
		got = append(got, l.until(""))
	}
	count := map[string]int{}
	for _, s := range got {
		f := strings.Fields(s)
		switch {
		case len(f) > 2 && f[1] == "STATUS":
			count[f[2]]++
			if !strings.HasSuffix(s, "(MESSAGES 40 UIDNEXT 41)") {
				t.Error(s)
			}
		case len(f) > 2:
			count[f[2]]++
		}
	}
	for _, what := range []string{"box00", "box01", "box02", "box03", "box04"} {
		if count[what] != 1 {
			t.Errorf("%d STATUS of %s", count[what], what)
		}
	}
	if count["EXISTS"] != 1 || count["FETCH"] != 199 || count["EXPUNGE"] != 1 {
		t.Errorf("told %v", count)
	}
	if s := l.do("NOOP"); s != "t OK NOOP completed" {
		t.Error(s)
	}
}

// Whoever asks for too much is refused, or told that it has become too much (RFC 5465 section 5.8).
func TestNotifyOverflow(t *testing.T) {
	h := small(t)
	names := make([]string, 1100)
	for i := range names {
		names[i] = fmt.Sprintf("n%d", i)
	}
	l := login(t, h)
	if s := l.do("NOTIFY SET (mailboxes (%s) (MessageNew MessageExpunge))", strings.Join(names, " ")); !strings.HasPrefix(s, "t NO [") {
		t.Error(s)
	}
	if s := l.do("NOTIFY SET %s", strings.TrimSuffix(strings.Repeat("(personal (MailboxName)) ", 101), " ")); !strings.HasPrefix(s, "t NO [NOTIFICATIONOVERFLOW]") {
		t.Error(s)
	}
	if s := l.do("NOTIFY SET (selected (MessageNew (%s) MessageExpunge))", strings.Repeat("(", 200)); !strings.HasPrefix(s, "t BAD") {
		t.Error(s)
	}
	// Others share mailboxes of so many accounts that the session will not follow them all.
	if s := l.do("NOTIFY SET (subtree Shared (MessageNew MessageExpunge MailboxName))"); !strings.HasPrefix(s, "t OK") {
		t.Fatal(s)
	}
	for i := range 33 {
		a, err := h.store.CreateAccount(t.Context(), storage.NewAccount{Name: fmt.Sprintf("friend%d@example.test", i)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := h.store.Mailbox(t.Context(), a.ID, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		g := storage.Grant{Account: h.accounts["ann"].ID, Rights: storage.MayLookup | storage.MayRead}
		if err := h.store.SetACL(t.Context(), a.ID, b.ID, storage.ACLChange{Grant: g}); err != nil {
			t.Fatal(err)
		}
	}
	l.until("* OK [NOTIFICATIONOVERFLOW]")
	l.do("NOOP")
	if s := l.do("NOTIFY SET (subtree Shared (MessageNew MessageExpunge))"); !strings.HasPrefix(s, "t NO [NOTIFICATIONOVERFLOW]") {
		t.Error(s)
	}
}

// Many that wait, in IDLE and with NOTIFY, all hear of a change, also over COMPRESS.
func TestNotifyMany(t *testing.T) {
	h := small(t)
	var lines []*line
	for i := range 60 {
		l := login(t, h)
		if i%2 == 0 {
			l.compress()
		}
		if i%3 == 0 {
			l.do("SELECT INBOX")
			l.say("t IDLE")
			l.until("+ ")
		} else if s := l.do("NOTIFY SET (mailboxes INBOX (MessageNew MessageExpunge))"); !strings.HasPrefix(s, "t OK") {
			t.Fatal(s)
		}
		lines = append(lines, l)
	}
	for n := 1; n <= 3; n++ {
		h.many(t, "ann", "INBOX", "1")
		for i, l := range lines {
			if i%3 == 0 {
				l.until(fmt.Sprintf("* %d EXISTS", n))
			} else {
				l.until(fmt.Sprintf("* STATUS INBOX (MESSAGES %d UIDNEXT %d)", n, n+1))
			}
		}
	}
}
