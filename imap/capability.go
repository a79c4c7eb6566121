package imap

import (
	"slices"
	"strconv"

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
	"SORT",
	"SORT=DISPLAY",
	"ESORT",
	"THREAD=ORDEREDSUBJECT",
	"THREAD=REFERENCES",
	"THREAD=REFS",
	"PREVIEW",
	"SEARCHRES",
	"WITHIN",
	"CONTEXT=SEARCH",
	"CONTEXT=SORT",
	"I18NLEVEL=1",
	"MULTISEARCH",
	"INPROGRESS",
	"BINARY",
	"MULTIAPPEND",
	"CATENATE",
	"URL-PARTIAL",
	"REPLACE",
	"UTF8=ACCEPT",
	"CONDSTORE",
	"QRESYNC",
	"OBJECTID",
	"SAVEDATE",
	"PARTIAL",
	"UIDONLY",
	"ACL",
	"RIGHTS=kxte",
	"METADATA",
	"LIST-METADATA",
	"QUOTA",
	"QUOTA=RES-STORAGE",
	"QUOTA=RES-MESSAGE",
	"QUOTASET",
	"COMPRESS=DEFLATE",
	"NOTIFY",
	"UNAUTHENTICATE",
}

// capabilities is the list for this connection as it is now.
func (c *client) capabilities() string {
	list := make([]byte, 0, 1024)
	add := func(name string) {
		if name == "LITERAL+" && c.withholds(name) {
			name = "LITERAL-" // RFC 7888 section 5: the lesser one, never both
		}
		if c.withholds(name) {
			return
		}
		if len(list) > 0 {
			list = append(list, ' ')
		}
		list = append(list, name...)
	}
	for _, name := range always {
		add(name)
	}
	add("APPENDLIMIT=" + strconv.FormatInt(c.srv.o.MaxAppend, 10))
	if limit := c.srv.o.limitCapability(); limit != "" {
		add(limit)
	}
	if c.state != notAuthenticated {
		return string(list)
	}
	add("SASL-IR")
	if c.canStartTLS() {
		add("STARTTLS")
	}
	// RFC 9051 section 6.2.3: LOGINDISABLED while a password may not be sent
	if !c.srv.door.PasswordAllowed(c.ses) {
		add("LOGINDISABLED")
	}
	for _, m := range c.srv.door.Mechanisms(c.ses) {
		add("AUTH=" + m)
	}
	return string(list)
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
		case c.withholds(w):
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
		case w == "METADATA": // RFC 5464 section 4.1
			c.meta = &noted{seq: c.srv.store.AnnotationSeq()}
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
