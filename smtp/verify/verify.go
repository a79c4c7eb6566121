package verify

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mjl-/mox/dns"
)

// Options are the settings of a Verifier; the zero value is usable.
type Options struct {
	Name    string        // of this server, for the macro %{r} of SPF explanations
	Timeout time.Duration // of a whole Check; 0: 20 s. RFC 7208 section 4.6.4 wants at least that
	DNSBL   []List        // that are asked for the client's address; 20 at most

	// Glance gives a context with which the resolver answers from what it knows alone, and tells after the lookups whether that was enough (resolve.Glance).
	// nil: it cannot do that.
	Glance func(context.Context) (context.Context, func() bool)

	MaxSignatures int // how many DKIM signatures are looked at, those of the author's domain first; 0: 10

	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: silent
}

// Verifier checks messages. Any number of calls may run at a time.
type Verifier struct {
	resolver dns.Resolver
	options  Options
	logger   *slog.Logger
	sample   func() int // 0 to 99, for pct= of DMARC
}

// New makes a Verifier that asks resolver.
func New(resolver dns.Resolver, o Options) *Verifier {
	o.Timeout = cmp.Or(o.Timeout, 20*time.Second)
	o.MaxSignatures = cmp.Or(o.MaxSignatures, 10)
	o.DNSBL = o.DNSBL[:min(len(o.DNSBL), 20)]
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Verifier{resolver: resolver, options: o, logger: o.Logger, sample: func() int { return rand.IntN(100) }}
}

// Check finds out everything about a message. It takes as long as the slowest of its parts, and no longer than the time-out. Parts that wait for the DNS or read
// the body run side by side; one whose answers are known already is not worth a goroutine.
func (v *Verifier) Check(ctx context.Context, m Message) *Result {
	ctx, cancel := context.WithTimeout(ctx, v.options.Timeout)
	defer cancel()
	m.Remote = m.Remote.Unmap().WithZone("")
	r := &Result{Remote: m.Remote, Helo: m.Helo, MailFrom: m.MailFrom, UTF8: m.UTF8}
	fields := HeaderFields(m.Header)
	authors := readAuthors(fields)

	var work sync.WaitGroup
	beside := func(takes bool, part func()) {
		if takes {
			work.Go(part)
		} else {
			part()
		}
	}
	beside(hasSignature(fields), func() { r.DKIM = v.dkim(ctx, fields, m, authors.domains) })
	beside(hasSeal(fields), func() { r.ARC = v.arc(ctx, fields, m) })
	beside(len(v.options.DNSBL) > 0, func() { r.DNSBL = v.lists(ctx, m.Remote) })
	ask := func(part func(context.Context)) {
		if !v.glance(ctx, part) {
			work.Go(func() { part(ctx) })
		}
	}
	ask(func(ctx context.Context) { r.HELO = v.spfHelo(ctx, m) })
	if m.MailFrom != "" {
		ask(func(ctx context.Context) { r.SPF = v.spfFrom(ctx, m) })
	}
	ask(func(ctx context.Context) { r.IPRev = v.iprev(ctx, m.Remote) })
	policies := make([]dmarcPolicy, len(authors.domains))
	for i, d := range authors.domains {
		ask(func(ctx context.Context) { policies[i] = v.policy(ctx, d) })
	}
	work.Wait()
	if m.MailFrom == "" {
		r.SPF = r.HELO // RFC 7208 section 2.4: MAIL FROM is postmaster at HELO then
	}
	r.DMARC = v.dmarc(authors, policies, r)
	for _, l := range r.DNSBL {
		r.Score += l.Score
	}
	return r
}

// glance runs a part with what the resolver knows already, and tells whether that was enough. If not, it has to run again.
func (v *Verifier) glance(ctx context.Context, part func(context.Context)) bool {
	if v.options.Glance == nil {
		return false
	}
	known, enough := v.options.Glance(ctx)
	part(known)
	return enough()
}

func hasSignature(fields []HeaderField) bool {
	return slices.ContainsFunc(fields, func(f HeaderField) bool { return f.Name == "dkim-signature" })
}

func hasSeal(fields []HeaderField) bool {
	return slices.ContainsFunc(fields, func(f HeaderField) bool { return strings.HasPrefix(f.Name, "arc-") })
}

// arc verifies the chain when there is one.
func (v *Verifier) arc(ctx context.Context, fields []HeaderField, m Message) ARC {
	return checkARC(ctx, v.resolver, fields, m.Body, m.Size, v.options.Now())
}
