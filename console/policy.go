package console

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Mode is what an MTA-STS policy wants of senders (RFC 8461 section 5).
type Mode string

// The modes.
const (
	None    Mode = "none"    // there is no policy (any more)
	Testing Mode = "testing" // deliver anyway, and report
	Enforce Mode = "enforce" // deliver to hosts that match, over TLS with a certificate that holds, or not at all
)

// Policy is an MTA-STS policy (RFC 8461 section 3.2).
type Policy struct {
	Mode   Mode
	MX     []string      // names of mail hosts, as they stand in MX records; *.example.org for a level
	MaxAge time.Duration // how long senders keep it; at most 31557600 s
}

// Text is the policy as it is served.
func (p Policy) Text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "version: STSv1\r\nmode: %s\r\n", p.Mode)
	for _, mx := range p.MX {
		fmt.Fprintf(&b, "mx: %s\r\n", mx)
	}
	fmt.Fprintf(&b, "max_age: %d\r\n", int64(p.MaxAge/time.Second))
	return []byte(b.String())
}

// ID is what the TXT record says of the policy: another one when the policy is another (RFC 8461 section 3.1: up to 32 letters and digits).
func (p Policy) ID() string {
	sum := sha256.Sum256(p.Text())
	return hex.EncodeToString(sum[:12])
}

// Matches tells whether a mail host is one of the policy's (RFC 8461 section 4.1): by its name, or by a wildcard in place of its first label.
func (p Policy) Matches(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, above, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(p.MX, func(mx string) bool {
		wild, ok := strings.CutPrefix(mx, "*.")
		return mx == host || ok && wild == above
	})
}

// policy serves mta-sts.DOMAIN/.well-known/mta-sts.txt for each domain of ours.
func (s *Server) policy(r *http.Request) *answer {
	name, ok := strings.CutPrefix(host(r), "mta-sts.")
	if !ok {
		return refusal(http.StatusNotFound, "ask mta-sts.DOMAIN")
	}
	if _, err := s.ours(r, name); err != nil {
		return s.failed(err)
	}
	// RFC 8461 section 3.2: text/plain. Senders keep it by max_age; HTTP caches must not (section 3.3).
	return &answer{kind: kindText, body: s.o.Policy.Text()}
}
