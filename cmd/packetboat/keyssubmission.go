package main

import (
	"fmt"

	"github.com/packetboat/packetboat/auth/session"
)

// submissionConfig is what the configuration says about mail that accounts send.
type submissionConfig struct {
	LMTPTrusted session.FrontEnds
	SMTPXClient session.FrontEnds
}

var submissionKeys = []key{
	{"ports.lmtp", "off", "Mail from a mail server in front of this one (LMTP, RFC 2033): off, or a port such as 2033.", port("lmtp")},
	{"lmtp.trusted", "127.0.0.0/8, ::1", "Networks that LMTP serves: it asks for no password. Comma-separated.", func(c *config, v string) error {
		return networksInto(&c.LMTPTrusted, v)
	}},
	{"smtp.xclient", "", "Front ends that may say who their client is with XCLIENT (Postfix's XCLIENT_README): networks, comma-separated. They are believed, so give their own addresses alone.", func(c *config, v string) error {
		return networksInto(&c.SMTPXClient, v)
	}},
}

// networksInto reads networks that are believed.
func networksInto(to *session.FrontEnds, v string) error {
	*to = session.FrontEnds{}
	for _, s := range list(v) {
		p, err := network(s)
		if err != nil {
			return err
		}
		if p.Bits() == 0 {
			return fmt.Errorf("%s is everybody; give the front ends' addresses", s)
		}
		*to = append(*to, p)
	}
	return nil
}
