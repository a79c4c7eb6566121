package ftp

import (
	"errors"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

const tlsFirst = "TLS required: send AUTH TLS first."

func (c *client) cmdUser(arg string) {
	switch {
	case c.account != nil:
		c.reply(530, "Already logged in. Connect anew to be somebody else.")
	case c.srv.isAnonymous(arg): // there is no secret that TLS would have to protect
		c.user = arg
		c.reply(331, "Any password will do: your e-mail address, please.")
	case !c.srv.door.PlaintextAllowed(c.sess):
		c.reply(530, tlsFirst)
	case c.loginCertificate(c.loginName(arg)):
	default:
		// The answer is the same whether there is such a user or not.
		c.user = arg
		c.reply(331, "Password, please.")
	}
}

// loginCertificate logs in who showed a certificate of user's in the TLS handshake, and tells whether that was answered. Others are asked for a password.
//
// RFC 2228 section 3: 232 says that the security data exchange was enough. RFC 4217 section 10 leaves it to the server which certificate is whose.
func (c *client) loginCertificate(user string) bool {
	account, ok, err := c.srv.door.LoginCertificate(c.sess.Context(), c.sess, user)
	switch {
	case err != nil:
		c.loginFailed(err)
	case ok:
		c.user = ""
		c.begin(account, false, 232)
	}
	return ok || err != nil
}

func (c *client) cmdPass(arg string) {
	switch {
	case c.account != nil:
		c.reply(503, "Already logged in.")
		return
	case c.user == "":
		c.reply(503, "Send USER first.")
		return
	}
	user, guest := c.loginName(c.user), c.srv.isAnonymous(c.user)
	c.user = ""
	var account *storage.Account
	var err error
	if guest {
		account, err = c.loginAnonymous(arg)
	} else {
		account, err = c.srv.door.Login(c.sess.Context(), c.sess, user, arg)
	}
	if err == nil {
		c.begin(account, guest, 230)
		return
	}
	c.loginFailed(err)
}

func (c *client) loginFailed(err error) {
	a, last := loginReply(err)
	if errors.Is(err, storage.ErrTemporary) {
		c.log.Warn("login failed", "error", err)
	}
	c.reply(a.code, a.text)
	if last {
		c.hangUp(err.Error())
	}
}

// loginReply is the answer to a login that failed, and whether it is the last.
func loginReply(err error) (a answer, last bool) {
	switch {
	case errors.Is(err, auth.ErrTooMany):
		return answer{421, "Too many failed logins, closing."}, true
	case errors.Is(err, auth.ErrThrottled):
		return answer{530, "Too many failed logins, try again later."}, false
	case errors.Is(err, auth.ErrPlaintext):
		return answer{530, tlsFirst}, false
	case errors.Is(err, session.ErrLimit):
		return answer{421, "Too many sessions: " + oneLine(err.Error()) + "."}, true
	case errors.Is(err, auth.ErrCredentials):
		return answer{530, "Login incorrect."}, false
	}
	return answer{421, "Temporary failure, try again later."}, true
}

// cmdRein makes the session new. RFC 4217 section 13 wants TLS to end with it, so that the next password could be sent in the
// clear by mistake; on a protected connection it is refused.
func (c *client) cmdRein(string) {
	if c.tls != nil {
		c.reply(502, "Not on a protected connection: connect anew.")
		return
	}
	c.logOut()
	c.host = nil // RFC 7151 section 3.2.1
	c.reply(220, c.srv.o.Name+" FTP server ready.")
}

// logOut brings the executor's state back to what it is after accept.
func (c *client) logOut() {
	c.dropPlan()
	c.dropEngine()
	c.noteVisit()
	if c.account != nil {
		c.sess.Logout()
		c.sess.Open("")
	}
	c.account, c.guest, c.tree, c.user, c.told = nil, false, nil, "", told{}
	c.cwd, c.renameFrom = "/", ""
	c.resetParameters()
	c.askedType, c.forget = "", false
	c.epsvAll, c.pbsz, c.protect = false, false, false
}

func (c *client) cmdQuit(string) {
	c.noteVisit() // before the reply: the client may be back at once
	c.forget = true
	c.reply(221, "Goodbye.")
	c.hangUp("quit")
}
