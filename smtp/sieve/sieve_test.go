package sieve

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage/mime"
)

const mail1 = "Received: from a by b; Wed, 12 Nov 2003 19:10:02 -0800\r\n" +
	"Received: from c by d; Tue, 11 Nov 2003 10:00:00 +0000\r\n" +
	"Authentication-Results: mail.example.test; spf=pass\r\n" +
	"From: \"Coyote (W)\" <Coyote+acme@desert.example.org>\r\n" +
	"To: roadrunner@acme.example.com, <second@acme.example.com>\r\n" +
	"Subject: =?utf-8?q?I_have_a_pr=C3=A9sent?= for you\r\n" +
	"X-Spam-Score: 007.5\r\n" +
	"X-Empty:\r\n" +
	"List-Id: Lists [dev-list]\r\n" +
	"Message-ID: <m1@desert.example.org>\r\n" +
	"Date: Wed, 12 Nov 2003 19:10:02 -0800\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble secret\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\naGlkZGVuIHdvcmRzCg==\r\n" +
	"--b\r\nContent-Type: text/html\r\n\r\n<p>MAKE MONEY FAST</p>\r\n" +
	"--b\r\nContent-Type: application/x-thing\r\n\r\nbinary stuff\r\n--b--\r\n"

func message(s string) Message {
	x := mime.NewIndexer(mime.Limits{})
	_, _ = x.Write([]byte(s))
	head, _, _ := strings.Cut(s, "\r\n\r\n")
	return Message{Header: []byte(head + "\r\n\r\n"), Body: strings.NewReader(s), Size: int64(len(s)), Index: x.Finish()}
}

var env = Env{
	From: "coyote+x@desert.example.org", To: "roadrunner+lists@acme.example.com", Host: "mail.example.test",
	Now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Remote: netip.MustParseAddr("192.0.2.9"),
	Exists: func(_ context.Context, name string) (bool, error) { return name == "Lists" || name == "INBOX", nil },
	Seen:   func(_ context.Context, mark string) (bool, error) { return false, nil },
}

// told is what a script wants, in words.
func told(a Actions) string {
	var all []string
	for _, f := range a.Files {
		s := "file:" + f.Mailbox
		if f.Mailbox == "" {
			s = "keep"
		}
		if f.Create {
			s += "!"
		}
		if len(f.Flags) > 0 {
			s += "(" + strings.Join(f.Flags, " ") + ")"
		}
		all = append(all, s)
	}
	for _, r := range a.Redirects {
		all = append(all, "redirect:"+r)
	}
	if a.Rejects {
		all = append(all, "reject:"+a.Reject)
	}
	if v := a.Vacation; v != nil {
		all = append(all, fmt.Sprintf("vacation:%s/%s/%s/%v", v.Subject, v.From, v.Reason, v.Every))
	}
	return strings.Join(all, " ")
}

// TestScripts: what scripts do, by the rules of the RFC that the name begins with.
func TestScripts(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"5228 nothing", ``, "keep"},
		{"5228 comments", "# a\n/* b\n ** c */ keep; /**/", "keep"},
		{"5228 discard", `discard;`, ""},
		{"5228 discard and keep", `discard; keep;`, "keep"},
		{"5228 stop", `stop; discard;`, "keep"},
		{"5228 redirect", `redirect "a@b.example";`, "redirect:a@b.example"},
		{"5228 same redirect twice", `redirect "a@b.example"; redirect "A@b.example";`, "redirect:a@b.example"},
		{"5228 fileinto", `require "fileinto"; fileinto "Lists";`, "file:Lists"},
		{"5228 fileinto twice", `require ["fileinto"]; fileinto "Lists"; fileinto "Lists"; keep;`, "file:Lists keep"},
		{"5228 if elsif else", `require "fileinto"; if false { stop; } elsif header :is "x" "y" { stop; } elsif true { fileinto "a"; } else { fileinto "b"; }`, "file:a"},
		{"5228 else", `if false {} else { discard; }`, ""},
		{"5228 nested", `if anyof (allof (true, not false), false) { if true { discard; } }`, ""},
		{"5228 header contains", `if header :contains ["x", "SUBJECT"] ["PRÉSENT", "have a"] { discard; }`, ""},
		{"5228 header decoded", `if header :is "subject" "I have a présent for you" { discard; }`, ""},
		{"5228 header octet", `if header :comparator "i;octet" :contains "subject" "i HAVE" { discard; }`, "keep"},
		{"5228 header empty", `if header :is "x-empty" "" { discard; }`, ""},
		{"5228 header contains empty", `if header :contains "x-empty" "" { discard; }`, ""},
		{"5228 header missing", `if header :contains "x-none" "" { discard; }`, "keep"},
		{"5228 matches", `if header :matches "subject" "I * a pr?sent*" { discard; }`, ""},
		{"5228 matches escaped", `if header :matches "list-id" "*[dev-\\*]" { discard; }`, "keep"},
		{"5228 matches star at the end", `if header :matches "list-id" "lists*" { discard; }`, ""},
		{"5228 address", `if address :all "from" "coyote+acme@desert.example.org" { discard; }`, ""},
		{"5228 address domain", `if address :domain :is ["to", "from"] "ACME.example.com" { discard; }`, ""},
		{"5228 address second, in brackets", `if address :localpart "to" "second" { discard; }`, ""},
		{"5228 address no display name", `if address :contains "from" "(W)" { discard; }`, "keep"},
		{"5228 envelope", `require "envelope"; if envelope :localpart "from" "coyote+x" { discard; }`, ""},
		{"5228 exists", `if exists ["from", "date"] { discard; }`, ""},
		{"5228 exists not all", `if exists ["from", "x-none"] { discard; }`, "keep"},
		{"5228 size", `if allof (size :over 100, size :under 1M, not size :over 2K) { discard; }`, ""},
		{"5228 multiline", "require \"vacation\"; vacation text: # c\r\nHi\r\n..dot\r\n.\r\n;", "keep vacation://Hi\r\n.dot\r\n/168h0m0s"},
		{"5228 string escapes", `require "fileinto"; fileinto "a\"b\\c\d";`, `file:a"b\cd`},
		{"5228 encoded character", `require ["encoded-character", "fileinto"]; fileinto "${hex: 24 24}${unicode:40}${UNICODE: 00E9}${hex:40";`, `file:$$@é${hex:40`},
		{"5228 numeric", `require "comparator-i;ascii-numeric"; if header :comparator "i;ascii-numeric" :is "x-spam-score" "7" { discard; }`, ""},
		{"3894 copy", `require ["copy", "fileinto"]; fileinto :copy "Lists"; redirect :copy "a@b.example";`, "file:Lists keep redirect:a@b.example"},
		{"5231 value", `require ["relational", "comparator-i;ascii-numeric"]; if header :value "gt" :comparator "i;ascii-numeric" "x-spam-score" "5" { discard; }`, ""},
		{"5231 count", `require ["relational", "comparator-i;ascii-numeric"]; if address :count "ge" :comparator "i;ascii-numeric" ["to", "from"] "3" { discard; }`, ""},
		{"5231 count none", `require "relational"; if header :count "eq" "x-none" "0" { discard; }`, ""},
		{"5229 set", `require ["variables", "fileinto"]; set "Name" "Lists"; fileinto "${nAME}/${none}x";`, "file:Lists/x"},
		{"5229 matches", `require ["variables", "fileinto"]; if header :matches "List-ID" "*[*-*]" { fileinto "${2}.${3}.${1}${9}"; }`, "file:dev.list.Lists "},
		{"5229 shortest", `require ["variables", "fileinto"]; set "x" "a.b.c"; if string :matches "${x}" "*.*" { fileinto "${1}|${2}|${0}"; }`, "file:a|b.c|a.b.c"},
		{"5229 modifiers", `require ["variables", "fileinto"]; set :length "n" "héllo"; set :upperfirst :lower "f" "jOHN"; set :quotewildcard "q" "a*b?c\\"; fileinto "${n} ${f} ${q}";`, `file:5 John a\*b\?c\\`},
		{"5229 match variables live on", `require ["variables", "fileinto"]; if string :matches "one" "*" {} if string :matches "x" "y" {} fileinto "${1}";`, "file:one"},
		{"5229 no reference", `require ["variables", "fileinto"]; fileinto "${a b}${}$${x";`, "file:${a b}${}$${x"},
		{"5229 not required", `require "fileinto"; fileinto "${x}";`, "file:${x}"},
		{"5229 string count", `require ["variables", "relational"]; if string :count "eq" ["a", "", "b"] "2" { discard; }`, ""},
		{"5230 vacation", `require "vacation"; vacation :days 3 :subject "Away" :from "me@acme.example.com" :addresses ["x@acme.example.com"] "gone";`, "keep vacation:Away/me@acme.example.com/gone/72h0m0s"},
		{"5230 days are bounded", `require "vacation"; vacation :days 0 "gone";`, "keep vacation://gone/24h0m0s"},
		{"6131 seconds", `require ["vacation", "vacation-seconds"]; vacation :seconds 1800 "gone";`, "keep vacation://gone/30m0s"},
		{"5232 flags", `require ["imap4flags", "fileinto"]; setflag "\\Seen"; addflag ["$work", "\\seen \\flagged"]; fileinto "a"; removeflag "\\SEEN"; keep; fileinto :flags "x" "b";`,
			`file:a(\Seen $work \flagged) keep($work \flagged) file:b(x)`},
		{"5232 implicit keep", `require "imap4flags"; addflag "\\Flagged";`, `keep(\Flagged)`},
		{"5232 hasflag", `require ["imap4flags", "variables", "relational"]; addflag "v" "a b"; if allof (hasflag "v" "B", hasflag :count "eq" "v" "2", not hasflag "a", hasflag :contains "v" ["z", "a"]) { discard; }`, ""},
		{"5233 subaddress", `require ["subaddress", "envelope"]; if allof (envelope :detail "to" "lists", envelope :user "to" "roadrunner", address :detail "from" "acme", not address :detail :contains "to" "") { discard; }`, ""},
		{"5260 date", `require ["date", "relational"]; if allof (date :value "ge" :originalzone "date" "hour" "19", date :zone "+0000" "date" "date" "2003-11-13", date :originalzone "date" "iso8601" "2003-11-12T19:10:02-08:00", date :originalzone "date" "weekday" "3", date :zone "+0000" "date" "julian" "52956") { discard; }`, ""},
		{"5260 index", `require ["date", "index"]; if allof (date :index 1 :last :zone "+0000" "received" "date" "2003-11-11", date :zone "+0000" "received" "day" "13", header :index 2 :contains "received" "from c", not header :index 3 :contains "received" "") { discard; }`, ""},
		{"5260 currentdate", `require ["date"]; if allof (currentdate :zone "+0100" "hour" "06", currentdate :is :zone "+0000" "year" "2026") { discard; }`, ""},
		{"5173 body text", `require "body"; if allof (body :contains "HIDDEN words", body :text :contains "money", not body :contains "binary") { discard; }`, ""},
		{"5173 body raw", `require "body"; if allof (body :raw :contains "aGlkZGVu", not body :raw :contains "hidden") { discard; }`, ""},
		{"5173 body content", `require "body"; if allof (body :content "text/html" :contains "money", not body :content "text/plain" :contains "money", body :content "" :contains "binary", body :content "multipart" :contains "preamble", body :content "application" :contains "stuff") { discard; }`, ""},
		{"5490 mailboxexists", `require ["mailbox", "fileinto"]; if allof (mailboxexists ["Lists", "INBOX"], not mailboxexists ["Lists", "Nope"]) { fileinto :create "New/One"; }`, "file:New/One!"},
		{"5429 reject", `require "reject"; reject "no thanks";`, "reject:no thanks"},
		{"5429 ereject", `require "ereject"; discard; ereject "no";`, "reject:no"},
		{"7352 duplicate", `require "duplicate"; if not duplicate :handle "x" :seconds 60 { discard; }`, ""},
		{"5183 environment", `require ["environment"]; if allof (environment "remote-ip" "192.0.2.9", environment :contains "host" "mail.", not environment "nonsense" "") { discard; }`, ""},
		{"5463 ihave", `require "ihave"; if ihave "vnd.none" { unknown :with "x" { } keep :none; } elsif ihave ["fileinto"] { fileinto "a"; }`, "file:a"},
		{"regex", `require ["regex", "variables", "fileinto"]; if header :regex "list-id" "^lists \\[([a-z]+)-" { fileinto "${1}"; }`, "file:dev"},
		{"unicode comparator", `require "comparator-i;unicode-casemap"; if header :comparator "i;unicode-casemap" :contains "subject" "PRÉSENT" { discard; }`, ""},
		{"trace is seen", `if header :contains "authentication-results" "spf=pass" { discard; }`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Compile(c.script)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Run(t.Context(), env, message(mail1), Limits{})
			if err != nil || told(got) != c.want {
				t.Errorf("%q, %v; want %q (%d steps)", told(got), err, c.want, got.Steps)
			}
		})
	}
}

// TestBadScripts: what may not be put into the store.
func TestBadScripts(t *testing.T) {
	for _, script := range []string{
		`keep`, `keep; }`, `if true keep;`, `if { keep; }`, `elsif true {}`, `else {}`, `if true {} else {} else {}`, `if true {} else {} elsif true {}`,
		`fileinto "x";`, `require "fileinto"; fileinto;`, `require "fileinto"; fileinto "a" "b";`, `require "fileinto"; fileinto ["a"];`, `require "fileinto"; fileinto 3;`,
		`keep; require "fileinto";`, `require "vnd.none";`, `require 3;`, `redirect "no address";`, `redirect "a@b.example\r\nX: y";`, `frobnicate;`, `if frobnicate {}`,
		`if header :is :contains "a" "b" {}`, `if header :is :is "a" "b" {}`, `if header :none "a" "b" {}`, `if header "a" :is "b" {}`, `if header "a" {}`, `if header :comparator "i;none" "a" "b" {}`,
		`if header :value "gt" "a" "b" {}`, `require "relational"; if header :value "xx" "a" "b" {}`, `if size 3 {}`, `if size :over :under 3 {}`, `if size :over "3" {}`, `if size :over 99999999999999999999 {}`,
		`if envelope "from" "x" {}`, `require "envelope"; if envelope "body" "x" {}`, `if not {}`, `if not (true, false) {}`, `if anyof () {}`, `if allof true, false {}`, `keep true;`,
		`require "variables"; set "1a" "b";`, `require "variables"; set "a.b" "c";`, `require ["variables", "fileinto"]; fileinto "${foo.bar}";`, `require "variables"; set :lower :upper "a" "b";`,
		`require "vacation"; vacation :days "3" "x";`, `require "vacation"; vacation :seconds 3 "x";`, `require "regex"; if header :regex "a" "(" {}`, `keep :flags "x";`,
		`require "encoded-character"; redirect "${unicode: d800}@b.example";`, `"x";`, `/* `, `redirect "`, `require "vacation"; vacation text: x`, `require "vacation"; vacation text:` + "\nabc\n", `keep :;`, `3x;`, "\xff;",
		strings.Repeat("if true {", 40) + strings.Repeat("}", 40), "if " + strings.Repeat("not ", 40) + "true {}", strings.Repeat("#", MaxScript+1),
		`require "date"; if date :zone "+0000" :originalzone "date" "hour" "1" {}`, `require "index"; if header :last "a" "b" {}`, `require "index"; if header :index 0 "a" "b" {}`,
	} {
		if _, err := Compile(script); err == nil {
			t.Errorf("taken: %.100q", script)
		} else if !strings.Contains(script, "####") && strings.Contains(err.Error(), "panic") {
			t.Error(err)
		}
	}
}

// TestBadRuns: a script that fails keeps the message, whatever it had done before (RFC 5228 section 2.10.6).
func TestBadRuns(t *testing.T) {
	redirects := ""
	for i := range 7 {
		redirects += fmt.Sprintf("redirect \"a%d@b.example\";\n", i)
	}
	evil := strings.Repeat("a*", 200) + "b"
	for name, script := range map[string]string{
		"redirects":            redirects,
		"no address":           `require "variables"; discard; set "a" "x y"; redirect "${a}@${a}";`,
		"two vacations":        `require "vacation"; vacation "a"; vacation "b";`,
		"reject and keep":      `require "reject"; reject "a"; keep;`,
		"reject twice":         `require "reject"; reject "a"; reject "b";`,
		"zone":                 `require ["date", "variables"]; set "z" "x"; if currentdate :zone "${z}" "year" "1" {}`,
		"error":                `require "ihave"; discard; error "no";`,
		"actions":              `require "fileinto";` + strings.Repeat("fileinto \"x\";\n", 40),
		"growing variable":     `require "variables"; set "a" "0123456789";` + strings.Repeat("set \"a\" \"${a}${a}\";\n", 5000),
		"backtracking pattern": `require ["variables", "body"]; ` + strings.Repeat(`if body :raw :matches "*`+evil+`" { stop; }`+"\n", 300),
		"regex":                `require ["regex", "variables"]; set "a" "` + strings.Repeat("a", 8000) + `"; ` + strings.Repeat(`if string :regex "${a}" "(a?){90}(a*)*b" { stop; }`+"\n", 500),
		"bodies":               `require "body";` + strings.Repeat(`if body :raw :matches "*x*y*z*q*" { stop; }`+"\n", 4000),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Compile(script)
			if err != nil {
				t.Fatal(err)
			}
			m := message(mail1 + strings.Repeat("x y z ", 100_000))
			got, err := s.Run(t.Context(), env, m, Limits{})
			if err == nil || told(got) != "keep" {
				t.Errorf("%q, %v, %d steps", told(got), err, got.Steps)
			}
		})
	}
}

func TestSeen(t *testing.T) {
	s, err := Compile(`require "duplicate"; if duplicate { discard; }`)
	if err != nil {
		t.Fatal(err)
	}
	e := env
	memory := map[string]bool{}
	e.Seen = func(_ context.Context, mark string) (bool, error) { return memory[mark], nil }
	for i, want := range []string{"keep", "", ""} {
		got, err := s.Run(t.Context(), e, message(mail1), Limits{})
		if err != nil || told(got) != want {
			t.Error(i, told(got), err)
		}
		for _, m := range got.Marks {
			memory[m.ID] = true
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`require ["variables", "fileinto"]; if header :matches "a" "*" { fileinto "${1}"; }`)
	f.Add("require \"vacation\"; vacation :days 7 text:\nx\n.\n;")
	f.Add(`require ["regex", "body", "date", "index", "imap4flags"]; if anyof (body :regex "(a|b)*" , date :index 1 "date" "hour" "1") { addflag ["a"]; }`)
	m := message(mail1)
	f.Fuzz(func(t *testing.T, src string) {
		s, err := Compile(src)
		if err != nil {
			return
		}
		if _, err := s.Run(t.Context(), env, m, Limits{Steps: 200_000}); err != nil && strings.Contains(err.Error(), "panic") {
			t.Fatal(err)
		}
	})
}

// BenchmarkRun is an everyday filter on an everyday message.
func BenchmarkRun(b *testing.B) {
	s, err := Compile(`require ["fileinto", "imap4flags", "variables", "body"];
if header :contains "x-spam-flag" "yes" { fileinto "Junk"; stop; }
if address :domain "from" ["acme.example.com", "desert.example.org"] { addflag "$known"; }
if header :matches "list-id" "*[*-*]" { set "box" "${2}"; fileinto "Lists/${box}"; stop; }
if anyof (header :contains "subject" ["offer", "money"], size :over 5M) { fileinto "Later"; }`)
	if err != nil {
		b.Fatal(err)
	}
	m := message(mail1)
	for b.Loop() {
		if _, err := s.Run(b.Context(), env, m, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
