package ftp

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
)

// TestAuthInjection: nothing that was said in the clear, before AUTH or behind it, counts in the protected session, and a handshake that fails leaves none in the clear.
func TestAuthInjection(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "content")
	for name, c := range map[string]struct{ clear, behind string }{
		"a whole login":         {"", "USER ann@example.test\r\nPASS secret\r\nDELE a\r\n"},
		"half a line":           {"", "DELE a"},
		"a login in the middle": {"USER ann@example.test\r\n", "PASS secret\r\nDELE a\r\n"},
		"a hello of TLS":        {"", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"},
		"spaces and an end":     {"", " \r\n"},
	} {
		conn, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, c.clear+"AUTH TLS\r\n"+c.behind)
		all, _ := io.ReadAll(conn)
		conn.Close()
		if strings.Contains(string(all), "230 ") || strings.Contains(string(all), "250 ") || strings.Contains(string(all), "\n234 ") {
			t.Errorf("%s behind AUTH: %q", name, all)
		}
	}
	for _, text := range []string{"USER ann@example.test\r\nPASS secret\r\nDELE a\r\n", "\x15\x03\x01\x00\x02\x01\x00", "\x16\x03\x01\xff\xff", "\x80\x2e\x01\x00\x02"} {
		p := h.dial()
		p.cmd(331, "USER ann@example.test")
		p.cmd(234, "AUTH TLS")
		io.WriteString(p.raw, text)
		p.raw.CloseWrite()
		if rest, _ := io.ReadAll(p.br); strings.Contains(string(rest), "230") || strings.Contains(string(rest), "331") {
			t.Errorf("after a handshake that failed: %q", rest)
		}
	}
	// What was set before counts no more either.
	p := h.dial()
	p.cmd(331, "USER ann@example.test")
	h.secure(p, 0)
	p.cmd(503, "PASS secret")
	p.cmd(331, "USER ann@example.test")
	p.cmd(230, "PASS secret")
	p.cmd(503, "AUTH TLS") // TLS in TLS
	p.cmd(257, "PWD")
	// A login in the clear is not taken along.
	q := h.login()
	q.cmd(503, "AUTH TLS")
	q.cmd(257, "PWD")
	if got, _ := h.get("/a"); got != "content" {
		t.Errorf("a holds %q", got)
	}
}

// TestALPNOfOthers: a TLS client that says it speaks another protocol is refused in the handshake, implicit or behind AUTH (the ALPACA attack).
func TestALPNOfOthers(t *testing.T) {
	h := newHouse(t)
	implicit := h.listen(func(o *Options) { o.ImplicitTLS = true })
	for _, protocols := range [][]string{{"http/1.1"}, {"h2", "http/1.1"}, {"imap"}, {"smtp"}, {"ftp-data"}, {"FTP"}} {
		conf := h.client.Clone()
		conf.NextProtos = protocols
		if conn, err := tls.Dial("tcp", implicit, conf); err == nil {
			t.Errorf("%q is let in", protocols)
			conn.Close()
		}
		p := h.dial()
		p.cmd(234, "AUTH TLS")
		conn := tls.Client(p.raw, conf)
		if conn.Handshake() == nil {
			t.Errorf("%q is let in behind AUTH", protocols)
		}
	}
	for _, protocols := range [][]string{nil, {"ftp"}, {"http/1.1", "ftp"}} {
		conf := h.client.Clone()
		conf.NextProtos = protocols
		conn, err := tls.Dial("tcp", implicit, conf)
		if err != nil {
			t.Errorf("%q: %v", protocols, err)
			continue
		}
		conn.Close()
	}
}

// TestGuessingAcrossProtocols: failures over one protocol count for the others: the account is locked for all, and the address too.
func TestGuessingAcrossProtocols(t *testing.T) {
	h := newHouse(t)
	h.door = auth.New(h.store, h.reg, auth.Options{})
	ftp, imap := h.listen(), h.imap()
	guess := func(byFTP bool, password string) string {
		t.Helper()
		if byFTP {
			p := h.dialAt(ftp)
			p.cmd(331, "USER ann@example.test")
			_, text := p.reply2("PASS " + password)
			return text
		}
		_, answer := h.mail(imap).cmd("LOGIN ann@example.test " + password)
		return answer
	}
	// Five failures are free; then it takes longer each time. Those who wait are not waited for here.
	for i := range 5 {
		if text := guess(i%2 == 0, fmt.Sprint("wrong", i)); strings.HasPrefix(text, "230") || strings.HasPrefix(text, "OK") {
			t.Fatalf("a wrong password is answered %q", text)
		}
	}
	conns := make(chan string, 40)
	for i := range 40 {
		go func() {
			conn, err := net.Dial("tcp", map[bool]string{true: ftp, false: imap}[i%2 == 0])
			if err != nil {
				conns <- err.Error()
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			line := fmt.Sprintf("a LOGIN ann@example.test guess%d\r\n", i)
			if i%2 == 0 {
				line = fmt.Sprintf("USER ann@example.test\r\nPASS guess%d\r\n", i)
			}
			fmt.Fprint(conn, line)
			var all strings.Builder
			buf := make([]byte, 1000)
			for {
				n, err := conn.Read(buf)
				all.Write(buf[:n])
				if text := all.String(); err != nil || strings.Contains(text, "\n530 ") || strings.Contains(text, "\n421 ") || strings.Contains(text, "\na ") {
					conns <- text
					return
				}
			}
		}()
	}
	refused := 0
	for range 40 {
		text := <-conns
		if strings.Contains(text, "\n230 ") || strings.Contains(text, "\na OK") {
			t.Errorf("a wrong password is answered %q", text)
		}
		if strings.Contains(strings.ToLower(text), "too many") || strings.Contains(text, "UNAVAILABLE") || strings.Contains(text, "try again later") {
			refused++
		}
	}
	if refused < 10 {
		t.Errorf("%d of 40 guesses over both protocols were turned away unheard", refused)
	}
	// Now the right password is not even looked at, over either.
	for _, byFTP := range []bool{true, false} {
		if text := guess(byFTP, "secret"); strings.HasPrefix(text, "230") || strings.HasPrefix(text, "OK") {
			t.Errorf("after %d refusals the right password is answered %q", refused, text)
		}
	}
}

// TestSecretsInLog: passwords are neither in the log nor in the session list, however they are sent.
func TestSecretsInLog(t *testing.T) {
	book := &logBook{}
	h := newHouse(t, book.into)
	for _, lines := range []string{"PASS Gehe1m", "pass Gehe1m", "USER ann@example.test\r\nPASS Gehe1m", "USER ann@example.test\r\nPASS  Gehe1m ", "\xff\xf4PASS Gehe1m", "\xf2PASS Gehe1m", "ACCT Gehe1m", "ADAT Gehe1m",
		"USER ann@example.test\r\nPASS secret\r\nACCT Gehe1m", "PASS\tGehe1m", "PASS:Gehe1m", "PASS Gehe1m\x00", "PASSGehe1m", " PASS Gehe1m", "MIC Gehe1m", "ENC Gehe1m"} {
		p := h.dial()
		p.send("%s", lines)
		for range strings.Count(lines, "\n") + 1 {
			_, text, err := p.tryReply()
			if strings.Contains(text, "Gehe1m") {
				t.Errorf("%q is answered %q", lines, text)
			}
			if err != nil {
				break
			}
		}
		for _, i := range h.reg.List() {
			if strings.Contains(fmt.Sprintf("%+v", i), "Gehe1m") {
				t.Errorf("%q: the session list has %+v", lines, i)
			}
		}
		p.raw.Close()
	}
	h.reg.Drain(context.Background())
	if strings.Contains(strings.ToLower(book.String()), "gehe1m") {
		t.Errorf("the log has it:\n%s", book)
	}
}
