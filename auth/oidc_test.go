package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// loginServer is a small OpenID Connect issuer on loopback.
type loginServer struct {
	t testing.TB
	*httptest.Server
	asked   atomic.Int64 // requests for keys
	mu      sync.Mutex
	keys    []jose.JSONWebKey
	signers map[string]jose.Signer
	broken  string // what is wrong with it; "" nothing
}

func newLoginServer(t testing.TB) *loginServer {
	l := &loginServer{t: t, signers: map[string]jose.Signer{}}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Close)
	return l
}

func (l *loginServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.broken == "down":
		w.WriteHeader(http.StatusServiceUnavailable)
	case l.broken == "huge":
		fmt.Fprint(w, `{"issuer":"`, l.URL, `","x":"`, strings.Repeat("x", 2<<20), `"}`)
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		issuer := l.URL
		if l.broken == "issuer" {
			issuer = "https://somebody.else.test"
		}
		keys := l.URL + "/keys"
		if l.broken == "keys" {
			keys = "http://192.0.2.1/keys"
		}
		json.NewEncoder(w).Encode(map[string]any{"issuer": issuer, "jwks_uri": keys, "id_token_signing_alg_values_supported": []string{"HS256", "none"}})
	case r.URL.Path == "/keys":
		l.asked.Add(1)
		list := []any{map[string]string{"kty": "strange"}, map[string]string{"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}}
		for _, k := range l.keys {
			list = append(list, k)
		}
		json.NewEncoder(w).Encode(map[string]any{"keys": list})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (l *loginServer) breaks(how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = how
}

// key makes one that signs from now on, with that id, and publishes it.
func (l *loginServer) key(id string, alg jose.SignatureAlgorithm, key crypto.Signer, publish bool) {
	l.t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signers[id] = s
	if publish {
		l.keys = append(l.keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig"})
	}
}

// retire takes a key away.
func (l *loginServer) retire(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var left []jose.JSONWebKey
	for _, k := range l.keys {
		if k.KeyID != id {
			left = append(left, k)
		}
	}
	l.keys = left
}

type claimSet map[string]any

// token signs good claims with changes on top; nil takes one away.
func (l *loginServer) token(id string, now time.Time, change claimSet) string {
	l.t.Helper()
	c := claimSet{"iss": l.URL, "aud": []string{"other", "packetboat"}, "sub": "1", "email": "Ann@example.test", "email_verified": true,
		"exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "scope": "openid mail"}
	for k, v := range change {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		l.t.Fatal(err)
	}
	signed, err := l.signers[id].Sign(text)
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func newEC(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// forged writes a token by hand.
func forged(header, payload, signature string) string {
	b := base64.RawURLEncoding.EncodeToString
	return b([]byte(header)) + "." + b([]byte(payload)) + "." + b([]byte(signature))
}

func newOIDCRig(t testing.TB) (*rig, *storage.Account, *loginServer) {
	l := newLoginServer(t)
	l.key("one", jose.ES256, newEC(t), true)
	r, ann := newRig(t, Options{OIDC: &OIDC{Issuer: l.URL, Audiences: []string{"phones", "packetboat"}, Scope: "mail"}}, session.Limits{})
	return r, ann, l
}

func TestIssuedTokens(t *testing.T) {
	r, ann, l := newOIDCRig(t)
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	l.key("rsa", jose.RS256, big, true)
	l.key("foreign", jose.ES256, newEC(t), false)
	r.door.opt.NoThrottle = true
	now := r.clock.now()
	payload := fmt.Sprintf(`{"iss":%q,"aud":"packetboat","email":"ann@example.test","exp":%d,"scope":"mail"}`, l.URL, now.Add(time.Hour).Unix())
	stolen := strings.Split(l.token("one", now, nil), ".")
	for _, c := range []struct {
		name, token, status string
	}{
		{"right", l.token("one", now, nil), ""},
		{"RSA", l.token("rsa", now, nil), ""},
		{"one audience", l.token("one", now, claimSet{"aud": "packetboat"}), ""},
		{"the other of ours", l.token("one", now, claimSet{"aud": "phones"}), ""},
		{"empty audience", l.token("one", now, claimSet{"aud": ""}), invalidToken},
		{"scp list", l.token("one", now, claimSet{"scope": nil, "scp": []string{"mail"}}), ""},
		{"scp text", l.token("one", now, claimSet{"scope": nil, "scp": "a mail"}), ""},
		{"verification not told", l.token("one", now, claimSet{"email_verified": nil}), ""},
		{"expired within the skew", l.token("one", now, claimSet{"exp": now.Add(-30 * time.Second).Unix()}), ""},
		{"expired", l.token("one", now, claimSet{"exp": now.Add(-2 * time.Minute).Unix()}), invalidToken},
		{"no end", l.token("one", now, claimSet{"exp": nil}), invalidToken},
		{"not yet", l.token("one", now, claimSet{"nbf": now.Add(time.Hour).Unix()}), invalidToken},
		{"other issuer", l.token("one", now, claimSet{"iss": "https://somebody.else.test"}), invalidToken},
		{"other audience", l.token("one", now, claimSet{"aud": "other"}), invalidToken},
		{"no audience", l.token("one", now, claimSet{"aud": nil}), invalidToken},
		{"no scope", l.token("one", now, claimSet{"scope": "openid mailer"}), insufficientScope},
		{"not verified", l.token("one", now, claimSet{"email_verified": false}), invalidToken},
		{"not verified, in quotes", l.token("one", now, claimSet{"email_verified": "false"}), invalidToken},
		{"no address", l.token("one", now, claimSet{"email": nil}), invalidToken},
		{"a list of addresses", l.token("one", now, claimSet{"email": []string{"ann@example.test"}}), invalidToken},
		{"unknown account", l.token("one", now, claimSet{"email": "carol@example.test"}), invalidToken},
		{"foreign domain", l.token("one", now, claimSet{"email": "ann@somewhere.test"}), invalidToken},
		{"foreign key", l.token("foreign", now, nil), invalidToken},
		{"none", forged(`{"alg":"none"}`, payload, ""), invalidToken},
		{"shared secret", forged(`{"alg":"HS256","kid":"shared"}`, payload, "x"), invalidToken},
		{"changed", stolen[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + stolen[2], invalidToken},
		{"no signature", stolen[0] + "." + stolen[1] + ".", invalidToken},
		{"key in the header", forged(`{"alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}`, payload, "x"), invalidToken},
		{"rubbish", "a.b.c", invalidToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := r.local()
			responses := []string{oauthBearer("ann@example.test", c.token)}
			if c.status != "" {
				responses = append(responses, "\x01")
			}
			e, challenges, done, err := r.say(s, "OAUTHBEARER", responses...)
			if done != (c.status == "") || c.status != "" && !errors.Is(err, ErrCredentials) {
				t.Fatalf("done %v, %v, challenges %q", done, err, challenges)
			}
			if done {
				if e.Account().ID != ann.ID || s.Account().Via != viaIssuer {
					t.Error(e.Account(), s.Account())
				}
				return
			}
			var fault map[string]string
			if json.Unmarshal([]byte(challenges[0]), &fault) != nil || fault["status"] != c.status || fault["scope"] != "mail" ||
				fault["openid-configuration"] != l.URL+"/.well-known/openid-configuration" {
				t.Errorf("%q", challenges)
			}
		})
	}
	if _, _, _, err := r.say(r.local(), "XOAUTH2", xoauth2("bob", l.token("one", now, nil)), ""); !errors.Is(err, ErrAuthorization) {
		t.Error(err)
	}
	if r.hashes() != 0 || strings.Contains(r.log.String(), "eyJ") {
		t.Error("passwords were hashed, or tokens logged")
	}
}

// Keys come and go: a new one is found when a token has it, at most every 30 s; one that was taken back is no longer good after an hour.
func TestIssuerRotatesKeys(t *testing.T) {
	r, _, l := newOIDCRig(t)
	try := func(id string) error {
		t.Helper()
		_, why, err := r.door.issuer.verify(t.Context(), l.token(id, r.clock.now(), claimSet{"jti": r.clock.now().UnixNano()}))
		if why != "" {
			err = errors.New(why)
		}
		return err
	}
	if err := try("one"); err != nil || l.asked.Load() != 1 {
		t.Fatal(err, l.asked.Load())
	}
	l.key("two", jose.ES256, newEC(t), true)
	if err := try("two"); err == nil || l.asked.Load() != 1 {
		t.Error("keys were asked for again at once", err)
	}
	for range 50 { // tokens with keys that nobody knows cost no requests
		l.key("foreign", jose.ES256, newEC(t), false)
		if err := try("foreign"); err == nil {
			t.Fatal("taken")
		}
	}
	if l.asked.Load() != 1 {
		t.Errorf("%d requests", l.asked.Load())
	}
	r.clock.advance(retryGood)
	if err := try("two"); err != nil || l.asked.Load() != 2 {
		t.Error(err, l.asked.Load())
	}
	l.retire("one")
	if err := try("one"); err != nil {
		t.Error(err)
	}
	r.clock.advance(keysFresh)
	if err := try("one"); err == nil {
		t.Error("a key that was taken back is good")
	}
	if err := try("two"); err != nil {
		t.Error(err)
	}
	// The issuer is away: what is known is good for a day.
	l.breaks("down")
	r.clock.advance(2 * keysFresh)
	if err := try("two"); err != nil {
		t.Error(err)
	}
	r.clock.advance(keysStale)
	if err := try("two"); !errors.Is(err, storage.ErrTemporary) {
		t.Error(err)
	}
	l.breaks("")
	if err := try("two"); !errors.Is(err, storage.ErrTemporary) {
		t.Error("asked again at once:", err)
	}
	r.clock.advance(retryFailed)
	if err := try("two"); err != nil {
		t.Error(err)
	}
}

// An issuer that is not there or not right refuses for the time being, and passwords work on.
func TestIssuerIsBroken(t *testing.T) {
	for _, how := range []string{"down", "huge", "issuer", "keys", "closed"} {
		t.Run(how, func(t *testing.T) {
			r, ann, l := newOIDCRig(t)
			l.breaks(how)
			if how == "closed" {
				l.Close()
			}
			s := r.local()
			for range 4 { // no failure of the client's
				if _, _, _, err := r.say(s, "OAUTHBEARER", oauthBearer("", l.token("one", r.clock.now(), nil))); !errors.Is(err, storage.ErrTemporary) {
					t.Fatal(err)
				}
			}
			if _, _, done, err := r.say(r.local(), "OAUTHBEARER", oauthBearer("", r.token(ann.ID, "own"))); !done {
				t.Error(err)
			}
			if err := r.login(s, "ann", "secret"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Many wait for one fetch.
func TestIssuerIsAskedOnce(t *testing.T) {
	r, _, l := newOIDCRig(t)
	var wg sync.WaitGroup
	for i := range 20 {
		token := l.token("one", r.clock.now(), claimSet{"jti": i})
		wg.Go(func() {
			if _, why, err := r.door.issuer.verify(context.Background(), token); err != nil || why != "" {
				t.Error(why, err)
			}
		})
	}
	wg.Wait()
	if n := l.asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// What is not ours costs the issuer nothing.
func TestForeignTokensAskNobody(t *testing.T) {
	r, _, l := newOIDCRig(t)
	for _, token := range []string{"a.b.c", "x", forged(`{}`, `{"iss":"https://other.test"}`, ""), l.token("one", r.clock.now(), claimSet{"iss": "x"})} {
		if _, why, err := r.door.issuer.verify(t.Context(), token); why == "" || err != nil {
			t.Errorf("%.40q: %q, %v", token, why, err)
		}
	}
	if l.asked.Load() != 0 {
		t.Error("the issuer was asked")
	}
}

func TestOIDCCheck(t *testing.T) {
	x := []string{"x"}
	for _, c := range []struct {
		o  OIDC
		ok bool
	}{
		{OIDC{Issuer: "https://login.example.org", Audiences: x}, true},
		{OIDC{Issuer: "https://login.example.org/realm/", Audiences: x}, true},
		{OIDC{Issuer: "http://127.0.0.1:8080", Audiences: x}, true},
		{OIDC{Issuer: "http://localhost", Audiences: x}, true},
		{OIDC{Issuer: "http://login.example.org", Audiences: x}, false},
		{OIDC{Issuer: "http://192.0.2.1", Audiences: x}, false},
		{OIDC{Issuer: "ftp://localhost", Audiences: x}, false},
		{OIDC{Issuer: "login.example.org", Audiences: x}, false},
		{OIDC{Issuer: "https://a@b/", Audiences: x}, false},
		{OIDC{Issuer: "https://b/?x", Audiences: x}, false},
		{OIDC{Issuer: "https://login.example.org"}, false},
		{OIDC{Issuer: "https://login.example.org", Audiences: []string{""}}, false},
	} {
		if err := c.o.Check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

func FuzzReadKeys(f *testing.F) {
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"1"}]}`)
	f.Add(`{"keys":[{"kty":"oct","k":"c2VjcmV0"},{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":""}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := readKeys(strings.NewReader(text))
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if _, shared := k.Key.([]byte); shared || !k.IsPublic() {
				t.Errorf("%T", k.Key)
			}
		}
	})
}

func FuzzIssuedToken(f *testing.F) {
	r, _, l := newOIDCRig(f)
	now := r.clock.now()
	good := l.token("one", now, nil)
	if _, why, err := r.door.issuer.verify(f.Context(), good); why != "" || err != nil {
		f.Fatal(why, err)
	}
	f.Add(good)
	f.Add(forged(`{"alg":"none"}`, `{"iss":"x"}`, ""))
	f.Add(forged(`{"alg":"ES256","kid":"one","crit":["b64"],"b64":false}`, `{"iss":"`+l.URL+`"}`, "x"))
	f.Fuzz(func(t *testing.T, token string) {
		if _, why, _ := r.door.issuer.verify(t.Context(), token); why == "" && token != good {
			// The last character of base64 can have bits that mean nothing.
			if len(token) != len(good) || token[:len(token)-1] != good[:len(good)-1] {
				t.Errorf("%q is taken", token)
			}
		}
	})
}
