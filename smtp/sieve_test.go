package smtp_test

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/watch"
)

// filtered is a house in which accounts have filters, and an env that knows what is in mailboxes and the outbox.
func filtered(t *testing.T, scripts map[string]string) (*house, sessiontest.Env) {
	h := open(t, limits, auth.PlaintextNever)
	for name, script := range scripts {
		h.filter(t, name, script)
	}
	env := h.env(t)
	env.Do["in"] = func(t testing.TB, a ...string) { h.in(t, a...) }
	env.Do["out"] = func(t testing.TB, a ...string) { h.out(t, a...) }
	return h, env
}

func (h *house) filter(t testing.TB, name, script string) {
	t.Helper()
	id := h.accounts[name].ID
	if err := h.store.PutSieve(t.Context(), id, "x", []byte(script), storage.SieveLimits{}); err != nil {
		t.Fatal(err)
	}
	if err := h.store.ActivateSieve(t.Context(), id, "x"); err != nil {
		t.Fatal(err)
	}
}

// in ACCOUNT MAILBOX N [FLAGS]: the mailbox has so many messages, the newest with those flags.
func (h *house) in(t testing.TB, a ...string) {
	t.Helper()
	box, err := h.store.Mailbox(t.Context(), h.accounts[a[0]].ID, a[1])
	if err != nil {
		t.Fatal(err)
	}
	snap, err := h.store.Snapshot(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	if a[2] != itoa(snap.Len()) {
		t.Fatalf("%s of %s has %d messages, want %s", a[1], a[0], snap.Len(), a[2])
	}
	if len(a) > 3 {
		e := snap.At(snap.Len() - 1)
		got := ""
		if e.Flags&storage.Flagged != 0 {
			got = "flagged "
		}
		for i, k := range snap.Keywords() {
			if e.Keywords&(1<<i) != 0 {
				got += k + " "
			}
		}
		if strings.TrimSpace(got) != a[3] {
			t.Fatalf("flags %q, want %q", got, a[3])
		}
	}
}

// out N [FROM TO [TEXT]]: what is in the outbox from and to whom ("*" at an end is anything), with a text in it, is among it.
func (h *house) out(t testing.TB, a ...string) {
	t.Helper()
	all, err := h.store.Lease(t.Context(), storage.LeaseRequest{Owner: "test", For: 1e9, Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.ReleaseLeases(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if a[0] != itoa(len(all)) {
		t.Fatalf("%d recipients in the outbox, want %s: %+v", len(all), a[0], all)
	}
	if len(a) < 3 {
		return
	}
	for _, l := range all {
		if like(a[1], l.From) && like(a[2], l.Address) {
			b, err := h.store.OpenOutgoing(t.Context(), l.Outbox)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(b)
			b.Close()
			if err != nil {
				t.Fatal(err)
			}
			if len(a) > 3 && !strings.Contains(string(text), a[3]) {
				t.Logf("no %q in:\n%s", a[3], text)
				continue
			}
			return
		}
	}
	t.Fatalf("nothing from %s to %s: %+v", a[1], a[2], all)
}

func like(pattern, s string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	return s == pattern || star && len(s) >= len(head)+len(tail) && strings.HasPrefix(s, head) && strings.HasSuffix(s, tail)
}

func itoa(n int) string {
	if n >= 10 {
		return itoa(n/10) + itoa(n%10)
	}
	return string(rune('0' + n))
}

// posting is a transaction on port 25.
func posting(from, to, head, reply string) string {
	script := "a> MAIL FROM:<" + from + ">\na< 250 *\n"
	for rcpt := range strings.FieldsSeq(to) {
		path, params, _ := strings.Cut(rcpt, "|")
		script += "a> RCPT TO:<" + path + "> " + params + "\na< 250 *\n"
	}
	return script + "a> DATA\na< 354 *\na> <<END\n" + head + "\n\nbody\n.\nEND\na< " + reply + "\n"
}

const begin = "a = mx\na< 220 *\na> EHLO x\na<< 250 LIMITS *\n"

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		name    string
		scripts map[string]string
		play    string
	}{
		{"fileinto, flags, create", map[string]string{"ann": `require ["fileinto", "imap4flags", "mailbox", "copy"]; setflag ["\\Flagged", "$work", "b{d"]; fileinto :create "Lists/Dev"; fileinto :copy "Archive";`},
			posting("x@far.example", "ann@example.test", "Subject: x", "250 *") + "! in ann Lists/Dev 1 \"flagged $work\"\n! in ann Archive 1\n! in ann INBOX 0\n"},
		{"a mailbox that is not there", map[string]string{"ann": `require "fileinto"; fileinto "None"; fileinto "Shared/x/y";`},
			posting("x@far.example", "ann@example.test", "Subject: x", "250 *") + "! in ann INBOX 1\n"},
		{"discard", map[string]string{"ann": `discard;`},
			posting("x@far.example", "ann@example.test joe@example.test", "Subject: x", "250 *") + "! in ann INBOX 0\n! in joe INBOX 1\n"},
		{"a script that fails", map[string]string{"ann": `require "vacation"; discard; vacation "a"; vacation "b";`},
			posting("x@far.example", "ann@example.test", "To: ann@example.test", "250 *") + "! in ann INBOX 1\n! out 0\n"},
		{"redirect abroad, with SRS", map[string]string{"ann": `redirect "me@else.example";`},
			posting("x@far.example", "ann@example.test", "Subject: hello", "250 *") + "! in ann INBOX 0\n! out 1 \"SRS0=*=far.example=x@example.test\" me@else.example \"Subject: hello\"\n"},
		{"redirect of the null sender", map[string]string{"ann": `redirect :copy "me@else.example";`},
			"", // :copy needs its require: the script does not compile and mail is kept
		},
		{"redirect here", map[string]string{"ann": `redirect "joe@example.test";`},
			posting("x@far.example", "ann@example.test joe@example.test", "Subject: x", "250 *") + "! in ann INBOX 0\n! in joe INBOX 1\n"},
		{"two that redirect to one another", map[string]string{"ann": `redirect "joe@example.test";`, "joe": `redirect "ann@example.test";`},
			posting("x@far.example", "ann@example.test", "Subject: x", "250 *") + "! in ann INBOX 1\n! in joe INBOX 0\n"},
		{"reject", map[string]string{"ann": "require \"reject\"; reject \"not\r\nyou\";"},
			posting("x@far.example", "ann@example.test", "Subject: x", "550 5.7.1 not you*") + "! in ann INBOX 0\n" +
				posting("x@far.example", "ann@example.test joe@example.test", "Subject: x", "250 *") + "! in ann INBOX 0\n! in joe INBOX 1\n! out 1 \"\" x@far.example \"not you\"\n"},
		{"vacation", map[string]string{"ann": `require "vacation"; vacation :days 1 :subject "Away" "See you";`},
			posting("x@far.example", "ann@example.test", "To: Ann <ann@example.test>\nMessage-ID: <1@far.example>", "250 *") +
				"! out 1 \"\" x@far.example \"In-Reply-To: <1@far.example>\"\n! out 1 \"\" x@far.example \"Auto-Submitted: auto-replied\"\n! out 1 \"\" x@far.example \"From: ann@example.test\"\n" +
				posting("X@far.example", "ann@example.test", "To: ann@example.test", "250 *") + // once a day
				posting("", "ann@example.test", "To: ann@example.test", "250 *") +
				posting("y@far.example", "ann@example.test", "Subject: to others", "250 *") +
				posting("y@far.example", "ann@example.test", "To: ann@example.test\nList-Id: <x>", "250 *") +
				posting("y@far.example", "ann@example.test", "To: ann@example.test\nAuto-Submitted: auto-generated", "250 *") +
				posting("y@far.example", "ann@example.test", "To: ann@example.test\nPrecedence: bulk", "250 *") +
				posting("owner-list@far.example", "ann@example.test", "To: ann@example.test", "250 *") +
				posting("y-request@far.example", "ann@example.test", "To: ann@example.test", "250 *") + "! out 1\n! in ann INBOX 9\n" +
				posting("y@far.example", "ann@example.test", "Cc: x@a.example, ann.alias@example.test", "250 *") + "! out 2 \"\" y@far.example \"From: ann.alias@example.test\"\n"},
		{"vacation of one who keeps nothing", map[string]string{"ann": `require "vacation"; discard; vacation "See you";`},
			posting("x@far.example", "ann@example.test", "To: ann@example.test", "250 *") + "! in ann INBOX 0\n! out 1 \"\" x@far.example \"See you\"\n"},
		{"vacation from a name in other letters", map[string]string{"ann": `require "vacation"; vacation :from "Änn <ann@example.test>" "See you";`},
			posting("x@far.example", "ann@example.test", "To: ann@example.test", "250 *") + "! out 1 \"\" x@far.example \"From: =?utf-8?q?=C3=84nn?= <ann@example.test>\"\n"},
		{"vacation to one of us", map[string]string{"ann": "require \"vacation\"; vacation :mime \"Content-Type: text/html\r\nBcc: evil@far.example\r\n\r\n<b>x</b>\";"},
			posting("joe@example.test", "ann@example.test", "To: ann@example.test", "250 *") + "! in joe INBOX 1\n! has joe \"Content-Type: text/html\"\n! has joe <b>x</b>\n! lacks joe evil\n"},
		{"duplicate", map[string]string{"ann": `require "duplicate"; if duplicate { discard; }`},
			posting("x@far.example", "ann@example.test", "Message-ID: <1@x>", "250 *") + posting("x@far.example", "ann@example.test", "Message-ID: <1@x>", "250 *") + "! in ann INBOX 1\n"},
		{"an address with a tag", nil,
			posting("x@far.example", "ann+ARCHIVE@example.test", "Subject: x", "250 *") + posting("x@far.example", "ann+nope@example.test", "Subject: x", "250 *") + "! in ann Archive 1\n! in ann INBOX 1\n"},
		{"success is told", nil,
			posting("x@far.example", "ann@example.test|NOTIFY=SUCCESS", "Subject: x", "250 *") + "! in ann INBOX 1\n! out 1 \"\" x@far.example \"Action: delivered\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, env := filtered(t, c.scripts)
			sessiontest.Play(t, begin+c.play, env)
		})
	}
}

// What is told of a message, and remembered of it, is there as soon as the message is: no crash comes between (RFC 3461 section 4.1: who asks is told).
func TestToldAtOnce(t *testing.T) {
	h, env := filtered(t, map[string]string{"ann": `require ["vacation", "duplicate"]; if duplicate { discard; } vacation "See you";`})
	var first atomic.Int64
	first.Store(-1)
	sub := h.store.Watch().Subscribe(watch.Topic{Account: h.accounts["ann"].ID}, 0, func() { first.CompareAndSwap(-1, int64(h.store.QueueSize())) })
	defer sub.Close()
	sessiontest.Play(t, begin+posting("x@far.example", "ann@example.test|NOTIFY=SUCCESS", "To: ann@example.test\nMessage-ID: <1@x>", "250 *"), env)
	h.in(t, "ann", "INBOX", "1")
	h.out(t, "2", "", "x@far.example", "Action: delivered")
	h.out(t, "2", "", "x@far.example", "See you")
	if n := first.Load(); n != 2 {
		t.Errorf("when the message was there, %d of 2 replies were", n)
	}
}

// A sender of ours whose mail goes elsewhere hears there what became of a message.
func TestToldElsewhere(t *testing.T) {
	h, env := filtered(t, nil)
	if err := h.store.SetForward(t.Context(), h.accounts["bob"].ID, storage.Forwarding{Targets: []string{"bob@else.example"}}); err != nil {
		t.Fatal(err)
	}
	sessiontest.Play(t, begin+posting("bob@example.test", "ann@example.test|NOTIFY=SUCCESS", "Subject: x", "250 *")+"! in ann INBOX 1\n! out 1 \"\" bob@else.example \"Action: delivered\"\n", env)
}

// TestForwarding: groups and forwards, what leaves for them, what comes back, and loops.
// A member of a group that nobody has any more keeps the message from nobody else; who sent it is told, as of one that is full.
func TestMissingMembers(t *testing.T) {
	h, env := filtered(t, nil)
	for _, err := range []error{
		h.store.AddGroup(t.Context(), "team@example.test", false),
		h.store.ChangeMembers(t.Context(), "team@example.test", []string{"ann@example.test", "gone@example.test", "joe@example.test", "left@example.test"}, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sessiontest.Play(t, begin+posting("x@far.example", "team@example.test", "Subject: all", "250 *")+`
		! in ann INBOX 1
		! in joe INBOX 1
		! out 1 "" x@far.example "member gone@example.test: no such user here"
		! out 1 "" x@far.example "left@example.test: no such"
		! out 1 "" x@far.example "Status: 5.1.1"
	`+posting("x@far.example", "team@example.test|NOTIFY=NEVER", "Subject: all", "250 *")+`
		! out 1
	`+posting("", "team@example.test", "Subject: all", "250 *")+`
		! out 1
		! messages joe -1
	`+posting("y@far.example", "team@example.test", "Subject: all", "250 *")+`
		! in ann INBOX 4
		! out 2 "" y@far.example "mailbox of joe@example.test is full"
		! out 2 "" y@far.example "gone@example.test: no such"
		! out 2 "" y@far.example "Status: 5.2.2"
	`, env)
}

func TestForwarding(t *testing.T) {
	h, env := filtered(t, nil)
	ctx := t.Context()
	for _, err := range []error{
		h.store.AddGroup(ctx, "team@example.test", false), h.store.ChangeMembers(ctx, "team@example.test", []string{"ann@example.test", "joe@example.test", "z@else.example"}, nil),
		h.store.AddGroup(ctx, "nobody@example.test", false),
		h.store.SetForward(ctx, h.accounts["bob"].ID, storage.Forwarding{Targets: []string{"bob@else.example"}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	back, err := h.store.RewriteSender(ctx, "x@far.example", "bob@example.test")
	if err != nil {
		t.Fatal(err)
	}
	loop := "X-Packetboat-Loop: " + h.store.LoopMark("bob@example.test")
	sessiontest.Play(t, begin+`
		a> MAIL FROM:<x@far.example>
		a< 250 *
		a> RCPT TO:<nobody@example.test>
		a< 550 5.2.4 *
		a> RCPT TO:<`+back+`>
		a< 550 5.7.1 *only notices*
		a> RSET
		a< 250 *
	`+posting("x@far.example", "team@example.test|NOTIFY=SUCCESS,FAILURE ann@example.test", "Subject: all", "250 *")+`
		! in ann INBOX 1
		! in joe INBOX 1
		! out 2 "SRS0=*=far.example=x@example.test" z@else.example "Subject: all"
		! out 2 "" x@far.example "Action: expanded"
		! messages joe -1
	`+posting("y@far.example", "team@example.test", "Subject: two", "250 *")+`
		! in ann INBOX 2
		! in joe INBOX 1
		! out 4 "" y@far.example "mailbox of joe@example.test is full"
	`+posting("x@far.example", "bob@example.test", "Subject: on", "250 *")+`
		! in bob INBOX 0
		! out 5 "SRS0=*=far.example=x@example.test" bob@else.example "`+loop+`"
	`+posting("x@far.example", "bob@example.test", loop, "554 5.4.6 *")+`
		! out 5
	`+posting("x@far.example", "ann@example.test bob@example.test", loop, "250 *")+`
		! in ann INBOX 3
		! out 6 "" x@far.example "Final-Recipient: rfc822; bob@example.test"
		! out 6 "" x@far.example "Status: 5.4.6"
		a> MAIL FROM:<>
		a< 250 *
		a> RCPT TO:<`+back+`>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		Subject: failed

		.
		END
		a< 250 *
		! out 7 "" x@far.example "Subject: failed"
	`, env)
}
