package imap

import (
	"slices"
	"strconv"
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
)

// always are the capabilities of every connection, before login too: many clients ask once and never again. What stands here works.
var always = []string{
	"IMAP4rev1",
	"IMAP4rev2",
	"LITERAL+",
	"ID",
	"ENABLE",
	"IDLE",
	"NAMESPACE",
	"UNSELECT",
	"UIDPLUS",
	"CHILDREN",
	"LIST-EXTENDED",
	"LIST-STATUS",
	"LIST-MYRIGHTS",
	"SPECIAL-USE",
	"CREATE-SPECIAL-USE",
	"STATUS=SIZE",
	"MOVE",
	"ESEARCH",
	"SEARCHRES",
	"WITHIN",
	"MULTISEARCH",
	"BINARY",
	"UTF8=ACCEPT",
	"CONDSTORE",
	"QRESYNC",
	"OBJECTID",
	"SAVEDATE",
	"PARTIAL",
	"UIDONLY",
	"ACL",
	"RIGHTS=kxte",
	"QUOTA",
	"QUOTA=RES-STORAGE",
}

// capabilities is the list for this connection as it is now.
func (c *client) capabilities() string {
	var b strings.Builder
	b.WriteString(strings.Join(always, " "))
	b.WriteString(" APPENDLIMIT=")
	b.WriteString(strconv.FormatInt(c.srv.o.MaxAppend, 10))
	if c.state != notAuthenticated {
		return b.String()
	}
	b.WriteString(" SASL-IR")
	if c.canStartTLS() {
		b.WriteString(" STARTTLS")
	}
	// RFC 9051 section 6.2.3: LOGINDISABLED while a password may not be sent
	if !c.srv.door.PlaintextAllowed(c.ses) {
		b.WriteString(" LOGINDISABLED")
	}
	for _, m := range c.srv.door.Mechanisms(c.ses) {
		b.WriteString(" AUTH=")
		b.WriteString(m)
	}
	return b.String()
}

func (c *client) canStartTLS() bool {
	_, has := c.ses.TLS()
	return !has && c.srv.o.TLS != nil && c.state == notAuthenticated
}

func (c *client) capability(*task) error {
	if !c.d.EOL() {
		return nil
	}
	c.e.Raw("* CAPABILITY ", c.capabilities()).CRLF()
	return nil
}

// enable is ENABLE (RFC 9051 section 6.3.1, RFC 5161). What is not known is passed over in silence.
func (c *client) enable(*task) error {
	var words []string
	for c.d.SP() {
		words = append(words, c.d.Word())
		if c.d.AtEnd() {
			break
		}
	}
	if c.d.Err() != nil {
		return nil
	}
	if c.state == selected && slices.Contains(words, "UTF8=ACCEPT") && !c.utf8 {
		return &wire.Error{Text: "ENABLE UTF8=ACCEPT must come before SELECT"} // RFC 6855 section 3
	}
	var done []string
	for _, w := range words {
		switch {
		case w == "IMAP4REV2" && !c.rev2:
			c.rev2, c.utf8 = true, true
			done = append(done, "IMAP4rev2")
		case slices.Contains(done, w):
		case w == "CONDSTORE":
			c.modSeqAware()
			done = append(done, w)
		case w == "QRESYNC": // RFC 7162 section 3.2.3
			c.modSeqAware()
			c.qresync = true
			done = append(done, w)
		case w == "UIDONLY":
			c.uidOnly = true
			done = append(done, w)
		case w == "UTF8=ACCEPT":
			c.utf8, c.accept = true, true
			done = append(done, "UTF8=ACCEPT")
		}
	}
	c.e.Raw("* ENABLED")
	for _, w := range done {
		c.e.Raw(" ", w)
	}
	c.e.CRLF()
	return nil
}
