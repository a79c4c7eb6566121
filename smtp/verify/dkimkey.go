package verify

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"sync"

	"github.com/mjl-/mox/dns"
)

// publicKey is a DKIM key record (RFC 6376 section 3.6.1) that can be used. It does not change.
type publicKey struct {
	kind    string // "rsa", "ed25519"
	rsa     *rsa.PublicKey
	ed25519 ed25519.PublicKey
	bits    int
	testing bool // t=y
	strict  bool // t=s: i= must be d=
}

// refusal is why a signature cannot hold whatever its bytes say.
type refusal struct {
	status Status
	reason string
}

func (r *refusal) Error() string { return r.reason }

// maxRSABits bounds what a verification may cost.
const maxRSABits = 8192

// verify tells whether a signature over a digest is the key's.
func (k *publicKey) verify(digest, sig []byte) bool {
	if k.kind == "ed25519" { // RFC 8463 section 3: the digest itself is the message
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(k.ed25519, digest, sig)
	}
	return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, digest, sig) == nil
}

// key asks for a key. An error is a *refusal when the DNS answered.
func (v *Verifier) key(ctx context.Context, domain, selector string) (*publicKey, error) {
	texts, _, err := v.resolver.LookupTXT(ctx, selector+"._domainkey."+domain+".")
	if dns.IsNotFound(err) {
		return nil, &refusal{PermError, "no key"}
	}
	if err != nil {
		return nil, err
	}
	var first error = &refusal{PermError, "no key"}
	for i, text := range texts {
		k, err := v.keys.parse(text)
		if err == nil {
			return k, nil
		}
		// RFC 6376 section 6.1.2: with several records it is ours to choose; the first that is a key, else the first fault.
		if i == 0 {
			first = err
		}
	}
	return nil, first
}

// keyCache remembers the keys of records, as parsing one costs more than asking the resolver's cache. What it holds depends on the text alone.
type keyCache struct {
	mu   sync.Mutex
	keys map[string]parsedKey
}

type parsedKey struct {
	key *publicKey
	err error
}

// cachedKeys bounds a keyCache, maxKeyText a record.
const (
	cachedKeys = 1000
	maxKeyText = 4096
)

func newKeyCache() *keyCache { return &keyCache{keys: map[string]parsedKey{}} }

func (c *keyCache) parse(text string) (*publicKey, error) {
	if len(text) > maxKeyText {
		return nil, &refusal{PermError, "the key record is too long"}
	}
	c.mu.Lock()
	p, ok := c.keys[text]
	c.mu.Unlock()
	if ok {
		return p.key, p.err
	}
	p.key, p.err = parseKey(text)
	c.mu.Lock()
	if len(c.keys) >= cachedKeys {
		clear(c.keys)
	}
	c.keys[text] = p
	c.mu.Unlock()
	return p.key, p.err
}

// parseKey reads a key record.
func parseKey(text string) (*publicKey, error) {
	t, err := parseTags([]byte(text))
	if err != nil {
		return nil, &refusal{PermError, "the key record cannot be read"}
	}
	if v, ok := t["v"]; ok && (v != "DKIM1" || !strings.HasPrefix(trimFWS(text), "v")) { // RFC 6376 section 3.6.1: it is the first tag then
		return nil, &refusal{PermError, "the record is no key"}
	}
	has := func(tag, def string, any ...string) bool {
		v, ok := t[tag]
		if !ok {
			v = def
		}
		return slices.ContainsFunc(strings.Split(strings.ToLower(noFWS(v)), ":"), func(s string) bool { return slices.Contains(any, s) })
	}
	p, ok := t["p"]
	switch {
	case !ok:
		return nil, &refusal{PermError, "the record is no key"}
	case noFWS(p) == "":
		return nil, &refusal{PermError, "the key was revoked"}
	case !has("h", "sha256", "sha256"):
		return nil, &refusal{PermError, "the key is not for SHA-256"}
	case !has("s", "*", "*", "email"):
		return nil, &refusal{PermError, "the key is not for mail"}
	}
	der, err := base64.StdEncoding.DecodeString(noFWS(p))
	if err != nil {
		return nil, &refusal{PermError, "the key cannot be read"}
	}
	k := &publicKey{kind: "rsa", testing: has("t", "", "y"), strict: has("t", "", "s")}
	if kind, ok := t["k"]; ok {
		k.kind = strings.ToLower(kind)
	}
	switch k.kind {
	case "rsa":
		return k, k.setRSA(der)
	case "ed25519": // RFC 8463 section 4.2
		if len(der) != ed25519.PublicKeySize {
			return nil, &refusal{PermError, "the key cannot be read"}
		}
		k.ed25519, k.bits = der, 256
		return k, nil
	}
	return nil, &refusal{PermError, "a key of an unknown kind"}
}

// setRSA reads a SubjectPublicKeyInfo, or the bare RSAPublicKey that the RFC's text asks for (RFC 6376 erratum 3017).
func (k *publicKey) setRSA(der []byte) error {
	if any, err := x509.ParsePKIXPublicKey(der); err == nil {
		k.rsa, _ = any.(*rsa.PublicKey)
	} else if bare, err := x509.ParsePKCS1PublicKey(der); err == nil {
		k.rsa = bare
	}
	if k.rsa == nil {
		return &refusal{PermError, "the key cannot be read"}
	}
	if k.bits = k.rsa.N.BitLen(); k.bits > maxRSABits {
		return &refusal{Policy, "the key is too long"}
	}
	return nil
}
