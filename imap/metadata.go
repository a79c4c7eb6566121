package imap

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// Entries that are computed and not stored.
const (
	entryAdmin = "/shared/admin"       // of the server: where its administrator is reached (RFC 5464 section 3.2.1.1)
	entryUse   = "/private/specialuse" // of a mailbox: its special use (RFC 6154 section 4)
)

// Refusals of SETMETADATA.
var (
	errValueSize = &wire.Error{No: true, Code: fmt.Sprintf("METADATA MAXSIZE %d", storage.AnnotationMax), Text: "Value too long"}
	errTooMany   = &wire.Error{No: true, Code: "METADATA TOOMANY", Text: "Too many entries"}
	errReadOnly  = &wire.Error{No: true, Code: "CANNOT", Text: "The entry cannot be changed"}
	errServerSet = &wire.Error{No: true, Code: "NOPERM", Text: "Only administrators change shared entries of the server"}
	errSpecial   = &wire.Error{No: true, Code: "USEATTR", Text: "The mailbox cannot have that special use"}
)

// annotated is the mailbox whose entries a command is about; the one with id 0 is the server.
//
// RFC 5464 section 3.3: the right l is needed, and one of r, s, w, i and p.
func (c *client) annotated(name string) (storage.Mailbox, error) {
	if name == "" {
		return storage.Mailbox{}, nil
	}
	box, err := c.mailbox(name, storage.MayLookup)
	if err == nil && !box.Rights.Any(storage.AnnotationRights) {
		err = errNoPerm
	}
	return box, err
}

// viewer is whose private entries the client sees in name's scope; 0 for shared ones.
func (c *client) viewer(name string) int64 {
	if storage.IsPrivate(name) {
		return c.account.ID
	}
	return 0
}

// getMetadata is GETMETADATA (RFC 5464 section 4.2).
func (c *client) getMetadata(t *task) error {
	c.d.SP()
	o := c.d.GetMetadata()
	if !c.d.EOL() {
		return nil
	}
	box, err := c.annotated(o.Mailbox)
	if err != nil {
		return err
	}
	if o.Depth == 0 && o.MaxSize < 0 {
		return c.tellEntries(box, o.Entries, false)
	}
	w := &entryWriter{client: c, box: box.Name}
	longest := -1
	for _, name := range o.Entries {
		list, err := c.srv.store.Annotations(c.ctx(), box.ID, c.viewer(name), name, o.Depth)
		if err != nil {
			return err
		}
		for _, a := range append(list, c.computed(box, name, o.Depth)...) {
			if o.MaxSize >= 0 && int64(len(a.Value)) > o.MaxSize {
				longest = max(longest, len(a.Value))
				continue
			}
			w.add(a.Name, a.Value)
		}
		if len(list) == 0 && o.Depth == 0 {
			w.add(name, nil)
		}
	}
	if !w.told && longest < 0 {
		w.add(o.Entries[0], nil) // the response is required
	}
	w.end()
	if longest >= 0 {
		t.code = fmt.Sprintf("METADATA LONGENTRIES %d", longest) // RFC 5464 section 4.2.1
	}
	return nil
}

// markBare notes which mailboxes of the account have no entries at all, so that LIST need not ask for those of each.
func (c *client) markBare(rows []listed) error {
	annotated, err := c.srv.store.Annotated(c.ctx(), c.account.ID)
	for i := range rows {
		rows[i].bare = rows[i].Owner == "" && !annotated[rows[i].ID]
	}
	return err
}

// tellEntries tells the values of entries, NIL of those that have none. bare: the mailbox is known to have none that is stored.
func (c *client) tellEntries(box storage.Mailbox, names []string, bare bool) (err error) {
	var values map[string][]byte
	if !bare {
		if values, err = c.srv.store.AnnotationsNamed(c.ctx(), box.ID, c.account.ID, names); err != nil {
			return err
		}
	}
	w := &entryWriter{client: c, box: box.Name}
	for _, name := range names {
		v, ok := values[name]
		if !ok {
			for _, a := range c.computed(box, name, 0) {
				v = a.Value
			}
		}
		w.add(name, v)
	}
	w.end()
	return nil
}

// computed are the entries that are not stored, as Store.Annotations gives the others.
func (c *client) computed(box storage.Mailbox, name string, depth int) []storage.Annotation {
	entry, value := entryUse, ""
	if box.ID == 0 {
		// RFC 5321 section 4.5.1: postmaster is there in each domain
		_, domain, _ := strings.Cut(c.account.Name, "@")
		entry, value = entryAdmin, "mailto:postmaster@"+domain
	} else if box.Role != "" {
		value = `\` + box.Role
	}
	rest, below := strings.CutPrefix(entry, name+"/")
	if value == "" || entry != name && (!below || depth == 0 || depth == 1 && strings.Contains(rest, "/")) {
		return nil
	}
	return []storage.Annotation{{Name: entry, Value: []byte(value)}}
}

// entryWriter writes METADATA responses with values; a long one is ended and another begun.
type entryWriter struct {
	*client
	box  string
	open bool
	told bool
}

// add adds an entry; a value that is nil is NIL.
func (w *entryWriter) add(name string, value []byte) {
	if w.open && w.e.Pending() > copyMax {
		w.end()
	}
	if w.open {
		w.e.Raw(" ")
	} else {
		w.e.Raw("* METADATA ").Mailbox(w.box).Raw(" (")
	}
	w.open, w.told = true, true
	w.e.Set(wire.AppendAString(w.e.Buf(), name))
	w.e.Raw(" ")
	if value == nil {
		w.e.Raw("NIL")
		return
	}
	w.e.Set(wire.AppendValue(w.e.Buf(), string(value), w.utf8))
}

func (w *entryWriter) end() {
	if w.open {
		w.e.Raw(")").CRLF()
		w.open = false
	}
}

// setMetadata is SETMETADATA (RFC 5464 section 4.3): all entries are set or none.
func (c *client) setMetadata(*task) error {
	c.d.TooLong = errValueSize
	c.d.SP()
	name, values := c.d.SetMetadata()
	if !c.d.EOL() {
		return nil
	}
	box, err := c.annotated(name)
	if err != nil {
		return err
	}
	list := make([]storage.AnnotationChange, 0, len(values))
	var role *string
	for i := range values {
		v := &values[i]
		switch {
		case len(v.Value) > storage.AnnotationMax:
			return errValueSize
		case box.ID == 0 && v.Entry == entryAdmin:
			return errReadOnly
		case box.ID == 0 && !storage.IsPrivate(v.Entry):
			if err := c.mustAdmin(errServerSet); err != nil {
				return err
			}
		case box.ID != 0 && v.Entry == entryUse:
			r, ok := specialUse(v)
			if !ok || box.Owner != "" {
				return errSpecial
			}
			role = &r
			continue
		}
		list = append(list, storage.AnnotationChange{Annotation: storage.Annotation{Name: v.Entry, Value: []byte(v.Value)}, Remove: v.Nil})
	}
	seq, was, err := c.srv.store.SetAnnotations(c.ctx(), c.account.ID, box.Account, box.ID, list, role)
	switch {
	case errors.Is(err, storage.ErrLimit):
		return errTooMany
	case errors.Is(err, storage.ErrConflict):
		return errSpecial
	case err != nil:
		return err
	}
	if m := c.notes(); m != nil {
		m.own = append(m.own, seq)
	}
	if was.ID != 0 {
		// RFC 6154 section 5.4: the mailbox that had the special use has it no more
		w := &entryWriter{client: c, box: was.Name}
		w.add(entryUse, nil)
		w.end()
	}
	return nil
}

// mustAdmin is refused unless the account is an administrator's, now.
func (c *client) mustAdmin(refused error) error {
	a, err := c.srv.store.Account(c.ctx(), c.account.ID)
	if err == nil && !a.Admin {
		err = refused
	}
	return err
}

// specialUse reads a value of /private/specialuse: one attribute, or none.
func specialUse(v *wire.EntryValue) (role string, ok bool) {
	uses := strings.Fields(v.Value)
	if len(uses) == 0 {
		return "", true
	}
	role, ok = roles[strings.ToLower(uses[0])]
	return role, ok && len(uses) == 1
}

// noted is how far a client was told of annotations that others changed.
type noted struct {
	seq int64
	own []int64 // changes of its own since
	// wants tells whether the client wants to hear of a mailbox's entries; nil: of all.
	wants func(mailbox string) bool
}

// notes is how far the client was told; nil when it is told nothing. NOTIFY goes before ENABLE METADATA.
func (c *client) notes() *noted {
	if c.notify != nil {
		return c.notify.meta
	}
	return c.meta
}

// tellNoted tells which entries others changed (RFC 5464 section 4.4.2), if the client wants to hear it.
func (c *client) tellNoted() error {
	m := c.notes()
	if m == nil {
		return nil
	}
	for m.seq < c.srv.store.AnnotationSeq() {
		notes, last, err := c.srv.store.AnnotationsSince(c.ctx(), c.account.ID, m.seq)
		if err != nil {
			return err
		}
		m.tell(c, notes)
		m.seq = last
	}
	m.own = m.own[:0]
	return nil
}

// tell writes a response for each mailbox in a row.
func (m *noted) tell(c *client, notes []storage.AnnotationNote) {
	open, box := false, ""
	for _, n := range notes {
		if slices.Contains(m.own, n.Seq) || m.wants != nil && !m.wants(n.Mailbox) {
			continue
		}
		if open && n.Mailbox != box {
			c.e.CRLF()
			open = false
		}
		if !open {
			c.e.Raw("* METADATA ").Mailbox(n.Mailbox)
			open, box = true, n.Mailbox
		}
		c.e.Raw(" ")
		c.e.Set(wire.AppendAString(c.e.Buf(), n.Entry))
	}
	if open {
		c.e.CRLF()
	}
}
