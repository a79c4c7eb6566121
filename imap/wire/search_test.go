package wire

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Keys of extensions, and what RETURN may ask for.
func TestSearchExtensions(t *testing.T) {
	for in, want := range map[string]bool{
		"OLDER 1 YOUNGER 4294967295": true, "OLDER 0": false, "YOUNGER -1": false, "OLDER 01": false, // RFC 5032
		"SAVEDON 1-Feb-2020 SAVEDBEFORE 1-Feb-2020 SAVEDSINCE 1-Feb-2020 SAVEDATESUPPORTED": true, "SAVEDON x": false, // RFC 8514
		"MODSEQ 0": true, "MODSEQ 9223372036854775806": true, `MODSEQ "/flags/\\Seen" priv 1`: true, `MODSEQ "/flags/$x" SHARED 1 ALL`: true,
		"MODSEQ": false, "MODSEQ x": false, `MODSEQ "/flags/" all 1`: false, `MODSEQ "/flags/x" 1`: false, `MODSEQ /flags/x all 1`: false, // RFC 7162
		"EMAILID M1-_a": true, "EMAILID \"\"": false, "THREADID " + strings.Repeat("a", 255): true, "THREADID " + strings.Repeat("a", 256): false, "EMAILID a.b": false, // RFC 8474
		"RETURN (PARTIAL 1:2) ALL": true, "RETURN (UPDATE CONTEXT COUNT) ALL": true, "RETURN (PARTIAL -1:-2 SAVE) ALL": true,
		"RETURN (ALL PARTIAL 1:2) ALL": false, "RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL": false, "RETURN (PARTIAL 4294967296:1) ALL": false, // RFC 9394
		"FUZZY SUBJECT x": false, "FILTER x": false,
	} {
		d := begin(t, in+"\r\n")
		d.Search()
		d.EOL()
		if got := d.Err() == nil; got != want {
			t.Errorf("%s: %v; want %v (%v)", in, got, want, d.Err())
		}
	}
}

// shape writes a key's structure.
func shape(k Key) string {
	switch k.Kind {
	case KeyNot:
		return "!" + shape(k.Keys[0])
	case KeyAnd, KeyOr:
		var parts []string
		for _, k := range k.Keys {
			parts = append(parts, shape(k))
		}
		sep := "&"
		if k.Kind == KeyOr {
			sep = "|"
		}
		return "(" + strings.Join(parts, sep) + ")"
	case KeySeq:
		return fmt.Sprint(k.Set.Ranges)
	}
	return "?"
}

func TestSearchShape(t *testing.T) {
	for in, want := range map[string]string{
		"1 2":                     "(1&2)",
		"OR 1 2":                  "((1|2))",
		"OR 1 OR 2 OR 3 4":        "((1|2|3|4))",
		"OR OR OR 1 2 3 4":        "((1|2|3|4))",
		"OR OR 1 2 OR 3 4 5":      "((1|2|3|4)&5)",
		"NOT NOT NOT 1 NOT NOT 2": "(!1&2)",
		"NOT OR 1 NOT (2 3)":      "(!(1|!(2&3)))",
		"OR (1 2) ((3))":          "(((1&2)|3))",
		"OR NOT OR 1 2 3":         "((!(1|2)|3))",
	} {
		d := begin(t, in+"\r\n")
		o := d.Search()
		if got := shape(o.Key); got != want || !d.EOL() {
			t.Errorf("%s: %s; want %s (%v)", in, got, want, d.Err())
		}
	}
}

// What is made to hurt costs little: a command of the longest line takes no more than a few times its size.
func TestSearchCost(t *testing.T) {
	sets := "1" + strings.Repeat(",1", 30000)
	for name, c := range map[string]struct {
		in   string
		fine bool
	}{
		"parentheses":   {strings.Repeat("(", 60000), false},
		"NOT":           {strings.Repeat("NOT ", 16000) + "ALL", false},
		"NOT, few":      {strings.Repeat("NOT ", 4000) + "ALL", true},
		"OR":            {strings.Repeat("OR ALL ", 9000) + "ALL", false},
		"OR, few":       {strings.Repeat("OR ALL ", 2000) + "ALL", true},
		"OR, left":      {strings.Repeat("OR ", 2000) + strings.Repeat("ALL ", 2000) + "ALL", true},
		"OR NOT":        {strings.Repeat("OR NOT ", 9000) + "ALL", false},
		"NOT OR":        {strings.Repeat("NOT OR ALL ", 5000) + "ALL", false},
		"ranges":        {sets, false},
		"sets":          {strings.Repeat("1:*,5 ", 10000) + "ALL", false},
		"texts":         {strings.Repeat("BODY x ", 257) + "ALL", false},
		"texts, few":    {strings.Repeat("TEXT x ", 256) + "ALL", true},
		"many headers":  {strings.Repeat("HEADER x y ", 4000) + "ALL", true},
		"long argument": {"SUBJECT \"" + strings.Repeat("x", 60000) + "\"", true},
	} {
		var before, after runtime.MemStats
		d := begin(t, c.in+"\r\n")
		runtime.ReadMemStats(&before)
		d.Search()
		runtime.ReadMemStats(&after)
		var e *Error
		if ok := d.Err() == nil; ok != c.fine || !ok && (!errors.As(d.Err(), &e) || e.Code != "LIMIT") {
			t.Errorf("%s: %v", name, d.Err())
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
			t.Errorf("%s: %d KiB", name, took>>10)
		}
	}
}

// RFC 9394 section 3.1: which part of n results a range is.
func TestPartialRange(t *testing.T) {
	for _, c := range []struct {
		in       string
		n        int
		from, to int
	}{
		{"1:500", 1000, 0, 500}, {"501:1000", 1000, 500, 1000}, {"500:1", 1000, 0, 500}, {"5:5", 5, 4, 5},
		{"990:2000", 1000, 989, 1000}, {"1001:2000", 1000, 1000, 1000}, {"1:1", 0, 0, 0}, {"4294967295:1", 3, 0, 3},
		{"-1:-100", 1000, 900, 1000}, {"-100:-1", 1000, 900, 1000}, {"-1:-1", 5, 4, 5}, {"-5:-9", 7, 0, 3}, {"-8:-9", 7, 0, 0}, {"-1:-4294967295", 2, 0, 2},
	} {
		d := begin(t, c.in+"\r\n")
		r := d.PartialRange()
		if !d.EOL() {
			t.Fatalf("%s: %v", c.in, d.Err())
		}
		if from, to := r.Cut(c.n); from != c.from || to != c.to {
			t.Errorf("%s of %d: %d..%d; want %d..%d", c.in, c.n, from, to, c.from, c.to)
		}
		if r.String() != c.in {
			t.Errorf("%s became %s", c.in, r)
		}
	}
}

func TestMultiSearch(t *testing.T) {
	for in, want := range map[string]string{
		"ALL":                       "[]",
		"IN (selected) ALL":         "[{SELECTED []}]",
		"in (Personal inboxes) ALL": "[{PERSONAL []} {INBOXES []}]",
		"IN (mailboxes a) ALL":      "[{MAILBOXES [a]}]",
		`IN (subtree ("a b" &AOQ-) mailboxes INBOX subtree-one x subscribed) RETURN (COUNT) CHARSET UTF-8 ALL`: "[{SUBTREE [a b ä]} {MAILBOXES [INBOX]} {SUBTREE-ONE [x]} {SUBSCRIBED []}]",
		"IN personal ALL":              "",
		"IN (personal ALL":             "",
		"IN (personal)":                "",
		"IN (personal) RETURN (COUNT)": "",
		"IN (selected-delayed) ALL":    "",
		"IN (mailboxes ()) ALL":        "",
		"IN (mailboxes) ALL":           "",
		"IN (personal (a b)) ALL":      "",
		"IN (mailboxes (a b) c) ALL":   "",
		"IN (mailboxes (" + strings.Repeat("a ", 1000) + "a)) ALL": "",
	} {
		d := begin(t, in+"\r\n")
		o := d.MultiSearch()
		d.EOL()
		if ok := d.Err() == nil; ok != (want != "") {
			t.Errorf("%.60s: %v", in, d.Err())
		} else if got := fmt.Sprint(o.Sources); ok && got != want {
			t.Errorf("%s: %s; want %s", in, got, want)
		}
	}
}

func FuzzMultiSearch(f *testing.F) {
	for _, s := range []string{"IN (mailboxes (a b) personal) RETURN (PARTIAL -1:-2) OR NOT 1 2", "IN (selected) RETURN () MODSEQ \"/flags/x\" all 1", "RETURN (UPDATE) NOT NOT OR OR 1 2 3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, _ := open(s + "\r\n")
		_ = d.Next()
		o := d.MultiSearch()
		if !d.EOL() {
			return
		}
		if len(o.Key.Keys) == 0 {
			t.Error("no key and no error")
		}
		if p := o.Return.Partial; p != nil {
			if from, to := p.Cut(10); from > to || from < 0 || to > 10 {
				t.Errorf("%s cuts %d..%d", p, from, to)
			}
		}
	})
}
