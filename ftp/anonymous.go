package ftp

import (
	"strings"

	"github.com/packetboat/packetboat/storage"
)

// isAnonymous tells whether user is one of the names under which nobody is to be known (RFC 1635), where that is allowed.
func (s *Server) isAnonymous(user string) bool {
	return s.o.Anonymous != "" && (strings.EqualFold(user, "anonymous") || strings.EqualFold(user, "ftp"))
}

// begin makes the client at home in the tree of an account, as a guest or as itself.
func (c *client) begin(account *storage.Account, guest bool, code int) {
	c.account, c.guest = account, guest
	if guest {
		c.tree = c.srv.fs.Anonymous(account)
		c.reply(code, "Welcome, guest.")
		return
	}
	c.tree = c.srv.fs.Tree(account)
	if err := c.tree.Arrive(c.ctx); err != nil {
		c.log.Warn("no folder for the account", "error", err, "cause", cause(err))
	}
	if c.restore() {
		c.reply(code, "Welcome back, in "+quote(c.cwd)+".")
		return
	}
	c.reply(code, "Welcome.")
}

// payer is under which number is counted what the client uses of the server, as an account does: the anonymous have one together, so that they take nothing from the
// account whose files they see.
func (c *client) payer() int64 {
	if c.guest {
		return -c.account.ID
	}
	return c.account.ID
}

// loginAnonymous is PASS after USER anonymous. RFC 1635: the password is by custom an e-mail address. It is shown in the session list if it looks like one: what
// does not may be a password that was typed into the wrong program.
func (c *client) loginAnonymous(password string) (*storage.Account, error) {
	account, err := c.srv.door.Anonymous(c.sess.Context(), c.sess, c.srv.o.Anonymous, c.srv.o.AnonymousSessions)
	if err == nil && strings.Contains(password, "@") {
		c.sess.SetClient(strings.TrimSpace(c.sess.Info().Client + " " + password))
	}
	return account, err
}
