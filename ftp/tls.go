package ftp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"strconv"
	"strings"

	"github.com/packetboat/packetboat/auth/session"
)

// sessionTLS is the configuration of one control connection and its data connections. Its ticket keys are this session's own: a data
// connection that resumes proves that its client holds the control connection's secrets (RFC 4217 section 12).
func (s *Server) sessionTLS() *tls.Config {
	conf := s.o.TLS.Clone()
	conf.NextProtos = []string{"ftp"} // a client that speaks another protocol here is refused; one without ALPN is not
	if s.o.DataTLSReuse == ReuseOff {
		conf.SessionTicketsDisabled = true
		return conf
	}
	var key [32]byte
	rand.Read(key[:])
	conf.SetSessionTicketKeys([][32]byte{key})
	return conf
}

// dataTLS is the configuration of the data connections: the same keys, no ALPN (clients offer none there, or anything).
func dataTLS(control *tls.Config) *tls.Config {
	conf := control.Clone()
	conf.NextProtos = nil
	conf.DynamicRecordSizingDisabled = true
	return conf
}

// startTLS does the handshake on the control connection.
func (c *client) startTLS() error {
	conf := c.srv.sessionTLS()
	conn, err := session.Handshake(context.WithoutCancel(c.ctx), c.raw, conf)
	if err != nil {
		return err
	}
	c.wmu.Lock()
	c.conn = conn
	c.wmu.Unlock()
	c.lr = newLineReader(conn)
	c.tls = dataTLS(conf)
	return nil
}

func (c *client) cmdAuth(arg string) {
	switch mech := strings.ToUpper(strings.TrimSpace(arg)); {
	case c.srv.o.TLS == nil:
		c.reply(502, "TLS is not available.")
	case mech != "TLS" && mech != "TLS-C" && mech != "SSL" && mech != "TLS-P":
		c.reply(504, "Only AUTH TLS is known.")
	case c.tls != nil:
		c.reply(503, "The connection is protected already.")
	case c.account != nil || c.onTransfer:
		// What was said in the clear, and by whom, must not carry over into the protected session.
		c.reply(503, "Not after login: AUTH TLS comes before USER.")
	case c.lr.buffered() > 0:
		// Commands behind AUTH in the clear would be taken for commands of the protected session.
		c.reply(503, "Data behind AUTH, closing.")
		c.hangUp("data behind AUTH")
	default:
		c.reply(234, "Start TLS.")
		c.flush()
		c.logOut()
		if err := c.startTLS(); err != nil {
			c.log.Debug("tls handshake failed", "error", err)
			c.wmu.Lock()
			c.deaf = true
			c.wmu.Unlock()
			c.hangUp("TLS handshake failed")
		}
	}
}

// cmdPbsz: RFC 4217 section 8: TLS needs no buffer, so it is always 0.
func (c *client) cmdPbsz(arg string) {
	if c.tls == nil {
		c.reply(503, "Send AUTH TLS first.")
		return
	}
	if _, err := strconv.ParseUint(strings.TrimSpace(arg), 10, 32); err != nil {
		c.reply(501, "Not a size.")
		return
	}
	c.pbsz = true
	c.reply(200, "PBSZ=0")
}

func (c *client) cmdProt(arg string) {
	level := strings.ToUpper(strings.TrimSpace(arg))
	switch {
	case c.tls == nil:
		c.reply(503, "Send AUTH TLS first.")
	case !c.pbsz: // RFC 2228 section 3
		c.reply(503, "Send PBSZ 0 first.")
	case level == "P":
		c.protect = true
		c.reply(200, "Data connections are private.")
	case level == "C" && c.srv.o.RequireDataTLS:
		c.reply(534, "Data connections must be private here.")
	case level == "C":
		c.protect = false
		c.reply(200, "Data connections are clear.")
	case level == "S" || level == "E":
		c.reply(536, "TLS knows P and C only.")
	default:
		c.reply(504, "Unknown level.")
	}
}

// cmdCcc: RFC 4217 section 12.3; going back to the clear is refused by policy.
func (c *client) cmdCcc(string) {
	if c.tls == nil {
		c.reply(533, "The connection is not protected.")
		return
	}
	c.reply(534, "The control connection stays protected.")
}
