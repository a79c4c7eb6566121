//go:build bench

package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	ftpUser     = "ann@example.test" // of packetboat
	ftpPeerUser = "bench"            // of the others
)

// ftpConn is an FTP client that does little, so that what is measured is the server's.
type ftpConn struct {
	net.Conn
	r    *bufio.Reader
	conf *tls.Config // nil in the clear
	buf  []byte
}

var ftpDialer = net.Dialer{Timeout: 30 * time.Second, KeepAlive: -1}

// dialFTP connects and logs in.
func dialFTP(addr string, secure bool, user, password string) (*ftpConn, error) {
	conn, err := ftpDialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &ftpConn{Conn: conn, r: bufio.NewReaderSize(conn, 1024)}
	if err := c.login(secure, user, password); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *ftpConn) login(secure bool, user, password string) error {
	if _, err := c.reply('2'); err != nil {
		return err
	}
	if secure {
		if _, err := c.do('2', "AUTH TLS"); err != nil {
			return err
		}
		c.conf = &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		conn := tls.Client(c.Conn, c.conf)
		if err := conn.Handshake(); err != nil {
			return err
		}
		c.Conn = conn
		c.r.Reset(conn)
	}
	if _, err := c.do('3', "USER "+user); err != nil {
		return err
	}
	_, err := c.do('2', "PASS "+password)
	return err
}

// ready sets what transfers need.
func (c *ftpConn) ready() error {
	lines := []string{"TYPE I"}
	if c.conf != nil {
		lines = []string{"TYPE I", "PBSZ 0", "PROT P"}
	}
	for _, line := range lines {
		if _, err := c.do('2', line); err != nil {
			return err
		}
	}
	return nil
}

// do sends a line and reads the reply, which must be of a class.
func (c *ftpConn) do(class byte, line string) (string, error) {
	c.SetDeadline(time.Now().Add(10 * time.Minute))
	c.buf = append(append(c.buf[:0], line...), "\r\n"...)
	if _, err := c.Write(c.buf); err != nil {
		return "", err
	}
	text, err := c.reply(class)
	if err != nil {
		return "", fmt.Errorf("%s: %w", line, err)
	}
	return text, nil
}

func (c *ftpConn) reply(class byte) (string, error) {
	text, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	for last := text; len(text) > 3 && text[3] == '-' && (len(last) < 4 || last[:3] != text[:3] || last[3] != ' '); {
		if last, err = c.r.ReadString('\n'); err != nil {
			return "", err
		}
	}
	if text[0] != class {
		return "", errors.New(strings.TrimSpace(text))
	}
	return text, nil
}

// data begins a transfer (RFC 2428 section 3).
func (c *ftpConn) data(command string) (net.Conn, error) {
	text, err := c.do('2', "EPSV")
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(text, "(|||")
	port, _, _ = strings.Cut(port, "|")
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("EPSV: %q", text)
	}
	conn, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n})
	if err != nil {
		return nil, err
	}
	if _, err := c.do('1', command); err != nil {
		conn.Close()
		return nil, err
	}
	if c.conf == nil {
		return conn, nil
	}
	return tls.Client(conn, c.conf), nil
}

// upload sends a file. Under TLS what the server says (tickets, its close_notify) is read before closing: a socket that is closed with something
// unread sends RST, and servers have lost the end of files by that.
func (c *ftpConn) upload(name string, send func(io.Writer) error) error {
	d, err := c.data("STOR " + name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := send(d); err != nil {
		return err
	}
	if conn, ok := d.(*tls.Conn); ok {
		if err := conn.CloseWrite(); err != nil {
			return err
		}
		conn.NetConn().(*net.TCPConn).CloseWrite()
		d.SetReadDeadline(time.Now().Add(10 * time.Second))
		var b [64]byte
		for err == nil {
			_, err = d.Read(b[:])
		}
	}
	d.Close()
	_, err = c.reply('2')
	return err
}

// download runs a command whose data the server sends.
func (c *ftpConn) download(command string, take func(io.Reader) error) error {
	d, err := c.data(command)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := take(d); err != nil {
		return err
	}
	d.Close()
	_, err = c.reply('2')
	return err
}

// ftpBlock is what files are made of: noise, always the same.
var ftpBlock = func() []byte {
	b := make([]byte, 8<<20)
	for i, x := 0, uint64(88172645463325252); i < len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		for k := range 8 {
			b[i+k] = byte(x >> (8 * k))
		}
	}
	return b
}()

// ftpContent is that of small file i.
func ftpContent(i int, size int64) []byte {
	off := int64(i) * 4099 % (int64(len(ftpBlock)) - size)
	return ftpBlock[off : off+size]
}

var ftpTable = crc32.MakeTable(crc32.Castagnoli)

// ftpSend sends a large file.
func ftpSend(w io.Writer, size int64) error {
	for done := int64(0); done < size; {
		off := done % int64(len(ftpBlock))
		n, err := w.Write(ftpBlock[off : off+min(1<<20, size-done)])
		if err != nil {
			return err
		}
		done += int64(n)
	}
	return nil
}

// ftpTake takes a large file and compares its CRC-32C.
func ftpTake(r io.Reader, buf []byte, size int64, want uint32) error {
	var got uint32
	var n int64
	for {
		k, err := r.Read(buf)
		got = crc32.Update(got, ftpTable, buf[:k])
		n += int64(k)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if n != size || got != want {
		return fmt.Errorf("%d bytes with CRC %08x came, want %d with %08x", n, got, size, want)
	}
	return nil
}

func ftpSum(size int64) (sum uint32) {
	for done := int64(0); done < size; done += int64(len(ftpBlock)) {
		sum = crc32.Update(sum, ftpTable, ftpBlock[:min(int64(len(ftpBlock)), size-done)])
	}
	return sum
}
