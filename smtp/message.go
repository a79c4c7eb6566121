package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// BareNewline says what happens to a message with a CR or LF that is not part of a CRLF, or with a NUL.
// RFC 5321 section 2.3.8 allows none of them, and where two servers disagree about
// them one of them sees a second message (SMTP smuggling).
type BareNewline string

// The ways. Whichever it is, nothing but CRLF "." CRLF ends a message.
const (
	Reject    BareNewline = "reject"    // 550 5.6.0 at the end of the message
	Normalize BareNewline = "normalize" // each bare CR or LF becomes a CRLF, each NUL goes
)

// source is bytes on their way in: wire, or the chunks of BDAT.
type source interface {
	window() []byte // what is there
	consume(n int)
	more(n int) error // waits until the window has n bytes (n > 1 with dots only); io.EOF: no more can come
}

var (
	errTooLarge = say(552, "5.3.4", "message is too large")
	errBareLF   = say(550, "5.6.0", "message has a bare LF (RFC 5321 section 2.3.8)")
	errBareCR   = say(550, "5.6.0", "message has a bare CR (RFC 5321 section 2.3.8)")
	errNUL      = say(550, "5.6.0", "message has a NUL (RFC 5322 section 2.1.1)")
	errText     = say(554, "5.6.0", "message has a line of more than 1 MiB")
	errFlood    = errors.New("message goes on and on")
)

// maxText is how long a line of a message may be. RFC 5321 section 4.5.3.1.6 asks for 1,000 octets; what is longer comes from
// programs that know no better, and is kept as it came.
const maxText = 1 << 20

// message reads one message from its source, with its lines ended by CRLF and its dots unstuffed. It
// works on lines, not on bytes. An error of type *reply refuses the message; the rest must then be drained.
type message struct {
	src    source
	dots   bool // DATA: a dot ends the message; false for BDAT
	strict bool // Reject
	binary bool // the bytes go through as they are
	limit  int64

	begun bool   // something was read
	bol   bool   // at the beginning of a line
	crlf  bool   // and the line before ended with a CRLF (or there was none)
	cr    bool   // a CR was taken, and what follows is not known yet
	pend  []byte // goes out first
	done  bool   // the end was seen
	lost  error  // the source failed: no message
	waste bool   // draining: nothing goes out, nothing is refused
	raw   int64  // bytes taken while draining
	text  int    // bytes of the line so far
}

var crlf = []byte("\r\n")

// Read gives what is there and waits only when there is nothing.
func (m *message) Read(p []byte) (n int, err error) {
	if !m.begun {
		m.begun, m.bol, m.crlf = true, true, true
	}
	for n < len(p) {
		if len(m.pend) > 0 {
			c := copy(p[n:], m.pend)
			m.pend = m.pend[c:]
			n += c
			continue
		}
		if m.lost != nil || m.done {
			break
		}
		c, err := m.step(p[n:], n == 0)
		n += c
		if errors.Is(err, errWait) {
			break
		}
		if err != nil {
			return m.count(n, err)
		}
	}
	switch {
	case n > 0:
		return m.count(n, nil)
	case m.lost != nil:
		return 0, m.lost
	case m.done:
		return 0, io.EOF
	}
	return 0, nil
}

// errWait: more input is needed, and there is output that should go first.
var errWait = errors.New("wait")

// count charges n bytes to the limit.
func (m *message) count(n int, err error) (int, error) {
	if m.waste {
		return n, err
	}
	if m.limit -= int64(n); m.limit < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// want makes the window hold n bytes; false when the source has no more.
func (m *message) want(n int, wait bool) (ok bool, err error) {
	if len(m.src.window()) >= n {
		return true, nil
	}
	if !wait {
		return false, errWait
	}
	switch err := m.src.more(n); err {
	case nil:
		return true, nil
	case io.EOF:
		return false, nil
	default:
		return false, m.lose(err)
	}
}

// errLost: the message did not come to its end. It is the client's fault or the network's, never ours.
var errLost = errors.New("message is incomplete")

func (m *message) lose(err error) error {
	m.lost = err
	if !isReply(err) {
		m.lost = fmt.Errorf("%w: %w", errLost, err)
	}
	return m.lost
}

func (m *message) take(n int) {
	m.src.consume(n)
	if m.waste {
		m.raw += int64(n)
	}
}

// step moves a piece of a line to p.
func (m *message) step(p []byte, wait bool) (int, error) {
	if ok, err := m.want(1, wait); !ok {
		if err == nil && m.cr {
			m.cr = false
			return 0, m.bare(errBareCR, crlf)
		}
		m.done = err == nil
		return 0, err
	}
	win := m.src.window()
	if m.binary {
		n := copy(p, win)
		m.take(n)
		return n, nil
	}
	if m.cr {
		return 0, m.afterCR(win[0])
	}
	if m.bol && m.dots && win[0] == '.' {
		return 0, m.dot(wait)
	}
	m.bol = false
	i := bytes.IndexByte(win, '\n')
	text, whole := win, i > 0 && win[i-1] == '\r'
	switch {
	case whole:
		text = win[:i-1]
	case i >= 0:
		text = win[:i]
	}
	if bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, 0) >= 0 {
		text, whole = text[:bytes.IndexAny(text, "\r\x00")], false
	}
	if whole && len(p) >= i+1 {
		// The common case: a line with its CRLF, and others behind it.
		m.bol, m.crlf = true, true
		if m.text+i > maxText && !m.waste {
			m.take(i + 1)
			return 0, errText
		}
		end := i + 1
		for n := m.plainLine(win[end:], len(p)-end); n > 0; n = m.plainLine(win[end:], len(p)-end) {
			end += n
		}
		m.take(end)
		m.text = 0
		return copy(p, win[:end]), nil
	}
	if len(text) == 0 {
		return 0, m.special(win[0])
	}
	n := copy(p, text)
	m.take(n)
	if m.text += n; m.text > maxText && !m.waste {
		return 0, errText
	}
	return n, nil
}

// plainLine is how long the line is with which win begins, with its CRLF; 0 when it is none that goes through as it is, in max bytes.
func (m *message) plainLine(win []byte, max int) int {
	if len(win) == 0 || m.dots && win[0] == '.' {
		return 0
	}
	i := bytes.IndexByte(win, '\n')
	if i < 1 || i >= max || i > maxText || bytes.IndexByte(win[:i], '\r') != i-1 || bytes.IndexByte(win[:i], 0) >= 0 {
		return 0
	}
	return i + 1
}

// dot handles a line that begins with one: the end of the message, or a dot to be taken away.
func (m *message) dot(wait bool) error {
	if ok, err := m.want(3, wait); !ok {
		if err == nil {
			err = m.lose(io.ErrUnexpectedEOF)
		}
		return err
	}
	win := m.src.window()
	switch {
	case win[1] == '\r' && win[2] == '\n' && m.crlf:
		// RFC 5321 section 4.1.1.4: CRLF "." CRLF, and nothing else.
		m.take(3)
		m.done = true
		return nil
	case win[1] == '\r', win[1] == '\n':
		// A lone dot beside bare line ends is text.
		m.take(1)
		m.pend = []byte(".")
	default:
		m.take(1) // RFC 5321 section 4.5.2
	}
	m.bol = false
	return nil
}

// special handles the CR, LF or NUL at the window's start.
func (m *message) special(b byte) error {
	m.take(1)
	switch {
	case b == '\r':
		m.cr = true // what follows decides, and may come later or in another chunk
	case b == '\n':
		return m.bare(errBareLF, crlf)
	case m.strict && !m.waste:
		return errNUL
	}
	return nil
}

// afterCR handles the byte after a CR.
func (m *message) afterCR(b byte) error {
	switch b {
	case '\n':
		m.take(1)
		m.pend, m.bol, m.crlf, m.cr, m.text = crlf, true, true, false, 0
		return nil
	case '\r':
		m.take(1)
		return m.bare(errBareCR, nil) // of several CRs the last one counts
	}
	m.cr = false
	return m.bare(errBareCR, crlf)
}

// bare puts a line end in the place of a bare one, or refuses the message.
func (m *message) bare(refusal *reply, instead []byte) error {
	m.pend = instead
	if instead != nil {
		m.bol, m.crlf, m.text = true, false, 0
	}
	if m.strict && !m.waste {
		return refusal
	}
	return nil
}

// drain takes what is left of a message of DATA, at most max bytes. errFlood when that is not all.
func (m *message) drain(max int64) error {
	m.waste, m.raw, m.pend = true, 0, nil
	var scratch [4096]byte
	for m.raw <= max {
		if _, err := m.Read(scratch[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
	return errFlood
}
