package outbound

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// planTime is for how long a lane believes what the DNS said: less than most records live, as the resolver has a cache of its own.
const planTime = 30 * time.Second

// way is where a lane's mail goes, looked up once for many messages.
type way struct {
	mu    sync.Mutex // held during the lookup: the others wait for its result
	plans map[string]*plan
	at    time.Time
	stale atomic.Bool // what is known is not believed any more
}

// plan finds the hosts for a route. Failures are not kept: the resolver does that.
func (y *way) plan(ctx context.Context, f *finder, domain string, r *Route) (*plan, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.stale.Swap(false) || time.Since(y.at) > planTime {
		y.plans = map[string]*plan{}
	}
	key := r.key()
	if p := y.plans[key]; p != nil {
		return p, nil
	}
	var p *plan
	var err error
	if r.Direct {
		p, err = f.find(ctx, domain)
	} else {
		p, err = f.relay(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	if len(y.plans) == 0 {
		y.at = time.Now()
	}
	y.plans[key] = p
	return p, nil
}

// relay finds the addresses of a route's host. That it has none is the administrator's to mend, so the mail waits.
func (f *finder) relay(ctx context.Context, r *Route) (*plan, error) {
	h := place{Host: Host{Name: r.Host}}
	if err := f.host(ctx, &h, false); err != nil {
		return nil, noDNS(r.Host, err)
	}
	return &plan{places: []place{h}}, nil
}

// outage is what is known of a host that did not answer. It spares all other mail for it the wait.
type outage struct {
	until time.Time
	wait  time.Duration
	why   *failure
}

// The waits until a host that did not answer is tried again.
const (
	firstOutage = time.Minute
	lastOutage  = 15 * time.Minute
	forget      = time.Hour
)

// isDown is the failure of a host that is known not to answer, and until when it is not tried; nil when it may be.
func (w *Worker) isDown(a netip.AddrPort) (*failure, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.down[a]; d != nil && time.Now().Before(d.until) {
		return d.why, d.until
	}
	return nil, time.Time{}
}

// answered notes whether a host answered. A greeting or a refusal is an answer, too.
func (w *Worker) answered(a netip.AddrPort, f *failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f == nil || f.stage != atConnect && f.stage != atGreeting || f.reply.Code != 0 && f.reply.Code != 421 || errors.Is(f.err, errLocal) || errors.Is(f.err, session.ErrKilled) {
		if d := w.down[a]; d != nil {
			delete(w.down, a)
		}
		return
	}
	d := w.down[a]
	if d == nil {
		d = &outage{}
		w.down[a] = d
	}
	if time.Now().Before(d.until) { // others noticed it at the same time
		return
	}
	d.wait = min(max(2*d.wait, firstOutage), lastOutage)
	d.until, d.why = time.Now().Add(d.wait), f
}

// targets are the addresses of a plan in the order in which they are tried, each with its policy. refused are the hosts that may not be used.
func (w *Worker) targets(ctx context.Context, p *plan, r *Route, requireTLS, optionalTLS bool) (all []*target, refused []*failure) {
	if !r.Direct {
		if requireTLS && r.TLS != Verified {
			// RFC 8689 section 4.2.1: the certificate must be for the host's name, which the configuration vouches for, whatever is enough for other mail.
			strict := *r
			strict.TLS = Verified
			r = &strict
		}
		for _, a := range p.places[0].addresses {
			t := &target{host: p.places[0].Name, addr: netip.AddrPortFrom(a, uint16(r.Port)), route: r}
			t.key = t.addr.String() + " " + r.key()
			all = append(all, t)
		}
		return all[:min(len(all), maxTries)], nil
	}
	hop := p.hop
	hop.RequireTLS, hop.OptionalTLS = requireTLS, optionalTLS
	policy := w.policies.For(ctx, hop)
	for _, h := range p.places {
		if len(all) >= maxTries {
			break
		}
		for _, a := range h.addresses {
			hp, err := policy.Host(ctx, h.Host) // one for each connection
			if err != nil {
				refused = append(refused, refusal(h.Name, err))
				break
			}
			t := &target{host: h.Name, addr: netip.AddrPortFrom(a, uint16(w.o.Port)), route: r, policy: hp}
			t.key = fmt.Sprint(t.addr, " ", hp.Key())
			all = append(all, t)
		}
	}
	return all[:min(len(all), maxTries)], refused
}

func refusal(host string, err error) *failure {
	f := &failure{status: "4.7.5", text: printable(err.Error()), remote: host, stage: atTLS, err: err}
	var r *Refusal
	if errors.As(err, &r) {
		f.status, f.permanent = r.Status, r.Permanent
	}
	return f
}

// errLocal is a failure that says nothing of the peer.
var errLocal = errors.New("local")

// pick leaves out the addresses that are known to be down, and tells why one is, and when the first may be tried again.
func (w *Worker) pick(all []*target) (up []*target, why *failure, until time.Time) {
	up = slices.DeleteFunc(slices.Clone(all), func(t *target) bool {
		f, at := w.isDown(t.addr)
		if f == nil {
			return false
		}
		if why = f; until.IsZero() || at.Before(until) {
			until = at
		}
		return true
	})
	return up, why, until
}

// Afresh forgets which hosts did not answer and what the DNS said of domains: an administrator who wants mail tried again knows more.
func (w *Worker) Afresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.down)
	for _, l := range w.lanes {
		l.way.forget()
	}
}

// forget makes the next plan a new one.
func (y *way) forget() { y.stale.Store(true) }
