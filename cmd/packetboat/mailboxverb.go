package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) mailboxVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "mailbox",
		Short: "Counters of mailboxes, the index for searching in mail, sharing",
	}, p.mailboxStats(), p.mailboxReindex(), p.aclVerb())
}

func (p *program) mailboxStats() *cobra.Command {
	return &cobra.Command{
		Use:   "stats [ACCOUNT [MAILBOX]]",
		Short: "Messages, sizes, UIDs, and how much of it the search index has",
		Long: `Without ACCOUNT: the sums of each account. With ACCOUNT: each of its mailboxes. With MAILBOX: that one.
The index for searching is one for all accounts. What it does not have yet is read by each search, so that
searches always find everything; a running server adds what is new within about a minute.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				q := url.Values{}
				if len(args) > 0 {
					q.Set("account", args[0])
				}
				if len(args) > 1 {
					q.Set("mailbox", args[1])
				}
				var all mailboxesJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/mailboxes?"+q.Encode(), nil, &all); err != nil {
					return err
				}
				switch {
				case p.json:
					return p.printJSON(all)
				case len(args) == 2:
					return errors.Join(p.table(mailboxTable(all.Mailboxes[0])), p.printIndex(all.Index))
				case len(args) == 1:
					return errors.Join(p.table(mailboxRows(all.Mailboxes)), p.printIndex(all.Index))
				}
				return errors.Join(p.table(accountRows(all.Mailboxes)), p.printIndex(all.Index))
			})
		},
	}
}

func mailboxTable(m mailboxJSON) [][]string {
	rows := [][]string{{"account", m.Account}, {"mailbox", m.Name}, {"messages", fmt.Sprint(m.Messages)}, {"unseen", fmt.Sprint(m.Unseen)},
		{"deleted", fmt.Sprint(m.Deleted)}, {"size", size(m.Bytes)}, {"uidvalidity", fmt.Sprint(m.UIDValidity)}, {"uidnext", fmt.Sprint(m.UIDNext)},
		{"highestmodseq", fmt.Sprint(m.HighestModSeq)}}
	if m.Indexed != nil {
		rows = append(rows, []string{"indexed", fmt.Sprint(*m.Indexed)}, []string{"unindexed", fmt.Sprint(*m.Unindexed)})
	}
	return rows
}

func mailboxRows(all []mailboxJSON) [][]string {
	rows := [][]string{{"MAILBOX", "MESSAGES", "UNSEEN", "DELETED", "SIZE", "UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ", "UNINDEXED"}}
	for _, m := range all {
		unindexed := "-"
		if m.Unindexed != nil {
			unindexed = fmt.Sprint(*m.Unindexed)
		}
		rows = append(rows, []string{m.Name, fmt.Sprint(m.Messages), fmt.Sprint(m.Unseen), fmt.Sprint(m.Deleted), size(m.Bytes), fmt.Sprint(m.UIDValidity),
			fmt.Sprint(m.UIDNext), fmt.Sprint(m.HighestModSeq), unindexed})
	}
	return rows
}

func accountRows(all []mailboxJSON) [][]string {
	rows := [][]string{{"ACCOUNT", "MAILBOXES", "MESSAGES", "UNSEEN", "DELETED", "SIZE"}}
	for _, m := range all {
		rows = append(rows, []string{m.Account, fmt.Sprint(m.Mailboxes), fmt.Sprint(m.Messages), fmt.Sprint(m.Unseen), fmt.Sprint(m.Deleted), size(m.Bytes)})
	}
	return rows
}

// printIndex says in a line or two how the index is.
func (p *program) printIndex(i indexJSON) error {
	text := "off: searches read every message"
	if i.On {
		text = fmt.Sprintf("%d messages, %d not yet; %s on disk in %d files for %s of text", i.Indexed, i.Unindexed, size(i.Bytes), i.Segments, size(i.Text))
		switch {
		case i.Building:
			text += "; being built"
		case i.Unindexed > 0 && !i.Running:
			text += "; the server, when it runs, builds the rest"
		}
	}
	fmt.Fprintf(p.stdout, "\nsearch index: %s\n", text)
	if i.Error != "" {
		fmt.Fprintf(p.stdout, "last trouble: %s\n", printable(i.Error))
	}
	return nil
}

// reindexPoll is how often a running server is asked how far it is.
const reindexPoll = 300 * time.Millisecond

func (p *program) mailboxReindex() *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use:   "reindex",
		Short: "Throw the search index away and build it anew",
		Long: `Searches find the same while it is built, but take longer. A running server builds it in the background
(--wait waits for it); on a stopped one this verb does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var i indexJSON
				if err := ctl.call(cmd.Context(), http.MethodPost, "/index", nil, &i); err != nil {
					return err
				}
				for wait && ctl.running && (i.Building || i.Unindexed > 0) {
					select {
					case <-cmd.Context().Done():
						return context.Cause(cmd.Context())
					case <-time.After(reindexPoll):
					}
					if err := p.askAgain(cmd.Context(), &i); err != nil {
						return err
					}
				}
				if p.json {
					return p.printJSON(i)
				}
				if i.Unindexed > 0 {
					fmt.Fprintln(p.stdout, "begun; packetboat mailbox stats shows how far it is")
					return nil
				}
				fmt.Fprintf(p.stdout, "%d messages indexed\n", i.Indexed)
				return nil
			})
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "return when it is built")
	return c
}

// askAgain asks a running server about the index, over a connection of its own.
func (p *program) askAgain(ctx context.Context, i *indexJSON) error {
	return p.with(ctx, func(ctl *caller) error {
		if !ctl.running {
			return errors.New("the server has stopped; it goes on building when it is started")
		}
		return ctl.call(ctx, http.MethodGet, "/index", nil, i)
	})
}
