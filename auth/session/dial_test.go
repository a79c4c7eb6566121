package session

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

// sink is a port to dial to, with the peer's ends of what was dialled.
func sink(t *testing.T) (DialOptions, chan net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peers, done := make(chan net.Conn, 10), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			peers <- c
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		for len(peers) > 0 {
			(<-peers).Close()
		}
	})
	return DialOptions{Protocol: SMTP, Address: addrPort(ln.Addr()), Timeout: 10 * time.Second}, peers
}

// A connection of ours is a session like those that come, with limits of its own.
func TestDial(t *testing.T) {
	told := make(chan Info, 10)
	r := New(Options{Limits: Limits{Total: 1, PerAddress: 1, Outgoing: 2}, History: func(i Info) { told <- i }})
	defer r.Wait()
	o, peers := sink(t)
	c, err := r.Dial(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Session()
	if From(c) != s || !s.Outgoing() {
		t.Error("the session is not found, or not as an outgoing one")
	}
	if err := s.OnBehalf(Account{ID: 7, Name: "ann@example.test"}); err != nil {
		t.Fatal(err)
	}
	s.Begin("DATA 1 recipient")
	c.Write([]byte("hello"))
	i := r.List()[0]
	if i.Direction != "out" || i.Listener != "outbound" || i.Account != "ann@example.test" || i.BytesOut != 5 || i.State != Busy || i.Remote != o.Address.String() {
		t.Errorf("%+v", i)
	}
	if len(r.Of(7)) != 0 {
		t.Error("the connection to another server counts as one of the account's sessions")
	}
	second, err := r.Dial(context.Background(), o)
	if err != nil {
		t.Fatalf("limits for those that come hold for one of ours: %v", err)
	}
	if _, err := r.Dial(context.Background(), o); !errors.Is(err, ErrLimit) {
		t.Errorf("a third connection: %v", err)
	}
	in, _ := pair(t, r, ListenerOptions{Protocol: SMTP}) // Total and PerAddress are 1
	if in.Session().Outgoing() || in.Session().OnBehalf(Account{ID: 7}) == nil {
		t.Error("a session that came is taken for one of ours")
	}
	second.Close()
	third, err := r.Dial(context.Background(), o)
	if err != nil {
		t.Errorf("after one was closed: %v", err)
	}
	peer := <-peers
	io.ReadFull(peer, make([]byte, 5)) // what is not read would make a reset of the close
	peer.Close()
	s.Done()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v", err)
	}
	c.Close()
	third.Close()
	in.Close()
	reasons := map[string]bool{}
	for range 4 {
		reasons[(<-told).EndReason] = true
	}
	if !reasons["closed by the server"] {
		t.Errorf("reasons: %v", reasons)
	}
	for len(peers) > 0 {
		(<-peers).Close()
	}
}

// Kill wakes one that waits for a reply; Drain waits for one that is busy, and from then on nothing is dialled.
func TestDialEnds(t *testing.T) {
	r := New(Options{})
	defer r.Wait()
	o, peers := sink(t)
	killed, err := r.Dial(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	killed.Session().Begin("waits for the greeting")
	time.AfterFunc(10*time.Millisecond, func() { killed.Session().Kill(nil) })
	if _, err := killed.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(killed.Session().Ending(), ErrKilled) {
		t.Errorf("killed: %v, %v", err, killed.Session().Ending())
	}
	(<-peers).Close()
	killed.Close()

	busy, err := r.Dial(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	busy.Session().Begin("DATA")
	drained := make(chan error, 1)
	go func() { drained <- r.Drain(context.Background()) }()
	for busy.Session().Ending() == nil {
		time.Sleep(time.Millisecond)
	}
	if busy.Session().Context().Err() != nil {
		t.Error("a drain interrupts a message")
	}
	if _, err := r.Dial(context.Background(), o); !errors.Is(err, ErrDrain) {
		t.Errorf("dialled during a drain: %v", err)
	}
	busy.Session().Done()
	if busy.Session().Context().Err() == nil {
		t.Error("the message is through, and the session goes on")
	}
	(<-peers).Close()
	busy.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// refusing is an address at which nobody listens, and nobody else can meanwhile.
func refusing(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(at.(*syscall.SockaddrInet4).Port))
}

// What cannot be reached leaves no session and takes no place.
func TestDialFails(t *testing.T) {
	r := New(Options{Limits: Limits{Outgoing: 1}})
	nobody := refusing(t)
	for range 3 {
		if _, err := r.Dial(context.Background(), DialOptions{Protocol: SMTP, Address: nobody}); err == nil || errors.Is(err, ErrLimit) {
			t.Fatalf("dialled nobody: %v", err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("why")
	cancel(why)
	if _, err := r.Dial(ctx, DialOptions{Protocol: SMTP, Address: nobody}); !errors.Is(err, why) {
		t.Errorf("after the context ended: %v", err)
	}
	if len(r.List()) != 0 || r.count.outgoing != 0 {
		t.Errorf("%d sessions, %d counted", len(r.List()), r.count.outgoing)
	}
}
