package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// A token of our own issuing is "pbt_" and 52 small letters and digits, which are 256 random bits. That much cannot be guessed, so a
// plain hash is enough to keep it by, and a right one is taken whatever the throttle says of guesses at passwords.
const (
	tokenPrefix = "pbt_"
	tokenBytes  = 32
	tokenLength = len(tokenPrefix) + 52
)

var tokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Scopes are what a token or certificate can be limited to: the protocols, by the names that sessions have for them.
var Scopes = []string{string(session.IMAP), string(session.SMTP), string(session.FTP), string(session.Sieve)}

// NewToken is what AddToken needs.
type NewToken struct {
	Name    string    // for its owner, unique in the account
	Scopes  []string  // of Scopes; none: all of them
	Expires time.Time // the zero time: never
}

func makeToken() string { return tokenPrefix + tokenText.EncodeToString(randomBytes(tokenBytes)) }

// isToken tells whether text has the form of one of ours.
func isToken(text string) bool {
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	return ok && len(text) == tokenLength && !strings.ContainsFunc(rest, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '2' || r > '7')
	})
}

func tokenHash(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// AddToken makes a token for an account. The text is the only copy that there ever is: the store keeps a hash. ErrPass for a
// scope or an end that cannot be; storage.ErrInvalid, fs.ErrExist, storage.ErrLimit and fs.ErrNotExist as storage.AddPass has them.
func (d *Door) AddToken(ctx context.Context, account int64, n NewToken) (text string, p *storage.Pass, err error) {
	if err := d.checkPass(&n); err != nil {
		return "", nil, err
	}
	text = makeToken()
	p, err = d.store.AddPass(ctx, storage.Pass{
		Account: account, Kind: storage.PassToken, Name: n.Name, Hash: tokenHash(text), Scopes: n.Scopes, Expires: n.Expires,
	})
	if err != nil {
		return "", nil, fmt.Errorf("auth: %w", err)
	}
	return text, p, nil
}

// checkPass refuses what cannot be. No scopes become all that there are today, so that a protocol which comes later is not among them.
func (d *Door) checkPass(n *NewToken) error {
	if len(n.Scopes) == 0 {
		n.Scopes = Scopes
	}
	for _, s := range n.Scopes {
		if !slices.Contains(Scopes, s) {
			return fmt.Errorf("auth: %w: scope %q is none of %s", ErrPass, s, strings.Join(Scopes, ", "))
		}
	}
	if !n.Expires.IsZero() && !n.Expires.After(d.opt.Now()) {
		return fmt.Errorf("auth: %w: the end is in the past", ErrPass)
	}
	return nil
}

// RemovePass revokes a token or takes a certificate away from an account. The sessions that were logged in to with it end at once
// (session.ErrPass), also those that are just logging in. fs.ErrNotExist.
func (d *Door) RemovePass(ctx context.Context, account int64, kind storage.PassKind, name string) (*storage.Pass, error) {
	p, err := d.store.RemovePass(ctx, account, kind, name)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	d.gen.Add(1) // before the sessions: as in Revoke
	for _, s := range d.reg.Of(account) {
		if s.Account().Via == via(p) {
			s.Kill(session.ErrPass)
		}
	}
	return p, nil
}

// via is what a session says it was logged in to with.
func via(p *storage.Pass) string { return string(p.Kind) + " " + p.Name }

// pass finds what has this hash; nil when there is none.
func (d *Door) pass(ctx context.Context, kind storage.PassKind, hash [32]byte) (*storage.Pass, error) {
	p, err := d.store.PassByHash(ctx, kind, hash)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("auth: find %s: %w", kind, err)
	case subtle.ConstantTimeCompare(p.Hash[:], hash[:]) != 1:
		return nil, nil
	}
	return p, nil
}

// refused tells why a pass that was found is not good for s now; "" when it is.
func (d *Door) refused(p *storage.Pass, s *session.Session) string {
	switch {
	case p.ExpiredAt(d.opt.Now()):
		return string(p.Kind) + " expired"
	case !p.Covers(string(s.Protocol())):
		return reasonScope
	default:
		return ""
	}
}

const reasonScope = "scope"

// appPassword tries a password as one of t's own tokens. A token that is not t's is a wrong password like any other, and left to prove; one that
// is, but is over or for something else, is known to no guesser: it fails (reason) without being counted by the throttle.
func (d *Door) appPassword(ctx context.Context, s *session.Session, t *target, password string) (right bool, reason string, err error) {
	if !isToken(password) || !t.usable() {
		return false, "", nil
	}
	p, err := d.pass(ctx, storage.PassToken, tokenHash(password))
	if err != nil || p == nil || p.Account != t.account.ID {
		return false, "", err
	}
	if reason = d.refused(p, s); reason != "" {
		return false, reason, nil
	}
	t.pass = p
	return true, "", nil
}
