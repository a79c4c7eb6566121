package smtp_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/storage"
)

// judging plays a script in a house whose servers have a judge.
func judging(t *testing.T, o smtp.JudgeOptions, script string, stop ...func()) *house {
	t.Helper()
	options := limits
	options.Judge = smtp.NewJudge(o)
	h := open(t, options, auth.PlaintextNever)
	t.Cleanup(func() {
		options.Judge.Close()
		for _, f := range stop {
			f()
		}
	})
	env := h.env(t)
	env.Do["junk"] = h.junk
	env.Do["noted"] = h.noted
	sessiontest.Play(t, script, env)
	return h
}

// junk ACCOUNT N: so many messages are in Junk.
func (h *house) junk(t testing.TB, args ...string) {
	t.Helper()
	box, err := h.store.Mailbox(t.Context(), h.accounts[args[0]].ID, "Junk")
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(box.Messages) != args[1] {
		t.Fatalf("%s has %d messages in Junk, want %s", args[0], box.Messages, args[1])
	}
}

// noted TEXT: one of the last notes of the journal has the text.
func (h *house) noted(t testing.TB, args ...string) {
	t.Helper()
	var all string
	for range 100 {
		records, err := h.store.Records(t.Context(), "message", 0, 0, 20)
		if err != nil {
			t.Fatal(err)
		}
		all = ""
		for _, r := range records {
			all += string(r.Detail) + "\n"
		}
		if strings.Contains(all, args[0]) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no %q in the journal:\n%s", args[0], all)
}

const greeted = `
	a = mx
	a<< 220 *
	a> EHLO client.example.org
	a<< 250 *
`

const toAnn = `
	a> MAIL FROM:<joe@example.org>
	a< 250 *
	a> RCPT TO:<ann@example.test>
	a< 250 *
	a> DATA
	a< 354 *
`

const letter = `
	a> <<END
	From: joe@example.org
	Subject: hello
	X-Spam-Flag: NO

	..one
	text
	.
	END
`

// clock is a time that a script moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func TestRates(t *testing.T) {
	c := &clock{at: time.Unix(1_800_000_000, 0)}
	rates := smtp.RateOptions{Messages: smtp.Rate{Address: 2}, Recipients: smtp.Rate{Network: 3}, Unknown: smtp.Rate{Address: 4}, UnknownSession: 3, Connections: smtp.Rate{Address: 3}}
	options := limits
	options.Judge = smtp.NewJudge(smtp.JudgeOptions{Rates: rates, Now: c.now})
	h := open(t, options, auth.PlaintextNever)
	env := h.env(t)
	env.Do["wait"] = func(t testing.TB, args ...string) {
		d, err := time.ParseDuration(args[0])
		if err != nil {
			t.Fatal(err)
		}
		c.move(d)
	}
	sessiontest.Play(t, `
		# What an address and a network may do in a minute; each refusal names its limit.
		`+greeted+`
		a> MAIL FROM:<joe@example.org>
		a< 250 *
		a> RSET
		a< 250 *
		a> MAIL FROM:<joe@example.org>
		a< 250 *
		a> RSET
		a< 250 *
		a> MAIL FROM:<joe@example.org>
		a< 450 4.7.1 more than 2 messages a minute from 127.0.0.1, try again later *
		! wait 30s
		a> MAIL FROM:<joe@example.org>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 450 4.7.1 more than 3 recipients a minute from 127.0.0.0/24, try again later *
		! wait 1m
		a> RCPT TO:<n1@example.test>
		a< 550 5.1.1 *
		a> RCPT TO:<n2@example.test>
		a< 550 5.1.1 *
		a> RCPT TO:<n3@example.test>
		a< 550 5.1.1 *
		! wait 1m
		a> RCPT TO:<n4@example.test>
		a< 421 4.7.0 more than 3 unknown recipients in this session *
		a< EOF
		b = mx
		b<< 220 *
		c = mx
		c<< 220 *
		d = mx
		d<< 220 *
		e = mx
		e< 421 4.7.0 more than 3 connections a minute from 127.0.0.1
		e< EOF
	`, env)
}

func TestGreylist(t *testing.T) {
	c := &clock{at: time.Unix(1_800_000_000, 0)}
	options := limits
	options.Judge = smtp.NewJudge(smtp.JudgeOptions{Greylist: smtp.GreylistOptions{On: true}, Now: c.now})
	h := openWith(t, storage.Options{Now: c.now}, options, auth.PlaintextNever)
	env := h.env(t)
	env.Do["wait"] = func(t testing.TB, args ...string) {
		d, err := time.ParseDuration(args[0])
		if err != nil {
			t.Fatal(err)
		}
		c.move(d)
	}
	once := toAnn + letter
	sessiontest.Play(t, `
		# Greylisting: the first attempt waits, the second passes, and what passed passes again.
		`+greeted+once+`
		a< 451 4.7.1 greylisted, try again in 60 seconds *
		! wait 20s
		`+once+`
		a< 451 4.7.1 greylisted, try again in 40 seconds *
		! wait 40s
		`+once+`
		a< 250 2.0.0 *
		! count ann 1
		`+once+`
		a< 250 2.0.0 *
		# Another recipient is another triplet.
		a> MAIL FROM:<joe@example.org>
		a< 250 *
		a> RCPT TO:<joe@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		`+letter+`
		a< 451 4.7.1 *
		# It came again too late: it is a first attempt.
		! wait 49h
		a> MAIL FROM:<joe@example.org>
		a< 250 *
		a> RCPT TO:<joe@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		`+letter+`
		a< 451 4.7.1 *
		`+once+`
		a< 250 2.0.0 *
		! wait 900h
		`+once+`
		a< 451 4.7.1 *
	`, env)
}

// The verdict stays with the message.
func TestVerdictRow(t *testing.T) {
	h := judging(t, smtp.JudgeOptions{Weights: smtp.Weights{Helo: 6, Junk: 5}}, `
		a = mx
		a<< 220 *
		a> EHLO mail.example.test
		a<< 250 *
		`+toAnn+letter+`
		a< 250 2.0.0 *
		! junk ann 1
		! noted "is our own name"
	`)
	box, err := h.store.Mailbox(t.Context(), h.accounts["ann"].ID, "Junk")
	if err != nil {
		t.Fatal(err)
	}
	snap, err := h.store.Snapshot(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.store.Verdict(t.Context(), snap.At(0).Blob)
	var v struct {
		Junk    bool
		Score   float64
		Reasons []string
	}
	if err != nil || json.Unmarshal(b, &v) != nil || !v.Junk || v.Score != 6 || len(v.Reasons) != 2 {
		t.Fatalf("%s %+v %v", b, v, err)
	}
}

// A message of a trusted network is not looked at.
func TestTrusted(t *testing.T) {
	judging(t, smtp.JudgeOptions{Weights: smtp.Weights{Helo: 6, Refuse: 5}, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, `
		a = mx
		a<< 220 *
		a> EHLO x
		a<< 250 *
		`+toAnn+letter+`
		a< 250 2.0.0 *
		! count ann 1
	`)
}

// An account without a mailbox for junk gets one.
func TestJunkIsMade(t *testing.T) {
	options := limits
	options.Judge = smtp.NewJudge(smtp.JudgeOptions{Weights: smtp.Weights{Helo: 6, Junk: 5}})
	h := open(t, options, auth.PlaintextNever)
	if err := h.store.DeleteMailbox(t.Context(), h.accounts["ann"].ID, "Junk", false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.CreateMailbox(t.Context(), h.accounts["ann"].ID, "junk", ""); err != nil {
		t.Fatal(err)
	}
	sessiontest.Play(t, `
		a = mx
		a<< 220 *
		a> EHLO x
		a<< 250 *
		`+toAnn+letter+`
		a< 250 2.0.0 *
		! count ann 0
	`, h.env(t))
	m, err := h.store.Mailbox(t.Context(), h.accounts["ann"].ID, "Junk 2")
	if err != nil || m.Role != "Junk" || m.Messages != 1 {
		t.Fatal(m, err)
	}
}

// The first message of a sender waits, the next one does not.
func TestFirstDelay(t *testing.T) {
	h := judging(t, smtp.JudgeOptions{FirstDelay: 50 * time.Millisecond}, greeted+toAnn+letter+`
		a< 250 2.0.0 *
		! noted "held for 50ms"
		`+toAnn+letter+`
		a< 250 2.0.0 *
		! count ann 2
	`)
	records, err := h.store.Records(t.Context(), "message", 0, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, r := range records {
		held += strings.Count(string(r.Detail), "held for")
	}
	if known, err := h.store.Acquainted(t.Context(), []int64{h.accounts["ann"].ID}, "joe@example.org"); held != 1 || !known || err != nil {
		t.Fatal(held, known, err)
	}
}

// A client that goes while it is held delivers nothing.
func TestFirstDelayLost(t *testing.T) {
	options := limits
	options.Judge = smtp.NewJudge(smtp.JudgeOptions{FirstDelay: time.Minute})
	h := open(t, options, auth.PlaintextNever)
	sessiontest.Play(t, greeted+toAnn+letter+`
		! drain
		a< 451 4.3.2 *
		! count ann 0
	`, h.env(t))
}

// A large message is judged from its staging file, and comes out as it went in.
func TestJudgedLarge(t *testing.T) {
	options := smtp.Options{Judge: smtp.NewJudge(smtp.JudgeOptions{Weights: smtp.Weights{Junk: 5}})}
	h := open(t, options, auth.PlaintextNever)
	c, err := net.Dial("tcp", h.mx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	want := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 40_000)
	for _, text := range []string{"", "HELO x\r\n", "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<ann@example.test>\r\n", "DATA\r\n", "Subject: large\r\n\r\n" + want + ".\r\n"} {
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		line, err := r.ReadString('\n')
		if err != nil || line[0] > '3' {
			t.Fatal(line, err)
		}
	}
	if all := h.inbox(t, "ann"); len(all) != 1 || !strings.HasSuffix(all[0], "Subject: large\r\n\r\n"+want) {
		t.Fatal("the message is another one")
	}
}

// What a front end's clients do counts for them, each by itself, and not for the front end.
func TestXClientRates(t *testing.T) {
	o := smtp.JudgeOptions{Rates: smtp.RateOptions{Connections: smtp.Rate{Address: 1}}}
	judge := smtp.NewJudge(o)
	defer judge.Close()
	h := open(t, smtp.Options{Judge: judge}, auth.PlaintextNever)
	sessiontest.Play(t, `
		a = front
		a< 220 *
		b = front
		b< 220 *
		c = front
		c< 220 *
		c> XCLIENT ADDR=192.0.2.7
		c< 220 *
		a> XCLIENT ADDR=192.0.2.8
		a< 220 *
		b> XCLIENT ADDR=192.0.2.7
		b< 421 4.7.0 *
		b< CLOSED
		c> XCLIENT ADDR=[UNAVAILABLE]
		c< 220 *
		c> EHLO x
		c<< 250 LIMITS *
		c> MAIL FROM:<a@b.example>
		c< 250 *
		c> RCPT TO:<ann@example.test>
		c< 250 *
		c> DATA
		c< 354 *
		c> Subject: x
		c> .
		c< 250 2.0.0 *
	`, h.env(t))
}

// What counts against a session counts for the client that a front end speaks of, and begins anew with the next.
func TestXClientCounters(t *testing.T) {
	o := smtp.JudgeOptions{Rates: smtp.RateOptions{UnknownSession: 3}}
	judge := smtp.NewJudge(o)
	defer judge.Close()
	h := open(t, smtp.Options{Judge: judge}, auth.PlaintextNever)
	client := func(addr string) string {
		return "a> XCLIENT ADDR=" + addr + "\na< 220 *\na> EHLO x\na<< 250 LIMITS *\n" + strings.Repeat("a> NONSENSE\na< 500 *\n", 15) + "a> MAIL FROM:<a@b.example>\na< 250 *\n" +
			strings.Repeat("a> RCPT TO:<nobody@example.test>\na< 550 5.1.1 *\n", 3) + "a> RSET\na< 250 *\n"
	}
	sessiontest.Play(t, "a = front\na< 220 *\n"+client("192.0.2.7")+client("192.0.2.8")+client("192.0.2.9")+
		"a> MAIL FROM:<a@b.example>\na< 250 *\na> RCPT TO:<nobody@example.test>\na< 421 4.7.0 *\na< CLOSED\n", h.env(t))
}
