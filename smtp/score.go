package smtp

import (
	"fmt"
	"net/netip"
	"strings"
)

// Weights are what counts against a message, and from which sum on it is junk or refused. None of it alone refuses anything by default: RFC 5321
// section 4.1.4 forbids refusing for a name in HELO, and many an honest server has no proper name in the DNS.
type Weights struct {
	Helo        float64 // the name in HELO is no full name, another's literal, or ours
	IPRev       float64 // the address has no name that leads back to it
	SPFFail     float64
	SPFSoftFail float64
	DMARCFail   float64 // where the domain asks for no more than a report
	Junk        float64 // a sum of so much goes to Junk; 0: none does
	Refuse      float64 // and of so much is refused; 0: none is
}

// count adds points to the score for a reason.
func (v *judgement) count(points float64, reason string) {
	if points == 0 {
		return
	}
	v.Score += points
	v.because(fmt.Sprintf("%s (%+.1f)", reason, points))
}

// heloFault is what is wrong with a name in HELO, "" for nothing. own are names that only we have.
func heloFault(name string, remote netip.Addr, own ...string) string {
	if l, ok := strings.CutPrefix(name, "["); ok {
		l, closed := strings.CutSuffix(l, "]")
		if len(l) > 5 && strings.EqualFold(l[:5], "IPv6:") {
			l = l[5:]
		}
		a, err := netip.ParseAddr(l)
		if err != nil || !closed {
			return "HELO " + name + " is no address literal"
		}
		if a.Unmap() != remote {
			return "HELO " + name + " is not the address of the peer"
		}
		return ""
	}
	for _, o := range own {
		if strings.EqualFold(strings.TrimSuffix(name, "."), o) {
			return "HELO " + name + " is our own name"
		}
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "HELO " + name + " is an address without its brackets"
	}
	if !validDomain(strings.TrimSuffix(name, ".")) || !strings.Contains(strings.TrimSuffix(name, "."), ".") {
		return "HELO " + name + " is no full name"
	}
	return ""
}

// weigh counts what is seen without anybody's help.
func (t *transaction) weigh() {
	c, w := t.c, t.c.srv.o.Judge.o.Weights
	if fault := heloFault(c.helo, c.remote(), append([]string{c.srv.o.Name}, c.srv.o.Judge.o.Own...)...); fault != "" && c.remote().IsValid() {
		t.verdict.count(w.Helo, clean(fault, 200))
	}
}

// sum is what the score means.
func (t *transaction) sum() *reply {
	v, w := t.verdict, t.c.srv.o.Judge.o.Weights
	if w.Refuse > 0 && v.Score >= w.Refuse {
		v.because(fmt.Sprintf("score %.1f, refused from %.1f on", v.Score, w.Refuse))
		return say(550, "5.7.1", "too much speaks against this message")
	}
	if w.Junk > 0 && v.Score >= w.Junk {
		v.Junk = true
		v.because(fmt.Sprintf("score %.1f, Junk from %.1f on", v.Score, w.Junk))
	}
	return nil
}
