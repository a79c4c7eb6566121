package resolve

import (
	"strings"
	"sync"
	"time"

	"github.com/mjl-/adns"
	"golang.org/x/net/publicsuffix"
)

// maxCrowd is how many questions about the names of one organisation may be slow at a time, and maxSilent how many while none of them is answered. Further ones are given
// up at once: its servers are down, or its owner has us ask names without an end, and nobody else's questions shall wait for their answers.
const (
	maxCrowd  = 256
	maxSilent = 32
)

// crowd is the slow questions about one organisation.
type crowd struct {
	slow     int
	answered time.Time // when one of its names was answered last, slow or not; zero: not since there is a slow one
}

// lively is how long an answer tells that the servers are there.
const lively = 5 * time.Second

// crowds are the slow questions by organisation. Safe for concurrent use.
type crowds struct {
	mu  sync.Mutex
	all map[string]*crowd
}

// enter counts a question that has become slow.
func (c *crowds) enter(zone string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all[zone] == nil {
		c.all[zone] = &crowd{}
	}
	c.all[zone].slow++
}

// leave is the end of a question: slow tells whether it was counted.
func (c *crowds) leave(zone string, slow, answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	z := c.all[zone]
	if z == nil {
		return
	}
	if answered {
		z.answered = time.Now()
	}
	if !slow {
		return
	}
	if z.slow--; z.slow == 0 {
		delete(c.all, zone)
	}
}

// full is the error of a question that would be one too many; nil while there is room.
func (c *crowds) full(zone string, q question) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	z := c.all[zone]
	if z == nil || z.slow < maxSilent || z.slow < maxCrowd && time.Since(z.answered) < lively {
		return nil
	}
	return &adns.DNSError{Err: "too many questions about " + zone + " wait for their answers", Name: q.name, IsTemporary: true, IsTimeout: true}
}

// zoneOf is whose servers answer for a name, as far as one can tell without asking: its organisation's domain; of names of addresses a network, a /16 or a /32.
func zoneOf(name string) string {
	name = strings.TrimSuffix(name, ".")
	for suffix, labels := range map[string]int{".in-addr.arpa": 2, ".ip6.arpa": 8} {
		if rest, ok := strings.CutSuffix(name, suffix); ok {
			all := strings.Split(rest, ".")
			return strings.Join(all[max(len(all)-labels, 0):], ".") + suffix
		}
	}
	zone, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return name
	}
	return zone
}
