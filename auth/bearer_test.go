package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// oauthBearer and xoauth2 are what clients of these mechanisms send.
func oauthBearer(authzid, token string) string {
	if authzid != "" {
		authzid = "a=" + authzid
	}
	return "n," + authzid + ",\x01host=localhost\x01port=143\x01auth=Bearer " + token + "\x01\x01"
}

func xoauth2(user, token string) string {
	return "user=" + user + "\x01auth=Bearer " + token + "\x01\x01"
}

// token makes one for an account.
func (r *rig) token(account int64, name string, scopes ...string) string {
	r.t.Helper()
	text, _, err := r.door.AddToken(r.t.Context(), account, NewToken{Name: name, Scopes: scopes, Expires: r.clock.now().Add(24 * time.Hour)})
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

func TestTokenIsShownOnce(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	text := r.token(ann.ID, "phone", "imap")
	if !isToken(text) || len(text) != 56 || text == r.token(ann.ID, "laptop") {
		t.Errorf("token %q", text)
	}
	all, err := r.store.Passes(t.Context(), ann.ID, storage.PassToken)
	if err != nil || len(all) != 2 || all[0].Hash != tokenHash(text) {
		t.Error(all, err)
	}
	if strings.Contains(r.log.String(), text[4:]) {
		t.Error("the token is in the log")
	}
	for _, n := range []NewToken{{}, {Name: "x", Scopes: []string{"pop3"}}, {Name: "x", Expires: r.clock.now()}} {
		if _, _, err := r.door.AddToken(t.Context(), ann.ID, n); !errors.Is(err, storage.ErrInvalid) && !errors.Is(err, ErrPass) {
			t.Errorf("%v: %v", n, err)
		}
	}
}

func TestBearer(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	bob := accountOf(t, r, "bob")
	good, smtp, gone, bobs := r.token(ann.ID, "good", "imap", "ftp"), r.token(ann.ID, "smtp", "smtp"), r.token(ann.ID, "gone"), r.token(bob.ID, "phone")
	if _, err := r.door.RemovePass(t.Context(), ann.ID, storage.PassToken, "gone"); err != nil {
		t.Fatal(err)
	}
	other := makeToken()
	for _, c := range []struct {
		name, mech string
		responses  []string
		status     string // of the challenge; "" none
		want       error
	}{
		{"right", "OAUTHBEARER", []string{oauthBearer("ann@example.test", good)}, "", nil},
		{"no name", "oauthbearer", []string{oauthBearer("", good)}, "", nil},
		{"asked for", "OAUTHBEARER", []string{absent, oauthBearer("", good)}, "", nil},
		{"y", "OAUTHBEARER", []string{"y,,\x01auth=bEaReR " + good + "\x01\x01"}, "", nil},
		{"unknown keys", "OAUTHBEARER", []string{"n,,\x01mthd=POST\x01auth=Bearer " + good + "\x01qs=\x01\x01"}, "", nil},
		{"as another", "OAUTHBEARER", []string{oauthBearer("bob@example.test", good), "\x01"}, invalidToken, ErrAuthorization},
		{"unknown", "OAUTHBEARER", []string{oauthBearer("ann@example.test", other), "\x01"}, invalidToken, ErrCredentials},
		{"not of ours", "OAUTHBEARER", []string{oauthBearer("", "eyJhbGciOiJub25lIn0.e30."), "\x01"}, invalidToken, ErrCredentials},
		{"revoked", "OAUTHBEARER", []string{oauthBearer("", gone), "\x01"}, invalidToken, ErrCredentials},
		{"scope", "OAUTHBEARER", []string{oauthBearer("", smtp), "\x01"}, insufficientScope, ErrCredentials},
		{"discovery", "OAUTHBEARER", []string{"n,a=ann@example.test,\x01auth=\x01\x01", "\x01"}, invalidToken, ErrCredentials},
		{"another scheme", "OAUTHBEARER", []string{"n,,\x01auth=Basic YTpi\x01\x01", "\x01"}, invalidToken, ErrCredentials},
		{"right", "XOAUTH2", []string{xoauth2("ann@example.test", good)}, "", nil},
		{"local part", "XOAUTH2", []string{xoauth2("ann", good)}, "", nil},
		{"asked for", "XOAUTH2", []string{absent, xoauth2("ann", good)}, "", nil},
		{"of bob", "XOAUTH2", []string{xoauth2("ann", bobs), ""}, "400", ErrAuthorization},
		{"unknown", "XOAUTH2", []string{xoauth2("ann", other), ""}, "400", ErrCredentials},
		{"as password", "PLAIN", []string{"\x00ann\x00" + good}, "", nil},
		{"as password, scope", "PLAIN", []string{"\x00ann\x00" + smtp}, "", ErrCredentials},
		{"as password, revoked", "PLAIN", []string{"\x00ann\x00" + gone}, "", ErrCredentials},
		{"as password, of bob", "PLAIN", []string{"\x00ann\x00" + bobs}, "", ErrCredentials},
	} {
		t.Run(c.mech+" "+c.name, func(t *testing.T) {
			r.clock.advance(time.Hour)
			s := r.local()
			e, challenges, done, err := r.say(s, c.mech, c.responses...)
			if !errors.Is(err, c.want) || done != (c.want == nil) {
				t.Errorf("%v, done %v, challenges %q", err, done, challenges)
			}
			if done && (e.Account().ID != ann.ID || s.Account().Via != "token good") {
				t.Errorf("account %v, session's %v", e.Account(), s.Account())
			}
			if c.responses[0] == absent {
				challenges = challenges[1:]
			}
			if c.status == "" {
				if len(challenges) != 0 {
					t.Errorf("challenges %q", challenges)
				}
				return
			}
			var fault map[string]string
			if len(challenges) != 1 || json.Unmarshal([]byte(challenges[0]), &fault) != nil || fault["status"] != c.status || fault["scope"] != "imap" {
				t.Errorf("challenges %q", challenges)
			}
		})
	}
	if strings.Contains(r.log.String(), tokenPrefix) {
		t.Error("a token is in the log")
	}
}

func TestBearerParser(t *testing.T) {
	for _, c := range []struct {
		in   string
		want bearerResponse
		ok   bool
	}{
		{"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01", // RFC 7628 section 4.1
			bearerResponse{"user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="}, true},
		{"n,a=a=2Cb=3D,\x01auth=Bearer x\x01\x01", bearerResponse{"a,b=", "x"}, true},
		{"n,,\x01auth=Bearer  x \x01\x01", bearerResponse{"", "x"}, true},
		{"\x01", bearerResponse{}, false},
		{"", bearerResponse{}, false},
		{"n,,", bearerResponse{}, false},
		{"n,,\x01\x01", bearerResponse{}, false},
		{"n,,\x01auth=Bearer x\x01", bearerResponse{}, false},
		{"n,,\x01auth=Bearer x", bearerResponse{}, false},
		{"n,,\x01auth=Bearer x\x01\x01y", bearerResponse{}, false},
		{"n,,auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"p=tls-exporter,,\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"z,,\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,b=x,\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,a=,\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,a=a\x00b,\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,a=\xff,\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,,\x01auth=Bearer \x01\x01", bearerResponse{}, false},
		{"n,,\x01auth=Bearer\x01\x01", bearerResponse{}, false},
		{"n,,\x01auth=Bearer a b\x01\x01", bearerResponse{}, false},
		{"n,,\x01auth=Bearer a=b\x01\x01", bearerResponse{}, false},
		{"n,,\x01auth=Bearer \xc3\xa4\x01\x01", bearerResponse{}, false},
		{"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", bearerResponse{}, false},
		{"n,,\x01x1=y\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,,\x01=y\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,,\x01x\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,,\x01x=\x00\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,,\x01port=0\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,,\x01port=0143\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
		{"n,,\x01port=65536\x01auth=Bearer x\x01\x01", bearerResponse{}, false},
	} {
		if got, ok := parseBearer([]byte(c.in)); ok != c.ok || got != c.want {
			t.Errorf("%q: %+v, %v", c.in, got, ok)
		}
	}
	for in, ok := range map[string]bool{
		"user=a@b.c\x01auth=Bearer x\x01\x01": true, "user=ä@b.c\x01auth=Bearer x\x01\x01": true, "user=\x01auth=Bearer x\x01\x01": false,
		"auth=Bearer x\x01\x01": false, "user=a\x01\x01": false, "user=a\x01auth=Bearer x\x01": false, "user=a\x00\x01auth=Bearer x\x01\x01": false,
	} {
		if got, is := parseXOAuth2([]byte(in)); is != ok {
			t.Errorf("%q: %+v, %v", in, got, is)
		}
	}
}

// Bad tokens are throttled as passwords are; the same one again is not counted, and a right one is let in all the same.
func TestBadTokensAreThrottled(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	good, old := r.token(ann.ID, "good"), makeToken()
	bad := func(from, token string) error {
		_, _, _, err := r.say(r.remote(from), "OAUTHBEARER", oauthBearer("ann", token), "\x01")
		return err
	}
	for range 30 {
		r.clock.advance(maxDelay)
		if err := bad("192.0.2.1", old); err != ErrCredentials {
			t.Fatal(err)
		}
	}
	n := 0
	for ; n < 40; n++ {
		r.clock.advance(maxDelay)
		e, err := r.door.SASL(t.Context(), r.remote(fmt.Sprintf("192.0.2.%d", n)), "OAUTHBEARER")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = e.Next([]byte(oauthBearer("ann", makeToken()))); errors.Is(err, ErrThrottled) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n < 9 || n > 15 {
		t.Errorf("refused after %d failures", n)
	}
	if err := r.login(r.remote("198.51.100.1"), "ann", "secret"); err != ErrThrottled {
		t.Errorf("not shared with Login: %v", err)
	}
	if _, _, done, err := r.say(r.remote("198.51.100.2"), "OAUTHBEARER", oauthBearer("ann", good)); !done || err != nil {
		t.Error("a right token is refused:", err)
	}
	if err := r.login(r.remote("198.51.100.3"), "ann", good); err != nil {
		t.Error("a right app password is refused:", err)
	}
	s := r.local()
	for i, want := range []error{ErrCredentials, ErrCredentials, ErrTooMany} {
		if _, _, _, err := r.say(s, "XOAUTH2", xoauth2("bob", old), ""); !errors.Is(err, want) {
			t.Errorf("failure %d on a session: %v", i+1, err)
		}
	}
	if _, err := r.door.SASL(t.Context(), s, "OAUTHBEARER"); err != ErrTooMany {
		t.Error(err)
	}
}

func TestTokenExpires(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	good := r.token(ann.ID, "phone")
	r.clock.advance(24*time.Hour - time.Second)
	if err := r.login(r.local(), "ann", good); err != nil {
		t.Error(err)
	}
	r.clock.advance(time.Second)
	for range 30 { // a forgotten client neither costs hashes nor locks its owner out
		if err := r.login(r.local(), "ann", good); err != ErrCredentials {
			t.Fatal(err)
		}
	}
	if r.hashes() != 0 {
		t.Errorf("%d passwords hashed", r.hashes())
	}
	if err := r.login(r.local(), "ann", "secret"); err != nil {
		t.Error(err)
	}
	if _, _, _, err := r.say(r.local(), "OAUTHBEARER", oauthBearer("", good), "\x01"); !errors.Is(err, ErrCredentials) {
		t.Error(err)
	}
}

// A revoked token ends its own sessions, and no others.
func TestRevokeEndsSessions(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	phone, laptop := r.token(ann.ID, "phone"), r.token(ann.ID, "laptop")
	sessions := map[string]*session.Session{phone: r.local(), laptop: r.local(), "secret": r.local()}
	for password, s := range sessions {
		if err := r.login(s, "ann", password); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.door.RemovePass(t.Context(), ann.ID, storage.PassToken, "phone"); err != nil {
		t.Fatal(err)
	}
	if err := sessions[phone].Ending(); !errors.Is(err, session.ErrPass) {
		t.Error(err)
	}
	if sessions[laptop].Ending() != nil || sessions["secret"].Ending() != nil {
		t.Error("others end with it")
	}
	r.door.Revoke(ann.ID, session.ErrDisabled)
	if err := sessions[laptop].Ending(); !errors.Is(err, session.ErrDisabled) {
		t.Error(err)
	}
	// One that was proved but has not entered yet is not let in.
	v, err := r.door.judge(t.Context(), r.local(), laptop)
	if err != nil || v.status != "" {
		t.Fatal(v, err)
	}
	if _, err := r.door.RemovePass(t.Context(), ann.ID, storage.PassToken, "laptop"); err != nil {
		t.Fatal(err)
	}
	s := r.local()
	if _, err := r.door.enter(t.Context(), s, attempt{}, v.target); !errors.Is(err, storage.ErrTemporary) || s.Account().ID != 0 {
		t.Errorf("let in: %v", err)
	}
}

func TestDisabledAndTokens(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	good, yes := r.token(ann.ID, "phone"), true
	if _, err := r.store.UpdateAccount(t.Context(), ann.ID, storage.AccountChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	if err := r.login(r.local(), "ann", good); err != ErrCredentials {
		t.Error(err)
	}
	if _, _, _, err := r.say(r.local(), "OAUTHBEARER", oauthBearer("", good), "\x01"); !errors.Is(err, ErrCredentials) {
		t.Error(err)
	}
}

// Mechanisms that are withheld are neither announced nor taken.
func TestMechanismsWithheld(t *testing.T) {
	r, ann := newRig(t, Options{Mechanisms: []string{"SCRAM-SHA-256", "OAUTHBEARER"}}, session.Limits{})
	s := r.local()
	if got := r.door.Mechanisms(s); !slices.Equal(got, []string{"SCRAM-SHA-256", "OAUTHBEARER"}) || r.door.PasswordAllowed(s) {
		t.Error(got)
	}
	for _, m := range []string{"PLAIN", "LOGIN", "XOAUTH2", "EXTERNAL", "SCRAM-SHA-256-PLUS"} {
		if _, err := r.door.SASL(t.Context(), s, m); err != ErrMechanism {
			t.Errorf("%s: %v", m, err)
		}
	}
	if _, _, done, err := r.say(s, "OAUTHBEARER", oauthBearer("", r.token(ann.ID, "x"))); !done {
		t.Error(err)
	}
	r, _ = newRig(t, Options{Plaintext: PlaintextNever}, session.Limits{})
	if _, err := r.door.SASL(t.Context(), r.local(), "OAUTHBEARER"); err != ErrPlaintext || r.door.Mechanisms(r.local()) != nil {
		t.Error("a token may be sent without TLS:", err)
	}
}

func FuzzParseBearer(f *testing.F) {
	f.Add([]byte(oauthBearer("ann@example.test", "x")))
	f.Add([]byte(xoauth2("ann", "x")))
	f.Add([]byte("n,,\x01auth=\x01\x01"))
	f.Add([]byte("\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (bearerResponse, bool){parseBearer, parseXOAuth2} {
			r, ok := parse(b)
			if !ok && r.token != "" {
				t.Errorf("%q: a token of what was refused", b)
			}
			if strings.ContainsAny(r.token, "\x00\x01 \r\n") || strings.Contains(r.authzid, "\x00") || !strings.Contains(string(b), r.token) {
				t.Errorf("%q is %+v", b, r)
			}
		}
	})
}

func FuzzParseGS2(f *testing.F) {
	f.Add([]byte("n,,n=user,r=x"))
	f.Add([]byte("p=tls-exporter,a=b=2Cc=3D,rest"))
	f.Add([]byte("y,a==,"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, rest, ok := parseGS2(b)
		if !ok {
			return
		}
		again := string(h.flag)
		if h.flag == 'p' {
			again += "=" + h.binding
		}
		again += ","
		if h.authzid != "" {
			again += "a=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(h.authzid)
		}
		if again += "," + string(rest); again != string(b) {
			t.Errorf("%q is %+v and %q", b, h, rest)
		}
		isScramFirst(b)
	})
}
