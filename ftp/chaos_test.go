package ftp

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// TestChaos: clients that pipeline, cut, abort and are killed leave whole files, and a server that serves the next one. The registry looks
// for goroutines that were left behind.
func TestChaos(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ConnectTimeout, o.StallTimeout = 200*time.Millisecond, 500*time.Millisecond })
	whole := []string{noise(10), noise(40_000), noise(300_000)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			for range 12 {
				h.riot(r, whole)
			}
		})
	}
	wg.Wait()
	for i := range 4 {
		name := fmt.Sprintf("/f%d", i)
		if got, ok := h.get(name); ok && !slices.Contains(whole, got) {
			t.Errorf("%s: %d bytes that nobody sent", name, len(got))
		}
	}
	p := h.login()
	if code := p.stor("fine", "STOR fine"); code != 226 {
		t.Fatal(code)
	}
	eventually(t, "the sessions are gone", func() bool { return len(h.reg.List()) == 1 })
}

// riot is one connection whose client does as it pleases. Whatever happens to it is no failure.
func (h *house) riot(r *rand.Rand, whole []string) {
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if r.IntN(3) == 0 {
		io.WriteString(conn, "AUTH TLS\r\n")
		for got := ""; !strings.Contains(got, "\n234 "); {
			piece := make([]byte, 256)
			n, err := conn.Read(piece)
			if got += string(piece[:n]); err != nil {
				return
			}
		}
		conn = tls.Client(conn, h.client)
		defer conn.Close()
	}
	io.WriteString(conn, "USER ann@example.test\r\nPASS secret\r\nTYPE I\r\nEPSV\r\n")
	for range 6 {
		port := h.awaitPort(conn)
		if port == 0 {
			return
		}
		file := fmt.Sprintf("f%d", r.IntN(4))
		verb := []string{"STOR", "RETR", "MLSD", "LIST", "STOR"}[r.IntN(5)]
		if verb == "MLSD" || verb == "LIST" {
			file = ""
		}
		fmt.Fprintf(conn, "%s %s\r\n%s", verb, file, strings.Repeat("NOOP\r\nSIZE f1\r\n", r.IntN(3)))
		data, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			data.SetDeadline(time.Now().Add(5 * time.Second))
			h.pleaseData(r, conn, data, verb, whole)
		}
		if r.IntN(6) == 0 {
			return
		}
		io.WriteString(conn, "EPSV\r\n")
	}
	io.WriteString(conn, "QUIT\r\n")
	io.Copy(io.Discard, conn)
}

func (h *house) pleaseData(r *rand.Rand, conn, data net.Conn, verb string, whole []string) {
	defer data.Close()
	if verb != "STOR" {
		io.CopyN(io.Discard, data, int64(r.IntN(100_000)))
		if r.IntN(2) == 0 {
			io.Copy(io.Discard, data)
		}
		return
	}
	text := whole[r.IntN(len(whole))]
	switch r.IntN(6) {
	case 0: // dies
		io.WriteString(data, text[:len(text)/2])
		conn.Close()
	case 1: // is reset
		io.WriteString(data, text[:len(text)/2])
		data.(*net.TCPConn).SetLinger(0)
	case 2: // thinks better of it
		io.WriteString(data, text[:len(text)/2])
		io.WriteString(conn, "ABOR\r\n")
		io.Copy(io.Discard, data)
	case 3: // is killed, or somebody else
		io.WriteString(data, text[:len(text)/2])
		if list := h.reg.List(); len(list) > 0 {
			if s, ok := h.reg.Get(list[r.IntN(len(list))].ID); ok {
				s.Kill(session.ErrKilled)
				<-s.Context().Done()
			}
		}
		data.(*net.TCPConn).SetLinger(0)
	default:
		io.WriteString(data, text)
	}
}

// awaitPort reads replies until one names a passive port; 0 when none does.
func (h *house) awaitPort(conn net.Conn) (port int) {
	var got strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		got.Write(buf[:n])
		if i := strings.LastIndex(got.String(), "(|||"); i >= 0 && strings.Contains(got.String()[i:], "|)") {
			fmt.Sscanf(got.String()[i:], "(|||%d|)", &port)
			return port
		}
		if err != nil || strings.Contains(got.String(), "\n421 ") {
			return 0
		}
	}
}
