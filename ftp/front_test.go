package ftp

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
)

// behind starts a server of the house whose control and data listeners are behind a front end on 127.0.0.1.
func behind(t *testing.T, h *house, change ...func(*Options)) string {
	t.Helper()
	trusted := session.FrontEnds{netip.MustParsePrefix("127.0.0.1/32")}
	pool := NewPortPool([]string{"127.0.0.1"}, portBase+130, portBase+133)
	pool.FrontEnds = trusted
	t.Cleanup(func() { pool.Close() })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{TLS: h.tls, PassivePorts: pool, ConnectTimeout: time.Second}
	for _, c := range change {
		c(&o)
	}
	addr := ln.Addr().String()
	serveOn(t, h.reg, session.Fronted(ln, trusted, nil), New(h.fs, h.door, o))
	return addr
}

// through connects as a front end does for a client.
func through(t *testing.T, addr, client, server string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	family := "TCP4"
	if strings.Contains(client, ":") {
		family = "TCP6"
	}
	fmt.Fprintf(conn, "PROXY %s %s %s 40000 21\r\n", family, client, server)
	return conn
}

func frontPeer(t *testing.T, addr, client, server string) *peer {
	t.Helper()
	conn := through(t, addr, client, server)
	p := &peer{t: t, raw: conn.(*net.TCPConn), conn: conn, br: bufio.NewReader(conn)}
	p.expect(220)
	p.cmd(331, "USER ann@example.test")
	p.cmd(230, "PASS secret")
	p.cmd(200, "TYPE I")
	return p
}

// TestFrontEnd: behind a front end, PASV names the address that the client connected to, and a data connection is its own when its PROXY header says so.
func TestFrontEnd(t *testing.T) {
	h := newHouse(t)
	h.door = allowPlain(h)
	h.put("/a", "content")
	addr := behind(t, h)
	p := frontPeer(t, addr, "192.0.2.7", "203.0.113.1")
	pasv := func(p *peer) string {
		text := p.cmd(227, "PASV")
		var n [6]int
		fmt.Sscanf(text[strings.Index(text, "("):], "(%d,%d,%d,%d,%d,%d)", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5])
		if n[0] != 203 || n[1] != 0 || n[2] != 113 || n[3] != 1 {
			t.Fatalf("PASV named %v", n)
		}
		return fmt.Sprintf("127.0.0.1:%d", n[4]<<8|n[5])
	}
	to := pasv(p)
	// Others through the same front end, one past it, one who says nothing and the front end itself get nothing.
	for _, thief := range []string{"192.0.2.8", "127.0.0.1", "2001:db8::7"} {
		server := "203.0.113.1"
		if strings.Contains(thief, ":") {
			server = "2001:db8::1"
		}
		conn := through(t, to, thief, server)
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("%s was served", thief)
		}
	}
	port := netip.MustParseAddrPort(to).Port()
	if !turnedAway("127.0.0.2", int(port)) {
		t.Error("past the front end was served")
	}
	silent, err := net.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	data := through(t, to, "192.0.2.7", "203.0.113.1")
	p.cmd(150, "RETR a")
	if b, err := io.ReadAll(data); string(b) != "content" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	p.expect(226)
	// An upload, with the header and the content in one packet.
	to = pasv(p)
	conn, err := net.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd(150, "STOR b")
	io.WriteString(conn, "PROXY TCP4 192.0.2.7 203.0.113.1 40001 1234\r\nfresh")
	conn.Close()
	p.expect(226)
	if got, _ := h.get("/b"); got != "fresh" {
		t.Errorf("%q", got)
	}
	if i := h.reg.List()[0]; i.Remote != "192.0.2.7:40000" || !strings.HasPrefix(i.Front, "127.0.0.1:") {
		t.Errorf("%+v", i)
	}
}

// TestFrontEndIPv6: EPSV for a client that reached the front end over IPv6, while the front end reaches us over IPv4.
func TestFrontEndIPv6(t *testing.T) {
	h := newHouse(t)
	h.door = allowPlain(h)
	h.put("/a", "content")
	addr := behind(t, h)
	p := frontPeer(t, addr, "2001:db8::7", "2001:db8::1")
	p.cmd(425, "PASV")
	p.cmd(522, "EPSV 1")
	to := p.epsv()
	data := through(t, to.String(), "2001:db8::7", "2001:db8::1")
	p.cmd(150, "RETR a")
	if b, _ := io.ReadAll(data); string(b) != "content" {
		t.Errorf("%q", b)
	}
	p.expect(226)
	// Active mode goes to the client and nowhere else.
	p.cmd(522, "EPRT |1|127.0.0.1|50000|")
	p.cmd(501, "EPRT |2|::1|50000|")
	p.cmd(501, "EPRT |2|2001:db8::1|50000|")
	p.cmd(200, "EPRT |2|2001:db8::7|50000|")
}

// TestFrontEndTLS: TLS begins behind the header, on both connections.
func TestFrontEndTLS(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "content")
	addr := behind(t, h, func(o *Options) { o.DataTLSReuse = ReuseRequire })
	conn := through(t, addr, "192.0.2.7", "203.0.113.1")
	p := &peer{t: t, raw: conn.(*net.TCPConn), conn: conn, br: bufio.NewReader(conn)}
	p.expect(220)
	p.cmd(530, "USER ann@example.test") // it is not a client on this machine, for all that its socket is
	h.secure(p, 0)
	p.cmd(331, "USER ann@example.test")
	p.cmd(230, "PASS secret")
	p.cmd(200, "PBSZ 0")
	p.cmd(200, "PROT P")
	to := p.epsv()
	data := through(t, to.String(), "192.0.2.7", "203.0.113.1")
	p.cmd(150, "RETR a")
	sec := tls.Client(data, p.tls)
	if b, err := io.ReadAll(sec); string(b) != "content" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	p.expect(226)
}

// TestOwnPorts: a client on this machine cannot have the server speak to itself.
func TestOwnPorts(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.OwnPorts = []int{10143} })
	p := h.login()
	p.cmd(504, "PORT 127,0,0,1,39,159") // 10143
	p.cmd(504, "EPRT |1|127.0.0.1|10143|")
	p.cmd(504, "EPRT |1|127.0.0.1|%d|", portBase+5) // of the passive range
	p.cmd(200, "EPRT |1|127.0.0.1|10144|")
}

// TestActiveAbort: nobody answers at the client's port; ABOR ends the attempt, and so does its time.
func TestActiveAbort(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ConnectTimeout = 500 * time.Millisecond })
	h.put("/a", "content")
	ln, fill := fullListener(t)
	defer ln.Close()
	defer fill()
	p := h.login()
	port := ln.Addr().(*net.TCPAddr).Port
	p.cmd(200, "EPRT |1|127.0.0.1|%d|", port)
	p.cmd(150, "RETR a")
	p.send("ABOR")
	p.expect(426)
	p.expect(226)
	p.cmd(200, "EPRT |1|127.0.0.1|%d|", port)
	p.cmd(150, "RETR a")
	p.expect(425)
	// A port where nothing listens is refused at once.
	p.cmd(200, "EPRT |1|127.0.0.1|%d|", portBase+139)
	p.cmd(150, "RETR a")
	p.expect(425)
	p.cmd(200, "NOOP")
}

// fullListener listens and takes nobody: further connections wait until they give up. fill lets go of those that made it full.
func fullListener(t *testing.T) (ln net.Listener, fill func()) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if ln, err = net.FileListener(f); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 4 {
		c, err := net.DialTimeout("tcp", ln.Addr().String(), 300*time.Millisecond)
		if err != nil {
			break
		}
		conns = append(conns, c)
	}
	return ln, func() {
		for _, c := range conns {
			c.Close()
		}
	}
}

// allowPlain is the house's door for those who come through a front end without TLS.
func allowPlain(h *house) *auth.Door {
	return auth.New(h.store, h.reg, auth.Options{NoThrottle: true, Plaintext: auth.PlaintextAlways})
}
