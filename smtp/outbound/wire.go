package outbound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxReplyLine is how long a line of a reply may be with its end. RFC 5321 section 4.5.3.1.5 allows 512 octets; many write more.
	maxReplyLine = 4 << 10
	// maxReplyLines and maxReplySize are how much one reply may hold.
	maxReplyLines = 200
	maxReplySize  = 64 << 10
	// maxKept is how much of a reply's text is kept.
	maxKept = 1000
	// bufferSize is the input buffer's size. Replies to a batch of commands come in few packets.
	bufferSize = maxReplyLine
)

// errProtocol is what a peer says that is no SMTP.
var errProtocol = errors.New("not SMTP")

// wire is the bytes of a connection, seen from the client. It belongs to the goroutine that has the connection.
type wire struct {
	conn net.Conn // *session.Conn, or the *tls.Conn over it
	buf  []byte
	r, w int    // buf[r:w] is read and not yet taken
	out  []byte // commands that wait to be sent
}

// put gathers a command line.
func (w *wire) put(parts ...string) {
	for _, p := range parts {
		w.out = append(w.out, p...)
	}
	w.out = append(w.out, '\r', '\n')
}

// flush sends what was gathered; the peer must take it until by.
func (w *wire) flush(by time.Time) error {
	if len(w.out) == 0 {
		return nil
	}
	err := w.write(w.out, by)
	w.out = w.out[:0]
	if cap(w.out) > maxReplySize {
		w.out = nil
	}
	return err
}

func (w *wire) write(b []byte, by time.Time) error {
	if err := w.conn.SetWriteDeadline(by); err != nil {
		return err
	}
	_, err := w.conn.Write(b)
	return err
}

// upgrade goes over to an encrypted connection. What came in the clear before the handshake and was not yet taken is
// dropped: it may be somebody else's (RFC 3207 section 4.2). It returns how many bytes that were.
func (w *wire) upgrade(c net.Conn) (dropped int) {
	dropped = w.w - w.r
	w.conn, w.r, w.w = c, 0, 0
	return dropped
}

// line takes the next line without its end. The bytes are good until the next call.
func (w *wire) line() ([]byte, error) {
	for seen := 0; ; {
		win := w.buf[w.r:w.w]
		if i := bytes.IndexByte(win[seen:], '\n'); i >= 0 {
			l := win[:seen+i]
			w.r += len(l) + 1
			return bytes.TrimSuffix(l, []byte{'\r'}), nil
		}
		seen = len(win)
		if seen == len(w.buf) && seen > 0 {
			return nil, fmt.Errorf("%w: a line of a reply is longer than %d bytes", errProtocol, maxReplyLine)
		}
		if w.buf == nil {
			w.buf = make([]byte, bufferSize)
		}
		if w.r > 0 {
			w.w = copy(w.buf, win)
			w.r = 0
		}
		n, err := w.conn.Read(w.buf[w.w:])
		w.w += n
		if n == 0 && err != nil {
			if err == io.EOF && seen > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// Reply is what a server said to a command.
type Reply struct {
	Code     int
	Enhanced string   // "5.1.1", "" when it sent none that fits (RFC 2034)
	Lines    []string // without codes; printable
}

// String is the reply on one line, as it is kept and shown.
func (r Reply) String() string {
	if r.Code == 0 {
		return ""
	}
	s := strconv.Itoa(r.Code)
	if r.Enhanced != "" {
		s += " " + r.Enhanced
	}
	if text := strings.TrimSpace(strings.Join(r.Lines, " ")); text != "" {
		s += " " + text
	}
	return cut(s, maxKept)
}

// RFC 5321 section 4.2.1: who does not know a code goes by its first digit.
func (r Reply) ok() bool        { return r.Code/100 == 2 }
func (r Reply) permanent() bool { return r.Code/100 == 5 }

// reply reads one reply, which must be whole until by. io.EOF when the peer closed the connection before its first byte.
func (w *wire) reply(by time.Time) (Reply, error) {
	if err := w.conn.SetReadDeadline(by); err != nil {
		return Reply{}, err
	}
	var r Reply
	size, kept := 0, 0
	for n := 0; ; n++ {
		l, err := w.line()
		if err != nil {
			if err == io.EOF && n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return Reply{}, err
		}
		if size += len(l); n >= maxReplyLines || size > maxReplySize {
			return Reply{}, fmt.Errorf("%w: a reply does not end", errProtocol)
		}
		code, more, text, err := replyLine(l)
		if err != nil {
			return Reply{}, err
		}
		if n > 0 && code != r.Code {
			// RFC 5321 section 4.2.1: the code is the same on each line.
			return Reply{}, fmt.Errorf("%w: a reply of two codes, %d and %d", errProtocol, r.Code, code)
		}
		r.Code = code
		if e, rest := enhanced(code, text); e != "" {
			r.Enhanced, text = e, rest
		}
		if code/100 == 2 || kept < maxKept { // EHLO's is kept whole
			text = printable(text)
			kept += len(text)
			r.Lines = append(r.Lines, text)
		}
		if !more {
			return r, nil
		}
	}
}

// replyLine parses a line of a reply.
//
// RFC 5321 section 4.2: Reply-code = %x32-35 %x30-35 %x30-39, then "-" on all lines but the last, then text.
func replyLine(l []byte) (code int, more bool, text string, err error) {
	if len(l) < 3 || l[0] < '2' || l[0] > '5' || l[1] < '0' || l[1] > '9' || l[2] < '0' || l[2] > '9' || len(l) > 3 && l[3] != ' ' && l[3] != '-' {
		return 0, false, "", fmt.Errorf("%w: %q", errProtocol, cut(printable(string(l)), 80))
	}
	code = int(l[0]-'0')*100 + int(l[1]-'0')*10 + int(l[2]-'0')
	if len(l) == 3 {
		return code, false, "", nil
	}
	return code, l[3] == '-', string(l[4:]), nil
}

// enhanced takes the code of RFC 3463 off a text. One whose class is not the reply's is text like any other (RFC 2034 section 4).
func enhanced(code int, text string) (string, string) {
	e, rest, _ := strings.Cut(text, " ")
	if !isEnhanced(e) || int(e[0]-'0') != code/100 {
		return "", text
	}
	return e, rest
}

// isEnhanced tells whether e is class "." subject "." detail (RFC 3463 section 2).
func isEnhanced(e string) bool {
	if len(e) < 5 || len(e) > 9 || e[0] != '2' && e[0] != '4' && e[0] != '5' || e[1] != '.' {
		return false
	}
	subject, detail, ok := strings.Cut(e[2:], ".")
	return ok && digits(subject) && digits(detail)
}

// digits tells whether s is a number of one to three digits.
func digits(s string) bool {
	if len(s) < 1 || len(s) > 3 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// printable is what a peer said as a text that a terminal, a log and a notice can show.
func printable(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029':
			return '?'
		}
		return r
	}, s)
}

// cut makes s at most n bytes long, and no character half.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
