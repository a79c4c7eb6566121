package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pires/go-proxyproto"
)

// proxy2 is a header of version 2.
func proxy2(command, family byte, rest ...byte) []byte {
	h := append(bytes.Clone(proxyproto.SIGV2), command, family, 0, 0)
	binary.BigEndian.PutUint16(h[14:], uint16(len(rest)))
	return append(h, rest...)
}

var (
	ends4 = []byte{192, 0, 2, 7, 203, 0, 113, 1, 0x9c, 0x40, 0, 21}
	ends6 = append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x9c, 0x40, 0, 21)
)

// with puts bytes together.
func with(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// summed gives a header a checksum; off makes it wrong.
func summed(off uint32) []byte {
	h := proxy2(0x21, 0x11, with(ends4, []byte{4, 0, 2, 9, 9}, []byte{3, 0, 4, 0, 0, 0, 0}, []byte{2, 0, 1, 'a'})...)
	at := 16 + 12 + 5 + 3
	binary.BigEndian.PutUint32(h[at:], off+crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli)))
	return h
}

func TestReadProxyHeader(t *testing.T) {
	const (
		v4 = "192.0.2.7:40000 203.0.113.1:21"
		v6 = "[2001:db8::7]:40000 [2001:db8::1]:21"
		no = "invalid AddrPort invalid AddrPort" // the front end's own
	)
	longest := "PROXY UNKNOWN " + strings.Repeat("f", 39) + " " + strings.Repeat("f", 39) + " 65535 65535\r\n"
	for _, test := range []struct {
		name, header, want string // want "": refused
	}{
		{"v1 IPv4", "PROXY TCP4 192.0.2.7 203.0.113.1 40000 21\r\n", v4},
		{"v1 IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 40000 21\r\n", v6},
		{"v1 mapped", "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:203.0.113.1 40000 21\r\n", v4},
		{"v1 unknown", "PROXY UNKNOWN\r\n", no},
		{"v1 unknown, longest", longest, no},
		{"v1 too long", strings.Replace(longest, "\r", "5\r", 1), ""},
		{"v1 endless", "PROXY TCP4 " + strings.Repeat("1", 500), ""},
		{"v1 without CR", "PROXY TCP4 192.0.2.7 203.0.113.1 40000 21\n" + strings.Repeat(" ", 100), ""},
		{"v1 cut", "PROXY TCP4 192.0.2.7", ""},
		{"v1 lower case", "proxy TCP4 192.0.2.7 203.0.113.1 40000 21\r\n", ""},
		{"v1 wrong family", "PROXY TCP4 2001:db8::7 2001:db8::1 40000 21\r\n", ""},
		{"v1 leading zero", "PROXY TCP4 192.0.2.07 203.0.113.1 40000 21\r\n", ""},
		{"v1 port too large", "PROXY TCP4 192.0.2.7 203.0.113.1 70000 21\r\n", ""},
		{"v1 more fields", "PROXY TCP4 192.0.2.7 203.0.113.1 40000 21 7\r\n", ""},
		{"v1 two blanks", "PROXY TCP4  192.0.2.7 203.0.113.1 40000 21\r\n", ""},
		{"v1 name", "PROXY TCP4 localhost 203.0.113.1 40000 21\r\n", ""},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 2001:db8::1 40000 21\r\n", ""},
		{"v1 nobody's address", "PROXY TCP4 0.0.0.0 203.0.113.1 40000 21\r\n", ""},
		{"v1 multicast", "PROXY TCP4 224.0.0.1 203.0.113.1 40000 21\r\n", ""},
		{"v1 broadcast", "PROXY TCP4 255.255.255.255 203.0.113.1 40000 21\r\n", ""},
		{"v2 IPv4", string(proxy2(0x21, 0x11, ends4...)), v4},
		{"v2 IPv6", string(proxy2(0x21, 0x21, ends6...)), v6},
		{"v2 TLVs", string(proxy2(0x21, 0x11, with(ends4, []byte{5, 0, 3, 1, 2, 3}, []byte{2, 0, 0})...)), v4},
		{"v2 TLVs up to the limit", string(proxy2(0x21, 0x11, with(ends4, []byte{0xe0, 0x0f, 0xf1}, make([]byte, 4096-12-3))...)), v4},
		{"v2 too long", string(proxy2(0x21, 0x11, with(ends4, make([]byte, 4096-11))...)), ""},
		{"v2 TLV cut", string(proxy2(0x21, 0x11, with(ends4, []byte{5, 0, 3, 1, 2})...)), ""},
		{"v2 TLV head cut", string(proxy2(0x21, 0x11, with(ends4, []byte{5, 0})...)), ""},
		{"v2 checksum", string(summed(0)), v4},
		{"v2 wrong checksum", string(summed(1)), ""},
		{"v2 short checksum", string(proxy2(0x21, 0x11, with(ends4, []byte{3, 0, 1, 0})...)), ""},
		{"v2 LOCAL", string(proxy2(0x20, 0)), no},
		{"v2 LOCAL with addresses", string(proxy2(0x20, 0x11, ends4...)), no},
		{"v2 UNSPEC", string(proxy2(0x21, 0, 1, 2, 3)), no},
		{"v2 UDP", string(proxy2(0x21, 0x12, ends4...)), no},
		{"v2 unix", string(proxy2(0x21, 0x31, make([]byte, 216)...)), no},
		{"v2 unknown family", string(proxy2(0x21, 0x41, ends4...)), ""},
		{"v2 unknown transport", string(proxy2(0x21, 0x13, ends4...)), ""},
		{"v2 unknown command", string(proxy2(0x22, 0x11, ends4...)), ""},
		{"v3", string(proxy2(0x31, 0x11, ends4...)), ""},
		{"v2 addresses cut", string(proxy2(0x21, 0x11, ends4[:11]...)), ""},
		{"v2 cut", string(proxy2(0x21, 0x11, ends4...)[:20]), ""},
		{"nothing", "", ""},
		{"FTP", "USER ann@example.test\r\n", ""},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, behind := range []string{"", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n"} { // a second header is not ours to read
				if behind != "" && test.want == "" {
					continue
				}
				whole := strings.NewReader(test.header + behind)
				var r io.Reader = whole
				if behind != "" {
					r = iotest.OneByteReader(whole) // each byte in a packet of its own
				}
				header, err := readProxy(r)
				var from, to netip.AddrPort
				if err == nil {
					from, to, err = parseProxy(header)
				}
				if got := from.String() + " " + to.String(); err == nil && got != test.want || (err != nil) != (test.want == "") {
					t.Errorf("got %s, %v; want %q", got, err, test.want)
				}
				if err == nil && whole.Len() != len(behind) {
					t.Errorf("%d bytes are left of what follows, want %d", whole.Len(), len(behind))
				}
			}
		})
	}
}

// What cannot become a header is refused at its first wrong byte, without a wait.
func TestReadProxyIsQuick(t *testing.T) {
	for _, text := range []string{"G", "PROXX", "\r\n\r\n\x01", "\x16"} {
		client, server := net.Pipe()
		go io.WriteString(client, text)
		if _, _, err := ReadProxy(server); !errors.Is(err, errNoProxy) {
			t.Errorf("%q: %v", text, err)
		}
		client.Close()
		server.Close()
	}
}

func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 203.0.113.1 40000 21\r\n"))
	f.Add(proxy2(0x21, 0x21, ends6...))
	f.Add(summed(0))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		header, err := readProxy(r)
		if err != nil {
			return
		}
		if !bytes.Equal(header, in[:len(in)-r.Len()]) || len(header) > maxProxy2+16 {
			t.Fatalf("read %q of %q", header, in)
		}
		from, to, err := parseProxy(header)
		if from.IsValid() != to.IsValid() || err != nil && from.IsValid() {
			t.Fatalf("%v %v %v", from, to, err)
		}
	})
}
