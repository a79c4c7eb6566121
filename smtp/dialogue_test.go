package smtp_test

import "testing"

func TestDialogue(t *testing.T) {
	for _, test := range dialogues {
		t.Run(test.name, func(t *testing.T) { play(t, test.script) })
	}
}

var dialogues = []struct{ name, script string }{
	{"delivery", `
		# RFC 5321 appendix D.1, with what EHLO tells, Received and Return-Path.
		a = mx
		a< 220 mail.example.test ESMTP *
		a> EHLO client.example.org
		a< <<END
		250-mail.example.test greets client.example.org
		250-PIPELINING
		250-8BITMIME
		250-ENHANCEDSTATUSCODES
		250-CHUNKING
		250-BINARYMIME
		250-STARTTLS
		250-SMTPUTF8
		250-DSN
		250-RRVS
		250-SIZE 1048576
		250 LIMITS RCPTMAX=5
		END
		a session client=client.example.org state=idle
		a> MAIL FROM:<joe@example.org> BODY=8BITMIME SIZE=100
		a< 250 2.1.0 *
		a> RCPT TO:<Ann@EXAMPLE.test>
		a< 250 2.1.5 *
		a> DATA
		a< 354 *
		a session state=busy activity="DATA 1 recipient"
		a> <<END
		Return-Path: <forged@example.org>
		From: joe@example.org
		Subject: hello

		..one
		...
		text
		.
		END
		a< 250 2.0.0 *delivered as {id}
		! count ann 1
		! has ann "Return-Path: <joe@example.org>\r\nReceived: from client.example.org ([127.0.0.1])\r\n\tby mail.example.test with ESMTP id "
		! has ann "\r\n\tfor <Ann@EXAMPLE.test>;\r\n\t"
		! has ann "\r\nFrom: joe@example.org\r\nSubject: hello\r\n\r\n.one\r\n..\r\ntext\r\n"
		! lacks ann forged
		a> QUIT
		a< 221 2.0.0 *
		a< EOF
	`},
	{"recipients", `
		# One message for several, with what is refused (RFC 5321 sections 3.3, 4.5.1; RFC 5233).
		a = mx
		a<< 220 *
		a> HELO [junk (name)
		a< 250 mail.example.test
		a> MAIL FROM:<>
		a< 250 2.1.0 *
		a> RCPT TO:<nobody@example.test>
		a< 550 5.1.1 *
		a> RCPT TO:<ann@example.org>
		a< 550 5.7.1 *
		a> RCPT TO:<ann%example.org@example.test>
		a< 550 5.1.1 *
		a> RCPT TO:<>
		a< 501 5.1.3 *
		a> RCPT TO:<ann@@example.test>
		a< 501 5.1.3 *
		a> RCPT TO:<ann>
		a< 501 5.1.3 *
		a> RCPT TO:<ann@[127.0.0.1]>
		a< 550 5.1.2 *
		a> RCPT TO:<PostMaster>
		a< 250 2.1.5 *
		a> RCPT TO:<@relay.example,@other:ann+lists@example.test>
		a< 250 2.1.5 *
		a> RCPT TO:<ann.alias@example.test>
		a< 250 2.1.5 *
		a> RCPT TO:<"joe"@example.test>
		a< 250 2.1.5 *
		a> DATA
		a< 354 *
		a> <<END
		Subject: many

		.
		END
		a< 250 2.0.0 *
		! count ann 1
		! count joe 1
		! count bob 1
		! has ann "Return-Path: <>\r\nReceived: from unknown ([127.0.0.1])\r\n\tby mail.example.test with SMTP id "
		! lacks ann "\tfor "
	`},
	{"disabled accounts receive", `
		! disable ann
		a = mx
		a<< 220 *
		a> <<END
		HELO x
		MAIL FROM:<a@b.example>
		RCPT TO:<ann@example.test>
		DATA
		Subject: x

		.
		END
		a<< 250 2.0.0 *
		! count ann 1
	`},
	{"too many recipients", `
		a = mx
		a> <<END
		HELO x
		MAIL FROM:<a@b.example>
		RCPT TO:<ann@example.test>
		RCPT TO:<ann+1@example.test>
		RCPT TO:<ann+2@example.test>
		RCPT TO:<ann+3@example.test>
		RCPT TO:<ann+4@example.test>
		RCPT TO:<ann+5@example.test>
		END
		a<< 452 4.5.3 *
	`},
	{"order", `
		# RFC 5321 section 4.1.4: each refusal leaves the session as it was.
		a = mx
		a< 220 *
		a> MAIL FROM:<a@b.example>
		a< 503 5.5.1 *
		a> RCPT TO:<ann@example.test>
		a< 503 5.5.1 *
		a> EHLO
		a< 501 5.5.4 *
		a> EHLO x
		a<< 250 LIMITS *
		a> DATA
		a< 503 5.5.1 *
		a> RCPT TO:<ann@example.test>
		a< 503 5.5.1 *
		a> MAIL FROM:<a@b.example>
		a< 250 *
		a> MAIL FROM:<c@d.example>
		a< 503 5.5.1 *
		a> DATA
		a< 554 5.5.1 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA now
		a< 501 5.5.4 *
		a> RSET
		a< 250 2.0.0 *
		a> DATA
		a< 503 5.5.1 *
		a> MAIL FROM:<c@d.example>
		a< 250 *
		a> EHLO again
		a<< 250 LIMITS *
		a> MAIL FROM:<c@d.example>
		a< 250 *
	`},
	{"commands", `
		a = mx
		a< 220 *
		a> NOOP whatever
		a< 250 2.0.0 *
		a> noop
		a< 250 2.0.0 *
		a> VRFY ann
		a< 252 2.* *
		a> HELP
		a< 214 2.0.0 *
		a> EXPN list
		a< 502 5.5.1 *
		a> FOO
		a< 500 5.5.1 *
		a>- "\r\n"
		a< 500 5.5.1 *
		a> LHLO x
		a< 500 5.5.1 *
		a> STARTTLS now
		a< 501 5.5.4 *
		a> STARTTLSX
		a< 500 5.5.1 *
		a> AUTH PLAIN AGEAYg==
		a< 503 5.5.1 *
		a> HELO x
		a< 250 mail.example.test
		a> AUTH PLAIN AGEAYg==
		a< 502 5.5.1 *
		a>- "quit\r\n"
		a< 221 2.0.0 *
		a< EOF
	`},
	{"too many errors", `
		a = mx
		a< 220 *
		a> <<END
		a1
		a2
		a3
		a4
		a5
		a6
		a7
		a8
		a9
		a10
		a11
		a12
		a13
		a14
		a15
		a16
		a17
		a18
		a19
		a20
		NOOP
		END
		a<< 421 4.7.0 too many errors
		a< EOF
	`},
	{"postmaster and address literals", `
		a = mx
		a< 220 *
		a> EHLO x
		a<< 250 *
		a> MAIL FROM:<joe@-elsewhere.example>
		a< 501 5.1.7 *
		a> MAIL FROM:<joe@[192.0.2.300]>
		a< 501 5.1.7 *
		a> MAIL FROM:<joe@[IPv6:2001:db8::1]> AUTH=a+zz
		a< 501 5.5.4 *
		a> MAIL FROM:<joe@[IPv6:2001:db8::1]> AUTH=a+2Bb
		a< 250 2.1.0 *
		a> RCPT TO:<Postmaster@MAIL.example.test>
		a< 250 2.1.5 *
		a> RCPT TO:<ann@[127.0.0.1]>
		a< 550 5.1.2 *
		a> RCPT TO:<ann@example.test.>
		a< 501 5.1.3 *
	`},
	{"a browser", `
		a = mx
		a< 220 *
		a> POST / HTTP/1.1
		a< 421 4.7.0 *
		a< CLOSED
	`},
	{"parameters", `
		# RFC 1870, RFC 3461, RFC 6152, RFC 5321 section 4.1.1.11.
		a = mx
		a< 220 *
		a> EHLO x
		a<< 250 LIMITS *
		a> MAIL FROM:<a@b.example> SIZE=1048577
		a< 552 5.3.4 *
		a> MAIL FROM:<a@b.example> SIZE=99999999999999999999
		a< 552 5.3.4 *
		a> MAIL FROM:<a@b.example> SIZE=x
		a< 501 5.5.4 *
		a> MAIL FROM:<a@b.example> FOO=bar
		a< 555 5.5.4 *
		a> MAIL FROM:<a@b.example> BODY=8BITMIME BODY=7BIT
		a< 501 5.5.4 *
		a> MAIL FROM:<a@b.example> BODY=9BIT
		a< 501 5.5.4 *
		a> MAIL FROM:<a@b.example> RET=SOME
		a< 501 5.5.4 *
		a> MAIL FROM:<a@b.example> AUTH=
		a< 501 5.5.4 *
		a> MAIL FROM: <a@b.example> AUTH=<> ret=hdrs envid=QQ+3D314 SIZE=1048576 BODY=7BIT
		a< 250 2.1.0 *
		a> RCPT TO:<ann@example.test> NOTIFY=NEVER,SUCCESS
		a< 501 5.5.4 *
		a> RCPT TO:<ann@example.test> SIZE=3
		a< 555 5.5.4 *
		a> RCPT TO:<ann@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;ann+40example.test
		a< 250 2.1.5 *
	`},
	{"recipients valid since", `
		# RFC 7293: a mailbox that was another's when the sender knew it gets nothing.
		a = mx
		a< 220 *
		a> EHLO x
		a<< 250-RRVS
		a<< 250 LIMITS *
		a> MAIL FROM:<a@b.example>
		a< 250 *
		a> RCPT TO:<ann@example.test> RRVS=2001-02-03T04:05:06Z
		a< 550 5.7.17 *
		a> RCPT TO:<ann@example.test> RRVS=2001-02-03T04:05:06Z;C
		a< 550 5.7.17 *
		a> RCPT TO:<postmaster@example.test> RRVS=2001-02-03T04:05:06Z
		a< 250 *
		a> RCPT TO:<ann@example.test> RRVS=2101-02-03T04:05:06Z
		a< 250 *
	`},
	{"bad senders", `
		a = mx
		a< 220 *
		a> HELO x
		a< 250 *
		a> MAIL FROM
		a< 501 5.5.4 *
		a> MAIL FROM:<a@b.example
		a< 501 5.1.7 *
		a> MAIL FROM:a@b.example
		a< 501 5.1.7 *
		a> MAIL FROM:<a b@c.example>
		a< 501 5.1.7 *
		a> MAIL FROM:<@>
		a< 501 5.1.7 *
		a> MAIL FROM:<a@b.example>x
		a< 501 5.1.7 *
		a> MAIL FROM:<"a b>"@[IPv6:::1]>
		a< 250 2.1.0 *
	`},
	{"utf8", `
		# RFC 6531.
		a = mx
		a< 220 *
		a> EHLO x
		a<< 250 LIMITS *
		a> MAIL FROM:<jürgen@müller.example>
		a< 553 5.6.7 *
		a> MAIL FROM:<jürgen@müller.example> SMTPUTF8=1
		a< 501 5.5.4 *
		a> MAIL FROM:<jürgen@müller.example> SMTPUTF8
		a< 250 *
		a> RCPT TO:<änn@example.test>
		a< 550 5.1.1 *
		a> RCPT TO:<ann+ü@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		Subject: ü

		ü
		.
		END
		a< 250 2.0.0 *
		! has ann "Return-Path: <jürgen@müller.example>\r\n"
		! has ann " with UTF8SMTP id "
	`},
	{"starttls", `
		# RFC 3207: what came before is forgotten, what was sent behind the command dropped.
		a = mx
		a< 220 *
		a> EHLO x
		a<< 250 LIMITS *
		a> MAIL FROM:<a@b.example>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a>- "STARTTLS\r\nRSET\r\nEHLO injected\r\n"
		a< 220 2.0.0 *
		a starttls
		a> DATA
		a< 503 5.5.1 *
		a> MAIL FROM:<a@b.example>
		a< 503 5.5.1 *
		a> EHLO y
		a< 250-mail.example.test greets y
		a< 250-PIPELINING
		a< 250-8BITMIME
		a< 250-ENHANCEDSTATUSCODES
		a< 250-CHUNKING
		a< 250-BINARYMIME
		a< 250-SMTPUTF8
		a<< 250 LIMITS *
		a> STARTTLS
		a< 503 5.5.1 *
		a> DATA
		a< 503 5.5.1 *
		a> MAIL FROM:<a@b.example>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		Subject: x

		.
		END
		a< 250 2.0.0 *
		! has ann " with ESMTPS id "
		! has ann "\r\n\t(TLS 1.3 TLS_"
	`},
	{"failed handshake", `
		a = mx
		a< 220 *
		a> STARTTLS
		a< 220 *
		a> MAIL FROM:<a@b.example>
		a< CLOSED
	`},
	{"cut", `
		# RFC 5321 section 4.1.1.4: a message without its end is none.
		a = mx
		a> <<END
		HELO x
		MAIL FROM:<a@b.example>
		RCPT TO:<ann@example.test>
		DATA
		Subject: x

		text
		END
		a<< 354 *
		a closewrite
		a< CLOSED
		a = mx
		a> <<END
		EHLO x
		MAIL FROM:<a@b.example>
		RCPT TO:<ann@example.test>
		BDAT 12
		Subject: x
		BDAT 100 LAST
		text
		END
		a<< 250 2.0.0 12 octets received
		a close
		a = mx
		a> <<END
		EHLO x
		MAIL FROM:<a@b.example>
		RCPT TO:<ann@example.test>
		DATA
		Subject: x

		.
		END
		a<< 250 2.0.0 *
		! count ann 1
	`},
	{"chunks", `
		# RFC 3030. The chunk is not text: it may end anywhere, also within a line end.
		a = mx
		a<< 220 *
		a> EHLO x
		a<< 250 LIMITS *
		a>- "BDAT 6\r\nQUIT\r\nNOOP\r\n"
		a< 503 5.5.1 *
		a< 250 2.0.0 *
		a>- "MAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nBDAT 11\r\nSubject: x\rBDAT 7\r\n\n\r\n.\r\n.BDAT 0\r\nNOOP\r\nDATA\r\nBDAT 6 last\r\nQUIT\r\nNOOP\r\n"
		a< 250 2.1.0 *
		a< 250 2.1.5 *
		a< 250 2.0.0 11 octets received
		a< 250 2.0.0 7 octets received
		a< 250 2.0.0 0 octets received
		a< 250 2.0.0 ok
		a< 503 5.5.1 *
		a< 250 2.0.0 delivered as *
		a< 250 2.0.0 ok
		! count ann 1
		! has ann "\r\nSubject: x\r\n\r\n.\r\n.QUIT\r\n"
		a>- "MAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nBDAT 11\r\nSubject: y\rRSET\r\nNOOP\r\n"
		a< 250 2.1.0 *
		a< 250 2.1.5 *
		a< 250 2.0.0 11 octets received
		a< 250 2.0.0 message given up
		a< 250 2.0.0 ok
		a>- "MAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nBDAT 3 LAST\r\na\nbBDAT 2 LAST\r\nxxNOOP\r\n"
		a< 250 2.1.0 *
		a< 250 2.1.5 *
		a< 550 5.6.0 *
		a< 503 5.5.1 *
		a< 250 2.0.0 ok
		a>- "MAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nBDAT 3\r\nabcQUIT\r\n"
		a< 250 2.1.0 *
		a< 250 2.1.5 *
		a< 250 2.0.0 3 octets received
		a< 221 2.0.0 *
		a< EOF
		! count ann 1
		b = mx
		b> EHLO x
		b<< 250 LIMITS *
		b> BDAT x
		b< 501 5.5.4 *
		b< CLOSED
	`},
}
