package smtp_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp"
)

// Who is refused for good again and again is no mail server: relaying that is denied counts like recipients that there are not.
func TestRefusedRecipientsEnd(t *testing.T) {
	judge := smtp.NewJudge(smtp.JudgeOptions{Rates: smtp.RateOptions{UnknownSession: 3}})
	defer judge.Close()
	h := open(t, smtp.Options{Judge: judge}, auth.PlaintextNever)
	sessiontest.Play(t, `
		`+greeted+`
		a> MAIL FROM:<joe@example.org>
		a< 250 *
		a> RCPT TO:<x1@elsewhere.test>
		a< 550 5.7.1 *
		a> RCPT TO:<nobody@example.test>
		a< 550 5.1.1 *
		a> RCPT TO:<x2@elsewhere.test>
		a< 550 5.7.1 *
		a> RCPT TO:<x3@elsewhere.test>
		a< 421 4.7.0 *
		a< EOF
	`, h.env(t))
}

// lines counts what is logged.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// Refusals cannot fill the log: the first of a session are told.
func TestRefusalsInTheLog(t *testing.T) {
	h := open(t, limits, auth.PlaintextNever)
	log := &lines{}
	addr := sessiontest.Serve(t, h.registry, sessionOptions, smtp.New(h.store, auth.New(h.store, h.registry, auth.Options{NoThrottle: true}),
		smtp.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}).Serve)
	env := h.env(t)
	env.Dial["mx"] = sessiontest.TCP(addr)
	sessiontest.Play(t, greeted+"\na> MAIL FROM:<joe@example.org>\na< 250 *\n"+
		strings.Repeat("a> RCPT TO:<x1@elsewhere.test>\na< 550 5.7.1 *\n", 60)+"a> QUIT\na< 221 *\na< EOF\n", env)
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := strings.Count(log.all.String(), "relaying denied"); n != 20 {
		t.Errorf("%d refusals are in the log, want 20:\n%.2000s", n, log.all.String())
	}
}

// A client that sends commands and no message is served slowly from some number on: each of those waits for 10 ms.
func TestCommandsWithoutAMessage(t *testing.T) {
	const begin = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\n"
	for _, batch := range []struct{ before, command, after, answer string }{
		{"", "NOOP\r\n", "", "250 2.0.0 ok"},
		{begin, "BDAT 0\r\n", "RSET\r\n", "250 2.0.0 0 octets received"},
		{begin, "BDAT 1\r\nx", "RSET\r\n", "250 2.0.0 1 octets received"},
		{begin + "BDAT 1\r\nx", "NOOP\r\n", "RSET\r\n", "250 2.0.0 ok"},
	} {
		h := open(t, limits, auth.PlaintextNever)
		c, err := net.Dial("tcp", h.mx)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		start := time.Now()
		if _, err := c.Write([]byte(batch.before + strings.Repeat(batch.command, 1030) + batch.after + "QUIT\r\n")); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(c)
		if n := strings.Count(string(all), batch.answer); err != nil || n != 1030 {
			t.Errorf("%q: %d answers, %v", batch.command, n, err)
		}
		if took := time.Since(start); took < 240*time.Millisecond {
			t.Errorf("%q: it took %v", batch.command, took)
		}
	}
}
