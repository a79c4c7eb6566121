package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashQueueDir tells a child of TestCrashQueue where the store is.
const crashQueueDir = "PACKETBOAT_CRASH_QUEUE"

// crashQueueChild fills the queue and drains it until it is killed. It says what a sink would know: "sending" is what was sent before Settle was called.
func crashQueueChild(dir string) {
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			fmt.Println("fault", err)
			os.Exit(1)
		}
	}
	s, err := Open(ctx, dir, Options{GarbageAge: time.Millisecond})
	check(err)
	check(s.ReleaseLeases(ctx, ""))
	a, err := s.AccountByLogin(ctx, "ann@example.test")
	check(err)
	inbox, err := s.Mailbox(ctx, a.ID, "INBOX")
	check(err)
	go s.Run(ctx)
	var out sync.Mutex
	say := func(words ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(words...)
	}
	run := rand.Uint32()
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("m%d-%d-%d", run, w, i)
				o := outgoing("ann@example.test", name+"a@x.test", name+"b@y.test")
				u, err := s.NewMail(ctx, 0, -1)
				check(err)
				_, err = io.WriteString(u, crashText(name))
				check(err)
				var targets []Target
				if i%3 == 0 {
					targets = []Target{{Account: a.ID, Mailbox: inbox.ID}}
				}
				_, err = s.Enqueue(ctx, u, []Outgoing{o, outgoing("", name+"c@z.test")}, targets)
				check(err)
				say("queued", name)
			}
		})
	}
	for w := range 3 {
		wg.Go(func() {
			for {
				check(drainSome(ctx, s, fmt.Sprint(run, w), say))
			}
		})
	}
	wg.Wait()
}

// drainSome leases a few recipients and settles them: some fail with a notice, some at the second attempt.
func drainSome(ctx context.Context, s *Store, owner string, say func(...any)) error {
	all, err := s.Lease(ctx, LeaseRequest{Owner: owner, Max: 5})
	if err != nil {
		return err
	}
	if len(all) == 0 {
		time.Sleep(time.Millisecond)
		return nil
	}
	var outcomes []Outcome
	var notices []Notice
	for _, l := range all {
		o := Outcome{Recipient: l.ID, Owner: owner, State: Delivered}
		switch sum := crc32.ChecksumIEEE([]byte(l.Address)); {
		case sum%4 == 0 && l.Attempts == 0:
			o.State, o.Due, o.Reply = Deferred, time.Unix(0, 0), "450 later"
		case sum%5 == 0 && l.From != "":
			o.State = Failed
			u, err := s.NewMail(ctx, 0, -1)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(u, "Subject: "+l.Address+"\r\n\r\n"); err != nil {
				return err
			}
			back := outgoing("", "notice-"+l.Address)
			notices = append(notices, Notice{For: []int64{l.ID}, Upload: u, Outgoing: &back})
		}
		outcomes = append(outcomes, o)
		say("sending", l.Address, o.State)
	}
	if err := s.Settle(ctx, outcomes, notices); err != nil {
		return err
	}
	for i, l := range all {
		say("settled", l.Address, outcomes[i].State)
	}
	return nil
}

// sink is what the outside knows of the queue.
type sink struct {
	queued  map[string]bool // messages
	sent    map[string]int  // how often something was delivered
	settled map[string]OutcomeState
	kills   int
}

func (k *sink) line(line string) error {
	f := strings.Fields(line)
	switch {
	case len(f) < 2 || f[0] == "fault":
		return errors.New(line)
	case f[0] == "queued":
		k.queued[f[1]] = true
	case f[0] == "sending":
		if was := k.settled[f[1]]; was != "" && was != Deferred {
			return fmt.Errorf("%s was %s, and comes again", f[1], was)
		}
		if f[2] == string(Delivered) {
			if k.sent[f[1]]++; k.sent[f[1]] > k.kills+1 {
				return fmt.Errorf("%s was delivered %d times with %d crashes", f[1], k.sent[f[1]], k.kills)
			}
		}
	case f[0] == "settled":
		k.settled[f[1]] = OutcomeState(f[2])
	}
	return nil
}

// TestCrashQueue kills a process that fills and drains the queue, several times: what was acknowledged is delivered or its sender has a notice, and what was settled
// does not come again.
func TestCrashQueue(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	newAccount(t, s, "ann@example.test", 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	k := &sink{queued: map[string]bool{}, sent: map[string]int{}, settled: map[string]OutcomeState{}}
	for round := range 4 {
		crashQueueOnce(t, dir, k, 200+150*round)
		k.kills++
		s := openTest(t, dir, Options{})
		verifyStore(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = openTest(t, dir, Options{GarbageAge: -time.Minute})
	if err := s.ReleaseLeases(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for s.QueueSize() > 0 {
		err := drainSome(t.Context(), s, "last", func(words ...any) {
			if err := k.line(strings.TrimSpace(fmt.Sprintln(words...))); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	failed := 0
	for name := range k.queued {
		for _, a := range []string{name + "a@x.test", name + "b@y.test", name + "c@z.test"} {
			switch {
			case k.sent[a] > 0:
			case k.sent["notice-"+a] > 0:
				failed++
			default:
				t.Errorf("%s is lost", a)
			}
		}
	}
	if len(k.queued) < 100 || failed == 0 {
		t.Errorf("the children did too little: %d messages, %d failed", len(k.queued), failed)
	}
	emptyQueue(t, s)
	verifyStore(t, s)
}

// emptyQueue checks that nothing is left in the tables of the queue.
func emptyQueue(t fataler, s *Store) {
	t.Helper()
	var n int
	if err := s.db.Row(`SELECT (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM outbox_recipient)`).Scan(&n); err != nil || n != 0 || s.QueueSize() != 0 {
		t.Fatalf("%d rows, %d messages, %v", n, s.QueueSize(), err)
	}
	if at, ok := s.NextDue(nil, nil); ok || len(s.outbox.byKey) != 0 || len(s.outbox.queued) != 0 || len(s.outbox.first) != 0 || s.outbox.units != 0 || len(s.outbox.counts) != 0 {
		t.Fatal("something is due", at)
	}
}

// crashQueueOnce runs a child until it has said n things.
func crashQueueOnce(t *testing.T, dir string, k *sink, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashQueueDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		if err := k.line(lines.Text()); err != nil {
			t.Error(err)
		}
		if i == n {
			cmd.Process.Kill()
		}
	}
}
