package imap

import (
	"encoding/base64"
	"errors"

	"github.com/emersion/go-sasl"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/imap/deflate"
	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// maxSASL is how many bytes a line of a SASL dialogue may have.
const maxSASL = 16 << 10

// startTLS is STARTTLS (RFC 9051 section 6.2.1).
func (c *client) startTLS(t *task) error {
	if !c.d.EOL() {
		return nil
	}
	if !c.canStartTLS() {
		return &wire.Error{Text: "STARTTLS is not available"}
	}
	c.e.Raw(t.tag, " OK Begin TLS negotiation now").CRLF()
	if err := c.e.Flush(); err != nil {
		return err
	}
	// What came behind the command in plaintext is discarded: nobody knows who sent it.
	c.r.Reset(c)
	if z, ok := c.conn.(*deflate.Conn); ok {
		z.Discard()
	}
	conn, err := session.Handshake(c.ctx(), c.conn, c.srv.o.TLS)
	if err != nil {
		c.srv.o.Logger.Debug("tls handshake failed", "session", c.ses.ID(), "error", err)
		return errClosed
	}
	c.conn = conn
	c.e.Reset(conn)
	return errAnswered
}

// errAnswered: the command gave its tagged response itself.
var errAnswered = errors.New("answered")

// login is LOGIN (RFC 9051 section 6.2.3).
func (c *client) login(t *task) error {
	if !c.srv.door.PlaintextAllowed(c.ses) {
		return auth.ErrPlaintext // before a client that waits for leave sends its password in a literal
	}
	if !c.srv.door.PasswordAllowed(c.ses) {
		return &wire.Error{No: true, Code: "CANNOT", Text: "Passwords are not taken here"}
	}
	c.d.SP()
	user := c.d.AString()
	c.d.SP()
	password := c.d.AString()
	if !c.d.EOL() {
		return nil
	}
	a, err := c.srv.door.Login(c.ctx(), c.ses, user, password)
	if err != nil {
		return err
	}
	c.loggedIn(t, a)
	return nil
}

// loggedIn opens the authenticated state. The capabilities go with the tagged OK, where clients look for them (RFC 9051 section 7.1).
func (c *client) loggedIn(t *task, a *storage.Account) {
	c.account, c.state = a, authenticated
	c.withhold()
	t.code = c.capabilities()
	t.text = "Logged in"
}

// authenticate is AUTHENTICATE (RFC 9051 section 6.2.2, RFC 4959).
func (c *client) authenticate(t *task) error {
	c.d.SP()
	mech := c.d.Word()
	var initial []byte
	if !c.d.AtEnd() {
		c.d.SP()
		var err error
		if initial, err = unbase64(c.d.Text()); err != nil {
			return err
		}
	}
	if !c.d.EOL() {
		return nil
	}
	if c.withholds("AUTH=" + mech) {
		return auth.ErrMechanism
	}
	var unannounced []string
	if c.withholds("AUTH=SCRAM-SHA-256-PLUS") {
		unannounced = []string{"SCRAM-SHA-256-PLUS"} // a client that could bind says that it was not told (RFC 5802 section 6)
	}
	x, err := c.srv.door.SASL(c.ctx(), c.ses, mech, unannounced...)
	if err != nil {
		return err
	}
	if err := c.dialogue(x, initial); err != nil {
		return err
	}
	c.loggedIn(t, x.Account())
	return nil
}

// dialogue runs a SASL exchange to its end. initial is nil when none came.
func (c *client) dialogue(x sasl.Server, response []byte) error {
	for {
		challenge, done, err := x.Next(response)
		if err != nil {
			return err
		}
		if done && len(challenge) == 0 {
			return nil
		}
		if response, err = c.challenge(challenge); err != nil {
			return err
		}
		if done {
			// The mechanism's last word went as a challenge of its own; the client acknowledges it with an empty line.
			return nil
		}
	}
}

// challenge sends one and reads the response to it.
func (c *client) challenge(b []byte) ([]byte, error) {
	c.e.Raw("+ ", base64.StdEncoding.EncodeToString(b)).CRLF()
	if err := c.d.Next(); err != nil {
		return nil, err
	}
	line := c.d.Text()
	if err := c.d.Err(); err != nil {
		return nil, err
	}
	if line == "*" {
		return nil, &wire.Error{Text: "Authentication cancelled"}
	}
	if line == "" {
		return []byte{}, nil
	}
	return unbase64(line)
}

// unbase64 decodes a response; "=" is an empty one (RFC 4959 section 3).
func unbase64(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	if len(s) > maxSASL {
		return nil, &wire.Error{Code: "TOOBIG", Text: "Response too long"}
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, &wire.Error{Code: "PARSE", Text: "Response is not base64"}
	}
	return b, nil
}
