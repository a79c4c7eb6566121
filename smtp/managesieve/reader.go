package managesieve

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"unicode/utf8"
)

var crlf = []byte("\r\n")

const (
	// maxLine is how long a line without its literals may be. RFC 5804 section 4: quoted strings of 1024 octets must be taken.
	maxLine = 16 << 10
	// maxLogin is how large a literal may be before the login: a SASL response in base64.
	maxLogin = 24 << 10
	// maxArgs is how many arguments a command may have.
	maxArgs = 8
)

// syntaxError is the client's fault; the connection goes on.
type syntaxError string

func (e syntaxError) Error() string { return string(e) }

// errFatal: nobody knows any more where the next command begins.
var errFatal = errors.New("out of step")

// reader reads commands. It belongs to the goroutine of the connection.
type reader struct {
	conn net.Conn
	buf  []byte // what is read and not yet taken
}

// argument is a string or a number.
type argument struct {
	text   string
	number int64
	isNum  bool
}

// fill reads once.
func (r *reader) fill() error {
	if cap(r.buf)-len(r.buf) < 512 {
		grown := make([]byte, len(r.buf), 2*cap(r.buf)+1024)
		copy(grown, r.buf)
		r.buf = grown
	}
	n, err := r.conn.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// take takes n bytes.
func (r *reader) take(n int) {
	r.buf = r.buf[:copy(r.buf, r.buf[n:])]
	if len(r.buf) == 0 && cap(r.buf) > 4<<10 {
		r.buf = nil
	}
}

// line takes a line without its end.
func (r *reader) line() (string, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(r.buf[seen:], '\n'); i >= 0 {
			end := seen + i
			text := strings.TrimSuffix(string(r.buf[:end]), "\r")
			r.take(end + 1)
			return text, nil
		}
		if seen = len(r.buf); seen > maxLine {
			return "", errFatal
		}
		if err := r.fill(); err != nil {
			return "", err
		}
	}
}

// literal takes n bytes, or throws them away when they are more than max.
func (r *reader) literal(n, max int64) (string, error) {
	if n > max {
		if n > 16<<20 {
			return "", errFatal
		}
		for n > 0 {
			if len(r.buf) == 0 {
				if err := r.fill(); err != nil {
					return "", err
				}
			}
			k := min(int64(len(r.buf)), n)
			r.take(int(k))
			n -= k
		}
		return "", errTooLong
	}
	b := make([]byte, n)
	k := copy(b, r.buf)
	r.take(k)
	if _, err := io.ReadFull(r.conn, b[k:]); err != nil {
		return "", err
	}
	return string(b), nil
}

var errTooLong = errors.New("literal is too long")

// command reads a command to the end of its line: its name and its arguments (RFC 5804 section 4). An errTooLong or syntaxError is told when all of it is read. max is how
// large a literal may be.
func (r *reader) command(max int64) (name string, args []argument, err error) {
	line, err := r.line()
	if err != nil {
		return "", nil, err
	}
	name, rest, _ := strings.Cut(line, " ")
	name = strings.ToUpper(name)
	args, err = r.arguments(rest, max)
	return name, args, err
}

func (r *reader) arguments(rest string, max int64) (args []argument, fault error) {
	for {
		rest = strings.TrimLeft(rest, " ")
		if rest == "" {
			return args, fault
		}
		if n, last, ok := literalAt(rest); ok {
			// The last thing of a line; what follows the bytes is the rest of the command.
			if !last {
				return nil, syntaxError("a literal must be followed by a line end")
			}
			text, err := r.literal(n, max)
			switch {
			case err == errTooLong:
				fault = err
			case err != nil:
				return nil, err
			case fault == nil && !utf8.ValidString(text):
				fault = syntaxError("not UTF-8")
			}
			if rest, err = r.line(); err != nil {
				return nil, err
			}
			if rest != "" && rest[0] != ' ' && fault == nil {
				fault = syntaxError("no space between arguments")
			}
			args = append(args, argument{text: text})
		} else {
			a, after, err := quotedOrNumber(rest)
			if err != nil {
				if fault == nil {
					fault = err
				}
				// A literal may still follow at the end of the line.
				if i := strings.LastIndexByte(rest, '{'); i > 0 {
					if _, last, ok := literalAt(rest[i:]); ok && last {
						rest = rest[i:]
						continue
					}
				}
				return args, fault
			}
			args = append(args, a)
			rest = after
		}
		if len(args) > maxArgs {
			return nil, errFatal
		}
	}
}

// literalAt reads "{n+}" at the start of s; last: nothing follows. RFC 5804 section 4: clients send no other kind; without the plus they would wait for an answer that does
// not exist.
func literalAt(s string) (n int64, last, ok bool) {
	if s[0] != '{' {
		return 0, false, false
	}
	digits, after, found := strings.Cut(s[1:], "+}")
	if !found || digits == "" || len(digits) > 10 || strings.Trim(digits, "0123456789") != "" {
		return 0, false, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, after == "", err == nil
}

func quotedOrNumber(s string) (a argument, rest string, err error) {
	if s[0] != '"' {
		word, rest, _ := strings.Cut(s, " ")
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil || strings.Trim(word, "0123456789") != "" {
			return a, "", syntaxError("an argument is neither string nor number")
		}
		return argument{number: int64(n), isNum: true}, rest, nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			if i+1 < len(s) && s[i+1] != ' ' {
				return a, "", syntaxError("no space between arguments")
			}
			if !utf8.ValidString(b.String()) || strings.ContainsAny(b.String(), "\x00\r") {
				return a, "", syntaxError("a string has characters that it may not have")
			}
			return argument{text: b.String()}, s[i+1:], nil
		case '\\':
			if i++; i < len(s) && s[i] != '"' && s[i] != '\\' {
				return a, "", syntaxError("a backslash before what needs none")
			}
			if i == len(s) {
				return a, "", syntaxError("a string does not end")
			}
			c = s[i]
			fallthrough
		default:
			b.WriteByte(c)
		}
	}
	return a, "", syntaxError("a string does not end")
}

// quote writes a string: quoted where it can be, else as a literal.
func quote(s string) []byte {
	if len(s) <= 1024 && !strings.ContainsAny(s, "\r\n\x00") {
		return []byte(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`)
	}
	return []byte("{" + strconv.Itoa(len(s)) + "}\r\n" + s)
}
