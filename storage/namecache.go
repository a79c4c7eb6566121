package storage

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// Name is what is told of a mailbox without its counters.
type Name struct {
	ID         int64
	Name       string // path below /Mail
	Role       string
	NoSelect   bool
	Subscribed bool
	Children   bool
}

// Mailbox is the name as a Mailbox without counters, of the account whose it is.
func (n *Name) Mailbox(account int64) Mailbox {
	return Mailbox{ID: n.ID, Account: account, Name: n.Name, Role: n.Role, NoSelect: n.NoSelect, Subscribed: n.Subscribed, Children: n.Children, Rights: AllRights}
}

// maxNames is how many names of all accounts are kept in memory. When there are more all are forgotten.
const maxNames = 200_000

// nameCache keeps the names of accounts' mailboxes: they are listed at each login and change rarely. Whoever changes them tells of it by a change of
// kind Mailboxes, which makes publish forget the account's.
type nameCache struct {
	mu   sync.Mutex
	turn uint64 // counts what was forgotten, so that what was read before is not kept after
	n    int
	of   map[int64][]Name
}

func (c *nameCache) get(account int64) (names []Name, turn uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names, ok = c.of[account]
	return names, c.turn, ok
}

func (c *nameCache) put(account int64, names []Name, turn uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn != turn || c.of[account] != nil || len(names) > maxNames {
		return
	}
	if c.of == nil || c.n+len(names) > maxNames {
		c.of, c.n = map[int64][]Name{}, 0
	}
	c.of[account] = names
	c.n += len(names)
}

// forget is called after each commit, before it is published.
func (c *nameCache) forget(changes []watch.Change) {
	for i := range changes {
		if k := changes[i].Kind; k != watch.Mailboxes && k != watch.AccountChanged {
			continue
		}
		c.mu.Lock()
		c.turn++
		c.n -= len(c.of[changes[i].Account])
		delete(c.of, changes[i].Account)
		c.mu.Unlock()
	}
}

// Names are the names of an account's mailboxes, INBOX first, the others by name. They are shared and must not be changed.
func (s *Store) Names(ctx context.Context, account int64) ([]Name, error) {
	names, turn, ok := s.names.get(account)
	if ok {
		return names, nil
	}
	err := s.db.View(ctx, func(v *sqldb.View) (err error) {
		names, err = readNames(v, account)
		return err
	})
	if err != nil {
		return nil, fail("names", err)
	}
	s.names.put(account, names, turn)
	return names, nil
}

func readNames(q sqldb.Querier, account int64) ([]Name, error) {
	subs, err := readSubscriptions(q, account)
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(`SELECT id, name, noselect, role FROM mailbox WHERE account = ? ORDER BY name`, account)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Name
	at := map[string]int{}
	for rows.Next() {
		var n Name
		if err := rows.Scan(&n.ID, &n.Name, &n.NoSelect, &n.Role); err != nil {
			return nil, err
		}
		_, n.Subscribed = slices.BinarySearch(subs, n.Name)
		// The one above came before: it is the beginning of the name.
		if i := strings.LastIndexByte(n.Name, '/'); i > 0 {
			if j, ok := at[n.Name[:i]]; ok {
				all[j].Children = true
			}
		}
		at[n.Name] = len(all)
		all = append(all, n)
	}
	if i, ok := at["INBOX"]; ok {
		inbox := all[i]
		copy(all[1:i+1], all[:i])
		all[0] = inbox
	}
	return all, rows.Err()
}
