package smtp

import (
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

var someday = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// speaker is a client of a server of that mode, without a connection.
func speaker(mode Mode) *client {
	return &client{ses: &session.Session{}, srv: New(nil, nil, Options{Mode: mode, MaxMessage: 1000, Now: func() time.Time { return someday }})}
}

func TestMailParams(t *testing.T) {
	after := func(s string) time.Time { d, _ := time.ParseDuration(s); return someday.Add(d) }
	for _, test := range []struct {
		text string
		want sender
	}{
		{"", sender{}},
		{"SIZE=0", sender{}},
		{"size=1000 smtputf8 Body=8bitmime", sender{size: 1000, utf8: true, body: "8BITMIME"}},
		{"SIZE=0000000000000000100", sender{size: 100}},
		{"RET=hdrs ENVID=QQ+3D314+20x", sender{ret: "HDRS", envid: "QQ=314 x"}},
		{"AUTH=<>", sender{}},
		{"AUTH=ann+40example.test", sender{}},
		{"BY=120;R", sender{byMode: "R", by: after("120s")}},
		{"BY=+120;rt", sender{byMode: "RT", by: after("120s")}},
		{"BY=-5;N", sender{byMode: "N", by: after("-5s")}},
		{"BY=0;NT", sender{byMode: "NT", by: someday}},
		{"MT-PRIORITY=-9", sender{priority: -9}},
		{"MT-PRIORITY=3", sender{priority: 3}},
		{"HOLDFOR=90", sender{hold: after("90s")}},
		{"HOLDUNTIL=2026-11-23T13:00:00+01:00", sender{}},
		{"HOLDUNTIL=2026-11-23t13:00:00z", sender{hold: after("1h")}},
		{"HOLDFOR=2592000", sender{hold: after("720h")}},
		{"HOLDFOR=60 BY=61;R", sender{hold: after("60s"), byMode: "R", by: after("61s")}},
		{"HOLDFOR=60 BY=60;N", sender{hold: after("60s"), byMode: "N", by: after("60s")}},
	} {
		var got sender
		if r := readMail(speaker(Submission), &got, test.text); r != nil {
			t.Errorf("%q: %v", test.text, r)
			continue
		}
		if !got.hold.Equal(test.want.hold) {
			t.Errorf("%q: held until %v", test.text, got.hold)
		}
		got.hold = test.want.hold
		if got != test.want {
			t.Errorf("%q: %+v", test.text, got)
		}
	}
}

func TestBadMailParams(t *testing.T) {
	for text, code := range map[string]int{
		"SIZE=1001": 552, "SIZE=99999999999999999999": 552, "SIZE": 501, "SIZE=-1": 501, "SIZE=000000000000000000000": 501, "SIZE=1 size=1": 501,
		"BODY": 501, "BODY=": 501, "BODY=9BIT": 501, "SMTPUTF8=": 501, "SMTPUTF8=yes": 501, "AUTH": 501, "AUTH=a+zz": 501,
		"RET=": 501, "RET=ALL": 501, "ENVID=": 501, "ENVID=a+0A": 501, "ENVID=" + strings.Repeat("x", 101): 501,
		"REQUIRETLS": 530, "FOO": 555, "FOO=1": 555, "=": 555,
		"BY=1": 501, "BY=;R": 501, "BY=0;R": 501, "BY=-1;R": 501, "BY=59;R": 501, "BY=60;X": 501, "BY=60;RR": 501, "BY=1234567890;N": 501, "BY=--1;N": 501,
		"MT-PRIORITY=10": 501, "MT-PRIORITY=": 501, "MT-PRIORITY=+1": 501, "MT-PRIORITY=--1": 501, "MT-PRIORITY": 501,
		"HOLDFOR=0": 501, "HOLDFOR=": 501, "HOLDFOR=01": 501, "HOLDFOR=-1": 501, "HOLDFOR=1234567890": 501, "HOLDFOR=3000000": 554,
		"HOLDUNTIL=tomorrow": 501, "HOLDUNTIL=2027-11-23T13:00:00Z": 554, "HOLDFOR=60 HOLDUNTIL=2026-11-23T13:00:00Z": 501,
		"HOLDFOR=600 BY=600;R": 501, "NOTIFY=NEVER": 555,
	} {
		if r := readMail(speaker(Submission), &sender{}, text); r == nil || r.code != code {
			t.Errorf("%q: %v, want %d", text, r, code)
		}
	}
	// What is for accounts that send is not known to others.
	for _, text := range []string{"BY=60;R", "MT-PRIORITY=1", "HOLDFOR=60", "HOLDUNTIL=2026-11-23T13:00:00Z"} {
		for _, mode := range []Mode{MX, LMTP} {
			if r := readMail(speaker(mode), &sender{}, text); r == nil || r.code != 555 {
				t.Errorf("%q: %v", text, r)
			}
		}
	}
}

func TestRcptParams(t *testing.T) {
	for text, want := range map[string]envelope{
		"":                                         {},
		"NOTIFY=never":                             {notify: "NEVER"},
		"NOTIFY=SUCCESS,delay,FAILURE":             {notify: "SUCCESS,DELAY,FAILURE"},
		"ORCPT=rfc822;ann+40example.test":          {original: "rfc822;ann@example.test"},
		"ORCPT=RFC822;a+2Bb@example.test":          {original: "rfc822;a+b@example.test"},
		`ORCPT=utf-8;j\x{FC}rgen@example.test`:     {original: "utf-8;jürgen@example.test"},
		`ORCPT=utf-8;jürgen@example.test`:          {original: "utf-8;jürgen@example.test"},
		`ORCPT=utf-8;a\x{2B}b\x{5C}@example.test`:  {original: `utf-8;a+b\@example.test`},
		"RRVS=2026-11-23T12:00:00Z":                {since: someday},
		"RRVS=2026-11-23T12:00:00Z;C NOTIFY=DELAY": {since: someday, lenient: true, notify: "DELAY"},
		"rrvs=2026-11-23T12:00:00Z;r":              {since: someday},
	} {
		var got envelope
		if r := readParams(speaker(MX), &got, text, rcptParams); r != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, r)
		}
	}
	for text, code := range map[string]int{
		"NOTIFY=": 501, "NOTIFY": 501, "NOTIFY=NEVER,SUCCESS": 501, "NOTIFY=DELAY,DELAY": 501, "NOTIFY=SOMETIMES": 501,
		"ORCPT=": 501, "ORCPT=ann@example.test": 501, "ORCPT=rfc822;": 501, "ORCPT=;x": 501, "ORCPT=rfc822;a+0Db": 501, "ORCPT=rfc822;a+4": 501,
		"ORCPT=rfc822;" + strings.Repeat("x", 500): 501, `ORCPT=utf-8;\x{D800}`: 501, `ORCPT=utf-8;\x{A}x`: 501, `ORCPT=utf-8;\x{}`: 501, `ORCPT=utf-8;\x`: 501,
		"ORCPT=utf-8;a+b": 501, "ORCPT=utf-8;\xff": 501,
		"RRVS=": 501, "RRVS=yesterday": 501, "RRVS=2026-11-23T12:00:00Z;": 501, "RRVS=2026-11-23T12:00:00Z;X": 501, "SIZE=3": 555, "BY=60;R": 555,
	} {
		if r := readParams(speaker(MX), &envelope{}, text, rcptParams); r == nil || r.code != code {
			t.Errorf("%q: %v, want %d", text, r, code)
		}
	}
	if r := readParams(speaker(Submission), &envelope{}, "RRVS=2026-11-23T12:00:00Z", rcptParams); r == nil || r.code != 555 {
		t.Errorf("RRVS on submission: %v", r)
	}
}

// Whatever is taken can stand in a line of a message, a row or a command.
func FuzzParams(f *testing.F) {
	for _, s := range []string{"SIZE=3 BODY=7BIT SMTPUTF8", "RET=FULL ENVID=a+20b", "BY=60;RT HOLDFOR=3", `ORCPT=utf-8;\x{1F600}`, "NOTIFY=NEVER ORCPT=rfc822;a+2Bb", "RRVS=2026-11-23T12:00:00Z;C"} {
		f.Add(s)
	}
	c := speaker(Submission)
	mx := speaker(MX)
	f.Fuzz(func(t *testing.T, s string) {
		var m sender
		if readMail(c, &m, s) == nil && (strings.ContainsAny(m.envid, "\r\n\x00") || m.size < 0 || m.priority < -9 || m.priority > 9) {
			t.Fatalf("%q: %+v", s, m)
		}
		var r envelope
		if readParams(mx, &r, s, rcptParams) == nil && strings.ContainsAny(r.original+r.notify, "\r\n\x00") {
			t.Fatalf("%q: %+v", s, r)
		}
	})
}
