package report

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
)

// DMARCOptions of DMARC; the zero value is usable.
type DMARCOptions struct {
	Logger *slog.Logger
	From   string // the address that reports come from, of a domain of ours; "" means postmaster of the first one
	Now    func() time.Time
}

// DMARC counts what is received in other domains' names and reports it to those whose policies ask for it (RFC 7489 section 7.2). Any number of calls may run at a time.
type DMARC struct {
	store    *storage.Store
	resolver dns.Resolver
	o        DMARCOptions
	full     chan struct{} // a hint: much was counted

	mu       sync.Mutex
	counts   map[storage.DMARCResult]storage.DMARCCount
	policies map[storage.DMARCDay]verify.Published

	daily Daily
}

// NewDMARC makes one. Run must run for it to do anything.
func NewDMARC(store *storage.Store, resolver dns.Resolver, o DMARCOptions) *DMARC {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &DMARC{store: store, resolver: resolver, o: o, full: make(chan struct{}, 1), counts: map[storage.DMARCResult]storage.DMARCCount{}, policies: map[storage.DMARCDay]verify.Published{}}
}

// Judged is a message that was taken or refused for good.
type Judged struct {
	Result      *verify.Result
	Disposition string // what DMARC did about it: "none", "quarantine" or "reject"
	Override    string // why that is not what the domain asks for, in the words of RFC 7489 appendix C ("local_policy"); "" when it is
	Comment     string // about Override
	Report      bool   // it is a report itself, and proved to be
}

const (
	countedMax    = 4_000 // different results in memory
	countedBrim   = 2_000 // so many are written down at once
	writtenMax    = 500   // written down in one transaction
	signaturesMax = 10    // of a record
	textMax       = 255   // octets of what others say
	rowMax        = 4_000 // octets of a record
)

// row is a record as it is kept. One letter a key: there may be many.
type row struct {
	IP          string      `json:"i"`
	Disposition string      `json:"d"`
	DKIM        bool        `json:"k,omitempty"` // aligned and passes
	SPF         bool        `json:"s,omitempty"`
	Override    string      `json:"o,omitempty"`
	Comment     string      `json:"c,omitempty"`
	From        string      `json:"f"` // the author's domain
	Envelope    string      `json:"e,omitempty"`
	Signatures  []signature `json:"g,omitempty"`
	SPFDomain   string      `json:"m,omitempty"`
	SPFHelo     bool        `json:"h,omitempty"` // of HELO, as there was no return address
	SPFResult   string      `json:"r"`
}

type signature struct {
	Domain   string `json:"d"`
	Selector string `json:"s,omitempty"`
	Result   string `json:"r"`
}

// Count notes a message, if its author's domain asks for reports. It neither waits nor fails.
func (d *DMARC) Count(m Judged) {
	r := m.Result
	if r == nil || r.DMARC.Published == nil || r.DMARC.Domain == "" {
		return
	}
	day := storage.DMARCDay{Day: storage.TLSDay(d.o.Now()), Domain: r.DMARC.Domain}
	k := storage.DMARCResult{DMARCDay: day, Result: rowOf(m)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.counts[k]; !ok && len(d.counts) >= countedMax {
		if k.Result = ""; len(d.counts) >= 2*countedMax {
			return
		}
	}
	n := d.counts[k]
	n.Messages++
	if m.Report {
		n.Reports++
	}
	d.counts[k], d.policies[day] = n, *r.DMARC.Published
	if len(d.counts) >= countedBrim {
		select {
		case d.full <- struct{}{}:
		default:
		}
	}
}

// rowOf is what a record says of a message.
func rowOf(m Judged) string {
	r := m.Result
	w := row{IP: r.Remote.String(), Disposition: m.Disposition, DKIM: r.DMARC.DKIM, SPF: r.DMARC.SPF, Override: m.Override, Comment: short(m.Comment),
		From: short(r.DMARC.From), SPFDomain: r.SPF.Domain, SPFHelo: r.MailFrom == "", SPFResult: string(r.SPF.Status)}
	if at := strings.LastIndexByte(r.MailFrom, '@'); at >= 0 {
		w.Envelope = short(strings.ToLower(r.MailFrom[at+1:]))
	}
	if w.SPFDomain == "" { // none that SPF could be asked for
		if w.SPFDomain = w.Envelope; w.SPFHelo {
			w.SPFDomain = r.Helo
		}
	}
	w.SPFDomain = short(w.SPFDomain)
	for _, s := range ordered(r) {
		if len(w.Signatures) < signaturesMax {
			w.Signatures = append(w.Signatures, signature{short(s.Domain), short(s.Selector), string(s.Status)})
		}
	}
	text := encode(w)
	for len(text) > rowMax && len(w.Signatures) > 0 {
		w.Signatures = w.Signatures[:len(w.Signatures)-1]
		text = encode(w)
	}
	return text
}

// ordered are the signatures that can be reported, in the order that RFC 9990 prefers: what passes first, and of that the author's own domain, then those below or above it.
func ordered(r *verify.Result) []verify.Signature {
	all := slices.DeleteFunc(slices.Clone(r.DKIM), func(s verify.Signature) bool { return s.Domain == "" })
	rank := func(s verify.Signature) int {
		switch from := r.DMARC.From; {
		case s.Status != verify.Pass:
			return 3
		case s.Domain == from:
			return 0
		case strings.HasSuffix(from, "."+s.Domain), strings.HasSuffix(s.Domain, "."+from):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b verify.Signature) int { return rank(a) - rank(b) })
	return all
}

// short bounds what others say.
func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), textMax)], "?") }

// encode writes what always has a form in JSON.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and truths only
	}
	return string(b)
}

// Flush writes down what was counted and is not in the store yet.
func (d *DMARC) Flush(ctx context.Context) error {
	return d.daily.Writing(func() error { return d.flush(ctx) })
}

// flush puts what was counted into the store, a part at a time, so that mail that is delivered gets between. What cannot be written is kept for the next time.
func (d *DMARC) flush(ctx context.Context) (err error) {
	d.mu.Lock()
	counts, policies := d.counts, d.policies
	d.counts, d.policies = map[storage.DMARCResult]storage.DMARCCount{}, map[storage.DMARCDay]verify.Published{}
	d.mu.Unlock()
	for len(counts) > 0 && err == nil {
		part, texts := map[storage.DMARCResult]storage.DMARCCount{}, map[storage.DMARCDay]string{}
		for k, n := range counts {
			part[k], texts[k.DMARCDay] = n, encode(policies[k.DMARCDay])
			if len(part) == writtenMax {
				break
			}
		}
		if err = d.store.CountDMARC(ctx, part, texts); err == nil {
			maps.DeleteFunc(counts, func(k storage.DMARCResult, _ storage.DMARCCount) bool { _, ok := part[k]; return ok })
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, n := range counts {
		have, ok := d.counts[k]
		if !ok && len(d.counts) >= countedMax {
			continue
		}
		d.counts[k] = storage.DMARCCount{Messages: have.Messages + n.Messages, Reports: have.Reports + n.Reports}
		if _, ok := d.policies[k.DMARCDay]; !ok {
			d.policies[k.DMARCDay] = policies[k.DMARCDay]
		}
	}
	return err
}
