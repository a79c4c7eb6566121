package ftp

import (
	"container/list"
	"context"
	"hash"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/packetboat/packetboat/storage/vfs"
)

const (
	maxDigests = 10_000      // that are remembered, of all accounts
	digestStep = 256 << 10   // bytes between two looks at who wants it to end
	digestTurn = 64 << 20    // bytes after which others who wait have their turn
	digestWait = time.Minute // for others who hash, before 450
)

// hashing is what the sessions of a server share to compute digests: few are computed at a time, one of each account, so that nobody can
// take all processors or the place of others; and those of whole files are remembered by what names their bytes, so they never go stale.
type hashing struct {
	slots chan struct{}

	mu       sync.Mutex
	accounts map[int64]*turn
	known    map[digestKey]*list.Element
	used     list.List // of digestEntry, latest used first
}

// turn is an account's place, while somebody holds it or waits for it.
type turn struct {
	taken chan struct{} // capacity 1
	users int
}

type digestKey struct {
	blob int64
	alg  *algorithm
}

type digestEntry struct {
	key digestKey
	sum []byte
}

func newHashing() *hashing {
	return &hashing{
		slots:    make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		accounts: make(map[int64]*turn),
		known:    make(map[digestKey]*list.Element),
	}
}

func (h *hashing) recall(k digestKey) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.known[k]
	if e == nil {
		return nil
	}
	h.used.MoveToFront(e)
	return e.Value.(digestEntry).sum
}

func (h *hashing) remember(k digestKey, sum []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[k] != nil {
		return
	}
	h.known[k] = h.used.PushFront(digestEntry{k, sum})
	if h.used.Len() > maxDigests {
		delete(h.known, h.used.Remove(h.used.Back()).(digestEntry).key)
	}
}

// seat is the right to compute: the account's turn, and mostly a slot.
type seat struct {
	h       *hashing
	t       *turn
	account int64
	slot    bool
}

// enter waits for the account's turn and for a slot. leave must be called when there is no error.
func (h *hashing) enter(ctx context.Context, account int64) (*seat, error) {
	h.mu.Lock()
	t := h.accounts[account]
	if t == nil {
		t = &turn{taken: make(chan struct{}, 1)}
		h.accounts[account] = t
	}
	t.users++
	h.mu.Unlock()
	s := &seat{h: h, t: t, account: account}
	timer := time.NewTimer(digestWait)
	defer timer.Stop()
	for _, c := range []chan struct{}{t.taken, h.slots} {
		var err error
		select {
		case c <- struct{}{}:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-timer.C:
			err = refuse(450, "Busy with other digests, try again later.")
		}
		if c == h.slots {
			<-t.taken
		}
		s.forget()
		return nil, err
	}
	s.slot = true
	return s, nil
}

// pass lets others have their turn, in the order in which they came.
func (s *seat) pass(ctx context.Context) error {
	<-s.h.slots
	select {
	case s.h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		s.slot = false
		return ctx.Err()
	}
}

func (s *seat) leave() {
	if s.slot {
		<-s.h.slots
	}
	<-s.t.taken
	s.forget()
}

// forget takes one user from the account's turn.
func (s *seat) forget() {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.t.users--; s.t.users == 0 {
		delete(s.h.accounts, s.account)
	}
}

// digest prepares the digest of a part of a file. It runs like a transfer, without a data connection: the reader goes on, so that ABOR and STAT
// work and the end of the client ends it. folder is the code for what is no file; say writes the reply.
func (c *client) digest(verb, name string, alg *algorithm, s span, folder int, say func([]byte, span)) (*transfer, error) {
	p, err := c.resolve(name)
	if err != nil {
		return nil, err
	}
	t := &transfer{c: c, verb: verb, path: p, d: c.newData(), silent: true}
	t.d.t = t
	t.run = func(t *transfer) error {
		sum, s, err := t.digest(alg, s, folder)
		if why := t.d.abortedBy(); why != nil {
			return why
		}
		t.done = func() { say(sum, s) }
		return err
	}
	t.done = func() {}
	return t, nil
}

func (t *transfer) digest(alg *algorithm, s span, folder int) ([]byte, span, error) {
	c, ctx := t.c, t.d.ctx
	info, err := c.tree.Stat(ctx, t.path)
	if err != nil {
		return nil, s, err
	}
	if info.IsDir() {
		return nil, s, refuse(folder, "That is a folder.")
	}
	f, err := c.tree.Open(ctx, t.path)
	if err != nil {
		return nil, s, err
	}
	defer f.Close()
	switch size := f.Size(); {
	case s.whole:
		s.from, s.to = 0, size
	case t.verb == "HASH": // as RANG limits RETR
		s.from, s.to = min(s.from, size), min(s.to, size)
	case s.to > size:
		return nil, s, refuse(501, "The file is shorter than that.")
	}
	known := s.from == 0 && s.to == f.Size() && f.Blob != 0
	key := digestKey{f.Blob, alg}
	if known {
		if sum := c.srv.hashing.recall(key); sum != nil {
			return sum, s, nil
		}
	}
	seat, err := c.srv.hashing.enter(ctx, c.payer())
	if err != nil {
		return nil, s, err
	}
	defer seat.leave()
	h := alg.make()
	if err := t.feed(ctx, seat, h, f, s); err != nil {
		return nil, s, err
	}
	sum := h.Sum(nil)
	if known {
		c.srv.hashing.remember(key, sum)
	}
	return sum, s, nil
}

// feed reads a span into h. What is read counts as activity of the session.
func (t *transfer) feed(ctx context.Context, seat *seat, h hash.Hash, f *vfs.File, s span) error {
	buf := make([]byte, min(digestStep, s.to-s.from))
	turn := s.from + digestTurn
	for off := s.from; off < s.to; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if off >= turn {
			turn += digestTurn
			if err := seat.pass(ctx); err != nil {
				return err
			}
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), s.to-off)], off)
		if n == 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		h.Write(buf[:n])
		off += int64(n)
		t.c.sess.Count(0, 0)
		t.moved(int64(n))
	}
	return nil
}
