package smtp

import (
	"encoding/json"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// Note is the journal's record of a message or of a refusal, of kind "message": what `packetboat why` tells. Its subject is the queue id, or the session's id when
// there is no message yet.
type Note struct {
	At         time.Time `json:"at"`
	Action     string    `json:"action"` // accepted, junk, discarded, refused, deferred
	Queue      string    `json:"queue,omitempty"`
	Session    string    `json:"session"`
	Listener   string    `json:"listener"`
	Remote     string    `json:"remote"`
	Helo       string    `json:"helo,omitempty"`
	Account    string    `json:"account,omitempty"` // who logged in
	From       string    `json:"from"`
	Recipients []string  `json:"recipients,omitempty"` // the first of them
	Others     int       `json:"others,omitempty"`     // how many more there were
	Size       int64     `json:"size,omitempty"`
	Reply      string    `json:"reply,omitempty"` // of a refusal
	Score      float64   `json:"score,omitempty"`
	Reasons    []string  `json:"reasons,omitempty"`
	Results    string    `json:"results,omitempty"` // the value of our Authentication-Results
}

const (
	// noteRecipients are the recipients that a note names, and notesMax the refusals of one session that are written down: journal and log are for all, and
	// who is refused could fill them with what a line on the wire costs.
	noteRecipients = 10
	notesMax       = 20
)

// refused notes a refusal that somebody may ask about. Its text ends with the session's id, by which the log and `packetboat why` tell more.
func (c *client) refused(r *reply) *reply {
	if c.notes < notesMax {
		c.notes++
		action := "refused"
		if r.code/100 == 4 {
			action = "deferred"
		}
		c.log.Info("refused", "reply", r.Error(), "account", c.ses.Account().Name)
		n := c.note(action)
		n.Reply = r.Error()
		c.journal(n)
		if c.notes == notesMax {
			c.log.Info("further refusals of this session are not told", "refusals", notesMax)
		}
	}
	return &reply{r.code, r.enhanced, clean(r.text, maxReply-40) + " (" + c.ses.ID() + ")"}
}

// accepted notes a message that was taken.
func (t *transaction) accepted(action string, size int64) {
	if t.verdict != nil && t.verdict.Junk && action == "accepted" {
		action = "junk"
	}
	t.c.log.Info("message "+action, "queue", t.queue, "from", t.sender.path, "recipients", len(t.recipients), "bytes", size)
	n := t.c.note(action)
	n.Size = size
	t.c.journal(n)
}

// note is what is known now.
func (c *client) note(action string) *Note {
	n := &Note{
		At: c.srv.o.Now(), Action: action, Session: c.ses.ID(), Listener: c.ses.Listener(), Remote: c.ses.Remote().String(), Helo: c.helo,
		Account: c.ses.Account().Name,
	}
	t := c.mail
	if t == nil {
		return n
	}
	n.Queue, n.From = t.queue, t.sender.path
	for i, r := range t.recipients {
		if i == noteRecipients {
			n.Others = len(t.recipients) - i
			break
		}
		n.Recipients = append(n.Recipients, r.path)
	}
	if v := t.verdict; v != nil {
		n.Score, n.Reasons, n.Results = v.Score, v.Reasons, v.results()
	}
	return n
}

func (c *client) journal(n *Note) {
	detail, err := json.Marshal(n)
	if err != nil {
		c.log.Error("failed", "doing", "note of a message", "error", err)
		return
	}
	subject := n.Queue
	if subject == "" {
		subject = n.Session
	}
	c.srv.store.Journal(storage.Record{At: n.At, Kind: "message", Account: c.ses.Account().ID, Subject: subject, Detail: detail})
}
