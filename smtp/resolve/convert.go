package resolve

import (
	"encoding/hex"
	"errors"

	"github.com/miekg/dns"
	"github.com/mjl-/adns"
)

// tlsa makes of miekg/dns's record the one of adns. One without data is kept: who publishes it wants DANE, and cannot be served.
func tlsa(rr dns.RR) (adns.TLSA, bool) {
	t, ok := rr.(*dns.TLSA)
	if !ok {
		return adns.TLSA{}, false
	}
	data, err := hex.DecodeString(t.Certificate)
	if err != nil {
		return adns.TLSA{}, false
	}
	return adns.TLSA{Usage: adns.TLSAUsage(t.Usage), Selector: adns.TLSASelector(t.Selector), MatchType: adns.TLSAMatchType(t.MatchingType), CertAssoc: data}, true
}

// notFound tells whether the DNS said that there is nothing.
func notFound(err error) bool {
	var e *adns.DNSError
	return errors.As(err, &e) && e.IsNotFound
}
