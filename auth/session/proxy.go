package session

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// FrontEnds are the networks of load balancers and TCP proxies that begin each connection with a PROXY header (HAProxy's
// proxy-protocol.txt, versions 1 and 2), which says who the client is. Whoever is in them is believed, so they hold the front ends' own
// addresses and nobody else's.
type FrontEnds []netip.Prefix

// Has tells whether a front end speaks from a.
func (f FrontEnds) Has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(f, func(p netip.Prefix) bool { return p.Contains(a) })
}

const (
	proxyTime = 5 * time.Second // for the header; the specification wants 3 s at least, so that one lost packet can be sent again
	maxProxy1 = 107             // bytes of a line of version 1, with its CR LF
	maxProxy2 = 4 << 10         // bytes behind the fixed part of version 2: addresses and TLVs, also with a client's certificate
)

// ProxyLocal is the header of a front end's own connection (version 2, LOCAL).
func ProxyLocal() []byte {
	return append(bytes.Clone(proxyproto.SIGV2), byte(proxyproto.LOCAL), byte(proxyproto.UNSPEC), 0, 0)
}

var (
	errNoProxy      = errors.New("no PROXY header")
	errProxyNothing = errors.New("closed before the PROXY header")
	errProxySize    = errors.New("PROXY header too long")
	errProxyTLV     = errors.New("PROXY header malformed: TLVs")
	errProxyCRC     = errors.New("PROXY header damaged: wrong checksum")
)

// ReadProxy reads the PROXY header with which a front end begins conn, and no byte behind it. It waits 5 s at most, whatever deadline conn
// had; afterwards conn has none. from is the client and to the address that it connected to. Both are zero for a connection of the front
// end's own (LOCAL: a health check), for one of whose client it does not know (UNKNOWN, UNSPEC, sockets of another kind than
// TCP) and for a client that sits on the front end's machine and came there by loopback, which would be taken for this machine's: those are
// to be taken for what they look like. Any error means that the connection must be closed: what was read is lost.
func ReadProxy(conn net.Conn) (from, to netip.AddrPort, err error) {
	conn.SetReadDeadline(time.Now().Add(proxyTime))
	header, err := readProxy(conn)
	if err == nil {
		from, to, err = parseProxy(header)
	}
	if err != nil {
		return netip.AddrPort{}, netip.AddrPort{}, fmt.Errorf("PROXY protocol: %w", err)
	}
	if from.Addr().IsLoopback() && !addrPort(conn.RemoteAddr()).Addr().IsLoopback() {
		from, to = netip.AddrPort{}, netip.AddrPort{}
	}
	return from, to, conn.SetReadDeadline(time.Time{})
}

// readProxy reads the bytes of a header. It never reads beyond them, as what follows belongs to TLS or to the protocol, and stops at the first
// byte that no header can have.
func readProxy(r io.Reader) ([]byte, error) {
	const shortest = len("PROXY UNKNOWN\r\n")
	h := make([]byte, 0, maxProxy1)
	for len(h) < shortest {
		n, err := r.Read(h[len(h):shortest])
		h = h[:len(h)+n]
		if !begins(h, proxyproto.SIGV1) && !begins(h, proxyproto.SIGV2) {
			return nil, errNoProxy
		}
		if err == io.EOF && len(h) == 0 {
			return nil, errProxyNothing
		}
		if err != nil && len(h) < shortest {
			return nil, fmt.Errorf("after %d bytes: %w", len(h), err)
		}
	}
	if begins(h, proxyproto.SIGV1) {
		return readProxy1(r, h)
	}
	return readProxy2(r, h)
}

// begins tells whether h begins with signature, as far as it goes.
func begins(h, signature []byte) bool {
	n := min(len(h), len(signature))
	return bytes.Equal(h[:n], signature[:n])
}

// readProxy1 reads the rest of a line. Two bytes at a time, as it ends in two.
func readProxy1(r io.Reader, h []byte) ([]byte, error) {
	for !bytes.HasSuffix(h, []byte("\r\n")) {
		next := 2
		if h[len(h)-1] == '\r' {
			next = 1
		}
		if len(h)+next > maxProxy1 {
			return nil, errProxySize
		}
		h = h[:len(h)+next]
		if _, err := io.ReadFull(r, h[len(h)-next:]); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// readProxy2 reads the rest of a binary header, whose length is its bytes 15 and 16.
func readProxy2(r io.Reader, h []byte) ([]byte, error) {
	h = h[:16]
	if _, err := io.ReadFull(r, h[15:]); err != nil {
		return nil, err
	}
	rest := int(binary.BigEndian.Uint16(h[14:]))
	if rest > maxProxy2 {
		return nil, errProxySize
	}
	h = append(h, make([]byte, rest)...)
	_, err := io.ReadFull(r, h[16:])
	return h, err
}

// parseProxy says what a header tells of a connection.
func parseProxy(h []byte) (from, to netip.AddrPort, err error) {
	if unspecified(h) {
		return from, to, nil
	}
	parsed, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(h), len(h)))
	if err != nil {
		return from, to, err
	}
	if err := checkProxy(h, parsed); err != nil {
		return from, to, err
	}
	source, destination, ok := parsed.TCPAddrs()
	if !ok || parsed.Command.IsLocal() {
		return from, to, nil
	}
	from, to = addrPort(source), addrPort(destination)
	if a := from.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.AddrPort{}, netip.AddrPort{}, fmt.Errorf("no client can have the address %v", a)
	}
	return from, to, nil
}

// unspecified tells of a binary header that it is about a connection of a kind which the front end cannot name (PROXY and UNSPEC). A receiver may
// take it with what it looks like, which the library does not.
func unspecified(h []byte) bool {
	return begins(h, proxyproto.SIGV2) && h[12] == byte(proxyproto.PROXY) && h[13] == byte(proxyproto.UNSPEC)
}

// checkProxy sees to what the library leaves alone: that the TLVs fill their room, and that the checksum, if there is one, is right.
func checkProxy(h []byte, parsed *proxyproto.Header) error {
	if parsed.Version != 2 || parsed.Command.IsLocal() {
		return nil
	}
	at := 16
	switch {
	case parsed.TransportProtocol.IsIPv4():
		at += 2*4 + 2*2
	case parsed.TransportProtocol.IsIPv6():
		at += 2*16 + 2*2
	case parsed.TransportProtocol.IsUnix():
		at += 2 * 108
	}
	for at < len(h) {
		const head = 3 // kind and length
		if len(h) < at+head {
			return errProxyTLV
		}
		end := at + head + int(binary.BigEndian.Uint16(h[at+1:]))
		if end > len(h) {
			return errProxyTLV
		}
		if h[at] == byte(proxyproto.PP2_TYPE_CRC32C) {
			value := h[at+head : end]
			if len(value) != 4 {
				return errProxyCRC
			}
			whole := slices.Clone(h)
			clear(whole[at+head : end]) // counted as zeros
			if crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(value) {
				return errProxyCRC
			}
		}
		at = end
	}
	return nil
}
