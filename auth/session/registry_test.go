package session

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFind(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := New(Options{Now: func() time.Time { return now }})
	ln := listen(t, r, ListenerOptions{Protocol: FTP})
	var ids []string
	for range 20 { // all in one millisecond
		c, _ := dial(t, ln)
		ids = append(ids, c.Session().ID())
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != 20 {
		t.Errorf("ids do not sort by time: %v", ids)
	}
	now = now.Add(-time.Hour) // the clock was put back
	c, _ := dial(t, ln)
	if list := r.List(); list[0].ID != c.Session().ID() || len(list) != 21 {
		t.Error("the oldest by the clock is not the first")
	}
	for _, prefix := range []string{ids[3], strings.ToLower(ids[3]), strings.ToLower(c.Session().ID()[:10])} {
		if s, err := r.Find(prefix); err != nil || !strings.HasPrefix(s.ID(), strings.ToUpper(prefix)) {
			t.Errorf("Find(%s): %v, %v", prefix, s, err)
		}
	}
	if _, ok := r.Get(ids[0][:25]); ok {
		t.Error("Get takes a prefix")
	}
	for _, prefix := range []string{"", "x", ids[0] + "0"} {
		if _, err := r.Find(prefix); !errors.Is(err, ErrUnknown) {
			t.Errorf("Find(%q): %v", prefix, err)
		}
	}
	if _, err := r.Find(ids[0][:5]); err == nil || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "21 sessions") {
		t.Errorf("an ambiguous prefix: %v", err)
	}
}

func TestAccounts(t *testing.T) {
	r := New(Options{Limits: Limits{PerAccount: 2}})
	ln := listen(t, r, ListenerOptions{Protocol: FTP})
	var all []*Conn
	for i := range 4 {
		c, client := dial(t, ln)
		client.Close() // so that a killed one does not linger
		err := c.Session().Login(Account{ID: 5, Name: "ann"})
		if (err != nil) != (i >= 2) {
			t.Errorf("login %d: %v", i, err)
		}
		all = append(all, c)
	}
	again := all[0].Session()
	if err := again.Login(Account{ID: 5, Name: "ann"}); err != nil {
		t.Errorf("the same account again: %v", err)
	}
	again.Logout()
	if again.Account() != (Account{}) || again.Info().State != Connected || len(r.Of(5)) != 1 {
		t.Error("the account is still there")
	}
	again.Login(Account{ID: 6, Name: "joe"})
	again.Login(Account{ID: 5, Name: "ann"})
	if len(r.Of(6)) != 0 || len(r.Of(5)) != 2 {
		t.Error("an account changed, but not its sessions")
	}
	if n := r.KillAccount(5, ErrRevoked); n != 2 {
		t.Errorf("%d killed", n)
	}
	if err := again.Login(Account{ID: 6}); !errors.Is(err, ErrRevoked) {
		t.Errorf("login on a killed session: %v", err)
	}
	for _, c := range all {
		c.Close()
	}
	if err := again.Login(Account{ID: 6}); err == nil || len(r.accounts) != 0 || len(r.count.peer) != 0 {
		t.Errorf("an ended session logs in: %v", err)
	}
}

func TestDrainParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{})
		waiting, _ := pipe(t, r, ListenerOptions{})
		killed, _ := pipe(t, r, ListenerOptions{})
		waiting.s.Begin("IDLE")
		waiting.s.Park("IDLE INBOX")
		if i := waiting.s.Info(); i.State != Idle || i.Activity != "IDLE INBOX" {
			t.Errorf("parked: %+v", i)
		}
		killed.s.Begin("FETCH")
		go func() {
			waiting.Read(make([]byte, 1))
			waiting.Close()
		}()
		done := make(chan error)
		go func() { done <- r.Drain(t.Context()) }()
		synctest.Wait()
		if waiting.s.Info().State != Ended || killed.s.Info().State != Draining || killed.s.Context().Err() != nil {
			t.Error("a parked session is drained at once, a busy one is not")
		}
		killed.s.Kill(ErrKilled) // the administrator has less patience
		if !errors.Is(killed.s.Ending(), ErrKilled) || killed.s.Context().Err() == nil {
			t.Error("a draining session cannot be killed")
		}
		if err := <-done; err != nil { // by the end of the grace
			t.Error(err)
		}
	})
}

// Begin without Done between two commands must not hide a drain.
func TestDrainPipelined(t *testing.T) {
	c, client := pair(t, New(Options{}), ListenerOptions{})
	client.Close()
	c.s.Begin("MAIL")
	c.s.Kill(ErrDrain)
	c.s.Kill(ErrDrain)
	if c.s.Context().Err() != nil {
		t.Error("a busy session was interrupted")
	}
	c.s.Begin("RCPT")
	if c.s.Context().Err() == nil {
		t.Error("the next command began as if nothing were")
	}
}

func TestHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		hold := make(chan struct{})
		r := New(Options{History: func(Info) { <-hold; told++ }})
		r.history.add(Info{})
		synctest.Wait() // it is being told of this one
		for range maxHistory + 500 {
			r.history.add(Info{})
		}
		close(hold)
		r.Wait()
		if missed := r.Stats().HistoryMissed; missed != 500 || told != 1+maxHistory {
			t.Errorf("told of %d, missed %d", told, missed)
		}
	})
}

// Everything at once, for the race detector, and nothing is left of it.
func TestStorm(t *testing.T) {
	var mu sync.Mutex
	ended := make(map[string]int)
	r := New(Options{
		Limits:  Limits{PerAccount: 10},
		Grace:   10 * time.Millisecond,
		History: func(i Info) { mu.Lock(); ended[i.ID]++; mu.Unlock() },
	})
	ln := listen(t, r, ListenerOptions{LoginTimeout: 30 * time.Millisecond, IdleTimeout: 20 * time.Millisecond, MaxDuration: 50 * time.Millisecond})
	var all sync.WaitGroup
	const many = 200
	all.Go(func() {
		for range many {
			c, err := ln.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			all.Go(func() { weather(c) })
			all.Go(func() {
				for range 5 {
					r.List()
					From(c).Count(1, 1)
					if rand.IntN(4) == 0 {
						From(c).Kill([]error{ErrKilled, ErrDrain, ErrRevoked}[rand.IntN(3)])
					}
					r.KillAccount(int64(rand.IntN(100)), ErrRevoked)
					time.Sleep(time.Millisecond)
				}
			})
		}
	})
	for range many {
		all.Go(func() {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for range rand.IntN(10) {
				io.WriteString(c, "NOOP\r\n")
				time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
			}
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			io.Copy(io.Discard, c)
		})
	}
	all.Wait()
	if err := r.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if len(ended) != many || len(r.sessions)+len(r.accounts)+len(r.count.peer)+len(r.alarm.queue) != 0 {
		t.Errorf("%d ended; left %d sessions, %d accounts, %d peers, %d alarms", len(ended), len(r.sessions), len(r.accounts), len(r.count.peer), len(r.alarm.queue))
	}
	for id, n := range ended {
		if n != 1 {
			t.Errorf("%s ended %d times", id, n)
		}
	}
}

// weather is a protocol that does a bit of everything.
func weather(c net.Conn) {
	defer c.Close()
	s := From(c)
	b := make([]byte, 64)
	for {
		c.SetReadDeadline(time.Now().Add(time.Second))
		n, err := c.Read(b)
		if err != nil {
			io.WriteString(c, "421 bye\r\n")
			s.SetEnd(err.Error())
			return
		}
		s.Begin(string(b[:n]))
		switch rand.IntN(4) {
		case 0:
			s.Login(Account{ID: int64(1 + rand.IntN(100))})
		case 1:
			s.Logout()
		case 2:
			s.Park("IDLE")
		}
		c.Write(b[:n])
		s.Done()
	}
}
