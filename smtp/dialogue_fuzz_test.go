package smtp_test

import (
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/smtp"
)

// replyLine is a reply as RFC 5321 section 4.2 has it.
var replyLine = regexp.MustCompile(`^[2345]\d\d[ -][ -~\x80-\xff]*\r\n$`)

// FuzzDialogue says anything to each kind of listener. Whatever it is, each line that comes back is a reply, the connection ends when its client has
// no more to say, and the server says nothing of its own.
func FuzzDialogue(f *testing.F) {
	for _, s := range []string{
		"EHLO x\r\nMAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<ann@example.test>\r\nBDAT 3\r\n\x00\n\rBDAT 0 LAST\r\nQUIT\r\n",
		"LHLO x\r\nMAIL FROM:<a@b.example> SIZE=10 SMTPUTF8\r\nRCPT TO:<ann@example.test> NOTIFY=NEVER\r\nRCPT TO:<joe@example.test>\r\nDATA\r\nA: b\r\n\r\n..\r\n.\r\nRSET\r\nQUIT\r\n",
		"EHLO x\r\nAUTH PLAIN AGFubkBleGFtcGxlLnRlc3QAc2VjcmV0\r\nMAIL FROM:<ann@example.test> BY=60;R HOLDFOR=60 MT-PRIORITY=3\r\nRCPT TO:<x@example.org> ORCPT=rfc822;a\r\nDATA\r\nFrom: ann@example.test\r\n\r\n.\r\n",
		"EHLO x\r\nAUTH LOGIN\r\n*\r\nXCLIENT ADDR=192.0.2.1 HELO=x\r\nHELO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<ann@example.test> RRVS=2026-11-23T12:00:00Z;C\r\nDATA\r\n\r\n.\r\nDATA\r\n",
		"VRFY a\r\nHELP\r\nEXPN\r\nNOOP\r\nBDAT 5\r\nabcdeBDAT x\r\n", "\x16\x03\x01", "STARTTLS\r\n\x16\x03\x01", "GET / HTTP/1.1\r\n", "EHLO x\nRSET\r\r\n",
	} {
		for mode := range byte(4) {
			f.Add(mode, []byte(s))
		}
	}
	h := open(f, smtp.Options{MaxMessage: 100_000, MaxRecipients: 5, Patience: 2 * time.Second}, auth.PlaintextAlways)
	plain := func(addr string) func(context.Context) (net.Conn, error) { return from("127.0.0.1", addr) }
	dial := []func(context.Context) (net.Conn, error){plain(h.mx), plain(h.sub), plain(h.lmtp), from("127.0.0.7", h.sub)}
	f.Fuzz(func(t *testing.T, mode byte, in []byte) {
		if len(in) > 20_000 {
			return
		}
		c, err := dial[int(mode)%len(dial)](t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Write(in)
		_ = c.(*net.TCPConn).CloseWrite()
		said, err := io.ReadAll(c)
		if err != nil && !strings.Contains(err.Error(), "reset by peer") {
			t.Fatalf("%q: %v", said, err)
		}
		for line := range strings.Lines(string(said)) {
			if !replyLine.MatchString(line) && !strings.HasPrefix(line, "334 ") && err == nil {
				if strings.Contains(string(in), "STARTTLS") || strings.Contains(strings.ToUpper(string(in)), "STARTTLS") {
					return // TLS's alert
				}
				t.Fatalf("%q is no reply in %q", line, said)
			}
		}
	})
}
