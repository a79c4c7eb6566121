package storage

import (
	"regexp"
	"sync"
)

const (
	// maxRoutes is how many addresses, and how many domains, are kept in memory. When there are more all are forgotten.
	maxRoutes = 10_000
	// maxRouted is how many mailboxes and addresses the groups that are kept may have together.
	maxRouted = 20_000
)

// routeCache keeps where mail for addresses goes that lead to one mailbox, as nearly all do, where that for groups goes, and which domains are ours: all are asked for
// each recipient. Whatever changes a row that they are made of makes publish forget everything.
type routeCache struct {
	mu      sync.Mutex
	turn    uint64 // counts what was forgotten, so that what was read before is not kept after
	routes  map[string]Route
	groups  map[int64]Route // by the group's id, for it may be named with any detail
	members int             // of groups
	domains map[string]bool
}

// get gives the route of an address as it was asked for. It is shared and must not be changed.
func (c *routeCache) get(addr string) (r Route, turn uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok = c.routes[addr]
	return r, c.turn, ok
}

func (c *routeCache) put(addr string, r Route, turn uint64) {
	if len(r.Boxes) != 1 || len(r.Forwards) > 0 || r.Group || r.Return {
		return // it may be large, or true for a time only
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn != turn {
		return
	}
	if c.routes == nil || len(c.routes) >= maxRoutes {
		c.routes = map[string]Route{}
	}
	c.routes[addr] = r
}

// group gives the route of a group.
func (c *routeCache) group(id int64) (r Route, turn uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok = c.groups[id]
	return r, c.turn, ok
}

func (c *routeCache) putGroup(id int64, r Route, turn uint64) {
	n := 1 + len(r.Boxes) + len(r.Forwards) + len(r.Missing)
	if n > maxRouted {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.groups[id]; there || c.turn != turn { // two asked at a time
		return
	}
	if c.groups == nil || c.members+n > maxRouted {
		c.groups, c.members = map[int64]Route{}, 0
	}
	c.groups[id] = r
	c.members += n
}

// domain tells whether a domain is ours.
func (c *routeCache) domain(name string) (ours bool, turn uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ours, ok = c.domains[name]
	return ours, c.turn, ok
}

func (c *routeCache) putDomain(name string, ours bool, turn uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn != turn {
		return
	}
	if c.domains == nil || len(c.domains) >= maxRoutes {
		c.domains = map[string]bool{}
	}
	c.domains[name] = ours
}

// forget is called after a commit that changed routes, before it is published.
func (c *routeCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	c.routes, c.domains = nil, nil
	c.groups, c.members = nil, 0
}

var routeTables = regexp.MustCompile(`\b(INTO|UPDATE|FROM) (account|domain|address|mail_group|group_member|catchall|domain_alias|forward)\b`)

// routing tells whether a statement may change where mail goes. The answer for each of the statements, of which there is a bounded number, is kept.
func (w *writer) routing(query string) bool {
	is, known := w.routes[query]
	if !known {
		if w.routes == nil {
			w.routes = map[string]bool{}
		}
		is = routeTables.MatchString(query)
		w.routes[query] = is
	}
	return is
}
