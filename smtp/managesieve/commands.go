package managesieve

import (
	"bytes"
	"strconv"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/smtp/sieve"
)

// command is a row of the table. args are the kinds of its arguments ("s" string, "n" number), the last one optional with a "?" behind it. run gives lines to be sent before
// the answer; without an answer the connection is over, with an empty one everything was said.
type command struct {
	states states
	args   string
	run    func(c *client, args []argument) ([]byte, *answer)
}

var commands map[string]command

func init() { // its functions look into the table
	commands = map[string]command{
		"AUTHENTICATE":   {before, "ss?", (*client).authenticate},
		"STARTTLS":       {before, "", (*client).startTLS},
		"LOGOUT":         {before | after, "", (*client).logout},
		"CAPABILITY":     {before | after, "", (*client).capability},
		"NOOP":           {before | after, "s?", (*client).noop},
		"UNAUTHENTICATE": {after, "", (*client).unauthenticate},
		"HAVESPACE":      {after, "sn", (*client).haveSpace},
		"PUTSCRIPT":      {after, "ss", (*client).putScript},
		"CHECKSCRIPT":    {after, "s", (*client).checkScript},
		"LISTSCRIPTS":    {after, "", (*client).listScripts},
		"SETACTIVE":      {after, "s", (*client).setActive},
		"GETSCRIPT":      {after, "s", (*client).getScript},
		"DELETESCRIPT":   {after, "s", (*client).deleteScript},
		"RENAMESCRIPT":   {after, "ss", (*client).renameScript},
	}
}

const farewell = "bye"

func (c *client) logout([]argument) ([]byte, *answer) {
	c.ses.SetEnd("logout")
	return nil, ok(farewell)
}

func (c *client) capability([]argument) ([]byte, *answer) {
	return c.capabilities(), ok("")
}

// noop is NOOP (RFC 5804 section 2.13).
func (c *client) noop(args []argument) ([]byte, *answer) {
	done := ok("done")
	if len(args) == 1 {
		if len(args[0].text) > 1024 {
			return nil, no("", "the tag is too long")
		}
		done.code = "TAG " + string(quote(args[0].text))
	}
	return nil, done
}

// startTLS is STARTTLS (section 2.2): what was sent in clear behind it is dropped, and the capabilities are told anew.
func (c *client) startTLS([]argument) ([]byte, *answer) {
	if _, on := c.ses.TLS(); on || c.srv.o.TLS == nil {
		return nil, no("", "TLS is not available, or active already")
	}
	if err := c.write(ok("begin TLS negotiation").append(nil)); err != nil {
		return nil, nil
	}
	if n := len(c.reader.buf); n > 0 {
		c.log.Warn("plaintext behind STARTTLS dropped", "bytes", n)
		c.reader.buf = nil
	}
	conn, err := session.Handshake(c.ses.Context(), c.reader.conn, c.srv.o.TLS)
	if err != nil {
		c.log.Debug("tls handshake failed", "error", err)
		return nil, nil
	}
	c.reader.conn = conn
	return c.capabilities(), ok("TLS is active")
}

// unauthenticate is UNAUTHENTICATE (section 2.14.1).
func (c *client) unauthenticate([]argument) ([]byte, *answer) {
	c.account = nil
	c.ses.Logout()
	return nil, ok("logged out")
}

func (c *client) haveSpace(args []argument) ([]byte, *answer) {
	if err := c.srv.store.MayPutSieve(c.ses.Context(), c.account.ID, args[0].text, args[1].number, c.srv.o.Limits); err != nil {
		return nil, c.failed("have space", err)
	}
	return nil, ok("there is room")
}

// checked tells what is wrong with a script.
func checked(text string) *answer {
	if _, err := sieve.Compile(text); err != nil {
		return no("", "%s", err.Error())
	}
	return nil
}

func (c *client) putScript(args []argument) ([]byte, *answer) {
	if a := checked(args[1].text); a != nil {
		return nil, a
	}
	if err := c.srv.store.PutSieve(c.ses.Context(), c.account.ID, args[0].text, []byte(args[1].text), c.srv.o.Limits); err != nil {
		return nil, c.failed("put script", err)
	}
	return nil, ok("stored")
}

func (c *client) checkScript(args []argument) ([]byte, *answer) {
	if int64(len(args[0].text)) > c.srv.o.Limits.Size {
		return nil, no("QUOTA/MAXSIZE", "the script is too large")
	}
	if a := checked(args[0].text); a != nil {
		return nil, a
	}
	return nil, ok("the script is valid")
}

func (c *client) listScripts([]argument) ([]byte, *answer) {
	all, err := c.srv.store.SieveScripts(c.ses.Context(), c.account.ID)
	if err != nil {
		return nil, c.failed("list scripts", err)
	}
	var b bytes.Buffer
	for _, s := range all {
		b.Write(quote(s.Name))
		if s.Active {
			b.WriteString(" ACTIVE")
		}
		b.Write(crlf)
	}
	return b.Bytes(), ok("listed")
}

func (c *client) setActive(args []argument) ([]byte, *answer) {
	if err := c.srv.store.ActivateSieve(c.ses.Context(), c.account.ID, args[0].text); err != nil {
		return nil, c.failed("set active", err)
	}
	return nil, ok("done")
}

func (c *client) getScript(args []argument) ([]byte, *answer) {
	text, err := c.srv.store.SieveScript(c.ses.Context(), c.account.ID, args[0].text)
	if err != nil {
		return nil, c.failed("get script", err)
	}
	// A literal whatever it holds: some clients know no other form here.
	b := append([]byte("{"+strconv.Itoa(len(text))+"}\r\n"), text...)
	return append(b, crlf...), ok("done")
}

func (c *client) deleteScript(args []argument) ([]byte, *answer) {
	if err := c.srv.store.RemoveSieve(c.ses.Context(), c.account.ID, args[0].text); err != nil {
		return nil, c.failed("delete script", err)
	}
	return nil, ok("deleted")
}

func (c *client) renameScript(args []argument) ([]byte, *answer) {
	if err := c.srv.store.RenameSieve(c.ses.Context(), c.account.ID, args[0].text, args[1].text); err != nil {
		return nil, c.failed("rename script", err)
	}
	return nil, ok("renamed")
}
