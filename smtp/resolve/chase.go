package resolve

import (
	"context"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/mjl-/adns"
)

// maxAliases is how many CNAMEs lead from a question to its answer at most.
const maxAliases = 10

// chase asks q and follows CNAMEs, those that the server followed itself and those that it left to us.
func (r *Resolver) chase(ctx context.Context, q question) (*answer, error) {
	total := &answer{alias: q.name, authentic: true, ttl: longest}
	for hops := 0; ; {
		msg, err := r.exchange(ctx, question{total.alias, q.kind})
		if err != nil {
			return nil, err
		}
		total.server = msg.server
		total.authentic = total.authentic && msg.authentic
		more := total.follow(msg.Msg, q.kind)
		hops += more
		if hops > maxAliases {
			return nil, &adns.DNSError{Err: "too many aliases, or a loop of them", Name: q.name, Server: msg.server, IsTemporary: true}
		}
		if len(total.records) > 0 {
			return total, nil
		}
		negative, said := negativeTTL(msg.Msg)
		if msg.Rcode == dns.RcodeNameError {
			// RFC 6604 section 3: the code is about the last name of the chain.
			total.missing = noName
		} else if more == 0 || said {
			total.missing = noData
		} else {
			continue
		}
		total.ttl = min(total.ttl, negative)
		return total, nil
	}
}

// follow walks along the CNAMEs of a message from the alias so far and takes the records at their end. It tells how many there were, at
// most one more than is allowed.
func (a *answer) follow(msg *dns.Msg, kind uint16) (hops int) {
	for {
		next := ""
		for _, rr := range msg.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, a.alias) {
				continue
			}
			ttl := time.Duration(h.Ttl) * time.Second
			if h.Ttl > 1<<31-1 { // RFC 2181 section 8: with the highest bit set it is zero
				ttl = 0
			}
			if h.Rrtype == kind {
				a.records = append(a.records, rr)
				a.ttl = min(a.ttl, ttl)
			} else if c, ok := rr.(*dns.CNAME); ok && next == "" {
				next = strings.ToLower(c.Target)
				a.ttl = min(a.ttl, ttl)
			}
		}
		if len(a.records) > 0 || next == "" {
			return hops
		}
		a.alias = next
		if hops++; hops > maxAliases {
			return hops
		}
	}
}

// negativeTTL is how long a negative answer holds, and whether the message says that it is one.
func negativeTTL(msg *dns.Msg) (ttl time.Duration, said bool) {
	for _, rr := range msg.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			// RFC 2308 section 5: the lesser of the SOA's own TTL and its MINIMUM field.
			return time.Duration(min(soa.Minttl, soa.Hdr.Ttl, 1<<31-1)) * time.Second, true
		}
	}
	return 0, false // RFC 2308 section 5: without SOA it is not kept
}
