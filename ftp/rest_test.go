package ftp

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestEngineRests: a session that waits is one goroutine again, and works as before when it goes on.
func TestEngineRests(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.engineRest = 20 * time.Millisecond })
	h.put("/file", "content")
	const sessions = 20
	var peers []*peer
	for range sessions {
		peers = append(peers, h.login())
	}
	peers[0].retr("RETR /file") // opens a passive port
	time.Sleep(100 * time.Millisecond)
	idle := runtime.NumGoroutine()
	for range 3 {
		most := 0
		for _, p := range peers {
			p.cmd(250, "CWD /")
			most = max(most, runtime.NumGoroutine())
		}
		if most <= idle {
			t.Errorf("%d goroutines, and %d before there were engines", most, idle)
		}
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > idle; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d goroutines, want %d", runtime.NumGoroutine(), idle)
			}
		}
		if got := peers[0].retr("RETR /file"); got != "content" {
			t.Errorf("%q", got)
		}
	}
}

// TestEngineRestsBusy: engines that rest whenever they can do so between commands, and never within one.
func TestEngineRestsBusy(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.engineRest = time.Microsecond })
	h.put("/file", noise(100_000))
	var all sync.WaitGroup
	for range 4 {
		p := h.login()
		all.Go(func() {
			for range 100 {
				p.cmd(250, "CWD /")
				p.cmd(350, "RNFR /file")
				p.cmd(553, "RNTO /file/below")
				if n := len(p.retr("RETR /file")); n != 100_000 {
					t.Error(n)
				}
			}
			p.cmd(221, "QUIT")
		})
	}
	all.Wait()
}
