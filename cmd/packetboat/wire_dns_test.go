package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// A DNS that is not there is said once, not at every look, and so is that it came back.
func TestWatchDNS(t *testing.T) {
	d := resolvetest.New(t)
	d.Down()
	log := &lines{}
	h := &house{logger: slog.New(slog.NewTextHandler(log, nil)), resolver: resolve.New(resolve.Options{Servers: []string{d.Addr()}, Timeout: 10 * time.Second})}
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { h.watchDNS(ctx, time.Millisecond, time.Millisecond) })
	until := func(s string, n int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); log.count(s) < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log does not say %q %d times", s, n)
			}
		}
	}
	until("no DNS answers", 1)
	time.Sleep(20 * time.Millisecond)
	d.Up()
	until("the DNS answers again", 1)
	d.Down()
	until("no DNS answers", 2)
	cancel()
	wait.Wait()
	if n := log.count("no DNS answers"); n != 2 {
		t.Errorf("it was said %d times, want 2", n)
	}
}
