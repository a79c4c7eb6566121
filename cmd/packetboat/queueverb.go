package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) queueVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "queue",
		Short: "Look at mail that must leave, and decide about it",
		Long: `The queue holds what must leave for other servers, one entry for each recipient, until it is delivered or has failed.

  packetboat queue list                                 what waits, and for what
  packetboat queue list --domain example.org --state waiting
  packetboat queue show 01J9ZK3V5W8Q                    a message, and every attempt that was made
  packetboat queue retry --domain example.org           try now
  packetboat queue hold --from "ann@*"                  send nothing of hers until release
  packetboat queue release --all
  packetboat queue fail 01J9ZK3V5W8Q --reason "wrong list"   give up, and tell the senders
  packetboat queue drop --from "<>" --older 48h         remove, and tell nobody

An ID is the one that the 250 named and the log has, or the number of a recipient. --from, --to: * stands for anything,
"<>" for the null sender. Filters narrow one another. States: waiting, leased (a worker is at it), held.`,
	}, p.queueList(), p.queueShow(),
		p.queueAct("retry", "Try what waits now; what is held stays held", "due now: %s\n"),
		p.queueAct("hold", "Send nothing of it until it is released", "held: %s\n"),
		p.queueAct("release", "Let what is held go on", "released: %s\n"),
		p.queueAct("fail", "Give up on it, and tell the senders", "to fail: %s\n"),
		p.queueAct("drop", "Remove it, and tell nobody", "removed: %s\n"))
}

// queueFlags are the filters.
type queueFlags struct {
	from, to, domain, account, state string
	older                            time.Duration
	all                              bool
}

func (f *queueFlags) on(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.from, "from", "", "envelope `sender`; * stands for anything, \"<>\" is the null sender")
	fs.StringVar(&f.to, "to", "", "recipient's `address`; * stands for anything")
	fs.StringVar(&f.domain, "domain", "", "recipient's `domain`")
	fs.StringVar(&f.account, "account", "", "`account` that sent it")
	fs.StringVar(&f.state, "state", "", "waiting, leased or held")
	fs.DurationVar(&f.older, "older", 0, "taken at least so `long` ago, such as 90m or 48h")
}

// query is a filter as the control API has it.
func (f *queueFlags) query(id string) url.Values {
	q := url.Values{}
	for name, v := range map[string]string{"id": id, "from": f.from, "to": f.to, "domain": f.domain, "account": f.account, "state": f.state} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if f.older > 0 {
		q.Set("older", f.older.String())
	}
	if f.all {
		q.Set("all", "true")
	}
	return q
}

func (p *program) queueList() *cobra.Command {
	var f queueFlags
	limit := 100
	var after int64
	var id string
	c := &cobra.Command{
		Use:   "list",
		Short: "What is in the queue, the oldest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := f.query(id)
			q.Set("limit", strconv.Itoa(limit))
			if after > 0 {
				q.Set("after", strconv.FormatInt(after, 10))
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all queueListJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/queue?"+q.Encode(), nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all.Items)
				}
				return p.printQueue(all)
			})
		},
	}
	f.on(c)
	c.Flags().StringVar(&id, "id", "", "queue `ID`, or a recipient's number")
	c.Flags().IntVar(&limit, "limit", limit, "how many recipients at most")
	c.Flags().Int64Var(&after, "after", 0, "go on behind this recipient's `number`")
	return c
}

func (p *program) printQueue(all queueListJSON) error {
	rows := [][]string{{"ID", "FROM", "TO", "SIZE", "AGE", "STATE", "TRIES", "NEXT", "LAST REPLY"}}
	for _, i := range all.Items {
		rows = append(rows, []string{i.Queue, sender(i.From), i.To, size(i.Size), ago(time.Since(i.Created)), stateOf(i), strconv.Itoa(i.Attempts), next(i), dash(said(i.Status, i.Remote, i.Reply))})
	}
	if err := p.table(rows); err != nil {
		return err
	}
	if all.More {
		last := all.Items[len(all.Items)-1].Recipient
		_, err := fmt.Fprintf(p.stdout, "There are more: --after %d, or --limit.\n", last)
		return err
	}
	return nil
}

func sender(from string) string { return cmp.Or(from, "<>") }

func stateOf(i queueItemJSON) string {
	if i.Verdict != "" {
		return i.State + ", to fail"
	}
	return i.State
}

// next is when it is tried.
func next(i queueItemJSON) string {
	switch d := time.Until(i.Due); {
	case i.State != "waiting":
		return "-"
	case d <= 0:
		return "now"
	default:
		return "in " + ago(d)
	}
}

// said is what an attempt came to, in a line.
func said(status, remote, reply string) string {
	if reply == "" {
		reply = status
	}
	if remote != "" {
		reply = remote + ": " + reply
	}
	if len(reply) > 160 {
		reply = reply[:160] + "..."
	}
	return reply
}

func (p *program) queueShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "A message in the queue: its header, its recipients and every attempt",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var e queueEntryJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/queue/"+url.PathEscape(args[0]), nil, &e); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(e)
				}
				return p.printQueueEntry(e)
			})
		},
	}
}

func (p *program) printQueueEntry(e queueEntryJSON) error {
	i := e.Items[0]
	rows := [][]string{{"queue", i.Queue}, {"sender", sender(i.From)}, {"account", dash(i.Account)}, {"size", size(i.Size)},
		{"taken", i.Created.Format(time.RFC3339) + " (" + ago(time.Since(i.Created)) + " ago)"}}
	for _, name := range []string{"Date", "From", "To", "Cc", "Subject", "Message-ID", "Auto-Submitted"} {
		if v := e.Header[name]; v != "" {
			rows = append(rows, []string{name + ":", v})
		}
	}
	if err := p.table(rows); err != nil {
		return err
	}
	for _, i := range e.Items {
		fmt.Fprintf(p.stdout, "\n<%s> (%d): %s, next attempt %s\n", printable(i.To), i.Recipient, stateOf(i), next(i))
		if i.Verdict != "" {
			fmt.Fprintf(p.stdout, "  fails: %s\n", printable(i.Verdict))
		}
		for _, a := range i.History {
			fmt.Fprintf(p.stdout, "  %s  %s\n", a.At.Format(time.RFC3339), printable(said(a.Status, a.Remote, a.Reply)))
		}
	}
	return nil
}

// queueAct is a verb that changes what the filters leave.
func (p *program) queueAct(act, short, done string) *cobra.Command {
	var f queueFlags
	var reason, id string
	c := &cobra.Command{
		Use:   act + " [ID...]",
		Short: short,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if id != "" {
				ids = append(ids, id)
			}
			if len(ids) == 0 {
				if len(f.query("")) == 0 {
					return usageError{errors.New("say which: an ID, filters, or --all")}
				}
				ids = []string{""}
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var total queueActJSON
				for _, id := range ids {
					q := f.query(id)
					if reason != "" {
						q.Set("reason", reason)
					}
					var one queueActJSON
					if err := ctl.call(cmd.Context(), http.MethodPost, "/queue/"+act+"?"+q.Encode(), nil, &one); err != nil {
						return err
					}
					total.Changed, total.Running = total.Changed+one.Changed, one.Running
				}
				if p.json {
					return p.printJSON(total)
				}
				fmt.Fprintf(p.stdout, done, recipients(total.Changed))
				if act == "fail" && total.Changed > 0 && !total.Running {
					fmt.Fprintln(p.stdout, "The senders are told when the server runs.")
				}
				return nil
			})
		},
	}
	f.on(c)
	c.Flags().StringVar(&id, "id", "", "queue `ID`, or a recipient's number, as an argument too")
	c.Flags().BoolVar(&f.all, "all", false, "everything in the queue")
	if act == "fail" {
		c.Flags().StringVar(&reason, "reason", "", "`words` for the senders")
	}
	return c
}

// recipients counts them in words.
func recipients(n int) string {
	if n == 1 {
		return "1 recipient"
	}
	return strconv.Itoa(n) + " recipients"
}

func (p *program) suppressVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "suppress",
		Short: "Addresses that no mail is sent to",
		Long: `Mail to a suppressed address fails at once, and its sender is told why.

  packetboat suppress add joe@example.org --reason "asked not to be written to"
  packetboat suppress list
  packetboat suppress remove joe@example.org

With outbound.suppress_after, addresses that do not exist come onto the list by themselves after so many refusals.`,
	}, p.suppressList(), p.suppressAdd(), p.suppressRemove())
}

func (p *program) suppressList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "The addresses, and why they are there",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var all []suppressionJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/suppressions", nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				rows := [][]string{{"ADDRESS", "BY", "REFUSALS", "SINCE", "REASON"}}
				for _, x := range all {
					by := "refusals"
					if x.Manual {
						by = "administrator"
					}
					rows = append(rows, []string{x.Address, by, strconv.Itoa(x.Bounces), x.Since.Format(time.DateOnly), x.Reason})
				}
				return p.table(rows)
			})
		},
	}
}

func (p *program) suppressAdd() *cobra.Command {
	var s suppressJSON
	c := &cobra.Command{
		Use:   "add ADDRESS",
		Short: "Send no mail to an address any more",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Address = args[0]
			return p.with(cmd.Context(), func(ctl *caller) error {
				if err := ctl.call(cmd.Context(), http.MethodPost, "/suppressions", s, nil); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(s)
				}
				_, err := fmt.Fprintf(p.stdout, "%s is suppressed\n", s.Address)
				return err
			})
		},
	}
	c.Flags().StringVar(&s.Reason, "reason", "", "`words` for those who write there")
	return c
}

func (p *program) suppressRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove ADDRESS",
		Short: "Send mail to an address again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				if err := ctl.call(cmd.Context(), http.MethodDelete, "/suppressions?address="+url.QueryEscape(args[0]), nil, nil); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(suppressJSON{Address: args[0]})
				}
				_, err := fmt.Fprintf(p.stdout, "%s is no longer suppressed\n", args[0])
				return err
			})
		},
	}
}
