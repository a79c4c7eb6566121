package imap

import (
	"github.com/packetboat/packetboat/imap/deflate"
	"github.com/packetboat/packetboat/imap/wire"
)

// minSlack and appendSlack say how much of what a client sends may shrink to nearly nothing (deflate.New): some of the largest messages.
const (
	minSlack    = 256 << 20
	appendSlack = 4
)

// compress is COMPRESS (RFC 4978 section 3).
func (c *client) compress(t *task) error {
	c.d.SP()
	algorithm := c.d.Word()
	if !c.d.EOL() {
		return nil
	}
	if algorithm != "DEFLATE" {
		return &wire.Error{Text: "Unknown compression"}
	}
	if c.compressed() {
		return &wire.Error{Code: "COMPRESSIONACTIVE", Text: "DEFLATE is active already"}
	}
	c.e.Raw(t.tag, " OK DEFLATE active").CRLF()
	if err := c.e.Flush(); err != nil {
		return err
	}
	// A client sends nothing before it has seen the answer. What came behind the command all the same was not compressed,
	// or was meant for somebody else: it is discarded, as with STARTTLS.
	c.r.Reset(c)
	below := c.conn
	if old, ok := below.(*deflate.Conn); ok { // of before an UNAUTHENTICATE
		below = old.NetConn()
	}
	c.conn = deflate.New(below, max(minSlack, appendSlack*c.srv.o.MaxAppend))
	c.e.Reset(c.conn)
	return errAnswered
}

// compressed tells whether COMPRESS is active.
func (c *client) compressed() bool {
	z, ok := c.conn.(*deflate.Conn)
	return ok && !z.Ended()
}

// unauthenticate is UNAUTHENTICATE (RFC 8437). There is no NO: what cannot be reset ends the connection.
func (c *client) unauthenticate(t *task) error {
	if !c.d.EOL() {
		return nil
	}
	c.unselect()
	c.notify.close()
	c.user = user{}
	c.state = notAuthenticated
	c.ses.Logout()
	c.ses.SetActivity(t.name)
	c.withhold()
	c.d.UTF8, c.e.UTF8 = false, false
	t.code = c.capabilities()
	t.text = "Nobody is logged in"
	c.ok(t)
	// RFC 8437 section 4.1: our side's compression ends behind the CRLF of the OK, the client's behind that of its command.
	if err := c.e.Flush(); err != nil {
		return err
	}
	if z, ok := c.conn.(*deflate.Conn); ok {
		if err := z.Plain(); err != nil {
			c.e.Fail(err) // the connection's, not the command's
			return err
		}
	}
	c.badRow = 0
	return errAnswered
}
