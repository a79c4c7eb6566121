package auth

import (
	"errors"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// Guests come in without TLS and without a proof, never as somebody who could change something, and never into an account that is disabled or not there.
func TestAnonymous(t *testing.T) {
	r, ann := newRig(t, Options{Plaintext: PlaintextNever}, session.Limits{PerAccount: 3})
	s := r.session("192.0.2.1")
	a, err := r.door.Anonymous(t.Context(), s, "ann", 1)
	if err != nil || a.ID != ann.ID {
		t.Fatal(a, err)
	}
	if i := s.Info(); i.Account != AnonymousName || i.Via != AnonymousName || i.AccountID != ann.ID || !s.Account().Guest {
		t.Errorf("%+v", i)
	}
	for range maxFailures + 1 { // no failures are counted
		if _, err := r.door.Anonymous(t.Context(), r.session("192.0.2.1"), "ann", 1); !errors.Is(err, session.ErrLimit) {
			t.Error(err)
		}
	}
	other := r.session("192.0.2.1")
	for range maxFailures + 1 {
		if _, err := r.door.Anonymous(t.Context(), other, "nobody", 0); !errors.Is(err, ErrCredentials) || errors.Is(err, ErrTooMany) {
			t.Error(err)
		}
	}
	r.door.Revoke(ann.ID, session.ErrDisabled)
	if !errors.Is(s.Ending(), session.ErrDisabled) {
		t.Error("a guest outlives the account's sessions")
	}
	disabled := true
	if _, err := r.store.UpdateAccount(t.Context(), ann.ID, storage.AccountChange{Disabled: &disabled}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.door.Anonymous(t.Context(), other, "ann", 0); !errors.Is(err, ErrCredentials) {
		t.Error(err)
	}
	if text := r.log.String(); !strings.Contains(text, "disabled") || !strings.Contains(text, "unknown user") {
		t.Error(text)
	}
}
