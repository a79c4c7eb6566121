package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/packetboat/packetboat/smtp/sieve"
	"github.com/packetboat/packetboat/storage"
)

// The bodies of requests and replies about where mail goes.
type (
	aliasJSON struct {
		Address string `json:"address"`
		Account string `json:"account"`
	}
	groupJSON struct {
		Address        string   `json:"address"`
		MembersMaySend bool     `json:"members_may_send"`
		Size           int      `json:"size"`
		Members        []string `json:"members,omitempty"`
	}
	groupChangeJSON struct {
		MembersMaySend *bool    `json:"members_may_send,omitempty"`
		Add            []string `json:"add,omitempty"`
		Remove         []string `json:"remove,omitempty"`
	}
	domainRouteJSON struct {
		CatchAll *string `json:"catch_all,omitempty"`
		AliasOf  *string `json:"alias_of,omitempty"`
	}
	forwardJSON struct {
		Address string   `json:"address"` // "": all of the account's
		Targets []string `json:"targets"`
		Keep    bool     `json:"keep"`
	}
	scriptJSON struct {
		Name     string    `json:"name"`
		Active   bool      `json:"active"`
		Size     int64     `json:"size"`
		Modified time.Time `json:"modified"`
		Text     string    `json:"text,omitempty"`
	}
)

func (c *control) aliases(r *http.Request) (any, error) {
	var id int64
	if name := r.URL.Query().Get("account"); name != "" {
		r.SetPathValue("name", name)
		a, err := c.find(r)
		if err != nil {
			return nil, err
		}
		id = a.ID
	}
	all, err := c.store.Aliases(r.Context(), id)
	list := []aliasJSON{}
	for _, a := range all {
		list = append(list, aliasJSON(a))
	}
	return list, err
}

func showGroup(g storage.Group) groupJSON {
	return groupJSON{Address: g.Address, MembersMaySend: g.MembersMaySend, Size: g.Size, Members: g.Members}
}

func (c *control) groups(r *http.Request) (any, error) {
	all, err := c.store.Groups(r.Context())
	list := []groupJSON{}
	for _, g := range all {
		list = append(list, showGroup(g))
	}
	return list, err
}

func (c *control) group(r *http.Request) (any, error) {
	g, err := c.store.Group(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return showGroup(g), nil
}

func (c *control) addGroup(r *http.Request) (any, error) {
	n, err := body[groupChangeJSON](r)
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if err := c.store.AddGroup(r.Context(), name, n.MembersMaySend != nil && *n.MembersMaySend); err != nil {
		return nil, err
	}
	if err := c.store.ChangeMembers(r.Context(), name, n.Add, nil); err != nil {
		// The members were wrong: as if nothing was said.
		if undo := c.store.RemoveGroup(r.Context(), name); undo != nil {
			return nil, undo
		}
		return nil, err
	}
	return c.group(r)
}

func (c *control) changeGroup(r *http.Request) (any, error) {
	n, err := body[groupChangeJSON](r)
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if n.MembersMaySend != nil {
		if err := c.store.LetMembersSend(r.Context(), name, *n.MembersMaySend); err != nil {
			return nil, err
		}
	}
	if err := c.store.ChangeMembers(r.Context(), name, n.Add, n.Remove); err != nil {
		return nil, err
	}
	return c.group(r)
}

func (c *control) removeGroup(r *http.Request) (any, error) {
	g, err := c.store.Group(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return showGroup(g), c.store.RemoveGroup(r.Context(), g.Address)
}

func (c *control) domainRoute(r *http.Request) (any, error) {
	catchAll, target, err := c.store.DomainRoute(r.Context(), r.PathValue("name"))
	return domainRouteJSON{CatchAll: &catchAll, AliasOf: &target}, err
}

func (c *control) changeDomainRoute(r *http.Request) (any, error) {
	n, err := body[domainRouteJSON](r)
	if err != nil {
		return nil, err
	}
	if n.CatchAll != nil {
		if err := c.store.SetCatchAll(r.Context(), r.PathValue("name"), *n.CatchAll); err != nil {
			return nil, err
		}
	}
	if n.AliasOf != nil {
		if err := c.store.SetDomainAlias(r.Context(), r.PathValue("name"), *n.AliasOf); err != nil {
			return nil, err
		}
	}
	return c.domainRoute(r)
}

func (c *control) forwards(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	all, err := c.store.Forwards(r.Context(), a.ID)
	list := []forwardJSON{}
	for _, f := range all {
		list = append(list, forwardJSON(f))
	}
	return list, err
}

func (c *control) setForward(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	f, err := body[forwardJSON](r)
	if err != nil {
		return nil, err
	}
	if err := c.store.SetForward(r.Context(), a.ID, storage.Forwarding(f)); err != nil {
		return nil, err
	}
	return c.forwards(r)
}

func (c *control) sieveScripts(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	all, err := c.store.SieveScripts(r.Context(), a.ID)
	list := []scriptJSON{}
	for _, s := range all {
		list = append(list, scriptJSON{Name: s.Name, Active: s.Active, Size: s.Size, Modified: s.Modified})
	}
	return list, err
}

func (c *control) sieveScript(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	text, err := c.store.SieveScript(r.Context(), a.ID, r.PathValue("script"))
	if err != nil {
		return nil, err
	}
	return scriptJSON{Name: r.PathValue("script"), Size: int64(len(text)), Text: string(text)}, nil
}

func (c *control) putSieve(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	s, err := body[scriptJSON](r)
	if err != nil {
		return nil, err
	}
	if _, err := sieve.Compile(s.Text); err != nil {
		return nil, fmt.Errorf("%w: %v", errRequest, err)
	}
	name := r.PathValue("script")
	if err := c.store.PutSieve(r.Context(), a.ID, name, []byte(s.Text), c.sieveLimits()); err != nil {
		return nil, err
	}
	if s.Active {
		if err := c.store.ActivateSieve(r.Context(), a.ID, name); err != nil {
			return nil, err
		}
	}
	return scriptJSON{Name: name, Active: s.Active, Size: int64(len(s.Text))}, nil
}

func (c *control) removeSieve(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	return scriptJSON{Name: r.PathValue("script")}, c.store.RemoveSieve(r.Context(), a.ID, r.PathValue("script"))
}

func (c *control) activateSieve(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	s, err := body[scriptJSON](r)
	if err != nil {
		return nil, err
	}
	return s, c.store.ActivateSieve(r.Context(), a.ID, s.Name)
}
