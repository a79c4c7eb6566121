package smtp_test

import (
	"fmt"
	"testing"
)

// TestRelayDenied: nothing that may be said on port 25 makes us carry mail for others (RFC 5321 section 7.1, and what relays of old were fooled with).
func TestRelayDenied(t *testing.T) {
	for _, test := range []struct{ mail, rcpt, reply string }{
		{"<x@foreign.example>", "<y@foreign.example>", "550 5.7.1 *relaying denied*"},
		{"<ann@example.test>", "<y@foreign.example>", "550 5.7.1 *"}, // a sender of ours proves nothing here
		{"<>", "<y@foreign.example>", "550 5.7.1 *"},
		{"<postmaster@example.test>", "<y@foreign.example>", "550 5.7.1 *"},
		{"<x@[127.0.0.1]>", "<y@foreign.example>", "550 5.7.1 *"},
		{"<x@foreign.example>", "<y%foreign.example@example.test>", "550 5.1.1 *"},
		{"<x@foreign.example>", "<y%foreign.example@[127.0.0.1]>", "550 5.1.2 *"},
		{"<x@foreign.example>", "<ann@[127.0.0.1]>", "550 5.1.2 *"},
		{"<x@foreign.example>", `<"y@foreign.example"@example.test>`, "550 5.1.1 *"},
		{"<x@foreign.example>", `<"y%foreign.example"@example.test>`, "550 5.1.1 *"},
		{"<x@foreign.example>", `<"foreign.example!y"@example.test>`, "550 5.1.1 *"},
		{"<x@foreign.example>", "<foreign.example!y@example.test>", "550 5.1.1 *"},
		{"<x@foreign.example>", "<foreign.example!y>", "501 5.1.3 *"},
		{"<x@foreign.example>", "<y@foreign.example@example.test>", "501 5.1.3 *"},
		{"<x@foreign.example>", "<@example.test:y@foreign.example>", "550 5.7.1 *"},
		{"<x@foreign.example>", "<@example.test,@foreign.example:y@other.example>", "550 5.7.1 *"},
		{"<x@foreign.example>", "<y@foreign.example> ORCPT=rfc822;ann@example.test", "550 5.7.1 *"},
		{"<x@foreign.example>", "<nobody@example.test> ORCPT=rfc822;y@foreign.example", "550 5.1.1 *"},
		{"<x@foreign.example> AUTH=ann@example.test", "<y@foreign.example>", "550 5.7.1 *"},
		{"<x@foreign.example>", "<y@example.test.foreign.example>", "550 5.7.1 *"},
		{"<x@foreign.example>", "<y@sub.example.test>", "550 5.7.1 *"},
		{"<x@foreign.example>", "<ann+y@foreign.example>", "550 5.7.1 *"},
		{"<>", "<SRS0=abcdefgh=AA=foreign.example=y@example.test>", "550 5.*"},
		{"<>", "<SRS1=abcdefgh=foreign.example==hash=AA=other.example=y@example.test>", "550 5.*"},
	} {
		t.Run(test.mail+test.rcpt, func(t *testing.T) {
			play(t, fmt.Sprintf(`
				a = mx
				a< 220 *
				a> EHLO x
				a<< 250 LIMITS *
				a> MAIL FROM:%s
				a< 250 *
				a> RCPT TO:%s
				a< %s
				a> DATA
				a< 554 5.5.1 *
			`, test.mail, test.rcpt, test.reply))
		})
	}
}

// TestRelay: what our users send to other domains leaves, together with what stays here.
func TestRelay(t *testing.T) {
	play(t, expand(`
		a = subs
		a> EHLO x
		a<< 250 LIMITS *
		a> RCPT TO:<y@foreign.example>
		a< 530 5.7.0 *
		a> AUTH PLAIN PLAIN(ann)
		a< 235 *
		a> MAIL FROM:<ann@example.test> RET=HDRS ENVID=x1
		a< 250 *
		a> RCPT TO:<y@foreign.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;z@foreign.example
		a< 250 2.1.5 *
		a> RCPT TO:<joe@example.test>
		a< 250 2.1.5 *
		a> RCPT TO:<y@[192.0.2.1]>
		a< 550 5.1.2 *
		a> DATA
		a< 354 *
		a> <<END
		From: ann@example.test
		Subject: both

		.
		END
		a< 250 2.0.0 queued as *
		! count joe 1
		! has joe "Subject: both"
	`))
}
