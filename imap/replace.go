package imap

import (
	"errors"

	"github.com/packetboat/packetboat/storage"
)

// replace is REPLACE and UID REPLACE (RFC 8508): APPEND of one message and the expunge of another, both or none.
func (c *client) replace(t *task) error {
	c.d.SP()
	set := c.d.NumSet()
	if c.d.Err() == nil && (set.Saved || len(set.Ranges) != 1 || set.Ranges[0].Start != set.Ranges[0].Stop) {
		c.d.Fail("Expected one message") // RFC 8508 section 5: a seq-number
	}
	c.d.SP()
	a := &appender{client: c, t: t}
	defer a.end()
	a.name = c.d.Mailbox()
	c.d.SP()
	if c.d.Err() != nil {
		return nil
	}
	v := c.view
	spans, err := v.resolve(set, t.uid(), true)
	if err != nil {
		return err
	}
	if count(spans) != 1 || t.uid() && set.Ranges[0].Start != 0 && v.snap.UID(spans[0].first) != set.Ranges[0].Start {
		return errGone
	}
	a.old, a.from = v.snap.At(spans[0].first), v.account
	if err := a.message(); err != nil || !c.d.EOL() {
		return err
	}
	done, err := c.srv.store.Replace(c.ctx(), a.u, a.target, v.account, v.id, a.old.UID)
	if errors.Is(err, storage.ErrConflict) {
		return errGone
	}
	if err != nil {
		return err
	}
	a.u = nil
	t.highest = c.condstore // RFC 8508 section 4.5: as after UID EXPUNGE
	// RFC 8508 section 4.3: before the EXPUNGE, so that the client knows what took the message's place
	c.e.Raw("* OK ")
	c.code(appendUID(a.box, []storage.Appended{done}))
	c.e.Raw("Replacement message ready").CRLF()
	return c.syncBut(true, t.uid(), &change{newFirst: true})
}
