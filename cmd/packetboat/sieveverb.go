package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/smtp/sieve"
)

func (p *program) sieveVerb() *cobra.Command {
	path := func(account, script string) string {
		return "/accounts/" + url.PathEscape(account) + "/sieve/" + url.PathEscape(script)
	}
	call := func(cmd *cobra.Command, method, path string, in any, text func(s scriptJSON) string) error {
		return p.with(cmd.Context(), func(ctl *caller) error {
			var s scriptJSON
			if err := ctl.call(cmd.Context(), method, path, in, &s); err != nil {
				return err
			}
			return p.show(s, text(s))
		})
	}
	var active bool
	put := &cobra.Command{Use: "put ACCOUNT NAME FILE", Short: "Store a filter; FILE may be -", Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readScript(cmd.InOrStdin(), args[2])
			if err != nil {
				return err
			}
			return call(cmd, http.MethodPut, path(args[0], args[1]), scriptJSON{Text: string(text), Active: active}, func(s scriptJSON) string {
				return fmt.Sprintf("stored %s (%d bytes)", s.Name, s.Size)
			})
		}}
	put.Flags().BoolVar(&active, "activate", false, "run it from now on")
	return group(&cobra.Command{Use: "sieve", Short: "Accounts' mail filters (RFC 5228)",
		Long: `An account has filters of which one is active. Mail clients manage them with ManageSieve (port 4190); here is the same for administrators.

  packetboat sieve put ann work filter.sieve --activate
  packetboat sieve list ann
  packetboat sieve activate ann --none
  packetboat sieve check filter.sieve`},
		put, p.sieveActivate(), p.sieveList(),
		&cobra.Command{Use: "get ACCOUNT NAME", Short: "Print a filter", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
			return call(cmd, http.MethodGet, path(args[0], args[1]), nil, func(s scriptJSON) string { return s.Text })
		}},
		&cobra.Command{Use: "remove ACCOUNT NAME", Short: "Remove a filter that is not active", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
			return call(cmd, http.MethodDelete, path(args[0], args[1]), nil, func(s scriptJSON) string { return "removed " + s.Name })
		}},
		&cobra.Command{Use: "check FILE", Short: "Tell what is wrong with a filter; FILE may be -", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readScript(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			if _, err := sieve.Compile(string(text)); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			_, err = fmt.Fprintln(p.stdout, "the filter is valid")
			return err
		}})
}

// readScript reads a file, or what comes in, and no more than a script may have.
func readScript(stdin io.Reader, name string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	return io.ReadAll(io.LimitReader(stdin, sieve.MaxScript+1))
}

func (p *program) sieveActivate() *cobra.Command {
	var none bool
	c := &cobra.Command{Use: "activate ACCOUNT [NAME]", Short: "Run a filter from now on, or --none", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if none == (len(args) == 2) {
				return usageError{fmt.Errorf("give the NAME of a filter, or --none")}
			}
			var s scriptJSON
			if len(args) == 2 {
				s.Name = args[1]
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				if err := ctl.call(cmd.Context(), http.MethodPost, "/accounts/"+url.PathEscape(args[0])+"/sieve-active", s, &s); err != nil {
					return err
				}
				return p.show(s, "active: "+dash(s.Name))
			})
		}}
	c.Flags().BoolVar(&none, "none", false, "run no filter")
	return c
}

func (p *program) sieveList() *cobra.Command {
	return &cobra.Command{Use: "list ACCOUNT", Short: "List an account's filters", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all []scriptJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/accounts/"+url.PathEscape(args[0])+"/sieve", nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				rows := [][]string{{"NAME", "ACTIVE", "BYTES", "CHANGED"}}
				for _, s := range all {
					rows = append(rows, []string{s.Name, yes(s.Active), fmt.Sprint(s.Size), s.Modified.Format("2006-01-02 15:04")})
				}
				return p.table(rows)
			})
		}}
}
