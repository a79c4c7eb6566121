package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mjl-/mox/dns"
)

// keyring looks up keys in the DNS, each once.
type keyring struct {
	resolver dns.Resolver
	known    map[string]foundKey
}

// foundKey is an *rsa.PublicKey or an ed25519.PublicKey, or why there is none.
type foundKey struct {
	key crypto.PublicKey
	err error
}

// errNoAnswer is in an error when the DNS did not answer: another time it may.
var errNoAnswer = errors.New("the DNS did not answer")

// key is that of a selector. RFC 6376 section 6.1.2.
func (k *keyring) key(ctx context.Context, domain, selector string) (crypto.PublicKey, error) {
	name := selector + "._domainkey." + domain
	f, ok := k.known[name]
	if !ok {
		f.key, f.err = k.lookup(ctx, domain, selector)
		k.known[name] = f
	}
	if f.err != nil {
		return nil, fmt.Errorf("key %s: %w", name, f.err)
	}
	return f.key, nil
}

func (k *keyring) lookup(ctx context.Context, domain, selector string) (crypto.PublicKey, error) {
	d, err := asciiDomain(domain)
	if err != nil {
		return nil, err
	}
	s, err := asciiDomain(selector)
	if err != nil {
		return nil, err
	}
	texts, err := keyText(ctx, k.resolver, s+"._domainkey."+d)
	switch {
	case err != nil && !dns.IsNotFound(err):
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	case len(texts) == 0:
		return nil, errors.New("there is none")
	}
	return parseKey(texts[0])
}

// parseKey reads a key record (RFC 6376 section 3.6.1) for a signature by SHA-256 of a message: an *rsa.PublicKey or an ed25519.PublicKey.
func parseKey(text string) (crypto.PublicKey, error) {
	t, err := parseTags([]byte(text))
	if err != nil {
		return nil, err
	}
	if v, ok := t["v"]; ok && v != "DKIM1" {
		return nil, errors.New("the record is of another version")
	}
	p, ok := t["p"]
	switch {
	case !ok:
		return nil, errors.New("the record has no p=")
	case noFWS(p) == "":
		return nil, errors.New("it was revoked")
	case !t.lists("h", "sha256"):
		return nil, errors.New("it is not for sha256")
	case !t.lists("s", "*") && !t.lists("s", "email"):
		return nil, errors.New("it is not for mail")
	}
	der, err := t.bytes64("p")
	if err != nil {
		return nil, err
	}
	switch kind := strings.ToLower(t["k"]); {
	case kind == "ed25519" && len(der) == ed25519.PublicKeySize: // RFC 8463 section 4.2: nothing around it
		return ed25519.PublicKey(der), nil
	case kind == "rsa" || kind == "":
		// RFC 6376 erratum 3017: records have a SubjectPublicKeyInfo where the text asks for an RSAPublicKey; both are taken.
		if key, err := x509.ParsePKIXPublicKey(der); err == nil {
			if key, ok := key.(*rsa.PublicKey); ok {
				return key, nil
			}
		} else if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("it cannot be read")
}

// lists tells whether a list with colons names a word; one that is not there names all.
func (t tags) lists(name, word string) bool {
	v, ok := t[name]
	return !ok || slices.Contains(strings.Split(strings.ToLower(noFWS(v)), ":"), word)
}

// check verifies a signature over a hash. RFC 8301 section 3: SHA-1 proves nothing, nor does an RSA key below 1024 bits; one above 4096 costs more than
// verifiers must spend.
func (k *keyring) check(ctx context.Context, t tags, digest []byte) error {
	signature, err := t.bytes64("b")
	if err != nil {
		return err
	}
	key, err := k.key(ctx, noFWS(t["d"]), noFWS(t["s"]))
	if err != nil {
		return err
	}
	switch public := key.(type) {
	case *rsa.PublicKey:
		switch bits := public.N.BitLen(); {
		case t.algorithm() != "rsa-sha256":
			return fmt.Errorf("the key is not for %s", t.algorithm())
		case bits < 1024 || bits > 4096:
			return fmt.Errorf("an RSA key of %d bits", bits)
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature)
	case ed25519.PublicKey:
		switch {
		case t.algorithm() != "ed25519-sha256":
			return fmt.Errorf("the key is not for %s", t.algorithm())
		case !ed25519.Verify(public, digest, signature): // RFC 8463 section 3: the hash is what is signed
			return errors.New("ed25519: verification error")
		}
		return nil
	}
	return errors.New("a key of an unknown kind")
}

// algorithm is a= in lowercase.
func (t tags) algorithm() string { return strings.ToLower(noFWS(t["a"])) }

// seconds is a time in a tag.
func (t tags) seconds(name string) (time.Time, bool, error) {
	v, ok := t[name]
	if !ok {
		return time.Time{}, false, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || len(v) > 12 {
		return time.Time{}, false, fmt.Errorf("%w: %s=%.20q is no time", errTags, name, v)
	}
	return time.Unix(n, 0), true, nil
}

// canonical reads c= (RFC 6376 section 3.5).
func (t tags) canonical() (header, body string, err error) {
	c, ok := t["c"]
	if !ok {
		return "simple", "simple", nil
	}
	header, body, ok = strings.Cut(strings.ToLower(noFWS(c)), "/")
	if !ok {
		body = "simple"
	}
	for _, form := range []string{header, body} {
		if form != "simple" && form != "relaxed" {
			return "", "", fmt.Errorf("%w: unknown canonicalization %.20q", errTags, c)
		}
	}
	return header, body, nil
}

// bodyHashes are those of one body, each made once, when it is first asked for.
type bodyHashes struct {
	body io.ReaderAt
	size int64
	made map[string][]byte
}

func (b *bodyHashes) get(form string) ([]byte, error) {
	if h := b.made[form]; h != nil {
		return h, nil
	}
	h, err := BodyHash(io.NewSectionReader(b.body, 0, b.size), form == "relaxed")
	if err == nil {
		b.made[form] = h
	}
	return h, err
}

// headerHash is what a signature that covers fields signs: the fields of h=, then its own field without b= and without CRLF (RFC 6376 section 3.7).
func headerHash(fields []HeaderField, names []string, own HeaderField, form string) []byte {
	return newPicker(fields).hash(names, own, form)
}

// hash is headerHash for who has several over the same fields.
func (p *picker) hash(names []string, own HeaderField, form string) []byte {
	h := sha256.New()
	for _, name := range names {
		f, ok := p.pick(strings.ToLower(trimFWS(name)))
		switch {
		case !ok:
		case form == "relaxed":
			h.Write(f.Relaxed())
		default:
			h.Write(f.Raw)
		}
	}
	own = own.withoutB()
	if form == "relaxed" {
		own.Raw = own.Relaxed()
	}
	h.Write(bytes.TrimSuffix(own.Raw, []byte("\r\n")))
	return h.Sum(nil)
}
