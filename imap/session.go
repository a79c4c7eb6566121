package imap

import (
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage/watch"
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
	c.ses.SetEnd("logout")
	c.e.Raw("* BYE Logging out").CRLF()
	c.ok(t)
	return errClosed
}

// maxID is how many fields an ID may have (RFC 2971 section 3.3).
const maxID = 30

// id is ID (RFC 2971). What the client tells is shown in the list of sessions.
func (c *client) id(t *task) error {
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
	if c.identify(fields) {
		t.code = c.capabilities() // which have changed
	}
	c.e.Raw(`* ID ("name" "packetboat"`)
	if v := c.srv.o.Version; v != "" {
		c.e.Raw(" \"version\" ").String(v)
	}
	c.e.Raw(")").CRLF()
	return nil
}

// namespace is NAMESPACE (RFC 2342): one personal namespace, and that of other users, because what is shared are mailboxes of
// people and the next level is the name of the account (sections 2 and 5). Clients that tell the classes apart take the owner from there.
func (c *client) namespace(*task) error {
	if !c.d.EOL() {
		return nil
	}
	c.e.Raw(`* NAMESPACE (("" "/")) (("Shared/" "/")) NIL`).CRLF()
	return nil
}

// idling is an IDLE that was begun.
type idling struct {
	task *task
	sub  *watch.Subscription // nil when no mailbox is selected
	meta *watch.Subscription // of the account's annotations, if it wants to hear of them
}

// idle is IDLE (RFC 2177). It only begins: while the client waits, client.Read tells what is new, and the next line ends it.
func (c *client) idle(t *task) error {
	if !c.d.EOL() {
		return nil
	}
	c.e.Raw("+ idling").CRLF()
	c.idling = &idling{task: t}
	what := "IDLE"
	if c.view != nil {
		what += " " + c.view.name
		if c.notify == nil { // which has its own, and what it is told
			c.idling.sub = c.srv.store.Watch().Subscribe(c.view.topic(), 0, c.wake)
		}
	}
	if c.meta != nil {
		c.idling.meta = c.srv.store.Watch().Subscribe(watch.Topic{Account: c.account.ID}, 0, c.wake)
	}
	// What was committed before the subscription is seen now: the first Read looks.
	c.woken.Store(true)
	c.ses.Park(what)
	return errAnswered
}

// done ends IDLE with the line that lies in the decoder. A client that says its next command instead of DONE, as some do, ends it too: the
// command runs (RFC 2177 section 3 forbids it to the client; a BAD for IDLE and no answer to the command would leave both sides waiting).
func (c *client) done() error {
	t := c.idling.task
	t.text = "IDLE terminated"
	if isCommand(c.d.Rest()) {
		c.stopIdling()
		if c.wants(wire.MessageEvents) {
			if err := c.sync(true, false); err != nil {
				return err
			}
		}
		c.ok(t)
		c.ses.Done()
		return c.command()
	}
	c.stopIdling()
	word := c.d.Text()
	err := c.d.Err()
	if err == nil && !strings.EqualFold(word, "DONE") {
		err = &wire.Error{Text: "Expected DONE"}
	}
	if err = c.answer(t, err); err == nil {
		c.ses.Done()
	}
	return err
}

// isCommand tells whether a line begins like one.
func isCommand(line string) bool {
	tag, rest, _ := strings.Cut(line, " ")
	word, rest, _ := strings.Cut(rest, " ")
	if strings.EqualFold(word, "UID") {
		next, _, _ := strings.Cut(rest, " ")
		word += " " + next
	}
	return tag != "" && commands[strings.ToUpper(word)] != nil
}

func (c *client) stopIdling() {
	if c.idling != nil {
		for _, s := range []*watch.Subscription{c.idling.sub, c.idling.meta} {
			if s != nil {
				s.Close()
			}
		}
	}
	c.idling = nil
}
