package ftp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/packetboat/packetboat/auth/session"
)

// sessionTLS is the configuration of one control connection and its data connections. Its ticket keys are this session's own: a data
// connection that resumes proves that its client holds the control connection's secrets (RFC 4217 section 12).
func (c *client) sessionTLS() (*tls.Config, error) {
	conf := c.srv.o.TLS
	if conf.GetConfigForClient != nil {
		now, err := conf.GetConfigForClient(&tls.ClientHelloInfo{Conn: c.raw})
		if err != nil {
			return nil, err
		}
		if now != nil {
			conf = now
		}
	}
	conf = conf.Clone()
	conf.GetConfigForClient = nil
	conf.NextProtos = []string{"ftp"} // a client that speaks another protocol here is refused; one without ALPN is not
	if !c.srv.o.tickets(c.sess.Listener()) {
		conf.SessionTicketsDisabled = true
		return conf, nil
	}
	var key [32]byte
	rand.Read(key[:])
	conf.SetSessionTicketKeys([][32]byte{key})
	return conf, nil
}

// dataTLS is the configuration of the data connections: the same keys, no ALPN (clients offer none there, or anything).
func dataTLS(control *tls.Config) *tls.Config {
	conf := control.Clone()
	conf.NextProtos = nil
	conf.DynamicRecordSizingDisabled = true
	return conf
}

// uploadTLS is dataTLS without a ticket for the client, as far as that is TLS 1.3. A client that only sends does not read the ticket; when it
// closes its socket with that unread, its system resets the connection and throws away what was not sent yet, which is the end of the upload. Where
// the client reads, it meets the ticket on the way, and gets a new one for its next connection (RFC 8446 appendix C.4).
//
// crypto/tls knows tickets only as on or off. Both hooks run after it has looked whether the client may resume and before it would send one;
// the copy belongs to one connection, whose handshake is run by one goroutine.
func uploadTLS(data *tls.Config) *tls.Config {
	if data.SessionTicketsDisabled || data.GetCertificate == nil && len(data.Certificates) == 0 {
		return data
	}
	conf := data.Clone()
	conf.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		state, err := data.DecryptTicket(identity, cs)
		if err == nil && state != nil && cs.Version == tls.VersionTLS13 {
			conf.SessionTicketsDisabled = true
		}
		return state, err
	}
	conf.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { // no resumption, then
		conf.SessionTicketsDisabled = slices.Contains(hello.SupportedVersions, tls.VersionTLS13)
		return chooseCertificate(data, hello)
	}
	conf.Certificates = nil // else it would not be asked when there is no SNI
	return conf
}

// chooseCertificate is what crypto/tls chooses itself, for those who set GetCertificate for another purpose.
func chooseCertificate(conf *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if conf.GetCertificate != nil {
		if cert, err := conf.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	for i := range conf.Certificates {
		if hello.SupportsCertificate(&conf.Certificates[i]) == nil {
			return &conf.Certificates[i], nil
		}
	}
	if len(conf.Certificates) == 0 {
		return nil, errors.New("tls: no certificate")
	}
	return &conf.Certificates[0], nil
}

// provenTLS is dataTLS whose tickets are of use only to who resumed: whoever comes to a data connection first is sent one in the handshake, before he can
// be refused, and would resume with it when he comes the second time.
func provenTLS(data *tls.Config) *tls.Config {
	conf := data.Clone()
	conf.WrapSession = func(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
		if cs.DidResume {
			return data.EncryptTicket(cs, state)
		}
		ticket := make([]byte, 32)
		rand.Read(ticket)
		return ticket, nil
	}
	return conf
}

// config is the configuration of a data connection.
func (d *dataConn) config() *tls.Config {
	conf := d.c.tls
	if d.required() {
		conf = provenTLS(conf)
	}
	if d.t != nil && d.t.creates {
		conf = uploadTLS(conf)
	}
	return conf
}

// required tells whether the data connections of this session must resume.
func (d *dataConn) required() bool {
	c := d.c
	return c.srv.o.reuse(c.sess.Listener(), c.account.Name) == ReuseRequire
}

// resumed judges whether the handshake of a data connection proved whose it is.
func (d *dataConn) resumed(cs tls.ConnectionState) error {
	if cs.DidResume || !d.required() {
		return nil
	}
	c := d.c
	if control, ok := c.sess.TLS(); ok && len(control.PeerCertificates) > 0 && len(cs.PeerCertificates) > 0 && control.PeerCertificates[0].Equal(cs.PeerCertificates[0]) {
		return nil // the same client's certificate is as good
	}
	c.log.Info("data connection without the control connection's TLS session refused", "do", "see ftp.data_tls_reuse, should the client not know how")
	return refuse(522, "The data connection must resume the control connection's TLS session.")
}

// startTLS does the handshake on the control connection.
func (c *client) startTLS() error {
	conf, err := c.sessionTLS()
	if err != nil {
		return err
	}
	c.hostCertificate(conf)
	conn, err := session.Handshake(context.WithoutCancel(c.ctx), c.raw, conf)
	if err != nil {
		return err
	}
	c.wmu.Lock()
	c.conn = conn
	c.wmu.Unlock()
	c.lr = c.lines(conn)
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
