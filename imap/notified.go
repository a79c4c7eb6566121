package imap

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/watch"
)

// tellNotified tells what NOTIFY asked for and is new. It is called while the client waits, in IDLE or between two commands.
//
//go:noinline
func (c *client) tellNotified() error {
	n := c.notify
	c.listen()
	if c.view != nil && n.events != 0 {
		// RFC 5465 section 6.1.2: IDLE is a command that allows it
		if err := c.sync(!n.delayed || c.idling != nil, true); err != nil {
			return err
		}
	}
	if n.all == 0 {
		return nil
	}
	due, own := n.take()
	if n.epoch != c.srv.store.ACLEpoch() {
		n.wasNamed = true
	}
	if n.wasNamed {
		n.wasNamed = false
		if over, err := c.tellNames(own.names); over || err != nil {
			return err
		}
	}
	if err := c.tellNoted(); err != nil {
		return err
	}
	if n.stale {
		n.stale = false
		return c.tellAll()
	}
	return c.tellDue(due, own)
}

// listen sees that the mailbox that is open wakes the session, if events of it are wanted.
func (c *client) listen() {
	n := c.notify
	if n.viewed == c.view {
		return
	}
	n.leave()
	if n.viewed = c.view; c.view != nil && n.events != 0 {
		n.view = c.srv.store.Watch().Subscribe(c.view.topic(), keepChanges, c.wake)
	}
}

// mine are this session's own changes, which it is not told of (RFC 5465 section 5).
type mine struct {
	boxes map[int64]bool // whose messages it changed
	names map[int64]bool // that it made, removed or renamed; 0: subscriptions
}

// take takes the changes since the last time: what is due by mailbox, and what is the session's own.
func (n *notify) take() (due map[int64]wire.Events, own mine) {
	due = map[int64]wire.Events{}
	own = mine{map[int64]bool{}, map[int64]bool{}}
	others := false
	for _, s := range n.subs {
		changes, stale := s.Take()
		n.stale, n.wasNamed = n.stale || stale, n.wasNamed || stale
		for _, ch := range changes {
			by := ch.By == n.by
			switch e := eventOf(ch.Kind); {
			case ch.Kind == watch.Mailboxes || ch.Kind == watch.AccountChanged:
				n.wasNamed = true
				if by {
					own.names[ch.Mailbox] = true
				} else if ch.Mailbox == 0 {
					others = true
				}
			case e == 0:
			case by:
				own.boxes[ch.Mailbox] = true
			default:
				due[ch.Mailbox] |= e
			}
		}
	}
	if others {
		delete(own.names, 0)
	}
	return due, own
}

func eventOf(k watch.Kind) wire.Events {
	switch k {
	case watch.Appended:
		return wire.MessageNew
	case watch.Expunged:
		return wire.MessageExpunge
	case watch.Flagged:
		return wire.FlagChange
	}
	return 0
}

// wantsNote tells whether changes of a mailbox's metadata are to be told (RFC 5465 sections 5.6 and 5.7); "" is the server.
func (n *notify) wantsNote(mailbox string) bool {
	if mailbox == "" {
		return n.all&wire.ServerMetadataChange != 0
	}
	for _, w := range n.boxes {
		if w.name == mailbox {
			return w.events&wire.MailboxMetadataChange != 0
		}
	}
	return false
}

// tellDue tells the counters of mailboxes with changes. Those that the session changed alone are read without a word.
func (c *client) tellDue(due map[int64]wire.Events, own mine) error {
	n := c.notify
	ids := make([]int64, 0, len(due)+len(own.boxes))
	for id, e := range due {
		if w := n.boxes[id]; w != nil && w.events&e != 0 && !w.noAccess {
			ids = append(ids, id)
		}
	}
	for id := range own.boxes {
		if w := n.boxes[id]; w != nil && due[id]&w.events == 0 && w.events&wire.MessageEvents != 0 {
			ids = append(ids, id)
		}
	}
	n.sort(ids)
	return c.counters(n, ids, func(w *watched, b *storage.Mailbox) {
		was := w.counters
		w.counters = countersOf(b)
		c.tellChange(w, b.ID, due[b.ID]&w.events, was)
	})
}

// tellAll compares all counters with what the client knows: too much has changed to go by the changes.
func (c *client) tellAll() error {
	return c.counters(c.notify, c.notify.watching(), func(w *watched, b *storage.Mailbox) {
		was := w.counters
		if w.counters = countersOf(b); w.counters == was {
			return
		}
		e := wire.FlagChange
		if w.uidNext != was.uidNext {
			e = wire.MessageNew
		}
		if w.messages != was.messages {
			e |= wire.MessageExpunge
		}
		c.tellChange(w, b.ID, e&w.events, was)
	})
}

// tellChange gives the STATUS that tells of events (RFC 5465 sections 5.1 to 5.3).
func (c *client) tellChange(w *watched, id int64, e wire.Events, was counters) {
	if e == 0 || c.view != nil && c.view.id == id {
		return
	}
	items := &wire.StatusOptions{}
	if e&(wire.MessageNew|wire.MessageExpunge) != 0 {
		items.UIDNext, items.NumMessages = true, true
		items.HighestModSeq = c.condstore
	}
	if e&wire.FlagChange != 0 {
		items.HighestModSeq, items.UIDValidity = true, true
	}
	items.UIDValidity = items.UIDValidity || w.uidValidity != was.uidValidity
	c.tellCounters(w, items)
}

// tellCounters gives a STATUS response with what the client knows by now. It enables nothing, as the client's own STATUS would.
func (c *client) tellCounters(w *watched, o *wire.StatusOptions) {
	c.writeStatus(&storage.Mailbox{
		Name: w.name, UIDValidity: w.uidValidity, UIDNext: w.uidNext, Messages: w.messages, HighestModSeq: w.modSeq,
	}, o, 0, 0)
}

// counters reads the counters of mailboxes. One that went meanwhile is passed over: its name is told.
func (c *client) counters(n *notify, ids []int64, each func(*watched, *storage.Mailbox)) error {
	var at map[int64]*storage.Mailbox
	if len(ids) > fewBoxes {
		var err error
		if at, err = c.ownBoxes(); err != nil {
			return err
		}
	}
	for _, id := range ids {
		w := n.boxes[id]
		if b := at[id]; b != nil {
			each(w, b)
			continue
		}
		b, err := c.srv.store.Counters(c.ctx(), id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		each(w, &b)
	}
	return c.e.Err()
}

// tellNames compares the names with what the client knows (RFC 5465 sections 5.4, 5.5 and 5.9). own are mailboxes whose change is the session's. over: it
// was too much, and NOTIFY is as if NONE had been said.
func (c *client) tellNames(own map[int64]bool) (over bool, err error) {
	n := c.notify
	rows, err := c.resolve(n)
	if err != nil {
		return false, err
	}
	if len(rows) > maxNotified || len(n.subs) > maxOwners {
		c.overflow()
		return true, nil
	}
	d := nameDiff{c: c, own: own, at: map[string]*listed{}, told: map[string]bool{}, moved: map[string]string{}, reborn: map[int64]bool{}}
	slices.SortStableFunc(rows, func(a, b listed) int { return strings.Count(a.Name, "/") - strings.Count(b.Name, "/") })
	there := make(map[int64]bool, len(rows))
	for i := range rows {
		there[rows[i].ID] = true
		d.at[rows[i].Name] = &rows[i]
	}
	d.gone(there)
	for i := range rows {
		d.row(&rows[i])
	}
	for _, name := range d.parents {
		if b := d.at[name]; b != nil && !d.told[name] && n.boxes[b.ID].events&wire.MailboxName != 0 {
			d.tell(*b)
		}
	}
	return false, c.counters(n, d.fresh, func(w *watched, b *storage.Mailbox) {
		w.counters = countersOf(b)
		if d.reborn[b.ID] { // RFC 5465 section 5.1: a changed UIDVALIDITY is told
			items := &wire.StatusOptions{}
			items.NumMessages, items.UIDNext, items.UIDValidity, items.HighestModSeq = true, true, true, true
			c.tellCounters(w, items)
		}
	})
}

// overflow gives up (RFC 5465 section 5.8).
func (c *client) overflow() {
	c.notify.close()
	c.notify = &notify{ctx: c.notify.ctx, by: c.notify.by}
	c.e.Raw("* OK [NOTIFICATIONOVERFLOW] Too many mailboxes, nothing is notified any more").CRLF()
}

// nameDiff is the difference between the names that the client knows and those that there are.
type nameDiff struct {
	c       *client
	own     map[int64]bool
	at      map[string]*listed
	told    map[string]bool
	moved   map[string]string // new names by old ones
	parents []string          // of what came or went
	fresh   []int64           // whose counters are to be read
	reborn  map[int64]bool    // what has the name of one that went
}

func (d *nameDiff) tell(b listed) {
	d.told[b.Name] = true
	d.c.tellListed("LIST", b, &wire.ListOptions{ListOptions: imap.ListOptions{ReturnSubscribed: true}})
}

// affects notes the parent of a name that came or went: it is affected too.
func (d *nameDiff) affects(name string) {
	for up := range above(name) {
		d.parents = append(d.parents, up)
		return
	}
}

// gone tells what is not there any more, or not to be looked up.
func (d *nameDiff) gone(there map[int64]bool) {
	n := d.c.notify
	var names []string
	for id, w := range n.boxes {
		if there[id] {
			continue
		}
		delete(n.boxes, id)
		n.lose(w)
		if d.own[id] {
			continue
		}
		switch {
		case w.events&wire.MailboxName != 0 && d.at[w.name] == nil:
			names = append(names, w.name)
		case w.events&wire.MessageEvents != 0 && d.at[w.name] == nil && w.account != d.c.account.ID:
			d.c.tellAccess(listed{Mailbox: storage.Mailbox{Name: w.name}, missing: true}) // section 5.9
		}
	}
	slices.Sort(names)
	for _, name := range names {
		d.tell(listed{Mailbox: storage.Mailbox{Name: name}, missing: true})
		d.affects(name)
	}
}

// lose remembers the name of what went, should another mailbox get it.
func (n *notify) lose(w *watched) {
	if w.events&wire.FlagChange == 0 {
		return
	}
	if n.lost == nil || len(n.lost) >= maxNotified {
		n.lost = map[string]bool{}
	}
	n.lost[w.name] = true
}

// row tells of a name that is there.
func (d *nameDiff) row(b *listed) {
	n := d.c.notify
	w, known := n.boxes[b.ID]
	var was watched
	if known {
		was = *w
	}
	w = n.know(b)
	if !known || was.noAccess != w.noAccess {
		d.fresh = append(d.fresh, b.ID)
	}
	own := d.own[b.ID]
	if !known && !own && n.lost[b.Name] && w.events&wire.FlagChange != 0 {
		d.reborn[b.ID] = true
	}
	switch {
	case !known:
		if !own && w.events&wire.MailboxName != 0 {
			d.tell(*b)
			d.affects(b.Name)
		}
	case was.name != b.Name:
		d.moved[was.name] = b.Name
		if !own && w.events&wire.MailboxName != 0 && !d.movedAlong(was.name, b.Name) {
			old := *b
			old.old = was.name
			d.tell(old)
		}
	case was.noAccess != w.noAccess && w.events&wire.MessageEvents != 0:
		d.c.tellAccess(*b)
	}
	if known && !own && was.subscribed != b.Subscribed && !d.own[0] && w.events&wire.SubscriptionChange != 0 && !d.told[b.Name] {
		d.tell(*b)
	}
}

// movedAlong tells whether a name changed because one above it did, which was told (section 5.4).
func (d *nameDiff) movedAlong(from, to string) bool {
	for up := range above(from) {
		if now, ok := d.moved[up]; ok && to == now+from[len(up):] {
			return true
		}
	}
	return false
}

// tellAccess tells of a mailbox whose access changed: with \NoAccess when it cannot be read (RFC 5465 sections 3.1 and 5.9).
func (c *client) tellAccess(b listed) {
	b.noAccess = b.missing || !b.Rights.Has(storage.MayRead)
	b.missing = false
	c.tellListed("LIST", b, &wire.ListOptions{})
}

// tellArrivals tells of new messages what NOTIFY asked for, but not of those that the session put there itself (RFC 5465 section 5.2).
func (c *client) tellArrivals(added int) error {
	n := c.notify
	if n == nil || n.fetch == nil || added == 0 {
		return nil
	}
	c.listen()
	changes, _ := n.view.Take()
	for _, ch := range changes {
		if ch.By == n.by && ch.Kind == watch.Appended {
			n.own = append(n.own, ch.UIDs...)
		}
	}
	p := c.view.snap
	slices.Sort(n.own)
	spans := filter([]span{{p.Len() - added, p.Len()}}, func(i int) bool {
		_, own := slices.BinarySearch(n.own, p.UID(i))
		return !own
	})
	n.own = nil
	if len(spans) == 0 {
		return nil
	}
	return c.pushFetch(n.fetch, spans)
}

// pushFetch tells of messages what nobody asked for just now. \Seen is left alone: nobody has read what is pushed.
func (c *client) pushFetch(o *wire.FetchOptions, spans []span) error {
	copied := *o
	// RFC 7162 section 3.2.4: what was not asked for just now has both
	copied.ModSeq = copied.ModSeq || c.condstore
	copied.UID = copied.UID || c.condstore && !c.uidOnly
	f := &fetcher{client: c, t: &task{command: &command{name: "FETCH"}}, o: &copied}
	f.plan()
	f.seen = false
	return f.run(spans)
}
