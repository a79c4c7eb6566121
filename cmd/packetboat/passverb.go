package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/auth"
)

func (p *program) tokenVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke tokens of an account",
		Long: `A token logs in to an account like its password, but can be limited to protocols and
in time, and be revoked alone. It is shown once. Clients send it as a bearer token
(OAUTHBEARER, XOAUTH2), or as the password where they know nothing else.`,
	}, p.tokenAdd(), p.passList("tokens", "List the tokens of an account"), p.passRemove("revoke", "tokens", "Revoke a token and end the sessions that use it"))
}

// passFlags are what a token and a certificate can be limited by.
type passFlags struct {
	name    string
	scopes  []string
	expires string
}

func (f *passFlags) add(c *cobra.Command, name string) {
	c.Flags().StringVar(&f.name, "name", "", name)
	c.Flags().StringSliceVar(&f.scopes, "scope", nil, "what it is good for, of `"+strings.Join(auth.Scopes, ",")+"` (default all)")
	c.Flags().StringVar(&f.expires, "expires", "never", "when it ends: a `time` from now such as 12h or 90d, a date (2027-01-31), or never")
}

func (f *passFlags) request(now time.Time) (newPassJSON, error) {
	expires, err := parseEnd(f.expires, now)
	if err != nil {
		return newPassJSON{}, usageError{fmt.Errorf("--expires: %w", err)}
	}
	return newPassJSON{Name: f.name, Scopes: f.scopes, Expires: expires}, nil
}

// parseEnd reads when something ends: 12h, 90d, 2w, a date (its beginning, in local time), or never.
func parseEnd(v string, now time.Time) (time.Time, error) {
	if v == "never" {
		return time.Time{}, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, v, time.Local); err == nil {
		return t, nil
	}
	for suffix, days := range map[string]int{"d": 1, "w": 7} {
		digits, ok := strings.CutSuffix(v, suffix)
		if n, err := strconv.Atoi(digits); ok && err == nil && n > 0 && n <= 36500/days {
			return now.AddDate(0, 0, n*days), nil
		}
	}
	if d, err := time.ParseDuration(v); err == nil && d > 0 {
		return now.Add(d), nil
	}
	return time.Time{}, errors.New("want a time such as 12h or 90d, a date such as 2027-01-31, or never")
}

// passPath is where the control API has them.
func passPath(account, kinds string) string {
	return "/accounts/" + url.PathEscape(account) + "/" + kinds
}

func (p *program) tokenAdd() *cobra.Command {
	var f passFlags
	c := &cobra.Command{
		Use:   "add ACCOUNT --name NAME",
		Short: "Make a token and print it, this once",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := f.request(time.Now())
			if err != nil {
				return err
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var t passJSON
				if err := ctl.call(cmd.Context(), http.MethodPost, passPath(args[0], "tokens"), n, &t); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(t)
				}
				fmt.Fprintf(p.stdout, "%s has a token %q for %s, %s\ntoken: %s\n", t.Account, t.Name, strings.Join(t.Scopes, ", "), endText(t), t.Token)
				return nil
			})
		},
	}
	f.add(c, "what it is for, e.g. phone; a `name` of the account's own")
	c.MarkFlagRequired("name")
	return c
}

func endText(t passJSON) string {
	switch {
	case t.Expires.IsZero():
		return "without end"
	case t.Expired:
		return "expired"
	}
	return "until " + t.Expires.Local().Format("2006-01-02 15:04")
}

func usedText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format("2006-01-02 15:04")
}

func (p *program) passList(kinds, short string) *cobra.Command {
	return &cobra.Command{
		Use:   "list ACCOUNT",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all []passJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, passPath(args[0], kinds), nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				rows := [][]string{{"NAME", "SCOPE", "CREATED", "LAST USED", "ENDS"}}
				if kinds == "certificates" {
					rows[0] = append(rows[0], "FINGERPRINT (SHA-256)")
				}
				for _, t := range all {
					row := []string{t.Name, strings.Join(t.Scopes, ","), usedText(t.Created), usedText(t.Used), endText(t)}
					if kinds == "certificates" {
						row = append(row, t.Fingerprint)
					}
					rows = append(rows, row)
				}
				return p.table(rows)
			})
		},
	}
}

func (p *program) passRemove(verb, kinds, short string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " ACCOUNT NAME",
		Short: short,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var t passJSON
				if err := ctl.call(cmd.Context(), http.MethodDelete, passPath(args[0], kinds)+"/"+url.PathEscape(args[1]), nil, &t); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(t)
				}
				fmt.Fprintf(p.stdout, "%s: %s %q %sd\n", t.Account, strings.TrimSuffix(kinds, "s"), t.Name, verb)
				return nil
			})
		},
	}
}

func (p *program) certVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "cert",
		Short: "Register clients' certificates that log in to an account (EXTERNAL)",
		Long: `A client that shows a certificate which a CA of tls.client_ca signed can log in without a
password: to the account whose address the certificate names (rfc822Name), or to the
one that it is registered for here.`,
	}, p.certAdd(), p.passList("certificates", "List the certificates of an account"),
		p.passRemove("remove", "certificates", "Take a certificate away from an account and end the sessions that use it"))
}

func (p *program) certAdd() *cobra.Command {
	var f passFlags
	c := &cobra.Command{
		Use:   "add ACCOUNT FILE|FINGERPRINT",
		Short: "Register a certificate by its file (PEM) or the SHA-256 of its DER form",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := f.request(time.Now())
			if err != nil {
				return err
			}
			if err := fingerprintInto(&n, args[1]); err != nil {
				return err
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var t passJSON
				if err := ctl.call(cmd.Context(), http.MethodPost, passPath(args[0], "certificates"), n, &t); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(t)
				}
				fmt.Fprintf(p.stdout, "%s has a certificate %q for %s, %s\n", t.Account, t.Name, strings.Join(t.Scopes, ", "), endText(t))
				return nil
			})
		},
	}
	f.add(c, "a `name` of the account's own (default: the beginning of the fingerprint)")
	return c
}

// fingerprintInto takes a fingerprint, or that of the certificate in a file.
func fingerprintInto(n *newPassJSON, arg string) error {
	sum, err := auth.Fingerprint(arg)
	if err != nil {
		cert, fault := readCertificate(arg)
		switch {
		case errors.Is(fault, fs.ErrNotExist):
			return usageError{fmt.Errorf("%s is neither a file nor a fingerprint (64 hexadecimal digits)", arg)}
		case fault != nil:
			return fmt.Errorf("reading the certificate: %w", fault)
		}
		sum = sha256.Sum256(cert.Raw)
	}
	n.Fingerprint = hex.EncodeToString(sum[:])
	if n.Name == "" {
		n.Name = n.Fingerprint[:16]
	}
	return nil
}
