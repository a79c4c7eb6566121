package sessiontest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// peer is one connection of a script, the client's end.
type peer struct {
	conn net.Conn
	got  []byte // read and not yet taken
}

const maxLine = 8 << 20

// fill reads more; it waits until by.
func (p *peer) fill(by time.Time) error {
	if len(p.got) > maxLine {
		return fmt.Errorf("a line of more than %d bytes", maxLine)
	}
	if err := p.conn.SetReadDeadline(by); err != nil {
		return err
	}
	b := make([]byte, 16<<10)
	n, err := p.conn.Read(b)
	p.got = append(p.got, b[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// readLine takes a line without its CRLF. At the end of the stream it is io.EOF, with what came of
// an unfinished line in the text of another error.
func (p *peer) readLine(by time.Time) (string, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(p.got[seen:], '\n'); i >= 0 {
			line := p.got[:seen+i]
			p.got = p.got[seen+i+1:]
			text, ok := bytes.CutSuffix(line, []byte("\r"))
			if !ok {
				return "", fmt.Errorf("a line that ends in a bare LF: %q", line)
			}
			return string(text), nil
		}
		seen = len(p.got)
		if err := p.fill(by); err != nil {
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				return "", fmt.Errorf("nothing came in time%s", p.unfinished())
			case seen > 0:
				return "", fmt.Errorf("%w%s", err, p.unfinished())
			}
			return "", err
		}
	}
}

func (p *peer) unfinished() string {
	if len(p.got) == 0 {
		return ""
	}
	return fmt.Sprintf(", after an unfinished line %q", p.got)
}

// readBytes takes n bytes, or what came until by.
func (p *peer) readBytes(n int, by time.Time) ([]byte, error) {
	var err error
	for len(p.got) < n && err == nil {
		err = p.fill(by)
	}
	b := p.got[:min(n, len(p.got))]
	p.got = p.got[len(b):]
	return b, err
}

// quiet is nil when nothing comes until by.
func (p *peer) quiet(by time.Time) error {
	if len(p.got) == 0 {
		if err := p.fill(by); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return fmt.Errorf("%q came", p.got)
}

// gone waits for the end of the connection.
func (p *peer) gone(by time.Time) error {
	for len(p.got) == 0 {
		err := p.fill(by)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("it is still open")
		} else if err != nil {
			return nil
		}
	}
	return fmt.Errorf("%q came", p.got)
}

func (p *peer) write(b []byte, by time.Time) error {
	if err := p.conn.SetWriteDeadline(by); err != nil {
		return err
	}
	_, err := p.conn.Write(b)
	return err
}

func (p *peer) startTLS(config *tls.Config, by time.Time) error {
	if config == nil {
		return errors.New("Env.TLS is not set")
	}
	if len(p.got) > 0 {
		return fmt.Errorf("%q came before the handshake", p.got)
	}
	ctx, cancel := context.WithDeadline(context.Background(), by)
	defer cancel()
	t := tls.Client(p.conn, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	p.conn = t
	return nil
}

func (p *peer) closeWrite() error {
	c, ok := p.conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("a %T has no half to close", p.conn)
	}
	return c.CloseWrite()
}

// ended tells an end in good order from a reset.
func ended(err error) bool { return errors.Is(err, io.EOF) }
