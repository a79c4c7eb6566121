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
	h.part("/part", "what came before")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		p := h.secureLogin(version)
		fin := func(line string) {
			t.Helper()
			conn := p.open("%s", line).(*tls.Conn)
			raw := conn.NetConn()
			raw.(interface{ CloseWrite() error }).CloseWrite()
			io.Copy(io.Discard, raw)
		}
		for line, code := range map[string]int{"STOR new": 226, "STOR empty": 226, "STOR full": 426, "APPE full": 426, "STOR part": 426, "STOU new": 226} {
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
		if n := h.kept("/part"); n != 16 {
			t.Fatalf("a part of %d bytes", n)
		}
		p.cmd(250, "DELE new")
	}
}

// TestCutRecord: who sent the beginning of a TLS record had something to send. A connection that ends inside of its first one makes no empty file.
func TestCutRecord(t *testing.T) {
	h := newHouse(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		p := h.secureLogin(version)
		for _, record := range []string{"\x17", "\x17\x03\x03\x00", "\x17\x03\x03\x00\x40", "\x17\x03\x03\x00\x40half of what was to come", "\x15\x03\x03\x00\x1a\x00"} {
			conn := p.open("STOR new").(*tls.Conn)
			raw := conn.NetConn()
			io.WriteString(raw, record)
			raw.(interface{ CloseWrite() error }).CloseWrite()
			p.expect(426)
			raw.Close()
			if got, ok := h.get("/new"); ok {
				t.Errorf("%x: new holds %q", record, got)
			}
		}
	}
}

// The end of a record is found wherever the pieces that come are cut.
func TestRecords(t *testing.T) {
	stream := []byte("\x16\x03\x01\x00\x03abc\x17\x03\x03\x00\x00\x17\x03\x03\x01\x02" + noise(258))
	ends := map[int]bool{0: true, 8: true, 13: true, len(stream): true}
	for first := range len(stream) + 1 {
		for second := first; second <= len(stream); second++ {
			var r records
			r.pass(stream[:first])
			if r.inside() == ends[first] {
				t.Fatalf("inside after %d bytes: %v", first, r.inside())
			}
			r.pass(stream[first:second])
			if r.inside() == ends[second] {
				t.Fatalf("inside after %d and %d bytes: %v", first, second, r.inside())
			}
		}
	}
}
