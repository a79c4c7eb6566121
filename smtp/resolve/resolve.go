package resolve

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/mjl-/adns"
	moxdns "github.com/mjl-/mox/dns"
)

// Options are the settings of a Resolver; the zero value is usable.
type Options struct {
	// Servers are recursive resolvers, "ip:port" or "ip" (port 53), asked in this order. Empty: those of /etc/resolv.conf, which is
	// looked at again when it changes; without that file, this machine's port 53.
	Servers []string

	Timeout     time.Duration // for one question to one server; 0: 2 s. Each server is asked twice at most, once while none of them answers.
	CacheSize   int           // answers kept; 0: 10,000. They may fill CacheSize KiB.
	Concurrency int           // questions on the wire at a time, and seven times as many that are slow; others wait; 0: 256

	// TrustAD believes the AD bit of all servers. Without it, servers are believed when all of them have loopback addresses, or
	// when /etc/resolv.conf says trust-ad. IgnoreAD believes none.
	TrustAD  bool
	IgnoreAD bool

	Now    func() time.Time // nil: time.Now; for the cache alone
	Logger *slog.Logger     // nil: silent
}

// Resolver asks the DNS and remembers. It starts no goroutines that outlive a call and needs no closing.
type Resolver struct {
	options Options
	logger  *slog.Logger
	servers *servers
	cache   *cache
	wire    chan struct{} // one slot for each question on the wire
	slow    chan struct{} // and one for each that has been there for a while
	crowds  crowds        // whose names those are about

	mu      sync.Mutex
	flights map[question]*flight
}

var _ moxdns.Resolver = (*Resolver)(nil)

// question is what is asked: a name in lower case, absolute, in presentation form.
type question struct {
	name string
	kind uint16
}

// answer is what the DNS says to a question. It is shared and never changed.
type answer struct {
	records   []dns.RR // of the asked type, at the end of the chain
	alias     string   // the name at which records are; the asked one when there is no CNAME
	authentic bool
	missing   missing
	ttl       time.Duration // 0: not to be kept
	server    string
}

// missing tells why there are no records.
type missing uint8

const (
	present missing = iota
	noName          // NXDOMAIN
	noData          // the name has none of this type
)

// flight is a question that somebody asks right now; others who want the same wait for its end.
type flight struct {
	done   chan struct{}
	answer *answer
	err    error
	again  bool // the one who asked gave up for reasons of its own: the others ask themselves
}

// New makes a resolver. It asks nothing yet.
func New(o Options) *Resolver {
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	o.CacheSize = cmp.Or(o.CacheSize, 10_000)
	o.Concurrency = cmp.Or(o.Concurrency, 256)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Resolver{
		options: o,
		logger:  o.Logger,
		servers: newServers(o.Servers),
		cache:   newCache(o.CacheSize, o.Now),
		wire:    make(chan struct{}, o.Concurrency),
		slow:    make(chan struct{}, 7*o.Concurrency),
		crowds:  crowds{all: map[string]*crowd{}},
		flights: map[question]*flight{},
	}
}

// Alive tells whether there is a DNS at all: whether one of the servers answers what the root's name servers are. Nothing is taken
// from the cache. The error says which server did what.
func (r *Resolver) Alive(ctx context.Context) error {
	_, err := r.exchange(ctx, question{".", dns.TypeNS})
	return err
}

// Servers tells whom is asked, as "ip:port", and whether their AD bit is believed.
func (r *Resolver) Servers() (addresses []string, trusted bool) {
	s := r.servers.current()
	return s.addresses(), r.trusts(s)
}

// lookup answers a question from the cache or from the wire. The error is an *adns.DNSError; the result is right with errors too.
func (r *Resolver) lookup(ctx context.Context, name string, kind uint16) (*answer, adns.Result, error) {
	asked, err := absolute(name)
	if err != nil {
		return nil, adns.Result{}, err
	}
	a, err := r.ask(ctx, question{asked, kind})
	if err != nil {
		return nil, adns.Result{}, err
	}
	result := adns.Result{Authentic: a.authentic}
	switch a.missing {
	case noName:
		return nil, result, &adns.DNSError{Err: "no such name", Name: name, Server: a.server, IsNotFound: true}
	case noData:
		return nil, result, &adns.DNSError{Err: "no records of this type", Name: name, Server: a.server, IsNotFound: true}
	}
	return a, result, nil
}

// ask answers q; who asks what another asks already waits for that answer.
func (r *Resolver) ask(ctx context.Context, q question) (*answer, error) {
	if a := special(q); a != nil {
		return a, nil
	}
	for {
		if a := r.cache.get(q); a != nil {
			return a, nil
		}
		if missed, ok := ctx.Value(glancing{}).(*atomic.Bool); ok {
			missed.Store(true)
			return nil, &adns.DNSError{Err: "not known without asking", Name: q.name, IsTemporary: true}
		}
		r.mu.Lock()
		f, ok := r.flights[q]
		if !ok {
			f = &flight{done: make(chan struct{})}
			r.flights[q] = f
			r.mu.Unlock()
			return r.fly(ctx, q, f)
		}
		r.mu.Unlock()
		select {
		case <-f.done:
			if !f.again {
				return f.answer, f.err
			}
		case <-ctx.Done():
			return nil, gaveUp(ctx, q)
		}
	}
}

// fly asks the wire for all who wait on f.
func (r *Resolver) fly(ctx context.Context, q question, f *flight) (*answer, error) {
	f.again = true // also when chase panics
	defer func() {
		r.mu.Lock()
		delete(r.flights, q)
		r.mu.Unlock()
		close(f.done)
	}()
	start := time.Now()
	f.answer, f.err = r.chase(ctx, q)
	if f.err == nil {
		r.cache.put(q, f.answer)
	}
	f.again = f.err != nil && ctx.Err() != nil
	r.logger.Debug("dns lookup", "name", q.name, "type", dns.TypeToString[q.kind], "took", time.Since(start), "error", f.err)
	return f.answer, f.err
}

// glancing is the key of a context whose lookups ask nobody.
type glancing struct{}

// Glance gives a context with which lookups are answered from the cache alone: what is not in it fails. enough tells whether all were; if not, what was
// made of the answers is worth nothing, and the same has to be done with ctx.
func Glance(ctx context.Context) (known context.Context, enough func() bool) {
	missed := &atomic.Bool{}
	return context.WithValue(ctx, glancing{}, missed), func() bool { return !missed.Load() }
}

// special answers names that no server is asked for.
func special(q question) *answer {
	switch {
	// RFC 6761 section 6.3: localhost is this machine.
	case below(q.name, "localhost."):
		a := &answer{alias: q.name, missing: noData}
		switch q.kind {
		case dns.TypeA:
			a.records, a.missing = []dns.RR{&dns.A{A: net.IPv4(127, 0, 0, 1)}}, present
		case dns.TypeAAAA:
			a.records, a.missing = []dns.RR{&dns.AAAA{AAAA: net.IPv6loopback}}, present
		}
		return a
	// RFC 6761 section 6.4: names below invalid do not exist.
	case below(q.name, "invalid."):
		return &answer{alias: q.name, missing: noName}
	}
	return nil
}

// below tells whether a name is a domain or below it.
func below(name, domain string) bool {
	rest, ok := strings.CutSuffix(name, domain)
	return ok && (rest == "" || rest[len(rest)-1] == '.' && !strings.HasSuffix(rest, `\.`))
}
