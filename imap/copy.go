package imap

import (
	"fmt"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// transfer reads the arguments of COPY and MOVE. ok false: there is nothing to be done.
func (c *client) transfer(t *task) (uids []uint32, to storage.Mailbox, ok bool, err error) {
	c.d.SP()
	set := c.d.NumSet()
	c.d.SP()
	name := c.d.Mailbox()
	if !c.d.EOL() {
		return nil, to, false, nil
	}
	spans, err := c.named(t, set)
	if err != nil {
		return nil, to, false, err
	}
	if to, err = c.target(name); err != nil {
		return nil, to, false, err
	}
	c.ses.SetActivity(fmt.Sprintf("%s %d messages to %s", t.name, count(spans), to.Name))
	return c.view.uids(spans), to, len(spans) > 0, nil
}

// copy is COPY and UID COPY (RFC 9051 section 6.4.7).
func (c *client) copy(t *task) error {
	uids, to, ok, err := c.transfer(t)
	if !ok {
		return err
	}
	done, err := c.srv.store.Copy(c.ctx(), c.view.account, c.view.id, uids, to.Destination())
	if err != nil {
		return err
	}
	if t.code = copyUID(done); t.code == "" {
		return errGone // others expunged all of them (RFC 2180 section 4.4)
	}
	return nil
}

// move is MOVE and UID MOVE (RFC 9051 section 6.4.8). The EXPUNGEs come with the updates at the end of the command.
func (c *client) move(t *task) error {
	uids, to, ok, err := c.transfer(t)
	if !ok {
		return err
	}
	done, err := c.srv.store.Move(c.ctx(), c.view.account, c.view.id, uids, to.Destination())
	if err != nil {
		return err
	}
	code := copyUID(done)
	if code == "" {
		return errGone
	}
	c.e.Raw("* OK [", code, "] Moved").CRLF() // RFC 6851 section 4.3: before the EXPUNGEs
	return nil
}

// copyUID is the COPYUID code (RFC 4315 section 3); "" when nothing was copied.
func copyUID(d storage.Copied) string {
	if len(d.From) == 0 {
		return ""
	}
	b := fmt.Appendf(nil, "COPYUID %d ", d.UIDValidity)
	b = append(wire.AppendSet(b, d.From), ' ')
	return string(wire.AppendSet(b, d.To))
}

// expunge is EXPUNGE and UID EXPUNGE (RFC 9051 sections 6.4.3 and 6.4.9).
func (c *client) expunge(t *task) error {
	v := c.view
	if !t.uid() {
		if !c.d.EOL() {
			return nil
		}
		_, err := c.srv.store.Expunge(c.ctx(), v.account, v.id, nil, false)
		return err
	}
	c.d.SP()
	set := c.d.NumSet()
	if !c.d.EOL() {
		return nil
	}
	spans, err := c.named(t, set)
	if err != nil || len(spans) == 0 {
		return err
	}
	_, err = c.srv.store.Expunge(c.ctx(), v.account, v.id, v.uids(spans), false)
	return err
}
