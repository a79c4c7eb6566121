package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// ErrPass is returned (wrapped, the text says why) for a token or certificate that cannot be.
var ErrPass = errors.New("unusable token or certificate")

// certificate is what the client of s proved to hold the key of, and what the CAs of the listener vouch for; nil when there is none.
func certificate(s *session.Session) *x509.Certificate {
	cs, ok := s.TLS()
	if !ok || !cs.HandshakeComplete || len(cs.VerifiedChains) == 0 || len(cs.VerifiedChains[0]) == 0 {
		return nil
	}
	return cs.VerifiedChains[0][0]
}

// Fingerprint reads the SHA-256 of a certificate as tools print it: 64 hexadecimal digits, with or without colons. ErrPass.
func Fingerprint(text string) (f [32]byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	if err != nil || len(b) != len(f) {
		return f, fmt.Errorf("%w: a fingerprint has %d hexadecimal digits", ErrPass, 2*len(f))
	}
	return [32]byte(b), nil
}

// AddCertificate registers the fingerprint (SHA-256 of the DER form) of a client's certificate, which then logs in to the account by EXTERNAL.
// Errors as of AddToken; fs.ErrExist also when another account has it.
func (d *Door) AddCertificate(ctx context.Context, account int64, n NewToken, fingerprint [32]byte) (*storage.Pass, error) {
	if err := d.checkPass(&n); err != nil {
		return nil, err
	}
	p, err := d.store.AddPass(ctx, storage.Pass{
		Account: account, Kind: storage.PassCertificate, Name: n.Name, Hash: fingerprint, Scopes: n.Scopes, Expires: n.Expires,
	})
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return p, nil
}

// external is the one step of EXTERNAL (RFC 4422 appendix A): the client says whom it wants to act as, or nothing.
func (e *exchange) external(response []byte) ([]byte, bool, error) {
	if e.absent(response) {
		return []byte{}, false, nil
	}
	if !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, e.malformed()
	}
	ctx, cancel := within(e.ctx, e.session)
	defer cancel()
	d, a := e.door, &e.attempt
	a.authzid = string(response)
	cert := certificate(e.session)
	if cert == nil {
		return nil, false, d.fail(e.session, *a, "no certificate")
	}
	t, reason, err := d.holder(ctx, e.session, cert, a.authzid)
	if err != nil {
		return nil, false, d.refuse(e.session, *a, err)
	}
	if t.account != nil {
		a.user, a.known = t.account.Name, true
	}
	switch {
	case reason == reasonAuthzid:
		return nil, false, d.failAuthorization(e.session, *a)
	case reason != "":
		return nil, false, d.fail(e.session, *a, reason)
	}
	if e.account, err = d.enter(ctx, e.session, *a, t); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// LoginCertificate logs s in as user if the certificate that its client showed is user's, and tells whether it did. It is for protocols in which a
// client only names itself (FTP's USER, RFC 2228 section 3) and may go on with a password: a certificate that is somebody else's, or nobody's, is no
// failed login. The errors are those of Login, for a login that was proved and yet cannot be.
func (d *Door) LoginCertificate(ctx context.Context, s *session.Session, user string) (*storage.Account, bool, error) {
	cert := certificate(s)
	if cert == nil || user == "" || !d.mayUse(mechExternal) || !d.PlaintextAllowed(s) {
		return nil, false, nil
	}
	if d.failures.of(s) >= maxFailures {
		return nil, false, ErrTooMany
	}
	ctx, cancel := within(ctx, s)
	defer cancel()
	a := attempt{mech: mechExternal, user: user, known: true}
	t, reason, err := d.holder(ctx, s, cert, user)
	if err != nil {
		return nil, false, d.refuse(s, a, err)
	}
	if reason != "" {
		d.log.LogAttrs(ctx, slog.LevelDebug, "certificate does not log in", d.attrs(s, a, slog.String("reason", reason))...)
		return nil, false, nil
	}
	account, err := d.enter(ctx, s, a, t)
	return account, err == nil, err
}

const reasonAuthzid = "authzid"

// viaIssued is what a session says that was logged in to with a certificate which names an address.
const viaIssued = "issued certificate"

// holder finds whose certificate it is: the account that its fingerprint is registered for, else those whose addresses it names. With several
// the client has to say whom it means.
func (d *Door) holder(ctx context.Context, s *session.Session, cert *x509.Certificate, authzid string) (t *target, reason string, err error) {
	t = d.newTarget(s)
	all, expired, err := d.holders(ctx, s, cert)
	if err != nil {
		return t, "", err
	}
	switch {
	case len(all) == 0 && expired != "":
		return t, expired, nil
	case len(all) == 0:
		return t, "unknown certificate", nil
	case authzid == "" && len(all) > 1:
		return t, "certificate of several accounts", nil
	}
	found := all[0]
	if authzid != "" {
		as, err := d.lookup(ctx, authzid)
		if err != nil {
			return t, "", err
		}
		found = nil
		for _, h := range all {
			if as != nil && h.account.ID == as.ID {
				found = h
			}
		}
		if found == nil {
			return t, reasonAuthzid, nil
		}
	}
	t.account, t.pass, t.via = found.account, found.pass, found.via
	t.origin.who.account = found.account.ID
	if found.account.Disabled {
		return t, "disabled", nil
	}
	return t, "", nil
}

// holders are the accounts that a certificate can log in to; reason is why one that it is registered for is not among them.
func (d *Door) holders(ctx context.Context, s *session.Session, cert *x509.Certificate) (all []*target, reason string, err error) {
	p, err := d.pass(ctx, storage.PassCertificate, sha256.Sum256(cert.Raw))
	if err != nil {
		return nil, "", err
	}
	if p != nil {
		if reason = d.refused(p, s); reason == "" {
			v := verdict{target: &target{pass: p}}
			if err := d.owner(ctx, p, &v); err != nil {
				return nil, "", err
			}
			if v.status == "" {
				all = append(all, v.target)
			}
		}
	}
	// One that is registered but limited is limited whatever it names.
	if p != nil || d.opt.PinnedOnly {
		return all, reason, nil
	}
	for i, address := range cert.EmailAddresses {
		if i == maxNames {
			break
		}
		if !strings.Contains(address, "@") { // no address, though lookup would make one of it
			continue
		}
		a, err := d.lookup(ctx, address)
		if err != nil {
			return nil, "", err
		}
		if a != nil && !slices.ContainsFunc(all, func(h *target) bool { return h.account.ID == a.ID }) {
			all = append(all, &target{account: a, via: viaIssued})
		}
	}
	return all, reason, nil
}

// maxNames is how many names of a certificate are looked at.
const maxNames = 16
