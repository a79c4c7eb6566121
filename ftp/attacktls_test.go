package ftp

import (
	"crypto/tls"
	"io"
	"testing"
)

// TestEmptyUploadWithoutCloseNotify: Node ends the TLS connection of an empty file without close_notify. A new empty file comes of it, but what is there is
// not emptied by whoever can cut a connection.
func TestEmptyUploadWithoutCloseNotify(t *testing.T) {
	h := newHouse(t)
	h.put("/full", "full")
	h.put("/empty", "")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		p := h.secureLogin(version)
		fin := func(line string) {
			t.Helper()
			conn := p.open("%s", line).(*tls.Conn)
			raw := conn.NetConn()
			raw.(interface{ CloseWrite() error }).CloseWrite()
			io.Copy(io.Discard, raw)
		}
		for line, code := range map[string]int{"STOR new": 226, "STOR empty": 226, "STOR full": 426, "APPE full": 426, "STOU new": 226} {
			fin(line)
			p.expect(code)
		}
		p.cmd(350, "REST 2")
		fin("STOR full")
		p.expect(426)
		if got, _ := h.get("/full"); got != "full" {
			t.Fatalf("full holds %q", got)
		}
		if got, ok := h.get("/new"); got != "" || !ok {
			t.Fatalf("new holds %q, %v", got, ok)
		}
		p.cmd(250, "DELE new")
	}
}
