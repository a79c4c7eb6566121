package smtp_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-milter"

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

// rspamdAnswers is an rspamd that always says the same, and keeps the last request.
type rspamdAnswers struct {
	text   string
	status int
	hang   chan struct{}

	mu     sync.Mutex
	header http.Header
	body   string
}

func (s *rspamdAnswers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.header, s.body = r.Header, string(b)
	s.mu.Unlock()
	if s.hang != nil {
		<-s.hang
		return
	}
	if s.status != 0 {
		w.WriteHeader(s.status)
	}
	io.WriteString(w, s.text)
}

func rspamdFilter(t *testing.T, s *rspamdAnswers, closed bool) (smtp.Filter, func()) {
	t.Helper()
	srv := httptest.NewServer(s)
	stop := func() {
		if s.hang != nil {
			close(s.hang)
		}
		srv.Close()
	}
	timeout := 5 * time.Second
	if s.hang != nil {
		timeout = 100 * time.Millisecond
	}
	f, err := smtp.NewRspamd(smtp.RspamdOptions{URL: srv.URL, Closed: closed, Timeout: timeout, Password: "pass"})
	if err != nil {
		t.Fatal(err)
	}
	return f, stop
}

func TestRspamd(t *testing.T) {
	for _, test := range []struct {
		name, answer, script string
		status               int
		hang, closed         bool
	}{
		{name: "no action", answer: `{"action":"no action","score":1.5,"required_score":15,"milter":{"add_headers":{"X-One":"1","X-Two":[{"value":"2","order":1}]},"remove_headers":{"Subject":0}}}`, script: `
			a< 250 2.0.0 *
			! has ann "\r\nX-One: 1\r\n"
			! has ann "\r\nX-Two: 2\r\nFrom: joe"
			! has ann "X-Spam-Status: No, score=1.50 required=15.00\r\n\r\n.one\r\ntext\r\n"
			! lacks ann "Subject:"
			! lacks ann "X-Spam-Flag"
			! junk ann 0`},
		{name: "add header", answer: `{"action":"add header","score":7,"required_score":15,"symbols":{"BAYES_SPAM":{"score":5.1},"X":{"score":0}}}`, script: `
			a< 250 2.0.0 *
			! count ann 0
			! junk ann 1
			! noted "BAYES_SPAM 5.1"
			! noted "\"action\":\"junk\""`},
		{name: "rewrite subject", answer: `{"action":"rewrite subject","subject":"[spam] hello"}`, script: `
			a< 250 2.0.0 *
			! junk ann 1`},
		{name: "reject", answer: `{"action":"reject","messages":{"smtp_message":"5.7.9 no, thanks"}}`, script: `
			a< 550 5.7.9 no, thanks *
			! count ann 0
			! noted "5.7.9 no, thanks"`},
		{name: "soft reject", answer: `{"action":"soft reject","messages":{"smtp_message":"slow\r\ndown"}}`, script: `
			a< 451 4.7.1 slow??down *`},
		{name: "greylist", answer: `{"action":"greylist"}`, script: `
			a< 451 4.7.1 *`},
		{name: "discard", answer: `{"action":"reject","milter":{"reject":"discard"}}`, script: `
			a< 250 2.0.0 *
			! count ann 0
			! junk ann 0
			! noted "\"action\":\"discarded\""`},
		{name: "broken open", answer: `{"action":`, script: "a< 250 2.0.0 *\n! count ann 1\n! noted \"did not answer\""},
		{name: "broken closed", answer: `{"action":`, closed: true, script: "a< 451 4.7.1 *\n! count ann 0"},
		{name: "unknown action", answer: `{"action":"sing"}`, closed: true, script: "a< 451 4.7.1 *"},
		{name: "error", answer: `{"error":"down"}`, status: 503, closed: true, script: "a< 451 4.7.1 *"},
		{name: "hanging closed", hang: true, closed: true, script: "a< 451 4.7.1 *"},
		{name: "hanging open", hang: true, script: "a< 250 2.0.0 *\n! count ann 1"},
		{name: "endless", answer: `{"action":"no action","x":"` + strings.Repeat("x", 2<<20) + `"}`, closed: true, script: "a< 451 4.7.1 *"},
		{name: "bad header", answer: `{"action":"no action","milter":{"add_headers":{"X: evil\r\n\r\n":"1"}}}`, closed: true, script: "a< 451 4.7.1 *\n! count ann 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &rspamdAnswers{text: test.answer, status: test.status}
			if test.hang {
				s.hang = make(chan struct{})
			}
			f, stop := rspamdFilter(t, s, test.closed)
			judging(t, smtp.JudgeOptions{Filters: []smtp.Filter{f}}, greeted+toAnn+letter+test.script, stop)
			s.mu.Lock()
			defer s.mu.Unlock()
			if want := "From: joe@example.org\r\nSubject: hello\r\nX-Spam-Flag: NO\r\n\r\n.one\r\ntext\r\n"; s.body != want {
				t.Errorf("rspamd saw %q", s.body)
			}
			for name, want := range map[string]string{"IP": "127.0.0.1", "Helo": "client.example.org", "From": "<joe@example.org>", "Rcpt": "ann@example.test", "Password": "pass"} {
				if got := s.header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

// fakeMilter does what it is told at the end of the message, and keeps what it saw.
type fakeMilter struct {
	milter.NoOpMilter
	end  func(m *milter.Modifier) (milter.Response, error)
	mail milter.Response
	seen *strings.Builder
}

func (f *fakeMilter) Connect(host, family string, _ uint16, addr net.IP, _ *milter.Modifier) (milter.Response, error) {
	fmt.Fprintf(f.seen, "connect %s %s\n", family, addr)
	return milter.RespContinue, nil
}

func (f *fakeMilter) MailFrom(from string, m *milter.Modifier) (milter.Response, error) {
	fmt.Fprintf(f.seen, "mail %s %s\n", from, m.Macros["{mail_addr}"])
	if f.mail != nil {
		return f.mail, nil
	}
	return milter.RespContinue, nil
}

func (f *fakeMilter) RcptTo(to string, _ *milter.Modifier) (milter.Response, error) {
	fmt.Fprintf(f.seen, "rcpt %s\n", to)
	return milter.RespContinue, nil
}

func (f *fakeMilter) Header(name, value string, _ *milter.Modifier) (milter.Response, error) {
	fmt.Fprintf(f.seen, "%s=%s\n", name, value)
	return milter.RespContinue, nil
}

func (f *fakeMilter) BodyChunk(chunk []byte, _ *milter.Modifier) (milter.Response, error) {
	fmt.Fprintf(f.seen, "body %q\n", chunk)
	return milter.RespContinue, nil
}

func (f *fakeMilter) Body(m *milter.Modifier) (milter.Response, error) { return f.end(m) }

// milterAt serves f on a socket of this machine.
func milterAt(t *testing.T, network string, actions milter.OptAction, f *fakeMilter) string {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = t.TempDir() + "/milter.sock"
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &milter.Server{NewMilter: func() milter.Milter { return f }, Actions: actions}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { ln.Close(); <-done })
	return network + ":" + ln.Addr().String()
}

func TestMilter(t *testing.T) {
	const all = milter.OptAddHeader | milter.OptChangeHeader | milter.OptChangeBody | milter.OptQuarantine
	for _, test := range []struct {
		name, network, script string
		actions               milter.OptAction
		mail                  milter.Response
		closed                bool
		end                   func(m *milter.Modifier) (milter.Response, error)
	}{
		{name: "changes", network: "unix", actions: all, end: func(m *milter.Modifier) (milter.Response, error) {
			m.AddHeader("X-Last", "folded\n value")
			m.InsertHeader(1, "X-First", "1")
			m.ChangeHeader(1, "Subject", "changed")
			m.ChangeHeader(1, "X-Spam-Flag", "")
			m.ReplaceBody([]byte("new\nbody\r\n.dot"))
			return milter.RespContinue, nil
		}, script: `
			a< 250 2.0.0 *
			! has ann "\r\nX-First: 1\r\nFrom: joe@example.org\r\nSubject: changed\r\nX-Last: folded\r\n value\r\n\r\nnew\r\nbody\r\n.dot\r\n"`},
		{name: "quarantine", network: "tcp", actions: all, end: func(m *milter.Modifier) (milter.Response, error) {
			m.Quarantine("looks bad")
			return milter.RespContinue, nil
		}, script: "a< 250 2.0.0 *\n! junk ann 1\n! noted \"looks bad\""},
		{name: "reject", network: "tcp", end: func(*milter.Modifier) (milter.Response, error) { return milter.RespReject, nil }, script: "a< 550 5.7.1 *\n! count ann 0"},
		{name: "reply", network: "tcp", end: func(*milter.Modifier) (milter.Response, error) {
			return milter.NewResponseStr(byte(milter.ActReplyCode), "554 5.7.8 not today"), nil
		}, script: "a< 554 5.7.8 not today *"},
		{name: "tempfail", network: "tcp", end: func(*milter.Modifier) (milter.Response, error) { return milter.RespTempFail, nil }, script: "a< 451 4.7.1 *"},
		{name: "discard", network: "tcp", end: func(*milter.Modifier) (milter.Response, error) { return milter.RespDiscard, nil }, script: "a< 250 2.0.0 *\n! count ann 0"},
		{name: "early accept", network: "tcp", mail: milter.RespAccept, script: "a< 250 2.0.0 *\n! count ann 1"},
		{name: "early reject", network: "tcp", mail: milter.RespReject, script: "a< 550 5.7.1 *\n! count ann 0"},
		{name: "wants too much", network: "tcp", actions: milter.OptAddRcpt, closed: true, script: "a< 451 4.7.1 *"},
		{name: "breaks open", network: "tcp", end: func(*milter.Modifier) (milter.Response, error) { return nil, io.EOF }, script: "a< 250 2.0.0 *\n! count ann 1"},
		{name: "breaks closed", network: "tcp", closed: true, end: func(*milter.Modifier) (milter.Response, error) { return nil, io.EOF }, script: "a< 451 4.7.1 *\n! count ann 0"},
		{name: "adds no header", network: "tcp", closed: true, end: func(m *milter.Modifier) (milter.Response, error) {
			m.AddHeader("X Y", "z")
			return milter.RespContinue, nil
		}, actions: all, script: "a< 451 4.7.1 *\n! count ann 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fakeMilter{end: test.end, mail: test.mail, seen: &strings.Builder{}}
			o := smtp.MilterOptions{Address: milterAt(t, test.network, test.actions, f), Closed: test.closed, Timeout: 5 * time.Second}
			m, err := smtp.NewMilter(o)
			if err != nil {
				t.Fatal(err)
			}
			judging(t, smtp.JudgeOptions{Filters: []smtp.Filter{m}}, greeted+toAnn+letter+test.script)
			if test.name == "changes" {
				if want := "connect tcp4 127.0.0.1\nmail joe@example.org joe@example.org\nrcpt ann@example.test\nFrom=joe@example.org\nSubject=hello\nX-Spam-Flag=NO\nbody \".one\\r\\ntext\\r\\n\"\n"; f.seen.String() != want {
					t.Errorf("the milter saw\n%s\nnot\n%s", f.seen, want)
				}
			}
		})
	}
}

// A milter that never answers, floods, or is not there.
func TestMilterHostile(t *testing.T) {
	for _, test := range []struct {
		name string
		talk func(net.Conn)
	}{
		{"hangs", func(c net.Conn) { io.Copy(io.Discard, c) }},
		{"progress for ever", func(c net.Conn) {
			for {
				if _, err := c.Write([]byte{0, 0, 0, 1, 'p'}); err != nil {
					return
				}
			}
		}},
		{"huge packet", func(c net.Conn) { c.Write([]byte{0xff, 0xff, 0xff, 0xff, 'O'}); io.Copy(io.Discard, c) }},
		{"closes", func(net.Conn) {}},
	} {
		for _, closed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", test.name, closed), func(t *testing.T) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				var all sync.WaitGroup
				t.Cleanup(func() { ln.Close(); all.Wait() })
				all.Go(func() {
					for {
						c, err := ln.Accept()
						if err != nil {
							return
						}
						all.Go(func() { defer c.Close(); test.talk(c) })
					}
				})
				m, err := smtp.NewMilter(smtp.MilterOptions{Address: "tcp:" + ln.Addr().String(), Closed: closed, Timeout: 50 * time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				end := "a< 250 2.0.0 *\n! count ann 1"
				if closed {
					end = "a< 451 4.7.1 *\n! count ann 0"
				}
				judging(t, smtp.JudgeOptions{Filters: []smtp.Filter{m}}, greeted+toAnn+letter+end)
			})
		}
	}
}

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

// What our own accounts send is shown to filters where that is wanted, with who sends it.
func TestFilterOfSubmission(t *testing.T) {
	s := &rspamdAnswers{text: `{"action":"reject"}`}
	f, stop := rspamdFilter(t, s, true)
	judging(t, smtp.JudgeOptions{Filters: []smtp.Filter{f}}, expand(`
		a = subs
		a<< 220 *
		a> EHLO client.example.org
		a<< 250 *
		a> AUTH PLAIN PLAIN(ann)
		a< 235 *
		a> MAIL FROM:<ann@example.test>
		a< 250 *
		a> RCPT TO:<joe@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		From: ann@example.test
		Authentication-Results: mail.example.test; forged=yes

		text
		.
		END
		a< 550 5.7.1 *
		! count joe 0
	`), stop)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.header.Get("User") != "ann@example.test" {
		t.Errorf("the user is %q", s.header.Get("User"))
	}
}

// Filters are asked in their order, each about what the one before it left.
func TestFiltersInOrder(t *testing.T) {
	seen := &strings.Builder{}
	const all = milter.OptAddHeader | milter.OptChangeHeader | milter.OptChangeBody
	one := &fakeMilter{seen: &strings.Builder{}, end: func(m *milter.Modifier) (milter.Response, error) {
		m.ReplaceBody([]byte("first"))
		m.AddHeader("X-First", "1")
		return milter.RespAccept, nil
	}}
	two := &fakeMilter{seen: seen, end: func(m *milter.Modifier) (milter.Response, error) { return milter.RespAccept, nil }}
	var filters []smtp.Filter
	for _, f := range []*fakeMilter{one, two} {
		m, err := smtp.NewMilter(smtp.MilterOptions{Address: milterAt(t, "tcp", all, f), Closed: true, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		filters = append(filters, m)
	}
	judging(t, smtp.JudgeOptions{Filters: filters}, greeted+toAnn+letter+"a< 250 2.0.0 *\n! has ann \"\\r\\n\\r\\nfirst\\r\\n\"")
	for _, want := range []string{"X-First=1\n", `body "first\r\n"`} {
		if !strings.Contains(seen.String(), want) {
			t.Errorf("the second filter did not see %q in\n%s", want, seen)
		}
	}
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
