package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is one session on loopback: the server's end and the client's.
func pair(t *testing.T, r *Registry, o ListenerOptions) (*Conn, net.Conn) {
	t.Helper()
	ln := listen(t, r, o)
	return dial(t, ln)
}

func listen(t *testing.T, r *Registry, o ListenerOptions) net.Listener {
	t.Helper()
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := r.Listen(below, o)
	t.Cleanup(func() { ln.Close() })
	return ln
}

func dial(t *testing.T, ln net.Listener) (*Conn, net.Conn) {
	t.Helper()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	client.SetDeadline(time.Now().Add(10 * time.Second))
	return server.(*Conn), client
}

// oneListener accepts the server's ends of pipes, for tests in which time is not the wall's.
type oneListener chan net.Conn

func (l oneListener) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l oneListener) Close() error   { close(l); return nil }
func (l oneListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// pipe is one session over net.Pipe.
func pipe(t *testing.T, r *Registry, o ListenerOptions) (*Conn, net.Conn) {
	t.Helper()
	below := make(oneListener, 1)
	client, server := net.Pipe()
	below <- server
	ln := r.Listen(below, o)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); client.Close() })
	return c.(*Conn), client
}

func TestLife(t *testing.T) {
	ended := make(chan Info, 1)
	r := New(Options{History: func(i Info) { ended <- i }})
	c, client := pair(t, r, ListenerOptions{Name: "imap", Protocol: IMAP})
	s := c.Session()
	if From(c) != s || FromAddr(c.RemoteAddr()) != s || From(client) != nil {
		t.Error("From does not find the session")
	}
	if got := c.RemoteAddr().String(); got != client.LocalAddr().String() {
		t.Errorf("remote address %q, want %q", got, client.LocalAddr())
	}
	state := func(want State) {
		t.Helper()
		if got := s.Info().State; got != want {
			t.Errorf("state %q, want %q", got, want)
		}
	}
	state(Connected)
	fmt.Fprint(client, "a1 LOGIN\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "a1 LOGIN\r\n" {
		t.Fatalf("read %q, %v", line, err)
	}
	s.Begin("LOGIN")
	state(Busy)
	if err := s.Login(Account{ID: 7, Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	if len(r.Of(7)) != 1 || len(r.Of(8)) != 0 {
		t.Error("Of does not find the account's session")
	}
	s.Done()
	state(Authenticated)
	s.Begin("SELECT INBOX")
	s.Open("INBOX")
	s.Done()
	state(Idle)
	s.SetClient("Thunder\x1bbird")
	io.WriteString(c, "a1 OK\r\n")
	s.SetEnd("logout")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	r.Wait()
	i := <-ended
	if i.State != Ended || i.EndReason != "logout" || i.BytesIn != 10 || i.BytesOut != 7 || i.Commands != 2 ||
		i.Account != "ann" || i.Open != "INBOX" || i.Client != "Thunder?bird" || i.Activity != "SELECT INBOX" || i.Ended.IsZero() {
		t.Errorf("history %+v", i)
	}
	if len(r.List()) != 0 || len(r.Of(7)) != 0 {
		t.Error("an ended session is in the list")
	}
	if !errors.Is(context.Cause(s.Context()), ErrClosed) {
		t.Errorf("cause %v", context.Cause(s.Context()))
	}
}

func TestKill(t *testing.T) {
	r := New(Options{})
	c, client := pair(t, r, ListenerOptions{Protocol: SMTP})
	s := c.Session()
	read := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		if errors.Is(err, os.ErrDeadlineExceeded) && s.Ending() != nil {
			io.WriteString(c, "421 4.3.2 bye\r\n")
		}
		c.Close()
		read <- err
	}()
	s.Kill(fmt.Errorf("%w: by joe", ErrKilled))
	s.Kill(ErrIdle) // the first cause stays
	goodbye, err := io.ReadAll(client)
	if err != nil || string(goodbye) != "421 4.3.2 bye\r\n" {
		t.Errorf("the client read %q, %v", goodbye, err)
	}
	client.Close()
	var timeout net.Error
	if err := <-read; !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("Read: %v", err)
	}
	if cause := context.Cause(s.Context()); !errors.Is(cause, ErrKilled) {
		t.Errorf("cause %v", cause)
	}
	if i := s.Info(); i.EndReason != "session killed by the administrator: by joe" {
		t.Errorf("reason %q", i.EndReason)
	}
}

func TestDeadlines(t *testing.T) {
	o := ListenerOptions{LoginTimeout: time.Minute, IdleTimeout: time.Hour, StallTimeout: 2 * time.Minute, MaxDuration: 24 * time.Hour}
	for _, test := range []struct {
		name  string
		setup func(*Session)
		wait  time.Duration // until Read returns
		want  error
	}{
		{"login", func(*Session) {}, time.Minute, ErrLogin},
		{"idle", func(s *Session) { s.Login(Account{ID: 1}) }, time.Hour, ErrIdle},
		{"logout", func(s *Session) { s.Login(Account{ID: 1}); time.Sleep(50 * time.Minute); s.Logout() }, 51 * time.Minute, ErrLogin},
		{"absolute", func(s *Session) {
			s.Login(Account{ID: 1})
			for range 47 {
				time.Sleep(30 * time.Minute)
				s.Count(1, 0)
			}
			time.Sleep(29 * time.Minute)
			s.Count(1, 0)
		}, 24 * time.Hour, ErrDeadline},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := New(Options{})
				c, _ := pipe(t, r, o)
				s := c.Session()
				start := time.Now()
				test.setup(s)
				_, err := c.Read(make([]byte, 1))
				if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(s.Ending(), test.want) {
					t.Errorf("read %v, ending %v; want %v", err, s.Ending(), test.want)
				}
				if took := time.Since(start).Round(time.Second); took != test.wait {
					t.Errorf("after %v, want %v", took, test.wait)
				}
				<-s.Context().Done()
				time.Sleep(defaultGrace + time.Second)
				if s.Info().State != Ended {
					t.Error("the socket is open after the grace")
				}
			})
		})
	}
}

func TestIdleByProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{})
		c, client := pipe(t, r, ListenerOptions{LoginTimeout: -1, IdleTimeout: time.Minute})
		go func() {
			for range 10 {
				time.Sleep(50 * time.Second)
				client.Write([]byte("x"))
			}
		}()
		start := time.Now()
		n, err := io.Copy(io.Discard, c)
		if n != 10 || !errors.Is(c.Session().Ending(), ErrIdle) {
			t.Errorf("%d bytes, %v, ending %v", n, err, c.Session().Ending())
		}
		if took := time.Since(start); took.Round(time.Second) != 560*time.Second {
			t.Errorf("idle struck after %v", took)
		}
	})
}

func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{})
		c, client := pipe(t, r, ListenerOptions{LoginTimeout: -1, StallTimeout: time.Minute})
		go func() { // a slow reader, then none
			for range 10 {
				time.Sleep(50 * time.Second)
				client.Read(make([]byte, 10))
			}
		}()
		start := time.Now()
		n, err := c.Write(make([]byte, 1000))
		if n != 100 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(c.Session().Ending(), ErrStalled) {
			t.Errorf("%d bytes, %v, ending %v", n, err, c.Session().Ending())
		}
		if took := time.Since(start); took < 560*time.Second || took > 621*time.Second {
			t.Errorf("stall struck after %v", took)
		}
		if _, err := c.Write([]byte("bye")); err == nil {
			t.Error("a goodbye was written to a peer that takes nothing")
		}
	})
}

func TestDeadlineFromAbove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{})
		c, client := pipe(t, r, ListenerOptions{LoginTimeout: -1, IdleTimeout: time.Hour})
		b := make([]byte, 1)
		for range 3 { // again and again, and beyond the deadline that was first set below
			start := time.Now()
			c.SetReadDeadline(time.Now().Add(25 * time.Minute))
			if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 25*time.Minute {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
			if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 25*time.Minute {
				t.Fatalf("again: %v after %v", err, time.Since(start))
			}
			c.Session().Begin("NOOP")
			c.Session().Done()
		}
		// Waking a reader from another goroutine and going on is what net/http does.
		woken := make(chan error)
		c.SetDeadline(time.Time{})
		go func() { _, err := c.Read(b); woken <- err }()
		synctest.Wait()
		c.SetReadDeadline(time.Unix(1, 0))
		if err := <-woken; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("woken with %v", err)
		}
		c.SetReadDeadline(time.Time{})
		go client.Write([]byte("x"))
		if n, err := c.Read(b); n != 1 || err != nil {
			t.Errorf("after waking: %d, %v", n, err)
		}
		c.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := c.Write(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write %v", err)
		}
		if c.Session().Ending() != nil {
			t.Errorf("a deadline from above ended the session: %v", c.Session().Ending())
		}
	})
}

func TestLimits(t *testing.T) {
	r := New(Options{Limits: Limits{Total: 3, PerAddress: 2, PerAccount: 1, PerProtocol: map[Protocol]int{FTP: 1}}})
	o := ListenerOptions{Protocol: IMAP, Refusal: func(reason string) []byte { return []byte("* BYE " + reason + "\r\n") }}
	ln := listen(t, r, o)
	a, _ := dial(t, ln)
	b, _ := dial(t, ln)
	if err := a.Session().Login(Account{ID: 1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Session().Login(Account{ID: 1}); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "limits.per_account") {
		t.Errorf("second login: %v", err)
	}
	if err := b.Session().Login(Account{ID: 1, Limit: 2}); err != nil {
		t.Errorf("the account's own limit: %v", err)
	}
	refused, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	accepted := make(chan struct{})
	go func() { // goes on past the refused one
		defer close(accepted)
		if c, err := ln.Accept(); err == nil {
			c.Close()
		}
	}()
	line, err := io.ReadAll(refused)
	if want := "* BYE too many sessions from your address (limit 2, limits.per_address)\r\n"; err != nil || string(line) != want {
		t.Errorf("refused with %q, %v", line, err)
	}
	a.Close()
	again, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	<-accepted
	if n := len(r.List()); n != 1 {
		t.Errorf("%d sessions are left", n)
	}
	if st := r.Stats(); st.Refused != 1 || st.Admitted != 3 || st.Sessions != 1 {
		t.Errorf("stats %+v", st)
	}
	r.Wait()
}

func TestDrain(t *testing.T) {
	var told []Info
	r := New(Options{History: func(i Info) { told = append(told, i) }})
	ln := listen(t, r, ListenerOptions{Protocol: SMTP})
	idle, idleClient := dial(t, ln)
	busy, busyClient := dial(t, ln)
	busy.Session().Begin("DATA")
	idleDone := make(chan struct{})
	go func() {
		defer close(idleDone)
		defer idle.Close()
		if _, err := idle.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			io.WriteString(idle, "421 bye\r\n")
		}
	}()
	drained := make(chan error)
	go func() { drained <- r.Drain(t.Context()) }()
	if got, err := io.ReadAll(idleClient); string(got) != "421 bye\r\n" {
		t.Errorf("the idle one read %q, %v", got, err)
	}
	idleClient.Close()
	<-idleDone
	for busy.Session().Ending() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := busy.Session().Context().Err(); err != nil {
		t.Errorf("the context of a busy session: %v", err)
	}
	io.WriteString(busyClient, "body") // what the command still needs
	if n, err := busy.Read(make([]byte, 10)); n != 4 || err != nil {
		t.Errorf("a busy one reads %d, %v", n, err)
	}
	io.WriteString(busyClient, "QUIT")
	busy.Session().Done()
	if n, err := busy.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the command it reads %d, %v", n, err)
	}
	if cause := context.Cause(busy.Session().Context()); !errors.Is(cause, ErrDrain) {
		t.Errorf("cause %v", cause)
	}
	if i := busy.Session().Info(); i.State != Draining {
		t.Errorf("state %s", i.State)
	}
	busyClient.Close()
	busy.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if len(told) != 2 {
		t.Errorf("history was told of %d sessions", len(told))
	}
}

func TestDrainForced(t *testing.T) {
	r := New(Options{})
	ln := listen(t, r, ListenerOptions{Protocol: SMTP})
	deaf, deafClient := dial(t, ln)
	polite, politeClient := dial(t, ln)
	go func() {
		defer polite.Close()
		// Its client has stopped in the middle of a command.
		if _, err := polite.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			io.WriteString(polite, "421 bye\r\n")
		}
	}()
	for _, c := range []*Conn{deaf, polite} {
		c.Session().Begin("DATA")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("out of patience"))
	if err := r.Drain(ctx); err == nil || !strings.Contains(err.Error(), "out of patience") {
		t.Error(err)
	}
	if got, err := io.ReadAll(politeClient); err != nil || string(got) != "421 bye\r\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := io.ReadAll(deafClient); err != nil {
		t.Error(err)
	}
	for _, c := range []*Conn{deaf, polite} {
		if c.Session().Info().State != Ended || !errors.Is(context.Cause(c.Session().Context()), ErrHurry) {
			t.Error("a session is left")
		}
	}
}

// The session's context is one like package context's, whose errors are context.Canceled and the cause.
func TestLifetime(t *testing.T) {
	var l lifetime
	var root context.Context = &l
	early := root.Done()
	child, cancel := context.WithCancel(root)
	defer cancel()
	other, stopOther := context.WithCancel(root)
	ran := make(chan int, 4)
	context.AfterFunc(root, func() { ran <- 1 })
	stop := context.AfterFunc(root, func() { ran <- 2 })
	late := context.AfterFunc(root, func() { ran <- 3 })
	stopOther()
	if !stop() || stop() || other.Err() == nil || root.Err() != nil || context.Cause(root) != nil {
		t.Error("ended too early, or a stop did not work")
	}
	l.end(ErrKilled)
	l.end(ErrDrain)
	<-early
	<-root.Done()
	<-child.Done()
	for _, err := range []error{root.Err(), context.Cause(root), child.Err(), context.Cause(child)} {
		if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrKilled) || errors.Is(err, ErrDrain) {
			t.Error(err)
		}
	}
	if <-ran+<-ran != 1+3 || late() {
		t.Error("not all were called")
	}
	context.AfterFunc(root, func() { ran <- 4 })
	if <-ran != 4 {
		t.Error("not called after the end")
	}
	if l.after != nil {
		t.Error("something is held")
	}
	var unasked lifetime
	unasked.end(ErrKilled)
	<-unasked.Done()
}
