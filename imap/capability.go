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
//
// It begins with the word, as it stands in a response and in a response code. After login it is the same for all from whom nothing is withheld, so
// that one is made once.
func (c *client) capabilities() string {
	if c.state != notAuthenticated && c.withheld == 0 {
		return c.srv.inside()
	}
	list := &capabilityList{c: c, b: append(make([]byte, 0, 1024), "CAPABILITY"...)}
	list.always(&c.srv.o)
	if c.state == notAuthenticated {
		list.login()
	}
	return string(list.b)
}

// capabilityList is a list being made; without a client nothing is withheld.
type capabilityList struct {
	c *client
	b []byte
}

func (l *capabilityList) add(name string) {
	if l.c != nil {
		if name == "LITERAL+" && l.c.withholds(name) {
			name = "LITERAL-" // RFC 7888 section 5: the lesser one, never both
		}
		if l.c.withholds(name) {
			return
		}
	}
	l.b = append(append(l.b, ' '), name...)
}

func (l *capabilityList) always(o *Options) {
	for _, name := range always {
		l.add(name)
	}
	l.add("APPENDLIMIT=" + strconv.FormatInt(o.MaxAppend, 10))
	if limit := o.limitCapability(); limit != "" {
		l.add(limit)
	}
}

// login adds what is for those who are not logged in.
func (l *capabilityList) login() {
	c, add := l.c, l.add
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
}

func (c *client) canStartTLS() bool {
	_, has := c.ses.TLS()
	return !has && c.srv.o.TLS != nil && c.state == notAuthenticated
}

func (c *client) capability(*task) error {
	if !c.d.EOL() {
		return nil
	}
	c.e.Raw("* ", c.capabilities()).CRLF()
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
			c.forgoNumbers()
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
