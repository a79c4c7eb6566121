package auth

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// TestDrainDoesNotWaitForTheThrottle: an attempt that sleeps is no command that a drain lets finish.
func TestDrainDoesNotWaitForTheThrottle(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	for i := range accountLimit.free {
		if err := r.login(r.remote(fmt.Sprintf("198.51.100.%d", i)), "ann", fmt.Sprint("wrong", i)); err != ErrCredentials {
			t.Fatal(err)
		}
	}
	s := r.remote("203.0.113.1")
	s.Begin("LOGIN")
	ended := make(chan error, 1)
	go func() { ended <- r.login(s, "ann", "secret") }()
	for deadline := time.Now().Add(10 * time.Second); s.Info().State == session.Busy && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	s.Kill(session.ErrDrain)
	if err := <-ended; !errors.Is(err, session.ErrDrain) {
		t.Errorf("the attempt slept on: %v", err)
	}
}
