//go:build bench

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// bareMail is how a packetboat takes whatever comes and sends it as it is, as Postfix does here.
var bareMail = []string{"--set", "dkim.sign=off", "--set", "verify.enabled=off", "--set", "score.junk=0", "--set", "score.reject=0", "--set", "rate.unknown=0"}

// benchOutbound is where a packetboat finds the sink, and what the DNS says of those who send. That there is no name holds for five minutes, as each zone
// says it for some time: without a SOA of its own nothing of it may be kept (RFC 2308 section 5), and the bench would measure its own DNS.
func benchOutbound(t *testing.T, sink *mailSink) []string {
	_, port, _ := net.SplitHostPort(sink.addr)
	d := resolvetest.New(t)
	d.Set("test. 300 IN SOA ns.test. hostmaster.test. 1 3600 600 86400 300\nin-addr.arpa. 300 IN SOA ns.test. hostmaster.test. 1 3600 600 86400 300\n" +
		"sink.test. 300 IN MX 10 mx.sink.test.\nmx.sink.test. 300 IN A 127.0.0.1\nclient.test. 300 IN TXT \"v=spf1 ip4:127.0.0.1 -all\"\n")
	return []string{"--set", "dns.servers=" + d.Addr(), "--set", "outbound.enabled=on", "--set", "outbound.port=" + port, "--set", "outbound.per_domain=64"}
}

func plainAuth(user, password string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
}

// smtpConn is a client that does little.
type smtpConn struct {
	net.Conn
	r *bufio.Reader
}

// dialSMTP connects, says EHLO and logs in if auth is a command.
func dialSMTP(addr, auth string) (*smtpConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &smtpConn{conn, bufio.NewReader(conn)}
	if err = p.expect("220 "); err == nil {
		err = p.ask("EHLO client.test\r\n", "250 ")
	}
	if err == nil && auth != "" {
		err = p.ask(auth+"\r\n", "235 ")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

// expect reads a reply; one that does not begin so is an error.
func (p *smtpConn) expect(begin string) error {
	p.SetDeadline(time.Now().Add(5 * time.Minute))
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return err
		}
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if !strings.HasPrefix(line, begin) {
			return fmt.Errorf("wanted %q, got %q", begin, line)
		}
		return nil
	}
}

func (p *smtpConn) ask(say, begin string) error {
	if _, err := io.WriteString(p, say); err != nil {
		return err
	}
	return p.expect(begin)
}

// message sends one: MAIL, RCPT and DATA in one packet (RFC 2920), then the text, which has no line that begins with a dot.
func (p *smtpConn) message(from string, to []string, text []byte) error {
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + from + ">\r\n")
	for _, r := range to {
		b.WriteString("RCPT TO:<" + r + ">\r\n")
	}
	b.WriteString("DATA\r\n")
	if _, err := io.WriteString(p, b.String()); err != nil {
		return err
	}
	for range 1 + len(to) {
		if err := p.expect("250 "); err != nil {
			return err
		}
	}
	if err := p.expect("354 "); err != nil {
		return err
	}
	if _, err := p.Write(append(text, ".\r\n"...)); err != nil {
		return err
	}
	return p.expect("250 ")
}

// chunks sends one by BDAT (RFC 3030).
func (p *smtpConn) chunks(from, to string, text []byte, size int) error {
	if err := p.ask("MAIL FROM:<"+from+">\r\n", "250 "); err != nil {
		return err
	}
	if err := p.ask("RCPT TO:<"+to+">\r\n", "250 "); err != nil {
		return err
	}
	for len(text) > 0 {
		n, last := min(size, len(text)), ""
		if n == len(text) {
			last = " LAST"
		}
		if _, err := fmt.Fprintf(p, "BDAT %d%s\r\n", n, last); err != nil {
			return err
		}
		if _, err := p.Write(text[:n]); err != nil {
			return err
		}
		if err := p.expect("250 "); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

var mailLines = strings.Repeat(strings.Repeat("The quick brown fox jumps over it. ", 2)+"\r\n", 1000)

// mailText is message number i of about size bytes.
func mailText(i int, from string, size int) string {
	var b strings.Builder
	b.Grow(size + 200)
	fmt.Fprintf(&b, "From: Bench <%s>\r\nTo: somebody@bench.test\r\nSubject: message %d\r\nDate: Mon, 23 Nov 2026 00:00:00 +0000\r\nMessage-ID: <%d.bench@client.test>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", from, i, i)
	for b.Len() < size {
		b.WriteString(mailLines[:min(len(mailLines), (size-b.Len()+71)/72*72)])
	}
	return b.String()
}

// mailSink is a server of somebody else's that takes everything and keeps nothing.
type mailSink struct {
	addr   string
	count  atomic.Int64
	signed atomic.Int64 // of those, with a DKIM-Signature
}

func startMailSink(t *testing.T) *mailSink {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s := &mailSink{addr: ln.Addr().String()}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *mailSink) serve(conn net.Conn) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	say := func(text string) {
		w.WriteString(text + "\r\n")
		if r.Buffered() == 0 {
			w.Flush()
		}
	}
	say("220 sink.test ESMTP")
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(string(line[:min(4, len(line))])); verb {
		case "EHLO":
			say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 0")
		case "DATA":
			say("354 go on")
			w.Flush()
			signed := false
			for {
				line, err := r.ReadSlice('\n')
				if err != nil && err != bufio.ErrBufferFull {
					return
				}
				if bytes.Equal(line, []byte(".\r\n")) {
					break
				}
				signed = signed || bytes.HasPrefix(line, []byte("DKIM-Signature:"))
			}
			if signed {
				s.signed.Add(1)
			}
			s.count.Add(1)
			say("250 2.0.0 taken")
		case "QUIT":
			say("221 2.0.0 bye")
			w.Flush()
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}
