package auth

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// AnonymousName is whose a guest's session is said to be, and what proved it.
const AnonymousName = "anonymous"

// Anonymous lets s in as a guest of the named account, where the administrator said so: nothing is proved, and nothing the guest says is looked at. Guests have a limit of their
// own on sessions at a time (0: the registry's per account), end with the account's sessions when it is disabled, removed or has its credentials
// changed, and neither fail nor are throttled. ErrCredentials when there is no such account or it is disabled.
func (d *Door) Anonymous(ctx context.Context, s *session.Session, account string, limit int) (*storage.Account, error) {
	ctx, cancel := within(ctx, s)
	defer cancel()
	a := attempt{mech: AnonymousName, user: account, known: true}
	t := d.newTarget(s)
	var err error
	t.account, err = d.lookup(ctx, account)
	if err == nil && !t.usable() {
		err = fmt.Errorf("%w: no account for the anonymous (%s)", ErrCredentials, t.reason())
	}
	if err == nil {
		err = d.join(ctx, s, session.Account{ID: t.account.ID, Name: AnonymousName, Limit: limit, Via: AnonymousName, Guest: true}, t)
	}
	if err != nil {
		return nil, d.refuse(s, a, err)
	}
	d.log.LogAttrs(ctx, slog.LevelDebug, "logged in", d.attrs(s, a, slog.String("account", t.account.Name))...)
	return t.account, nil
}

// join makes s a session of t's account, unless the account was changed since it was found.
func (d *Door) join(ctx context.Context, s *session.Session, as session.Account, t *target) error {
	if err := s.Login(as); err != nil {
		return err
	}
	// A Revoke between find and here found no session of this account to kill.
	if d.gen.Load() != t.gen {
		now, err := d.store.Account(ctx, t.account.ID)
		if err != nil || now.Disabled || now.Epoch != t.account.Epoch {
			s.Logout()
			return fmt.Errorf("auth: %w: the credentials were just changed", storage.ErrTemporary)
		}
	}
	return nil
}
