package imap_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
)

// A long search tells how far it is (RFC 9585). What was looked at grows and stays below the goal, which stays.
func TestSearchProgress(t *testing.T) {
	h := open(t, imap.Options{Progress: 1}, auth.PlaintextLoopback)
	h.many(t, "ann", "INBOX", "40")
	l := login(t, h)
	l.do("SELECT INBOX")
	for _, c := range []struct{ tag, shown string }{{"a1", `"a1"`}, {"a]", "NIL"}} {
		l.say(c.tag + " SEARCH BODY nothing")
		last, told := -1, 0
		for {
			s := l.until("* ")
			if strings.HasPrefix(s, "* SEARCH") {
				break
			}
			var done, goal int
			s, ok := strings.CutPrefix(s, "* OK [INPROGRESS ("+c.shown+" ")
			if !ok {
				t.Fatal(s)
			}
			if strings.HasPrefix(s, "NIL NIL)] ") {
				continue
			}
			if n, err := fmt.Sscanf(s, "%d %d)]", &done, &goal); n != 2 || goal != 40 || done < last || done >= goal {
				t.Fatalf("%q: %v, after %d", s, err, last)
			}
			last = done
			told++
		}
		l.until(c.tag + " OK ")
		if told < 10 {
			t.Errorf("told %d times", told)
		}
	}
}

// A search that takes too long ends with NO [LIMIT] (RFC 5530); with several mailboxes what was found until then counts (RFC 7377 section 2.4).
func TestSearchTimeout(t *testing.T) {
	h := open(t, imap.Options{SearchTimeout: 1}, auth.PlaintextLoopback)
	h.many(t, "ann", "INBOX", "3")
	sessiontest.Play(t, `
		ann = imap
		ann<< \* OK *
		ann> a1 LOGIN ann@example.test secret
		ann<< a1 OK *
		ann> a2 SELECT INBOX
		ann<< a2 OK *
		ann> a3 SEARCH RETURN (SAVE COUNT) BODY x
		ann< a3 NO [LIMIT] Search takes too long
		ann> a4 ESEARCH IN (personal) BODY x
		ann< a4 NO [LIMIT] *
		ann> a5 NOOP
		ann< a5 OK *
	`, h.env(t))
}

// Searches of many sessions take turns and all end, also when the clients of some went.
func TestSearchTurns(t *testing.T) {
	h := open(t, imap.Options{Searches: 1}, auth.PlaintextLoopback)
	h.many(t, "ann", "INBOX", "600")
	var all sync.WaitGroup
	for i := range 12 {
		l := login(t, h)
		l.do("SELECT INBOX")
		all.Go(func() {
			if i%4 == 3 {
				l.say("x SEARCH OR BODY nothing TEXT nowhere")
				l.Close()
				return
			}
			l.say("x SEARCH RETURN (COUNT) OR BODY \"body 17\" TEXT nowhere")
			if s := l.until("* ESEARCH"); s != `* ESEARCH (TAG "x") COUNT 11` {
				t.Error(s)
			}
			l.until("x OK ")
		})
	}
	all.Wait()
}

// A session that is killed does not go on searching.
func TestSearchKilled(t *testing.T) {
	h := open(t, imap.Options{Progress: 1}, auth.PlaintextLoopback)
	h.many(t, "ann", "INBOX", "600")
	for range 20 { // on a busy machine a search may end before the kill comes
		l := login(t, h)
		l.do("SELECT INBOX")
		l.say("x SEARCH %sALL", strings.Repeat("BODY \"\" NOT BODY nothing ", 120))
		l.until("* OK [INPROGRESS")
		h.registry.KillAccount(h.accounts["ann"].ID, nil)
		rest, _ := io.ReadAll(l.r)
		if s := string(rest); !strings.Contains(s, "* BYE ") {
			t.Fatalf("after the kill came %q", s)
		} else if !strings.Contains(s, "x OK") {
			return
		}
	}
	t.Error("no search was ended by a kill")
}

// What is made to hurt costs a search little memory, and it ends.
func TestSearchHostile(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	h.many(t, "ann", "INBOX", "50")
	l := login(t, h)
	l.do("SELECT INBOX")
	for name, keys := range map[string]string{
		"OR":      strings.Repeat("OR SEEN ", 2000) + "ALL",
		"NOT":     strings.Repeat("NOT ", 4000) + "ALL",
		"SUBJECT": strings.Repeat("OR SUBJECT nothing ", 2000) + "ALL",
		"BODY":    strings.Repeat("OR BODY nothing ", 255) + "SEEN",
		"sets":    strings.Repeat("1:*,5 ", 4000) + "ALL",
		"ranges":  "1" + strings.Repeat(",3", 9999),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		if s := l.do("SEARCH %s", keys); !strings.HasPrefix(s, "t OK") {
			t.Errorf("%s: %s", name, s)
		}
		runtime.ReadMemStats(&after)
		t.Logf("%s: %v, %d KiB", name, time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>10)
		if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
			t.Errorf("%s: %d KiB", name, took>>10)
		}
	}
}

// busy is a server whose searches wait, and a session on it with INBOX selected.
func busy(t *testing.T) (h *house, l *line, release func()) {
	h = small(t)
	h.many(t, "ann", "INBOX", "3")
	door := auth.New(h.store, h.registry, auth.Options{Plaintext: auth.PlaintextLoopback, NoThrottle: true})
	srv := imap.New(h.store, door, imap.Options{Recents: imap.NothingRecent()})
	h.plain = sessiontest.Serve(t, h.registry, session.ListenerOptions{Name: "busy", Protocol: session.IMAP, Refusal: imap.Refusal}, srv.Serve)
	l = login(t, h)
	l.do("SELECT INBOX")
	return h, l, srv.Occupy()
}

// ended waits until no session is left.
func (h *house) ended(t *testing.T) {
	t.Helper()
	for range 3000 {
		if len(h.registry.List()) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the session goes on")
}

// A search ends when its client goes, though it reads nothing meanwhile.
func TestSearchAbandoned(t *testing.T) {
	h, l, release := busy(t)
	defer release()
	l.say("x SEARCH HEADER X-Any y")
	time.Sleep(50 * time.Millisecond)
	l.Close()
	h.ended(t)
}

// A search that waits for its turn ends when its session is killed.
func TestSearchKilledWaiting(t *testing.T) {
	h, l, release := busy(t)
	defer release()
	l.say("x SEARCH HEADER X-Any y")
	time.Sleep(50 * time.Millisecond)
	h.registry.KillAccount(h.accounts["ann"].ID, nil)
	l.until("* BYE ")
	h.ended(t)
}

// A client that has said all it wants to say, and listens, gets its answer; other commands do not wait for searches.
func TestSearchHalfClosed(t *testing.T) {
	h, l, release := busy(t)
	if err := h.store.BuildIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := login(t, h)
	other.do("SELECT INBOX")
	l.say("x SEARCH %sSUBJECT number", strings.Repeat("OR HEADER X-Any y ", 70)) // more than the index is asked for
	if err := l.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	l.until(`* OK [INPROGRESS ("x" NIL NIL)]`)
	if s := other.do("SEARCH RETURN (COUNT) UNSEEN SUBJECT number"); s != "t OK SEARCH completed" {
		t.Error(s)
	}
	release()
	if s := l.until("* SEARCH"); s != "* SEARCH 1 2 3" {
		t.Error(s)
	}
	l.until("x OK ")
}
