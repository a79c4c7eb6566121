package auth

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// The mechanisms, by their registered names.
const (
	mechScramPlus = "SCRAM-SHA-256-PLUS" // RFC 7677
	mechScram     = "SCRAM-SHA-256"      // RFC 7677
	mechBearer    = "OAUTHBEARER"        // RFC 7628
	mechXOAuth2   = "XOAUTH2"            // what there was before it, by Google
	mechExternal  = "EXTERNAL"           // RFC 4422 appendix A
	mechPlain     = "PLAIN"              // RFC 4616
	mechLogin     = "LOGIN"              // draft-murchison-sasl-login
)

// AllMechanisms are the SASL mechanisms (RFC 4422) that there are, strongest first.
var AllMechanisms = []string{mechExternal, mechScramPlus, mechScram, mechBearer, mechXOAuth2, mechPlain, mechLogin}

// maxResponse is how long a response of the client may be, decoded, in bytes: more than a line of SMTP can carry (RFC 4954 section 4:
// 12,288), as some issuers' tokens are of several kilobytes.
const maxResponse = 12 << 10

// Mechanisms are the SASL mechanisms that s may use now, strongest first: EXTERNAL where the client showed a certificate that was verified,
// SCRAM-SHA-256-PLUS with TLS (taken but not announced over SMTP), the others always; none without TLS where the policy forbids it,
// and none that the options withhold.
func (d *Door) Mechanisms(s *session.Session) []string {
	if !d.PlaintextAllowed(s) {
		return nil
	}
	var all []string
	for _, m := range AllMechanisms {
		if d.offers(s, m) && (m != mechScramPlus || d.announcesPlus(s)) {
			all = append(all, m)
		}
	}
	return all
}

// offers tells whether s can use mechanism m as it is now.
func (d *Door) offers(s *session.Session, m string) bool {
	switch m {
	case mechScramPlus:
		return d.mayUse(m) && d.canBind(s)
	case mechExternal:
		return d.mayUse(m) && certificate(s) != nil
	}
	return d.mayUse(m)
}

// mayUse tells whether m is a mechanism, and not withheld.
func (d *Door) mayUse(m string) bool {
	return slices.Contains(AllMechanisms, m) && (d.opt.Mechanisms == nil || slices.Contains(d.opt.Mechanisms, m))
}

// announcesPlus tells whether clients are told of SCRAM-SHA-256-PLUS. Over SMTP they are not: mutt and neomutt with GNU SASL before 2.0
// pick it from the list, find that they have no tls-exporter data, and give up without trying another, so that no mail goes out.
func (d *Door) announcesPlus(s *session.Session) bool {
	return s.Protocol() != session.SMTP && d.offers(s, mechScramPlus)
}

// SASL starts mechanism mech (case-insensitive) for s; ErrMechanism, ErrPlaintext, ErrTooMany. The exchange takes nil for an initial
// response that is absent. unannounced are mechanisms that the protocol does not tell this client of, though Mechanisms has them. A response that is no message of the mechanism, or over 12 KiB, is a failed login. One goroutine at a time may use it.
func (d *Door) SASL(ctx context.Context, s *session.Session, mech string, unannounced ...string) (Exchange, error) {
	if !d.PlaintextAllowed(s) {
		return nil, ErrPlaintext
	}
	if d.failures.of(s) >= maxFailures {
		return nil, ErrTooMany
	}
	e := &exchange{door: d, ctx: ctx, session: s, attempt: attempt{mech: strings.ToUpper(mech)}}
	if !d.offers(s, e.attempt.mech) {
		return nil, ErrMechanism
	}
	switch e.attempt.mech {
	case mechPlain:
		e.step = e.plain
	case mechLogin:
		e.step = e.loginUser
	case mechScramPlus:
		e.step = (&scramExchange{exchange: e, plus: true}).first
	case mechScram:
		e.step = (&scramExchange{exchange: e, told: d.announcesPlus(s) && !slices.Contains(unannounced, mechScramPlus)}).first
	case mechBearer:
		e.step = (&bearerExchange{exchange: e, parse: parseBearer}).first
	case mechXOAuth2:
		e.step = (&bearerExchange{exchange: e, parse: parseXOAuth2}).first
	case mechExternal:
		e.step = e.external
	}
	return e, nil
}

// exchange is a SASL dialogue: each step takes a response and sets the next one.
type exchange struct {
	door    *Door
	ctx     context.Context // of the command that the dialogue belongs to
	session *session.Session
	attempt attempt
	asked   bool // something was sent to the client, so that it is its turn
	step    func(response []byte) (challenge []byte, done bool, err error)
	account *storage.Account // set with done
}

// Account is who logged in, nil before.
func (e *exchange) Account() *storage.Account { return e.account }

// Next takes a response of the client.
func (e *exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	if e.step == nil {
		return nil, true, fmt.Errorf("%w: the exchange is over", ErrCredentials)
	}
	if len(response) > maxResponse {
		err = e.malformed()
	} else {
		challenge, done, err = e.step(response)
	}
	if done || err != nil {
		e.step = nil
		e.attempt.password = ""
	}
	e.asked = true
	return challenge, done, err
}

// absent tells whether the client sent no initial response, so that it has to be asked for one.
//
// RFC 4422 section 3: an initial response that is empty is not one that is absent.
func (e *exchange) absent(response []byte) bool { return response == nil && !e.asked }

// malformed answers a response that is no message of the mechanism.
func (e *exchange) malformed() error {
	if err := e.door.fail(e.session, e.attempt, "malformed response"); err != ErrCredentials {
		return err
	}
	return fmt.Errorf("%w: malformed response", ErrCredentials)
}

// password ends a dialogue that has brought user and password.
func (e *exchange) password() ([]byte, bool, error) {
	a, err := e.door.login(e.ctx, e.session, e.attempt)
	if err != nil {
		return nil, false, err
	}
	e.account = a
	return nil, true, nil
}

func (e *exchange) plain(response []byte) ([]byte, bool, error) {
	if e.absent(response) {
		return []byte{}, false, nil
	}
	authzid, user, password, ok := parsePlain(response)
	e.attempt.authzid, e.attempt.user, e.attempt.password = authzid, user, password
	if !ok {
		return nil, false, e.malformed()
	}
	return e.password()
}

// parsePlain reads authzid NUL authcid NUL passwd.
//
// RFC 4616 section 2: UTF-8, exactly two NULs, authcid and passwd not empty.
func parsePlain(b []byte) (authzid, user, password string, ok bool) {
	part := bytes.Split(b, []byte{0})
	if len(part) != 3 || len(part[1]) == 0 || len(part[2]) == 0 || !utf8.Valid(b) {
		return "", "", "", false
	}
	return string(part[0]), string(part[1]), string(part[2]), true
}

// loginUser and loginPassword are the two steps of LOGIN. The prompts are the ones that clients in use
// expect rather than those of the draft; an initial response is taken as the user name.
func (e *exchange) loginUser(response []byte) ([]byte, bool, error) {
	if e.absent(response) {
		return []byte("Username:"), false, nil
	}
	e.attempt.user = string(response)
	e.step = e.loginPassword
	return []byte("Password:"), false, nil
}

func (e *exchange) loginPassword(response []byte) ([]byte, bool, error) {
	e.attempt.password = string(response)
	return e.password()
}
