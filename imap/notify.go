package imap

import (
	"context"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/watch"
)

// Limits of what a client may have watched (RFC 5465 section 9).
const (
	maxNotified = 5000 // mailboxes
	maxOwners   = 32   // accounts whose shared mailboxes are among them
	keepChanges = 64   // changes that are remembered one by one until the client is free; more, and all mailboxes are looked at
)

// notify is what NOTIFY asked for (RFC 5465), and what the client was told since. What it is to be told is the difference between that and
// the state of things: nothing is queued, whether one change or a thousand came while the client did not read.
type notify struct {
	ctx      context.Context // the session's, by which its own changes are known
	by       any
	events   wire.Events        // of the mailbox that is open
	delayed  bool               // its expunges wait for a command that may tell them
	fetch    *wire.FetchOptions // what is told of a new message in it; nil: nothing
	groups   []group            // about others
	all      wire.Events        // of all groups together
	boxes    map[int64]*watched // by id: mailboxes for which a group has events
	epoch    uint64             // Store.ACLEpoch when boxes were resolved
	subs     map[int64]*watch.Subscription
	view     *watch.Subscription
	viewed   *view           // what view is for
	own      []uint32        // UIDs that this session put into viewed
	meta     *noted          // of metadata; nil: nothing of it was asked for
	lost     map[string]bool // names of mailboxes that went, whose flags were watched
	wasNamed bool            // the names are to be looked at again
	stale    bool            // so are all counters
}

// group is what events of which mailboxes are wanted; none: none, whatever other groups say.
type group struct {
	scope  scope
	events wire.Events
}

// watched is what the client knows of a mailbox.
type watched struct {
	name       string
	account    int64 // the owner
	events     wire.Events
	subscribed bool
	noAccess   bool // it may be looked up, but not read
	counters
}

// counters are those of a STATUS.
type counters struct {
	uidValidity, uidNext, messages uint32
	modSeq                         uint64
}

func countersOf(b *storage.Mailbox) counters {
	return counters{b.UIDValidity, b.UIDNext, b.Messages, b.HighestModSeq}
}

// supported are the events that the client can be told, with their names for BADEVENT.
func (c *client) supported() (events wire.Events, names string) {
	events = wire.MessageNew | wire.MessageExpunge | wire.FlagChange | wire.MailboxName | wire.SubscriptionChange
	names = "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"
	if !c.withholds("METADATA") {
		events |= wire.MailboxMetadataChange | wire.ServerMetadataChange
		names += " MailboxMetadataChange ServerMetadataChange"
	}
	return events, names
}

// notifyCommand is NOTIFY (RFC 5465 section 3.1).
func (c *client) notifyCommand(*task) error {
	c.d.SP()
	o := c.d.Notify()
	if !c.d.EOL() {
		return nil
	}
	can, names := c.supported()
	all := wire.Events(0)
	for i := range o.Groups {
		all |= o.Groups[i].Events
	}
	if o.Unknown || all&^can != 0 {
		return &wire.Error{No: true, Code: "BADEVENT (" + names + ")", Text: "Unknown event"}
	}
	if len(o.Groups) > 0 {
		if err := c.sync(true, false); err != nil { // section 3.1: what has gathered is told first
			return err
		}
	}
	by := c.ses.ID()
	n := &notify{ctx: watch.WithOrigin(c.ses.Context(), by), by: by}
	for _, g := range o.Groups {
		if g.Selected() {
			n.events, n.delayed, n.fetch = g.Events, g.Filter.Kind == "SELECTED-DELAYED", g.Fetch
		} else {
			n.groups = append(n.groups, group{scopeOf(g.Filter), g.Events})
			n.all |= g.Events
		}
	}
	if n.all&(wire.MailboxMetadataChange|wire.ServerMetadataChange) != 0 {
		n.meta = &noted{seq: c.srv.store.AnnotationSeq(), wants: n.wantsNote}
	}
	// The subscriptions come before the state is read, so that nothing falls between.
	before := c.notify
	if n.all != 0 {
		n.subscribe(c, c.account.ID)
	}
	if err := c.begin(n, o.Status); err != nil {
		n.close()
		return err
	}
	before.close()
	c.notify = n
	if n.fetch != nil && n.fetch.ModSeq {
		c.modSeqAware()
	}
	c.woken.Store(true)
	return nil
}

// subscribe has the session woken by changes of an account's.
func (n *notify) subscribe(c *client, account int64) {
	if n.subs == nil {
		n.subs = map[int64]*watch.Subscription{}
	}
	if n.subs[account] == nil {
		n.subs[account] = c.srv.store.Watch().Subscribe(watch.Topic{Account: account}, keepChanges, c.wake)
	}
}

// close ends the subscriptions. There may be none of them, and no n.
func (n *notify) close() {
	if n == nil {
		return
	}
	for _, s := range n.subs {
		s.Close()
	}
	n.leave()
}

// leave ends that for the mailbox that is open.
func (n *notify) leave() {
	if n.view != nil {
		n.view.Close()
	}
	n.view, n.viewed, n.own = nil, nil, nil
}

// begin resolves the groups, and tells the state from which changes are told.
func (c *client) begin(n *notify, status bool) error {
	rows, err := c.resolve(n)
	if err != nil {
		return err
	}
	if len(rows) > maxNotified || len(n.subs) > maxOwners {
		return &wire.Error{No: true, Code: "NOTIFICATIONOVERFLOW", Text: "Too many mailboxes"}
	}
	n.boxes = make(map[int64]*watched, len(rows))
	for i := range rows {
		w := n.know(&rows[i])
		if w.noAccess && w.events&wire.MessageEvents != 0 {
			c.tellAccess(rows[i])
		}
	}
	if n.all&wire.MessageEvents == 0 {
		return nil
	}
	return c.counters(n, n.watching(), func(w *watched, b *storage.Mailbox) {
		if w.counters = countersOf(b); status && (c.view == nil || c.view.id != b.ID) {
			items := &wire.StatusOptions{}
			items.NumMessages, items.UIDNext, items.UIDValidity = true, true, true
			items.HighestModSeq = w.events&wire.FlagChange != 0
			c.tellCounters(w, items)
		}
	})
}

// resolve lists the mailboxes for which a group has events.
func (c *client) resolve(n *notify) ([]listed, error) {
	n.epoch = c.srv.store.ACLEpoch()
	if n.all == 0 {
		return nil, nil
	}
	o := &wire.ListOptions{Patterns: []string{"*"}}
	o.ReturnSubscribed = true
	rows, err := c.listedBy(o)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(b listed) bool { return b.ID == 0 || n.eventsOf(&b) == 0 })
	for i := range rows {
		if len(n.subs) > maxOwners {
			break
		}
		n.subscribe(c, rows[i].Account)
	}
	return rows, nil
}

// eventsOf are the events of a mailbox; a group with NONE takes precedence.
func (n *notify) eventsOf(b *listed) (events wire.Events) {
	for i := range n.groups {
		g := &n.groups[i]
		if !g.scope.has(&b.Mailbox) {
			continue
		}
		if g.events == 0 {
			return 0
		}
		events |= g.events
	}
	if b.NoSelect {
		events &^= wire.MessageEvents // RFC 5465 section 6: selectable ones
	}
	return events
}

// know remembers a mailbox as it is listed.
func (n *notify) know(b *listed) *watched {
	w := n.boxes[b.ID]
	if w == nil {
		w = &watched{}
		n.boxes[b.ID] = w
	}
	w.name, w.account, w.subscribed, w.events, w.noAccess = b.Name, b.Account, b.Subscribed, n.eventsOf(b), !b.NoSelect && !b.Rights.Has(storage.MayRead)
	return w
}

// watching are the mailboxes whose messages are watched.
func (n *notify) watching() []int64 {
	ids := make([]int64, 0, len(n.boxes))
	for id, w := range n.boxes {
		if w.events&wire.MessageEvents != 0 && !w.noAccess {
			ids = append(ids, id)
		}
	}
	n.sort(ids)
	return ids
}

// sort puts mailboxes in the order of their names.
func (n *notify) sort(ids []int64) {
	slices.SortFunc(ids, func(a, b int64) int { return strings.Compare(n.boxes[a].name, n.boxes[b].name) })
}

// wants tells whether updates of the mailbox that is open may be told, outside of commands that change it.
func (c *client) wants(e wire.Events) bool {
	return c.notify == nil || c.notify.events&e != 0
}
