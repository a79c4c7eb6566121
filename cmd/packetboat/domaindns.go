package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/storage"
)

func (p *program) domainDNS() *cobra.Command {
	var check, bare bool
	c := &cobra.Command{
		Use:   "dns [DOMAIN]",
		Short: "Print the DNS records that a domain should have; --check compares them with what the DNS says",
		Long: `Print every record that the domain (the default one, if none is named) should have in the DNS, as a zone file with
comments: where its mail goes, who may send it, its keys, its policies, and how mail programs set themselves up.

  packetboat domain dns example.org            with comments
  packetboat domain dns example.org --zone     only the records, to be imported
  packetboat domain dns example.org --check    what the DNS says: ok, missing, differs or unknown

A check asks the resolvers of dns.servers and compares what records mean, not how they are written: an SPF record that lets this
server send by any way is right, an MX that leads here by any name too.

Exit code: 0, and with --check 1 when something needed is not right.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if check && bare {
				return usageError{errors.New("--check and --zone do not go together")}
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				domain, err := namedOrDefault(cmd.Context(), ctl, args)
				if err != nil {
					return err
				}
				path := "/domains/" + url.PathEscape(domain) + "/dns"
				if check {
					path += "?check=1"
				}
				var z zone
				if err := ctl.call(cmd.Context(), http.MethodGet, path, nil, &z); err != nil {
					return err
				}
				return p.showZone(&z, bare)
			})
		},
	}
	c.Flags().BoolVar(&check, "check", false, "compare the records with what the DNS says")
	c.Flags().BoolVar(&bare, "zone", false, "print the records alone, for a zone file")
	return c
}

// namedOrDefault is the domain in args, or the default one.
func namedOrDefault(ctx context.Context, ctl *caller, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	var all []domainJSON
	if err := ctl.call(ctx, http.MethodGet, "/domains", nil, &all); err != nil {
		return "", err
	}
	for _, d := range all {
		if d.Default {
			return d.Name, nil
		}
	}
	return "", errors.New("there is no domain yet: packetboat domain add NAME")
}

// domainDNS answers packetboat domain dns: the records of one of ours, with ?check=1 compared with the DNS.
func (c *control) domainDNS(r *http.Request) (any, error) {
	s, err := c.survey(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	z := s.zone()
	if r.URL.Query().Get("check") != "" {
		z.checkAll(r.Context(), c.config, c.config.freshResolver(c.logger), c.logger)
	}
	return z, nil
}

// survey gathers what the records of a domain are made of.
func (c *control) survey(ctx context.Context, name string) (*survey, error) {
	_, domain, err := storage.ParseAddress("postmaster@" + strings.TrimSuffix(name, "."))
	if err != nil {
		return nil, fmt.Errorf("%w: %q is no domain", errRequest, name)
	}
	all, err := c.store.Domains(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(all, func(d storage.Domain) bool { return d.Name == domain }) {
		return nil, fmt.Errorf("%w: %s", storage.ErrNotLocal, domain)
	}
	keys, err := c.store.DKIMKeys(ctx, domain)
	if err != nil {
		return nil, err
	}
	return &survey{config: c.config, domain: domain, keys: keys, chain: c.chain()}, nil
}

// showZone prints z; an error when it was checked and something needed is not right.
func (p *program) showZone(z *zone, bare bool) error {
	var err error
	switch {
	case p.json:
		err = p.printJSON(z)
	case z.Checked:
		_, err = io.WriteString(p.stdout, z.report())
	default:
		_, err = io.WriteString(p.stdout, z.text(bare))
	}
	if err != nil || !z.Checked {
		return err
	}
	switch n, unanswered := z.failing(); {
	case n == 0:
		return nil
	case unanswered:
		return fmt.Errorf("of the records that are needed, the DNS did not answer about %d", n)
	default:
		return fmt.Errorf("of the records that are needed, %d must be set right", n)
	}
}

// text is z as a zone file, bare without comments and without what has no data.
func (z *zone) text(bare bool) string {
	var b strings.Builder
	if bare {
		for _, r := range z.Records {
			if r.Data != "" {
				fmt.Fprintln(&b, r.line())
			}
		}
		return b.String()
	}
	fmt.Fprintf(&b, "; DNS records of %s, whose mail is at %s. Compare: packetboat domain dns %[1]s --check\n", z.Domain, z.Host)
	for _, n := range z.Notes {
		for i, line := range wrap(n, 110) {
			mark := ";   "
			if i == 0 {
				mark = "; ! "
			}
			fmt.Fprintln(&b, mark+line)
		}
	}
	for _, r := range z.Records {
		fmt.Fprintf(&b, "\n; %s (%s)\n", r.What, r.Need)
		if r.Data != "" {
			fmt.Fprintln(&b, r.line())
		} else {
			fmt.Fprintf(&b, "; %s\n", strings.TrimSpace(r.Name+" "+r.Type+" ..."))
		}
	}
	return b.String()
}

// report is a checked z as a table, with what is to be known about a record below it.
func (z *zone) report() string {
	var b strings.Builder
	line := func(cells ...any) {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-8s %-12s %-6s %-*s  %s", cells...), " ") + "\n")
	}
	width := 0
	for _, r := range z.Records {
		width = min(max(width, len(r.Name)), maxNameColumn)
	}
	line("STATE", "NEED", "TYPE", width, "NAME", "WHAT")
	for _, r := range z.Records {
		line(r.State, r.Need, r.Type, width, strings.TrimSuffix(r.Name, "."), r.What)
		for _, d := range r.details() {
			fmt.Fprintln(&b, "         "+printable(d))
		}
	}
	return b.String()
}

// maxNameColumn keeps names of IPv6 addresses from pushing everything else away.
const maxNameColumn = 48

// details are what is to be known of a checked record that is not simply right.
func (r *record) details() (all []string) {
	if r.State == verdictOK && r.Note == "" {
		return nil
	}
	for _, f := range r.Found {
		all = append(all, "there is  "+f)
	}
	for i, l := range wrap(r.Note, 110) {
		mark := "          "
		if i == 0 {
			mark = "!         "
		}
		all = append(all, mark+l)
	}
	if (r.State == verdictMissing || r.State == verdictDiffers) && r.Data != "" {
		all = append(all, "wanted    "+r.Data)
	}
	return all
}
