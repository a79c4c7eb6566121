package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) mountVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "mount",
		Short: "Show folders of the host in accounts' trees",
		Long: `A mount lays a folder of the host into an account's tree, where FTP shows it at /PATH.

  packetboat mount add ann /photos /srv/photos          she may read and change it
  packetboat mount add ann /archive /srv/archive --ro   she may only read it
  packetboat mount list
  packetboat mount remove ann /photos

What is in it stays the host's: no quota counts it, no removal of the mount or of the account touches it,
and what the host's permissions forbid the user that packetboat runs as, they forbid here. Links are followed
as long as they stay inside the folder. /PATH must be new, or an empty folder; the folders above it are made.
Changes hold at once, also for those who are connected.`,
	}, p.mountAdd(), p.mountList(), p.mountRemove())
}

func mountPath(account string) string { return "/accounts/" + url.PathEscape(account) + "/mounts" }

func (p *program) mountAdd() *cobra.Command {
	var n newMountJSON
	c := &cobra.Command{
		Use:   "add ACCOUNT /PATH HOSTDIR",
		Short: "Show the host's folder HOSTDIR at /PATH of an account's tree",
		Args:  cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Path = args[1]
			if !strings.HasPrefix(n.Path, "/") {
				return usageError{fmt.Errorf("%q: the path in the account's tree begins with /", n.Path)}
			}
			if args[2] == "" {
				return usageError{errors.New("HOSTDIR is empty")}
			}
			var err error
			if n.Host, err = filepath.Abs(args[2]); err != nil {
				return err
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var m mountJSON
				if err := ctl.call(cmd.Context(), http.MethodPost, mountPath(args[0]), n, &m); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(m)
				}
				if m.Problem != "" {
					fmt.Fprintf(p.stderr, "packetboat: warning: %s: %s\n", m.Host, m.Problem)
				}
				_, err := fmt.Fprintf(p.stdout, "%s shows %s at %s (%s)\n", m.Account, m.Host, m.Path, accessText(m))
				return err
			})
		},
	}
	c.Flags().BoolVar(&n.ReadOnly, "ro", false, "nothing in it can be changed")
	return c
}

func accessText(m mountJSON) string {
	if m.ReadOnly {
		return "read-only"
	}
	return "read and write"
}

func (p *program) mountList() *cobra.Command {
	return &cobra.Command{
		Use:   "list [ACCOUNT]",
		Short: "The mounts of an account, or of all, and what is wrong with them",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/mounts"
			if len(args) > 0 {
				path = mountPath(args[0])
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all []mountJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, path, nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				rows := [][]string{{"ACCOUNT", "PATH", "HOST FOLDER", "ACCESS", "PROBLEM"}}
				for _, m := range all {
					rows = append(rows, []string{m.Account, m.Path, m.Host, accessText(m), dash(m.Problem)})
				}
				return p.table(rows)
			})
		},
	}
}

func (p *program) mountRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove ACCOUNT /PATH",
		Short: "Take a host folder out of an account's tree; its files stay on the host",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				path := mountPath(args[0]) + "?" + url.Values{"path": {args[1]}}.Encode()
				var m mountJSON
				if err := ctl.call(cmd.Context(), http.MethodDelete, path, nil, &m); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(m)
				}
				_, err := fmt.Fprintf(p.stdout, "%s no longer shows %s\n", m.Account, m.Host)
				return err
			})
		},
	}
}
