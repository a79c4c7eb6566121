package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// show prints v as JSON if that is asked for, else what text gives.
func (p *program) show(v any, text string) error {
	if p.json {
		return p.printJSON(v)
	}
	_, err := fmt.Fprintln(p.stdout, text)
	return err
}

func (p *program) aliasVerb() *cobra.Command {
	change := func(use, short, word string, body func(addr string) accountChangeJSON) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return p.with(cmd.Context(), func(ctl *caller) error {
					var a accountJSON
					if err := ctl.call(cmd.Context(), http.MethodPatch, "/accounts/"+url.PathEscape(args[1]), body(args[0]), &a); err != nil {
						return err
					}
					return p.show(a, args[0]+" "+word+" "+a.Name)
				})
			},
		}
	}
	return group(&cobra.Command{Use: "alias", Short: "Give accounts further addresses",
		Long: `An alias is one more address of an account: it receives by it, sends with it, and may log in with it.

  packetboat alias add info@example.org ann
  packetboat alias list
  packetboat alias remove info@example.org ann`},
		change("add ADDRESS ACCOUNT", "Give an account one more address", "is an address of", func(addr string) accountChangeJSON { return accountChangeJSON{AddAliases: []string{addr}} }),
		change("remove ADDRESS ACCOUNT", "Take an address from an account", "is no longer an address of", func(addr string) accountChangeJSON { return accountChangeJSON{RemoveAliases: []string{addr}} }),
		&cobra.Command{Use: "list [ACCOUNT]", Short: "The aliases of an account, or of all", Args: cobra.MaximumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				path := "/aliases"
				if len(args) > 0 {
					path += "?" + url.Values{"account": args}.Encode()
				}
				return p.with(cmd.Context(), func(ctl *caller) error {
					var all []aliasJSON
					if err := ctl.call(cmd.Context(), http.MethodGet, path, nil, &all); err != nil {
						return err
					}
					if p.json {
						return p.printJSON(all)
					}
					rows := [][]string{{"ADDRESS", "ACCOUNT"}}
					for _, a := range all {
						rows = append(rows, []string{a.Address, a.Account})
					}
					return p.table(rows)
				})
			}})
}

// groupCall asks about a group, whose name may lack its domain.
func (p *program) groupCall(ctx context.Context, method, name string, in *groupChangeJSON, say func(g groupJSON) string) error {
	return p.with(ctx, func(ctl *caller) error {
		full, err := qualify(ctx, ctl, name)
		if err != nil {
			return err
		}
		var change any
		if in != nil {
			change = in
			for _, members := range [][]string{in.Add, in.Remove} {
				for i := range members {
					if members[i], err = qualify(ctx, ctl, members[i]); err != nil {
						return err
					}
				}
			}
		}
		var g groupJSON
		if err := ctl.call(ctx, method, "/groups/"+url.PathEscape(full), change, &g); err != nil {
			return err
		}
		return p.show(g, say(g))
	})
}

func (p *program) groupVerb() *cobra.Command {
	var send bool
	members := func(g groupJSON) string { return fmt.Sprintf("%s has %d members", g.Address, g.Size) }
	add := &cobra.Command{Use: "add GROUP [MEMBER...]", Short: "Make a group", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.groupCall(cmd.Context(), http.MethodPut, args[0], &groupChangeJSON{MembersMaySend: &send, Add: args[1:]}, members)
		}}
	add.Flags().BoolVar(&send, "members-may-send", false, "who is a member may send as the group")
	member := group(&cobra.Command{Use: "member", Short: "Change who is in a group"},
		&cobra.Command{Use: "add GROUP MEMBER...", Short: "Add members", Args: cobra.MinimumNArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
			return p.groupCall(cmd.Context(), http.MethodPatch, args[0], &groupChangeJSON{Add: args[1:]}, members)
		}},
		&cobra.Command{Use: "remove GROUP MEMBER...", Short: "Remove members", Args: cobra.MinimumNArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
			return p.groupCall(cmd.Context(), http.MethodPatch, args[0], &groupChangeJSON{Remove: args[1:]}, members)
		}},
		&cobra.Command{Use: "list GROUP", Short: "List members", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return p.groupCall(cmd.Context(), http.MethodGet, args[0], nil, func(g groupJSON) string { return strings.Join(g.Members, "\n") })
		}})
	return group(&cobra.Command{Use: "group", Short: "Addresses with members: mail for one goes to all of them",
		Long: `A member is an address: of an account, of another group, or of another domain. Each mailbox gets one copy.

  packetboat group add team@example.org ann joe@example.org friend@elsewhere.example
  packetboat group member add team@example.org eve@example.org
  packetboat group list`},
		add, member,
		&cobra.Command{Use: "remove GROUP", Short: "Remove a group; mail for it is refused", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return p.groupCall(cmd.Context(), http.MethodDelete, args[0], nil, func(g groupJSON) string { return "removed " + g.Address })
		}},
		&cobra.Command{Use: "list", Short: "List the groups", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all []groupJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/groups", nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				rows := [][]string{{"GROUP", "MEMBERS", "MEMBERS SEND"}}
				for _, g := range all {
					rows = append(rows, []string{g.Address, fmt.Sprint(g.Size), yes(g.MembersMaySend)})
				}
				return p.table(rows)
			})
		}})
}

func (p *program) forwardVerb() *cobra.Command {
	var of string
	var keep bool
	call := func(cmd *cobra.Command, account, method string, in any) error {
		return p.with(cmd.Context(), func(ctl *caller) error {
			var all []forwardJSON
			if err := ctl.call(cmd.Context(), method, "/accounts/"+url.PathEscape(account)+"/forwards", in, &all); err != nil {
				return err
			}
			if p.json {
				return p.printJSON(all)
			}
			rows := [][]string{{"MAIL FOR", "GOES TO", "A COPY STAYS"}}
			for _, f := range all {
				if f.Address == "" {
					f.Address = "all addresses"
				}
				rows = append(rows, []string{f.Address, strings.Join(f.Targets, " "), yes(f.Keep)})
			}
			return p.table(rows)
		})
	}
	set := &cobra.Command{Use: "set ACCOUNT ADDRESS...", Short: "Send an account's mail on to addresses", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call(cmd, args[0], http.MethodPut, forwardJSON{Address: of, Targets: args[1:], Keep: keep})
		}}
	set.Flags().BoolVar(&keep, "keep", false, "a copy stays in the account")
	clearing := &cobra.Command{Use: "clear ACCOUNT", Short: "Keep an account's mail here", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call(cmd, args[0], http.MethodPut, forwardJSON{Address: of})
		}}
	for _, c := range []*cobra.Command{set, clearing} {
		c.Flags().StringVar(&of, "address", "", "only mail for this one of the account's addresses")
	}
	return group(&cobra.Command{Use: "forward", Short: "Send accounts' mail on to other addresses",
		Long: `What is sent on to other domains leaves with a sender of ours (SRS), so that it passes SPF, and is sealed (ARC). What comes back finds its way.

  packetboat forward set ann ann@elsewhere.example --keep
  packetboat forward set ann sales@elsewhere.example --address info@example.org
  packetboat forward show ann
  packetboat forward clear ann`}, set, clearing,
		&cobra.Command{Use: "show ACCOUNT", Short: "Where an account's mail goes", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return call(cmd, args[0], http.MethodGet, nil)
		}})
}

func (p *program) domainCatchAll() *cobra.Command {
	return p.domainRouteVerb("catchall DOMAIN [ADDRESS]", "Who gets mail for addresses of a domain that nobody has", func(v *string) domainRouteJSON { return domainRouteJSON{CatchAll: v} },
		func(d domainRouteJSON) string { return "catch-all: " + dash(*d.CatchAll) })
}

func (p *program) domainAlias() *cobra.Command {
	return p.domainRouteVerb("alias DOMAIN [TARGET]", "Make the addresses of TARGET addresses of DOMAIN too", func(v *string) domainRouteJSON { return domainRouteJSON{AliasOf: v} },
		func(d domainRouteJSON) string { return "alias of: " + dash(*d.AliasOf) })
}

// domainRouteVerb shows or changes a setting of a domain.
func (p *program) domainRouteVerb(use, short string, body func(v *string) domainRouteJSON, say func(d domainRouteJSON) string) *cobra.Command {
	var none bool
	c := &cobra.Command{Use: use, Short: short, Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if none && len(args) == 2 {
				return usageError{fmt.Errorf("--none or %s, not both", args[1])}
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var d domainRouteJSON
				method, in := http.MethodGet, any(nil)
				if len(args) == 2 || none {
					v := strings.Join(args[1:], "")
					method, in = http.MethodPatch, body(&v)
				}
				if err := ctl.call(cmd.Context(), method, "/domains/"+url.PathEscape(args[0])+"/route", in, &d); err != nil {
					return err
				}
				return p.show(d, say(d))
			})
		}}
	c.Flags().BoolVar(&none, "none", false, "end it")
	return c
}
