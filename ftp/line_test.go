package ftp

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func readLines(r io.Reader) (lines []string, last error) {
	l := newLineReader(r)
	for {
		line, err := l.next(func() {})
		switch {
		case errors.Is(err, errLineTooLong):
			lines = append(lines, "<too long>")
		case err != nil:
			return lines, err
		default:
			lines = append(lines, string(line))
		}
	}
}

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	tests := []struct {
		name, in string
		want     []string
		err      error
	}{
		{"crlf", "NOOP\r\nQUIT\r\n", []string{"NOOP", "QUIT"}, io.EOF},
		{"bare lf", "NOOP\nQUIT\n", []string{"NOOP", "QUIT"}, io.EOF},
		{"cr inside", "A\rB\r\n", []string{"A\rB"}, io.EOF},
		{"empty", "\r\n\n", []string{"", ""}, io.EOF},
		{"unfinished", "NOOP\r\nQU", []string{"NOOP"}, io.EOF},
		{"longest", long + "\nNOOP\n", []string{long, "NOOP"}, io.EOF},
		{"too long", long + "xx\nNOOP\n", []string{"<too long>", "NOOP"}, io.EOF},
		{"far too long", strings.Repeat("x", 5*maxLine) + "\nNOOP\n", []string{"<too long>", "NOOP"}, io.EOF},
		{"endless", strings.Repeat("x", maxWaste+2*maxLine), nil, errLineEndless},
	}
	for _, tt := range tests {
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
			got, err := readLines(r)
			if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, tt.err) {
				t.Errorf("%s: %v, diff %s", tt.name, err, diff)
			}
		}
	}
}

// Options of Telnet between lines are refused once and at once; what asks for nothing has no answer.
func TestTelnetOptions(t *testing.T) {
	for _, tt := range []struct{ in, answer, lines string }{
		{"\xff\xfd\x01", "\xff\xfc\x01", ""},
		{"\xff\xfb\x03\xff\xfd\x06NOOP\r\n", "\xff\xfe\x03\xff\xfc\x06", "NOOP|"},
		{"\xff\xfd\nNOOP\r\n", "\xff\xfc\n", "NOOP|"}, // option 10 ends no line
		{"\xff\xfc\x01\xff\xfe\x01NOOP\r\n", "", "NOOP|"},
		{"NO\xff\xfd\x01OP\r\n", "", "NO\xff\xfd\x01OP|"},
		{"\xff\xf4\xff\xf2ABOR\r\n", "", "\xff\xf4\xff\xf2ABOR|"},
		{"DELE \xff\xff\xfd\x01\r\n", "", "DELE \xff\xff\xfd\x01|"},
		{"DELE a\xff\xfd\r\n", "", "DELE a\xff\xfd|"},
		{"\xff\xfd", "", ""},
	} {
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
			var answer, lines string
			l := newLineReader(r)
			l.refuse = func(b []byte) { answer += string(b) }
			for {
				line, err := l.next(func() {})
				if err != nil {
					break
				}
				lines += string(line) + "|"
			}
			if answer != tt.answer || lines != tt.lines {
				t.Errorf("%q: answered %q, lines %q", tt.in, answer, lines)
			}
		}
	}
}

func TestParseLine(t *testing.T) {
	tests := []struct{ in, verb, arg string }{
		{"noop", "NOOP", ""},
		{"RETR a b ", "RETR", "a b "},
		{"RETR  a", "RETR", " a"},
		{"\xff\xf4\xff\xf2ABOR", "ABOR", ""},
		{"\xf2ABOR", "ABOR", ""}, // the IAC before it was sent as urgent data
		{"\xff\xf4\xf2ABOR", "ABOR", ""},
		{"\xff\xf4\xffABOR", "ABOR", ""}, // the DM of the Synch was sent as urgent data
		{"\xffABOR", "ABOR", ""},
		{"DELE a\xffb", "DELE", "a\xffb"}, // no UTF-8: refused, and never taken for another name
		{"\xff\xfb\x01USER a", "USER", "a"},
		{"RETR a\xff\xffb", "RETR", "a\xffb"},
		{"RETR a\xff", "RETR", "a\xff"},
		{"\u017ftor a", "\u017fTOR", "a"}, // no S: a command is ASCII
		{"", "", ""},
	}
	for _, tt := range tests {
		if verb, arg := parseLine([]byte(tt.in)); verb != tt.verb || arg != tt.arg {
			t.Errorf("%q: %q %q", tt.in, verb, arg)
		}
	}
}

// FuzzLine: whatever comes, lines stay bounded and nothing is lost between them.
func FuzzLine(f *testing.F) {
	f.Add([]byte("USER a\r\nPASS b\n"))
	f.Add([]byte("\xff\xf4\xff\xf2ABOR\r\n"))
	f.Add([]byte("\xff\xfb\n\xff\n\xf2\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newLineReader(iotest.HalfReader(strings.NewReader(string(in))))
		for {
			line, err := l.next(func() {})
			if err != nil && !errors.Is(err, errLineTooLong) {
				return
			}
			if len(line) > maxLine {
				t.Fatalf("line of %d bytes", len(line))
			}
			if verb, arg := parseLine(line); strings.Contains(verb, " ") || strings.Contains(arg, "\n") {
				t.Fatalf("%q became %q %q", line, verb, arg)
			}
		}
	})
}
