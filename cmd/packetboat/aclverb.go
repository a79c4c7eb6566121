package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func (p *program) aclVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "acl",
		Short: "Who but its owner may do what with a mailbox",
		Long: `A mailbox is shared by giving others rights on it. They find it as Shared/OWNER/MAILBOX in IMAP.
WHO is an account, or anyone for all of them; with a - before it the rights are taken away from what
other entries give (write -- before such a one). RIGHTS are letters (RFC 4314):

  l  see it in lists         r  read it               s  mark as seen, for all who use it
  w  flags and tags          i  put messages into it  k  make mailboxes below it
  x  delete or rename it     t  mark as deleted       e  remove for good
  a  change these rights     p  send mail to it (shown only)

lr is for reading, lrswite for working in it.`,
	}, p.aclList(), p.aclGrant(), p.aclRevoke())
}

func aclPath(account string) string { return "/accounts/" + url.PathEscape(account) + "/acl" }

func (p *program) aclList() *cobra.Command {
	return &cobra.Command{
		Use:   "list ACCOUNT [MAILBOX]",
		Short: "The rights on a mailbox, or on all that the account shares",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				path := aclPath(args[0])
				if len(args) > 1 {
					path += "?" + url.Values{"mailbox": {args[1]}}.Encode()
				}
				var all []aclJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, path, nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				return p.table(aclRows(all...))
			})
		},
	}
}

func aclRows(all ...aclJSON) [][]string {
	rows := [][]string{{"MAILBOX", "WHO", "RIGHTS"}}
	for _, j := range all {
		for _, g := range j.Entries {
			rows = append(rows, []string{j.Mailbox, g.Identifier, g.Rights})
		}
	}
	return rows
}

func (p *program) aclGrant() *cobra.Command {
	return &cobra.Command{
		Use:   "grant ACCOUNT MAILBOX WHO RIGHTS",
		Short: "Give rights on a mailbox, in place of those that WHO has",
		Args:  cobra.ExactArgs(4),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.changeACL(cmd, args[0], aclChangeJSON{Mailbox: args[1], Identifier: args[2], Rights: args[3]})
		},
	}
}

func (p *program) aclRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ACCOUNT MAILBOX WHO",
		Short: "Take all rights of WHO on a mailbox away, at once",
		Args:  cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.changeACL(cmd, args[0], aclChangeJSON{Mailbox: args[1], Identifier: args[2]})
		},
	}
}

func (p *program) changeACL(cmd *cobra.Command, account string, change aclChangeJSON) error {
	return p.with(cmd.Context(), func(ctl *caller) error {
		var j aclJSON
		if err := ctl.call(cmd.Context(), http.MethodPatch, aclPath(account), change, &j); err != nil {
			return err
		}
		if p.json {
			return p.printJSON(j)
		}
		return p.table(aclRows(j))
	})
}
