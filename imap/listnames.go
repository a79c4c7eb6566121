package imap

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// listed is a name that LIST may return.
type listed struct {
	storage.Mailbox
	bare     bool   // it has no entries of RFC 5464: see markBare
	missing  bool   // there is a subscription or a name below it, but no mailbox that the account may know of
	inner    bool   // RECURSIVEMATCH: names below it meet the selection criteria
	noAccess bool   // NOTIFY: it can be looked up, not read
	old      string // the name as the client wrote it, when that is another spelling
}

// readable tells whether the mailbox is there and can be selected.
func (b *listed) readable() bool {
	return !b.missing && !b.NoSelect && b.Rights.Has(storage.MayRead)
}

// meets tells whether a name satisfies the selection options, patterns left aside (RFC 5258 section 3).
func (b *listed) meets(o *wire.ListOptions) bool {
	switch {
	case o.SelectSubscribed && !b.Subscribed, o.SelectSpecialUse && b.Role == "":
		return false
	}
	return !b.missing || o.SelectSubscribed
}

// above yields the names above a name, from the nearest on.
func above(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name, '/') {
			if name = name[:i]; !yield(name) {
				return
			}
		}
	}
}

// nameList gathers the names that LIST chooses from, each once.
type nameList struct {
	rows []listed
	at   map[string]int // index in rows; nil until names must be looked up
}

func (l *nameList) index() {
	if l.at != nil {
		return
	}
	l.at = make(map[string]int, len(l.rows))
	for i := range l.rows {
		l.at[l.rows[i].Name] = i
	}
}

// put adds a name, if it is not there, and gives its row.
func (l *nameList) put(b listed) *listed {
	l.index()
	i, ok := l.at[b.Name]
	if !ok {
		i = len(l.rows)
		l.at[b.Name] = i
		l.rows = append(l.rows, b)
	}
	return &l.rows[i]
}

// names are the mailboxes that the account may look up: its own by name, INBOX first, then those of others with the levels above them; where
// subscriptions matter, the names subscribed to that do not exist, and those above them, too. Own ones that cannot be chosen are left out.
func (c *client) names(o *wire.ListOptions, m *wire.Matcher) ([]listed, error) {
	own, err := c.srv.store.Names(c.ctx(), c.account.ID)
	if err != nil {
		return nil, err
	}
	var l nameList
	for i := range own {
		if o.SelectRecursiveMatch || m.Match(own[i].Name) {
			l.rows = append(l.rows, listed{Mailbox: own[i].Mailbox(c.account.ID)})
		}
	}
	if err := c.addShared(&l); err != nil || !o.SelectSubscribed {
		return l.rows, err
	}
	subs, err := c.srv.store.Subscriptions(c.ctx(), c.account.ID)
	if err != nil {
		return nil, err
	}
	n := len(l.rows)
	for _, name := range subs {
		if !o.SelectRecursiveMatch && !m.Match(name) {
			continue
		}
		l.put(listed{missing: true, Mailbox: storage.Mailbox{Name: name}}).Subscribed = true
		for up := range above(name) {
			l.put(listed{missing: true, Mailbox: storage.Mailbox{Name: up}})
		}
	}
	slices.SortFunc(l.rows[n:], func(a, b listed) int { return strings.Compare(a.Name, b.Name) })
	return l.rows, nil
}

// fewBoxes is up to how many mailboxes are read one by one; of more, all of the account's are read at once.
const fewBoxes = 32

// ownBoxes are the account's own mailboxes, by id.
func (c *client) ownBoxes() (map[int64]*storage.Mailbox, error) {
	all, err := c.srv.store.Mailboxes(c.ctx(), c.account.ID)
	if err != nil {
		return nil, err
	}
	at := make(map[int64]*storage.Mailbox, len(all))
	for i := range all {
		at[all[i].ID] = &all[i]
	}
	return at, nil
}

// countOwn reads the counters of the account's own mailboxes among those that are listed: of a few one by one, of many all at once.
func (c *client) countOwn(rows []listed) error {
	var own []*storage.Mailbox
	for i := range rows {
		if b := &rows[i]; b.readable() && b.Owner == "" {
			own = append(own, &b.Mailbox)
		}
	}
	if len(own) <= fewBoxes {
		for _, b := range own {
			now, err := c.srv.store.MailboxByID(c.ctx(), c.account.ID, b.ID)
			if errors.Is(err, fs.ErrNotExist) {
				now, err = storage.Mailbox{Name: b.Name, NoSelect: true}, nil // RFC 5819 section 2: it went meanwhile
			}
			if err != nil {
				return err
			}
			*b = now
		}
		return nil
	}
	at, err := c.ownBoxes()
	if err != nil {
		return err
	}
	for _, b := range own {
		if now := at[b.ID]; now != nil {
			*b = *now
		} else {
			b.NoSelect = true
		}
	}
	return nil
}

// addShared adds the mailboxes of others that the account may look up, and the names above them.
//
// RFC 4314 section 4: a mailbox above them that it may not look up is as if it did not exist. Shared and Shared/OWNER are names without mailboxes.
func (c *client) addShared(l *nameList) error {
	shared, err := c.srv.store.Shared(c.ctx(), c.account.ID)
	if err != nil {
		return err
	}
	n := len(l.rows)
	for _, b := range shared {
		if !b.Rights.Has(storage.MayLookup) {
			continue
		}
		for up := range above(b.Name) {
			row := listed{missing: true, Mailbox: storage.Mailbox{Name: up}}
			if strings.Count(up, "/") < 2 {
				row.missing, row.NoSelect = false, true
			}
			l.put(row).Children = true
		}
		// It may be there as the name above another, which came first.
		row := l.put(listed{Mailbox: b})
		if row.missing {
			*row = listed{Mailbox: b}
			row.Children = true
		}
	}
	slices.SortFunc(l.rows[n:], func(a, b listed) int { return strings.Compare(a.Name, b.Name) })
	if n < len(l.rows) {
		l.at = nil
	}
	return nil
}

// choose applies patterns and selection options (RFC 5258 section 3.3).
func choose(rows []listed, o *wire.ListOptions, m *wire.Matcher) []listed {
	var out, others []listed
	missing := false
	for _, b := range rows {
		missing = missing || b.missing
		if !m.Match(b.Name) {
			continue
		}
		if b.meets(o) {
			out = append(out, b)
		} else {
			others = append(others, b)
		}
	}
	if len(others) == 0 && !o.SelectRecursiveMatch || !missing && !o.SelectRecursiveMatch {
		return out
	}
	return withParents(rows, out, others, o)
}

// withParents adds names that do not meet the criteria themselves but have names below them that do and are not returned: with RECURSIVEMATCH all
// such (RFC 5258 section 3.5), without it and without SUBSCRIBED those that do not exist (RFC 3501 section 6.3.8, about "%").
func withParents(rows, out, others []listed, o *wire.ListOptions) []listed {
	returned := make(map[string]bool, len(out))
	for _, b := range out {
		returned[b.Name] = true
	}
	below := map[string]bool{}  // names that have such names below them
	unseen := map[string]bool{} // names below which there are such that are not returned
	for i := range rows {
		b := &rows[i]
		if !b.meets(o) {
			continue
		}
		for up := range above(b.Name) {
			below[up] = true
			if !returned[b.Name] {
				unseen[up] = true
			}
		}
	}
	if o.SelectRecursiveMatch {
		for i := range out {
			out[i].inner = below[out[i].Name]
		}
	}
	for _, b := range others {
		if !unseen[b.Name] || !o.SelectRecursiveMatch && (!b.missing || o.SelectSubscribed || o.SelectSpecialUse) {
			continue
		}
		b.inner = o.SelectRecursiveMatch
		out = append(out, b)
	}
	return out
}
