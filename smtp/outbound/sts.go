package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mjl-/mox/dns"
	"github.com/mjl-/mox/mtasts"
	"github.com/mjl-/mox/tlsrpt"

	"github.com/packetboat/packetboat/storage"
)

const (
	stsTimeout = time.Minute     // RFC 8461 section 3.3
	stsMaxBody = 64 << 10        // the same
	stsBackoff = 5 * time.Minute // and the same: how long a fetch that failed is not tried again
	stsMaxAge  = 31557600        // seconds; RFC 8461 section 3.2
	stsRefresh = 24 * time.Hour  // RFC 8461 section 3.3: policies in use are asked for again once a day
	stsUnused  = 30 * stsRefresh // in use means used since
	stsFetches = 8               // at a time
)

// stsState is what holds for a domain by MTA-STS.
type stsState struct {
	policy *mtasts.Policy // nil: none
	text   []string       // its lines, for reports
	fault  *fault         // why a policy that is announced could not be had, to be reported
}

// fetches are those under way: who wants the same policy waits for it.
type fetches struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
	slot chan struct{}
}

// sts finds the policy of a domain. RFC 8461 section 3: the TXT record says whether there is one and when it changed; what is in the cache holds as long as max_age
// says, whatever happens to record and server meanwhile.
func (p *Policies) sts(ctx context.Context, domain string) stsState {
	if p.o.NoSTS {
		return stsState{}
	}
	known, err := p.store.STSPolicy(ctx, domain)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.o.Logger.Error("cannot read a cached mta-sts policy", "domain", domain, "error", err)
	}
	now := p.o.Now()
	if known != nil && now.Sub(known.Used) > stsRefresh {
		known.Used = now
		p.putSTS(ctx, *known)
	}
	id, ok := p.stsRecord(ctx, domain)
	if ok && (known == nil || known.ID != id || !known.Expires.After(now)) {
		// What was fetched in vain for the same record is left alone for a while; for a new one, too: somebody may change records for sport.
		if known == nil || now.Sub(known.Tried) >= stsBackoff || known.Body != "" && known.Tried.Equal(known.Fetched) {
			return p.refresh(ctx, domain, id, known)
		}
	}
	return stsOf(known, now)
}

// stsOf is what a cached policy says now.
func stsOf(known *storage.STSPolicy, now time.Time) stsState {
	if known == nil || known.Body == "" || !known.Expires.After(now) {
		return stsState{}
	}
	policy, err := mtasts.ParsePolicy(known.Body)
	if err != nil || policy.Mode == mtasts.ModeNone {
		return stsState{}
	}
	return stsState{policy: policy, text: policyLines(known.Body)}
}

// policyLines are those of a policy, for reports (RFC 8460 section 4.4). What is another's to write is cut where it is no policy of sense any more: each distinct one is kept for a day.
func policyLines(body string) []string {
	lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(body), "\r\n", "\n"), "\n")
	lines = lines[:min(len(lines), reportedMax)]
	for i := range lines {
		lines[i] = short(lines[i])
	}
	return lines
}

// stsRecord is the id of a domain's TXT record. RFC 8461 section 3.1: none, several or a broken one are as if there were none.
func (p *Policies) stsRecord(ctx context.Context, domain string) (id string, ok bool) {
	d, err := dns.ParseDomain(domain)
	if err != nil {
		return "", false
	}
	r, _, err := mtasts.LookupRecord(ctx, p.o.Logger, p.resolver, d)
	if err != nil {
		if !errors.Is(err, mtasts.ErrNoRecord) {
			p.o.Logger.Debug("no usable mta-sts record", "domain", domain, "error", err)
		}
		return "", false
	}
	return r.ID, true
}

// refresh fetches a policy, or waits for who does already, and says what holds then. was is what the cache said when that was found to be needed, nil for nothing: who did
// it in between did it for all.
func (p *Policies) refresh(ctx context.Context, domain, id string, was *storage.STSPolicy) stsState {
	for {
		p.fetches.mu.Lock()
		busy := p.fetches.busy[domain]
		if busy == nil {
			break
		}
		p.fetches.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return stsState{}
		}
		known, err := p.store.STSPolicy(ctx, domain)
		if err == nil {
			return stsOf(known, p.o.Now())
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return stsState{}
		}
	}
	done := make(chan struct{})
	p.fetches.busy[domain] = done
	p.fetches.mu.Unlock()
	defer func() {
		p.fetches.mu.Lock()
		delete(p.fetches.busy, domain)
		p.fetches.mu.Unlock()
		close(done)
	}()
	select {
	case p.fetches.slot <- struct{}{}:
		defer func() { <-p.fetches.slot }()
	case <-ctx.Done():
		return stsState{}
	}
	if known, err := p.store.STSPolicy(ctx, domain); err == nil && (was == nil || !known.Tried.Equal(was.Tried)) {
		return stsOf(known, p.o.Now())
	}
	return p.fetchAndKeep(ctx, domain, id)
}

// fetchAndKeep fetches a policy. One that cannot be had leaves the one in the cache as it is (RFC 8461 section 3.3).
func (p *Policies) fetchAndKeep(ctx context.Context, domain, id string) stsState {
	now := p.o.Now()
	known, err := p.store.STSPolicy(ctx, domain)
	if err != nil {
		known = &storage.STSPolicy{Domain: domain, Fetched: time.Unix(0, 0), Expires: time.Unix(0, 0), Used: now}
	}
	policy, body, err := p.fetchSTS(ctx, domain)
	known.Tried = now
	if ctx.Err() != nil { // the house closes, or the worker gave up: that says nothing of the policy
		return stsOf(known, now)
	}
	if err != nil {
		p.o.Logger.Info("cannot fetch an mta-sts policy", "domain", domain, "error", err)
		if known.Tried.Unix() == known.Fetched.Unix() { // kept in seconds, and the same second means success
			known.Tried = known.Tried.Add(time.Second)
		}
		p.putSTS(ctx, *known)
		s := stsOf(known, now)
		s.fault = stsFault(err)
		return s
	}
	known.ID, known.Body, known.Fetched = id, body, now
	known.Expires = now.Add(time.Duration(min(policy.MaxAgeSeconds, stsMaxAge)) * time.Second)
	p.putSTS(ctx, *known)
	return stsOf(known, now)
}

func (p *Policies) putSTS(ctx context.Context, known storage.STSPolicy) {
	if err := p.store.PutSTSPolicy(ctx, known); err != nil {
		p.o.Logger.Error("cannot keep an mta-sts policy", "domain", known.Domain, "error", err)
	}
}

// errSTSFetch and errSTSBody tell what of a fetch failed.
var (
	errSTSFetch = errors.New("fetching the policy")
	errSTSBody  = errors.New("reading the policy")
)

// stsFault is how a failed fetch is reported (RFC 8460 section 4.3.2.2).
func stsFault(err error) *fault {
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert):
		return &fault{Type: string(tlsrpt.ResultSTSWebPKIInvalid)}
	case errors.Is(err, errSTSBody):
		return &fault{Type: string(tlsrpt.ResultSTSPolicyInvalid)}
	}
	return &fault{Type: string(tlsrpt.ResultSTSPolicyFetch)}
}

// fetchSTS asks for a policy at https://mta-sts.DOMAIN/.well-known/mta-sts.txt. RFC 8461 section 3.3: no redirects, no caching, a certificate for that name, 200 alone
// will do.
func (p *Policies) fetchSTS(ctx context.Context, domain string) (*mtasts.Policy, string, error) {
	ctx, cancel := context.WithTimeout(ctx, stsTimeout)
	defer cancel()
	host := "mta-sts." + domain
	transport := p.transport(host)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	where := url.URL{Scheme: "https", Host: host, Path: "/.well-known/mta-sts.txt"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errSTSFetch, err)
	}
	req.Header.Set("User-Agent", "packetboat")
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errSTSFetch, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%w: %s", errSTSFetch, resp.Status)
	}
	// RFC 8461 section 3.2: text/plain, so that nobody who may upload pictures to the site can make policies.
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return nil, "", fmt.Errorf("%w: it is %.60q, not text/plain", errSTSFetch, resp.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, stsMaxBody+1))
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errSTSFetch, err)
	}
	if len(body) > stsMaxBody {
		return nil, "", fmt.Errorf("%w: it is longer than %d bytes", errSTSBody, stsMaxBody)
	}
	policy, err := mtasts.ParsePolicy(string(body))
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errSTSBody, err)
	}
	return policy, string(body), nil
}

// transport makes connections to one host, whose addresses our resolver finds.
func (p *Policies) transport(host string) *http.Transport {
	return &http.Transport{
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
		TLSHandshakeTimeout:    30 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		TLSClientConfig:        &tls.Config{RootCAs: p.o.Roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			ips, _, err := p.resolver.LookupIP(ctx, "ip", host+".")
			if err != nil {
				return nil, err
			}
			// IPv4 first: where IPv6 leads nowhere, a policy must still be had within its minute.
			slices.SortStableFunc(ips, func(a, b net.IP) int { return len(b.To4()) - len(a.To4()) })
			d := net.Dialer{Timeout: 15 * time.Second}
			err = fmt.Errorf("%s has no address", host)
			for _, ip := range ips[:min(len(ips), 4)] {
				c, dialErr := d.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), strconv.Itoa(p.o.HTTPSPort)))
				if dialErr == nil {
					return c, nil
				}
				err = dialErr
			}
			return nil, err
		},
	}
}

// refreshAll asks again for the policies that mail was sent by lately, before they expire (RFC 8461 section 3.3), and forgets those that nobody may use any more.
func (p *Policies) refreshAll(ctx context.Context) error {
	now := p.o.Now()
	due, err := p.store.STSPoliciesDue(ctx, now.Add(-stsRefresh), now.Add(-stsUnused), 1000)
	if err != nil {
		return err
	}
	for _, known := range due {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		id, ok := p.stsRecord(ctx, known.Domain)
		if !ok { // no record: the policy runs out by itself
			known.Tried = now
			p.putSTS(ctx, *known)
			continue
		}
		p.refresh(ctx, known.Domain, id, known)
	}
	return p.store.DropSTSPolicies(ctx, now.Add(-stsRefresh))
}
