package outbound

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"github.com/mjl-/mox/dane"
	"github.com/mjl-/mox/tlsrpt"

	"github.com/packetboat/packetboat/storage"
)

// reported is a policy as a report names it (RFC 8460 section 4.4).
type reported struct {
	Type   string   `json:"t"`
	Text   []string `json:"s,omitempty"`
	Domain string   `json:"d"`
	MX     []string `json:"m,omitempty"`
}

// fault is what went wrong, as a report names it (RFC 8460 section 4.3).
type fault struct {
	Type   string `json:"t"`
	Local  string `json:"l,omitempty"`
	Remote string `json:"r,omitempty"`
	Host   string `json:"h,omitempty"`
	Helo   string `json:"e,omitempty"`
	Reason string `json:"c,omitempty"`
}

// counts are results that are not in the store yet.
type counts struct {
	mu sync.Mutex
	n  map[storage.TLSResult]int64
}

const (
	countsMax   = 2_000 // of them
	reportedMax = 20    // lines, records and hosts of a policy in reports
)

// count notes a result for a domain's report of the day.
func (p *Policies) count(domain string, r reported, f *fault) {
	if p.o.NoReports || domain == "" {
		return
	}
	k := storage.TLSResult{Day: storage.TLSDay(p.o.Now()), Domain: domain, Policy: encode(r)}
	if f != nil {
		k.Failure = encode(f)
	}
	p.counts.mu.Lock()
	defer p.counts.mu.Unlock()
	if _, ok := p.counts.n[k]; ok || len(p.counts.n) < countsMax {
		p.counts.n[k]++
	}
}

// encode writes what always has a form in JSON.
func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings only
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

// flush puts what was counted into the store. What cannot be written is kept for the next time.
func (p *Policies) flush(ctx context.Context) error {
	p.counts.mu.Lock()
	n := p.counts.n
	p.counts.n = map[storage.TLSResult]int64{}
	p.counts.mu.Unlock()
	if len(n) == 0 {
		return nil
	}
	err := p.store.CountTLS(ctx, n)
	if err == nil {
		return nil
	}
	p.counts.mu.Lock()
	defer p.counts.mu.Unlock()
	for k, c := range n {
		if _, ok := p.counts.n[k]; ok || len(p.counts.n) < countsMax {
			p.counts.n[k] += c
		}
	}
	return err
}

// reported is the domain's policy for its report.
func (d *Policy) reported() reported {
	if d.sts.policy == nil {
		return reported{Type: string(tlsrpt.NoPolicyFound), Domain: d.hop.Domain}
	}
	r := reported{Type: string(tlsrpt.STS), Text: d.sts.text, Domain: d.hop.Domain}
	for _, mx := range d.sts.policy.MX {
		name := mx.Domain.ASCII
		if mx.Wildcard {
			name = "*." + name
		}
		if len(r.MX) < reportedMax {
			r.MX = append(r.MX, short(name))
		}
	}
	return r
}

// reportedTLSA is a host's policy for reports.
func reportedTLSA(d daneState) reported {
	r := reported{Type: string(tlsrpt.TLSA), Domain: d.base}
	for _, rec := range d.records {
		r.Text = append(r.Text, short(rec.Record()))
	}
	return r
}

// faultOf is how an attempt is reported; nil for a success.
func (h *HostPolicy) faultOf(a Attempt) *fault {
	f := &fault{Host: h.host.Name, Helo: short(a.Helo)}
	if a.Local.IsValid() {
		f.Local = a.Local.String()
	}
	if a.Remote.IsValid() {
		f.Remote = a.Remote.String()
	}
	err := a.Err
	if err == nil {
		err = h.fault // in mode testing it did not end the handshake
	}
	switch {
	case a.NoSTARTTLS:
		f.Type = string(tlsrpt.ResultSTARTTLSNotSupported)
	case err == nil:
		return nil
	case errors.Is(err, errUnlisted):
		f.Type, f.Reason = string(tlsrpt.ResultValidationFailure), "mx-not-in-policy"
	case errors.Is(err, dane.ErrNoMatch):
		f.Type, f.Reason = string(tlsrpt.ResultValidationFailure), "no-tlsa-record-matches"
	default:
		kind, reason := tlsrpt.TLSFailureDetails(err)
		f.Type, f.Reason = string(kind), reason
	}
	return f
}

// short bounds what a peer says of itself, to what is text.
func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), 255)], "?") }
