package session

import (
	"errors"
	"strings"
	"testing"
)

// Guests of an account are counted apart, so that neither keeps the other out, and end with it.
func TestGuests(t *testing.T) {
	r := New(Options{Limits: Limits{PerAccount: 2}})
	ln := listen(t, r, ListenerOptions{Protocol: FTP})
	login := func(a Account) error {
		c, client := dial(t, ln)
		client.Close() // so that a killed one does not linger
		return c.Session().Login(a)
	}
	guest, ann := Account{ID: 5, Name: "anonymous", Limit: 1, Via: "anonymous", Guest: true}, Account{ID: 5, Name: "ann"}
	if err := login(guest); err != nil {
		t.Fatal(err)
	}
	if err := login(guest); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "ftp.anonymous_sessions") {
		t.Errorf("a second guest: %v", err)
	}
	for range 2 {
		if err := login(ann); err != nil {
			t.Errorf("a guest keeps the account out: %v", err)
		}
	}
	if err := login(ann); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "limits.per_account") {
		t.Errorf("a third session: %v", err)
	}
	if len(r.Of(5)) != 3 || r.KillAccount(5, ErrDisabled) != 3 {
		t.Error("guests are not the account's")
	}
}
