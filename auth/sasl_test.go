package auth

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// say sends responses to a mechanism ("" is an empty response, absent is none) and returns the challenges.
func (r *rig) say(s *session.Session, mech string, responses ...string) (e Exchange, challenges []string, done bool, err error) {
	r.t.Helper()
	if e, err = r.door.SASL(r.t.Context(), s, mech); err != nil {
		return e, nil, false, err
	}
	for _, text := range responses {
		if done || err != nil {
			r.t.Fatalf("%s ended before %q", mech, text)
		}
		response := []byte(text)
		if text == absent {
			response = nil
		}
		var challenge []byte
		challenge, done, err = e.Next(response)
		if err == nil && !done {
			challenges = append(challenges, string(challenge))
		}
	}
	if done != (e.Account() != nil) || done != (s.Account().ID != 0) {
		r.t.Errorf("done %v, account %v, session's %v", done, e.Account(), s.Account())
	}
	return e, challenges, done, err
}

const absent = "(absent)"

// PLAIN (RFC 4616), and LOGIN, which is a mechanism (RFC 4422) of no RFC of its own.
func TestPlainAndLogin(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	if err := r.store.AddAlias(t.Context(), ann.ID, "info@example.test"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, mech string
		responses  []string
		challenges []string
		want       error
	}{
		{"initial response", "PLAIN", []string{"\x00ann\x00secret"}, nil, nil},
		{"none", "plain", []string{absent, "\x00ann@example.test\x00secret"}, []string{""}, nil},
		{"acting as oneself", "PLAIN", []string{"ann\x00ann\x00secret"}, nil, nil},
		{"by the full name", "PLAIN", []string{"ann@example.test\x00ann\x00secret"}, nil, nil},
		{"by an alias", "PLAIN", []string{"INFO@example.test\x00ann\x00secret"}, nil, nil},
		{"as somebody", "PLAIN", []string{"bob@example.test\x00ann\x00secret"}, nil, ErrCredentials},
		{"as nobody", "PLAIN", []string{"carol@example.test\x00ann\x00secret"}, nil, ErrCredentials},
		{"as rubbish", "PLAIN", []string{"a\nb\x00ann\x00secret"}, nil, ErrCredentials},
		{"wrong", "PLAIN", []string{"\x00ann\x00wrong"}, nil, ErrCredentials},
		{"unknown", "PLAIN", []string{"\x00carol\x00wrong"}, nil, ErrCredentials},
		{"empty", "PLAIN", []string{""}, nil, ErrCredentials},
		{"empty later", "PLAIN", []string{absent, ""}, []string{""}, ErrCredentials},
		{"no NUL", "PLAIN", []string{"ann secret"}, nil, ErrCredentials},
		{"one NUL", "PLAIN", []string{"ann\x00secret"}, nil, ErrCredentials},
		{"three NULs", "PLAIN", []string{"\x00ann\x00secret\x00"}, nil, ErrCredentials},
		{"no user", "PLAIN", []string{"\x00\x00secret"}, nil, ErrCredentials},
		{"no password", "PLAIN", []string{"\x00ann\x00"}, nil, ErrCredentials},
		{"not UTF-8", "PLAIN", []string{"\x00ann\x00\xff"}, nil, ErrCredentials},
		{"too long", "PLAIN", []string{"\x00ann\x00" + strings.Repeat("x", maxResponse)}, nil, ErrCredentials},
		{"as asked", "LOGIN", []string{absent, "ann", "secret"}, []string{"Username:", "Password:"}, nil},
		{"name at once", "LOGIN", []string{"ann", "secret"}, []string{"Password:"}, nil},
		{"wrong", "login", []string{"ann", "wrong"}, []string{"Password:"}, ErrCredentials},
		{"empty name", "LOGIN", []string{absent, "", "secret"}, []string{"Username:", "Password:"}, ErrCredentials},
		{"empty password", "LOGIN", []string{"ann", ""}, []string{"Password:"}, ErrCredentials},
		{"long name", "LOGIN", []string{strings.Repeat("x", maxResponse+1)}, nil, ErrCredentials},
		{"unknown", "CRAM-MD5", nil, nil, ErrMechanism},
		{"needs TLS", "SCRAM-SHA-256-PLUS", nil, nil, ErrMechanism},
		{"none", "", nil, nil, ErrMechanism},
	} {
		t.Run(c.mech+" "+c.name, func(t *testing.T) {
			r.clock.advance(time.Hour)
			e, challenges, done, err := r.say(r.local(), c.mech, c.responses...)
			if !errors.Is(err, c.want) || done != (c.want == nil) || !slices.Equal(challenges, c.challenges) {
				t.Errorf("%v, done %v, challenges %q", err, done, challenges)
			}
			if e == nil {
				return
			}
			if done && e.Account().ID != ann.ID {
				t.Errorf("account %v", e.Account())
			}
			if _, _, err := e.Next([]byte("\x00ann\x00secret")); !errors.Is(err, ErrCredentials) {
				t.Errorf("goes on after its end: %v", err)
			}
		})
	}
}

// The failures of all mechanisms and of Login are one number.
func TestSASLFailuresCount(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	s := r.local()
	for i, c := range []struct {
		mech, response string
		want           error
	}{{"PLAIN", "rubbish", ErrCredentials}, {"SCRAM-SHA-256", "rubbish", ErrCredentials}, {"PLAIN", "\x00ann\x00wrong", ErrTooMany}} {
		if _, _, _, err := r.say(s, c.mech, c.response); !errors.Is(err, c.want) {
			t.Errorf("failure %d: %v", i+1, err)
		}
	}
	if err := r.login(s, "ann", "secret"); err != ErrTooMany {
		t.Error(err)
	}
}

func FuzzParsePlain(f *testing.F) {
	f.Add([]byte("\x00ann\x00secret"))
	f.Add([]byte("ann\x00ann\x00secret"))
	f.Add([]byte("\x00\x00"))
	f.Add([]byte("\x00\xff\x00x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		authzid, user, password, ok := parsePlain(b)
		if !ok {
			if authzid+user+password != "" {
				t.Error("parts of what was refused")
			}
			return
		}
		if authzid+"\x00"+user+"\x00"+password != string(b) || user == "" || password == "" ||
			strings.Contains(authzid+user+password, "\x00") {
			t.Errorf("%q is %q, %q, %q", b, authzid, user, password)
		}
	})
}
