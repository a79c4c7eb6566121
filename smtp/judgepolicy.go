package smtp

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/packetboat/packetboat/smtp/verify"
)

// Verifier finds out whose a message is: verify.Verifier.
type Verifier interface {
	Check(ctx context.Context, m verify.Message) *verify.Result
}

// Policy says what is done about a message whose author's domain disowns it.
type Policy string

// The policies for DMARC (RFC 7489). Each tells its results in Authentication-Results.
const (
	Enforce    Policy = "enforce"    // as the domain asks: refuse, or Junk
	Quarantine Policy = "quarantine" // Junk for both
	Tag        Policy = "tag"        // tell
)

// The policies for SPF (RFC 7208) beside Tag.
const (
	Score      Policy = "score"  // counts (Weights)
	RejectFail Policy = "reject" // a sender's domain that says "-all" is believed: 550 5.7.23
)

// VerifyOptions say who is asked whose a message is, and what the answer means.
type VerifyOptions struct {
	Verifier Verifier // nil: nobody
	// Alive tells whether there is a DNS at all; nil: there is. A server that never saw one verifies nothing and refuses nothing for it.
	Alive func(context.Context) error
	DMARC Policy // "": Enforce
	SPF   Policy // "": Score
	// Sealers are domains whose ARC chains (RFC 8617) are believed about what they received: mailing lists, forwarders.
	Sealers []string
}

// dnsPatience is how long it is not asked again whether there is a DNS, at first; it doubles up to dnsMost.
const (
	dnsPatience = 30 * time.Second
	dnsMost     = 10 * time.Minute
)

// dnsKnown is whether there ever was a DNS.
type dnsKnown struct {
	seen atomic.Bool
	mu   sync.Mutex
	next time.Time
	wait time.Duration
}

// ready tells whether verdicts can be expected. Without a DNS ever seen they cannot: that is a machine without a network, where nothing is refused for it. One
// that was seen and does not answer now is trouble, and the sender is asked to come again.
func (t *transaction) dnsReady(ctx context.Context) bool {
	j, s := t.c.srv.o.Judge, t.c.srv.store
	d := &j.dns
	if j.o.Verify.Alive == nil || d.seen.Load() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := j.o.Now()
	if d.seen.Load() || now.Before(d.next) {
		return d.seen.Load()
	}
	seen, err := s.DNSSeen(ctx)
	if err == nil && !seen {
		if err = j.o.Verify.Alive(ctx); err == nil {
			seen = true
			err = s.NoteDNS(ctx)
		}
	}
	if seen {
		d.seen.Store(true)
		return true
	}
	if ctx.Err() == nil {
		if d.wait == 0 {
			t.c.log.Warn("no DNS was ever seen: senders are not verified, and nothing is refused for it", "error", err)
		}
		d.wait = min(max(2*d.wait, dnsPatience), dnsMost)
		d.next = now.Add(d.wait)
	}
	return false
}

// verify finds out whose the message is, and refuses it if it is not whose it says.
func (t *transaction) verify(ctx context.Context, h *header, s *spool) *reply {
	j, c, v := t.c.srv.o.Judge, t.c, t.verdict
	o := &j.o.Verify
	if o.Verifier == nil || !c.remote().IsValid() {
		return nil
	}
	if !t.dnsReady(ctx) {
		v.Fields = []byte("Authentication-Results: " + c.srv.o.Name + "; none\r\n") // RFC 8601 section 2.2
		v.because("no DNS was ever seen: nothing was verified")
		return nil
	}
	m := verify.Message{Remote: c.remote(), Helo: c.helo, MailFrom: t.sender.path, UTF8: t.sender.utf8, Header: h.block(), Body: s, Size: s.Size()}
	// RFC 3030 section 3: what is made of a binary message is no longer what was signed.
	if header, body, size, err := t.binary.original(); err != nil {
		return replyTo(err)
	} else if body != nil {
		m.Header, m.Body, m.Size = header, body, size
	}
	r := o.Verifier.Check(ctx, m)
	if ctx.Err() != nil {
		return replyTo(ctx.Err())
	}
	v.Result, v.report = r, j.o.Reports != nil && r.DMARC.Published != nil && isReport(h)
	t.weighResult(r)
	refusal := t.decide(r)
	if o.DMARC != Tag && r.DMARC.Doubtful {
		// RFC 7489 section 6.6.1: a message whose author is in doubt has no domain to ask, and would be the way around each policy. That holds whatever those
		// domains ask for that could be read.
		v.Junk = true
		v.because("its From field does not say who wrote it")
	}
	v.Fields = r.Field(c.srv.o.Name)
	return refusal
}

// weighResult counts what was found, before any policy.
func (t *transaction) weighResult(r *verify.Result) {
	v, w := t.verdict, t.c.srv.o.Judge.o.Weights
	v.proved = r.Authenticated() || r.Score < 0
	// Addresses that are nobody's in public have no names there.
	if a := t.c.remote(); (r.IPRev.Status == verify.Fail || r.IPRev.Status == verify.PermError) && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() {
		v.count(w.IPRev, "the peer's address has no name of its own")
	}
	for _, l := range r.DNSBL {
		v.count(l.Score, "the peer is on "+l.Zone)
	}
	if t.c.srv.o.Judge.o.Verify.SPF != Score || r.DMARC.Status == verify.Pass {
		return
	}
	switch r.SPF.Status {
	case verify.Fail:
		v.count(w.SPFFail, "SPF fails for "+r.SPF.Domain)
	case verify.SoftFail:
		v.count(w.SPFSoftFail, "SPF fails softly for "+r.SPF.Domain)
	}
}

// decide applies the policies for SPF and DMARC.
func (t *transaction) decide(r *verify.Result) *reply {
	o, v := &t.c.srv.o.Judge.o.Verify, t.verdict
	if by := t.vouched(r); by != "" {
		// RFC 7489 section 6.7, RFC 8617 section 7.2.1: local policy may take a chain's word for what the forwarder saw.
		v.proved, v.sealer = true, by
		r.DMARC.Reason = "overridden by local policy: ARC chain of " + by
		v.because("DMARC fails for " + r.DMARC.From + ", but the ARC chain of " + by + " says that it passed there")
		return nil
	}
	if o.DMARC != Tag && r.Temporary() {
		v.because("the DNS did not answer about " + r.DMARC.From)
		return say(451, "4.4.3", "the DNS does not answer about %s, try again later", clean(r.DMARC.From, 200))
	}
	if refusal := t.decideSPF(r); refusal != nil {
		return refusal
	}
	asked := r.Disposition()
	if r.DMARC.Status == verify.Fail && (asked == "none" || o.DMARC == Tag) {
		v.count(t.c.srv.o.Judge.o.Weights.DMARCFail, "DMARC fails for "+r.DMARC.From)
	}
	if asked == "none" || o.DMARC == Tag {
		return nil
	}
	v.because("DMARC fails for " + r.DMARC.From + ", whose domain asks for " + asked)
	if asked == "reject" && o.DMARC == Enforce {
		// RFC 7489 section 10.3.
		return say(550, "5.7.1", "rejected per DMARC policy for %s", clean(r.DMARC.From, 200))
	}
	v.Junk = true
	return nil
}

// decideSPF refuses what a domain says is not its own, if that is wanted. RFC 7208 section 8.4.
func (t *transaction) decideSPF(r *verify.Result) *reply {
	if t.c.srv.o.Judge.o.Verify.SPF != RejectFail || r.DMARC.Status == verify.Pass {
		return nil
	}
	switch r.SPF.Status {
	case verify.TempError: // section 8.6
		t.verdict.because("the DNS did not answer about the SPF of " + r.SPF.Domain)
		return say(451, "4.4.3", "the DNS does not answer about the SPF of %s, try again later", clean(r.SPF.Domain, 200))
	case verify.Fail:
		t.verdict.because("SPF fails for " + r.SPF.Domain)
		return say(550, "5.7.23", "SPF of %s does not permit this address", clean(r.SPF.Domain, 150)) // RFC 7372 section 3.2
	}
	return nil
}

// vouched is the sealer whose chain tells that DMARC passed before the message was sent on; "" when there is none who is believed. Every
// seal from the last one back to that testimony must be of somebody who is.
func (t *transaction) vouched(r *verify.Result) string {
	if r.DMARC.Status != verify.Fail || r.ARC.Status != verify.ARCPass {
		return ""
	}
	for _, set := range slices.Backward(r.ARC.Sets) {
		if !slices.ContainsFunc(t.c.srv.o.Judge.o.Verify.Sealers, func(d string) bool { return strings.EqualFold(d, strings.TrimSuffix(set.Domain, ".")) }) {
			return ""
		}
		if methodPasses(set.Results, "dmarc") {
			return set.Domain
		}
	}
	return ""
}

// methodPasses tells whether results (RFC 8601 section 2.2, without the authserv-id) say that a method passed. They are read by their grammar: what a sender
// brings into a comment or a quoted string is none of them. What cannot be read says nothing.
func methodPasses(results, method string) bool {
	r, err := verify.ParseResults("x" + results)
	i := slices.IndexFunc(r.Methods, func(m verify.MethodResult) bool { return m.Method == method })
	return err == nil && i >= 0 && r.Methods[i].Result == "pass"
}

// unclaim removes the Authentication-Results that pretend to be ours (RFC 8601 section 5). Those of a relay of ours stand.
func (t *transaction) unclaim(h *header) {
	c := t.c
	if j := c.srv.o.Judge; j != nil && c.account == nil && j.trusts(c.remote()) {
		return
	}
	h.fields = slices.DeleteFunc(h.fields, func(f field) bool {
		if f.name != "authentication-results" {
			return false
		}
		_, value, _ := strings.Cut(string(f.raw), ":")
		return verify.Claims(value, c.srv.o.Name)
	})
}

// block is the header as it came, without the empty line. Its fields lie one behind the other.
func (h *header) block() []byte {
	b := make([]byte, 0, h.size())
	for _, f := range h.fields {
		b = append(b, f.raw...)
	}
	return b
}

func (h *header) size() (n int) {
	for _, f := range h.fields {
		n += len(f.raw)
	}
	return n
}
