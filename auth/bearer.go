package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// The words of RFC 6750 section 3.1 for a token that is not taken.
const (
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// bearerResponse is the one message of a client with a bearer token.
type bearerResponse struct {
	authzid string // whom to act as; "" means whoever the token is of
	token   string // "" when the client has none and asks what kind it needs (RFC 7628 section 4.3)
}

const kvsep = '\x01'

// parseBearer reads the message of OAUTHBEARER.
//
// RFC 7628 section 3.1:
//
//	client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep
//	kvpair      = key "=" value kvsep
//
// The lone kvsep is the answer to a failure and no first message. There is no channel binding (flag "p"). host and port are checked for their form
// alone: the server does not know by which names and forwarded ports it is reached, and TLS has told the client whom it talks to.
func parseBearer(b []byte) (r bearerResponse, ok bool) {
	h, rest, ok := parseGS2(b)
	if !ok || h.flag == 'p' || len(rest) == 0 || rest[0] != kvsep {
		return bearerResponse{}, false
	}
	pairs, ok := parsePairs(rest[1:])
	if !ok {
		return bearerResponse{}, false
	}
	if port, has := pairs["port"]; has {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return bearerResponse{}, false
		}
	}
	auth, has := pairs["auth"]
	if !has {
		return bearerResponse{}, false
	}
	token, ok := parseAuthorization(auth)
	return bearerResponse{authzid: h.authzid, token: token}, ok
}

// parseXOAuth2 reads the message of XOAUTH2, "user=" name kvsep "auth=Bearer " token kvsep kvsep.
func parseXOAuth2(b []byte) (r bearerResponse, ok bool) {
	pairs, ok := parsePairs(b)
	if !ok || pairs["user"] == "" {
		return bearerResponse{}, false
	}
	auth, has := pairs["auth"]
	if !has {
		return bearerResponse{}, false
	}
	token, ok := parseAuthorization(auth)
	return bearerResponse{authzid: pairs["user"], token: token}, ok
}

// parsePairs reads *kvpair kvsep. Keys that mean nothing to us are passed over, as RFC 7628 section 3.1 demands; one that does may come once.
func parsePairs(b []byte) (map[string]string, bool) {
	pairs := map[string]string{}
	for {
		pair, rest, ok := bytes.Cut(b, []byte{kvsep})
		if !ok {
			return nil, false
		}
		if len(pair) == 0 {
			return pairs, len(rest) == 0
		}
		key, value, ok := bytes.Cut(pair, []byte{'='})
		if !ok || !isKey(key) || !isValue(value, string(key) == "user") {
			return nil, false
		}
		switch k := string(key); k {
		case "auth", "host", "port", "user":
			if _, twice := pairs[k]; twice {
				return nil, false
			}
			pairs[k] = string(value)
		}
		b = rest
	}
}

// isKey: key = 1*ALPHA.
func isKey(b []byte) bool {
	for _, c := range b {
		if !isAlpha(c) {
			return false
		}
	}
	return len(b) > 0
}

// isValue: value = *(VCHAR / SP / HTAB / CR / LF); a name may have more than ASCII.
func isValue(b []byte, name bool) bool {
	for _, c := range b {
		if (c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f || c >= 0x80 && !name {
			return false
		}
	}
	return true
}

// parseAuthorization reads what HTTP has as its Authorization field: "Bearer" in any case, and a token (RFC 6750 section 2.1). An empty
// one and one of another scheme have no token.
func parseAuthorization(v string) (token string, ok bool) {
	scheme, token, found := strings.Cut(v, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", !strings.EqualFold(scheme, "Bearer")
	}
	token = strings.Trim(token, " ")
	body := strings.TrimRight(token, "=")
	if body == "" || strings.ContainsFunc(body, func(r rune) bool {
		return r >= 0x80 || !isAlpha(byte(r)) && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	}) {
		return "", false
	}
	return token, true
}

// verdict is what is found of a bearer token.
type verdict struct {
	target *target
	status string // "" when the token is good, else what the client is told
	reason string // for the log
	guess  bool   // it may be one: the throttle counts it
}

// judge looks at a token: one of ours, or one of the issuer's. An error says that nothing can be said now.
func (d *Door) judge(ctx context.Context, s *session.Session, token string) (v verdict, err error) {
	v.target = d.newTarget(s)
	switch {
	case token == "":
		v.status, v.reason = invalidToken, "no token"
		return v, nil
	case isToken(token):
		err = d.judgeOwn(ctx, s, token, &v)
	case d.issuer != nil:
		err = d.judgeIssued(ctx, token, &v)
	default:
		v.status, v.reason, v.guess = invalidToken, "unknown token", true
	}
	if err != nil || v.status != "" {
		return v, err
	}
	v.target.origin.who.account = v.target.account.ID
	if v.target.account.Disabled {
		v.status, v.reason = invalidToken, "disabled"
	}
	return v, nil
}

func (d *Door) judgeOwn(ctx context.Context, s *session.Session, token string, v *verdict) error {
	p, err := d.pass(ctx, storage.PassToken, tokenHash(token))
	if err != nil {
		return err
	}
	if p == nil {
		v.status, v.reason, v.guess = invalidToken, "unknown token", true
		return nil
	}
	if v.reason = d.refused(p, s); v.reason == reasonScope {
		v.status = insufficientScope
	} else if v.reason != "" {
		v.status = invalidToken
	}
	v.target.pass = p
	return d.owner(ctx, p, v)
}

// owner reads whose pass it is.
func (d *Door) owner(ctx context.Context, p *storage.Pass, v *verdict) (err error) {
	v.target.account, err = d.store.Account(ctx, p.Account)
	if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
		v.status, v.reason = invalidToken, "unknown user"
		return nil
	}
	return err
}

func (d *Door) judgeIssued(ctx context.Context, token string, v *verdict) error {
	name, why, err := d.issuer.verify(ctx, token)
	if err != nil {
		return err
	}
	v.target.via = viaIssuer
	switch why {
	case "":
	case reasonScope:
		v.status, v.reason = insufficientScope, why
		return nil
	default:
		v.status, v.reason, v.guess = invalidToken, why, why == reasonSignature
		return nil
	}
	account, err := d.lookup(ctx, name)
	if err != nil {
		return err
	}
	if account == nil {
		v.status, v.reason = invalidToken, "unknown user"
	}
	v.target.account = account
	return nil
}

// bearerExchange is the server's side of OAUTHBEARER (RFC 7628) and XOAUTH2:
//
//	first: the token ──► done
//	                └──► the error as JSON ──► last: anything ──► failed
type bearerExchange struct {
	*exchange
	parse func([]byte) (bearerResponse, bool)
	err   error // what the exchange ends with after its JSON was sent
}

func (e *bearerExchange) first(response []byte) ([]byte, bool, error) {
	if e.absent(response) {
		return []byte{}, false, nil
	}
	r, ok := e.parse(response)
	if !ok {
		return nil, false, e.malformed()
	}
	ctx, cancel := within(e.ctx, e.session)
	defer cancel()
	d, a := e.door, &e.attempt
	a.user, a.authzid = r.authzid, r.authzid
	v, err := d.judge(ctx, e.session, r.token)
	if err != nil {
		return nil, false, d.refuse(e.session, *a, err)
	}
	if v.target.account != nil {
		a.user, a.known = v.target.account.Name, true
	}
	if v.status != "" {
		return e.refuse(ctx, v, r.token)
	}
	if ok, err := d.mayActAs(ctx, v.target.account, *a); err != nil {
		return nil, false, d.refuse(e.session, *a, err)
	} else if !ok {
		e.err = d.failAuthorization(e.session, *a)
		return e.tell(invalidToken)
	}
	if e.account, err = d.enter(ctx, e.session, *a, v.target); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// refuse counts a bad token. What may be a guess waits for the throttle like a wrong password, for the account that it was for; the same one
// again is not counted again.
func (e *bearerExchange) refuse(ctx context.Context, v verdict, token string) ([]byte, bool, error) {
	d := e.door
	if v.guess && !d.opt.NoThrottle {
		t, err := d.find(ctx, e.session, e.attempt.authzid)
		if err == nil {
			if e.attempt.authzid == "" {
				t.origin.who.name = t.origin.from.String()
			}
			_, err = d.wait(ctx, t)
		}
		if err != nil {
			return nil, false, d.refuse(e.session, e.attempt, err)
		}
		e.attempt.known = t.account != nil
		if k := d.cache.wrongKey(t.origin.who, t.epoch(), t.origin.from, token); !d.cache.isWrong(k) {
			d.cache.setWrong(k)
			d.throttle.fail(t.origin)
		}
	}
	e.err = d.fail(e.session, e.attempt, v.reason)
	return e.tell(v.status)
}

// tell sends the error; the client answers with something that says nothing, and the exchange fails.
//
// RFC 7628 section 3.2.2: status, a scope that would do, and where the issuer's configuration is. XOAUTH2 has the status of HTTP.
func (e *bearerExchange) tell(status string) ([]byte, bool, error) {
	fault := struct {
		Status  string `json:"status"`
		Schemes string `json:"schemes,omitempty"`
		Scope   string `json:"scope,omitempty"`
		Config  string `json:"openid-configuration,omitempty"`
	}{Status: status, Scope: string(e.session.Protocol())}
	if i := e.door.issuer; i != nil {
		fault.Scope, fault.Config = i.o.Scope, i.configuration()
	}
	if e.attempt.mech == mechXOAuth2 {
		fault.Status, fault.Schemes, fault.Config = "400", "Bearer", ""
	}
	text, err := json.Marshal(fault)
	if err != nil {
		return nil, false, err
	}
	e.step = e.last
	return text, false, nil
}

// RFC 7628 section 3.2.3: the client sends a kvsep (XOAUTH2: nothing); the failure follows.
func (e *bearerExchange) last([]byte) ([]byte, bool, error) { return nil, false, e.err }
