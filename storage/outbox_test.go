package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
	"time"
)

// outgoing is a message of the server to addresses.
func outgoing(from string, to ...string) Outgoing {
	o := Outgoing{From: from}
	for _, a := range to {
		o.Recipients = append(o.Recipients, OutgoingRecipient{Address: a})
	}
	return o
}

func enqueue(t fataler, s *Store, outs ...Outgoing) {
	t.Helper()
	if _, err := s.Enqueue(context.Background(), newMessage(t, s, 0, "Subject: x\r\n\r\nbody\r\n"), outs, nil); err != nil {
		t.Fatal(err)
	}
}

func lease(t fataler, s *Store, r LeaseRequest) []Leased {
	t.Helper()
	if r.Owner == "" {
		r.Owner = "w"
	}
	all, err := s.Lease(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func addresses(all []Leased) (list []string) {
	for _, l := range all {
		list = append(list, l.Address)
	}
	return list
}

func wantAddresses(t *testing.T, all []Leased, want ...string) {
	t.Helper()
	if got := addresses(all); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("leased %q, want %q", got, want)
	}
}

func settle(t fataler, s *Store, outcomes ...Outcome) {
	t.Helper()
	if err := s.Settle(context.Background(), outcomes, nil); err != nil {
		t.Fatal(err)
	}
}

func wantQueue(t *testing.T, s *Store, f QueueFilter, want ...string) []QueueItem {
	t.Helper()
	all, err := s.Queue(t.Context(), f, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range all {
		got = append(got, i.Address+" "+i.State)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("queue %q, want %q", got, want)
	}
	return all
}

// testClock is a clock that tests move.
type testClock struct{ now time.Time }

func (c *testClock) options() Options { return Options{Now: func() time.Time { return c.now }} }

func TestEnqueue(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	joe := newAccount(t, s, "joe@example.test", 100)
	sent := mailboxNamed(t, s, a.ID, "Sent").ID
	full := mailboxNamed(t, s, joe.ID, "INBOX").ID
	out := Outgoing{Queue: "Q1", Account: a.ID, From: a.Name, EnvelopeID: "env", Return: "HDRS", UTF8: true, RequireTLS: true, Priority: 3, ByMode: "NT", By: time.Unix(4e9, 0), Seal: true,
		Recipients: []OutgoingRecipient{{Address: "joe@elsewhere.test", Notify: "NEVER", Original: "rfc822;joe@x"}, {Address: "sue@b\u00fccher.test"}}}
	u := newMessage(t, s, a.ID, "Subject: x\r\n\r\n"+string(make([]byte, 200)))
	refuse := func(want error, index int, outs []Outgoing, targets ...Target) {
		t.Helper()
		_, err := s.Enqueue(t.Context(), u, outs, targets)
		te, ok := errors.AsType[*TargetError](err)
		if !errors.Is(err, want) || ok != (index >= 0) || ok && te.Index != index {
			t.Fatal(err)
		}
		wantQueue(t, s, QueueFilter{})
		if n := mailboxNamed(t, s, a.ID, "Sent").Messages; n != 0 || s.QueueSize() != 0 {
			t.Fatal("something was done", n)
		}
	}
	refuse(ErrInvalid, -1, []Outgoing{outgoing("", "nobody")})
	refuse(ErrInvalid, -1, []Outgoing{out, outgoing("")})
	refuse(ErrInvalid, -1, nil)
	refuse(fs.ErrNotExist, 1, []Outgoing{out}, Target{Account: a.ID, Mailbox: sent}, Target{Account: a.ID, Mailbox: 9999})
	refuse(ErrQuota, 1, []Outgoing{out}, Target{Account: a.ID, Mailbox: sent}, Target{Account: joe.ID, Mailbox: full})
	refuse(fs.ErrNotExist, -1, []Outgoing{{Account: 9999, Recipients: out.Recipients}})
	s.o.QueueMax = 1
	refuse(ErrQueueFull, -1, []Outgoing{out, out})
	s.o.QueueMax, s.o.QueueAccountMax = -1, 1
	refuse(ErrQueueFull, -1, []Outgoing{out, out})
	many := Outgoing{Account: a.ID}
	for i := range 10 {
		many.Recipients = append(many.Recipients, OutgoingRecipient{Address: fmt.Sprintf("%d@x.test", i)})
	}
	refuse(ErrQueueFull, -1, []Outgoing{many})
	s.o.QueueAccountMax = -1
	s.disk = func(string) (int64, int64, error) { return 0, 1 << 40, nil }
	u.prepared = false
	refuse(syscall.ENOSPC, -1, []Outgoing{out})
	s.disk = diskSpace
	forward := outgoing("SRS0=x@example.test", "kim@far.test")
	res, err := s.Enqueue(t.Context(), u, []Outgoing{out, forward}, []Target{{Account: a.ID, Mailbox: sent, Flags: Seen}})
	if err != nil || len(res) != 1 || res[0].UID != 1 || res[0].Err != nil {
		t.Fatal(res, err)
	}
	verifyStore(t, s)
	// The copy in Sent goes; the outbox still has the bytes.
	if _, err := s.Expunge(t.Context(), a.ID, sent, []uint32{1}, true); err != nil {
		t.Fatal(err)
	}
	s.o.GarbageAge = -time.Minute
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	verifyStore(t, s)
	all := lease(t, s, LeaseRequest{})
	wantAddresses(t, all, "joe@elsewhere.test", "sue@b\u00fccher.test", "kim@far.test")
	l := all[0]
	if l.Queue != "Q1" || l.Account != a.ID || l.From != a.Name || l.EnvelopeID != "env" || l.Return != "HDRS" || !l.UTF8 || !l.RequireTLS || l.Priority != 3 || l.ByMode != "NT" || l.By.Unix() != 4e9 ||
		!l.Seal || l.Notify != "NEVER" || l.Original != "rfc822;joe@x" || l.Domain != "elsewhere.test" || l.Size != u.Size() || l.Attempts != 0 || l.Created.IsZero() || !l.Tried.IsZero() || l.Verdict != "" {
		t.Errorf("%+v", l)
	}
	if all[1].Domain != "xn--bcher-kva.test" || all[2].Account != 0 || all[2].Seal || all[2].Queue == "" || all[2].Blob != l.Blob {
		t.Errorf("%+v", all[1:])
	}
	b, err := s.OpenOutgoing(t.Context(), l.Outbox)
	if err != nil || b.Size() != u.Size() {
		t.Fatal(err)
	}
	b.Close()
	settle(t, s, Outcome{Recipient: l.ID, State: Delivered}, Outcome{Recipient: all[1].ID, State: Delivered}, Outcome{Recipient: all[2].ID, State: Failed})
	if _, err := s.OpenOutgoing(t.Context(), l.Outbox); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, x := range []*Account{a, joe} {
		if err := s.RemoveAccount(t.Context(), x.ID); err != nil {
			t.Fatal(err)
		}
	}
	leaveNothing(t, s)
	if s.QueueSize() != 0 {
		t.Error(s.QueueSize())
	}
}

// TestLease: what is due is given once, the urgent and the old first, without busy domains, and comes back when its lease ends.
func TestLease(t *testing.T) {
	c := &testClock{time.Unix(1e9, 0)}
	s := openTest(t, t.TempDir(), c.options())
	if _, ok := s.NextDue(nil, nil); ok {
		t.Fatal("something is due in an empty queue")
	}
	enqueue(t, s, outgoing("", "1@a.test", "2@b.test", "3@a.test"))
	select {
	case <-s.OutboxChanged():
	default:
		t.Error("no hint")
	}
	later := outgoing("", "4@a.test")
	later.Recipients[0].Due = c.now.Add(time.Hour)
	enqueue(t, s, later)
	urgent := outgoing("", "5@b.test")
	urgent.Priority = 9
	enqueue(t, s, urgent)
	if at, ok := s.NextDue(nil, nil); !ok || !at.Equal(c.now) {
		t.Fatal(at, ok)
	}
	wantAddresses(t, lease(t, s, LeaseRequest{Max: 1}), "5@b.test")
	notB := func(d string) bool { return d == "b.test" }
	one := lease(t, s, LeaseRequest{PerDomain: 1, Busy: notB, For: time.Minute})
	wantAddresses(t, one, "1@a.test")
	wantAddresses(t, lease(t, s, LeaseRequest{Owner: "v"}), "3@a.test", "2@b.test")
	wantAddresses(t, lease(t, s, LeaseRequest{}))
	if at, ok := s.NextDue(nil, nil); !ok || !at.Equal(c.now.Add(time.Hour)) {
		t.Fatal(at, ok)
	}
	if _, ok := s.NextDue(func(string) bool { return true }, nil); ok {
		t.Fatal("a busy domain is due")
	}
	c.now = c.now.Add(90 * time.Second)
	wantAddresses(t, lease(t, s, LeaseRequest{}), "1@a.test")
	if kept, err := s.ExtendLease(t.Context(), "w", time.Hour, []int64{one[0].ID, 77}); err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	if kept, err := s.ExtendLease(t.Context(), "v", time.Hour, []int64{one[0].ID}); err != nil || len(kept) != 0 {
		t.Fatal(kept, err)
	}
	if err := s.ReleaseLeases(t.Context(), "v"); err != nil {
		t.Fatal(err)
	}
	wantAddresses(t, lease(t, s, LeaseRequest{}), "3@a.test", "2@b.test")
	c.now = c.now.Add(time.Hour - time.Second)
	wantAddresses(t, lease(t, s, LeaseRequest{}), "5@b.test", "3@a.test", "4@a.test", "2@b.test") // but 1, extended
	if err := s.ReleaseLeases(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	wantAddresses(t, lease(t, s, LeaseRequest{}), "5@b.test", "1@a.test", "3@a.test", "4@a.test", "2@b.test")
}

// TestLeaseRestart: a store that is opened anew knows what is due.
func TestLeaseRestart(t *testing.T) {
	c := &testClock{time.Unix(1e9, 0)}
	dir := t.TempDir()
	s := openTest(t, dir, c.options())
	enqueue(t, s, outgoing("", "1@a.test", "2@b.test"))
	wantAddresses(t, lease(t, s, LeaseRequest{Max: 1}), "1@a.test")
	s.Close()
	s = openTest(t, dir, c.options())
	wantAddresses(t, lease(t, s, LeaseRequest{}), "2@b.test")
	if s.QueueSize() != 1 {
		t.Error(s.QueueSize())
	}
	if err := s.ReleaseLeases(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	wantAddresses(t, lease(t, s, LeaseRequest{}), "1@a.test", "2@b.test")
}

// TestSettle: what is deferred waits and remembers, notices enter once.
func TestSettle(t *testing.T) {
	c := &testClock{time.Unix(1e9, 0)}
	s := openTest(t, t.TempDir(), c.options())
	a := newAccount(t, s, "ann@example.test", 10)
	inbox := mailboxNamed(t, s, a.ID, "INBOX").ID
	o := outgoing(a.Name, "1@a.test", "2@b.test")
	o.Queue, o.Account = "Q", a.ID
	enqueue(t, s, o)
	all := lease(t, s, LeaseRequest{})
	settle(t, s, Outcome{Recipient: all[0].ID, State: Deferred, Due: c.now.Add(time.Minute), Reply: "451 come\tback\r\nlater", Status: "4.3.0", Remote: "mx.a.test (192.0.2.1)"},
		Outcome{Recipient: all[1].ID, State: Deferred, Due: c.now, NoAttempt: true}, Outcome{Recipient: 4711, State: Failed})
	wantAddresses(t, lease(t, s, LeaseRequest{}), "2@b.test")
	c.now = c.now.Add(time.Minute)
	again := lease(t, s, LeaseRequest{Owner: "v"})
	wantAddresses(t, again, "1@a.test")
	if l := again[0]; l.Attempts != 1 || l.LastStatus != "4.3.0" || l.LastRemote != "mx.a.test (192.0.2.1)" || l.Tried.Unix() != 1e9 || l.Delayed {
		t.Errorf("%+v", l)
	}
	// Somebody whose lease was over does not take it from its new owner.
	settle(t, s, Outcome{Recipient: again[0].ID, State: Deferred, Owner: "w", Due: c.now})
	wantAddresses(t, lease(t, s, LeaseRequest{}))
	settle(t, s, Outcome{Recipient: again[0].ID, State: Deferred, Owner: "v", Due: c.now, Reply: "450 no", Delayed: true})
	if e, err := s.QueueEntry(t.Context(), "Q"); err != nil || len(e) != 2 || len(e[0].History) != 2 || e[0].History[0].Reply != "451 come back later" || e[0].History[1].Reply != "450 no" || !e[0].Delayed || e[0].Attempts != 2 || e[1].Attempts != 0 {
		t.Errorf("%+v %v", e, err)
	}
	notice := func() []Notice {
		back := outgoing("", a.Name+".far.test")
		return []Notice{{For: []int64{all[0].ID}, Upload: newMessage(t, s, 0, "Subject: failed\r\n\r\nit is larger than the quota\r\n"), Outgoing: &back,
			Targets: []Target{{Account: a.ID, Mailbox: inbox}, {Account: a.ID, Mailbox: 9999}}}}
	}
	failed := []Outcome{{Recipient: all[0].ID, State: Failed, Reply: "550 no", Status: "5.1.1", Remote: "mx"}}
	for range 2 {
		if err := s.Settle(t.Context(), failed, notice()); err != nil {
			t.Fatal(err)
		}
	}
	if m := mailboxNamed(t, s, a.ID, "INBOX"); m.Messages != 1 {
		t.Errorf("%d notices", m.Messages)
	}
	wantQueue(t, s, QueueFilter{}, "2@b.test leased", a.Name+".far.test waiting")
	verifyStore(t, s)
	if r, err := s.SentOf(t.Context(), "Q", 10); err != nil || len(r) != 1 || r[0].From != a.Name || len(r[0].Recipients) != 1 || r[0].Recipients[0] != (SentRecipient{"1@a.test", "failed", 3, "5.1.1", "550 no", "mx"}) {
		t.Errorf("%+v %v", r, err)
	}
	// A notice that cannot be entered leaves all as it was.
	bad := notice()
	bad[0].For, bad[0].Outgoing = []int64{all[1].ID}, &Outgoing{Recipients: []OutgoingRecipient{{Address: "x"}}}
	defer bad[0].Upload.Abort()
	if err := s.Settle(t.Context(), []Outcome{{Recipient: all[1].ID, State: Failed}}, bad); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	wantQueue(t, s, QueueFilter{Domain: "b.test"}, "2@b.test leased")
}

// TestQueueActs: what an administrator does with the queue.
func TestQueueActs(t *testing.T) {
	c := &testClock{time.Unix(1e9, 0)}
	s := openTest(t, t.TempDir(), c.options())
	a := newAccount(t, s, "ann@example.test", 0)
	o := outgoing("Ann@example.test", "one@a.test", "two_x@b.test")
	o.Queue, o.Account = "Q1", a.ID
	enqueue(t, s, o)
	c.now = c.now.Add(time.Hour)
	o = outgoing("", "one@b.test")
	o.Queue, o.Recipients[0].Due = "Q2", c.now.Add(time.Hour)
	enqueue(t, s, o)
	one, two, three := "one@a.test waiting", "two_x@b.test waiting", "one@b.test waiting"
	items := wantQueue(t, s, QueueFilter{}, one, two, three)
	wantQueue(t, s, QueueFilter{ID: "Q1"}, one, two)
	wantQueue(t, s, QueueFilter{ID: fmt.Sprint(items[1].ID)}, two)
	wantQueue(t, s, QueueFilter{From: "ann@*"}, one, two)
	wantQueue(t, s, QueueFilter{From: "<>"}, three)
	wantQueue(t, s, QueueFilter{To: "<ONE@*>"}, one, three)
	wantQueue(t, s, QueueFilter{To: "two_x@*"}, two)
	wantQueue(t, s, QueueFilter{To: "two.x@*"})
	wantQueue(t, s, QueueFilter{To: "tw%"})
	wantQueue(t, s, QueueFilter{Domain: "B.test."}, two, three)
	wantQueue(t, s, QueueFilter{Account: a.ID, Domain: "b.test"}, two)
	wantQueue(t, s, QueueFilter{Older: time.Minute}, one, two)
	wantQueue(t, s, QueueFilter{State: QueueHeld})
	wantQueue(t, s, QueueFilter{After: items[1].ID}, three)
	if _, err := s.Queue(t.Context(), QueueFilter{State: "gone"}, 1); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	act := func(do func(context.Context, QueueFilter) (int, error), f QueueFilter, want int) {
		t.Helper()
		if n, err := do(t.Context(), f); n != want || err != nil {
			t.Fatal(n, err)
		}
	}
	act(s.Hold, QueueFilter{To: "one*"}, 2)
	act(s.Hold, QueueFilter{To: "one*"}, 0)
	act(s.RetryNow, QueueFilter{To: "one*"}, 0)
	wantAddresses(t, lease(t, s, LeaseRequest{}), "two_x@b.test")
	act(s.Hold, QueueFilter{ID: "Q1"}, 1) // the leased one
	settle(t, s, Outcome{Recipient: items[1].ID, State: Deferred, Due: c.now})
	wantAddresses(t, lease(t, s, LeaseRequest{}))
	act(s.Release, QueueFilter{}, 3)
	wantAddresses(t, lease(t, s, LeaseRequest{}), "one@a.test", "two_x@b.test")
	act(s.RetryNow, QueueFilter{}, 1)
	wantAddresses(t, lease(t, s, LeaseRequest{}), "one@b.test")
	doom := func(ctx context.Context, f QueueFilter) (int, error) { return s.Fail(ctx, f, "no\nmore") }
	act(doom, QueueFilter{ID: "Q1"}, 2)
	settle(t, s, Outcome{Recipient: items[0].ID, State: Deferred, Due: c.now.Add(time.Hour)})
	if l := lease(t, s, LeaseRequest{}); len(l) != 1 || l[0].Verdict != "no more" || l[0].VerdictStatus == "" || l[0].Suppressed {
		t.Errorf("%+v", l)
	}
	act(s.Drop, QueueFilter{ID: "Q1"}, 2)
	verifyStore(t, s)
	act(s.Hold, QueueFilter{}, 1)
	act(doom, QueueFilter{}, 1)
	if l := lease(t, s, LeaseRequest{}); len(l) != 1 || l[0].Verdict == "" {
		t.Errorf("%+v", l)
	}
	act(s.Drop, QueueFilter{}, 1)
	if _, err := s.QueueEntry(t.Context(), "Q1"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.RemoveAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	leaveNothing(t, s)
}

func TestSuppression(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{SuppressAfter: 2, Events: []string{EventSuppressed}})
	if added, err := s.Suppress(t.Context(), "Joe@B\u00fccher.test", " he\nasked "); !added || err != nil {
		t.Fatal(err)
	}
	if added, err := s.Suppress(t.Context(), "joe@b\u00fccher.test", ""); added || err != nil {
		t.Fatal(err)
	}
	if _, err := s.Suppress(t.Context(), "joe", ""); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	bounce := func(status, remote string, state OutcomeState) {
		t.Helper()
		enqueue(t, s, outgoing("", "sue@a.test"))
		l := lease(t, s, LeaseRequest{})
		settle(t, s, Outcome{Recipient: l[0].ID, State: state, Status: status, Remote: remote, Reply: "550 5.1.1 nobody"})
	}
	suppressed := func(addr string, want bool) {
		t.Helper()
		if why, err := s.Suppressed(t.Context(), addr); err != nil || (why != "") != want {
			t.Fatalf("%s: %q %v", addr, why, err)
		}
	}
	suppressed("JOE@xn--bcher-kva.test", true)
	suppressed("no address", false)
	bounce("5.1.1", "mx", Failed)
	bounce("5.7.1", "mx", Failed) // the message's fault
	bounce("5.1.1", "", Failed)   // nobody said so
	suppressed("sue@a.test", false)
	bounce("2.0.0", "mx", Delivered) // forgets
	bounce("5.1.1", "mx", Failed)
	suppressed("sue@a.test", false)
	bounce("5.1.1", "mx", Failed)
	suppressed("sue@a.test", true)
	list, err := s.ListSuppressed(t.Context(), "", 10)
	if err != nil || len(list) != 2 || list[0].Address != "joe@xn--bcher-kva.test" || !list[0].Manual || list[0].Reason != "no reason was given" || list[1].Bounces != 2 || list[1].Last.IsZero() {
		t.Fatalf("%+v %v", list, err)
	}
	enqueue(t, s, outgoing("", "sue@a.test"))
	l := lease(t, s, LeaseRequest{})
	if !l[0].Suppressed || l[0].Verdict == "" || l[0].VerdictStatus != "5.1.0" {
		t.Fatalf("%+v", l)
	}
	settle(t, s, Outcome{Recipient: l[0].ID, State: Failed, Status: "5.1.0", Suppressed: true})
	if e, _, err := s.NextEvents(t.Context(), 10); err != nil || len(e) != 1 || e[0].Kind != EventSuppressed {
		t.Fatal(e, err)
	}
	s.o.SuppressAfter = 0
	suppressed("sue@a.test", false)
	suppressed("joe@xn--bcher-kva.test", true)
	s.o.SuppressAfter = 2
	for _, a := range []string{"sue@a.test", "joe@b\u00fccher.test"} {
		if err := s.Unsuppress(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		suppressed(a, false)
	}
	if err := s.Unsuppress(t.Context(), "sue@a.test"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if n := s.suppressions.Load(); n != 0 {
		t.Error(n)
	}
}

// TestLeaseInTurn: who sends much keeps neither another one's mail for the same domain waiting, nor for others, however much earlier it was queued.
func TestLeaseInTurn(t *testing.T) {
	c := &testClock{time.Unix(1e9, 0)}
	s := openTest(t, t.TempDir(), c.options())
	ann, bob := newAccount(t, s, "ann@example.test", 0).ID, newAccount(t, s, "bob@example.test", 0).ID
	send := func(account int64, to ...string) {
		o := outgoing("x@example.test", to...)
		o.Account = account
		enqueue(t, s, o)
		c.now = c.now.Add(time.Second)
	}
	for i := range 300 {
		send(ann, fmt.Sprintf("%d@d%d.test", i, i))
	}
	for range 10 {
		send(ann, "many@a.test")
	}
	send(bob, "one@a.test", "other@d7.test")
	send(0, "forwarded@e.test")
	wantAddresses(t, lease(t, s, LeaseRequest{Max: 3}), "one@a.test", "0@d0.test", "forwarded@e.test")
	notA := func(d string) bool { return d != "a.test" }
	send(bob, "two@a.test")
	wantAddresses(t, lease(t, s, LeaseRequest{PerDomain: 4, Busy: notA}), "many@a.test", "many@a.test", "two@a.test")
	spent := func(a int64) bool { return a == ann }
	wantAddresses(t, lease(t, s, LeaseRequest{Spent: spent}), "other@d7.test")
	if _, ok := s.NextDue(nil, spent); ok {
		t.Error("something of an account that is left out is due")
	}
	if at, ok := s.NextDue(nil, nil); !ok || at.Unix() != 1e9+1 {
		t.Error(at, ok)
	}
}

// TestOutboxMigrations: what an older version had in its outbox is leased, settled, and leaves nothing.
func TestOutboxMigrations(t *testing.T) {
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	enqueue(t, s, outgoing("a@example.test", "1@a.test", "2@b.test"))
	hers := outgoing("a@example.test", "3@a.test")
	ann := newAccount(t, s, "ann@example.test", 0).ID
	hers.Account = ann
	enqueue(t, s, hers)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(all); n++ {
		s := openTest(t, downgraded(t, dir, n), Options{})
		l := lease(t, s, LeaseRequest{})
		wantAddresses(t, l, "1@a.test", "3@a.test", "2@b.test")
		for i := range l {
			verifyStore(t, s)
			settle(t, s, Outcome{Recipient: l[i].ID, State: Delivered})
		}
		emptyQueue(t, s)
		if err := s.RemoveAccount(t.Context(), ann); err != nil {
			t.Fatal(err)
		}
		leaveNothing(t, s)
	}
}
