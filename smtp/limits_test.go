package smtp_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

func TestLimits(t *testing.T) {
	for _, test := range excesses {
		t.Run(test.name, func(t *testing.T) {
			o := limits
			if test.name == "loops" || test.name == "endless lines of a message" {
				o.MaxMessage = 8 << 20
			}
			h := open(t, o, auth.PlaintextNever)
			env := h.env(t)
			env.Vars = map[string]string{
				"long":   "NOOP " + strings.Repeat("x", 4000),
				"line":   strings.Repeat("x", 13000),
				"block":  strings.Repeat("x", 1_200_000),
				"chunk":  strings.Repeat(strings.Repeat("x", 78)+"\r\n", 15000),
				"huge":   strings.TrimSuffix(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20000), "\r\n"),
				"loop":   strings.Repeat("Received: from x by y; Mon, 23 Nov 2026 00:00:00 +0000\r\n", 101),
				"header": strings.Repeat("X-Field: "+strings.Repeat("x", 60)+"\r\n", 20000) + "X-End: x",
			}
			sessiontest.Play(t, test.script, env)
		})
	}
}

// Whoever ends a session, its client hears of it (RFC 5321 section 3.8).
func TestGoodbye(t *testing.T) {
	for name, script := range goodbyes {
		t.Run(name, func(t *testing.T) { play(t, script) })
	}
}

// A batch of commands in one segment is answered in one (RFC 2920 section 3.2).
func TestRepliesAreGathered(t *testing.T) {
	h := open(t, limits, auth.PlaintextNever)
	c, err := net.Dial("tcp", h.mx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 64<<10)
	if _, err := c.Read(buf); err != nil {
		t.Fatal(err)
	}
	batch := "EHLO x\r\n" + strings.Repeat("MAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nRSET\r\n", 10) + "NOOP\r\n"
	if _, err := c.Write([]byte(batch)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(buf[:n]), "250 2."); got != 31 {
		t.Errorf("%d of 31 replies came in the first packet", got)
	}
}

var excesses = []struct{ name, script string }{
	{"as many messages as there may be", `
			! messages joe 1
			a = mx
			a<< 220 *
			a> EHLO x
			a<< 250 LIMITS *
			b = mx
			b<< 220 *
			b> EHLO x
			b<< 250 LIMITS *
			b> MAIL FROM:<a@b.example>
			b< 250 *
			b> RCPT TO:<joe@example.test>
			b< 250 *
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<joe@example.test>
			a< 250 *
			a> DATA
			a< 354 *
			a> Subject: 1
			a> .
			a< 250 *
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<joe@example.test>
			a< 452 4.2.2 *
			# One that was let in before the limit was reached.
			b> DATA
			b< 354 *
			b> Subject: 2
			b> .
			b< 452 4.2.2 *
			! count joe 1
	`},
	{"full mailboxes", `
			! quota ann 10000
			! use ann 9000
			! quota joe 500
			! quota bob 9000
			! use bob 9000
			a = mx
			a<< 220 *
			a> EHLO x
			a<< 250 LIMITS *
			a> MAIL FROM:<a@b.example> SIZE=2000
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 452 4.2.2 *
			a> RCPT TO:<joe@example.test>
			a< 552 5.2.2 *
			a> RCPT TO:<bob@example.test>
			a< 452 4.2.2 *
			a> RSET
			a< 250 *
			# Without SIZE only the whole message tells, and it is taken for all or for none.
			! quota joe 0
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<joe@example.test>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> DATA
			a< 354 *
			a> $long
			a> .
			a< 452 4.2.2 *ann@example.test*
			! count joe 0
			! count ann 0
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> DATA
			a< 354 *
			a> <<END
			Subject: small

			.
			END
			a< 250 2.0.0 *
			! count ann 1
		`},
	{"too large", `
			a = mx
			a<< 220 *
			a> EHLO x
			a<< 250 LIMITS *
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> DATA
			a< 354 *
			a> $huge
			a> .
			a< 552 5.3.4 *
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> BDAT 1200000
			a>- "$chunk"
			a< 552 5.3.4 *
			a> BDAT 5 LAST
			a>- "12345NOOP\r\n"
			a< 503 5.5.1 *
			a< 250 2.0.0 *
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> BDAT 9223372036854775807
			a> $huge
			a< 552 5.3.4 *
			a< CLOSED
			a = mx
			a> BDAT 1300000000 LAST
			a<< 552 5.3.4 *
			a< EOF
			! count ann 0
		`},
	{"flood", `
			# What is thrown away is bounded too.
			a = mx
			a<< 220 *
			a> HELO x
			a< 250 *
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> DATA
			a< 354 *
			a> $huge
			a> $huge
			a< 552 5.3.4 *
			a< CLOSED
		`},
	{"long lines", `
			a = mx
			a< 220 *
			a> NOOP $long
			a< 250 2.0.0 *
			a> NOOP $line
			a< 500 5.5.6 *
			a> NOOP
			a< 250 2.0.0 *
			# The lines of a message have no limit of their own.
			a> HELO x
			a< 250 *
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> DATA
			a< 354 *
			a> X-Long: $line
			a> $line
			a> .
			a< 250 2.0.0 *
			! has ann $line
			a> NOOP $block
			a< 500 5.5.6 *
			a< EOF
		`},
	{"endless lines of a message", `
			# More than 1 MiB in one line is refused, and the session goes on.
			a = mx
			a<< 220 *
			a> HELO x
			a< 250 *
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> DATA
			a< 354 *
			a> <<END
			Subject: x

			END
			a> $block
			a> .
			a< 554 5.6.0 *1 MiB*
			a> NOOP
			a< 250 2.0.0 *
			a> EHLO x
			a<< 250 LIMITS *
			a>- "MAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nBDAT 1200000 LAST\r\n$block"
			a< 250 *
			a< 250 *
			a< 554 5.6.0 *1 MiB*
			a> NOOP
			a< 250 2.0.0 *
			! count ann 0
		`},
	{"loops", `
			a = mx
			a> HELO x
			a<< 250 mail.example.test
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> DATA
			a< 354 *
			a> $loop
			a> .
			a< 554 5.4.6 *
			a> MAIL FROM:<a@b.example>
			a< 250 *
			a> RCPT TO:<ann@example.test>
			a< 250 *
			a> DATA
			a< 354 *
			a> $header
			a> .
			a< 554 5.6.0 *
			! count ann 0
		`},
}

var goodbyes = map[string]string{
	"killed": `
			a = mx
			a< 220 *
			a kill
			a< 421 4.7.0 *killed*
			a< EOF
			b = subs
			b> EHLO x
			b<< 250 LIMITS *
			b kill
			b< 421 4.7.0 *killed*
			b< EOF
		`,
	"killed within a message": `
			a = mx
			a> <<END
			HELO x
			MAIL FROM:<a@b.example>
			RCPT TO:<ann@example.test>
			DATA
			END
			a<< 354 *
			a> Subject: x
			a session state=busy
			a kill
			a< 421 4.7.0 *killed*
			a< EOF
			! count ann 0
		`,
	"killed between chunks": `
			a = mx
			a> <<END
			EHLO x
			MAIL FROM:<a@b.example>
			RCPT TO:<ann@example.test>
			BDAT 3
			END
			a>- "abc"
			a<< 250 2.0.0 3 *
			a kill
			a< 421 4.7.0 *killed*
			a< EOF
			! count ann 0
		`,
	"killed within AUTH": `
			a = subs
			a> EHLO x
			a<< 250 LIMITS *
			a> AUTH LOGIN
			a< 334 *
			a kill
			a< 421 4.7.0 *killed*
			a< EOF
		`,
	"drained within AUTH": `
			a = subs
			a> EHLO x
			a<< 250 LIMITS *
			a> AUTH LOGIN
			a< 334 *
			! drain
			a< 421 4.3.2 *
			a< EOF
		`,
	"drained": `
			# An idle session goes at once, a message on its way comes to its end first.
			a = mx
			a< 220 *
			b = mx
			b> <<END
			HELO x
			MAIL FROM:<a@b.example>
			RCPT TO:<ann@example.test>
			DATA
			END
			b<< 354 *
			b session state=busy
			! drain
			a< 421 4.3.2 *
			a< EOF
			b> <<END
			Subject: x

			.
			NOOP
			END
			b< 250 2.0.0 *
			b< 421 4.3.2 *
			b< CLOSED
			! count ann 1
		`,
}

// Who sends a byte now and then is not idle, and is let go all the same.
func TestPatience(t *testing.T) {
	o := limits
	o.Patience = 20 * time.Millisecond
	h := open(t, o, auth.PlaintextLoopback)
	sessiontest.Play(t, `
		a = mx
		a< 220 *
		a>- "NOO"
		a< 421 4.4.2 *
		a< EOF
		b = mx
		b< 220 *
		b>- "HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nDATA\r\nSubject: x\r\n\r\ny"
		b<< 354 *
		b< 421 4.4.2 *
		b< EOF
		c = mx
		c< 220 *
		c>- "HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nBDAT 5\r\nx"
		c<< 421 4.4.2 *
		c< EOF
		d = sub
		d< 220 *
		d>- "EHLO x\r\nAUTH PLAIN\r\nx"
		d<< 334 *
		d< 421 4.4.2 *
		d< EOF
		! count ann 0
	`, h.env(t))
}
