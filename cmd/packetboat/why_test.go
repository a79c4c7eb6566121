package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

func TestWhy(t *testing.T) {
	s := storagetest.New(t)
	put := func(kind, subject string, v any) {
		t.Helper()
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		s.Journal(storage.Record{Kind: kind, Subject: subject, Detail: b})
	}
	const queue, ses = "01QUEUE0000000000000000000", "01SESSION00000000000000000"
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	put("message", ses, smtp.Note{At: at, Action: "deferred", Session: ses, Listener: "mx", Remote: "192.0.2.1:1", From: "joe@example.org", Reply: "450 4.7.1 more than 2 messages a minute"})
	put("message", queue, smtp.Note{At: at, Action: "refused", Queue: queue, Session: ses, Listener: "mx", Remote: "192.0.2.1:1", Helo: "mx.\x1b[31mexample", From: "joe@example.org",
		Recipients: []string{"ann@example.test"}, Others: 4, Reply: "550 5.7.1 rejected", Reasons: []string{"DMARC fails for example.org"}, Score: 2, Results: "mx; dmarc=fail"})
	put("message", "01OTHER", smtp.Note{Action: "accepted", Queue: "01OTHER", Session: "01ELSE", From: "x"})
	put("session", ses, session.Info{ID: ses, Remote: "192.0.2.1:1", Listener: "mx", Ended: at, EndReason: "quit"})
	if err := s.Sweep(t.Context()); err != nil { // a transaction, with which the journal is written
		t.Fatal(err)
	}
	c := &control{store: s, registry: session.New(session.Options{})}
	ask := func(id string) (*whyJSON, error) {
		r := httptest.NewRequest("GET", "/why/x", nil)
		r.SetPathValue("id", id)
		v, err := c.why(r)
		if err != nil {
			return nil, err
		}
		return v.(*whyJSON), nil
	}
	var w *whyJSON
	var err error
	for range 100 {
		if w, err = ask(strings.ToLower("(" + ses + ")")); err == nil && len(w.Messages) == 2 && w.Session != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || len(w.Messages) != 2 {
		t.Fatal(w, err)
	}
	text := w.text()
	for _, want := range []string{"a command was refused for now", "message " + queue + " was refused for good", "  reply   550 5.7.1 rejected\n", "because DMARC fails for example.org", "and 4 others",
		"score   2.0", "results mx; dmarc=fail", "session " + ses + " from 192.0.2.1:1 on mx ended at", ": quit"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") || strings.Index(text, "for now") > strings.Index(text, "for good") {
		t.Errorf("%q", text)
	}
	if w, err = ask(queue); err != nil || len(w.Messages) != 1 || w.Messages[0].Queue != queue {
		t.Error(w, err)
	}
	for _, id := range []string{"01NOTHING0000", "", "x", "../../etc", "01SESSION%"} {
		if w, err := ask(id); err == nil {
			t.Errorf("%q is answered: %+v", id, w)
		}
	}
}

func TestReceiveKeys(t *testing.T) {
	for _, test := range []struct {
		name, value string
		good        bool
	}{
		{"receive.trusted", "10.0.0.0/8, 2001:db8::1", true},
		{"receive.trusted", "10.0.0.1/8", false},
		{"receive.first_delay", "0", true},
		{"score.junk", "4.5", true},
		{"score.junk", "NaN", false},
		{"score.junk", "-1", false},
		{"score.dnsbl", "zen.spamhaus.org=5, list.dnswl.org=-3.5", true},
		{"score.dnsbl", "zen", false},
		{"score.dnsbl", "a.example=1,A.example.=2", false},
		{"score.dnsbl", "a.example=NaN", false},
		{"verify.dmarc", "enforce", true},
		{"verify.dmarc", "yes", false},
		{"filter.rspamd.url", "http://127.0.0.1:11333", true},
		{"filter.rspamd.url", "unix:/run/rspamd.sock", true},
		{"filter.rspamd.url", "127.0.0.1:11333", false},
		{"filter.rspamd.fail", "closed", true},
		{"filter.rspamd.fail", "maybe", false},
		{"filter.milters", "unix:/run/a.sock, tcp:127.0.0.1:1, inet:8891@localhost", true},
		{"filter.milters", "127.0.0.1:8891", false},
	} {
		k, ok := keyNamed(test.name)
		if !ok {
			t.Fatal(test.name)
		}
		if err := k.set(&config{}, test.value); (err == nil) != test.good {
			t.Errorf("%s = %q: %v", test.name, test.value, err)
		}
	}
}
