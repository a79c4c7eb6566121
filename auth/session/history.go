package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// maxHistory is how many ended sessions wait for History at most.
const maxHistory = 16384

// history tells Options.History of ended sessions, one after the other, from a goroutine that runs
// while there is something to tell. Whoever ends a session does not wait for it: what a History
// that is too slow cannot take is left out and counted.
type history struct {
	tell   func(Info)
	log    *slog.Logger
	missed atomic.Int64

	mu      sync.Mutex
	waiting []Info
	runs    bool
	running tally
}

func (h *history) add(i Info) {
	if h.tell == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) >= maxHistory {
		if h.missed.Add(1)%1000 == 1 {
			h.log.Warn("session history is too slow", "missed", h.missed.Load())
		}
		return
	}
	h.waiting = append(h.waiting, i)
	if !h.runs {
		h.runs = true
		h.running.add()
		go h.run()
	}
}

// run tells what waits until nothing does.
func (h *history) run() {
	defer h.running.done()
	for {
		h.mu.Lock()
		batch := h.waiting
		h.waiting = nil
		h.runs = len(batch) > 0
		h.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, i := range batch {
			h.tell(i)
		}
	}
}

// lostReason says in words what a socket's last Read said; outgoing when the peer is the server.
func lostReason(err error, outgoing bool) string {
	peer := "client"
	if outgoing {
		peer = "server"
	}
	switch {
	case err == nil:
		return ErrClosed.Error()
	case errors.Is(err, io.EOF):
		return "closed by the " + peer
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return "reset by the " + peer
	case errors.Is(err, net.ErrClosed):
		return ErrClosed.Error()
	}
	return clean("lost: "+err.Error(), maxReason)
}

// tally counts goroutines that come and go. It is a sync.WaitGroup that may be waited for while others
// are started, and until a context ends.
type tally struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed when n is 0 again
}

func (t *tally) add() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n++; t.n == 1 {
		t.zero = make(chan struct{})
	}
}

func (t *tally) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 {
		close(t.zero)
	}
}

// wait returns nil once there are none, or the cause of ctx.
func (t *tally) wait(ctx context.Context) error {
	t.mu.Lock()
	n, zero := t.n, t.zero
	t.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
