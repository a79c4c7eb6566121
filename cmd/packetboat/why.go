package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/storage"
)

// whyJSON is what is known of an id: what became of messages, and the session that had it.
type whyJSON struct {
	Messages []smtp.Note   `json:"messages"`
	Session  *session.Info `json:"session,omitempty"`

	Sent   []storage.Sent  `json:"sent,omitempty"`   // what left
	Queued []queueItemJSON `json:"queued,omitempty"` // what must leave still
}

const (
	// whyPage is how many records of the journal are looked at with one query, and whyMost how many messages are told.
	whyPage = 1000
	whyMost = 50
	// whyPatience is how long a record may take that is being written down right now.
	whyPatience = 300 * time.Millisecond
)

// why answers what the journal says of a queue id or a session's id. The latest records are written with the next transaction of whatever kind.
func (c *control) why(r *http.Request) (any, error) {
	id := strings.ToUpper(strings.Trim(r.PathValue("id"), "()<> "))
	if len(id) < 8 || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z') }) {
		return nil, fmt.Errorf("%w: %q is no id; a refusal ends with one, in brackets", errRequest, id)
	}
	w, err := c.recorded(r, id)
	if err == nil && c.running && len(w.Messages) == 0 {
		time.Sleep(whyPatience)
		w, err = c.recorded(r, id)
	}
	if err == nil {
		err = c.leaving(r.Context(), id, w)
	}
	if err == nil && len(w.Messages) == 0 && w.Session == nil && len(w.Sent) == 0 && len(w.Queued) == 0 {
		err = fmt.Errorf("%s: %w in the journal; it may be older than history.keep", id, fs.ErrNotExist)
	}
	return w, err
}

// recorded looks through the journal, the newest first.
func (c *control) recorded(r *http.Request, id string) (*whyJSON, error) {
	w := &whyJSON{Messages: []smtp.Note{}}
	quoted := []byte(`"` + id + `"`)
	for _, kind := range []string{"message", "session"} {
		for before := int64(0); ; {
			records, err := c.store.Records(r.Context(), kind, 0, before, whyPage)
			if err != nil {
				return nil, err
			}
			for _, rec := range records {
				before = rec.ID
				if rec.Subject != id && (kind == "session" || !bytes.Contains(rec.Detail, quoted)) {
					continue
				}
				if kind == "session" {
					w.Session = &session.Info{}
					if err := json.Unmarshal(rec.Detail, w.Session); err != nil {
						return nil, err
					}
					return w, nil
				}
				var n smtp.Note
				if err := json.Unmarshal(rec.Detail, &n); err != nil {
					return nil, err
				}
				if (n.Queue == id || n.Session == id) && len(w.Messages) < whyMost {
					w.Messages = append(w.Messages, n)
				}
			}
			if len(records) < whyPage {
				break
			}
		}
	}
	if s, err := c.live(id); err == nil {
		w.Session = s
	}
	return w, nil
}

// live is a session that goes on.
func (c *control) live(id string) (*session.Info, error) {
	s, err := c.registry.Find(id)
	if err != nil {
		return nil, err
	}
	i := s.Info()
	return &i, nil
}

func (p *program) whyVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "why ID",
		Short: "Why a message was refused, taken for junk or accepted, by its queue id or the id in a refusal",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				var w whyJSON
				if err := ctl.call(cmd.Context(), http.MethodGet, "/why/"+url.PathEscape(args[0]), nil, &w); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(w)
				}
				_, err := fmt.Fprint(p.stdout, w.text())
				return err
			})
		},
	}
}

// text is what happened, in words, the oldest first.
func (w *whyJSON) text() string {
	var b strings.Builder
	for i := len(w.Messages) - 1; i >= 0; i-- {
		explain(&b, w.Messages[i])
	}
	w.explainSent(&b)
	if s := w.Session; s != nil {
		state := "goes on"
		if !s.Ended.IsZero() {
			state = "ended at " + s.Ended.Local().Format("2006-01-02 15:04:05")
			if s.EndReason != "" {
				state += ": " + printable(s.EndReason)
			}
		}
		fmt.Fprintf(&b, "session %s from %s on %s %s\n", s.ID, s.Remote, s.Listener, state)
	}
	return b.String()
}

// explain tells of one message or refusal.
func explain(b *strings.Builder, n smtp.Note) {
	what := map[string]string{
		"accepted": "was delivered", "junk": "was delivered to Junk", "discarded": "was taken and thrown away, as a filter asked",
		"refused": "was refused for good", "deferred": "was refused for now",
	}[n.Action]
	subject := "a command"
	if n.Queue != "" {
		subject = "message " + n.Queue
	}
	fmt.Fprintf(b, "%s  %s %s\n", n.At.Local().Format("2006-01-02 15:04:05"), subject, what)
	who := n.Remote
	if n.Helo != "" {
		who += " (" + printable(n.Helo) + ")"
	}
	if n.Account != "" {
		who += ", logged in as " + n.Account
	}
	fmt.Fprintf(b, "  by      %s, on %s, session %s\n", who, n.Listener, n.Session)
	if n.Queue != "" || n.From != "" || len(n.Recipients) > 0 {
		fmt.Fprintf(b, "  from    <%s>\n", printable(n.From))
	}
	for _, to := range n.Recipients {
		fmt.Fprintf(b, "  to      <%s>\n", printable(to))
	}
	if n.Others > 0 {
		fmt.Fprintf(b, "          and %d others\n", n.Others)
	}
	if n.Reply != "" {
		fmt.Fprintf(b, "  reply   %s\n", printable(n.Reply))
	}
	for _, r := range n.Reasons {
		fmt.Fprintf(b, "  because %s\n", printable(r))
	}
	if n.Score != 0 {
		fmt.Fprintf(b, "  score   %.1f\n", n.Score)
	}
	if n.Results != "" {
		fmt.Fprintf(b, "  results %s\n", printable(n.Results))
	}
}
