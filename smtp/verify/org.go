package verify

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// organization is the organisational domain of a domain (RFC 7489 section 3.2): a public suffix and the label before it. Suffixes in private hands
// (github.io) count as public here: their tenants are strangers to one another.
func organization(domain string) string {
	return below(domain, suffix(domain))
}

// registry is the organisational domain by the suffixes of registries alone: that of github.io for its tenants.
func registry(domain string) string {
	s, icann := publicsuffix.PublicSuffix(domain)
	for !icann {
		_, parent, ok := strings.Cut(s, ".")
		if !ok {
			break
		}
		s, icann = publicsuffix.PublicSuffix(parent)
	}
	return below(domain, s)
}

func suffix(domain string) string {
	s, _ := publicsuffix.PublicSuffix(domain)
	return s
}

// below is the suffix with the label before it; the domain itself when it has none.
func below(domain, suffix string) string {
	rest, ok := strings.CutSuffix(domain, "."+suffix)
	if !ok {
		return domain
	}
	return rest[strings.LastIndexByte(rest, '.')+1:] + "." + suffix
}

// isRegistry tells whether a domain is a suffix below which registries sell names: nobody signs for all that is there.
func isRegistry(domain string) bool {
	s, icann := publicsuffix.PublicSuffix(domain)
	return s == domain && (icann || !strings.Contains(s, "."))
}
