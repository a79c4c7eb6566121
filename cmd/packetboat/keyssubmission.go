package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// submissionConfig is what the configuration says about mail that accounts send.
type submissionConfig struct {
	LMTPTrusted session.FrontEnds
	LMTPSocket  string
	SMTPXClient session.FrontEnds
	SendLimits  storage.SendLimits
}

var submissionKeys = []key{
	{"ports.lmtp", "off", "Mail from a mail server in front of this one (LMTP, RFC 2033): off, or a port such as 2033.", port("lmtp")},
	{"lmtp.trusted", "127.0.0.0/8, ::1", "Networks that LMTP serves: it asks for no password. Comma-separated.", func(c *config, v string) error {
		return networksInto(&c.LMTPTrusted, v)
	}},
	{"lmtp.socket", "", "A Unix socket for LMTP, such as /run/packetboat/lmtp: whoever may open it (its owner and group) may deliver. Empty: none.", func(c *config, v string) error {
		if v != "" && !filepath.IsAbs(v) {
			return errors.New("give an absolute path")
		}
		c.LMTPSocket = v
		return nil
	}},
	{"smtp.xclient", "", "Front ends that may say who their client is with XCLIENT (Postfix's XCLIENT_README): networks, comma-separated. They are believed, so give their own addresses alone.", func(c *config, v string) error {
		return networksInto(&c.SMTPXClient, v)
	}},
	{"limits.send_messages_per_hour", "0", "Messages that an account may send in an hour; 0: any number. An account may have limits of its own: packetboat account set --send-messages-per-hour and so on.", func(c *config, v string) error {
		return sendInto(&c.SendLimits.MessagesPerHour, v)
	}},
	{"limits.send_recipients_per_hour", "0", "Recipients of all its messages in an hour; local ones count too. 0: any number.", func(c *config, v string) error {
		return sendInto(&c.SendLimits.RecipientsPerHour, v)
	}},
	{"limits.send_messages_per_day", "0", "Messages in a day; 0: any number.", func(c *config, v string) error {
		return sendInto(&c.SendLimits.MessagesPerDay, v)
	}},
	{"limits.send_recipients_per_day", "0", "Recipients in a day; 0: any number.", func(c *config, v string) error {
		return sendInto(&c.SendLimits.RecipientsPerDay, v)
	}},
}

// sendInto reads a number of messages or recipients.
func sendInto(to *int64, v string) error {
	n := 0
	err := intInto(&n, v, 0, 1_000_000_000)
	*to = int64(n)
	return err
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
