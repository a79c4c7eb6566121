package outbound

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// What a server says at each stage, and what becomes of the message.
func TestReplies(t *testing.T) {
	endless := "250-" + strings.Repeat("x", 9000)
	many := strings.TrimSuffix(strings.Repeat("250-x\n", 300), "\n")
	cases := []struct {
		at, reply, want string
	}{
		{"", "", "delivered"},
		{"connect", "close", "deferred: 4.4.2 greeting: connection lost"},
		{"connect", "421 4.3.2 not now", "deferred: 4.3.2 421"},
		{"connect", "450 4.7.1 wait", "deferred: 4.7.1 450"},
		{"connect", "554 5.7.1 you are on a list", "deferred: 5.7.1 554"}, // another host, or later
		{"connect", "521 no mail here", "failed: 521"},
		{"connect", "HTTP/1.1 400 Bad Request", "deferred: 4.5.0 greeting: not SMTP"},
		{"connect", "220-a\n250 b", "deferred: 4.5.0 greeting: not SMTP"},
		{"connect", "999 what", "deferred: 4.5.0"},
		{"connect", endless, "deferred: 4.5.0"},
		{"connect", many, "deferred: 4.5.0"},
		{"EHLO", "close", "deferred: 4.4.2 EHLO"},
		{"EHLO", "421 bye", "deferred: 4.3.2 421"},
		{"EHLO", "last 250-half", "deferred: 4.4.2"},
		{"EHLO", "502 5.5.1 what is that", "delivered"}, // HELO
		{"MAIL", "close", "deferred: 4.4.2 MAIL"},
		{"MAIL", "421 4.3.2 going down", "deferred: 4.3.2 421"},
		{"MAIL", "451 4.7.1 greylisted", "deferred: 4.7.1 451"},
		{"MAIL", "550 5.7.1 not you", "failed: 550 5.7.1 not you"},
		{"MAIL", "5", "deferred: 4.5.0"},
		{"RCPT", "close", "deferred: 4.4.2 RCPT"},
		{"RCPT", "450 4.2.1 busy", "deferred: 4.2.1 450"},
		{"RCPT", "550 5.1.1 nobody", "failed: 550 5.1.1 nobody"},
		{"RCPT", "421 4.3.2 going down", "deferred: 4.3.2 421"},
		{"DATA", "close", "deferred: 4.4.2 DATA"},
		{"DATA", "451 4.3.0 disk", "deferred: 4.3.0 451"},
		{"DATA", "554 5.7.1 no", "failed: 554 5.7.1 no"},
		{"DATA", "250 what", "deferred: 4.5.0"},
		{"end", "close", "deferred: 4.4.2 end of message: connection lost"},
		{"end", "452 4.3.1 full", "deferred: 4.3.1 452"},
		{"end", "554 5.6.0 junk", "failed: 554 5.6.0 junk"},
		{"end", "354 again", "deferred: 4.5.0"},
		{"end", "421 4.3.2 oops", "deferred: 4.3.2 421"},
	}
	addresses := make([]string, len(cases))
	for i := range cases {
		addresses[i] = fmt.Sprintf("127.0.1.%d", i+1)
	}
	for _, ext := range [][]string{usual, {"8BITMIME"}} {
		listeners := listenOn(t, addresses...)
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port = listeners[0].Addr().(*net.TCPAddr).Port
			for i := range cases {
				mx(r, fmt.Sprintf("case%d.example.org", i), addresses[i])
			}
		})
		ann := storagetest.Account(t, h.store, "ann@example.test")
		for i, c := range cases {
			f := serveOn(t, listeners[i], func(f *fake) {
				f.ext = ext
				f.say = func(_ int, line string) string {
					if c.at != "" && strings.HasPrefix(line, c.at) {
						return c.reply
					}
					return ""
				}
			})
			before := len(h.notices(ann))
			h.send(storage.Outgoing{From: "ann@example.test", Account: ann.ID, Queue: "Q"}, hello, fmt.Sprintf("joe@case%d.example.org", i))
			got := h.ends(ann, before)
			if _, err := h.store.Drop(t.Context(), storage.QueueFilter{ID: "Q"}); err != nil {
				t.Fatal(err)
			}
			kind, what, _ := strings.Cut(c.want, ": ")
			if !strings.HasPrefix(got, kind) || !strings.Contains(got, what) {
				t.Errorf("%s -> %.80q (%v): %s\nwant %s", c.at, c.reply, ext, got, c.want)
			}
			for _, m := range f.all() {
				if kind != "delivered" && m.body != "" { // RFC 2920 section 3.1: an empty one ends what a server should not have begun
					t.Errorf("%s -> %.80q: the message was taken", c.at, c.reply)
				}
			}
			f.close()
		}
	}
}

// Each recipient has its own fate; what must wait is tried again, and only that.
func TestRecipients(t *testing.T) {
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.say = func(conn int, line string) string {
			switch {
			case strings.HasPrefix(line, "RCPT TO:<no@"):
				return "550-5.1.1 nobody\n550 5.1.1 of that name"
			case strings.HasPrefix(line, "RCPT TO:<later@"):
				return "450 4.2.1 later"
			}
			return ""
		}
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		mx(r, "example.org", "127.0.0.1")
	})
	ann := storagetest.Account(t, h.store, "ann@example.test")
	h.send(storage.Outgoing{From: "ann@example.test", Account: ann.ID}, hello, "a@example.org", "no@example.org", "later@example.org", "b@example.org")
	if q := h.tried(); !strings.Contains(q, "later@example.org waiting attempts 1: 4.2.1 450 4.2.1 later") || strings.Count(q, "\n") != 1 {
		t.Errorf("the queue: %s", q)
	}
	all := f.all()
	if len(all) != 1 || len(all[0].to) != 2 {
		t.Errorf("taken: %+v", all)
	}
	n := h.notices(ann)
	if len(n) != 1 || !strings.Contains(n[0], "no@example.org") || !strings.Contains(n[0], "Status: 5.1.1") || strings.Contains(n[0], "later@example.org") {
		t.Errorf("notices: %q", n)
	}
}

// RFC 5321 section 4.5.3.1.10: recipients over the server's limit go in another transaction. RFC 9422: the limit is asked for.
func TestTooMany(t *testing.T) {
	for _, ext := range [][]string{usual, append(usual[:len(usual):len(usual)], "LIMITS RCPTMAX=3 MAILMAX=2")} {
		f := serve(t, "127.0.0.1:0", func(f *fake) {
			f.ext = ext
			n := 0
			f.say = func(_ int, line string) string {
				switch {
				case strings.HasPrefix(line, "MAIL"):
					n = 0
				case strings.HasPrefix(line, "RCPT"):
					if n++; n > 3 {
						return "452 4.5.3 too many recipients"
					}
				}
				return ""
			}
		})
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port = f.port()
			mx(r, "example.org", "127.0.0.1")
			o.Schedule.Retry = []time.Duration{time.Second}
		})
		h.send(storage.Outgoing{}, hello, "a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org", "f@example.org", "g@example.org")
		h.empty()
		n := 0
		for _, m := range f.all() {
			n += len(m.to)
		}
		if n != 7 {
			t.Errorf("%d recipients", n)
		}
		if len(ext) > len(usual) && strings.Count(f.said(), "RCPT") != 7 {
			t.Errorf("a limit that was announced is not obeyed:\n%s", f.said())
		}
	}
}
