package verify

import (
	"regexp"
	"strings"

	"github.com/mjl-/mox/spf"
)

// unknownModifier is a term of a policy that is neither redirect= nor exp=.
var unknownModifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*=`)

// maxPolicy is how long a policy may be whose syntax is looked at, which takes the square of it.
const maxPolicy = 4 << 10

// spfFault tells what is wrong with the syntax of a policy; "" when nothing is. RFC 7208 section 4.6: an error anywhere in a record is found before any of its
// mechanisms is looked at, so that it does not depend on the client whether a broken policy is one. The library that evaluates policies reads them term by term and stops at
// the one that decides.
func spfFault(record string) string {
	if len(record) > maxPolicy {
		return ""
	}
	terms := strings.Split(record, " ")
	for i, t := range terms[1:] {
		name, value, _ := strings.Cut(t, "=")
		if unknownModifier.MatchString(t) && !strings.EqualFold(name, "redirect") && !strings.EqualFold(name, "exp") {
			terms[1+i] = "x=" + value // the parser takes "accredit=" for the mechanism "a"
		}
	}
	r, _, err := spf.ParseRecord(strings.Join(terms, " "))
	if err != nil {
		return "the policy has errors: " + printable(err.Error(), 150)
	}
	for _, d := range r.Directives {
		bare := strings.TrimSuffix(d.DomainSpec, ".")
		switch {
		case d.Mechanism == "ip6" && !strings.Contains(d.IPstr, ":"):
			return "the policy has errors: ip6 with an address of IPv4"
		case bare != "" && !strings.ContainsAny(bare, ".%"): // RFC 7208 section 7.1: domain-end
			return "the policy has errors: " + d.Mechanism + " with a name of one label"
		}
	}
	return ""
}

// isSPF: RFC 7208 section 4.5: the version with nothing or a space behind it.
func isSPF(text string) bool {
	const version = "v=spf1"
	return len(text) >= len(version) && strings.EqualFold(text[:len(version)], version) && (len(text) == len(version) || text[len(version)] == ' ')
}
