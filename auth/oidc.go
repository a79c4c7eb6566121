package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// OIDC says whose bearer tokens are taken beside our own: JSON Web Tokens (RFC 7519) that an OpenID Connect issuer signed.
type OIDC struct {
	Issuer    string            // its URL, as in its tokens; https, or http on this machine; "" means none
	Audiences []string          // a token must be for one of them: this server, or the ids of clients
	Claim     string            // names the account by one of its addresses; "" means "email"
	Scope     string            // which a token must have; "" means none
	HTTP      http.RoundTripper // nil: one of its own, which follows the environment's proxy
}

// Check tells what is wrong with o, if anything.
func (o *OIDC) Check() error {
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("the issuer %q is no URL such as https://login.example.org", o.Issuer)
	}
	if !secure(u) {
		return fmt.Errorf("the issuer %q must be https", o.Issuer)
	}
	if len(o.Audiences) == 0 || slices.Contains(o.Audiences, "") {
		return errors.New("an issuer needs an audience: without one, tokens that it made for others would be taken")
	}
	return nil
}

// secure tells whether nobody can change what comes from there on its way.
func secure(u *url.URL) bool {
	local := u.Hostname() == "localhost"
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		local = a.IsLoopback()
	}
	return u.Scheme == "https" || u.Scheme == "http" && local
}

// algorithms that a token may be signed with: none of a shared secret, and never "none".
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

const (
	clockSkew  = time.Minute // that an expired token is still taken
	maxClaims  = 4096        // tokens that are remembered to be bad
	badFor     = time.Minute
	viaIssuer  = "issuer"
	emailClaim = "email"
)

// Why a token of the issuer is not taken.
const (
	reasonSignature = "not a token of the issuer"
	reasonIssued    = "token not for us"
)

// issuer verifies the tokens of an OIDC issuer. Nothing is asked of the issuer before its first token comes, so one that is not there does
// not keep the server from starting.
type issuer struct {
	o    OIDC
	keys *keySet
	now  func() time.Time

	mu  sync.Mutex
	bad *lru[digest, badToken] // seen a short while ago
}

type badToken struct {
	until time.Time
	why   string
}

func newIssuer(o OIDC, now func() time.Time, log *slog.Logger) *issuer {
	if o.Claim == "" {
		o.Claim = emailClaim
	}
	return &issuer{o: o, now: now, keys: newKeySet(o, now, log), bad: newLRU[digest, badToken](maxClaims)}
}

// configuration is where a client finds what the issuer is (RFC 7628 section 3.2.2: openid-configuration).
func (i *issuer) configuration() string {
	return strings.TrimSuffix(i.o.Issuer, "/") + "/.well-known/openid-configuration"
}

// verify returns the name of the account that a token is for; why says, in words for the log, that the token is not good. An error
// (storage.ErrTemporary) says that the issuer's keys cannot be had now.
func (i *issuer) verify(ctx context.Context, token string) (name, why string, err error) {
	if !i.mine(token) {
		return "", reasonSignature, nil
	}
	k := keyedHash(nil, token)
	if why := i.remembered(k); why != "" {
		return "", why, nil
	}
	keys := &once{keys: i.keys}
	// Whom a token is for is looked at by subject, as it may be one of several.
	verifier := oidc.NewVerifier(i.o.Issuer, keys, &oidc.Config{
		SkipClientIDCheck: true, SupportedSigningAlgs: algorithms, Now: func() time.Time { return i.now().Add(-clockSkew) },
	})
	t, err := verifier.Verify(ctx, token)
	var expired *oidc.TokenExpiredError
	switch {
	case keys.err != nil:
		return "", "", keys.err
	case keys.unknown: // its key may be published a moment later: not remembered
		return "", reasonSignature, nil
	case errors.As(err, &expired):
		why = "token expired"
	case err != nil && keys.verified:
		why = reasonIssued
	case err != nil:
		why = reasonSignature
	default:
		name, why = i.subject(t)
	}
	if why != "" {
		i.remember(k, why)
	}
	return name, why, nil
}

// mine tells whether a token says that it is of the issuer, without believing it: what is none of its own is not worth asking for keys.
func (i *issuer) mine(token string) bool {
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		return false
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	return json.Unmarshal(payload, &c) == nil && c.Issuer == i.o.Issuer
}

// claims are those of a token that say what it is good for.
type claims struct {
	Scope    string          `json:"scope"` // RFC 9068 section 2.2.3
	Scp      json.RawMessage `json:"scp"`   // what others write for it: a text or a list
	Verified json.RawMessage `json:"email_verified"`
}

// subject is the account's name in a verified token.
func (i *issuer) subject(t *oidc.IDToken) (name, why string) {
	var c claims
	var all map[string]json.RawMessage
	if t.Claims(&c) != nil || t.Claims(&all) != nil {
		return "", reasonIssued
	}
	if !slices.ContainsFunc(t.Audience, func(a string) bool { return slices.Contains(i.o.Audiences, a) }) {
		return "", reasonIssued
	}
	if i.o.Scope != "" && !slices.Contains(c.scopes(), i.o.Scope) {
		return "", reasonScope
	}
	// An address that the issuer did not verify is whatever its user wrote there.
	if v := bytes.Trim(c.Verified, `"`); i.o.Claim == emailClaim && len(v) > 0 && string(v) != "true" {
		return "", "email not verified"
	}
	if json.Unmarshal(all[i.o.Claim], &name) != nil || name == "" {
		return "", "no claim " + i.o.Claim
	}
	return name, ""
}

func (c *claims) scopes() []string {
	words := strings.Fields(c.Scope)
	var text string
	var list []string
	switch {
	case json.Unmarshal(c.Scp, &text) == nil:
		words = append(words, strings.Fields(text)...)
	case json.Unmarshal(c.Scp, &list) == nil:
		words = append(words, list...)
	}
	return words
}

// remembered is why a token was not taken a short while ago, "" when it is not known to be bad.
func (i *issuer) remembered(k digest) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.bad.get(k)
	switch {
	case b == nil:
		return ""
	case i.now().After(b.until):
		i.bad.remove(k)
		return ""
	}
	return b.why
}

func (i *issuer) remember(k digest, why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	*i.bad.put(k) = badToken{until: i.now().Add(badFor), why: why}
}
