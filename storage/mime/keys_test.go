package mime

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestBaseSubject(t *testing.T) {
	for _, c := range []struct {
		in, want string
		reply    bool
	}{
		{"", "", false},
		{"hello", "hello", false},
		{"Re: hello", "hello", true},
		{"RE:hello", "hello", true},
		{"re : hello", "hello", true},
		{"Re[2]: hello", "hello", true},
		{"Re [2] : hello", "hello", true},
		{"Fw: hello", "hello", true},
		{"FWD: hello", "hello", true},
		{"Fwdd: hello", "Fwdd: hello", false},
		{"Res: hello", "Res: hello", false},
		{"Re: fw: Re: hello", "hello", true},
		{"[list] hello", "hello", false},
		{"[list] Re: hello", "hello", true},
		{"Re: [list] hello", "hello", true},
		{"Re: [list] Re: [b] hello", "hello", true},
		{"[a][b]  [c] hello", "hello", false},
		{"[a] [b]", "[b]", false},
		{"[a]", "[a]", false},
		{"Re: [a]", "[a]", true},
		{"[a] Re:", "", true},
		{"Re:", "", true},
		{"hello (fwd)", "hello", true},
		{"hello (FWD) (fwd) ", "hello", true},
		{"(fwd)", "", true},
		{"[Fwd: hello]", "hello", true},
		{"[fwd: [Fwd: Re: hello (fwd)]]", "hello", true},
		{"[Fwd: [list] hello]", "hello", true},
		{"Re: [Fwd: hello]", "hello", true},
		{"[fwd: ]", "", true},
		{"[fwd:", "[fwd:", false},
		{"[a [b] hello", "[a [b] hello", false},
		{"  hello \t  world\t", "hello world", false},
		{"hello [b]", "hello [b]", false},
		{"Re: hello Re: world", "hello Re: world", true},
		{"Ré: hello", "Ré: hello", false},
		{"[]hello", "hello", false},
	} {
		if got, reply := BaseSubject(c.in); got != c.want || reply != c.reply {
			t.Errorf("%q: %q %v, want %q %v", c.in, got, reply, c.want, c.reply)
		}
	}
}

// slowBase is RFC 5256 section 2.1 as it is written there, step by step.
func slowBase(s string) (string, bool) {
	reply := false
	s = strings.Join(strings.FieldsFunc(" "+s+" ", func(r rune) bool { return r == ' ' || r == '\t' }), " ")
	for {
		for { // (2)
			if t, ok := strings.CutSuffix(strings.ToLower(s), "(fwd)"); ok {
				s, reply = s[:len(t)], true
			} else if t, ok := strings.CutSuffix(s, " "); ok {
				s = t
			} else {
				break
			}
		}
		for {
			before := s
			s = strings.TrimLeft(s, " ") // (3)
			rest := s
			for {
				next, ok := cutBlob(rest)
				if !ok {
					break
				}
				rest = next
			}
			if next, ok := cutRefwd(rest); ok {
				s, reply = next, true
			}
			if next, ok := cutBlob(s); ok && strings.TrimLeft(next, " ") != "" { // (4)
				s = next
			}
			if s == before {
				break // (5)
			}
		}
		if len(s) < 6 || !strings.EqualFold(s[:5], "[fwd:") || s[len(s)-1] != ']' {
			return s, reply
		}
		s, reply = s[5:len(s)-1], true // (6)
	}
}

func TestBaseSubjectIsTheProcedure(t *testing.T) {
	piece := rapid.SampledFrom([]string{"re", "Re:", "fwd", "fw:", ":", " ", "\t", "[", "]", "[a]", "(fwd)", "[fwd:", "x", "é"})
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "subject"), "")
		got, reply := BaseSubject(s)
		want, wantReply := slowBase(s)
		if got != want || reply != wantReply {
			t.Fatalf("%q: %q %v, want %q %v", s, got, reply, want, wantReply)
		}
	})
}

// keysOf are the keys of a message with this header.
func keysOf(header []byte) Keys { return appendKeysOf(nil, header) }

func appendKeysOf(dst, header []byte) Keys {
	x := NewIndexer(Limits{HeaderBytes: 4 << 20})
	x.Write(header)
	return AppendKeys(dst, header, true, x.Finish().Root.Envelope)
}

func TestKeys(t *testing.T) {
	k := keysOf([]byte("From: =?utf-8?q?J=C3=B6rg?= <Joe@A.example>\r\nTo: a group: bob@b.example, c@c.example;, d@d.example\r\n" +
		"Cc: plain@c.example (Plain)\r\nSubject: Re: [list] =?utf-8?q?=C3=84pfel?=\r\nDate: Sun, 31 Dec 2000 16:01:33 -0800\r\n" +
		"Message-ID: <\"01KF8\"@xxx.example>\r\nReferences: <a@b> junk <c@d> <bad>\r\nIn-Reply-To: <z@z>\r\n\r\n"))
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	if sent, ok := k.Sent(); !ok || sent != 978307293 {
		t.Error(sent, ok)
	}
	if day, ok := k.SentDay(); !ok || day != 978220800 {
		t.Error(day, ok)
	}
	for v, want := range map[SortValue]string{SortSubject: "A\u0308PFEL", SortFrom: "JOE", SortTo: "A GROUP", SortCc: "PLAIN",
		SortDisplayFrom: "JO\u0308RG", SortDisplayTo: "A GROUP"} {
		if got := string(k.Value(v)); got != want {
			t.Errorf("%d: %q, want %q", v, got, want)
		}
	}
	if !k.Reply() || k.Refs() != 2 || k.Ref(0) != hashID([]byte("a@b")) || k.Ref(1) != hashID([]byte("c@d")) || k.ID() != hashID([]byte("01KF8@xxx.example")) {
		t.Error(k.Reply(), k.Refs())
	}
	if k.Thread() != k.Ref(0) {
		t.Error("thread")
	}
	for needle, want := range map[string]bool{"jörg": true, "=?UTF-8": false, "joe@a.example>": true, "": true, "ann": false, "\x00": false} {
		if has, known := k.Has(TextFrom, AppendCasemap(nil, []byte(needle))); has != want || !known {
			t.Errorf("%q: %v %v", needle, has, known)
		}
	}
	if has, known := k.Has(TextBcc, nil); has || !known {
		t.Error("a field that is not there has the empty needle")
	}
	if has, _ := k.Has(TextCc, []byte("PLAIN@C.EXAMPLE")); !has {
		t.Error("cc")
	}
}

func TestKeysFallbacks(t *testing.T) {
	for _, c := range []struct {
		header string
		sent   int64
		ok     bool
	}{
		{"Date: 1 Jan 2001 00:01:33 +0000\r\n", 978307293, true},
		{"Date: 1 Jan 2001 00:01:33 +9999\r\n", 978307293, true},
		{"Date: 1 Jan 2001 99:99:99 +0100\r\n", 978307200, true},
		{"Date: Mon, 1 Jan 2001\r\n", 978307200, true},
		{"Date: someday\r\n", 0, false},
		{"Date:\r\n", 0, false},
		{"", 0, false},
		{"Date: someday\r\nDate: 1 Jan 2001 00:01:33 +0000\r\n", 0, false},
	} {
		if sent, ok := keysOf([]byte(c.header + "\r\n")).Sent(); ok != c.ok || ok && sent != c.sent {
			t.Errorf("%q: %d %v", c.header, sent, ok)
		}
	}
	k := keysOf([]byte("References: nothing\r\nIn-Reply-To: your message of Monday <a@b> <c@d>\r\n\r\n"))
	if k.Refs() != 1 || k.Ref(0) != hashID([]byte("a@b")) || k.ID() != 0 {
		t.Error("In-Reply-To")
	}
	if k := keysOf([]byte("From: \r\nFrom: b@b.example\r\nTo: <>\r\n\r\n")); string(k.Value(SortFrom)) != "B" || len(k.Value(SortDisplayTo)) != 0 {
		t.Errorf("%q %q", k.Value(SortFrom), k.Value(SortDisplayTo))
	}
}

func TestKeysAreBounded(t *testing.T) {
	var refs strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&refs, " <%d@x>", i)
	}
	long := strings.Repeat("a very long text ", 5000)
	k := keysOf([]byte("References:" + refs.String() + "\r\nSubject: " + long + "end\r\nTo: " + long + "\r\nCc: " + long + "\r\nBcc: " + long + "\r\nFrom: " + long + "\r\n\r\n"))
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	if len(k) > 15<<10 {
		t.Error(len(k))
	}
	if n := k.Refs(); n != firstRefs+lastRefs || k.Ref(0) != hashID([]byte("0@x")) || k.Ref(firstRefs) != hashID(fmt.Appendf(nil, "%d@x", 100_000-lastRefs)) || k.Ref(n-1) != hashID([]byte("99999@x")) {
		t.Error("references", n)
	}
	if has, known := k.Has(TextSubject, []byte("END")); has || known {
		t.Error("what was cut off is known", has, known)
	}
	if has, known := k.Has(TextSubject, []byte("LONG")); !has || !known {
		t.Error(has, known)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("From: a <b@c>\r\nSubject: [fwd: re: x]\r\nReferences: <a@b> <\"c\\\"@d\r\nDate: 1 Jan 01\r\n\r\n"))
	f.Add([]byte("To: (\xff =?utf-8?b?//8=?= \"\r\n\x00x: g:;,\r\nTo: \xed\xa0\x80\r\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		k := appendKeysOf([]byte("x"), header)[1:]
		if err := k.Check(); err != nil {
			t.Fatal(err)
		}
		for i := range k.Refs() {
			k.Ref(i)
		}
		for v := range sortValues {
			k.Value(v)
		}
		for i := range texts {
			k.Text(i)
		}
		k.Sent()
		k.SentDay()
		// What is no keys must not harm.
		if d := Keys(header); d.Check() == nil {
			for v := range sortValues {
				d.Value(v)
			}
			for i := range texts {
				d.Text(i)
			}
			for i := range d.Refs() {
				d.Ref(i)
			}
		}
	})
}

func BenchmarkKeys(b *testing.B) {
	header := []byte("Received: from a.example (a.example [192.0.2.1]) by mx.example.test with ESMTPS id 1; Mon, 23 Nov 2026 00:00:00 +0000\r\n" +
		strings.Repeat("X-Header: what others put into a header on the way\r\n", 20) +
		"From: Joe <joe@a.example>\r\nTo: Ann <ann@example.test>\r\nSubject: a message of the usual kind\r\nDate: Mon, 23 Nov 2026 00:00:00 +0000\r\n" +
		"References: <1@a.example> <2@a.example> <3@a.example>\r\nMessage-ID: <4@a.example>\r\n\r\n")
	x := NewIndexer(Limits{})
	x.Write(header)
	e := x.Finish().Root.Envelope
	var k Keys
	b.ReportAllocs()
	for b.Loop() {
		k = AppendKeys(k[:0], header, true, e)
	}
	b.ReportMetric(float64(len(k)), "bytes")
}
