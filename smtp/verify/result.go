package verify

import (
	"io"
	"net/netip"
	"slices"
)

// Status is the outcome of one method, in the words of RFC 8601 section 2.7.
type Status string

// The statuses. Not each method has each of them.
const (
	None      Status = "none"      // nothing to check: not signed, no record
	Pass      Status = "pass"      // what was claimed holds
	Fail      Status = "fail"      // it does not
	SoftFail  Status = "softfail"  // SPF: the domain says "probably not"
	Neutral   Status = "neutral"   // SPF: the domain says nothing; DKIM: the signature cannot be read
	TempError Status = "temperror" // the DNS did not answer; later it may
	PermError Status = "permerror" // what is published or signed is broken
	Policy    Status = "policy"    // it holds, and is not accepted here
)

// Message is what is looked at.
type Message struct {
	Remote   netip.Addr // the client's address
	Helo     string     // what it said in EHLO or HELO: a domain or an address literal
	MailFrom string     // the reverse-path without its brackets; "" is the null one
	UTF8     bool       // MAIL had SMTPUTF8: the field may be UTF-8

	Header []byte // with or without the empty line that ends it
	Body   io.ReaderAt
	Size   int64 // of Body
}

// Result is what was found out. It marshals to compact JSON.
type Result struct {
	Remote   netip.Addr `json:"remote"`
	Helo     string     `json:"helo_name,omitempty"`
	MailFrom string     `json:"mail_from"`
	UTF8     bool       `json:"utf8,omitempty"`

	SPF   SPF         `json:"spf"`  // of MAIL FROM; of HELO with the null reverse-path (RFC 7208 section 2.4)
	HELO  SPF         `json:"helo"` // of HELO
	DKIM  []Signature `json:"dkim,omitempty"`
	DMARC DMARC       `json:"dmarc"`
	ARC   ARC         `json:"arc,omitzero"`
	IPRev IPRev       `json:"iprev"`
	DNSBL []Listing   `json:"dnsbl,omitempty"` // the lists that have the address, or that could not be asked

	Score float64 `json:"score,omitempty"` // the sum of the lists' scores; below zero speaks for the client
}

// SPF is an outcome of check_host (RFC 7208 section 2.6).
type SPF struct {
	Status    Status `json:"status"`
	Domain    string `json:"domain,omitempty"`    // that was checked, A-labels
	Mechanism string `json:"mechanism,omitempty"` // the name of the one that decided; "default" when none did
	Reason    string `json:"reason,omitempty"`    // of errors
}

// Signature is the outcome of one DKIM-Signature.
type Signature struct {
	Status    Status `json:"status"`
	Domain    string `json:"d,omitempty"` // A-labels; only when it could be read
	Selector  string `json:"s,omitempty"`
	Identity  string `json:"i,omitempty"` // the domain of i= when it is another than d=
	Algorithm string `json:"a,omitempty"` // "rsa-sha256", "ed25519-sha256"
	Begin     string `json:"b,omitempty"` // of b=: tells signatures apart (RFC 6008)
	Reason    string `json:"reason,omitempty"`
}

// IPRev is the outcome of asking for the address's name and for that name's addresses (RFC 8601 section 3).
type IPRev struct {
	Status Status `json:"status"`
	Name   string `json:"name,omitempty"` // with pass, without the last dot
	Reason string `json:"reason,omitempty"`
}

// Listing is what a list says of the address.
type Listing struct {
	Zone    string  `json:"zone"`
	Answers string  `json:"answers,omitempty"` // "127.0.0.2 127.0.0.4"; empty: the list could not be asked
	Text    string  `json:"text,omitempty"`    // of the list, printable ASCII, up to 400 octets; others wrote it
	Score   float64 `json:"score,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// Temporary tells whether DNS that did not answer leaves it open what the author's domain asks to be done with the message. It is false when the
// missing answer could change nothing: DMARC passes by another way, the policy is none, or what is unknown is of another domain.
// A missing answer of SPF alone, where there is no DMARC policy, is SPF.Status.
func (r *Result) Temporary() bool { return r.DMARC.Status == TempError }

// Disposition is what the author's domain asks to be done: "none", "quarantine" or "reject"; see DMARC.Disposition.
func (r *Result) Disposition() string { return r.DMARC.Disposition() }

// Authenticated tells whether somebody answers for the message: DMARC passes, or SPF or a signature does.
func (r *Result) Authenticated() bool {
	return r.DMARC.Status == Pass || r.SPF.Status == Pass || slices.ContainsFunc(r.DKIM, func(s Signature) bool { return s.Status == Pass })
}
