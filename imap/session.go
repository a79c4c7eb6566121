package imap

import (
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
)

func (c *client) noop(*task) error {
	c.d.EOL()
	return nil
}

// check is CHECK (RFC 3501 section 6.4.1). Everything is on disk already.
func (c *client) check(*task) error {
	c.d.EOL()
	return nil
}

// logout is LOGOUT (RFC 9051 section 6.1.3).
func (c *client) logout(t *task) error {
	if !c.d.EOL() {
		return nil
	}
	c.e.Raw("* BYE Logging out").CRLF()
	c.ok(t)
	return errClosed
}

// maxID is how many fields an ID may have (RFC 2971 section 3.3).
const maxID = 30

// id is ID (RFC 2971). What the client tells is shown in the list of sessions.
func (c *client) id(*task) error {
	c.d.SP()
	fields := map[string]string{}
	if c.d.Peek('(') {
		key, odd, n := "", false, 0
		c.d.List(func() {
			if n++; n > 2*maxID {
				c.d.Reject(&wire.Error{Code: "LIMIT", Text: "Too many fields"})
				return
			}
			if odd = !odd; odd {
				key = strings.ToLower(c.d.String())
				return
			}
			if v, ok := c.d.NString(); ok {
				fields[key] = v
			}
		})
		if odd {
			c.d.Fail("A field without a value")
		}
	} else if _, ok := c.d.NString(); ok {
		c.d.Fail("Expected a list or NIL")
	}
	if !c.d.EOL() {
		return nil
	}
	if name := strings.TrimSpace(fields["name"] + " " + fields["version"]); name != "" {
		c.ses.SetClient(name)
	}
	c.e.Raw("* ID (\"name\" ").String(c.srv.o.Name)
	if v := c.srv.o.Version; v != "" {
		c.e.Raw(" \"version\" ").String(v)
	}
	c.e.Raw(")").CRLF()
	return nil
}

// namespace is NAMESPACE (RFC 2342): one personal namespace.
func (c *client) namespace(*task) error {
	if !c.d.EOL() {
		return nil
	}
	c.e.Raw(`* NAMESPACE (("" "/")) NIL NIL`).CRLF()
	return nil
}

// idle is IDLE (RFC 2177). While it waits, client.Read tells what is new.
func (c *client) idle(t *task) error {
	if !c.d.EOL() {
		return nil
	}
	c.e.Raw("+ idling").CRLF()
	if c.view != nil {
		c.ses.SetActivity("IDLE " + c.view.name)
		sub := c.srv.store.Watch().Subscribe(c.view.topic(), 0, c.wake)
		defer sub.Close()
	}
	// What was committed before the subscription is seen now: the first Read looks.
	c.woken.Store(true)
	c.listening = true
	err := c.d.Next()
	c.listening = false
	if err != nil {
		return err
	}
	if word := c.d.Text(); c.d.Err() == nil && !strings.EqualFold(word, "DONE") {
		return &wire.Error{Text: "Expected DONE"}
	}
	t.text = "IDLE terminated"
	return nil
}
