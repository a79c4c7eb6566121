package verify

import "strings"

// HasARC tells whether a message has a field of a chain.
func HasARC(fields []HeaderField) bool {
	for _, f := range fields {
		if f.Name == fieldAAR || f.Name == fieldAMS || f.Name == fieldAS {
			return true
		}
	}
	return false
}

// ARCInstance is the highest number that a field of a chain claims, however broken the chain is; 0: none.
func ARCInstance(fields []HeaderField) int { return highestInstance(fields) }

// OwnResults puts together what Authentication-Results fields with our authserv-id say, as ARC-Authentication-Results repeats it (RFC 8617 section 4.1.1: all of them), and
// what they say of the chain ("" when nothing). Those with our name that others wrote were taken away when the message came. "id; none" when there are none (RFC 8601 section 2.2).
func OwnResults(fields []HeaderField, id string) (results, arc string) {
	results = id
	for _, f := range fields {
		if f.Name != "authentication-results" {
			continue
		}
		whole := strings.Join(strings.Fields(string(f.value())), " ")
		name, rest := splitAuthRes(whole)
		if !strings.EqualFold(name, id) {
			continue
		}
		for part := range strings.SplitSeq(dropComments(rest), ";") {
			method, value, _ := strings.Cut(trimFWS(part), "=")
			if strings.EqualFold(trimFWS(method), "arc") && arc == "" {
				arc, _, _ = strings.Cut(strings.ToLower(trimFWS(value)), " ")
			}
		}
		if rest = strings.Trim(rest, "; "); rest != "" && !strings.EqualFold(rest, "none") {
			results += "; " + rest
		}
	}
	if results == id {
		results += "; none"
	}
	return results, arc
}
