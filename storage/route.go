package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Route is where mail for an address goes: each mailbox's account once, each foreign address once.
type Route struct {
	Boxes    []Box
	Forwards []Forward
	Group    bool     // it is a list of several recipients: a group, or a forward to more than one
	Missing  []string // members of groups that nobody has; the others get the message
	Return   bool     // addr is one that we gave as a sender when we forwarded: what comes back goes on to Forwards
}

// Box is an account that gets the message.
type Box struct {
	Account *Account
	Address string // the one of ours by which it was reached
	Detail  string // of user+detail@domain (RFC 5233), "" when none; of the address that was asked for alone
}

// Forward is an address of another domain to which the message goes on.
type Forward struct {
	Address string
	By      string // the address of ours that sends it there; "" for a return
	Account int64  // whose that is; 0: a group's
}

// The errors of Resolve beside those that it names.
var (
	ErrLoop       = errors.New("addresses lead to one another without an end")
	ErrEmptyGroup = errors.New("the group has no members that can be reached")
	ErrForged     = errors.New("the return address was not made here")
	ErrExpired    = errors.New("the return address is too old")
)

const (
	// maxRouteDepth is how many groups and forwards may stand behind one another.
	maxRouteDepth = 10
	// maxRouteSteps is how many addresses are looked at for one recipient.
	maxRouteSteps = 10_000
)

// Resolve tells where mail for addr goes. The local part is compared without regard to case: the whole of it first, then what is before the first "+". What
// a group holds is expanded, forwards are followed. postmaster of every local domain (and of no domain: RFC 5321 section 4.5.1)
// goes to the account, alias or group of that name if there is one, else to the first enabled administrator; abuse likewise: to no catch-all.
// ErrNotLocal when the domain is not ours, fs.ErrNotExist when nobody has the address, ErrInvalid when it is no address; ErrLoop, ErrLimit and ErrEmptyGroup for
// groups and forwards that cannot be followed; ErrForged and ErrExpired for addresses made by RewriteSender. Disabled accounts still receive. What it
// gives is shared and must not be changed.
func (s *Store) Resolve(ctx context.Context, addr string) (Route, error) {
	r, turn, ok := s.routes.get(addr)
	if ok {
		return r, nil
	}
	r, err := s.resolve(addr)
	if err != nil {
		return Route{}, fail("resolve", err)
	}
	s.routes.put(addr, r, turn)
	return r, nil
}

func (s *Store) resolve(addr string) (Route, error) {
	e := expansion{s: s}
	// RFC 5321 section 4.5.1: RCPT TO:<postmaster> without a domain.
	if strings.EqualFold(addr, "postmaster") {
		d, err := s.defaultDomain()
		if err != nil {
			return Route{}, err
		}
		if d == "" {
			a, err := s.admin()
			if err != nil {
				return Route{}, err
			}
			return Route{Boxes: []Box{{Account: a, Address: addr}}}, nil
		}
		addr += "@" + d
	}
	local, domain, err := ParseAddress(addr)
	if err != nil {
		return Route{}, err
	}
	ours, err := s.ours(domain)
	if err != nil {
		return Route{}, err
	}
	if !ours {
		return Route{}, fmt.Errorf("%w: %s", ErrNotLocal, domain)
	}
	p, err := s.place(local, domain)
	if errors.Is(err, fs.ErrNotExist) && isRewritten(local) {
		return s.returned(local)
	}
	if errors.Is(err, fs.ErrNotExist) {
		p, err = s.fallback(local, domain)
	}
	if err != nil {
		return Route{}, err
	}
	kept, turn, ok := s.routes.group(p.group)
	if ok {
		e.route = kept
	} else if err := e.follow(p, 0); err != nil {
		return Route{}, err
	} else if p.group != 0 {
		s.routes.putGroup(p.group, e.route, turn)
	}
	if len(e.route.Boxes) == 0 && len(e.route.Forwards) == 0 {
		return Route{}, ErrEmptyGroup
	}
	return e.route, nil
}

func (s *Store) ours(domain string) (bool, error) {
	ours, turn, ok := s.routes.domain(domain)
	if ok {
		return ours, nil
	}
	var n int
	if err := s.db.Row(`SELECT COUNT(*) FROM domain WHERE name = ?`, domain).Scan(&n); err != nil {
		return false, err
	}
	s.routes.putDomain(domain, n > 0, turn)
	return n > 0, nil
}

// place is what an address of ours is: an account's or a group's.
type place struct {
	address  address
	detail   string
	account  *Account
	forwards bool // the account has forwards
	group    int64
	anyone   bool // of a group: who is a member may send as it
}

// place finds who has an address: in its domain, then in the one that the domain is an alias of. fs.ErrNotExist.
func (s *Store) place(local, domain string) (place, error) {
	p, err := s.placeIn(local, domain)
	if !errors.Is(err, sql.ErrNoRows) {
		return p, err
	}
	var target string
	if err := s.db.Row(`SELECT target FROM domain_alias WHERE domain = ?`, domain).Scan(&target); err != nil {
		return place{}, noRows(err)
	}
	p, err = s.placeIn(local, target)
	return p, noRows(err)
}

// placeIn looks for the whole local part first, then for what is before the first "+". sql.ErrNoRows.
func (s *Store) placeIn(local, domain string) (place, error) {
	p, err := s.exactly(address{foldLocal(local), domain})
	if !errors.Is(err, sql.ErrNoRows) {
		return p, err
	}
	user, detail, ok := strings.Cut(local, "+")
	if !ok || user == "" {
		return place{}, err
	}
	p, err = s.exactly(address{foldLocal(user), domain})
	p.detail = detail
	return p, err
}

func (s *Store) exactly(a address) (place, error) {
	p := place{address: a}
	var err error
	p.account, err = scanAccount(s.db.Row(`SELECT `+accountColumns+`, EXISTS (SELECT 1 FROM forward f WHERE f.account = account.id) FROM account
		WHERE id = (SELECT account FROM address WHERE domain = ? AND local = ?)`, a.domain, a.local), &p.forwards)
	if !errors.Is(err, sql.ErrNoRows) {
		return p, err
	}
	p.account = nil
	err = s.db.Row(`SELECT id, members_send FROM mail_group WHERE domain = ? AND local = ?`, a.domain, a.local).Scan(&p.group, &p.anyone)
	return p, err
}

// fallback is who gets the mail for an address that nobody has. fs.ErrNotExist.
func (s *Store) fallback(local, domain string) (place, error) {
	user, _, _ := strings.Cut(foldLocal(local), "+")
	if user == "postmaster" || user == "abuse" {
		a, err := s.admin()
		return place{address: address{user, domain}, account: a}, err
	}
	var target string
	if err := s.db.Row(`SELECT address FROM catchall WHERE domain = ?`, domain).Scan(&target); err != nil {
		return place{}, noRows(err)
	}
	l, d, err := ParseAddress(target)
	if err != nil {
		return place{}, err
	}
	return s.place(l, d)
}

// expansion follows groups and forwards.
type expansion struct {
	s     *Store
	route Route
	path  []int64 // the accounts and groups that lead to what is looked at now
	done  map[int64]bool
	steps int
}

func (e *expansion) follow(p place, depth int) error {
	if e.steps++; e.steps > maxRouteSteps {
		return fmt.Errorf("%w: %d addresses for one recipient", ErrLimit, maxRouteSteps)
	}
	if depth > maxRouteDepth {
		return fmt.Errorf("%w: %d groups and forwards behind one another", ErrLoop, maxRouteDepth)
	}
	id := p.group
	if p.account != nil {
		id = p.account.ID
		if !p.forwards {
			e.box(p)
			return nil
		}
	}
	if slices.Contains(e.path, id) {
		// What leads back to where it came from ends there: in the account's own mailbox.
		e.box(p)
		return nil
	}
	if e.done[id] && p.account == nil {
		return nil
	}
	targets, keep := []string(nil), false
	var err error
	if p.account != nil {
		targets, keep, err = e.s.forwardOf(p.account.ID, p.address)
	} else {
		targets, err = readAll[string](e.s.db, `SELECT address FROM group_member WHERE mail_group = ? ORDER BY address`, p.group)
	}
	if err != nil {
		return err
	}
	if keep || p.account != nil && len(targets) == 0 {
		e.box(p)
	}
	if e.done == nil {
		e.done = map[int64]bool{}
	}
	e.done[id] = true
	e.path = append(e.path, id)
	e.route.Group = e.route.Group || p.account == nil || len(targets) > 1
	for _, addr := range targets {
		if err := e.member(p, addr, depth); err != nil {
			return err
		}
	}
	e.path = e.path[:len(e.path)-1]
	return nil
}

// member follows an address that p names. One that nobody has any more is passed over; of a group it is in Missing.
func (e *expansion) member(p place, addr string, depth int) error {
	local, domain, err := ParseAddress(addr)
	if err != nil {
		return err
	}
	ours, err := e.s.ours(domain)
	if err != nil {
		return err
	}
	if !ours {
		if e.steps++; e.steps > maxRouteSteps {
			return fmt.Errorf("%w: %d addresses for one recipient", ErrLimit, maxRouteSteps)
		}
		f := Forward{Address: addr, By: p.address.String()}
		if p.account != nil {
			f.Account = p.account.ID
		}
		if !slices.ContainsFunc(e.route.Forwards, func(o Forward) bool { return o.Address == addr }) {
			e.route.Forwards = append(e.route.Forwards, f)
		}
		return nil
	}
	next, err := e.s.place(local, domain)
	if errors.Is(err, fs.ErrNotExist) {
		if next, err = e.s.fallback(local, domain); errors.Is(err, fs.ErrNotExist) {
			e.s.log.Warn("a member or target of forwarding does not exist", "address", addr, "of", p.address.String())
			if p.account != nil {
				e.box(p) // nothing is lost for it
			} else if !slices.Contains(e.route.Missing, addr) {
				e.route.Missing = append(e.route.Missing, addr)
			}
			return nil
		}
	}
	if err != nil {
		return err
	}
	return e.follow(next, depth+1)
}

// box adds an account once; a group that leads to itself adds nothing.
func (e *expansion) box(p place) {
	if p.account == nil || slices.ContainsFunc(e.route.Boxes, func(b Box) bool { return b.Account.ID == p.account.ID }) {
		return
	}
	b := Box{Account: p.account, Address: p.address.String()}
	if len(e.path) == 0 {
		b.Detail = p.detail
	}
	e.route.Boxes = append(e.route.Boxes, b)
}
