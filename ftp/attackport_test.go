package ftp

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// lure is a service of somebody else's that no server may be made to speak to.
type lure struct {
	ln   net.Listener
	came chan net.Addr
}

func setLure(t *testing.T, addr string) *lure {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	l := &lure{ln, make(chan net.Addr, 100)}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			l.came <- conn.RemoteAddr()
			conn.Close()
		}
	}()
	return l
}

func (l *lure) port() int { return l.ln.Addr().(*net.TCPAddr).Port }

// TestBounce: RFC 2577 section 3: nobody has the server connect to another host, or to a service of the client's own.
func TestBounce(t *testing.T) {
	h := newHouse(t)
	h.put("/words", "HELO x\r\nMAIL FROM:<a@b>\r\n")
	other := setLure(t, "127.0.0.2:0")
	n := other.port()
	server := h.addrPort().Port()
	p := h.login()
	p6 := fmt.Sprintf("%d,%d", n>>8, n&255)
	refused := []string{
		"PORT 127,0,0,2," + p6, "PORT 0,0,0,0," + p6, "PORT 255,255,255,255," + p6, "PORT 10,0,0,1," + p6, "PORT 224,0,0,1," + p6, "PORT 0177,0,0,2," + p6,
		"PORT 127.0.0.2," + p6, "PORT 127,0,0,258," + p6, "PORT 127,0,0,-2," + p6, "PORT 127,0,2," + p6,
		"PORT 127,0,0,1,0,0", "PORT 127,0,0,1,0,21", "PORT 127,0,0,1,0,22", "PORT 127,0,0,1,0,25", "PORT 127,0,0,1,3,255", "PORT 127,0,0,1,256,1", "PORT 127,0,0,1,-1,80",
		fmt.Sprintf("EPRT |1|127.0.0.2|%d|", n), fmt.Sprintf("EPRT |2|::ffff:127.0.0.2|%d|", n), fmt.Sprintf("EPRT |2|::1|%d|", n), fmt.Sprintf("EPRT |1|localhost|%d|", n),
		fmt.Sprintf("EPRT |1|0|%d|", n), fmt.Sprintf("EPRT |1|2130706434|%d|", n), fmt.Sprintf("EPRT |1|0x7f.0.0.2|%d|", n), fmt.Sprintf("EPRT |2|::127.0.0.2|%d|", n), fmt.Sprintf("EPRT |2|fe80::1%%lo|%d|", n),
		fmt.Sprintf("EPRT |2|64:ff9b::7f00:2|%d|", n), "EPRT |1|127.0.0.1|0|", "EPRT |1|127.0.0.1|22|", "EPRT |1|127.0.0.1|1023|", "EPRT |1|127.0.0.1|65561|", "EPRT |1|127.0.0.1|-1|", "EPRT |1|127.0.0.1|080x|",
		// its own passive ports, whoever waits there
		fmt.Sprintf("EPRT |1|127.0.0.1|%d|", portBase), fmt.Sprintf("EPRT |1|127.0.0.1|%d|", portBase+99),
	}
	for _, line := range refused {
		code, text := p.reply2(line)
		if code/100 != 5 {
			t.Errorf("%s: %s", line, text)
		}
		for _, use := range []string{"RETR words", "STOR stolen", "LIST"} {
			p.cmd(425, "%s", use)
		}
	}
	// With the ports of all listeners named, as cmd/packetboat does, the control port is refused too.
	own := h.dialAt(h.listen(func(o *Options) { o.OwnPorts = []int{int(server)} }))
	own.cmd(331, "USER ann@example.test")
	own.cmd(230, "PASS secret")
	own.cmd(504, "EPRT |1|127.0.0.1|%d|", server)
	// A second plan takes the place of the first one; a refused one leaves none behind.
	mine := setLure(t, "127.0.0.1:0")
	p.cmd(200, "EPRT |1|127.0.0.1|%d|", mine.port())
	p.reply2("PORT 127,0,0,2," + p6)
	p.send("RETR words")
	for code, _ := p.reply(); code == 150; code, _ = p.reply() {
	}
	select {
	case from := <-other.came:
		t.Errorf("the server was made to connect to a stranger, from %v", from)
	default:
	}
	if got, ok := h.get("/stolen"); ok {
		t.Errorf("stored %q", got)
	}
}

// TestStealFromElsewhere: strangers who are first, and many, get nothing, bring nothing in, and delay nobody.
func TestStealFromElsewhere(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "content")
	for _, login := range []func() *peer{h.login, func() *peer { return h.secureLogin(0) }} {
		p := login()
		for _, verb := range []string{"RETR a", "STOR b"} {
			addr := p.epsv()
			for i := range 20 {
				if from := fmt.Sprintf("127.0.0.%d", 2+i); !turnedAway(from, int(addr.Port())) {
					t.Fatalf("%s was served", from)
				}
			}
			conn := dialFrom(t, "127.0.0.1", int(addr.Port()))
			p.cmd(150, "%s", verb)
			if p.prot {
				conn = tls.Client(conn, p.tls)
			}
			if verb == "RETR a" {
				if b, err := io.ReadAll(conn); string(b) != "content" {
					t.Fatalf("%q, %v", b, err)
				}
			} else {
				io.WriteString(conn, "mine")
			}
			conn.Close()
			p.expect(226)
		}
		if got, _ := h.get("/b"); got != "mine" {
			t.Fatalf("b holds %q", got)
		}
	}
}

// TestStealFromSameAddress: a thief behind the same address, with no ticket, or with one of a session of his own, reads nothing and writes nothing where
// reuse is required; the session goes on.
func TestStealFromSameAddress(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.DataTLSReuse = ReuseRequire })
	h.put("/a", "content")
	victim, thief := h.secureLogin(0), h.secureLogin(0)
	// so that both have tickets
	if victim.retr("RETR a") != "content" || thief.retr("RETR a") != "content" {
		t.Fatal("not served")
	}
	none := thief.tls.Clone()
	none.ClientSessionCache = nil
	for name, conf := range map[string]*tls.Config{"no ticket": none, "a ticket of another session": thief.tls, "no TLS": nil} {
		for _, verb := range []string{"RETR a", "STOR b", "APPE a"} {
			addr := victim.epsv()
			raw := dialFrom(t, "127.0.0.1", int(addr.Port()))
			raw.SetDeadline(time.Now().Add(20 * time.Second))
			victim.cmd(150, "%s", verb)
			conn := net.Conn(raw)
			if conf != nil {
				tc := tls.Client(raw, conf)
				if tc.Handshake() == nil && tc.ConnectionState().DidResume {
					t.Errorf("%s: resumed", name)
				}
				conn = tc
			}
			io.WriteString(conn, "of the thief")
			if conf == nil {
				raw.(*net.TCPConn).CloseWrite()
			} else {
				conn.(*tls.Conn).CloseWrite()
			}
			b, _ := io.ReadAll(conn)
			if strings.Contains(string(b), "content") {
				t.Errorf("%s, %s: read %q", name, verb, b)
			}
			conn.Close()
			victim.expect(522)
		}
	}
	if got, _ := h.get("/a"); got != "content" {
		t.Errorf("a holds %q", got)
	}
	if got, ok := h.get("/b"); ok {
		t.Errorf("b holds %q", got)
	}
	if victim.retr("RETR a") != "content" {
		t.Error("the victim is not served afterwards")
	}
}

// TestPortHoarding: one address that reserves all it can takes no port from another address, and what it holds is bounded.
func TestPortHoarding(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "content")
	first, last := h.pool.Range()
	served := 0
	for range 3 {
		p := h.login()
		for range last - first + 10 {
			if code, _ := p.reply2("EPSV"); code == 229 {
				served++
			}
		}
	}
	if served == 0 {
		t.Fatal("never served")
	}
	// each session gives up its last plan with the next one, so three wait
	waiting := 0
	h.pool.mu.Lock()
	for _, port := range h.pool.ports {
		waiting += len(port.waiting)
	}
	h.pool.mu.Unlock()
	if most := last - first + 1; waiting > most {
		t.Errorf("%d wait on %d ports", waiting, most)
	}
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 7)}}).Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "USER ann@example.test\r\nPASS secret\r\nEPSV\r\n")
	port := h.awaitPort(conn)
	if port == 0 {
		t.Fatal("another address gets no port")
	}
	data := dialFrom(t, "127.0.0.7", port)
	fmt.Fprint(conn, "RETR a\r\n")
	if b, _ := io.ReadAll(data); string(b) != "content" {
		t.Errorf("another address got %q", b)
	}
}
