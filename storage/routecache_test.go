package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

// What is known of a route is forgotten with every change of what it is made of.
func TestRouteCache(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ctx := t.Context()
	must(t, s.AddDomain(ctx, "example.test"))
	ann, err := s.CreateAccount(ctx, NewAccount{Name: "ann@example.test", Admin: true})
	must(t, err)
	joe, err := s.CreateAccount(ctx, NewAccount{Name: "joe@example.test"})
	must(t, err)
	quota := int64(5000)
	for _, c := range []struct {
		name   string
		change func() error
		addr   string
		want   string // routed, or of an error its text
	}{
		{"nothing", func() error { return nil }, "ann@example.test", "ann"},
		{"an alias comes", func() error { return s.AddAlias(ctx, ann.ID, "info@example.test") }, "info@example.test", "ann"},
		{"it forwards", func() error {
			return s.SetForward(ctx, ann.ID, Forwarding{Address: "info@example.test", Targets: []string{"x@foreign.example"}})
		}, "info@example.test", "x@foreign.example<info"},
		{"it forwards no more", func() error { return s.SetForward(ctx, ann.ID, Forwarding{Address: "info@example.test"}) }, "info@example.test", "ann"},
		{"the alias goes", func() error { return s.RemoveAlias(ctx, ann.ID, "info@example.test") }, "info@example.test", "not there"},
		{"somebody else gets it", func() error { return s.AddAlias(ctx, joe.ID, "info@example.test") }, "info@example.test", "joe"},
		{"all others are caught", func() error { return s.SetCatchAll(ctx, "example.test", "joe@example.test") }, "who@example.test", "joe"},
		{"they are not", func() error { return s.SetCatchAll(ctx, "example.test", "") }, "who@example.test", "not there"},
		{"a domain comes", func() error { return s.AddDomain(ctx, "second.test") }, "ann@second.test", "not there"},
		{"it is another name", func() error { return s.SetDomainAlias(ctx, "second.test", "example.test") }, "ann@second.test", "ann"},
		{"it goes", func() error {
			return errors.Join(s.SetDomainAlias(ctx, "second.test", ""), s.RemoveDomain(ctx, "second.test"))
		}, "ann@second.test", "not ours"},
		{"a group comes", func() error {
			return errors.Join(s.AddGroup(ctx, "team@example.test", false), s.ChangeMembers(ctx, "team@example.test", []string{"ann@example.test", "joe@example.test"}, nil))
		}, "team+x@example.test", "ann joe"},
		{"a member comes", func() error {
			return s.ChangeMembers(ctx, "team@example.test", []string{"x@foreign.example"}, nil)
		}, "team@example.test", "ann joe x@foreign.example<team"},
		{"a member goes", func() error {
			return s.ChangeMembers(ctx, "team@example.test", nil, []string{"x@foreign.example"})
		}, "TEAM@example.test", "ann joe"},
		{"a member forwards", func() error {
			return s.SetForward(ctx, ann.ID, Forwarding{Targets: []string{"ann@foreign.example"}})
		}, "team+y@example.test", "joe ann@foreign.example<ann"},
		{"it does no more", func() error { return s.SetForward(ctx, ann.ID, Forwarding{}) }, "team+y@example.test", "ann joe"},
		{"an account goes", func() error { return s.RemoveAccount(ctx, joe.ID) }, "info@example.test", "not there"},
	} {
		_, _ = s.Resolve(ctx, c.addr) // so that something may be known
		must(t, c.change())
		for range 2 {
			r, err := s.Resolve(ctx, c.addr)
			got := routed(r)
			switch {
			case errors.Is(err, ErrNotLocal):
				got = "not ours"
			case errors.Is(err, fs.ErrNotExist):
				got = "not there"
			case err != nil:
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%s: %s leads to %q, want %q", c.name, c.addr, got, c.want)
			}
		}
	}
	_, err = s.UpdateAccount(ctx, ann.ID, AccountChange{Quota: &quota})
	must(t, err)
	if r, err := s.Resolve(ctx, "ann@example.test"); err != nil || r.Boxes[0].Account.Quota != quota {
		t.Errorf("the quota is not the new one: %v", err)
	}
	r, err := s.Resolve(ctx, "team@example.test")
	must(t, err)
	again, err := s.Resolve(ctx, "team+detail@example.test")
	must(t, err)
	if &r.Boxes[0] != &again.Boxes[0] {
		t.Error("a group is expanded for each of its names")
	}
	for i := range maxRouted {
		s.routes.putGroup(int64(i+1000), Route{Boxes: make([]Box, 9)}, s.routes.turn)
	}
	if n := len(s.routes.groups); n > maxRouted/10 || n != s.routes.members/10 {
		t.Errorf("%d groups with %d members are kept", n, s.routes.members)
	}
	s.routes.forget()
	for _, g := range []struct {
		id int64
		n  int
	}{{1, maxRouted/2 + 1}, {2, maxRouted / 3}, {1, maxRouted/2 + 1}} {
		s.routes.putGroup(g.id, Route{Boxes: make([]Box, g.n)}, s.routes.turn)
	}
	if n := len(s.routes.groups); n != 2 {
		t.Errorf("%d groups are kept after one was put twice, want 2", n)
	}
	for i := range maxRoutes + 10 {
		s.routes.put(fmt.Sprint(i), Route{Boxes: make([]Box, 1)}, s.routes.turn)
	}
	if n := len(s.routes.routes); n > maxRoutes {
		t.Errorf("%d routes are kept, want at most %d", n, maxRoutes)
	}
}
