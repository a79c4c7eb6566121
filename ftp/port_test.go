package ftp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestParsePort(t *testing.T) {
	tests := []struct{ in, want string }{
		{"127,0,0,1,8,1", "127.0.0.1:2049"},
		{" 1, 2,3,4,255,255 ", "1.2.3.4:65535"},
		{"127,0,0,1,8", ""}, {"127,0,0,1,8,256", ""}, {"127,0,0,1,8,1,2", ""}, {"a,0,0,1,8,1", ""}, {"-1,0,0,1,8,1", ""}, {"", ""},
	}
	for _, tt := range tests {
		got, err := parsePort(tt.in)
		if (err != nil) != (tt.want == "") || err == nil && got.String() != tt.want {
			t.Errorf("%q: %v, %v", tt.in, got, err)
		}
	}
}

func TestParseEprt(t *testing.T) {
	tests := []struct {
		in, want string
		err      error
	}{
		{"|1|127.0.0.1|2049|", "127.0.0.1:2049", nil},
		{"!2!::1!2049!", "[::1]:2049", nil},
		{"|3|127.0.0.1|2049|", "", errFamily},
		{"|2|127.0.0.1|2049|", "", errAddress},
		{"|1|::1|2049|", "", errAddress},
		{"|2|fe80::1%eth0|2049|", "", errAddress},
		{"|1|127.0.0.1|65536|", "", errAddress},
		{"|1|127.0.0.1|2049", "", errAddress},
		{"1|127.0.0.1|2049|", "", errAddress},
		{"", "", errAddress},
		{"||||", "", errAddress},
		{"|x|127.0.0.1|2049|", "", errAddress},
		{"|99|x|2049|", "", errFamily},
	}
	for _, tt := range tests {
		got, err := parseEprt(tt.in)
		if !errors.Is(err, tt.err) || err == nil && got.String() != tt.want {
			t.Errorf("%q: %v, %v", tt.in, got, err)
		}
	}
}

func FuzzPorts(f *testing.F) {
	f.Add("127,0,0,1,8,1")
	f.Add("|2|::1|2049|")
	f.Fuzz(func(t *testing.T, in string) {
		if a, err := parsePort(in); err == nil && !a.Addr().Is4() {
			t.Fatal(in, a)
		}
		if a, err := parseEprt(in); err == nil && (!a.IsValid() || a.Addr().Zone() != "") {
			t.Fatal(in, a)
		}
	})
}

func dialFrom(t *testing.T, from string, port int) net.Conn {
	t.Helper()
	conn, err := tryFrom(from, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func tryFrom(from string, port int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	return d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}

// turnedAway tells whether a connection from there is closed, if it comes about at all.
func turnedAway(from string, port int) bool {
	conn, err := tryFrom(from, port)
	if err != nil {
		return true
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	n, err := conn.Read(make([]byte, 1))
	return n == 0 && !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestPool(t *testing.T) {
	defer goleak.VerifyNone(t)
	first := portBase + 100
	p := NewPortPool([]string{"127.0.0.1"}, first, first+1)
	defer p.Close()
	a, b := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	account := int64(0)
	reserve := func(peer netip.Addr, want int) *slot {
		t.Helper()
		account++
		s, err := p.reserve(holder{peer, account})
		if err != nil || s.port.number != want {
			t.Fatalf("reserve: %v, want port %d", err, want)
		}
		return s
	}
	a1, a2 := reserve(a, first), reserve(a, first+1)
	b1 := reserve(b, first) // another address shares the port
	if _, err := p.reserve(holder{a, 1}); replyOf(err, false).code != 425 {
		t.Fatalf("range used up: %v", err)
	}
	// A stranger is turned away, the right ones are served.
	if !turnedAway("127.0.0.9", first) {
		t.Fatal("a stranger was served")
	}
	for _, s := range []struct {
		from string
		s    *slot
	}{{"127.0.0.2", b1}, {"127.0.0.1", a1}} {
		conn := dialFrom(t, s.from, first)
		io.WriteString(conn, "x")
		got := <-s.s.conn
		if from, _, _ := net.SplitHostPort(got.RemoteAddr().String()); from != s.from {
			t.Fatalf("slot of %s got %s", s.from, from)
		}
		got.Close()
	}
	// Delivered and released ports are free again; a connection that came too late is closed with its slot.
	late := reserve(a, first)
	conn := dialFrom(t, "127.0.0.1", first)
	eventually(t, "delivered", func() bool { return len(late.conn) == 1 })
	late.release()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("connection of a released slot is open")
	}
	// A connection that was on its way to a slot that was given up is not given to the next transfer.
	gone := reserve(a, first)
	a2.release()
	gone.release()
	if !turnedAway("127.0.0.1", first) {
		t.Fatal("a stale connection is open")
	}
	held := reserve(a, first) // which brought its port back
	again := reserve(a, first+1)
	if _, err := p.reserve(holder{a, 1}); err == nil { // the only one that could be had was resting
		t.Fatal("a port was given twice")
	}
	// What waits too long is taken over.
	again.since = time.Now().Add(-2 * slotLife)
	reserve(a, first+1).release()
	if _, ok := <-again.conn; ok {
		t.Fatal("slot was not taken away")
	}
	again.release()
	held.release()
}

// A port that another program has is passed over.
func TestPoolBusyPort(t *testing.T) {
	defer goleak.VerifyNone(t)
	first := portBase + 110
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := NewPortPool([]string{"127.0.0.1"}, first, first+1)
	defer p.Close()
	s, err := p.reserve(holder{netip.MustParseAddr("127.0.0.1"), 1})
	if err != nil || s.port.number != first+1 {
		t.Fatal(err)
	}
}

// One account leaves ports to others behind the same address, whatever it does; another address has all of them.
func TestPoolShare(t *testing.T) {
	defer goleak.VerifyNone(t)
	first := portBase + 112
	p := NewPortPool([]string{"127.0.0.1"}, first, first+7)
	defer p.Close()
	nat, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	var slots []*slot
	for range 6 {
		s, err := p.reserve(holder{nat, 1})
		if err != nil {
			t.Fatal(err)
		}
		slots = append(slots, s)
	}
	if _, err := p.reserve(holder{nat, 1}); replyOf(err, false) != (answer{425, fmt.Sprintf("6 passive ports (of %d to %d) wait for you already.", first, first+7)}) {
		t.Errorf("over the share: %v", err)
	}
	if _, err := p.reserve(holder{nat, 2}); err != nil {
		t.Errorf("another account: %v", err)
	}
	if _, err := p.reserve(holder{other, 1}); err != nil {
		t.Errorf("another address: %v", err)
	}
	if open, waiting := p.Usage(); open != 7 || waiting != 8 {
		t.Errorf("%d ports are open, %d transfers wait", open, waiting)
	}
	// What it gives back, or what waits too long, it gets again.
	slots[0].release()
	if _, err := p.reserve(holder{nat, 1}); err != nil {
		t.Errorf("after a release: %v", err)
	}
	slots[1].since = time.Now().Add(-2 * slotLife)
	if s, err := p.reserve(holder{nat, 1}); err != nil || s.port != slots[1].port {
		t.Errorf("after a minute: %v", err)
	}
	if _, ok := <-slots[1].conn; ok {
		t.Error("the old one still waits")
	}
	for _, s := range slots {
		s.release()
	}
	if _, waiting := p.Usage(); waiting != 4 {
		t.Errorf("%d transfers wait", waiting)
	}
}

func TestAdvertised(t *testing.T) {
	addr := netip.MustParseAddr
	list := []PublicAddress{
		{For: netip.MustParsePrefix("10.1.0.0/16")},
		{For: netip.MustParsePrefix("10.0.0.0/8"), Address: addr("10.0.0.5")},
		{Address: addr("203.0.113.7")},
	}
	for _, test := range []struct{ peer, local, want string }{
		{"10.1.2.3", "192.168.0.1", "192.168.0.1"},
		{"10.2.2.3", "192.168.0.1", "10.0.0.5"},
		{"::ffff:10.2.2.3", "::ffff:192.168.0.1", "10.0.0.5"},
		{"198.51.100.1", "192.168.0.1", "203.0.113.7"},
		{"127.0.0.1", "127.0.0.1", "127.0.0.1"},
		{"2001:db8::7", "2001:db8::1", "2001:db8::1"},
	} {
		if got := Advertised(list, addr(test.peer), addr(test.local)); got != addr(test.want) {
			t.Errorf("%s at %s is told %v, want %s", test.peer, test.local, got, test.want)
		}
	}
}

// One socket for both families; an address that the machine gets later is listened on without a restart.
func TestPoolFamilies(t *testing.T) {
	defer goleak.VerifyNone(t)
	first := portBase + 122
	p := NewPortPool(nil, first, first)
	defer p.Close()
	for _, addr := range []string{"127.0.0.1", "::1"} {
		s, err := p.reserve(holder{netip.MustParseAddr(addr), 1})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", net.JoinHostPort(addr, fmt.Sprint(first)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		(<-s.conn).Close()
	}
	later := NewPortPool([]string{"127.0.0.1", "192.0.2.99"}, first+1, first+1)
	defer later.Close()
	wait := func(addr string) error {
		s, err := later.reserve(holder{netip.MustParseAddr(addr), 1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.release()
		conn, err := net.Dial("tcp", net.JoinHostPort(addr, fmt.Sprint(first+1)))
		if err == nil {
			conn.Close()
			(<-s.conn).Close()
		}
		return err
	}
	if err := wait("127.0.0.1"); err != nil {
		t.Error(err)
	}
	later.mu.Lock()
	later.hosts[1] = "127.0.0.2"
	later.ports[first+1].tried = time.Now().Add(-2 * portPause)
	later.mu.Unlock()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.3")}}
	s, err := later.reserve(holder{netip.MustParseAddr("127.0.0.3"), 1})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := d.Dial("tcp", fmt.Sprintf("127.0.0.2:%d", first+1))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	(<-s.conn).Close()
}

// When the range cannot be had at all, the reply names it and the log says which key to look at.
func TestPoolUnopened(t *testing.T) {
	defer goleak.VerifyNone(t)
	first := portBase + 124
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var log strings.Builder
	p := NewPortPool([]string{"127.0.0.1"}, first, first)
	p.Logger = slog.New(slog.NewTextHandler(&log, nil))
	defer p.Close()
	_, err = p.reserve(holder{netip.MustParseAddr("127.0.0.1"), 1})
	if got := replyOf(err, false); got != (answer{425, fmt.Sprintf("None of the passive ports (%d to %d) can be opened.", first, first)}) {
		t.Errorf("%v", got)
	}
	for _, want := range []string{"address already in use", "ftp.passive_ports"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, log.String())
		}
	}
}
