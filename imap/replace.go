package imap

import (
	"errors"
	"io/fs"

	"github.com/packetboat/packetboat/imap/wire"
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
	var err error
	if a.old, err = c.replaced(set, t.uid()); err != nil {
		return err
	}
	v := c.view
	a.from = v.account
	if err := a.message(); err != nil || !c.d.EOL() {
		return err
	}
	done, err := c.srv.store.Replace(c.ctx(), a.u, a.target, v.account, v.id, a.old.UID)
	switch {
	case errors.Is(err, storage.ErrConflict):
		return errGone
	case errors.Is(err, fs.ErrNotExist):
		return errTryCreate // the mailbox went meanwhile; were it the one that is open, what follows tells it
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

// replaced is the message that a set of one names. A UID is looked for in the mailbox as it is now: that one came a moment ago was perhaps not told yet.
func (c *client) replaced(set wire.NumSet, uid bool) (storage.Entry, error) {
	p, n := c.view.snap, set.Ranges[0].Start
	if !uid || n == 0 {
		spans, err := c.view.resolve(set, uid, true)
		if err == nil && len(spans) == 0 {
			err = errGone
		}
		if err != nil {
			return storage.Entry{}, err
		}
		return p.At(spans[0].first), nil
	}
	p, err := c.newest()
	if err != nil {
		return storage.Entry{}, err
	}
	i, ok := p.Find(n)
	if !ok {
		return storage.Entry{}, errGone
	}
	return p.At(i), nil
}
