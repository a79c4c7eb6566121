package smtp_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

func TestSubmission(t *testing.T) {
	for _, test := range submissions {
		t.Run(test.name, func(t *testing.T) { play(t, expand(test.script)) })
	}
}

// expand puts credentials in the place of PLAIN(user) and B64(text).
func expand(script string) string {
	for _, user := range []string{"ann", "bob", "joe"} {
		script = strings.ReplaceAll(script, "PLAIN("+user+")", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"@example.test\x00secret")))
	}
	for {
		before, rest, ok := strings.Cut(script, "B64(")
		if !ok {
			return script
		}
		text, after, _ := strings.Cut(rest, ")")
		script = before + base64.StdEncoding.EncodeToString([]byte(text)) + after
	}
}

var submissions = []struct{ name, script string }{
	{"main path", `
		# RFC 6409, RFC 4954, RFC 8314: a message of ann's to joe, with the fields that it lacks.
		a = sub
		a< 220 *
		a> EHLO x
		a< 250-mail.example.test greets x
		a< 250-PIPELINING
		a< 250-8BITMIME
		a< 250-ENHANCEDSTATUSCODES
		a< 250-CHUNKING
		a< 250-BINARYMIME
		a< 250-STARTTLS
		a< 250-SMTPUTF8
		a<< 250 LIMITS *
		a> MAIL FROM:<ann@example.test>
		a< 530 5.7.0 *STARTTLS*
		a> AUTH PLAIN PLAIN(ann)
		a< 530 5.7.0 *STARTTLS*
		a> STARTTLS
		a< 220 *
		a starttls
		a> EHLO x
		a<< 250-AUTH SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN
		a<< 250 LIMITS *
		a> MAIL FROM:<ann@example.test>
		a< 530 5.7.0 authentication required
		a> AUTH PLAIN PLAIN(ann)
		a< 235 2.7.0 *
		a session account=ann@example.test
		a> AUTH PLAIN PLAIN(ann)
		a< 503 5.5.1 *
		a> MAIL FROM:<ann+x@example.test>
		a< 250 *
		a> RCPT TO:<joe@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		From: Ann <ann.alias@EXAMPLE.test>
		Bcc: joe@example.test

		hello
		.
		END
		a< 250 2.0.0 delivered as {id}
		! count joe 1
		! has joe " with ESMTPSA id "
		! has joe "\r\nMessage-ID: <"
		! has joe "@example.test>\r\n"
		! has joe "\r\nDate: "
		! has joe "\r\nFrom: Ann <ann.alias@EXAMPLE.test>\r\n\r\nhello\r\n"
	`},
	{"mechanisms", `
		a = subs
		a<< 220 *
		a> AUTH LOGIN
		a< 503 5.5.1 *
		a> EHLO x
		a<< 250 LIMITS *
		a> AUTH
		a< 501 5.5.4 *
		a> AUTH CRAM-MD5
		a< 504 5.5.4 *
		a> AUTH LOGIN
		a< 334 B64(Username:)
		a> *
		a< 501 5.7.0 *
		a> AUTH PLAIN
		a< 334 *
		a> !!!
		a< 501 5.5.2 *
		a> auth login B64(ann@example.test)
		a< 334 B64(Password:)
		a> B64(secret)
		a< 235 2.7.0 *
		b = subs
		b> EHLO x
		b<< 250 LIMITS *
		b> AUTH PLAIN
		b< 334 *
		b> PLAIN(bob)
		b< 235 2.7.0 *
	`},
	{"wrong passwords", `
		# The third failure is the connection's last.
		a = subs
		a> EHLO x
		a<< 250 LIMITS *
		a> AUTH PLAIN B64(nonsense)
		a< 535 5.7.8 authentication failed
		a> AUTH LOGIN B64(nobody@example.test)
		a< 334 *
		a> B64(secret)
		a< 535 5.7.8 authentication failed
		a> AUTH LOGIN B64(ann@example.test)
		a< 334 *
		a> B64(wrong)
		a< 535 5.7.8 authentication failed
		a< 421 4.7.0 too many failed logins
		a< EOF
	`},
	{"within a transaction", `
		a = sub
		a> STARTTLS
		a<< 220 2.0.0 *
		a starttls
		a> EHLO x
		a<< 250 LIMITS *
		a> AUTH PLAIN PLAIN(ann)
		a< 235 *
		a> MAIL FROM:<ann@example.test>
		a< 250 *
		a> AUTH PLAIN PLAIN(ann)
		a< 503 5.5.1 *
		a> EHLO again
		a<< 250 LIMITS *
		a> MAIL FROM:<ann@example.test>
		a< 250 *
	`},
	{"senders", `
		a = subs
		a> EHLO x
		a<< 250 LIMITS *
		a> AUTH PLAIN PLAIN(bob)
		a< 235 *
		a> MAIL FROM:<ann@example.test>
		a< 553 5.7.1 *
		a> MAIL FROM:<bob@example.org>
		a< 553 5.7.1 *
		a> MAIL FROM:<bob@[127.0.0.1]>
		a< 553 5.7.1 *
		a> MAIL FROM:<>
		a< 250 *
		a> RCPT TO:<ann@example.org>
		a< 250 2.1.5 *
		a> RCPT TO:<nobody@example.test>
		a< 550 5.1.1 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		From: ann@example.test

		.
		END
		a< 550 5.7.1 *
		a> MAIL FROM:<bob@example.test>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		From: bob@example.test, ann@example.test

		.
		END
		a< 550 5.7.1 *
		a> MAIL FROM:<bob@example.test>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		Subject: no From

		.
		END
		a< 250 2.0.0 *
		! count ann 1
		a> MAIL FROM:<>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		Subject: no From, and nobody to put there

		.
		END
		a< 550 5.6.0 *
		a> MAIL FROM:<bob@example.test>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		From: bob@example.test
		from: ann@example.test

		.
		END
		a< 550 5.6.0 *
		a> MAIL FROM:<bob@example.test>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		From: nobody in particular

		.
		END
		a< 550 5.6.0 *
		! count ann 1
	`},
	{"bare line ends are mended", `
		# Devices send them; the end of the message is CRLF "." CRLF all the same.
		a = subs
		a> EHLO x
		a<< 250 LIMITS *
		a>- "AUTH PLAIN PLAIN(ann)\n"
		a< 235 *
		a> MAIL FROM:<ann@example.test>
		a< 250 *
		a> RCPT TO:<joe@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a>- "From: ann@example.test\nSubject: x\r\n\none\n.\ntwo\n.\r\nthree\r\r\n..four\x00five\rsix\r\n.\r\n"
		a< 250 2.0.0 *
		! count joe 1
		! has joe "\r\nFrom: ann@example.test\r\nSubject: x\r\n\r\none\r\n.\r\ntwo\r\n.\r\nthree\r\n.fourfive\r\nsix\r\n"
	`},
}

// Passwords may travel without TLS where the policy says so, and STARTTLS forgets who logged in.
func TestPlaintextPolicy(t *testing.T) {
	h := open(t, limits, auth.PlaintextLoopback)
	sessiontest.Play(t, expand(`
		a = sub
		a> EHLO x
		a<< 250-AUTH SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN
		a<< 250 LIMITS *
		a> AUTH PLAIN PLAIN(ann)
		a< 235 *
		a> MAIL FROM:<ann@example.test>
		a< 250 *
		a> STARTTLS
		a< 220 *
		a starttls
		a session account=
		a> EHLO x
		a<< 250 LIMITS *
		a> MAIL FROM:<ann@example.test>
		a< 530 5.7.0 *
		a> AUTH PLAIN PLAIN(joe)
		a< 235 *
		a session account=joe@example.test
	`), h.env(t))
}

// Where nothing leaves for other domains, nothing is promised about when (RFC 2852, RFC 6710); mail that is to wait waits for accounts of ours too (RFC 4865).
func TestStays(t *testing.T) {
	o := limits
	o.Stays = true
	h := open(t, o, auth.PlaintextNever)
	sessiontest.Play(t, expand(`
		a = subs
		a< 220 *
		a> EHLO x
		a<< 250-DSN
		a< 250-FUTURERELEASE *
		a< 250-SIZE *
		a< 250 LIMITS *
		a> AUTH PLAIN PLAIN(ann)
		a< 235 *
		a> MAIL FROM:<ann@example.test> BY=60;R
		a< 555 *
		a> MAIL FROM:<ann@example.test> MT-PRIORITY=1
		a< 555 *
		a> MAIL FROM:<ann@example.test> HOLDFOR=60
		a< 250 *
	`), h.env(t))
}
