package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/smtp/outbound"
	"github.com/packetboat/packetboat/smtp/report"
	"github.com/packetboat/packetboat/storage"
)

// reporter sends reports to other domains.
type reporter interface {
	Flush(ctx context.Context) error                                       // into the store
	SendReports(ctx context.Context, domain string) ([]report.Sent, error) // all that was counted up to now
}

var (
	_ reporter = (*outbound.Policies)(nil)
	_ reporter = (*report.DMARC)(nil)
)

// reporters are those of a running server.
func (h *house) reporters() []reporter {
	if h.dmarc == nil {
		return []reporter{h.policies}
	}
	return []reporter{h.policies, h.dmarc}
}

// The bodies of replies about reports.
type (
	reportJSON struct {
		Kind    string `json:"kind"`
		Day     string `json:"day"`
		Domain  string `json:"domain"`
		Results int    `json:"results"` // different ones
		Count   int64  `json:"count"`   // connections, or messages
	}
	reportSentJSON struct {
		Kind    string    `json:"kind"`
		Domain  string    `json:"domain"`
		ID      string    `json:"id,omitempty"`
		Begin   time.Time `json:"begin,omitzero"`
		End     time.Time `json:"end,omitzero"`
		To      []string  `json:"to"`
		Problem string    `json:"problem,omitempty"`
	}
)

// reportsShown bounds what a list shows of a kind.
const reportsShown = 10_000

// reports lists what is counted and not reported yet.
func (c *control) reports(r *http.Request) (any, error) {
	for _, one := range c.reporters {
		if err := one.Flush(r.Context()); err != nil {
			return nil, err
		}
	}
	list := []reportJSON{}
	for _, kind := range []storage.ReportKind{storage.ReportTLS, storage.ReportDMARC} {
		all, err := c.store.ReportsWaiting(r.Context(), kind, reportsShown)
		if err != nil {
			return nil, err
		}
		for _, w := range all {
			list = append(list, reportJSON{string(w.Kind), time.Unix(w.Day*86400, 0).UTC().Format(time.DateOnly), w.Domain, w.Results, w.Count})
		}
	}
	return list, nil
}

// sendReports sends those of ?domain=NAME, or all.
func (c *control) sendReports(r *http.Request) (any, error) {
	if !c.running {
		return nil, errNotRunning
	}
	list := []reportSentJSON{}
	for _, one := range c.reporters {
		all, err := one.SendReports(r.Context(), strings.TrimSuffix(strings.ToLower(r.URL.Query().Get("domain")), "."))
		for _, s := range all {
			list = append(list, reportSentJSON{string(s.Kind), s.Domain, s.ID, s.Begin, s.End, append([]string{}, s.To...), s.Problem})
		}
		if err != nil && len(all) == 0 {
			return nil, err
		}
	}
	return list, nil
}

func (p *program) reportVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "report",
		Short: "Reports to other domains: TLS (TLSRPT) and DMARC",
		Long: `Domains may ask for reports: how TLS with their servers went (TLSRPT, outbound.tls_reports), and what was received in their name
(DMARC, verify.dmarc_reports). They are sent by themselves, once a day after midnight (UTC), from reports.from.

  packetboat report list                  what was counted and is not reported yet
  packetboat report send example.org      send it now, today's included: to see whether reports arrive, or before a server is given up

What is sent is not told again: the report at the end of the day begins where that one ended. Domains that ask for none are forgotten.`,
	}, p.reportList(), p.reportSend())
}

func (p *program) reportList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "What was counted and is not reported yet",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all []reportJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/reports", nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				rows := [][]string{{"KIND", "DAY", "DOMAIN", "RESULTS", "COUNT"}}
				for _, r := range all {
					rows = append(rows, []string{r.Kind, r.Day, r.Domain, strconv.Itoa(r.Results), strconv.FormatInt(r.Count, 10)})
				}
				return p.table(rows)
			})
		},
	}
}

func (p *program) reportSend() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "send DOMAIN",
		Short: "Send the reports to a domain now, or --all",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usageError{errors.New("give a DOMAIN, or --all")}
			}
			query := ""
			if !all {
				query = "?domain=" + url.QueryEscape(args[0])
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var sent []reportSentJSON
				if err := ctl.call(cmd.Context(), http.MethodPost, "/reports"+query, nil, &sent); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(sent)
				}
				if len(sent) == 0 {
					_, err := fmt.Fprintln(p.stdout, "There is nothing to report.")
					return err
				}
				rows := [][]string{{"KIND", "DOMAIN", "TO", "REPORT-ID", "PROBLEM"}}
				for _, s := range sent {
					rows = append(rows, []string{s.Kind, s.Domain, cmp.Or(strings.Join(s.To, ", "), "nobody"), dash(s.ID), dash(s.Problem)})
				}
				return p.table(rows)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "to all domains")
	return c
}
