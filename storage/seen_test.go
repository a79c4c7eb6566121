package storage

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// movedClock is a clock that a test moves.
type movedClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *movedClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *movedClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func seenStore(t *testing.T) (*Store, *movedClock) {
	c := &movedClock{at: time.Unix(1_800_000_000, 0)}
	return openTest(t, t.TempDir(), Options{Now: c.now}), c
}

func (s *Store) seenRows(t *testing.T) (n int) {
	t.Helper()
	if err := s.db.Row(`SELECT COUNT(*) FROM seen`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestGreylist(t *testing.T) {
	s, c := seenStore(t)
	check := GreylistCheck{Network: netip.MustParsePrefix("192.0.2.0/24"), Sender: "Joe@example.org", Recipients: []string{"ann@example.test", "bob@example.test"},
		Delay: time.Minute, Window: time.Hour, Keep: 24 * time.Hour, Trust: 3}
	for i, step := range []struct {
		after      time.Duration
		sender     string
		recipients int
		want       time.Duration
	}{
		{0, "joe@example.org", 1, time.Minute},
		{30 * time.Second, "JOE@EXAMPLE.ORG", 1, 30 * time.Second},
		{30 * time.Second, "joe@example.org", 2, time.Minute}, // one passes, the other is new
		{time.Minute, "joe@example.org", 2, 0},
		{time.Second, "joe@example.org", 2, 0},
		{time.Second, "eve@example.org", 1, time.Minute},
		{2 * time.Hour, "eve@example.org", 1, time.Minute}, // too late: it is a first one again
		{time.Minute, "eve@example.org", 1, 0},
		{time.Second, "new@example.org", 1, time.Minute},
		{time.Minute, "new@example.org", 1, 0}, // the third of the network
		{time.Second, "last@example.org", 2, 0},
		{25 * time.Hour, "last@example.org", 2, time.Minute}, // forgotten, and the network with it
	} {
		c.move(step.after)
		q := check
		q.Sender, q.Recipients = step.sender, check.Recipients[:step.recipients]
		wait, err := s.Greylist(t.Context(), q)
		if err != nil || wait != step.want {
			t.Fatalf("step %d: wait %v, %v; want %v", i, wait, err, step.want)
		}
	}
	c.move(25 * time.Hour)
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.seenRows(t); n != 0 {
		t.Fatalf("%d rows are left when all are over", n)
	}
}

func TestAcquainted(t *testing.T) {
	s, c := seenStore(t)
	known := func(accounts ...int64) bool {
		t.Helper()
		ok, err := s.Acquainted(t.Context(), accounts, "joe@example.org")
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if known(1) {
		t.Fatal("known before anything came")
	}
	if err := s.Acquaint(t.Context(), []int64{1, 2}, "Joe@Example.org", time.Hour); err != nil {
		t.Fatal(err)
	}
	if !known(1) || !known(1, 2) || known(1, 3) {
		t.Fatal("who knows whom is wrong")
	}
	c.move(50 * time.Minute)
	if err := s.Acquaint(t.Context(), []int64{1}, "joe@example.org", time.Hour); err != nil {
		t.Fatal(err)
	}
	c.move(20 * time.Minute)
	if !known(1) || known(2) {
		t.Fatal("what is renewed lives longer, and what is not does not")
	}
}

// Rows are bounded, whoever makes them; the ones that would go first go.
func TestSeenBounded(t *testing.T) {
	s, _ := seenStore(t)
	if err := s.do(t.Context(), func(x *tx) error {
		if err := x.exec(`INSERT INTO seen (kind, name, first, until, count)
			WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1) SELECT 1, CAST(i AS TEXT), 0, 1900000000 + i, 0 FROM n`, maxSeen); err != nil {
			return err
		}
		x.w.seenRoom = 0
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Acquaint(t.Context(), []int64{1}, strings.Repeat("x", 2*maxSeenName), time.Hour); err != nil {
		t.Fatal(err)
	}
	if n := s.seenRows(t); n != maxSeen-maxSeen/10+1 {
		t.Fatalf("%d rows", n)
	}
	var first int64
	if err := s.db.Row(`SELECT MIN(until) FROM seen WHERE kind = 1`).Scan(&first); err != nil || first != 1_900_000_000+maxSeen/10 {
		t.Fatal(first, err)
	}
}

func TestVerdict(t *testing.T) {
	s, _ := seenStore(t)
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	for i, verdict := range []string{`{"junk":true}`, ""} {
		u := newMessage(t, s, 0, "Subject: x\r\n\r\nbody\r\n")
		if verdict != "" {
			if err := u.SetVerdict([]byte(verdict)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Deliver(t.Context(), u, []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(err)
		}
		snap, err := s.Snapshot(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Verdict(t.Context(), snap.At(i).Blob); err != nil || string(got) != verdict {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if _, err := s.Verdict(t.Context(), 1<<40); err == nil {
		t.Fatal("a blob that there is not has a verdict")
	}
	if err := newMessage(t, s, 0, "x").SetVerdict(make([]byte, maxVerdict+1)); err == nil {
		t.Fatal("a verdict may have any size")
	}
}

func TestDNSSeen(t *testing.T) {
	s, _ := seenStore(t)
	for _, want := range []bool{false, true, true} {
		if seen, err := s.DNSSeen(t.Context()); err != nil || seen != want {
			t.Fatal(seen, err)
		}
		if err := s.NoteDNS(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
