package ftp

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

const (
	maxLine  = 8 << 10  // bytes of a command line; a longer one is answered 500
	maxWaste = 64 << 10 // bytes of a line that is skipped before the connection is closed
)

var (
	errLineTooLong = errors.New("line too long")
	errLineEndless = errors.New("line without end")
)

// lineReader reads command lines in a buffer that starts small, as most sessions are idle most of the time.
type lineReader struct {
	r          io.Reader
	buf        []byte
	start, end int
	refuse     func(answer []byte) // sends what refuses an option of Telnet; nil: nothing does
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: r, buf: make([]byte, 512)} }

// buffered tells how many bytes were read and not yet given out.
func (l *lineReader) buffered() int { return l.end - l.start }

// next returns a line without its end (CR LF, or LF alone). It is valid until the next call. block is called before each
// read from the connection. After errLineTooLong (the whole line was skipped) reading can go on. The beginning of a TLS handshake counts as a line:
// it may have no end of one, and is refused like other protocols.
func (l *lineReader) next(block func()) ([]byte, error) {
	scanned, skipped := 0, 0
	for {
		// Their client may wait for the answer before it sends a line. The option can be number 10, which ends no line.
		for skipped == 0 && l.end-l.start >= 3 && l.buf[l.start] == telnetIAC && negotiates(l.buf[l.start+1]) {
			if answer := refusal(l.buf[l.start+1], l.buf[l.start+2]); answer != nil && l.refuse != nil {
				l.refuse(answer)
			}
			l.start += 3
			scanned = 0
		}
		if i := bytes.IndexByte(l.buf[l.start+scanned:l.end], '\n'); i >= 0 {
			line := l.buf[l.start : l.start+scanned+i]
			l.start += scanned + i + 1
			if skipped > 0 || len(line) > maxLine {
				return nil, errLineTooLong
			}
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		scanned = l.end - l.start
		if helloBegins(l.buf[l.start:l.end]) {
			line := l.buf[l.start:l.end]
			l.start = l.end
			return line, nil
		}
		if scanned > maxLine {
			skipped += scanned
			l.start, l.end, scanned = 0, 0, 0
			if skipped > maxWaste {
				return nil, errLineEndless
			}
		}
		l.room()
		block()
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// room makes space behind end.
func (l *lineReader) room() {
	switch {
	case l.start == l.end:
		l.start, l.end = 0, 0
	case l.end < len(l.buf):
	case l.start > 0:
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
	default:
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
}

// Telnet codes (RFC 854), which RFC 959 section 4.1.3 lets clients send around ABOR, STAT and QUIT.
const (
	telnetIAC  = 0xff
	telnetLast = 0xf0 // codes lie between this and IAC
	telnetWill = 0xfb // WILL, WONT, DO, DONT carry an option
	telnetWont = 0xfc
	telnetDo   = 0xfd
	telnetDont = 0xfe
)

func negotiates(code byte) bool { return code >= telnetWill && code <= telnetDont }

// refusal is the answer to an option: RFC 1123 section 4.1.2.12: a server must be able to refuse it. None is ever on, so WONT and DONT ask for
// nothing, and an answer to them could go on for ever (RFC 854). Only what stands between two lines is answered: within one, the same bytes can
// be of a name that is no UTF-8.
func refusal(code, option byte) []byte {
	switch code {
	case telnetWill:
		return []byte{telnetIAC, telnetDont, option}
	case telnetDo:
		return []byte{telnetIAC, telnetWont, option}
	}
	return nil
}

// stripTelnet removes Telnet commands from a line, in place. A bare code at the start is what is left of a Synch whose
// IAC was sent as urgent data.
func stripTelnet(line []byte) []byte {
	for len(line) > 0 && line[0] >= telnetLast && line[0] != telnetIAC {
		line = line[1:]
	}
	if bytes.IndexByte(line, telnetIAC) < 0 {
		return line
	}
	out := line[:0]
	for i := 0; i < len(line); i++ {
		if line[i] != telnetIAC {
			out = append(out, line[i])
			continue
		}
		i++
		switch {
		case i < len(line) && line[i] == telnetIAC:
			out = append(out, telnetIAC)
		case i < len(line) && negotiates(line[i]):
			i++
		case i < len(line) && line[i] >= telnetLast:
		default:
			// No command. In front of the verb, what followed this IAC was sent as urgent data (the DM of a Synch, RFC 854), which TCP took
			// out of the line. Elsewhere it is part of a name that is no UTF-8, which must not become another name.
			if len(out) > 0 {
				out = append(out, telnetIAC)
			}
			if i < len(line) {
				out = append(out, line[i])
			}
		}
	}
	for len(out) > 0 && out[0] >= telnetLast && out[0] != telnetIAC {
		out = out[1:]
	}
	return out
}

// parseLine splits a line into its verb in capitals and the argument, which keeps its blanks: a name may begin or end with one. Blanks before the verb and
// the NULs of a Telnet end of line (CR NUL, RFC 854) are left out.
func parseLine(line []byte) (verb, arg string) {
	line = bytes.TrimLeft(stripTelnet(line), " \t\x00")
	line = bytes.TrimSuffix(line, []byte("\r\x00"))
	v, a, _ := strings.Cut(string(line), " ")
	return upper(v), a
}

// upper makes capitals of ASCII letters alone: strings.ToUpper makes an S of U+017F, and of STOR a command that a filter on the way did not see.
func upper(verb string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, verb)
}

// controlIn tells whether s has a control character, which no command has a use for and some harm in.
func controlIn(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}
