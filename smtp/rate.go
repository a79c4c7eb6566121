package smtp

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Rate is how many a minute; 0: any number. As many may come at once.
type Rate struct {
	Address int // from an address (IPv6: a /64)
	Network int // from a network (IPv4: a /24, IPv6: a /48)
}

// RateOptions are limits for who sends to us.
type RateOptions struct {
	Connections, Messages, Recipients, Unknown Rate
	// UnknownSession is how many unknown recipients, and others that are refused with 550, a connection may name before it is closed; 0: any number.
	UnknownSession int
}

// counted is what a rate counts.
type counted uint8

const (
	connections counted = iota
	messages
	recipients
	unknown
)

var countedNames = [...]string{"connections", "messages", "recipients", "unknown recipients"}

// maxRates is how many addresses and networks are remembered at most. Of a flood of them the oldest are forgotten first, half of all at a time: what
// is forgotten is at worst a minute old and costs somebody's limit a second chance.
const maxRates = 1 << 16

// rates are the limits and what was used of them. Safe for concurrent use.
type rates struct {
	o   RateOptions
	now func() time.Time

	mu  sync.Mutex
	new map[rateKey]time.Time // when its allowance is whole again
	old map[rateKey]time.Time
}

type rateKey struct {
	what counted
	net  netip.Prefix
}

func newRates(o RateOptions, now func() time.Time) *rates {
	return &rates{o: o, now: now, new: map[rateKey]time.Time{}}
}

func (r *rates) limit(what counted) Rate {
	return [...]Rate{r.o.Connections, r.o.Messages, r.o.Recipients, r.o.Unknown}[what]
}

// addressOf and networkOf are whom a limit is for.
func addressOf(a netip.Addr) netip.Prefix { return masked(a, 32, 64) }
func networkOf(a netip.Addr) netip.Prefix { return masked(a, 24, 48) }

func masked(a netip.Addr, four, six int) netip.Prefix {
	a = a.Unmap().WithZone("")
	n := six
	if a.Is4() {
		n = four
	}
	p, err := a.Prefix(n)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// over counts one, and tells the limit that it exceeds as a reply's text would: "" for none. What is over a limit is not counted against it.
func (r *rates) over(what counted, a netip.Addr) string {
	l := r.limit(what)
	if !a.IsValid() || l == (Rate{}) {
		return ""
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	address, network := rateKey{what, addressOf(a)}, rateKey{what, networkOf(a)}
	one, ok := r.next(address, l.Address, now)
	if !ok {
		return rateText(what, l.Address, address.net)
	}
	two, ok := r.next(network, l.Network, now)
	if !ok {
		return rateText(what, l.Network, network.net)
	}
	if l.Address > 0 {
		r.put(address, one)
	}
	if l.Network > 0 {
		r.put(network, two)
	}
	return ""
}

// spent tells whether a limit is used up, without counting.
func (r *rates) spent(what counted, a netip.Addr) string {
	l := r.limit(what)
	if !a.IsValid() || l == (Rate{}) {
		return ""
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.next(rateKey{what, addressOf(a)}, l.Address, now); !ok {
		return rateText(what, l.Address, addressOf(a))
	}
	if _, ok := r.next(rateKey{what, networkOf(a)}, l.Network, now); !ok {
		return rateText(what, l.Network, networkOf(a))
	}
	return ""
}

func rateText(what counted, n int, p netip.Prefix) string {
	name := p.String()
	if p.IsSingleIP() {
		name = p.Addr().String()
	}
	return "more than " + itoa(n) + " " + countedNames[what] + " a minute from " + name
}

// next is when the allowance of n a minute would be whole again after one more; false when it has none left.
func (r *rates) next(k rateKey, n int, now time.Time) (time.Time, bool) {
	if n <= 0 {
		return now, true
	}
	each := time.Minute / time.Duration(n)
	whole, ok := r.new[k]
	if !ok {
		whole = r.old[k]
	}
	if whole.Before(now) {
		whole = now
	}
	whole = whole.Add(each)
	return whole, whole.Sub(now) <= time.Minute
}

func (r *rates) put(k rateKey, whole time.Time) {
	if len(r.new) >= maxRates/2 {
		r.old, r.new = r.new, make(map[rateKey]time.Time)
	}
	r.new[k] = whole
}

// admit counts a connection and tells why it is not taken; nil when it is.
func (c *client) admit() *reply {
	j := c.srv.o.Judge
	if j == nil || c.told == nil && c.fronts() || j.trusts(c.remote()) {
		return nil // a front end's connections are its clients', once it told who they are
	}
	limit := j.rates.over(connections, c.remote())
	if limit == "" && !c.remote().IsLoopback() { // behind which may be everybody
		limit = j.rates.spent(unknown, c.remote())
	}
	if limit == "" {
		return nil
	}
	return say(421, "4.7.0", "%s", limit)
}

// turnOut ends a session before its greeting. The reply goes out when the connection is closed, so that nobody waits for it; where TLS comes first there is none.
func (c *client) turnOut(r *reply) {
	c.log.Info("connection refused", "remote", c.ses.Remote(), "reply", r.Error())
	if c.wire.begin != nil {
		c.over = true
		c.ses.Kill(errors.New(r.text))
		return
	}
	c.part(r, r.text)
}

// mayMail counts a MAIL.
func (c *client) mayMail() *reply {
	j := c.srv.o.Judge
	if j == nil || j.trusts(c.remote()) {
		return nil
	}
	if limit := j.rates.over(messages, c.remote()); limit != "" {
		return say(450, "4.7.1", "%s, try again later", limit)
	}
	return nil
}

// receive is RCPT with its limits. Who names many that are not there looks for those that are, and who goes on when it is refused for good is no mail
// server: the connection is closed.
func (t *transaction) receive(ctx context.Context, r recipient) *reply {
	c := t.c
	j := c.srv.o.Judge
	if j == nil || j.trusts(c.remote()) {
		return t.rcpt(ctx, r)
	}
	if limit := j.rates.over(recipients, c.remote()); limit != "" {
		return c.refused(say(450, "4.7.1", "%s, try again later", limit))
	}
	answer := t.rcpt(ctx, r)
	if answer.code != 550 {
		return answer
	}
	if c.unknown < 1<<14 {
		c.unknown++
	}
	limit := j.rates.over(unknown, c.remote())
	if n := j.rates.o.UnknownSession; limit == "" && n > 0 && int(c.unknown) > n {
		limit = "more than " + itoa(n) + " unknown recipients in this session"
	}
	if limit != "" {
		c.part(c.refused(say(421, "4.7.0", "%s", limit)), "too many unknown recipients")
	}
	return answer
}
