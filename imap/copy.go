package imap

import (
	"fmt"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// transfer reads the arguments of COPY and MOVE. No spans: there is nothing to be done.
func (c *client) transfer(t *task) (spans []span, to storage.Mailbox, err error) {
	c.d.SP()
	set := c.d.NumSet()
	c.d.SP()
	name := c.d.Mailbox()
	if !c.d.EOL() {
		return nil, to, nil
	}
	if spans, err = c.named(t, set); err != nil {
		return nil, to, err
	}
	if to, err = c.target(name); err != nil {
		return nil, to, err
	}
	c.ses.SetActivity(fmt.Sprintf("%s %d messages to %s", t.name, count(spans), to.Name))
	return spans, to, nil
}

// copy is COPY and UID COPY (RFC 9051 section 6.4.7).
func (c *client) copy(t *task) error {
	spans, to, err := c.transfer(t)
	if err != nil || len(spans) == 0 {
		return err
	}
	if err := c.mayCopy(spans); err != nil {
		return err
	}
	uids := c.view.uids(spans)
	done, err := c.srv.store.Copy(c.ctx(), c.view.account, c.view.id, uids, to.Destination())
	if err != nil {
		return err
	}
	if len(done.From) == 0 {
		return errGone // others expunged all of them (RFC 2180 section 4.4)
	}
	t.code = copyUID(to, done)
	t.expunged = len(done.From) < len(uids)
	return nil
}

// move is MOVE and UID MOVE (RFC 9051 section 6.4.8). The EXPUNGEs come with the updates at the end of the command. What was moved before an error
// is told too.
func (c *client) move(t *task) error {
	spans, to, err := c.transfer(t)
	if err != nil || len(spans) == 0 {
		return err
	}
	done, err := c.srv.store.Move(c.ctx(), c.view.account, c.view.id, c.view.uids(c.bound(t, spans)), to.Destination())
	if len(done.From) > 0 {
		c.e.Raw("* OK ") // RFC 6851 section 4.3: before the EXPUNGEs
		c.code(copyUID(to, done))
		c.e.Raw("Moved").CRLF()
		t.highest = true // RFC 6851 section 4.4
	} else if err == nil {
		return errGone
	}
	return err
}

// copyUID is the COPYUID code (RFC 4315 section 3). Who cannot read the mailbox is not told.
func copyUID(to storage.Mailbox, d storage.Copied) string {
	if !to.Rights.Has(storage.MayRead) {
		return ""
	}
	b := fmt.Appendf(nil, "COPYUID %d ", d.UIDValidity)
	b = append(wire.AppendSet(b, d.From), ' ')
	return string(wire.AppendSet(b, d.To))
}

// expunge is EXPUNGE and UID EXPUNGE (RFC 9051 sections 6.4.3 and 6.4.9).
func (c *client) expunge(t *task) error {
	v := c.view
	var uids []uint32
	if t.uid() {
		c.d.SP()
		set := c.d.NumSet()
		if !c.d.EOL() {
			return nil
		}
		spans, err := c.named(t, set)
		if err != nil {
			return err
		}
		if spans = c.bound(t, deleted(v.snap, spans)); len(spans) == 0 {
			return nil
		}
		uids = v.uids(spans)
	} else if !c.d.EOL() {
		return nil
	}
	gone, err := c.srv.store.Expunge(c.ctx(), v.account, v.id, uids, false)
	t.highest = c.condstore && len(gone) > 0 // RFC 7162 sections 3.2.7 and 3.2.9
	return err
}

// deleted keeps the messages of spans that have \Deleted.
func deleted(p *storage.Snapshot, spans []span) []span {
	return filter(spans, func(i int) bool { return p.At(i).Flags&storage.Deleted != 0 })
}
