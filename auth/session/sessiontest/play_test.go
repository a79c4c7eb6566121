package sessiontest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// echo is a small protocol: a greeting, STARTTLS, LOGIN, QUIT, MUTE (says nothing), LF (a bad line ending); anything
// else comes back with OK before it.
func echo(ctx context.Context, ln net.Listener, config *tls.Config) error {
	var clients sync.WaitGroup
	defer clients.Wait()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		clients.Go(func() { talk(ctx, c, config) })
	}
}

func talk(ctx context.Context, c net.Conn, config *tls.Config) {
	s := session.From(c)
	defer func() { c.Close() }()
	fmt.Fprint(c, "220 hello\r\n")
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				fmt.Fprintf(c, "421 %v\r\n", s.Ending())
			}
			return
		}
		s.Begin(strings.TrimSpace(line))
		switch line = strings.TrimSpace(line); line {
		case "STARTTLS":
			fmt.Fprint(c, "220 go\r\n")
			t, err := session.Handshake(ctx, c, config)
			if err != nil {
				return
			}
			c, in = t, bufio.NewReader(t)
		case "LOGIN":
			s.Login(session.Account{ID: 1, Name: "ann"})
			fmt.Fprint(c, "230 in\r\n")
		case "QUIT":
			fmt.Fprint(c, "221-one\r\n221 two\r\n")
			return
		case "MUTE":
		case "LF":
			fmt.Fprint(c, "250 bare\n")
		default:
			fmt.Fprintf(c, "OK %s\r\n", line)
		}
		s.Done()
	}
}

func echoEnv(t *testing.T) Env {
	r := New(t, session.Options{})
	server, client := TLS(t)
	addr := Serve(t, r, session.ListenerOptions{Name: "echo", Protocol: session.SMTP},
		func(ctx context.Context, ln net.Listener) error { return echo(ctx, ln, server) })
	var said []string
	return Env{
		Dial: map[string]func(context.Context) (net.Conn, error){"echo": TCP(addr)},
		Do: map[string]func(testing.TB, ...string){
			"say":  func(_ testing.TB, args ...string) { said = append(said, args...) },
			"said": func(t testing.TB, args ...string) { compare(t, said, args) },
		},
		TLS:      client,
		Registry: r,
	}
}

func compare(t testing.TB, got, want []string) {
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("said %q, want %q", got, want)
	}
}

func TestPlayFiles(t *testing.T) { PlayFiles(t, "testdata/*.txt", echoEnv) }

// failing is a testing.TB that takes down what a failing script says.
type failing struct {
	testing.TB
	failed bool
	out    strings.Builder
}

func (f *failing) Helper()      {}
func (f *failing) Failed() bool { return f.failed }
func (f *failing) Logf(format string, args ...any) {
	fmt.Fprintf(&f.out, format+"\n", args...)
}
func (f *failing) Fatalf(format string, args ...any) {
	f.failed = true
	f.Logf(format, args...)
	runtime.Goexit()
}
func (f *failing) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

func TestPlayFails(t *testing.T) {
	env := echoEnv(t)
	for _, test := range []struct{ name, script, want string }{
		{"mismatch", "a = echo\na< 221 *", `script line 2: a< 221 *` + "\n\t" + `got "220 hello"`},
		{"transcript", "a = echo\na< *\na> X\na< Y", "   2  a< 220 hello\n   3  a> X\n   4  a< OK X"},
		{"no eof", "a = echo\na< *\na> X\na< EOF", `got "OK X"`},
		{"eof", "a = echo\na<< 221 two\na< *", "no connection a"},
		{"end of stream", "a = echo\na> QUIT\na<< nothing like it", "   3  a< 221 two\n   3  a< EOF"},
		{"bare LF", "a = echo\na< *\na> LF\na< 250 *", "bare LF"},
		{"not quiet", "a = echo\na< *\na> X\na<~ 2000", `"OK X\r\n" came`},
		{"in time", "timeout 1\na = echo\na< *\na> MUTE\na< *", "nothing came in time"},
		{"bytes", "a = echo\na<- \"220-hello\"", `got "220 hello"`},
		{"still open", "timeout 1\na = echo\na< *\na< CLOSED", "still open"},
		{"kind", "a = imap", `no "imap"`},
		{"hook", "! nobody", "has no such name; it has [said say]"},
		{"hook fails", "! say x\n! said y", "   2  ! said y"},
		{"statement", "\n\n  a ? b", `script line 3: not a statement: "a ? b"`},
		{"block", "a> <<END\nx", "script line 1: no END"},
		{"session", "timeout 1\na = echo\na session state=busy", `state is "connected"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "eof" {
				test.script = strings.Replace(test.script, "a = echo\n", "", 1)
			}
			f := &failing{TB: t}
			env := env
			env.Vars = nil
			done := make(chan struct{})
			go func() {
				defer close(done)
				Play(f, test.script, env)
			}()
			<-done
			if !f.failed || !strings.Contains(f.out.String(), test.want) {
				t.Errorf("failed %v with\n%s\nwant %q", f.failed, f.out.String(), test.want)
			}
		})
	}
}

func TestPattern(t *testing.T) {
	vars := map[string]string{"port": "2121", "star": "*"}
	for _, test := range []struct {
		pattern, line string
		want          bool
	}{
		{"* 1 EXISTS", "* 1 EXISTS", true},
		{`\* 1 EXISTS`, "x 1 EXISTS", false},
		{"a1 OK *", "a1 OK", false},
		{"a1 OK*", "a1 OK", true},
		{"229 *(|||{p}|)*", "229 ok (|||30001|).", true},
		{"* FETCH (BODY[] {5}", "* 1 FETCH (BODY[] {5}", true},
		{"port $port.", "port 2121.", true},
		{"port ${port}0", "port 21210", true},
		{"$star", "anything", false},
		{"$star", "*", true},
		{`\$port $Forwarded`, "$port $Forwarded", true},
		{"", "", true},
		{"", "x", false},
		{"*\xff*", "a\xffb", true},
		{"*\xff*", "a\xfeb", false},
		{"\u00e4*", "\u00e4rger", true},
	} {
		re, err := pattern(test.pattern, vars)
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
			continue
		}
		if got := re.MatchString(wide(test.line)); got != test.want {
			t.Errorf("%q matches %q: %v", test.pattern, test.line, got)
		}
	}
}

func TestFields(t *testing.T) {
	got, err := fields(` a  "b c" d="e\tf" g`)
	if err != nil || strings.Join(got, "|") != "a|b c|d=e\tf|g" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := fields(`a "b`); err == nil {
		t.Error("open quotes are accepted")
	}
}

func TestOverTLS(t *testing.T) {
	r := New(t, session.Options{})
	server, client := TLS(t)
	addr := Serve(t, r, session.ListenerOptions{Protocol: session.IMAP}, func(_ context.Context, ln net.Listener) error {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		tc, err := session.Handshake(t.Context(), c, server)
		if err != nil {
			return err
		}
		defer tc.Close()
		if session.From(tc) != session.From(c) || session.FromAddr(tc.RemoteAddr()) != session.From(c) {
			t.Error("no session through TLS")
		}
		if cs, ok := session.From(tc).TLS(); !ok || cs.Version != tls.VersionTLS13 {
			t.Errorf("TLS state %v, %v", cs.Version, ok)
		}
		_, err = io.WriteString(tc, "* OK hello\r\n")
		return err
	})
	Play(t, "a = imaps\na< * OK *\na< EOF\n", Env{Dial: map[string]func(context.Context) (net.Conn, error){"imaps": OverTLS(addr, client)}})
}

func TestLeaksAreFound(t *testing.T) {
	f := &leaking{TB: t}
	r := New(f, session.Options{Grace: time.Millisecond})
	ln := Listen(f, r, session.ListenerOptions{Protocol: session.FTP})
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := ln.Accept(); err != nil {
		t.Fatal(err)
	}
	r.List()
	stop := make(chan struct{})
	defer close(stop)
	go func() { <-stop }()
	f.clean()
	if !strings.Contains(f.out.String(), "goroutines are left") || !strings.Contains(f.out.String(), "session open at the end") {
		t.Errorf("found: %s", f.out.String())
	}
}

// leaking is a testing.TB whose cleanups run on demand.
type leaking struct {
	testing.TB
	cleanups []func()
	out      strings.Builder
}

func (l *leaking) Cleanup(f func())                  { l.cleanups = append(l.cleanups, f) }
func (l *leaking) Errorf(format string, args ...any) { fmt.Fprintf(&l.out, format+"\n", args...) }
func (l *leaking) Logf(format string, args ...any)   { fmt.Fprintf(&l.out, format+"\n", args...) }
func (l *leaking) clean() {
	for _, f := range l.cleanups {
		defer f()
	}
}
