package ftp

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// TestASCII: TYPE A changes nothing by default, and line ends with ftp.ascii = convert (RFC 959 section 3.1.1.1).
func TestASCII(t *testing.T) {
	h := newHouse(t)
	const unix, net = "a\nb\r\nc\rd\n\n", "a\r\nb\r\nc\rd\r\n\r\n"
	h.put("/unix", unix)
	p := h.login()
	p.cmd(200, "TYPE A")
	if got := p.retr("RETR unix"); got != unix {
		t.Errorf("%q", got)
	}
	p.cmd(213, "SIZE unix")
	if code := p.stor(net, "STOR exact"); code != 226 {
		t.Error(code)
	}
	if got, _ := h.get("/exact"); got != net {
		t.Errorf("%q", got)
	}

	addr := h.listen(func(o *Options) { o.ConvertASCII = true })
	p = h.dialAt(addr)
	p.cmd(331, "USER ann@example.test")
	p.cmd(230, "PASS secret")
	p.cmd(550, "SIZE unix") // TYPE A is how a session begins
	if got := p.retr("RETR unix"); got != net {
		t.Errorf("%q", got)
	}
	if code := p.stor(net, "STOR converted"); code != 226 {
		t.Error(code)
	}
	if got, _ := h.get("/converted"); got != "a\nb\nc\rd\n\n" {
		t.Errorf("%q", got)
	}
	if code := p.stor("more\r\n", "APPE converted"); code != 226 {
		t.Error(code)
	}
	if got, _ := h.get("/converted"); got != "a\nb\nc\rd\n\nmore\n" {
		t.Errorf("%q", got)
	}
	p.cmd(350, "REST 0") // lftp
	p.cmd(501, "REST 5")
	p.cmd(551, "RANG 0 5")
	p.cmd(551, "HASH unix")
	p.cmd(200, "TYPE I")
	p.cmd(350, "REST 5")
	p.cmd(200, "TYPE A")
	p.epsv()
	p.cmd(551, "RETR unix")
	p.cmd(200, "TYPE I")
	p.cmd(213, "SIZE unix")
	p.cmd(350, "REST 2")
	if got := p.retr("RETR unix"); got != unix[2:] {
		t.Errorf("%q", got)
	}
	// What is cut cannot be counted in the client's bytes, so it is no part to go on from.
	p.cmd(200, "TYPE A")
	conn := p.open("STOR cut")
	io.WriteString(conn, strings.Repeat("line\r\n", 100_000))
	p.send("ABOR")
	p.expect(426)
	p.expect(226)
	conn.Close()
	if h.kept("/cut") != -1 {
		t.Error("a part was kept")
	}
}

// Whatever the pieces in which text comes, the result is the same.
func TestConversion(t *testing.T) {
	parts := []string{"\r", "\n", "\r\n", "x", "yz", "\r\r", "\n\n"}
	for range 2000 {
		var text strings.Builder
		for range rand.N(20) {
			text.WriteString(parts[rand.N(len(parts))])
		}
		in := text.String()
		want := strings.ReplaceAll(in, "\r\n", "\n")
		for i, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
			got, err := io.ReadAll(iotest.OneByteReader(newLFReader(r)))
			if err != nil || string(got) != want {
				t.Fatalf("%q, reader %d: %q, %v", in, i, got, err)
			}
		}
		wire := strings.ReplaceAll(want, "\n", "\r\n")
		var out []byte
		var last byte
		for rest := []byte(in); len(rest) > 0; {
			n := 1 + rand.N(len(rest))
			out, last = appendCRLF(out, rest[:n], last)
			rest = rest[n:]
		}
		// CRs in front of a line end stay as they are: only an LF without one gets one.
		if got := bytes.ReplaceAll(out, []byte("\r\n"), []byte("\n")); !bytes.Equal(got, []byte(want)) || len(out) < len(want) || strings.Count(wire, "\r\n") != bytes.Count(out, []byte("\r\n")) {
			t.Fatalf("%q: %q", in, out)
		}
	}
}
