package storage

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestEvents: what is told of a message's way, in its order; nothing without a webhook.
func TestEvents(t *testing.T) {
	c := &testClock{time.Unix(1e9, 5e8)}
	o := c.options()
	o.Events = []string{EventAccepted, EventDelivered, EventDeferred, EventFailed}
	s := openTest(t, t.TempDir(), o)
	a := newAccount(t, s, "ann@example.test", 0)
	u := newMessage(t, s, 0, "Subject: x\r\n\r\n")
	u.Arrived(Arrival{Queue: "Q", Account: a.ID, From: a.Name, EnvelopeID: "e", Recipients: []string{"ann+x@example.test", "1@a.test", "2@a.test"}})
	out := outgoing(a.Name, "1@a.test", "2@a.test")
	out.Queue, out.Account = "Q", a.ID
	if _, err := s.Enqueue(t.Context(), u, []Outgoing{out}, []Target{{Account: a.ID, Mailbox: mailboxNamed(t, s, a.ID, "INBOX").ID}}); err != nil {
		t.Fatal(err)
	}
	l := lease(t, s, LeaseRequest{})
	settle(t, s, Outcome{Recipient: l[0].ID, State: Deferred, Due: c.now.Add(time.Minute), Reply: "451 later", Status: "4.3.0", Remote: "mx"}, Outcome{Recipient: l[1].ID, State: Failed, Status: "5.1.1", Reply: "550 no"})
	want := []string{
		`{"id":%d,"event":"accepted","at":"2001-09-09T01:46:40.500Z","queue":"Q","account":ID,"from":"ann@example.test","recipients":["ann+x@example.test","1@a.test","2@a.test"],"count":3,"envelope_id":"e","size":14}`,
		`{"id":%d,"event":"delivered","at":"2001-09-09T01:46:40.500Z","queue":"Q","account":ID,"from":"ann@example.test","recipient":"ann@example.test","status":"2.0.0"}`,
		`{"id":%d,"event":"deferred","at":"2001-09-09T01:46:40.500Z","queue":"Q","account":ID,"from":"ann@example.test","recipient":"1@a.test","status":"4.3.0","reply":"451 later","remote":"mx","due":"2001-09-09T01:47:40.500Z"}`,
		`{"id":%d,"event":"failed","at":"2001-09-09T01:46:40.500Z","queue":"Q","account":ID,"from":"ann@example.test","recipient":"2@a.test","status":"5.1.1","reply":"550 no"}`,
	}
	due, _, err := s.NextEvents(t.Context(), 10)
	if err != nil || len(due) != len(want) {
		t.Fatal(due, err)
	}
	for i, e := range due {
		var got, wanted map[string]any
		if err := json.Unmarshal(e.Body, &got); err != nil || int64(got["id"].(float64)) != e.ID || int64(got["account"].(float64)) != a.ID || e.Queue != "Q" || e.Kind != got["event"] {
			t.Errorf("%+v %v", e, err)
		}
		delete(got, "id")
		delete(got, "account")
		text, _ := json.Marshal(got)
		if err := json.Unmarshal([]byte(strings.NewReplacer("%d", "0", ":ID", ":0").Replace(want[i])), &wanted); err != nil {
			t.Fatal(err)
		}
		delete(wanted, "id")
		delete(wanted, "account")
		if w, _ := json.Marshal(wanted); string(w) != string(text) {
			t.Errorf("told %s\nwant %s", text, w)
		}
	}
	// One of a queue id that waits holds back those behind it, and no others.
	if err := s.SettleEvents(t.Context(), []EventOutcome{{ID: due[0].ID, Done: true}, {ID: due[1].ID, Due: c.now.Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	enqueue(t, s, outgoing("", "3@a.test"))
	if some, _, err := s.NextEvents(t.Context(), 10); err != nil || len(some) != 1 || some[0].Queue == "Q" {
		t.Fatal(some, err)
	}
	if w, d := s.EventCounts(); w != 4 || d != 0 {
		t.Error(w, d)
	}
	c.now = c.now.Add(2 * time.Hour)
	if some, _, err := s.NextEvents(t.Context(), 10); err != nil || len(some) != 4 || some[0].Attempts != 1 {
		t.Fatal(some, err)
	}
	s.o.Events = nil
	u = newMessage(t, s, 0, "Subject: x\r\n\r\n")
	u.Arrived(Arrival{Queue: "Q"})
	if _, err := s.Enqueue(t.Context(), u, []Outgoing{out}, nil); err != nil {
		t.Fatal(err)
	}
	if w, _ := s.EventCounts(); w != 4 {
		t.Error(w)
	}
}
