package auth

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// The mechanisms, by their registered names.
const (
	mechScramPlus = "SCRAM-SHA-256-PLUS" // RFC 7677
	mechScram     = "SCRAM-SHA-256"      // RFC 7677
	mechPlain     = "PLAIN"              // RFC 4616
	mechLogin     = "LOGIN"              // draft-murchison-sasl-login
)

// maxResponse is how long a response of the client may be, decoded, in bytes.
const maxResponse = 8192

// Mechanisms are the SASL mechanisms (RFC 4422) that s may use now, strongest first:
// SCRAM-SHA-256-PLUS (TLS only; taken but not announced over SMTP), SCRAM-SHA-256, PLAIN, LOGIN; none without TLS where the policy forbids it.
func (d *Door) Mechanisms(s *session.Session) []string {
	if !d.PlaintextAllowed(s) {
		return nil
	}
	all := []string{mechScramPlus, mechScram, mechPlain, mechLogin}
	if !d.announcesPlus(s) {
		return all[1:]
	}
	return all
}

// announcesPlus tells whether clients are told of SCRAM-SHA-256-PLUS. Over SMTP they are not: mutt and neomutt with GNU SASL before 2.0
// pick it from the list, find that they have no tls-exporter data, and give up without trying another, so that no mail goes out.
func (d *Door) announcesPlus(s *session.Session) bool {
	return s.Protocol() != session.SMTP && d.canBind(s)
}

// SASL starts mechanism mech (case-insensitive) for s; ErrMechanism, ErrPlaintext, ErrTooMany. The exchange takes nil for an initial
// response that is absent. A response that is no message of the mechanism, or over 8 KiB, is a failed login. One goroutine at a time may use it.
func (d *Door) SASL(ctx context.Context, s *session.Session, mech string) (Exchange, error) {
	if !d.PlaintextAllowed(s) {
		return nil, ErrPlaintext
	}
	if d.failures.of(s) >= maxFailures {
		return nil, ErrTooMany
	}
	e := exchange{door: d, ctx: ctx, session: s, attempt: attempt{mech: strings.ToUpper(mech)}}
	switch e.attempt.mech {
	case mechPlain:
		e.step = e.plain
	case mechLogin:
		e.step = e.loginUser
	case mechScramPlus:
		if !d.canBind(s) {
			return nil, ErrMechanism
		}
		e.step = (&scramExchange{exchange: &e, plus: true}).first
	case mechScram:
		e.step = (&scramExchange{exchange: &e}).first
	default:
		return nil, ErrMechanism
	}
	return &e, nil
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
