package auth

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/packetboat/packetboat/storage"
)

// maxHashQueue is how many logins may wait for a slot; with 30 ms each on two CPUs the last one waits four seconds.
const maxHashQueue = 256

// hasher bounds how many passwords are hashed at a time (one a CPU) and how many wait for it.
type hasher struct {
	slots   chan struct{}
	waiting atomic.Int64
	cost    cost         // of the hashes made now
	dummy   *phc         // verified for who does not exist
	count   atomic.Int64 // hashes made so far; tests read it
}

func newHasher(c cost) *hasher {
	return &hasher{
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0))),
		cost:  c,
		// Random bytes for a hash: nothing is its password, and making it costs nothing.
		dummy: &phc{cost: c, salt: randomBytes(phcSalt), hash: randomBytes(phcHash)},
	}
}

// acquire waits for a slot. The caller gives it back with release.
func (h *hasher) acquire(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > maxHashQueue {
		h.waiting.Add(-1)
		return fmt.Errorf("auth: %w: too many logins at once", storage.ErrTemporary)
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *hasher) release() { <-h.slots }

// verify compares a prepared password with a stored hash; nil stands for an account
// that is not there, which costs the same and is never right. The caller holds a slot.
func (h *hasher) verify(stored *phc, password string) bool {
	h.count.Add(1)
	if stored == nil {
		h.dummy.verify(password)
		return false
	}
	return stored.verify(password)
}
