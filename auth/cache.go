package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

const (
	verifiedFor = 5 * time.Minute // since the hash was verified; use does not prolong it
	verifiedMax = 4096
	wrongFor    = time.Hour // since the password was last tried
	wrongMax    = 32768
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// digest is a keyed hash of something secret. Without the key, which lives as long as
// the process, it says nothing.
type digest [sha256.Size]byte

// keyedHash hashes fields under key so that no two lists of fields have the same input.
func keyedHash(key []byte, fields ...string) (d digest) {
	m := hmac.New(sha256.New, key)
	var n [4]byte
	for _, f := range fields {
		binary.BigEndian.PutUint32(n[:], uint32(len(f)))
		m.Write(n[:])
		m.Write([]byte(f))
	}
	m.Sum(d[:0])
	return d
}

// cache remembers which passwords were right, so that a client that logs in once a
// minute is not hashed once a minute, and which were wrong, so that a client which keeps
// an old password neither costs a hash nor raises the penalty each time.
//
// Both are keyed by the account's epoch: a change made anywhere makes them useless.
type cache struct {
	key []byte
	now func() time.Time

	mu       sync.Mutex
	verified *lru[digest, verifiedEntry]
	wrong    *lru[digest, time.Time]
}

type verifiedEntry struct {
	account int64
	until   time.Time
}

func newCache(now func() time.Time) *cache {
	return &cache{
		key: randomBytes(32), now: now,
		verified: newLRU[digest, verifiedEntry](verifiedMax),
		wrong:    newLRU[digest, time.Time](wrongMax),
	}
}

func (c *cache) verifiedKey(account, epoch int64, password string) digest {
	return keyedHash(c.key, "verified", decimal(account), decimal(epoch), password)
}

func (c *cache) wrongKey(who subject, epoch int64, from netip.Prefix, password string) digest {
	return keyedHash(c.key, "wrong", decimal(who.account), who.name, decimal(epoch), from.String(), password)
}

// isVerified tells whether password was proved for this account and epoch a short while ago.
func (c *cache) isVerified(k digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.verified.get(k)
	if e == nil {
		return false
	}
	if c.now().After(e.until) {
		c.verified.remove(k)
		return false
	}
	return true
}

func (c *cache) setVerified(k digest, account int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.verified.put(k) = verifiedEntry{account: account, until: c.now().Add(verifiedFor)}
}

// isWrong tells whether just this was tried before and failed; asking prolongs it.
func (c *cache) isWrong(k digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := c.wrong.get(k)
	if until == nil {
		return false
	}
	now := c.now()
	if now.After(*until) {
		c.wrong.remove(k)
		return false
	}
	*until = now.Add(wrongFor)
	return true
}

func (c *cache) setWrong(k digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.wrong.put(k) = c.now().Add(wrongFor)
}

// forget drops what was proved for an account.
func (c *cache) forget(account int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified.removeIf(func(_ digest, e *verifiedEntry) bool { return e.account == account })
}
