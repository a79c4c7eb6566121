package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/smtp/outbound"
	"github.com/packetboat/packetboat/storage"
)

// dkimJSON is a key without its private half.
type dkimJSON struct {
	Domain    string    `json:"domain"`
	Selector  string    `json:"selector"`
	Algorithm string    `json:"algorithm"`
	State     string    `json:"state"`
	Name      string    `json:"name"`
	Record    string    `json:"record"`
	Created   time.Time `json:"created"`
	Seen      time.Time `json:"seen,omitzero"` // since when the DNS shows it, of a next one
	Changed   time.Time `json:"changed"`       // into its state
}

func (p *program) domainDKIM() *cobra.Command {
	return group(&cobra.Command{
		Use:   "dkim",
		Short: "Show and replace the keys that a domain's mail is signed with",
		Long: `Each domain has two keys (RSA and Ed25519), made with it. packetboat domain dns prints the records to publish.

To replace them:
  packetboat domain dkim rotate example.org      makes the next pair
  packetboat domain dns example.org              prints their records: publish them
The next pair signs by itself when the DNS has shown it for an hour (of a running server), or at once with
  packetboat domain dkim activate example.org
The old pair then stays published for a week, for those who check mail late. dkim.rotate does all that by age.`,
	}, p.dkimList(), p.dkimRotate(), p.dkimActivate(), p.dkimRemove())
}

func dkimPath(domain string) string { return "/domains/" + url.PathEscape(domain) + "/dkim" }

func (p *program) dkimList() *cobra.Command {
	return &cobra.Command{
		Use:   "list [DOMAIN]",
		Short: "List the keys of a domain",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withKeys(cmd, args, http.MethodGet, "", "")
		},
	}
}

func (p *program) dkimRotate() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate [DOMAIN]",
		Short: "Make the keys that will sign next",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withKeys(cmd, args, http.MethodPost, "", "publish the records of the next keys (packetboat domain dns); they sign when the DNS has shown them for an hour")
		},
	}
}

func (p *program) dkimActivate() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "activate [DOMAIN]",
		Short: "Let the next keys sign now; the DNS must show them",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/active"
			if force {
				path += "?force=1"
			}
			return p.withKeys(cmd, args, http.MethodPost, path, "the old keys' records must stay published for a week")
		},
	}
	c.Flags().BoolVar(&force, "force", false, "do not ask the DNS: mail signed with a key that it does not show counts as unsigned")
	return c
}

func (p *program) dkimRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove DOMAIN SELECTOR",
		Short: "Remove a key that does not sign: a next one, or a retired one before its time",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withKeys(cmd, args[:1], http.MethodDelete, "/"+url.PathEscape(args[1]), "")
		},
	}
}

// withKeys does something with the keys of a domain and prints what they are then.
func (p *program) withKeys(cmd *cobra.Command, args []string, method, path, hint string) error {
	return p.with(cmd.Context(), func(ctl *caller) error {
		domain, err := namedOrDefault(cmd.Context(), ctl, args)
		if err != nil {
			return err
		}
		var all []dkimJSON
		if err := ctl.call(cmd.Context(), method, dkimPath(domain)+path, nil, &all); err != nil {
			return err
		}
		if p.json {
			return p.printJSON(all)
		}
		rows := [][]string{{"SELECTOR", "ALGORITHM", "STATE", "SINCE", "DNS"}}
		for _, k := range all {
			shown := ""
			if k.State == string(storage.DKIMNext) {
				shown = "not seen yet"
				if !k.Seen.IsZero() {
					shown = "seen since " + k.Seen.Local().Format("2006-01-02 15:04")
				}
			}
			rows = append(rows, []string{k.Selector, k.Algorithm, k.State, k.Changed.Local().Format("2006-01-02 15:04"), shown})
		}
		if err := p.table(rows); err != nil || hint == "" {
			return err
		}
		_, err = fmt.Fprintln(p.stdout, hint)
		return err
	})
}

func (c *control) dkimKeys(r *http.Request) (any, error) {
	keys, err := c.store.DKIMKeys(r.Context(), r.PathValue("name"))
	list := []dkimJSON{}
	for _, k := range keys {
		list = append(list, dkimJSON{k.Domain, k.Selector, k.Algorithm, string(k.State), k.Name(), k.Record(), k.Created, k.Seen, k.Changed})
	}
	return list, err
}

func (c *control) rotateDKIM(r *http.Request) (any, error) {
	if err := c.store.AddDKIMKeys(r.Context(), r.PathValue("name")); err != nil {
		return nil, err
	}
	return c.dkimKeys(r)
}

func (c *control) activateDKIM(r *http.Request) (any, error) {
	name := r.PathValue("name")
	keys, err := c.store.DKIMKeys(r.Context(), name)
	if err != nil {
		return nil, err
	}
	resolver := c.config.freshResolver(c.logger)
	for _, k := range keys {
		if k.State != storage.DKIMNext || r.URL.Query().Get("force") != "" {
			continue
		}
		shown, err := outbound.Published(r.Context(), resolver, k)
		if err != nil {
			return nil, fmt.Errorf("%w: the DNS does not say whether %s is published (--force to go without): %v", storage.ErrTemporary, k.Name(), err)
		}
		if !shown {
			return nil, fmt.Errorf("%w: the DNS does not show %s; publish it first (packetboat domain dns %s), or --force", errRequest, k.Name(), k.Domain)
		}
	}
	if err := c.store.ActivateDKIMKeys(r.Context(), name); err != nil {
		return nil, err
	}
	return c.dkimKeys(r)
}

func (c *control) removeDKIM(r *http.Request) (any, error) {
	if err := c.store.RemoveDKIMKey(r.Context(), r.PathValue("name"), r.PathValue("selector")); err != nil {
		return nil, err
	}
	return c.dkimKeys(r)
}
