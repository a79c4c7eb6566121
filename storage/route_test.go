package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"
)

// routed is a route in words: names of accounts, then foreign addresses with who sends there.
func routed(r Route) string {
	var all []string
	for _, b := range r.Boxes {
		name, _, _ := strings.Cut(b.Account.Name, "@")
		if b.Detail != "" {
			name += "+" + b.Detail
		}
		all = append(all, name)
	}
	for _, f := range r.Forwards {
		by, _, _ := strings.Cut(f.By, "@")
		all = append(all, f.Address+"<"+by)
	}
	return strings.Join(all, " ")
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestRoutes(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ctx := t.Context()
	must(t, s.AddDomain(ctx, "example.test"), s.AddDomain(ctx, "second.test"), s.AddDomain(ctx, "alias.test"))
	id := map[string]int64{}
	for _, n := range []string{"ann", "joe", "bob", "cat", "dan", "eve", "away"} {
		a, err := s.CreateAccount(ctx, NewAccount{Name: n + "@example.test", Admin: n == "bob"})
		must(t, err)
		id[n] = a.ID
	}
	must(t, s.AddAlias(ctx, id["ann"], "ann.info@example.test"))
	group := func(name string, members ...string) {
		t.Helper()
		must(t, s.AddGroup(ctx, name+"@example.test", name == "team"), s.ChangeMembers(ctx, name+"@example.test", members, nil))
	}
	group("team", "ann@example.test", "JOE@example.test", "x@foreign.example", "gone@example.test")
	group("all", "team@example.test", "ann@example.test", "bob@example.test", "x@foreign.example", "all@example.test")
	group("empty")
	group("self", "self@example.test")
	group("ring1", "ring2@example.test", "ann@example.test")
	group("ring2", "ring1@example.test", "joe@example.test")
	for i := range 13 {
		group(fmt.Sprintf("deep%d", i), fmt.Sprintf("deep%d@example.test", i+1), "ann@example.test")
	}
	must(t,
		s.SetForward(ctx, id["cat"], Forwarding{Targets: []string{"cat@foreign.example", "dan@example.test"}, Keep: true}),
		s.SetForward(ctx, id["dan"], Forwarding{Targets: []string{"Dan@foreign.example"}}),
		s.SetForward(ctx, id["eve"], Forwarding{Targets: []string{"away@example.test"}}),
		s.SetForward(ctx, id["away"], Forwarding{Targets: []string{"eve@example.test"}}),
		s.SetForward(ctx, id["ann"], Forwarding{Address: "ann.info@example.test", Targets: []string{"info@foreign.example", "ghost@example.test"}}),
		s.SetCatchAll(ctx, "second.test", "team@example.test"),
		s.SetDomainAlias(ctx, "alias.test", "example.test"),
	)
	for _, c := range []struct {
		addr, want string
		err        error
	}{
		{"ann@example.test", "ann", nil},
		{"Ann+Work@example.test", "ann+Work", nil},
		{"team@example.test", "ann joe x@foreign.example<team", nil},
		{"team+x@example.test", "ann joe x@foreign.example<team", nil},
		{"all@example.test", "ann bob joe x@foreign.example<team", nil},
		{"empty@example.test", "", ErrEmptyGroup},
		{"self@example.test", "", ErrEmptyGroup},
		{"ring1@example.test", "ann joe", nil},
		{"deep0@example.test", "", ErrLoop},
		{"deep6@example.test", "ann", nil},
		{"cat@example.test", "cat cat@foreign.example<cat Dan@foreign.example<dan", nil},
		{"dan@example.test", "Dan@foreign.example<dan", nil},
		{"eve@example.test", "eve", nil}, // the ring of two accounts ends where it began
		{"away@example.test", "away", nil},
		{"ann.info@example.test", "ann info@foreign.example<ann.info", nil},
		{"anybody@second.test", "ann joe x@foreign.example<team", nil},
		{"postmaster@second.test", "bob", nil},
		{"abuse@second.test", "bob", nil},
		{"abuse+x@second.test", "bob", nil},
		{"ann@alias.test", "ann", nil},
		{"team@alias.test", "ann joe x@foreign.example<team", nil},
		{"nobody@alias.test", "", fs.ErrNotExist},
		{"nobody@example.test", "", fs.ErrNotExist},
		{"ann@elsewhere.test", "", ErrNotLocal},
	} {
		r, err := s.Resolve(ctx, c.addr)
		if got := routed(r); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", c.addr, got, err, c.want, c.err)
		}
	}
	for addr, want := range map[string]bool{"team@example.test": true, "all@example.test": false, "ann@alias.test": true, "team+x@example.test": false, "anybody@second.test": false} {
		if got, err := s.Owns(ctx, id["ann"], addr); err != nil || got != want {
			t.Errorf("owns %s: %v, %v", addr, got, err)
		}
	}
	if got, _ := s.Owns(ctx, id["cat"], "team@example.test"); got {
		t.Error("who is no member may send as the group")
	}
	for _, err := range []error{s.AddAlias(ctx, id["ann"], "team@example.test"), s.AddGroup(ctx, "ann@example.test", false), s.AddGroup(ctx, "team@example.test", false)} {
		if !errors.Is(err, fs.ErrExist) {
			t.Error("an address was given twice:", err)
		}
	}
	if err := s.RemoveDomain(ctx, "example.test"); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if err := s.SetCatchAll(ctx, "second.test", "nobody@example.test"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.SetDomainAlias(ctx, "second.test", "alias.test"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := s.SetForward(ctx, id["joe"], Forwarding{Address: "ann@example.test", Targets: []string{"x@foreign.example"}}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	must(t, s.RemoveGroup(ctx, "team@example.test"), s.SetForward(ctx, id["dan"], Forwarding{}))
	if r, err := s.Resolve(ctx, "dan@example.test"); err != nil || routed(r) != "dan" {
		t.Error(routed(r), err)
	}
	if g, err := s.Groups(ctx); err != nil || !slices.ContainsFunc(g, func(g Group) bool { return g.Address == "all@example.test" && g.Size == 5 }) {
		t.Error(g, err)
	}
}

func TestSenderRewriting(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	must(t, s.AddDomain(ctx, "example.test"))
	s.SetSecret([]byte("one"))
	rewrite := func(sender string) string {
		t.Helper()
		got, err := s.RewriteSender(ctx, sender, "list@example.test")
		must(t, err)
		return got
	}
	back := func(addr string) (string, error) {
		r, err := s.Resolve(ctx, addr)
		if err != nil {
			return "", err
		}
		if !r.Return || len(r.Boxes) != 0 || len(r.Forwards) != 1 {
			t.Fatalf("%+v", r)
		}
		return r.Forwards[0].Address, nil
	}
	for sender, want := range map[string]string{
		"": "", "joe@example.test": "joe@example.test", "x@[192.0.2.1]": "list@example.test",
		strings.Repeat("l", 60) + "@foreign.example": "list@example.test",
	} {
		if got := rewrite(sender); got != want {
			t.Errorf("%q became %q", sender, got)
		}
	}
	once := rewrite("Some.Body=x@foreign.example")
	if !strings.HasPrefix(once, "SRS0=") || !strings.HasSuffix(once, "=foreign.example=Some.Body=x@example.test") {
		t.Fatal(once)
	}
	for _, form := range []string{once, strings.ToLower(once), strings.ToUpper(once)} {
		if got, err := back(form); err != nil || !strings.EqualFold(got, "Some.Body=x@foreign.example") {
			t.Error(form, got, err)
		}
	}
	for _, forged := range []string{strings.Replace(once, "foreign", "other", 1), strings.Replace(once, "Some", "Any", 1), "SRS0=x@example.test", "SRS0=aaaaaaaa=aa=a.example=b@example.test", "SRS1=aaaaaaaa=a.example==x@example.test"} {
		if got, err := back(forged); !errors.Is(err, ErrForged) {
			t.Error(forged, got, err)
		}
	}
	// A chain: the way back is to the first forwarder.
	twice := rewrite("SRS0=hhhh=tt=far.example=x@fwd.example")
	if got, err := back(twice); err != nil || got != "SRS0=hhhh=tt=far.example=x@fwd.example" {
		t.Error(twice, got, err)
	}
	thrice := rewrite("SRS1=kkkk=fwd.example==hhhh=tt=far.example=x@mid.example")
	if got, err := back(thrice); err != nil || got != "SRS0=hhhh=tt=far.example=x@fwd.example" {
		t.Error(thrice, got, err)
	}
	now = now.AddDate(0, 0, srsDays)
	if _, err := back(once); err != nil {
		t.Error(err)
	}
	now = now.AddDate(0, 0, 1)
	if _, err := back(once); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
	s.SetSecret([]byte("other"))
	if _, err := back(rewriteWith(t, s, "one")); !errors.Is(err, ErrForged) {
		t.Error("another secret's address was taken:", err)
	}
}

func rewriteWith(t *testing.T, s *Store, secret string) string {
	old := s.secret
	defer s.SetSecret(old)
	s.SetSecret([]byte(secret))
	a, err := s.RewriteSender(t.Context(), "x@foreign.example", "list@example.test")
	must(t, err)
	return a
}
