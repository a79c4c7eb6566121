package smtp

import (
	"strings"

	"github.com/packetboat/packetboat/smtp/verify"
)

// disowned tells whether the sender's address is not to be believed: the message was judged to be junk, or its domain says that this peer sends nothing for it. Nothing is
// sent to such an address, neither notices nor answers: it is somebody else's, who would get them for mail of which he knows nothing (RFC 3834 section 2, RFC 5429
// section 2.1.1, RFC 3464 section 4).
func (l *letter) disowned() bool {
	v := l.verdict
	if v == nil {
		return false
	}
	if v.Junk {
		return true
	}
	r := v.Result
	if r == nil || l.account != nil {
		return false
	}
	_, domain, _ := strings.Cut(l.sender.path, "@")
	if r.SPF.Status == verify.Fail || r.SPF.Status == verify.SoftFail {
		// A forwarder that keeps the sender breaks SPF; a signature of the author's domain speaks for a sender of that domain, and for no other.
		return r.DMARC.Status != verify.Pass || !related(domain, r.DMARC.From)
	}
	return r.DMARC.Status == verify.Fail && r.SPF.Status != verify.Pass && related(domain, r.DMARC.From)
}

// related tells whether one domain is the other or lies in it.
func related(a, b string) bool {
	a, b = strings.ToLower(strings.TrimSuffix(a, ".")), strings.ToLower(strings.TrimSuffix(b, "."))
	return a != "" && b != "" && (a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a))
}
