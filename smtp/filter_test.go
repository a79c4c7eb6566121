package smtp_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-milter"

	"github.com/packetboat/packetboat/smtp"
)

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
		{name: "wants too much", network: "tcp", actions: milter.OptChangeFrom, closed: true, script: "a< 451 4.7.1 *"},
		{name: "recipients", network: "tcp", actions: milter.OptAddRcpt | milter.OptRemoveRcpt, closed: true, end: func(m *milter.Modifier) (milter.Response, error) {
			m.AddRecipient("<joe@example.test>")
			m.AddRecipient("<nobody@example.test>")
			m.AddRecipient("<ann@elsewhere.example>")
			m.DeleteRecipient("<ANN@example.test>")
			return milter.RespContinue, nil
		}, script: "a< 250 2.0.0 *\n! count ann 0\n! count joe 1"},
		{name: "no recipients", network: "tcp", actions: milter.OptRemoveRcpt, closed: true, end: func(m *milter.Modifier) (milter.Response, error) {
			m.DeleteRecipient("<ann@example.test>")
			return milter.RespContinue, nil
		}, script: "a< 250 2.0.0 *\n! count ann 0\n! noted \"\\\"action\\\":\\\"discarded\\\"\""},
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
