package managesieve

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type faults struct{ t testing.TB }

func (f faults) Write(p []byte) (int, error) {
	f.t.Errorf("logged: %s", p)
	return len(p), nil
}

// play runs a script against a server with the account ann@example.test, password "secret".
func play(t *testing.T, policy auth.Plaintext, script string) {
	t.Helper()
	registry := sessiontest.New(t, session.Options{Grace: time.Second})
	store := storagetest.New(t)
	credentials, err := auth.Credentials("secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.CreateAccount(t.Context(), storage.NewAccount{Name: "ann@example.test", Credentials: credentials}); err != nil {
		t.Fatal(err)
	}
	door := auth.New(store, registry, auth.Options{Plaintext: policy, NoThrottle: true})
	server, client := sessiontest.TLS(t)
	s := New(store, door, Options{TLS: server, Limits: storage.SieveLimits{Scripts: 3, Size: 300}, Logger: slog.New(slog.NewTextHandler(faults{t}, &slog.HandlerOptions{Level: slog.LevelError}))})
	addr := sessiontest.Serve(t, registry, session.ListenerOptions{Name: "managesieve", Protocol: session.Sieve, Refusal: Refusal, LoginTimeout: -1}, s.Serve)
	plain := base64.StdEncoding.EncodeToString([]byte("\x00ann@example.test\x00secret"))
	script = strings.ReplaceAll(script, "(ann)", plain)
	sessiontest.Play(t, script, sessiontest.Env{
		Dial: map[string]func(context.Context) (net.Conn, error){"m": sessiontest.TCP(addr)}, TLS: client, Registry: registry,
		Do: map[string]func(testing.TB, ...string){"drain": func(t testing.TB, _ ...string) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			done := make(chan struct{})
			go func() { defer close(done); _ = registry.Drain(ctx) }()
			t.Cleanup(func() { cancel(); <-done })
		}},
	})
}

const greeting = `
	a = m
	a< "IMPLEMENTATION" "packetboat*"
	a< "VERSION" "1.0"
	a< "SASL" *
	a< "SIEVE" "body *"
	a< "MAXREDIRECTS" "5"
	a< "STARTTLS"
	a< OK *
`

const login = greeting + `
	a> AUTHENTICATE "PLAIN" "(ann)"
	a< OK *
`

func TestDialogues(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy auth.Plaintext
		script string
	}{
		{"a client that leaves within a login is no error of ours", auth.PlaintextAlways, greeting + `
			a> AUTHENTICATE "PLAIN"
			a< ""
			a close
		`},
		{"a response that is too large is refused, and the next command is understood", auth.PlaintextAlways, greeting + `
			a> AUTHENTICATE "PLAIN"
			a< ""
			a> {30000+}
			a> ` + strings.Repeat("A", 30000) + `
			a< NO "a response is larger than *"
			a> NOOP
			a< OK *
		`},
		{"what cannot be read within a login ends the session", auth.PlaintextAlways, greeting + `
			a> AUTHENTICATE "PLAIN"
			a< ""
			a> ` + strings.Repeat("x", 60000) + `
			a< BYE *
		`},
		{"TLS comes first where passwords must not go in clear (RFC 5804 section 2.1)", auth.PlaintextNever, greeting + `
			a> AUTHENTICATE "PLAIN" "(ann)"
			a< NO (ENCRYPT-NEEDED) *
			a> LISTSCRIPTS
			a< NO "authenticate first"
			a> starttls
			a< OK *
			a starttls
			a< "IMPLEMENTATION" *
			a<< OK *
			a> STARTTLS
			a< NO *
			a> authenticate "plain" "(ann)"
			a< OK *
			a session account=ann@example.test protocol=sieve
			a> CAPABILITY
			a< "IMPLEMENTATION" *
			a< "VERSION" "1.0"
			a< "SASL" *
			a< "SIEVE" *
			a< "MAXREDIRECTS" *
			a< "OWNER" "ann@example.test"
			a< "UNAUTHENTICATE"
			a< OK
			a> UNAUTHENTICATE
			a< OK *
			a> LISTSCRIPTS
			a< NO *
			a> LOGOUT
			a< OK *
			a< EOF
		`},
		{"logins that fail (section 2.1)", auth.PlaintextAlways, greeting + `
			a> AUTHENTICATE "PLAIN"
			a< ""
			a> "*"
			a< NO *cancelled*
			a> AUTHENTICATE "PLAIN"
			a< ""
			a> "!!!"
			a< NO *base64*
			a> AUTHENTICATE "NONE"
			a< NO *
			a> AUTHENTICATE "PLAIN" "AGEAYg=="
			a< NO *
			a> AUTHENTICATE "PLAIN"
			a< ""
			a> "(ann)"
			a< OK *
			a> AUTHENTICATE "PLAIN"
			a< NO *
		`},
		{"scripts (sections 2.5 to 2.12)", auth.PlaintextAlways, login + `
			a> HAVESPACE "one" 300
			a< OK *
			a> HAVESPACE "one" 301
			a< NO (QUOTA/MAXSIZE) *
			a> PUTSCRIPT "one" "keep;"
			a< OK *
			a> PUTSCRIPT "bad" "frobnicate;"
			a< NO "line 1: *"
			a> CHECKSCRIPT "discard;"
			a< OK *
			a> CHECKSCRIPT "x"
			a< NO *
			a> putscript "two \"q\"" {10+}
			a> discard;
			a> 
			a< OK *
			a> PUTSCRIPT "three" "stop;"
			a< OK *
			a> PUTSCRIPT "four" "stop;"
			a< NO (QUOTA/MAXSCRIPTS) *
			a> HAVESPACE "four" 1
			a< NO (QUOTA/MAXSCRIPTS) *
			a> SETACTIVE "none"
			a< NO (NONEXISTENT) *
			a> SETACTIVE "one"
			a< OK *
			a> LISTSCRIPTS
			a< "one" ACTIVE
			a< "three"
			a< "two \"q\""
			a< OK *
			a> DELETESCRIPT "one"
			a< NO (ACTIVE) *
			a> RENAMESCRIPT "one" "three"
			a< NO (ALREADYEXISTS) *
			a> RENAMESCRIPT "none" "x"
			a< NO (NONEXISTENT) *
			a> RENAMESCRIPT "one" "uno"
			a< OK *
			a> GETSCRIPT "uno"
			a< {5}
			a< keep;
			a< OK *
			a> GETSCRIPT "one"
			a< NO (NONEXISTENT) *
			a> SETACTIVE ""
			a< OK *
			a> DELETESCRIPT "uno"
			a< OK *
			a> LISTSCRIPTS
			a< "three"
			a< "two \"q\""
			a< OK *
		`},
		{"what is wrong and what is too large (section 4)", auth.PlaintextAlways, login + `
			a> FROB
			a< NO *
			a> NOOP
			a< OK *
			a> NOOP "x y"
			a< OK (TAG "x y") *
			a> PUTSCRIPT "a"
			a< NO *
			a> PUTSCRIPT 3 "a"
			a< NO *
			a> PUTSCRIPT a b
			a< NO *
			a> PUTSCRIPT "a" "b
			a< NO *
			a> HAVESPACE "a" "3"
			a< NO *
			a> PUTSCRIPT "a" {3}
			a< NO *
			a> PUTSCRIPT "a" {320+}
			a> ` + strings.Repeat("#", 320) + `
			a< NO (QUOTA/MAXSIZE) *
			a> NOOP
			a< OK *
			a> PUTSCRIPT "a" {99999999+}
			a< BYE *
			a< EOF
		`},
		{"too many errors", auth.PlaintextAlways, login + strings.Repeat("a> FROB\na< NO *\n", maxFaults-1) + "a> FROB\na< BYE *\na< EOF\n"},
		{"drain", auth.PlaintextAlways, login + "! drain\na< BYE (TRYLATER) *\na< EOF\n"},
	} {
		t.Run(c.name, func(t *testing.T) { play(t, c.policy, c.script) })
	}
}

// pieces is a connection on which bytes come in pieces.
type pieces struct {
	net.Conn
	text string
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, net.ErrClosed
	}
	n := copy(b, p.text[:min(p.n, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

// FuzzReader: whatever the pieces, the same commands are read.
func FuzzReader(f *testing.F) {
	f.Add("PUTSCRIPT \"a\" {3+}\r\nabc\r\nNOOP\r\n", 1)
	f.Add("A \"\\\"\" 12 {0+}\r\n {2+}\r\nxy\r\n", 3)
	f.Fuzz(func(t *testing.T, text string, n int) {
		read := func(n int) (all []string) {
			r := reader{conn: &pieces{text: text, n: n}}
			for {
				name, args, err := r.command(100)
				all = append(all, fmt.Sprint(name, args, err))
				if _, wrong := err.(syntaxError); err != nil && !wrong && err != errTooLong {
					return all
				}
			}
		}
		whole, parts := read(1<<20), read(max(1, n&31))
		if fmt.Sprint(whole) != fmt.Sprint(parts) {
			t.Fatalf("%q\n%q", whole, parts)
		}
	})
}

func FuzzQuote(f *testing.F) {
	f.Add("a\"b\\c")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n\x00") || len(s) > 1024 {
			return
		}
		a, rest, err := quotedOrNumber(string(quote(s)))
		if err == nil && (a.text != s || rest != "") {
			t.Fatalf("%q became %q", s, a.text)
		}
	})
}
