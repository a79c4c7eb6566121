package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
)

func client(t testing.TB, user, password, authzid string) *scram.Client {
	t.Helper()
	c, err := scram.SHA256.NewClient(user, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// talk runs a client's conversation against the door. errClient is what the client thinks of the server.
func (r *rig) talk(s *session.Session, mech string, c *scram.ClientConversation) (err, errClient error) {
	r.t.Helper()
	e, err := r.door.SASL(r.t.Context(), s, mech)
	if err != nil {
		return err, nil
	}
	message, errClient := c.Step("")
	for errClient == nil {
		challenge, done, err := e.Next([]byte(message))
		if err != nil {
			return err, nil
		}
		if done {
			if !c.Valid() || e.Account() == nil || s.Account().ID != e.Account().ID {
				r.t.Errorf("done; client valid %v, account %v, session's %v", c.Valid(), e.Account(), s.Account())
			}
			return nil, nil
		}
		if c.Done() {
			r.t.Fatalf("the server goes on with %q", challenge)
		}
		message, errClient = c.Step(string(challenge))
		if s.Account().ID != 0 {
			r.t.Error("logged in before the client has agreed")
		}
	}
	return nil, errClient
}

func TestScram(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	for _, c := range []struct {
		user, password, authzid string
		want                    error
	}{
		{"ann@example.test", "secret", "", nil},
		{"ann", "secret", "ann@example.test", nil},
		{"ann", "secret", "bob@example.test", ErrCredentials},
		{"ann", "wrong", "", ErrCredentials},
		{"bob", "secret", "", ErrCredentials}, // has no keys
		{"carol", "secret", "", ErrCredentials},
		{"a=b,c", "secret", "", ErrCredentials},
	} {
		r.clock.advance(time.Hour)
		err, errClient := r.talk(r.local(), "scram-sha-256", client(t, c.user, c.password, c.authzid).NewConversation())
		if !errors.Is(err, c.want) || errClient != nil {
			t.Errorf("%v: %v, client: %v", c, err, errClient)
		}
	}
	if r.hashes() != 0 {
		t.Errorf("%d passwords hashed", r.hashes())
	}
}

func TestScramDisabled(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	yes := true
	if _, err := r.store.UpdateAccount(t.Context(), ann.ID, storage.AccountChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	if err, errClient := r.talk(r.local(), "SCRAM-SHA-256", client(t, "ann", "secret", "").NewConversation()); err != ErrCredentials || errClient != nil {
		t.Error(err, errClient)
	}
}

// binding data as each side has it; the client's end point is the certificate that it was shown.
func TestScramPlus(t *testing.T) {
	sc, _ := sessiontest.TLS(t)
	leaf := sc.Certificates[0].Certificate[0]
	o := Options{Certificate: func(tls.ConnectionState) []byte { return leaf }}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, name := range []scram.ChannelBindingType{
			scram.ChannelBindingTLSExporter, scram.ChannelBindingTLSUnique, scram.ChannelBindingTLSServerEndpoint,
		} {
			t.Run(fmt.Sprint(tls.VersionName(version), " ", name), func(t *testing.T) {
				r, _ := newRig(t, o, session.Limits{})
				s, cs := r.encrypted(version)
				var b scram.ChannelBinding
				var err error
				switch name {
				case scram.ChannelBindingTLSExporter:
					b, err = scram.NewTLSExporterBinding(&cs)
				case scram.ChannelBindingTLSServerEndpoint:
					b, err = scram.NewTLSServerEndpointBinding(&cs)
				default:
					b = scram.NewTLSUniqueBinding(cs.TLSUnique)
					if version == tls.VersionTLS13 {
						b.Data = []byte("anything") // there is none
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				ann := client(t, "ann", "secret", "")
				wrong := scram.ChannelBinding{Type: name, Data: slices.Clone(b.Data)}
				wrong.Data[0] ^= 1
				if err, _ := r.talk(s, "SCRAM-SHA-256-PLUS", ann.NewConversationWithChannelBinding(wrong)); !errors.Is(err, ErrCredentials) || s.Account().ID != 0 {
					t.Errorf("another connection's binding: %v", err)
				}
				want := error(nil)
				if name == scram.ChannelBindingTLSUnique && version == tls.VersionTLS13 {
					want = ErrCredentials
				}
				err, errClient := r.talk(s, "SCRAM-SHA-256-PLUS", ann.NewConversationWithChannelBinding(b))
				if !errors.Is(err, want) || errClient != nil {
					t.Errorf("%v, client: %v", err, errClient)
				}
			})
		}
	}
}

// RFC 5802 section 6: which flag goes with what was offered.
func TestScramFlags(t *testing.T) {
	for _, c := range []struct {
		name, mech string
		tls        bool
		talk       func(*scram.Client, scram.ChannelBinding) *scram.ClientConversation
		want       error
	}{
		{"n over TLS", "SCRAM-SHA-256", true, unbound, nil},
		{"y over TLS", "SCRAM-SHA-256", true, couldBind, ErrCredentials}, // somebody took -PLUS out of the list
		{"p without -PLUS", "SCRAM-SHA-256", true, bound, ErrCredentials},
		{"n with -PLUS", "SCRAM-SHA-256-PLUS", true, unbound, ErrCredentials},
		{"y with -PLUS", "SCRAM-SHA-256-PLUS", true, couldBind, ErrCredentials},
		{"p with -PLUS", "SCRAM-SHA-256-PLUS", true, bound, nil},
		{"n in plaintext", "SCRAM-SHA-256", false, unbound, nil},
		{"y in plaintext", "SCRAM-SHA-256", false, couldBind, nil},
		{"p in plaintext", "SCRAM-SHA-256", false, bound, ErrCredentials},
		{"-PLUS in plaintext", "SCRAM-SHA-256-PLUS", false, bound, ErrMechanism},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := newRig(t, Options{}, session.Limits{})
			s, mechs := r.local(), []string{"SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"}
			b := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("x")}
			if c.tls {
				var cs tls.ConnectionState
				var err error
				s, cs = r.encrypted(tls.VersionTLS13)
				if b, err = scram.NewTLSExporterBinding(&cs); err != nil {
					t.Fatal(err)
				}
				mechs = append([]string{"SCRAM-SHA-256-PLUS"}, mechs...)
			}
			if got := r.door.Mechanisms(s); !slices.Equal(got, mechs) {
				t.Errorf("offered %v", got)
			}
			err, errClient := r.talk(s, c.mech, c.talk(client(t, "ann", "secret", ""), b))
			if !errors.Is(err, c.want) || errClient != nil {
				t.Errorf("%v, client: %v", err, errClient)
			}
		})
	}
}

// Over SMTP -PLUS is taken but not announced, and "y" is therefore the truth.
func TestScramPlusOverSMTP(t *testing.T) {
	for name, c := range map[string]struct {
		mech string
		talk func(*scram.Client, scram.ChannelBinding) *scram.ClientConversation
	}{"y": {"SCRAM-SHA-256", couldBind}, "p": {"SCRAM-SHA-256-PLUS", bound}} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRigOf(t, session.SMTP, Options{}, session.Limits{})
			s, cs := r.encrypted(tls.VersionTLS13)
			b, err := scram.NewTLSExporterBinding(&cs)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.door.Mechanisms(s); !slices.Equal(got, []string{"SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"}) {
				t.Errorf("offered %v", got)
			}
			if err, errClient := r.talk(s, c.mech, c.talk(client(t, "ann", "secret", ""), b)); err != nil || errClient != nil {
				t.Errorf("%v, client: %v", err, errClient)
			}
		})
	}
}

// Where the protocol keeps -PLUS from a client, "y" is the truth.
func TestScramPlusUnannounced(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	s, _ := r.encrypted(tls.VersionTLS13)
	for _, hidden := range [][]string{nil, {"SCRAM-SHA-256-PLUS"}} {
		e, err := r.door.SASL(t.Context(), s, "SCRAM-SHA-256", hidden...)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.Next([]byte("y,,n=ann,r=x")); (err == nil) != (hidden != nil) {
			t.Errorf("hidden %v: %v", hidden, err)
		}
	}
}

func unbound(c *scram.Client, _ scram.ChannelBinding) *scram.ClientConversation {
	return c.NewConversation()
}
func couldBind(c *scram.Client, _ scram.ChannelBinding) *scram.ClientConversation {
	return c.NewConversationAdvertisingChannelBinding()
}
func bound(c *scram.Client, b scram.ChannelBinding) *scram.ClientConversation {
	return c.NewConversationWithChannelBinding(b)
}

// The first answer must not tell who exists: salt and count of nobody look like somebody's, and stay.
func TestScramOfNobody(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	var seen []string
	for range 2 { // as after a restart
		r, _ := newRig(t, Options{Secret: secret}, session.Limits{})
		for _, user := range []string{"ann", "carol", "CAROL", "carol@EXAMPLE.test", "dave", "bob"} {
			_, challenges, _, err := r.say(r.local(), "SCRAM-SHA-256", "n,,n="+user+",r=nonce")
			if err != nil || len(challenges) != 1 {
				t.Fatalf("%s: %v, %v", user, challenges, err)
			}
			nonce, rest, _ := strings.Cut(challenges[0], ",")
			salt, count, _ := strings.Cut(rest, ",")
			if !strings.HasPrefix(nonce, "r=nonce") || len(nonce) < 30 || len(salt) != len("s=")+24 || count != fmt.Sprint("i=", scramIterations) {
				t.Errorf("%s: %q", user, challenges[0])
			}
			seen = append(seen, salt)
		}
	}
	if seen[1] != seen[2] || seen[1] != seen[3] || seen[1] == seen[4] || seen[4] == seen[5] || seen[0] == seen[1] {
		t.Errorf("salts %v", seen)
	}
	if !slices.Equal(seen[:6], seen[6:]) {
		t.Errorf("salts change with a restart: %v", seen)
	}
}

func TestScramIsThrottled(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	wrong, right := client(t, "ann", "wrong", ""), client(t, "ann", "secret", "")
	n := 0
	for ; n < 30; n++ {
		r.clock.advance(maxDelay)
		err, _ := r.talk(r.remote(fmt.Sprintf("192.0.2.%d", n)), "SCRAM-SHA-256", wrong.NewConversation())
		if err == ErrThrottled {
			break
		} else if err != ErrCredentials {
			t.Fatal(err)
		}
	}
	if n < 9 || n > 13 {
		t.Errorf("refused after %d failures", n)
	}
	if err, _ := r.talk(r.remote("198.51.100.1"), "SCRAM-SHA-256", right.NewConversation()); err != ErrThrottled {
		t.Error(err)
	}
	if err := r.login(r.remote("198.51.100.1"), "ann", "secret"); err != ErrThrottled {
		t.Errorf("not shared with Login: %v", err)
	}
	s := r.local()
	r.clock.advance(time.Hour)
	for i, want := range []error{ErrCredentials, ErrCredentials, ErrTooMany} {
		if err, _ := r.talk(s, "SCRAM-SHA-256", wrong.NewConversation()); err != want {
			t.Errorf("failure %d on a session: %v", i+1, err)
		}
	}
}

// Exchanges that were all begun before the first failure are not so many free guesses.
func TestScramBegunEarly(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	wrong := client(t, "ann", "wrong", "")
	type begun struct {
		e     Exchange
		final string
	}
	var all []begun
	for i := range 40 {
		e, err := r.door.SASL(t.Context(), r.remote(fmt.Sprintf("192.0.2.%d", i)), "SCRAM-SHA-256")
		if err != nil {
			t.Fatal(err)
		}
		c := wrong.NewConversation()
		first, _ := c.Step("")
		challenge, _, err := e.Next([]byte(first))
		if err != nil {
			t.Fatal(err)
		}
		final, err := c.Step(string(challenge))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, begun{e, final})
	}
	guesses := 0
	for _, b := range all {
		r.clock.advance(maxDelay)
		if _, _, err := b.e.Next([]byte(b.final)); err == ErrCredentials {
			guesses++
		} else if err != ErrThrottled {
			t.Fatal(err)
		}
	}
	if guesses > 20 {
		t.Errorf("%d guesses of %d", guesses, len(all))
	}
}

func TestScramMalformed(t *testing.T) {
	r, _ := newRig(t, Options{NoThrottle: true}, session.Limits{})
	for _, responses := range [][]string{
		{""}, {absent, ""}, {"n"}, {"n,,"}, {"n,,n=ann"}, {"x,,n=ann,r=x"}, {"p=,,n=ann,r=x"}, {"p=tls-unique,,n=ann,r=x"},
		{"n,,m=x,n=ann,r=x"}, {"n,,n=a=nn,r=x"}, {"n,a=b=,n=ann,r=x"}, {"n,ann,n=ann,r=x"}, {strings.Repeat("n", maxResponse+1)},
		{"n,,n=ann,r=x", ""}, {"n,,n=ann,r=x", "c=biws"}, {"n,,n=ann,r=x", "c=biws,r=x,p=AAAA"}, {"n,,n=ann,r=x", "c=eSws,r=x,p=AAAA"},
		{"n,,n=ann,r=x", strings.Repeat("x", maxResponse+1)}, {"n,,n=\xff,r=x"}, {"n,,n=a\x00b,r=x"}, {"n,,n=,r=x"}, {"n,,n=ann,r="},
		{"n,,n=ann,r=a b"}, {"n,,n=ann,r=x,m=y"}, {"n,a=,n=ann,r=x"}, {"F,n,,n=ann,r=x"}, {"p=tls exporter,,n=ann,r=x"}, {"p=tls-new,,n=ann,r=x"},
	} {
		if _, _, done, err := r.say(r.local(), "SCRAM-SHA-256", responses...); done || !errors.Is(err, ErrCredentials) {
			t.Errorf("%.40q: done %v, %v", responses, done, err)
		}
	}
}

// The dialogue is not over with the proof: the session limit and a change of the password count until the end.
func TestScramEnd(t *testing.T) {
	begin := func(r *rig, s *session.Session) Exchange {
		c := client(t, "ann", "secret", "").NewConversation()
		message, _ := c.Step("")
		e, err := r.door.SASL(t.Context(), s, "SCRAM-SHA-256")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			challenge, _, err := e.Next([]byte(message))
			if err != nil {
				t.Fatal(err)
			}
			if message, err = c.Step(string(challenge)); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
	r, ann := newRig(t, Options{}, session.Limits{PerAccount: 1})
	if _, done, err := begin(r, r.local()).Next([]byte("x")); done || !errors.Is(err, ErrCredentials) {
		t.Errorf("something where nothing was expected: %v, %v", done, err)
	}
	first, second := r.local(), r.local()
	for _, s := range []*session.Session{first, second} {
		_, done, err := begin(r, s).Next([]byte{})
		if s == first && (err != nil || !done) || s == second && (!errors.Is(err, session.ErrLimit) || done) {
			t.Errorf("%v, %v", done, err)
		}
	}
	first.Logout()
	e := begin(r, second)
	if err := r.door.SetPassword(t.Context(), ann.ID, "new"); err != nil {
		t.Fatal(err)
	}
	if _, done, err := e.Next(nil); done || !errors.Is(err, storage.ErrTemporary) || second.Account().ID != 0 {
		t.Errorf("the old password lets in: %v, %v", done, err)
	}
	if err, errClient := r.talk(r.local(), "SCRAM-SHA-256", client(t, "ann", "new", "").NewConversation()); err != nil || errClient != nil {
		t.Error(err, errClient)
	}
}

func FuzzScramFirst(f *testing.F) {
	f.Add("n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "c=biws,r=x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	f.Add("p=tls-exporter,a=b,n=u=2Cv,r=x", "c=,r=,p=")
	r, _ := newRig(f, Options{NoThrottle: true}, session.Limits{})
	s := r.local()
	f.Fuzz(func(t *testing.T, first, final string) {
		e := exchange{door: r.door, ctx: t.Context(), session: s}
		e.step = (&scramExchange{exchange: &e}).first
		for _, response := range []string{first, final, ""} {
			if _, done, err := e.Next([]byte(response)); done {
				t.Fatalf("logged in with %q and %q", first, final)
			} else if err != nil {
				return
			}
		}
	})
}
