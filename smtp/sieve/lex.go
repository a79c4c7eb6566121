package sieve

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Error is what is wrong with a script, or with a run of it.
type Error struct {
	Line int // from 1; 0: of the script as a whole
	Text string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Text
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Text)
}

func wrong(line int, format string, args ...any) error {
	return &Error{line, fmt.Sprintf(format, args...)}
}

// token is a word of a script (RFC 5228 section 8.1). kind: 'i' identifier, 't' tag, 'n' number, 's' string, 0 the end, else the character itself.
type token struct {
	kind byte
	text string
	num  int64
	line int
}

// lexer cuts a script into tokens.
type lexer struct {
	src  string
	line int
}

func (l *lexer) next() (token, error) {
	if err := l.blanks(); err != nil {
		return token{}, err
	}
	t := token{line: l.line}
	if l.src == "" {
		return t, nil
	}
	c := l.src[0]
	switch {
	case strings.IndexByte("[](){};,", c) >= 0:
		l.src = l.src[1:]
		t.kind = c
		return t, nil
	case c == '"':
		return l.quoted(t)
	case c == ':':
		t.kind, t.text = 't', strings.ToLower(word(l.src[1:]))
		if t.text == "" {
			return t, wrong(l.line, "a colon without a name")
		}
		l.src = l.src[1+len(t.text):]
		return t, nil
	case c >= '0' && c <= '9':
		return l.number(t)
	}
	name := word(l.src)
	if name == "" {
		r, _ := utf8.DecodeRuneInString(l.src)
		return t, wrong(l.line, "unexpected %q", r)
	}
	if strings.EqualFold(name, "text") && strings.HasPrefix(l.src[len(name):], ":") {
		return l.multiline(t)
	}
	l.src = l.src[len(name):]
	t.kind, t.text = 'i', strings.ToLower(name)
	return t, nil
}

// word is the identifier that s begins with.
func word(s string) string {
	n := 0
	for n < len(s) && (s[n] == '_' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z' || n > 0 && s[n] >= '0' && s[n] <= '9') {
		n++
	}
	return s[:n]
}

// blanks passes over white space and comments.
func (l *lexer) blanks() error {
	for l.src != "" {
		switch c := l.src[0]; {
		case c == '\n':
			l.line++
			l.src = l.src[1:]
		case c == ' ' || c == '\t' || c == '\r':
			l.src = l.src[1:]
		case c == '#':
			n := strings.IndexByte(l.src, '\n')
			if n < 0 {
				n = len(l.src)
			}
			l.src = l.src[n:]
		case strings.HasPrefix(l.src, "/*"):
			n := strings.Index(l.src[2:], "*/")
			if n < 0 {
				return wrong(l.line, "a comment does not end")
			}
			l.line += strings.Count(l.src[:n+2], "\n")
			l.src = l.src[n+4:]
		default:
			return nil
		}
	}
	return nil
}

// quoted reads a quoted string (section 2.4.2): a backslash before other characters than itself and the quote means nothing.
func (l *lexer) quoted(t token) (token, error) {
	var b strings.Builder
	for i := 1; i < len(l.src); i++ {
		switch c := l.src[i]; c {
		case '"':
			t.kind, t.text = 's', b.String()
			l.src = l.src[i+1:]
			return t, nil
		case '\\':
			if i++; i == len(l.src) {
				return t, wrong(t.line, "a string does not end")
			}
			c = l.src[i]
			fallthrough
		default:
			if c == '\n' {
				l.line++
			}
			b.WriteByte(c)
		}
	}
	return t, wrong(t.line, "a string does not end")
}

// multiline reads "text:" (section 2.4.2), whose lines lose a dot that they begin with.
func (l *lexer) multiline(t token) (token, error) {
	first, rest, ok := strings.Cut(l.src[len("text:"):], "\n")
	if first = strings.Trim(first, " \t\r"); !ok || first != "" && first[0] != '#' {
		return t, wrong(t.line, "text: must be followed by a line end")
	}
	l.line++
	var b strings.Builder
	for rest != "" {
		line, after, ended := strings.Cut(rest, "\n")
		l.line++
		line = strings.TrimSuffix(line, "\r")
		rest = after
		if line == "." {
			t.kind, t.text, l.src = 's', b.String(), rest
			return t, nil
		}
		if !ended {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "."))
		b.WriteString("\r\n")
	}
	return t, wrong(t.line, "a text: does not end with a line that is a dot")
}

// number reads a number with a quantifier (section 2.4.1).
func (l *lexer) number(t token) (token, error) {
	n := 0
	for n < len(l.src) && l.src[n] >= '0' && l.src[n] <= '9' {
		if t.num > (math.MaxInt64-9)/10 {
			return t, wrong(t.line, "the number is too large")
		}
		t.num = t.num*10 + int64(l.src[n]-'0')
		n++
	}
	shift := 0
	if n < len(l.src) {
		switch l.src[n] | 0x20 {
		case 'k':
			shift = 10
		case 'm':
			shift = 20
		case 'g':
			shift = 30
		}
	}
	if shift > 0 {
		n++
	}
	if t.num > math.MaxInt64>>shift {
		return t, wrong(t.line, "the number is too large")
	}
	t.num <<= shift
	if l.src = l.src[n:]; word("a"+l.src) != "a" {
		return t, wrong(t.line, "a number runs into a word")
	}
	t.kind = 'n'
	return t, nil
}
