package ftp

import (
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// The history tells why a session ended.
func TestEndReason(t *testing.T) {
	ended := make(chan session.Info, 8)
	h := newHouseWith(t, session.Options{Grace: 2 * time.Second, History: func(i session.Info) { ended <- i }})
	for _, test := range []struct {
		reason string
		talk   func(p *peer)
	}{
		{"quit", func(p *peer) { p.cmd(221, "QUIT") }},
		{"too many failed logins on this connection", func(p *peer) {
			for _, code := range []int{530, 530, 421} {
				p.cmd(331, "USER ann@example.test")
				p.cmd(code, "PASS wrong")
			}
		}},
		{"too many unknown commands", func(p *peer) {
			for range maxUnknown - 1 {
				p.cmd(500, "WHAT")
			}
			p.cmd(421, "WHAT")
		}},
		{"data behind AUTH", func(p *peer) { p.cmd(503, "AUTH TLS\r\nUSER ann@example.test") }},
		{"not an FTP client", func(p *peer) { p.send("GET / HTTP/1.1") }},
		{"closed by the client", func(p *peer) { p.conn.Close() }},
	} {
		test.talk(h.dial())
		if i := <-ended; i.EndReason != test.reason {
			t.Errorf("%q: the history has %q", test.reason, i.EndReason)
		}
	}
}
