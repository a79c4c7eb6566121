package resolve

import (
	"strings"
	"sync"

	"github.com/mjl-/adns"
	"golang.org/x/net/publicsuffix"
)

// maxCrowd is how many questions about the names of one organisation may be slow at a time. While there are that many, further ones are given up at once: its
// servers are down, or its owner has us ask names without an end, and nobody else's questions shall wait for their answers.
const maxCrowd = 32

// crowds counts slow questions by organisation. Safe for concurrent use.
type crowds struct {
	mu   sync.Mutex
	slow map[string]int
}

func (c *crowds) add(zone string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slow[zone] += n; c.slow[zone] == 0 {
		delete(c.slow, zone)
	}
}

// full is the error of a question that would be one too many; nil while there is room.
func (c *crowds) full(zone string, q question) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slow[zone] < maxCrowd {
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
