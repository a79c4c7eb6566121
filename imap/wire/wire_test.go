package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestUTF7(t *testing.T) {
	for utf, coded := range map[string]string{
		"": "", "INBOX": "INBOX", "R&D": "R&-D", "&": "&-", "Entwürfe": "Entw&APw-rfe", "台北": "&U,BTFw-", "日本語/x": "&ZeVnLIqe-/x",
		"a\U0001F600b": "a&2D3eAA-b", "&ä&": "&-&AOQ-&-", "x~y": "x~y", "\t": "&AAk-",
	} {
		if got := EncodeUTF7(utf); got != coded {
			t.Errorf("encode %q: %q; want %q", utf, got, coded)
		}
		if got, err := DecodeUTF7(coded); got != utf || err != nil {
			t.Errorf("decode %q: %q, %v; want %q", coded, got, err, utf)
		}
	}
	for _, bad := range []string{"&", "a&b", "&AP", "&AGE-", "&2D0-", "&3QA-", "&AOQ-&AOQ-", "ä", "a\x01", "&AOR-", "&A-", "&AOQAAA-x&!-"} {
		if got, err := DecodeUTF7(bad); err == nil {
			t.Errorf("decode %q: %q; want an error", bad, got)
		}
	}
}

func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"", "Entw&APw-rfe", "&-", "&2D3eAA-", "&AOQ-&AOQ-", "ä", "&&&---"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := DecodeUTF7(s); err == nil {
			if !utf8.ValidString(u) || EncodeUTF7(u) != s {
				t.Errorf("%q decodes to %q, which encodes to %q", s, u, EncodeUTF7(u))
			}
		}
		if u, err := DecodeUTF7(EncodeUTF7(s)); err != nil || u != strings.ToValidUTF8(s, "\uFFFD") && utf8.ValidString(s) {
			t.Errorf("%q comes back as %q, %v", s, u, err)
		}
	})
}

func TestFetchItems(t *testing.T) {
	for in, want := range map[string]string{
		"BODY[]": "BODY[]", "BODY.PEEK[HEADER]": "BODY[HEADER]", "BODY[1.2.MIME]": "BODY[1.2.MIME]", "BODY[1.TEXT]<5.10>": "BODY[1.TEXT]<5>",
		"body.peek[header.fields (from \"to\")]": "BODY[HEADER.FIELDS (from to)]", "BODY[HEADER.FIELDS.NOT (a)]": "BODY[HEADER.FIELDS.NOT (a)]", "(BODY[3])": "BODY[3]",
		"BODY[1.HEADER.FIELDS (NIL)]": "BODY[1.HEADER.FIELDS (\"NIL\")]",
		"BODY[1.]":                    "", "BODY[0]": "", "BODY[MIME]": "", "BODY[1HEADER]": "", "BODY[HEADER.FIELDS ()]": "", "BODY[HEADER.FIELDS (a:b)]": "", "BODY[": "", "BODY[]<1>": "", "BODY[]<0.0>": "",
		"()": "", "(ALL)": "", "FOO": "", "(FLAGS": "", "(FLAGS  UID)": "", "BODY[x]": "",
	} {
		d := begin(t, in+"\r\n")
		o := d.Fetch()
		d.EOL()
		got := ""
		if d.Err() == nil {
			got = string(AppendSection(nil, o.BodySection[0]))
		}
		if got != want {
			t.Errorf("%s: %q; want %q (%v)", in, got, want, d.Err())
		}
	}
	d := begin(t, "FULL\r\n")
	o := d.Fetch()
	if !o.Flags || !o.InternalDate || !o.RFC822Size || !o.Envelope || !o.Body || d.Err() != nil {
		t.Errorf("FULL: %+v %v", o, d.Err())
	}
}

func TestSearchKeys(t *testing.T) {
	for in, want := range map[string]bool{
		"ALL": true, "1:*": true, "$": true, "UNSEEN UID 1,2": true, "NOT SEEN": true, "OR SEEN (DELETED FLAGGED)": true, "HEADER X-Y \"\"": true, "CHARSET UTF-8 SUBJECT {3+}\r\nabc": true,
		"RETURN () ALL": true, "RETURN (MIN MAX COUNT ALL SAVE) ALL": true, "RETURN (FOO) ALL": false, "KEYWORD $x UNKEYWORD y": true, "LARGER 0 SMALLER 99999999999": true,
		"ON 1-Feb-1994 SENTON \"1-Feb-1994\"": true, "NEW": true, "RECENT": true, "OLD": true, "FOO": false, "": false, "()": false, "OR SEEN": false, "NOT": false, "LARGER x": false, "SUBJECT": false,
		"ON 31-Feb-1994": false, "SEEN  DELETED": false, "SEEN ": false, "RETURN (MIN)": false, "charset us-ascii all": true,
	} {
		d := begin(t, in+"\r\n")
		d.Search()
		d.EOL()
		if got := d.Err() == nil; got != want {
			t.Errorf("%s: %v; want %v (%v)", in, got, want, d.Err())
		}
	}
}

func FuzzSearch(f *testing.F) {
	for _, s := range []string{"RETURN (MIN) OR 1:* NOT (SEEN DELETED)", "CHARSET UTF-8 TEXT \"x\"", "SENTON 1-Feb-1994 HEADER a b", "UID $ KEYWORD x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, _ := open(s + "\r\n")
		_ = d.Next()
		o := d.Search()
		if d.EOL() && len(o.Key.Keys) == 0 {
			t.Error("no key and no error")
		}
	})
}

func FuzzNumSet(f *testing.F) {
	for _, s := range []string{"1", "1:*", "*", "4294967295,1:2", "$", "1,,2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, _ := open(s + "\r\n")
		_ = d.Next()
		set := d.NumSet()
		if d.EOL() && !set.Saved && set.Ranges.String() == "" {
			t.Errorf("%q is an empty set", s)
		}
	})
}

func TestListCommand(t *testing.T) {
	for in, want := range map[string]string{
		`"" *`:   "[*] false",
		`"" "%"`: "[%] false",
		`(SUBSCRIBED REMOTE) "" ("INBOX" x*) RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES UNSEEN))`: "[INBOX x*] true",
		`() "" a RETURN ()`:          "[a] true",
		`(RECURSIVEMATCH) "" a`:      "",
		`"" () `:                     "",
		`"" a RETURN`:                "",
		`"" a FOO ()`:                "",
		`(FOO) "" a`:                 "",
		`"" a RETURN (STATUS (FOO))`: "",
		`"" a RETURN (STATUS ())`:    "",
	} {
		d := begin(t, in+"\r\n")
		o := d.ListCommand()
		d.EOL()
		got := ""
		if d.Err() == nil {
			got = fmt.Sprint(o.Patterns, o.Extended)
		}
		if got != want {
			t.Errorf("%s: %q; want %q (%v)", in, got, want, d.Err())
		}
	}
}

func TestEncoder(t *testing.T) {
	var out bytes.Buffer
	e := new(Encoder)
	e.Reset(&out)
	e.Raw("* ").String("a\"b\\").Raw(" ").String("ä").Raw(" ").Mailbox("Entwürfe").Raw(" ").Mailbox("a b").CRLF()
	e.UTF8 = true
	e.String("ä").Raw(" ").Mailbox("Entwürfe").Raw(" ").String("a\r\nb").CRLF()
	if out.Len() != 0 {
		t.Error("sent before Flush")
	}
	if err := e.Flush(); err != nil || e.buf != nil {
		t.Error(err, "or the buffer is held")
	}
	want := "* \"a\\\"b\\\\\" {2}\r\nä Entw&APw-rfe \"a b\"\r\n\"ä\" \"Entwürfe\" {4}\r\na\r\nb\r\n"
	if out.String() != want {
		t.Errorf("got %q\nwant %q", out.String(), want)
	}
	out.Reset()
	big := bytes.Repeat([]byte("x"), 200000)
	e.Raw("{200000}\r\n")
	_, _ = e.Write(big)
	e.Raw(")").CRLF()
	_ = e.Flush()
	if want := "{200000}\r\n" + string(big) + ")\r\n"; out.String() != want {
		t.Error("a large literal is not what was written")
	}
}

func TestAppendSet(t *testing.T) {
	for want, in := range map[string][]uint32{
		"x ":           nil,
		"x 1":          {1},
		"x 1:3,5,7:8":  {1, 2, 3, 5, 7, 8},
		"x 4294967295": {4294967295},
	} {
		if got := string(AppendSet([]byte("x "), in)); got != want {
			t.Errorf("%v: %q; want %q", in, got, want)
		}
	}
}
