package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-imap/v2"
)

// open returns a Decoder of input and what it asked the client for.
func open(input string) (*Decoder, *int) {
	r := new(Reader)
	r.Reset(strings.NewReader(input))
	d := NewDecoder(r)
	asked := 0
	d.Continue = func() error { asked++; return nil }
	return d, &asked
}

// begin reads the first segment with generous limits.
func begin(t *testing.T, input string) *Decoder {
	t.Helper()
	d, _ := open(input)
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	d.LiteralMax, d.LiteralSum = 1<<10, 4<<10
	return d
}

func TestStrings(t *testing.T) {
	for _, c := range []struct{ in, want, err string }{
		{"abc", "abc", ""},
		{"a]c", "a]c", ""},
		{`"a b"`, "a b", ""},
		{`""`, "", ""},
		{`"a\"b\\c"`, `a"b\c`, ""},
		{`"a\bc"`, "", "Bad escape in a quoted string"},
		{`"abc`, "", "Quoted string without an end"},
		{"\"a\x00c\"", "", "Control character in a quoted string"},
		{"\"\xc3\xa4\"", "ä", ""},
		{"{3}\r\nabc", "abc", ""},
		{"{3+}\r\nabc", "abc", ""},
		{"{0}\r\n", "", ""},
		{"{5}\r\na\r\nbc", "a\r\nbc", ""},
		{"{3}\r\na\x00c", "", "NUL in a literal"},
		{"{3}x", "", "Bad literal"},
		{"{}", "", "Bad literal"},
		{"{3+", "", "Bad literal"},
		{"~{3}\r\nabc", "~", "Unexpected text at the end of the command"},
		{"{1025}\r\n", "", "Literal too long"},
		{"{4294967295}\r\n", "", "Literal too long"},
		{"{99999999999999999999999999}\r\n", "", "Literal too long"},
		{"", "", "Expected a string"},
		{"(", "", "Expected a string"},
		{"\x7f", "", "Expected a string"},
	} {
		d := begin(t, c.in+"\r\n")
		got := d.AString()
		d.EOL()
		text := ""
		if err := d.Err(); err != nil {
			text = err.Error()
		}
		if got != c.want || text != c.err {
			t.Errorf("%q: got %q, error %q; want %q, %q", c.in, got, text, c.want, c.err)
		}
	}
}

// What follows a rejected command is the next command, whatever literals it had (RFC 7888 section 4).
func TestFinishDrains(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"plain", "bad (((\r\n"},
		{"literal that is not wanted", "bad {10+}\r\nx DELETE I\r\n"},
		{"two of them", "bad {3+}\r\nabc {4+}\r\nabcd xyz\r\n"},
		{"sync literals are not sent", "bad {10}\r\n"},
		{"literal8", "bad ~{2+}\r\nab\r\n"},
		{"long line", strings.Repeat("x", 100000) + "\r\n"},
		{"long line with a literal", strings.Repeat("x", 100000) + " {4+}\r\nabcd\r\n"},
		{"many long lines", strings.Repeat("y", 70000) + " {4+}\r\nabcd" + strings.Repeat("z", 70000) + " {1+}\r\na\r\n"},
		{"empty", "\r\n"},
		{"lone LF", "bad\n"},
	} {
		for _, reader := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader,
		} {
			r := new(Reader)
			r.Reset(reader(strings.NewReader(c.in + "next NOOP\r\n")))
			d := NewDecoder(r)
			if err := d.Next(); err != nil {
				t.Fatal(c.name, err)
			}
			d.Fail("rejected")
			if err := d.Finish(); err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if err := d.Next(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if tag := d.Tag(); tag != "next" {
				t.Errorf("%s: next command is %q", c.name, tag)
			}
		}
	}
}

func TestFinishGivesUp(t *testing.T) {
	for _, in := range []string{
		"a {2000000+}\r\n", "a {4294967295+}\r\n", "a {99999999999999999999+}\r\n",
		strings.Repeat("a", 3<<20), strings.Repeat("a {0+}\r\n", 200000),
	} {
		d, _ := open(in)
		err := d.Next()
		d.Fail("rejected")
		if err == nil {
			err = d.Finish()
		}
		var e *Error
		if !errors.As(err, &e) || !e.Close {
			t.Errorf("%.20q: %v", in, err)
		}
	}
}

func TestContinue(t *testing.T) {
	d, asked := open("{1}\r\na {1+}\r\nb {9}\r\n")
	_ = d.Next()
	d.LiteralMax, d.LiteralSum = 2, 8
	a, _, b, _, c := d.AString(), d.SP(), d.AString(), d.SP(), d.AString()
	if a != "a" || b != "b" || c != "" || *asked != 1 {
		t.Errorf("got %q %q %q, asked %d times; want a b nothing, once", a, b, c, *asked)
	}
}

// Many literals in one command are as bounded as one.
func TestLiteralSum(t *testing.T) {
	d := begin(t, strings.Repeat("{1000+}\r\n"+strings.Repeat("x", 1000)+" ", 5)+"\r\n")
	n := 0
	for ; d.AString() != ""; n++ {
		d.SP()
	}
	if n != 4 {
		t.Errorf("took %d literals of 1,000 bytes; want 4", n)
	}
	if err := d.Finish(); err != nil {
		t.Error(err)
	}
}

func TestStreamedLiteral(t *testing.T) {
	d, asked := open("{6}\r\nabcdef rest\r\nnext\r\n")
	_ = d.Next()
	l, ok := d.Literal()
	if !ok || l.Size != 6 || !l.Sync || l.Binary {
		t.Fatalf("%+v %v", l, ok)
	}
	if err := l.Open(); err != nil || *asked != 1 {
		t.Fatal(err, *asked)
	}
	b, err := io.ReadAll(io.LimitReader(&l, 4))
	if err != nil || string(b) != "abcd" {
		t.Fatalf("%q %v", b, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if d.SP(); d.Atom() != "rest" || !d.EOL() {
		t.Fatal(d.Err())
	}
	d.Finish()
	if d.Next(); d.Tag() != "next" {
		t.Fatal(d.Err())
	}
}

func TestCutLiteral(t *testing.T) {
	d, _ := open("{6+}\r\nabc")
	_ = d.Next()
	l, _ := d.Literal()
	_, err := io.ReadAll(&l)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(d.Finish(), io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func TestDepth(t *testing.T) {
	for _, in := range []string{strings.Repeat("(", 60000), strings.Repeat("NOT ", 10000) + "ALL", strings.Repeat("NOT OR ALL ", 40) + "ALL"} {
		d := begin(t, in+"\r\n")
		d.Search()
		var e *Error
		if !errors.As(d.Err(), &e) || e.Code != "LIMIT" {
			t.Errorf("%.10q: %v", in, d.Err())
		}
	}
	d := begin(t, strings.Repeat("(", 15)+"ALL"+strings.Repeat(")", 15)+"\r\n")
	if d.Search(); d.Err() != nil || !d.EOL() {
		t.Error(d.Err())
	}
}

func TestDates(t *testing.T) {
	for in, want := range map[string]string{
		`1-Feb-1994`: "1994-02-01", `"01-feb-1994"`: "1994-02-01", `31-Dec-2099`: "2099-12-31",
		`30-Feb-1994`: "", `1-Feb-94`: "", `x`: "", `"1-Feb-1994 "`: "",
	} {
		d := begin(t, in+"\r\n")
		got := d.Date()
		if ok := d.Err() == nil; ok != (want != "") || ok && got.Format("2006-01-02") != want {
			t.Errorf("%s: %v %v", in, got, d.Err())
		}
	}
	for in, want := range map[string]string{
		`"17-Jul-1996 02:44:25 -0700"`: "1996-07-17T09:44:25Z", `" 1-Jan-2020 00:00:00 +0000"`: "2020-01-01T00:00:00Z",
		`"01-Jan-2020 00:00:00 +0000"`: "2020-01-01T00:00:00Z", `"1-Jan-2020 00:00:00 +0000"`: "", `17-Jul-1996`: "", `"x"`: "",
		`"32-Jul-1996 02:44:25 -0700"`: "", `"17-Jul-1996 25:44:25 -0700"`: "",
	} {
		d := begin(t, in+"\r\n")
		got := d.DateTime()
		if ok := d.Err() == nil; ok != (want != "") || ok && got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v", in, got, d.Err())
		}
	}
}

func TestSets(t *testing.T) {
	for in, want := range map[string]string{
		"1": "[{1 1}]", "*": "[{0 0}]", "1:*": "[{1 0}]", "*:4,5:7": "[{0 4} {5 7}]", "9:2": "[{9 2}]", "4294967295": "[{4294967295 4294967295}]",
		"0": "", "4294967296": "", "1,": "", ",1": "", "1:": "", "a": "", "01": "", "1:0": "", "": "",
	} {
		d := begin(t, in+"\r\n")
		got := fmt.Sprint([]imap.SeqRange(d.NumSet().Ranges))
		if d.EOL(); d.Err() != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%s: %s; want %s (%v)", in, got, want, d.Err())
		}
	}
	d := begin(t, strings.Repeat("1,", MaxRanges)+"1\r\n")
	if d.NumSet(); d.Err() == nil {
		t.Error("too many ranges were taken")
	}
	d = begin(t, strings.Repeat("1,", MaxRanges-1)+"1\r\n")
	if d.NumSet(); d.Err() != nil {
		t.Error(d.Err())
	}
}

func TestMailboxNames(t *testing.T) {
	for _, c := range []struct {
		in, want string
		utf8     bool
	}{
		{"INBOX", "INBOX", false}, {`"Entw&APw-rfe"`, "Entwürfe", false}, {`"Entwürfe"`, "Entwürfe", false},
		{`"Entw&APw-rfe"`, "Entw&APw-rfe", true}, {`"R&-D"`, "R&D", false}, {`"R&D"`, "", false}, {"{1+}\r\n\xff", "", true},
	} {
		d := begin(t, c.in+"\r\n")
		d.UTF8 = c.utf8
		if got := d.Mailbox(); got != c.want {
			t.Errorf("%s: %q; want %q", c.in, got, c.want)
		}
		var e *Error
		if c.want == "" && (!errors.As(d.Err(), &e) || !e.No) {
			t.Errorf("%s: %v; want a NO", c.in, d.Err())
		}
	}
}

// pieces are what comes from a connection, one a Read. It notes whether its Reader held a buffer then.
type pieces struct {
	r    *Reader
	left []string
	held []bool
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	p.held = append(p.held, p.r.buf != nil)
	n := copy(b, p.left[0])
	if p.left[0] = p.left[0][n:]; p.left[0] == "" {
		p.left = p.left[1:]
	}
	return n, nil
}

// A connection that waits holds no buffer, however long the line before was.
func TestReaderHoldsNothing(t *testing.T) {
	r := new(Reader)
	p := &pieces{r: r, left: []string{"a NOOP\r\n", strings.Repeat("x", 20000), "\r\n", "b NOOP\r\n"}}
	r.Reset(p)
	for _, want := range []int{6, 20000, 6} {
		before := len(p.held)
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		if p.held[before] {
			t.Error("a buffer is held between commands")
		}
		if line, err := r.Line(MaxLine); err != nil || len(line) != want {
			t.Fatal(len(line), err)
		}
	}
	if err := r.Wait(); err != io.EOF || r.buf != nil {
		t.Errorf("%v, or a buffer is held at the end", err)
	}
}

func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		"a LOGIN {3+}\r\nann secret\r\n", "a UID FETCH 1:* (FLAGS BODY.PEEK[1.HEADER.FIELDS (To)]<0.10>)\r\n", "a SEARCH RETURN (MIN) OR NOT (SEEN) {3}\r\nabc\r\n",
		"a LIST (SUBSCRIBED) \"\" (INBOX \"*\") RETURN (STATUS (MESSAGES))\r\n", "a STORE 1 +FLAGS.SILENT (\\Seen $x)\r\n", "a APPEND x (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {3+}\r\nabc\r\n",
		"a STATUS INBOX (MESSAGES)\r\n", "a CREATE x (USE (\\Sent))\r\n", "{5+}\r\n", "a SEARCH 1:2,* TEXT \"\\\"\"\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := new(Reader)
		r.Reset(iotest.OneByteReader(bytes.NewReader(append(in, "\r\n"...))))
		d := NewDecoder(r)
		d.Continue = func() error { return nil }
		for d.Next() == nil {
			d.LiteralMax, d.LiteralSum = 100, 1000
			d.Tag()
			d.SP()
			parse(d)
			d.EOL()
			if d.Finish() != nil {
				return
			}
		}
	})
}

// parse reads the arguments of the command that is next.
func parse(d *Decoder) {
	switch word := d.Word(); word {
	case "FETCH":
		d.SP()
		d.NumSet()
		d.SP()
		o := d.Fetch()
		for _, s := range o.BodySection {
			AppendSection(nil, s)
		}
	case "SEARCH":
		d.SP()
		d.Search()
	case "LIST":
		d.SP()
		for _, p := range d.ListCommand().Patterns {
			NewMatcher("", []string{p}).Match("INBOX/a")
		}
	case "STORE":
		d.SP()
		d.NumSet()
		d.SP()
		d.Store()
	case "APPEND":
		d.SP()
		d.Mailbox()
		d.SP()
		d.Flags()
		d.SP()
		d.DateTime()
		d.SP()
		if l, ok := d.Literal(); ok && l.Size < 100 {
			_ = l.Open()
			_, _ = io.Copy(io.Discard, &l)
			_ = l.Close()
		}
	case "STATUS":
		d.SP()
		d.Mailbox()
		d.SP()
		d.StatusItems()
	case "CREATE":
		d.SP()
		d.Mailbox()
		d.SP()
		d.CreateUse()
	default:
		d.SP()
		d.AString()
		d.SP()
		d.NString()
	}
}
