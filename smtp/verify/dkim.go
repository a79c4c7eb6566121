package verify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mjl-/mox/dns"
)

// signature is a DKIM-Signature while it is looked at.
type signature struct {
	Signature
	field HeaderField
	names string // h=, without white space
	open  bool   // nothing is decided yet
}

func (s *signature) end(status Status, reason string) {
	s.Status, s.Reason, s.open = status, reason, false
}

// dkim verifies the signatures of a message (RFC 6376 section 6): those of the authors' domains first, no more than the options allow. What is
// looked at here is what names them and what the library leaves open; the library verifies.
func (v *Verifier) dkim(ctx context.Context, fields []HeaderField, m Message, authors []string) []Signature {
	var all []*signature
	for _, f := range fields {
		if f.Name == "dkim-signature" && plainName(f) && len(all) < 100 {
			all = append(all, readSignature(f))
		}
	}
	if len(all) == 0 {
		return nil
	}
	kept := v.chosen(slices.Clone(all), authors)
	v.verify(ctx, slices.DeleteFunc(slices.Clone(kept), func(s *signature) bool { return !s.open }), fields, m)
	out := make([]Signature, len(kept))
	for i, s := range kept {
		out[i] = s.Signature
	}
	return out
}

// chosen leaves as many signatures as may be looked at, in their order: those of the authors' organisations first, then those that can be read.
func (v *Verifier) chosen(all []*signature, authors []string) []*signature {
	if len(all) <= v.options.MaxSignatures {
		return all
	}
	rank := func(s *signature) int {
		switch {
		case s.open && slices.ContainsFunc(authors, func(a string) bool { return organization(a) == organization(s.Domain) }):
			return 0
		case s.open:
			return 1
		}
		return 2
	}
	byRank := slices.Clone(all)
	slices.SortStableFunc(byRank, func(a, b *signature) int { return rank(a) - rank(b) })
	byRank = byRank[:v.options.MaxSignatures]
	return slices.DeleteFunc(all, func(s *signature) bool { return !slices.Contains(byRank, s) })
}

// What a verification may cost: names in h=, octets of a key's record, and of empty lines one after the other in a body, for the library copies a run of them
// with each block that it reads.
const (
	maxSigned  = 500
	maxKeyText = 4096
	maxEmpty   = 64 << 10
)

var errEmpty = errors.New("more empty lines than anybody writes")

// readSignature reads what tells signatures apart. RFC 8601 section 2.7.1 calls what cannot be read neutral.
func readSignature(f HeaderField) *signature {
	s := &signature{field: f}
	t, err := parseTags(f.value())
	if err != nil {
		s.end(Neutral, "the signature cannot be read")
		return s
	}
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if noFWS(t[name]) == "" {
			s.end(Neutral, "the signature has no "+name+"=")
			return s
		}
	}
	s.Begin, s.names = printable(noFWS(t["b"]), 8), noFWS(t["h"])
	domain, err1 := asciiDomain(noFWS(t["d"]))
	selector, err2 := asciiDomain(noFWS(t["s"]))
	if err1 != nil || err2 != nil {
		s.end(Neutral, "d= or s= is no domain")
		return s
	}
	s.Domain, s.Selector, s.Algorithm = domain, selector, printable(t.algorithm(), 20)
	if i, ok := t["i"]; ok {
		// RFC 6376 section 3.5: it is d= or below it.
		_, id := splitAddress(noFWS(i))
		id, err := asciiDomain(id)
		if err != nil || id != domain && !strings.HasSuffix(id, "."+domain) {
			s.end(PermError, "i= is not of d=")
			return s
		}
		if id != domain {
			s.Identity = id
		}
	}
	_, partial := t["l"]
	switch {
	case s.Algorithm == "rsa-sha1": // RFC 8301 section 3.1
		s.end(PermError, "SHA-1 proves nothing")
	case strings.Count(t["h"], ":") >= maxSigned:
		s.end(Neutral, "too many signed fields")
	case partial: // RFC 6376 section 8.2: others could write the rest
		s.end(Policy, "a part of the body may not be signed")
	case isRegistry(domain): // RFC 6376 section 6.1.1: nobody signs for all that is below a registry's suffix
		s.end(PermError, "d= is a public suffix")
	default:
		s.open = true
	}
	return s
}

// verify lets the library verify signatures, all in one pass over the body.
func (v *Verifier) verify(ctx context.Context, all []*signature, fields []HeaderField, m Message) {
	if len(all) == 0 {
		return
	}
	head := signedHeader(all, fields)
	body := &patientBody{ctx: ctx}
	if m.Body != nil {
		body.Reader = io.NewSectionReader(m.Body, 0, m.Size)
	}
	var mu sync.Mutex
	silent := map[string]bool{}  // names about which the DNS did not answer
	flags := map[string]string{} // t= of the keys
	found, err := dkim.VerifyWithOptions(io.MultiReader(head, body), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		texts, err := keyText(ctx, v.resolver, name)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil && !dns.IsNotFound(err):
			silent[strings.ToLower(name)] = true
		case len(texts) > 0:
			flags[strings.ToLower(name)] = keyFlags(texts[0])
		}
		return texts, netError(err)
	}})
	for i, s := range all {
		name := strings.ToLower(s.Selector + "._domainkey." + s.Domain)
		switch {
		case !s.open:
		case body.err == errEmpty:
			s.end(Policy, errEmpty.Error())
		case err != nil || body.err != nil:
			s.end(TempError, "the message could not be read")
		case len(found) != len(all) || found[i].Err == nil && !sameDomain(found[i].Domain, s.Domain):
			s.end(PermError, "the signatures cannot be told apart")
		default:
			err := found[i].Err
			if err != nil && strings.HasSuffix(err.Error(), "domain mismatch") {
				err = v.alone(ctx, s, fields, m, body)
			}
			s.decide(err, silent[name] || errors.Is(err, errNoAnswer))
			s.obey(flags[name])
		}
	}
}

// alone verifies a signature that the library does not, as it compares i= with d= octet by octet: "@Example.org" is of example.org for DNS and for readSignature. ARC's
// verification of a message does it: RFC 8617 section 4.1.2 makes DKIM's of it.
func (v *Verifier) alone(ctx context.Context, s *signature, fields []HeaderField, m Message, read *patientBody) error {
	t, err := parseTags(s.field.value())
	switch {
	case err != nil:
		return err
	case t["v"] != "1" || m.Body == nil || read.err != nil:
		return errors.New("the signature cannot be read")
	}
	plain := slices.DeleteFunc(slices.Clone(fields), func(f HeaderField) bool { return !plainName(f) })
	c := arcCheck{picker: newPicker(plain), now: v.options.Now(), keys: &keyring{v.resolver, map[string]foundKey{}}, hashes: &bodyHashes{m.Body, m.Size, map[string][]byte{}}}
	return c.message(ctx, &arcSet{ams: s.field, amsTags: t})
}

// signedHeader is the part of a header that the library needs: these signatures, and of each field that they name as many as one of them names, from the end
// (RFC 6376 section 5.4.2). It goes through all that it sees for each name, which would take minutes for a header made for that.
func signedHeader(all []*signature, fields []HeaderField) *bytes.Buffer {
	wanted := map[string]int{}
	for _, s := range all {
		named := map[string]int{}
		for name := range strings.SplitSeq(strings.ToLower(s.names), ":") {
			named[name]++
			wanted[name] = max(wanted[name], named[name])
		}
	}
	var parts [][]byte
	for _, f := range slices.Backward(fields) {
		switch {
		case !plainName(f):
		case f.Name == "dkim-signature":
			if slices.ContainsFunc(all, func(s *signature) bool { return sameField(s.field, f) }) {
				parts = append(parts, f.Raw)
			}
		case wanted[f.Name] > 0:
			wanted[f.Name]--
			parts = append(parts, f.Raw)
		}
	}
	head := &bytes.Buffer{}
	for _, raw := range slices.Backward(parts) {
		head.Write(raw)
	}
	head.WriteString("\r\n")
	return head
}

// patientBody keeps an error to itself and says EOF in its place: the library would leave goroutines behind that wait for the rest.
type patientBody struct {
	io.Reader // nil: empty
	ctx       context.Context
	run       int // octets of line ends since the last other one
	err       error
}

func (b *patientBody) Read(p []byte) (int, error) {
	if b.Reader == nil {
		return 0, io.EOF
	}
	if b.err = b.ctx.Err(); b.err != nil {
		return 0, io.EOF
	}
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		b.err, err = err, io.EOF
	}
	if end := len(bytes.TrimRight(p[:n], "\r\n")); end > 0 {
		b.run = n - end
	} else {
		b.run += n
	}
	if b.run > maxEmpty {
		b.err = errEmpty
		return 0, io.EOF
	}
	return n, err
}

// plainName tells whether a field has a name that a field can have (RFC 5322 section 3.6.8: printable ASCII). The library takes any white space of
// Unicode off a name and folds letters that are not ASCII, so that it would see signatures and From fields where we see none; what holds for the one
// must not be taken for another's.
func plainName(f HeaderField) bool {
	name, _, ok := bytes.Cut(f.Raw, []byte{':'})
	for _, c := range bytes.TrimRight(name, " \t") {
		ok = ok && c > ' ' && c < 0x7f
	}
	return ok && f.Name != ""
}

// sameDomain tells whether the library verified the signature of a domain.
func sameDomain(found, domain string) bool {
	d, err := asciiDomain(noFWS(found))
	return err == nil && d == domain
}

// sameField tells whether two are the same place of one header.
func sameField(a, b HeaderField) bool { return &a.Raw[0] == &b.Raw[0] }

// decide says in our words what the library found.
func (s *signature) decide(err error, silent bool) {
	switch {
	case err == nil:
		s.end(Pass, "")
	case silent, dkim.IsTempFail(err):
		s.end(TempError, "the DNS did not answer")
	case dkim.IsPermFail(err):
		s.end(PermError, printable(strings.TrimPrefix(err.Error(), "dkim: "), 200))
	default:
		s.end(Fail, printable(strings.TrimPrefix(err.Error(), "dkim: "), 200))
	}
}

// obey applies t= of the key (RFC 6376 section 3.6.1) to what was found.
func (s *signature) obey(flags string) {
	switch {
	case flagged(flags, "s") && s.Status == Pass && s.Identity != "":
		s.end(PermError, "the key wants i= to be d=")
	case flagged(flags, "y") && (s.Status == Fail || s.Status == PermError):
		s.end(Neutral, "the domain tests DKIM: "+s.Reason) // as if it were not signed; a signature that holds proves what any other does
	}
}

// keyFlags is t= of a key's record, without white space; "" when there is none.
func keyFlags(record string) string {
	t, err := parseTags([]byte(record))
	if err != nil {
		return "" // the library says what it makes of it
	}
	return noFWS(t["t"])
}

func flagged(flags, flag string) bool { return slices.Contains(strings.Split(flags, ":"), flag) }

// keyText asks for a key's record. RFC 6376 section 6.1.2: with several it is ours to choose: the first one that may be a key.
func keyText(ctx context.Context, resolver dns.Resolver, name string) ([]string, error) {
	texts, _, err := resolver.LookupTXT(ctx, absolute(name))
	for _, t := range texts {
		if len(t) <= maxKeyText && strings.Contains(noFWS(t), "p=") && !strings.HasPrefix(t, "v=spf1") {
			return []string{t}, nil
		}
	}
	return nil, err
}
