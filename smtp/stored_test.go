package smtp_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/storage"
)

// waiting puts a message into the outbox and leases its recipient.
func (h *house) waiting(t *testing.T, text string, o storage.Outgoing) *storage.Leased {
	t.Helper()
	u, err := h.store.NewMail(t.Context(), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	if _, err := u.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Enqueue(t.Context(), u, []storage.Outgoing{o}, nil); err != nil {
		t.Fatal(err)
	}
	all, err := h.store.Lease(t.Context(), storage.LeaseRequest{Owner: "worker", For: time.Hour, Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Address == o.Recipients[0].Address {
			return &all[i]
		}
	}
	t.Fatalf("not leased: %+v", all)
	return nil
}

// stored delivers what was leased, as the worker does.
func (h *house) stored(t *testing.T, l *storage.Leased) error {
	t.Helper()
	b, err := h.store.OpenOutgoing(t.Context(), l.Outbox)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	return h.handOver(t, l, b, smtp.FilterOptions{})
}

func (h *house) handOver(t *testing.T, l *storage.Leased, b storage.Body, o smtp.FilterOptions) error {
	s := smtp.New(h.store, nil, smtp.Options{Name: "mail.example.test", Filters: smtp.NewFilters(h.store, o)})
	return s.DeliverStored(t.Context(), l, b, storage.Outcome{Recipient: l.ID, Owner: "worker", State: storage.Delivered, Status: "2.1.5"})
}

// storedWith is a message from outside that waited, with filters of its own.
func (h *house) storedWith(t *testing.T, text, rcpt string, o smtp.FilterOptions) error {
	t.Helper()
	l := h.waiting(t, text, storage.Outgoing{From: "x@far.example", Recipients: to(rcpt, "")})
	b, err := h.store.OpenOutgoing(t.Context(), l.Outbox)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	return h.handOver(t, l, b, o)
}

func to(addr, notify string) []storage.OutgoingRecipient {
	return []storage.OutgoingRecipient{{Address: addr, Notify: notify}}
}

const waited = "Return-Path: <old@far.example>\r\nFrom: x@far.example\r\nSubject: waited\r\n\r\nbody\r\n"

// What waited and is for us goes the way of mail that comes in: groups, forwards, filters, quotas, notices; and its row goes with it.
func TestStoredMail(t *testing.T) {
	h, _ := filtered(t, map[string]string{"ann": `require ["fileinto", "mailbox"]; fileinto :create "Sorted";`})
	if err := errors.Join(h.store.AddGroup(t.Context(), "team@example.test", false),
		h.store.ChangeMembers(t.Context(), "team@example.test", []string{"ann@example.test", "joe@example.test", "z@else.example"}, nil)); err != nil {
		t.Fatal(err)
	}
	h.limit(t, "joe", "-1")
	l := h.waiting(t, waited, storage.Outgoing{Queue: "Q", From: "x@far.example", Seal: true, Recipients: to("team@example.test", "SUCCESS,FAILURE")})
	if err := h.stored(t, l); err != nil {
		t.Fatal(err)
	}
	h.in(t, "ann", "Sorted", "1")
	h.in(t, "ann", "INBOX", "0")
	h.in(t, "joe", "INBOX", "0")
	h.out(t, "2", "SRS0=*=far.example=x@example.test", "z@else.example", "Subject: waited") // and its row is gone
	h.out(t, "2", "", "x@far.example", "Action: expanded")
	h.out(t, "2", "", "x@far.example", "mailbox of joe@example.test is full")
	if _, err := h.store.OpenOutgoing(t.Context(), l.Outbox); err == nil {
		t.Error("the message is in the outbox still")
	}
}

func TestStoredDetail(t *testing.T) {
	h, _ := filtered(t, map[string]string{"joe": `require "reject"; reject "not here";`})
	if _, err := h.store.CreateMailbox(t.Context(), h.accounts["ann"].ID, "Work", ""); err != nil {
		t.Fatal(err)
	}
	l := h.waiting(t, waited, storage.Outgoing{From: "x@far.example", Recipients: to("ann+work@example.test", "")})
	if err := h.stored(t, l); err != nil {
		t.Fatal(err)
	}
	h.in(t, "ann", "Work", "1")

	// A refusal is the reply that a client would have had, and the row is there for the notice.
	var r interface {
		Refusal() (int, string, string)
	}
	l = h.waiting(t, waited, storage.Outgoing{From: "x@far.example", Recipients: to("joe@example.test", "")})
	if err := h.stored(t, l); !errors.As(err, &r) {
		t.Fatal(err)
	} else if code, status, text := r.Refusal(); code != 550 || status != "5.7.1" || text != "not here" {
		t.Error(code, status, text)
	}
	h.quota(t, "bob", "10")
	l = h.waiting(t, waited, storage.Outgoing{From: "x@far.example", Recipients: to("bob@example.test", "")})
	if err := h.stored(t, l); !errors.As(err, &r) {
		t.Fatal(err)
	} else if code, status, _ := r.Refusal(); code != 552 || status != "5.2.2" {
		t.Error(code, status)
	}
	if h.store.QueueSize() != 2 {
		t.Errorf("%d messages wait, want 2", h.store.QueueSize())
	}
}

// Whose row went meanwhile, or is somebody else's, is not delivered a second time.
func TestStoredOnce(t *testing.T) {
	h := open(t, limits, auth.PlaintextNever)
	l := h.waiting(t, waited, storage.Outgoing{From: "x@far.example", Recipients: append(to("ann@example.test", ""), storage.OutgoingRecipient{Address: "joe@far.example"})})
	if err := h.store.ReleaseLeases(t.Context(), "worker"); err != nil {
		t.Fatal(err)
	}
	if err := h.stored(t, l); !errors.Is(err, storage.ErrConflict) {
		t.Fatal(err)
	}
	h.count(t, "ann", "0")
	if _, err := h.store.Lease(t.Context(), storage.LeaseRequest{Owner: "worker", For: time.Hour, Max: 100}); err != nil {
		t.Fatal(err)
	}
	if err := h.stored(t, l); err != nil {
		t.Fatal(err)
	}
	if err := h.stored(t, l); !errors.Is(err, storage.ErrConflict) {
		t.Fatal(err)
	}
	h.count(t, "ann", "1")
	if all := h.inbox(t, "ann"); !strings.HasPrefix(all[0], "Return-Path: <x@far.example>\r\nFrom: x") || strings.Contains(all[0], "old@") {
		t.Errorf("%q", all[0])
	}
}

// RFC 4865: what is held is expanded when it is due, not before, so that nobody gets it twice; and no mark says that somebody sent it on who has not yet.
func TestHeldForward(t *testing.T) {
	h := open(t, limits, auth.PlaintextNever)
	if err := h.store.SetForward(t.Context(), h.accounts["bob"].ID, storage.Forwarding{Targets: []string{"bob@else.example"}, Keep: true}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	sessiontest.Play(t, expand(`
		a = subs
		a< 220 *
		a> EHLO x
		a<< 250 LIMITS *
		a> AUTH PLAIN PLAIN(ann)
		a< 235 *
		a> MAIL FROM:<ann@example.test> HOLDFOR=2
		a< 250 *
		a> RCPT TO:<bob@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> From: ann@example.test
		a> .
		a< 250 *
	`), h.env(t))
	all, err := h.store.Queue(t.Context(), storage.QueueFilter{}, 10)
	if err != nil || len(all) != 1 || all[0].Address != "bob@example.test" {
		t.Fatalf("%+v %v", all, err)
	}
	if all[0].Due.Before(began.Add(2 * time.Second)) {
		t.Errorf("it may go at %v, which is before %v", all[0].Due, began.Add(2*time.Second))
	}
	if _, err := h.store.RetryNow(t.Context(), storage.QueueFilter{}); err != nil {
		t.Fatal(err)
	}
	leased, err := h.store.Lease(t.Context(), storage.LeaseRequest{Owner: "worker", For: time.Hour, Max: 100})
	if err != nil || len(leased) != 1 {
		t.Fatal(leased, err)
	}
	if err := h.stored(t, &leased[0]); err != nil {
		t.Fatal(err)
	}
	h.count(t, "bob", "1")
	loop := "X-Packetboat-Loop: " + h.store.LoopMark("bob@example.test")
	h.out(t, "1", "ann@example.test", "bob@else.example", loop)

	var r interface {
		Refusal() (int, string, string)
	}
	bounce := h.waiting(t, loop+"\r\n"+waited, storage.Outgoing{From: "x@far.example", Recipients: to("bob@example.test", "")})
	if err := h.store.SetForward(t.Context(), h.accounts["bob"].ID, storage.Forwarding{Targets: []string{"bob@else.example"}}); err != nil {
		t.Fatal(err)
	}
	if err := h.stored(t, bounce); !errors.As(err, &r) {
		t.Fatal(err)
	} else if code, status, _ := r.Refusal(); code != 554 || status != "5.4.6" {
		t.Error(code, status)
	}
}

// The filters of all who get one message have a budget together: when it is used up, the others have the message as it is.
func TestFilterBudget(t *testing.T) {
	slow := `require ["variables", "fileinto", "mailbox"]; ` + strings.Repeat(`set :upper "a" "some text"; `, 200) + `fileinto :create "Sorted";`
	for name, o := range map[string]smtp.FilterOptions{"none": {}, "steps": {MessageSteps: 8000}, "time": {MessageTime: time.Nanosecond}} {
		h, _ := filtered(t, map[string]string{"ann": slow, "bob": slow, "joe": slow})
		if err := errors.Join(h.store.AddGroup(t.Context(), "team@example.test", false),
			h.store.ChangeMembers(t.Context(), "team@example.test", []string{"ann@example.test", "bob@example.test", "joe@example.test"}, nil)); err != nil {
			t.Fatal(err)
		}
		if err := h.storedWith(t, waited, "team@example.test", o); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, who := range []string{"ann", "bob", "joe"} {
			n += len(h.inbox(t, who))
		}
		switch {
		case name == "none" && n != 0, name == "steps" && (n == 0 || n == 3), name == "time" && n != 3:
			t.Errorf("%s: %d of 3 have it unfiltered", name, n)
		}
	}
}

// Redirects lead one message to so many and no more, whoever's they are; the mail of who comes too late is kept.
func TestRedirectsOfAll(t *testing.T) {
	h, _ := filtered(t, map[string]string{"ann": `redirect "big1@example.test";`, "joe": `redirect "big2@example.test";`})
	err := errors.Join(h.store.AddGroup(t.Context(), "team@example.test", false), h.store.ChangeMembers(t.Context(), "team@example.test", []string{"ann@example.test", "joe@example.test"}, nil))
	for _, name := range []string{"big1", "big2"} {
		var all []string
		for i := range 2600 {
			all = append(all, name+itoa(i)+"@else.example")
		}
		err = errors.Join(err, h.store.AddGroup(t.Context(), name+"@example.test", false), h.store.ChangeMembers(t.Context(), name+"@example.test", all, nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := h.storedWith(t, waited, "team@example.test", smtp.FilterOptions{PerDay: 10_000}); err != nil {
		t.Fatal(err)
	}
	items, err := h.store.Queue(t.Context(), storage.QueueFilter{}, 10_000)
	if err != nil || len(items) != 2600 {
		t.Errorf("%d recipients, %v", len(items), err)
	}
	h.count(t, "ann", "0")
	h.count(t, "joe", "1")
}

// What an account's filter sends to other domains in a day is bounded, replies of vacation with it; mail beyond is kept.
func TestRedirectsPerDay(t *testing.T) {
	h, _ := filtered(t, map[string]string{"ann": `require "copy"; redirect "a@else.example"; redirect "b@else.example";`, "joe": `require "vacation"; vacation "away";`})
	send := func(rcpt string, out, box int) {
		t.Helper()
		if err := h.storedWith(t, "To: joe@example.test\r\n"+waited, rcpt, smtp.FilterOptions{PerDay: 3}); err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(rcpt, "@")
		if n := len(h.inbox(t, name)); h.store.QueueSize() != out || n != box {
			t.Errorf("%s: %d in the outbox, %d in the mailbox; want %d, %d", rcpt, h.store.QueueSize(), n, out, box)
		}
	}
	send("ann@example.test", 1, 0) // two recipients of one message
	send("ann@example.test", 2, 1) // one
	send("ann@example.test", 2, 2)
	send("joe@example.test", 3, 1) // an account's own
	if n, err := h.store.SentOn(t.Context(), h.accounts["ann"].ID); n != 3 || err != nil {
		t.Error(n, err)
	}
	if n, err := h.store.SentOn(t.Context(), h.accounts["joe"].ID); n != 1 || err != nil {
		t.Error(n, err)
	}
}
