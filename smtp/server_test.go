package smtp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/xdg-go/scram"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp"
)

func TestRefusal(t *testing.T) {
	if got := string(smtp.Refusal("too many\r\nsessions")); got != "421 4.7.0 too many??sessions\r\n" {
		t.Errorf("%q", got)
	}
}

// go-smtp's own client, all the way.
func TestClient(t *testing.T) {
	h := open(t, smtp.Options{}, auth.PlaintextNever)
	_, config := sessiontest.TLS(t)
	raw, err := net.Dial("tcp", h.sub)
	if err != nil {
		t.Fatal(err)
	}
	c, err := gosmtp.NewClientStartTLS(raw, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", "ann@example.test", "secret")); err != nil {
		t.Fatal(err)
	}
	body := "From: ann@example.test\r\n\r\n" + strings.Repeat(".a line\r\n", 20_000)
	for range 3 {
		if err := c.SendMail("ann@example.test", []string{"joe@example.test", "bob@example.test"}, strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SendMail("ann@example.test", []string{"x@example.org"}, strings.NewReader(body)); err != nil {
		t.Error("mail for another domain was refused:", err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"joe", "bob"} {
		all := h.inbox(t, name)
		if len(all) != 3 || !strings.HasSuffix(all[2], body[strings.Index(body, "\r\n\r\n"):]) {
			t.Errorf("%s has %d messages", name, len(all))
		}
	}
}

// dial opens a connection to speak over by hand, behind its EHLO.
func dial(t testing.TB, addr string, config *tls.Config) *textproto.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.SetDeadline(time.Now().Add(60 * time.Second))
	if config != nil {
		raw = tls.Client(raw, config)
	}
	c := textproto.NewConn(raw)
	t.Cleanup(func() { c.Close() })
	if _, _, err := c.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	say(t, c, 250, "EHLO client.example")
	return c
}

func say(t testing.TB, c *textproto.Conn, code int, format string, args ...any) string {
	t.Helper()
	if err := c.PrintfLine(format, args...); err != nil {
		t.Fatal(err)
	}
	_, text, err := c.ReadResponse(code)
	if err != nil {
		t.Fatalf(format+": %v", append(args, err)...)
	}
	return text
}

// SCRAM-SHA-256 (RFC 7677), with and without an initial response.
func TestSCRAM(t *testing.T) {
	h := open(t, smtp.Options{}, auth.PlaintextNever)
	_, config := sessiontest.TLS(t)
	for _, initial := range []bool{true, false} {
		for _, password := range []string{"secret", "wrong"} {
			c := dial(t, h.subs, config)
			client, err := scram.SHA256.NewClient("joe@example.test", password, "")
			if err != nil {
				t.Fatal(err)
			}
			conv := client.NewConversation()
			first, _ := conv.Step("")
			var challenge string
			if initial {
				challenge = say(t, c, 334, "AUTH SCRAM-SHA-256 %s", base64.StdEncoding.EncodeToString([]byte(first)))
			} else {
				say(t, c, 334, "AUTH SCRAM-SHA-256")
				challenge = say(t, c, 334, "%s", base64.StdEncoding.EncodeToString([]byte(first)))
			}
			b, _ := base64.StdEncoding.DecodeString(challenge)
			second, err := conv.Step(string(b))
			if err != nil {
				t.Fatal(err)
			}
			if password == "wrong" {
				say(t, c, 535, "%s", base64.StdEncoding.EncodeToString([]byte(second)))
				continue
			}
			b, _ = base64.StdEncoding.DecodeString(say(t, c, 334, "%s", base64.StdEncoding.EncodeToString([]byte(second))))
			if _, err := conv.Step(string(b)); err != nil || !conv.Valid() {
				t.Fatal(err)
			}
			say(t, c, 235, "")
			say(t, c, 250, "MAIL FROM:<joe@example.test>")
		}
	}
}

// Many at once, one of the accounts with room for a few: each message is with both or, when refused, with none.
func TestFullWhileDelivering(t *testing.T) {
	h := open(t, smtp.Options{}, auth.PlaintextNever)
	h.quota(t, "ann", "60000")
	body := "Subject: x\r\n\r\n" + strings.Repeat("0123456789\r\n", 400)
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		c := dial(t, h.mx, nil)
		all.Go(func() {
			for range 4 {
				for _, line := range []string{"MAIL FROM:<a@b.example>", "RCPT TO:<joe@example.test>"} {
					say(t, c, 250, "%s", line)
				}
				if err := c.PrintfLine("RCPT TO:<ann@example.test>"); err != nil {
					t.Error(err)
				}
				if code, _, err := c.ReadResponse(250); code == 452 {
					say(t, c, 250, "RSET")
					continue
				} else if err != nil {
					t.Error(err)
				}
				say(t, c, 354, "DATA")
				code, text, _ := func() (int, string, error) {
					_ = c.PrintfLine("%s.", body)
					return c.ReadResponse(250)
				}()
				switch code {
				case 250:
					taken.Add(1)
				case 452:
				default:
					t.Error(code, text)
				}
			}
		})
	}
	all.Wait()
	ann, joe := len(h.inbox(t, "ann")), len(h.inbox(t, "joe"))
	if n := int(taken.Load()); n == 0 || n == 32 || ann != n || joe != n {
		t.Errorf("%d of 32 were taken; ann has %d, joe %d", n, ann, joe)
	}
	box, err := h.store.Usage(t.Context(), h.accounts["ann"].ID)
	if err != nil || box.Bytes > 60000 {
		t.Errorf("%v, %v", box, err)
	}
}

// A large message, as DATA and as chunks, arrives byte for byte.
func TestLarge(t *testing.T) {
	h := open(t, smtp.Options{}, auth.PlaintextNever)
	var b bytes.Buffer
	b.WriteString("Subject: large\r\n\r\n")
	for i := range 200_000 {
		fmt.Fprintf(&b, "%s%d\r\n", strings.Repeat(".", i%3), i*i)
	}
	want := b.String()
	c := dial(t, h.mx, nil)
	say(t, c, 250, "MAIL FROM:<>")
	say(t, c, 250, "RCPT TO:<ann@example.test>")
	say(t, c, 354, "DATA")
	stuffed := strings.ReplaceAll("\r\n"+want, "\r\n.", "\r\n..")[2:]
	if _, err := c.W.WriteString(stuffed); err != nil {
		t.Fatal(err)
	}
	say(t, c, 250, ".")
	say(t, c, 250, "MAIL FROM:<>")
	say(t, c, 250, "RCPT TO:<ann@example.test>")
	for rest, n := want, 1; rest != ""; n = n*3 + 1 {
		n = min(n, len(rest), 1_000_000)
		last := ""
		if n == len(rest) {
			last = " LAST"
		}
		if _, err := fmt.Fprintf(c.W, "BDAT %d%s\r\n%s", n, last, rest[:n]); err != nil {
			t.Fatal(err)
		}
		if err := c.W.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.ReadResponse(250); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	all := h.inbox(t, "ann")
	if len(all) != 2 {
		t.Fatal(len(all))
	}
	for i, text := range all {
		if at := strings.Index(text, "Subject: large"); text[max(at, 0):] != want {
			t.Errorf("message %d has other bytes", i)
		}
	}
}

// Serve ends when its context ends, and only when its connections have ended.
func TestServeWaits(t *testing.T) {
	h := open(t, smtp.Options{}, auth.PlaintextNever)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door := auth.New(h.store, h.registry, auth.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- smtp.New(h.store, door, smtp.Options{}).Serve(ctx, h.registry.Listen(ln, sessionOptions))
	}()
	c := dial(t, ln.Addr().String(), nil)
	cancel()
	for by := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		other, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			break // the listener is closed
		}
		other.Close()
		if time.Now().After(by) {
			t.Fatal("connections are still taken")
		}
	}
	say(t, c, 250, "NOOP")
	select {
	case err := <-done:
		t.Fatal("Serve ended before its connection did:", err)
	default:
	}
	say(t, c, 221, "QUIT")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.ReadLine(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
