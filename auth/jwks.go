package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/packetboat/packetboat/storage"
)

const (
	fetchTime   = 10 * time.Second // for the issuer's configuration and keys together
	fetchBytes  = 1 << 20          // of each
	maxKeys     = 100              // of the issuer that are kept
	keysFresh   = time.Hour        // then they are asked for again: one that was taken back must not stay
	keysStale   = 24 * time.Hour   // while the issuer does not answer
	retryGood   = 30 * time.Second // the least between two fetches,
	retryFailed = 5 * time.Second  // and after one that failed, as long as there are no keys at all
)

// keySet are the public keys of an issuer. They are fetched when a token comes and they are old, or when it names a key that is not
// known, which anybody can have a token do: so seldom, and one fetch at a time for all who wait.
type keySet struct {
	o      OIDC
	now    func() time.Time
	log    *slog.Logger
	client *http.Client
	turn   chan struct{} // capacity 1: held by whoever fetches

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when keys were
	tried   time.Time // when the last fetch ended
	failed  bool      // it did not succeed
}

func newKeySet(o OIDC, now func() time.Time, log *slog.Logger) *keySet {
	transport := o.HTTP
	if transport == nil {
		// An hour between two requests: a connection is not kept.
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, DisableKeepAlives: true,
			TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 5 * time.Second, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		}
	}
	return &keySet{
		o: o, now: now, log: log, turn: make(chan struct{}, 1),
		client: &http.Client{Transport: bounded{transport}, Timeout: fetchTime, CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 || r.URL.Scheme != via[0].URL.Scheme {
				return http.ErrUseLastResponse
			}
			return nil
		}},
	}
}

// bounded lets no body be longer than fetchBytes.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, fetchBytes), resp.Body}
	}
	return resp, err
}

// once is the key set for one verification, of which it notes how it went: the verifier keeps that to itself.
type once struct {
	keys     *keySet
	err      error // there are no keys now
	unknown  bool  // the token's key is none of the issuer's
	verified bool  // the signature is right
}

// VerifySignature implements oidc.KeySet.
func (o *once) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	var allowed []jose.SignatureAlgorithm
	for _, a := range algorithms {
		allowed = append(allowed, jose.SignatureAlgorithm(a))
	}
	signed, err := jose.ParseSignedCompact(token, allowed)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errors.New("malformed token")
	}
	id := signed.Signatures[0].Header.KeyID
	keys, err := o.keys.named(ctx, id)
	if err != nil {
		o.err = err
		return nil, err
	}
	o.unknown = len(keys) == 0
	for _, k := range keys {
		if payload, err := signed.Verify(k); err == nil {
			o.verified = true
			return payload, nil
		}
	}
	return nil, errors.New("no key fits")
}

// named are the keys of that id; a token that names none may be of any.
func (s *keySet) named(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	found, due, err := s.look(id)
	if !due {
		return found, err
	}
	if len(found) > 0 { // old keys are good enough for all but one who looks for new ones
		select {
		case s.turn <- struct{}{}:
		default:
			return found, nil
		}
	} else if err := s.wait(ctx); err != nil {
		return nil, err
	}
	defer func() { <-s.turn }()
	if found, due, err = s.look(id); !due { // somebody else fetched them meanwhile
		return found, err
	}
	s.renew(ctx)
	found, _, err = s.look(id)
	return found, err
}

// wait takes the turn.
func (s *keySet) wait(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("auth: waiting for the keys of the issuer: %w", context.Cause(ctx))
	}
}

// renew fetches the keys. The caller has the turn.
func (s *keySet) renew(ctx context.Context) {
	// Not given up when the client leaves: others wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	keys, fault := s.fetch(ctx)
	s.mu.Lock()
	s.tried, s.failed = s.now(), fault != nil
	if fault == nil {
		s.keys, s.fetched = keys, s.tried
	}
	s.mu.Unlock()
	if fault != nil {
		s.log.Warn("keys of the token issuer cannot be fetched", "issuer", s.o.Issuer, "error", fault)
	}
}

// look finds keys among those that are known; due tells that they should be fetched before that is believed.
func (s *keySet) look(id string) (found []jose.JSONWebKey, due bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	age := now.Sub(s.fetched)
	for _, k := range s.keys {
		if age < keysStale && (id == "" || k.KeyID == id) {
			found = append(found, k)
		}
	}
	wait := retryGood
	if s.failed && len(found) == 0 {
		wait = retryFailed
	}
	due = (len(found) == 0 || age >= keysFresh) && (s.tried.IsZero() || now.Sub(s.tried) >= wait)
	if len(found) == 0 && (age >= keysStale || s.failed) {
		err = fmt.Errorf("auth: %w: the issuer of the tokens does not answer", storage.ErrTemporary)
	}
	return found, due, err
}

// fetch asks the issuer where its keys are (OpenID Connect Discovery) and for the keys (RFC 7517).
func (s *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, s.client), s.o.Issuer)
	if err != nil {
		return nil, clip(err)
	}
	var where struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&where); err != nil {
		return nil, clip(err)
	}
	from, err := url.Parse(where.Keys)
	if err != nil || !secure(from) {
		return nil, fmt.Errorf("jwks_uri %.200q is not https", where.Keys)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, where.Keys, nil)
	if err != nil {
		return nil, clip(err)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, clip(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("keys: status %d", resp.StatusCode)
	}
	return readKeys(resp.Body)
}

// readKeys reads a key set. What is no public key for signatures, or of a kind that is not known, is passed over (RFC 7517 section 5).
func readKeys(r io.Reader) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(r).Decode(&set); err != nil {
		return nil, fmt.Errorf("keys: %w", clip(err))
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &k) != nil || !k.IsPublic() || !k.Valid() || k.Use != "" && k.Use != "sig" {
			continue
		}
		if len(keys) == maxKeys {
			break
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("keys: none that can be used")
	}
	return keys, nil
}

// clip cuts an error that may quote what a peer sent.
func clip(err error) error { return fmt.Errorf("%.300q", err.Error()) }
