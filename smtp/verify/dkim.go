package verify

import (
	"bytes"
	"context"
	"errors"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// signature is a DKIM-Signature while it is looked at.
type signature struct {
	Signature
	field  HeaderField
	tags   tags
	header string // canonical form: simple or relaxed
	body   string
	length int64 // l=; -1: the whole body
	names  []string
	bh     []byte
	open   bool // nothing is decided yet
}

func (s *signature) end(status Status, reason string) {
	s.Status, s.Reason, s.open = status, reason, false
}

// dkim verifies the signatures of a message (RFC 6376 section 6): those of the authors' domains first, no more than the options allow.
func (v *Verifier) dkim(ctx context.Context, fields []HeaderField, m Message, authors []string) []Signature {
	var all []*signature
	for _, f := range fields {
		if f.Name == "dkim-signature" {
			if s := v.readSignature(f, m.UTF8); len(all) < 100 {
				all = append(all, s)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	all = v.chosen(all, authors)
	var work sync.WaitGroup
	for _, s := range all {
		if s.open {
			work.Go(func() { v.verifyHeader(ctx, s, fields) })
		}
	}
	work.Wait()
	v.verifyBody(ctx, all, m)
	out := make([]Signature, len(all))
	for i, s := range all {
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

// maxSigned is how many names h= may have.
const maxSigned = 500

// readSignature reads a field as far as it can be judged without the DNS. RFC 6376 section 6.1.1. RFC 8601 section 2.7.1 calls what cannot be read
// neutral.
func (v *Verifier) readSignature(f HeaderField, utf8 bool) *signature {
	s := &signature{field: f, length: -1}
	t, err := parseTags(f.value())
	if err != nil {
		s.end(Neutral, "the signature cannot be read")
		return s
	}
	s.tags = t
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if noFWS(t[name]) == "" {
			s.end(Neutral, "the signature has no "+name+"=")
			return s
		}
	}
	s.Begin = printable(noFWS(t["b"]), 8)
	domain, err1 := asciiDomain(noFWS(t["d"]))
	selector, err2 := asciiDomain(noFWS(t["s"]))
	if err1 != nil || err2 != nil {
		s.end(Neutral, "d= or s= is no domain")
		return s
	}
	s.Domain, s.Selector, s.Algorithm = domain, selector, printable(t.algorithm(), 20)
	if status, reason := v.readTags(s); reason != "" {
		s.end(status, reason)
		return s
	}
	s.open = true
	return s
}

// readTags reads the tags that say how is signed; a reason is why the signature cannot hold.
func (v *Verifier) readTags(s *signature) (Status, string) {
	t := s.tags
	if t["v"] != "1" {
		return Neutral, "version"
	}
	switch s.Algorithm {
	case "rsa-sha256", "ed25519-sha256":
	case "rsa-sha1": // RFC 8301 section 3.1
		return PermError, "SHA-1 proves nothing"
	default:
		return Neutral, "unknown algorithm"
	}
	var err error
	if s.header, s.body, err = t.canonical(); err != nil {
		return Neutral, "unknown canonicalization"
	}
	if q, ok := t["q"]; ok && !slices.Contains(strings.Split(strings.ToLower(noFWS(q)), ":"), "dns/txt") {
		return Neutral, "unknown query method"
	}
	s.names = strings.Split(noFWS(t["h"]), ":")
	switch {
	case len(s.names) > maxSigned:
		return Neutral, "too many signed fields"
	case !slices.ContainsFunc(s.names, func(n string) bool { return strings.EqualFold(n, "from") }): // RFC 6376 section 5.4
		return PermError, "From is not signed"
	}
	if s.bh, err = t.bytes64("bh"); err != nil || len(s.bh) != 32 {
		return Neutral, "bh= is no SHA-256"
	}
	if l, ok := t["l"]; ok {
		n, err := strconv.ParseUint(l, 10, 63)
		if err != nil {
			return Neutral, "l= is no length"
		}
		s.length = int64(n)
	}
	if reason := identity(s); reason != "" {
		return PermError, reason
	}
	// RFC 6376 section 6.1.1: not for all that is below a registry's suffix.
	if isRegistry(s.Domain) {
		return PermError, "d= is a public suffix"
	}
	return v.times(s)
}

// identity reads i=: it is d= or below it (RFC 6376 section 3.5).
func identity(s *signature) string {
	i, ok := s.tags["i"]
	if !ok {
		return ""
	}
	_, domain := splitAddress(noFWS(i))
	domain, err := asciiDomain(domain)
	if err != nil || domain != s.Domain && !strings.HasSuffix(domain, "."+s.Domain) {
		return "i= is not of d="
	}
	if domain != s.Domain {
		s.Identity = domain
	}
	return ""
}

// times looks at t= and x=. RFC 6376 section 3.5: x= must be later than t=.
func (v *Verifier) times(s *signature) (Status, string) {
	made, _, err1 := s.tags.seconds("t")
	expires, has, err2 := s.tags.seconds("x")
	switch {
	case err1 != nil || err2 != nil || has && !made.IsZero() && !expires.After(made):
		return Neutral, "t= or x= is no time"
	case has && v.options.Now().After(expires):
		return Fail, "the signature has expired"
	}
	return "", ""
}

// verifyHeader asks for the key and verifies b=; what holds stays open until the body's hash is known.
func (v *Verifier) verifyHeader(ctx context.Context, s *signature, fields []HeaderField) {
	k, err := v.key(ctx, s.Domain, s.Selector)
	if err == nil {
		s.Bits, s.Testing = k.bits, k.testing
		err = v.allowed(k, s)
	}
	var no *refusal
	switch {
	case errors.As(err, &no):
		s.end(no.status, no.reason)
		return
	case err != nil:
		s.end(TempError, "the DNS did not answer")
		return
	}
	b, err := s.tags.bytes64("b")
	if err != nil {
		s.end(Neutral, "b= is no base64")
		return
	}
	if !k.verify(headerHash(fields, s.names, s.field, s.header), b) {
		s.end(Fail, "the signature does not fit the header")
	}
}

// allowed tells whether a key may have made a signature (RFC 6376 section 6.1.2).
func (v *Verifier) allowed(k *publicKey, s *signature) error {
	switch {
	case !strings.HasPrefix(s.Algorithm, k.kind+"-"):
		return &refusal{PermError, "the key is of another algorithm"}
	case k.kind == "rsa" && k.bits < v.options.MinRSABits: // RFC 8301 section 3.2
		return &refusal{Policy, "the key is too short"}
	case k.strict && s.Identity != "": // RFC 6376 section 3.6.1: t=s
		return &refusal{PermError, "the key is not for i="}
	}
	return nil
}

// bodyForm is what a body's hash depends on.
type bodyForm struct {
	relaxed bool
	length  int64
}

// verifyBody hashes the body in all forms that open signatures want, in one pass, and decides them.
func (v *Verifier) verifyBody(ctx context.Context, all []*signature, m Message) {
	forms := map[bodyForm]*limited{}
	var sinks []io.Writer
	for _, s := range all {
		form := bodyForm{s.body == "relaxed", s.length}
		if !s.open || forms[form] != nil {
			continue
		}
		c := newBodyCanon(form.relaxed)
		l := &limited{Hash: c.hash, left: form.length}
		if form.length < 0 {
			l.left = 1<<63 - 1
		}
		c.hash, l.canon = l, c
		forms[form] = l
		sinks = append(sinks, c)
	}
	if len(sinks) == 0 {
		return
	}
	err := stream(ctx, sinks, m)
	for _, s := range all {
		if !s.open {
			continue
		}
		if err != nil {
			s.end(TempError, "the body could not be read")
			continue
		}
		l := forms[bodyForm{s.body == "relaxed", s.length}]
		v.decide(s, l)
	}
}

// decide ends a signature whose header holds.
func (v *Verifier) decide(s *signature, l *limited) {
	sum := l.finish()
	s.Partial = s.length >= 0 && l.seen > s.length
	switch {
	case s.length > l.seen: // RFC 6376 section 3.5: l= must not be larger than the body
		s.end(Neutral, "l= is more than there is")
	case !bytes.Equal(sum, s.bh):
		s.end(Fail, "the body was changed")
	case s.Partial && !v.options.PartialBody: // RFC 6376 section 8.2
		s.end(Policy, "a part of the body is not signed")
	default:
		s.end(Pass, "")
	}
}

// stream reads the body once, in blocks, for all sinks.
func stream(ctx context.Context, sinks []io.Writer, m Message) error {
	if m.Body == nil || m.Size == 0 {
		return nil
	}
	block := blocks.Get().(*[32 << 10]byte)
	defer blocks.Put(block)
	for at := int64(0); at < m.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := m.Body.ReadAt(block[:min(int64(len(block)), m.Size-at)], at)
		for _, w := range sinks {
			w.Write(block[:n])
		}
		if at += int64(n); err != nil && at < m.Size {
			return err
		}
	}
	return nil
}

var blocks = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// limited hashes the first octets and counts all.
type limited struct {
	hash.Hash
	canon *bodyCanon
	left  int64
	seen  int64
	sum   []byte
}

func (l *limited) Write(p []byte) (int, error) {
	l.seen += int64(len(p))
	n := min(int64(len(p)), l.left)
	l.left -= n
	l.Hash.Write(p[:n])
	return len(p), nil
}

// finish ends the body; it may be asked more than once.
func (l *limited) finish() []byte {
	if l.sum == nil {
		l.sum = l.canon.sum()
	}
	return l.sum
}
