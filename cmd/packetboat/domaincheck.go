package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mjl-/adns"
	moxdns "github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/console"
	"github.com/packetboat/packetboat/smtp/resolve"
)

// verdict is what a check says of a record.
type verdict string

const (
	verdictOK      verdict = "ok"
	verdictMissing verdict = "missing"
	verdictDiffers verdict = "differs" // there is something else
	verdictUnknown verdict = "unknown" // the DNS does not say
)

// finds is what one check found.
type finds struct {
	verdict verdict
	found   []string
	note    string
	need    need // "": as it is
}

// checkTime is how long all checks of a domain may take, checksAtOnce how many run at a time.
const (
	checkTime    = 45 * time.Second
	checksAtOnce = 8
)

// asker is who asks the DNS for the checks of one domain.
type asker struct {
	resolver moxdns.Resolver
	logger   *slog.Logger
	config   *config
	domain   string
	relay    string       // through which its mail goes out; "": directly
	ours     []netip.Addr // of this machine: by the configuration, else as its name has them in the DNS
	asked    error        // why ours could not be found out
}

// freshResolver is one whose cache knows nothing yet.
func (c *config) freshResolver(logger *slog.Logger) *resolve.Resolver {
	return resolve.New(resolve.Options{Servers: c.DNSServers, Timeout: c.DNSTimeout, TrustAD: c.DNSTrustAD == "on", IgnoreAD: c.DNSTrustAD == "off", Logger: logger})
}

// checkAll compares each record of z with the DNS.
func (z *zone) checkAll(ctx context.Context, c *config, resolver moxdns.Resolver, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	q := &asker{resolver: resolver, logger: logger, config: c, domain: z.Domain, relay: z.relay, ours: c.PublicAddresses}
	if len(q.ours) == 0 {
		q.ours, q.asked = q.addresses(ctx, c.Hostname)
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, checksAtOnce)
	for _, r := range z.Records {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f := r.check(ctx, q)
			r.State, r.Found, r.Note = f.verdict, bounded(f.found), f.note
			if f.need != "" {
				r.Need = f.need
			}
		})
	}
	all.Wait()
	z.Checked = true
}

// The most that is shown of what the DNS has.
const (
	maxFound     = 20
	maxFoundText = 1000
)

// bounded cuts what others wrote to what somebody may want to read.
func bounded(found []string) []string {
	found = found[:min(len(found), maxFound)]
	for i, f := range found {
		if len(f) > maxFoundText {
			found[i] = strings.ToValidUTF8(f[:maxFoundText], "") + "..."
		}
	}
	return found
}

// failing are the records that are needed and not right, and whether all of these are so for want of an answer.
func (z *zone) failing() (n int, unanswered bool) {
	unanswered = true
	for _, r := range z.Records {
		if r.Need == needed && r.State != verdictOK {
			n++
			unanswered = unanswered && r.State == verdictUnknown
		}
	}
	return n, unanswered
}

// failure is what an error of a look-up means.
func failure(err error) finds {
	if absent(err) {
		return finds{verdict: verdictMissing}
	}
	var d *adns.DNSError
	if errors.As(err, &d) && !d.IsTemporary && !d.IsTimeout {
		return finds{verdict: verdictDiffers, note: d.Err}
	}
	return finds{verdict: verdictUnknown, note: "cannot ask: " + err.Error()}
}

func absent(err error) bool {
	var d *adns.DNSError
	return errors.As(err, &d) && d.IsNotFound
}

// addresses are those of a host.
func (q *asker) addresses(ctx context.Context, host string) (all []netip.Addr, err error) {
	ips, _, err := q.resolver.LookupIP(ctx, "ip", absoluteName(host))
	for _, ip := range ips {
		if a, ok := netip.AddrFromSlice(ip); ok {
			all = append(all, a.Unmap())
		}
	}
	if err != nil && len(all) == 0 {
		return nil, err
	}
	return all, nil
}

func absoluteName(host string) string { return strings.TrimSuffix(host, ".") + "." }

// leads tells whether a host name is one of ours, by itself or by its addresses.
func (q *asker) leads(ctx context.Context, host string) (bool, error) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == q.config.Hostname || slices.Contains(q.config.STSMX, name) {
		return true, nil
	}
	all, err := q.addresses(ctx, name)
	if err != nil {
		if absent(err) {
			return false, nil
		}
		return false, err
	}
	if len(q.ours) == 0 && q.asked != nil && !absent(q.asked) {
		return false, q.asked
	}
	return slices.ContainsFunc(all, func(a netip.Addr) bool { return slices.Contains(q.ours, a) }), nil
}

// checkMX is content when mail gets here, by whatever name.
func checkMX(ctx context.Context, q *asker) finds {
	all, _, err := q.resolver.LookupMX(ctx, absoluteName(q.domain))
	if absent(err) {
		// RFC 5321 section 5.1: without MX records mail goes to the domain's own addresses.
		if ok, err := q.leads(ctx, q.domain); ok && err == nil {
			return finds{verdict: verdictOK, note: "there is none, and mail comes here by the addresses of " + q.domain}
		}
		return finds{verdict: verdictMissing}
	}
	if err != nil && len(all) == 0 {
		return failure(err)
	}
	f := finds{verdict: verdictDiffers, note: "mail goes elsewhere"}
	var others, notes []string
	for _, mx := range all {
		f.found = append(f.found, fmt.Sprintf("%d %s", mx.Pref, mx.Host))
		if mx.Host == "." {
			return finds{verdictDiffers, f.found, "the domain says that it takes no mail (RFC 7505)", ""}
		}
		ok, err := q.leads(ctx, mx.Host)
		if err != nil {
			return finds{verdictUnknown, f.found, "cannot ask for " + mx.Host + ": " + err.Error(), ""}
		}
		if ok {
			f.verdict = verdictOK
			notes = append(notes, q.oddities(ctx, mx.Host)...)
		} else {
			others = append(others, mx.Host)
		}
	}
	if f.verdict == verdictOK {
		if len(others) > 0 {
			notes = append(notes, "mail goes to others too: "+strings.Join(others, ", "))
		}
		f.note = strings.Join(notes, "; ")
	}
	return f
}

// oddities are what is wrong with a name by which mail comes here.
func (q *asker) oddities(ctx context.Context, host string) (notes []string) {
	if target, _, err := q.resolver.LookupCNAME(ctx, absoluteName(host)); err == nil {
		notes = append(notes, host+" is an alias of "+target+", which some senders do not follow (RFC 5321 section 5.1)")
	}
	p := q.config.policy()
	if p.Mode != console.None && !p.Matches(host) {
		notes = append(notes, "the MTA-STS policy does not name "+host+" (mta_sts.mx): when it is enforced, senders deliver nothing there")
	}
	return notes
}

// checkHost is content when the name of the server has an address that others can reach.
func checkHost(ctx context.Context, q *asker) finds {
	if q.asked != nil {
		return failure(q.asked)
	}
	f := finds{verdict: verdictOK}
	for _, a := range q.ours {
		f.found = append(f.found, a.String())
		if a.IsLoopback() || a.IsPrivate() {
			f.verdict, f.note = verdictDiffers, "nobody outside can reach "+a.String()
		}
	}
	return f
}

// checkAddress is content when a is among the addresses of a name of the server.
func checkAddress(name string, a netip.Addr) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		all, err := q.addresses(ctx, name)
		if err != nil {
			return failure(err)
		}
		f := finds{verdict: verdictDiffers}
		family := false
		for _, b := range all {
			if b.Is4() == a.Is4() {
				f.found, family = append(f.found, b.String()), true
			}
		}
		switch {
		case slices.Contains(all, a):
			f.verdict = verdictOK
			for _, b := range all {
				if b.Is4() == a.Is4() && !slices.Contains(q.ours, b) {
					f.note = b.String() + " is not among public_addresses"
				}
			}
		case !family:
			f.verdict = verdictMissing
		}
		return f
	}
}

// checkReverse looks at the names of all addresses of the server.
func checkReverse(ctx context.Context, q *asker) finds {
	if q.asked != nil {
		return finds{verdict: verdictUnknown, note: "which addresses it has is not known"}
	}
	sum := finds{verdict: verdictOK}
	for _, a := range q.ours {
		f := checkPTR(a)(ctx, q)
		if f.verdict != verdictOK || sum.note == "" {
			sum.note = f.note
		}
		if f.verdict != verdictOK {
			sum.verdict = f.verdict
		}
		sum.found = append(sum.found, f.found...)
	}
	return sum
}

// checkPTR is content with a name that leads back to a (RFC 8601 section 3, iprev).
func checkPTR(a netip.Addr) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		names, _, err := q.resolver.LookupAddr(ctx, a.String())
		if err != nil {
			f := failure(err)
			f.note = strings.TrimPrefix(a.String()+": "+f.note, a.String()+": ")
			return f
		}
		f := finds{verdict: verdictDiffers, note: a.String() + " has a name that does not lead back to it"}
		for _, name := range names {
			f.found = append(f.found, name)
			back, err := q.addresses(ctx, name)
			if err != nil && !absent(err) {
				return finds{verdictUnknown, f.found, "cannot ask for " + name + ": " + err.Error(), ""}
			}
			if !slices.Contains(back, a) {
				continue
			}
			if strings.EqualFold(strings.TrimSuffix(name, "."), q.config.helo()) {
				return finds{verdict: verdictOK, found: f.found}
			}
			f.verdict, f.note = verdictOK, "it is another name than the one that this server says in HELO ("+q.config.helo()+"); some want the same"
		}
		return f
	}
}

// checkSRV wants the target and the port; priorities are the administrator's.
func checkSRV(want console.SRV) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		_, all, _, err := q.resolver.LookupSRV(ctx, "", "", absoluteName(want.Service+"._tcp."+q.domain))
		if err != nil {
			return failure(err)
		}
		f := finds{verdict: verdictDiffers}
		for _, v := range all {
			f.found = append(f.found, fmt.Sprintf("%d %d %d %s", v.Priority, v.Weight, v.Port, v.Target))
			same := strings.EqualFold(strings.TrimSuffix(v.Target, "."), strings.TrimSuffix(want.Target, "."))
			if same && (want.Target == "." || int(v.Port) == want.Port) {
				f.verdict = verdictOK
			}
		}
		return f
	}
}

// checkAlias is content with any record, CNAME or address, that makes a name lead here.
func checkAlias(name string) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		f := finds{verdict: verdictDiffers}
		target, _, err := q.resolver.LookupCNAME(ctx, absoluteName(name))
		if err == nil {
			f.found = []string{"CNAME " + target}
			if strings.EqualFold(strings.TrimSuffix(target, "."), q.config.Hostname) {
				f.verdict = verdictOK
				return f
			}
		} else if !absent(err) {
			return failure(err)
		}
		all, err := q.addresses(ctx, name)
		if err != nil && (len(f.found) == 0 || !absent(err)) {
			return failure(err)
		}
		for _, a := range all {
			f.found = append(f.found, addressType(a)+" "+a.String())
		}
		if ok, err := q.leads(ctx, name); err != nil {
			f.verdict, f.note = verdictUnknown, "cannot ask: "+err.Error()
		} else if ok {
			f.verdict = verdictOK
		}
		return f
	}
}
