package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/auth/session"
)

func (p *program) sessionVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "session",
		Short: "List, show and kill sessions of every protocol; history of those that ended",
	}, p.sessionList(), p.sessionShow(), p.sessionKill(), p.sessionHistory())
}

func (p *program) sessionList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Who is connected, from where, with what, doing what",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all []session.Info
				if err := ctl.call(cmd.Context(), http.MethodGet, "/sessions", nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				if !ctl.running {
					fmt.Fprintln(p.stderr, "the server is not running: no sessions")
				}
				now := time.Now()
				rows := [][]string{{"ID", "LISTENER", "ACCOUNT", "PEER", "TLS", "CLIENT", "STATE", "ACTIVITY", "OPEN", "IN", "OUT", "SINCE", "IDLE"}}
				for _, s := range all {
					rows = append(rows, []string{s.ID, s.Listener, dash(s.Account), peer(s), yes(s.TLS != ""), dash(s.Client), string(s.State),
						dash(s.Activity), dash(s.Open), size(s.BytesIn), size(s.BytesOut), ago(now.Sub(s.Started)), ago(now.Sub(s.LastActive))})
				}
				return p.table(rows)
			})
		},
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func host(addr string) string {
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return h
}

// peer is the other end of a session, with an arrow where we opened the connection.
func peer(s session.Info) string {
	if s.Direction == "out" {
		return "-> " + host(s.Remote)
	}
	return host(s.Remote)
}

func (p *program) sessionShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show one session (a unique beginning of the ID is enough)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var s session.Info
				if err := ctl.call(cmd.Context(), http.MethodGet, "/sessions/"+url.PathEscape(args[0]), nil, &s); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(s)
				}
				return p.table([][]string{
					{"id", s.ID}, {"protocol", string(s.Protocol)}, {"listener", s.Listener}, {"remote", s.Remote}, {"direction", cmp.Or(s.Direction, "in")}, {"local", s.Local}, {"front end", dash(s.Front)},
					{"tls", dash(s.TLS)}, {"client", dash(s.Client)}, {"account", dash(s.Account)}, {"logged in by", loginText(s)}, {"state", string(s.State)},
					{"activity", dash(s.Activity)}, {"open", dash(s.Open)}, {"in", size(s.BytesIn)}, {"out", size(s.BytesOut)}, {"commands", fmt.Sprint(s.Commands)},
					{"started", s.Started.Local().Format("2006-01-02 15:04:05")}, {"last active", s.LastActive.Local().Format("2006-01-02 15:04:05")},
				})
			})
		},
	}
}

func (p *program) sessionKill() *cobra.Command {
	var account string
	c := &cobra.Command{
		Use:   "kill ID | kill --account NAME",
		Short: "End one session, or all of an account, with a goodbye in its protocol",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (account != "") {
				return usageError{errors.New("give a session's ID or --account NAME")}
			}
			path := "/accounts/" + url.PathEscape(account) + "/sessions"
			if len(args) == 1 {
				path = "/sessions/" + url.PathEscape(args[0])
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var k killedJSON
				if err := ctl.call(cmd.Context(), http.MethodDelete, path, nil, &k); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(k)
				}
				fmt.Fprintf(p.stdout, "%d killed\n", k.Killed)
				return nil
			})
		},
	}
	c.Flags().StringVar(&account, "account", "", "end all sessions of this `account`")
	return c
}

func (p *program) sessionHistory() *cobra.Command {
	var account string
	var limit int
	c := &cobra.Command{
		Use:   "history",
		Short: "Sessions that ended, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"limit": {fmt.Sprint(limit)}}
			if account != "" {
				q.Set("account", account)
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all []session.Info
				if err := ctl.call(cmd.Context(), http.MethodGet, "/history?"+q.Encode(), nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				rows := [][]string{{"ENDED", "ID", "LISTENER", "ACCOUNT", "PEER", "CLIENT", "LASTED", "COMMANDS", "IN", "OUT", "REASON"}}
				for _, s := range all {
					rows = append(rows, []string{s.Ended.Local().Format("2006-01-02 15:04:05"), s.ID, s.Listener, dash(s.Account), peer(s), dash(s.Client),
						lasted(s.Ended.Sub(s.Started)), fmt.Sprint(s.Commands), size(s.BytesIn), size(s.BytesOut), dash(s.EndReason)})
				}
				return p.table(rows)
			})
		},
	}
	c.Flags().StringVar(&account, "account", "", "only those of this `account`")
	c.Flags().IntVar(&limit, "limit", 50, "how many at most")
	return c
}

func (p *program) healthVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Exit 0 when the server of this data folder runs and answers (for containers and monitors)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := p.flags.dataDir()
			if err != nil {
				return err
			}
			ctl, err := dialRunning(dir)
			if err != nil {
				return fmt.Errorf("%w: %v", errNotRunning, err)
			}
			defer ctl.close()
			var h healthJSON
			if err := ctl.call(cmd.Context(), http.MethodGet, "/health", nil, &h); err != nil {
				return err
			}
			if p.json {
				return p.printJSON(h)
			}
			fmt.Fprintf(p.stdout, "packetboat %s is up for %s, %d sessions\n", h.Version, ago(time.Since(h.Started)), h.Sessions)
			return nil
		},
	}
}

// loginText is what a session was logged in to with.
func loginText(s session.Info) string {
	switch {
	case s.Account == "":
		return "-"
	case s.Via == "":
		return "password"
	}
	return s.Via
}
