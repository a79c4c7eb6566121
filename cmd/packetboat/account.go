package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/auth"
)

func (p *program) accountVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "account",
		Short: "Add, list, show, change and remove accounts",
		Long: `An account is a person or a device: one name, one password, one quota for mail and files.
NAME is its address (ann@example.org); without a domain the default domain is meant.`,
	}, p.accountAdd(), p.accountList(), p.accountShow(), p.accountSet(), p.accountRights(), p.accountPasswd(),
		p.accountSwitch("disable", "Refuse its logins and end its sessions; its mail still arrives", true),
		p.accountSwitch("enable", "Let it log in again", false), p.accountRemove(), p.accountUploads(), p.certVerb())
}

func (p *program) accountAdd() *cobra.Command {
	var n newAccountJSON
	var quota string
	var fromStdin bool
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Make an account; without --password-stdin a password is made and printed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if quota != "" {
				if n.Quota, err = parseSize(quota); err != nil {
					return usageError{fmt.Errorf("--quota: %w", err)}
				}
			}
			if cmd.Flags().Changed("messages") && n.Limit < 1 {
				return usageError{errors.New("--messages: a number from 1 on")}
			}
			generated, err := p.password(fromStdin, &n.Password)
			if err != nil {
				return err
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				if n.Name, err = qualify(cmd.Context(), ctl, args[0]); err != nil {
					return err
				}
				for i, a := range n.Aliases {
					if n.Aliases[i], err = qualify(cmd.Context(), ctl, a); err != nil {
						return err
					}
				}
				var a accountJSON
				if err := ctl.call(cmd.Context(), http.MethodPost, "/accounts", n, &a); err != nil {
					return err
				}
				return p.announce(a, "added", n.Password, generated)
			})
		},
	}
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input (one line)")
	c.Flags().BoolVar(&n.Admin, "admin", false, "make it an administrator")
	c.Flags().StringVar(&quota, "quota", "", "bytes over mail and files together, e.g. 5GiB (default: no limit)")
	c.Flags().Int64Var(&n.Limit, "messages", 0, "how many messages it may have (default: no limit)")
	c.Flags().StringArrayVar(&n.Aliases, "alias", nil, "a further `address`; repeatable")
	return c
}

// announce prints what was done; a password that was made is printed this once.
func (p *program) announce(a accountJSON, done, password string, generated bool) error {
	if p.json {
		out := map[string]any{"account": a}
		if generated {
			out["password"] = password
		}
		return p.printJSON(out)
	}
	fmt.Fprintf(p.stdout, "%s %s\n", a.Name, done)
	if generated {
		fmt.Fprintf(p.stdout, "password: %s\n", password)
	}
	return nil
}

// password reads it from standard input or makes one.
func (p *program) password(fromStdin bool, into *string) (generated bool, err error) {
	if !fromStdin {
		*into = auth.GeneratePassword()
		return true, nil
	}
	line, err := bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading the password: %w", err)
	}
	*into = strings.TrimRight(line, "\r\n")
	if *into == "" {
		return false, usageError{errors.New("--password-stdin: standard input holds no password")}
	}
	return false, nil
}

// qualify adds the default domain to a bare name.
func qualify(ctx context.Context, ctl *caller, name string) (string, error) {
	if strings.Contains(name, "@") {
		return name, nil
	}
	var all []domainJSON
	if err := ctl.call(ctx, http.MethodGet, "/domains", nil, &all); err != nil {
		return "", err
	}
	for _, d := range all {
		if d.Default {
			return name + "@" + d.Name, nil
		}
	}
	return "", errors.New("there is no domain yet: packetboat domain add NAME")
}

func (p *program) accountList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all accounts",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all []accountJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/accounts", nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				rows := [][]string{{"NAME", "USED", "QUOTA", "MESSAGES", "FILES", "SESSIONS", "STATE", "RIGHTS"}}
				for _, a := range all {
					rows = append(rows, []string{a.Name, size(a.Used), quotaText(a.Quota), fmt.Sprint(a.Messages), fmt.Sprint(a.Files), fmt.Sprint(a.Sessions), stateText(a), rightsText(a)})
				}
				return p.table(rows)
			})
		},
	}
}

func quotaText(n int64) string {
	if n == 0 {
		return "none"
	}
	return size(n)
}

// messagesText tells how many messages there are, and how many there may be.
func messagesText(a accountJSON) string {
	switch {
	case a.Limit > 0:
		return fmt.Sprintf("%d of %d", a.Messages, a.Limit)
	case a.Limit < 0:
		return fmt.Sprintf("%d, and no more", a.Messages)
	}
	return fmt.Sprint(a.Messages)
}

func stateText(a accountJSON) string {
	switch {
	case a.Disabled:
		return "disabled"
	case a.Admin:
		return "admin"
	}
	return "enabled"
}

func (p *program) accountShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show one account",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var a accountJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/accounts/"+url.PathEscape(args[0]), nil, &a); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(a)
				}
				return p.table([][]string{
					{"name", a.Name}, {"state", stateText(a)}, {"aliases", dash(strings.Join(a.Aliases, ", "))},
					{"used", size(a.Used)}, {"quota", quotaText(a.Quota)}, {"messages", messagesText(a)}, {"files", fmt.Sprint(a.Files)}, {"entries", fmt.Sprintf("%d (files, folders, mailboxes)", a.Entries)}, {"rights", rightsText(a)},
					{"sending", sendingText(a.Sending)},
					{"sessions", fmt.Sprint(a.Sessions)}, {"created", a.Created.Local().Format("2006-01-02 15:04:05")},
				})
			})
		},
	}
}

func (p *program) accountSet() *cobra.Command {
	var change accountChangeJSON
	var quota, messages, jail string
	var send sendFlags
	var admin bool
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Change an account's quota, jail, aliases, sending limits or administrator's right",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("quota") {
				n, err := int64(0), error(nil)
				if quota != "none" {
					n, err = parseSize(quota)
				}
				if err != nil {
					return usageError{fmt.Errorf("--quota: %w, or none", err)}
				}
				change.Quota = &n
			}
			if cmd.Flags().Changed("messages") {
				n, err := int64(0), error(nil)
				if messages != "none" {
					n, err = strconv.ParseInt(messages, 10, 64)
				}
				if err != nil || n < 0 {
					return usageError{errors.New("--messages: a number, or none")}
				}
				if n == 0 && messages != "none" {
					n = -1 // none at all
				}
				change.Limit = &n
			}
			if cmd.Flags().Changed("admin") {
				change.Admin = &admin
			}
			if cmd.Flags().Changed("jail") {
				if jail == "none" {
					jail = "/"
				}
				change.Jail = &jail
			}
			if err := send.into(cmd, &change); err != nil {
				return err
			}
			if change.Quota == nil && change.Limit == nil && change.Admin == nil && change.Jail == nil && change.Send == nil && len(change.AddAliases)+len(change.RemoveAliases) == 0 {
				return usageError{errors.New("nothing to change: give one of --quota, --messages, --jail, --admin, --alias, --remove-alias and the --send- limits")}
			}
			return p.with(cmd.Context(), func(ctl *caller) (err error) {
				for _, list := range [][]string{change.AddAliases, change.RemoveAliases} {
					for i := range list {
						if list[i], err = qualify(cmd.Context(), ctl, list[i]); err != nil {
							return err
						}
					}
				}
				var a accountJSON
				if err := ctl.call(cmd.Context(), http.MethodPatch, "/accounts/"+url.PathEscape(args[0]), change, &a); err != nil {
					return err
				}
				return p.announce(a, "changed", "", false)
			})
		},
	}
	c.Flags().StringVar(&quota, "quota", "", "bytes over mail and files together, e.g. 5GiB, or none")
	c.Flags().StringVar(&messages, "messages", "", "how many messages it may have, or none for no limit")
	c.Flags().StringVar(&jail, "jail", "", "the `folder` of its tree that it sees as / by FTP, made if it is missing; / or none for the whole tree. Ends its FTP sessions")
	c.Flags().BoolVar(&admin, "admin", false, "make it an administrator; --admin=false takes that away")
	send.add(c)
	c.Flags().StringArrayVar(&change.AddAliases, "alias", nil, "add an `address`; repeatable")
	c.Flags().StringArrayVar(&change.RemoveAliases, "remove-alias", nil, "remove an `address`; repeatable")
	return c
}

func (p *program) accountPasswd() *cobra.Command {
	var fromStdin bool
	c := &cobra.Command{
		Use:   "passwd NAME",
		Short: "Set a new password and end the account's sessions; without --password-stdin one is made and printed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var password string
			generated, err := p.password(fromStdin, &password)
			if err != nil {
				return err
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var a accountJSON
				if err := ctl.call(cmd.Context(), http.MethodPatch, "/accounts/"+url.PathEscape(args[0]), accountChangeJSON{Password: &password}, &a); err != nil {
					return err
				}
				return p.announce(a, "has a new password", password, generated)
			})
		},
	}
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input (one line)")
	return c
}

func (p *program) accountSwitch(verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var a accountJSON
				if err := ctl.call(cmd.Context(), http.MethodPatch, "/accounts/"+url.PathEscape(args[0]), accountChangeJSON{Disabled: &disabled}, &a); err != nil {
					return err
				}
				return p.announce(a, verb+"d", "", false)
			})
		},
	}
}

func (p *program) accountRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Aliases: []string{"delete"},
		Short:   "Remove an account with all its mail and files, and end its sessions",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var a accountJSON
				if err := ctl.call(cmd.Context(), http.MethodDelete, "/accounts/"+url.PathEscape(args[0]), nil, &a); err != nil {
					return err
				}
				return p.announce(a, "removed", "", false)
			})
		},
	}
}

func (p *program) domainVerb() *cobra.Command {
	change := func(verb, short, method string) *cobra.Command {
		return &cobra.Command{
			Use:   verb + " NAME",
			Short: short,
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return p.with(cmd.Context(), func(ctl *caller) error {
					var d domainJSON
					if err := ctl.call(cmd.Context(), method, "/domains/"+url.PathEscape(args[0]), nil, &d); err != nil {
						return err
					}
					if p.json {
						return p.printJSON(d)
					}
					fmt.Fprintf(p.stdout, "%s %s\n", d.Name, map[string]string{"add": "added", "remove": "removed"}[verb])
					if verb == "add" {
						fmt.Fprintf(p.stdout, "its DNS records: packetboat domain dns %s\n", d.Name)
					}
					return nil
				})
			},
		}
	}
	return group(&cobra.Command{Use: "domain", Short: "Add, list and remove the domains whose mail is taken"},
		change("add", "Take mail for a domain", http.MethodPut),
		p.domainDNS(),
		p.domainDKIM(),
		p.domainCatchAll(), p.domainAlias(),
		change("remove", "No longer take mail for a domain (no account may have an address in it)", http.MethodDelete),
		&cobra.Command{
			Use:   "list",
			Short: "List the domains",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return p.with(cmd.Context(), func(ctl *caller) error {
					var all []domainJSON
					if err := ctl.call(cmd.Context(), http.MethodGet, "/domains", nil, &all); err != nil {
						return err
					}
					if p.json {
						return p.printJSON(all)
					}
					rows := [][]string{{"DOMAIN", ""}}
					for _, d := range all {
						rows = append(rows, []string{d.Name, map[bool]string{true: "default"}[d.Default]})
					}
					return p.table(rows)
				})
			},
		})
}
