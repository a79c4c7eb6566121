package storage

import (
	"context"
	"encoding/json"
	"time"
)

// Sent is what became of recipients of a message that left: a record of the journal, of kind "sent", whose subject is the queue id. What waits is in the queue itself.
type Sent struct {
	At         time.Time       `json:"at"`
	From       string          `json:"from"`
	Recipients []SentRecipient `json:"recipients"`
}

// SentRecipient is one of them.
type SentRecipient struct {
	Address  string `json:"address"`
	State    string `json:"state"` // OutcomeState
	Attempts int    `json:"attempts,omitempty"`
	Status   string `json:"status,omitempty"`
	Reply    string `json:"reply,omitempty"`
	Remote   string `json:"remote,omitempty"`
}

// sentMost is how many recipients a record has at most.
const sentMost = 100

// recordSettled tells the webhook and the journal what became of recipients. What is only put off has its history in its row.
func (t *tx) recordSettled(all []settled) error {
	ended := all[:0:0]
	for i := range all {
		if err := t.tellSettled(&all[i]); err != nil {
			return err
		}
		if all[i].State != Deferred {
			ended = append(ended, all[i])
		}
	}
	for len(ended) > 0 {
		n := 1
		for n < len(ended) && n < sentMost && ended[n].outbox == ended[0].outbox {
			n++
		}
		d := Sent{At: t.s.o.Now(), From: ended[0].sender}
		for _, w := range ended[:n] {
			d.Recipients = append(d.Recipients, SentRecipient{w.address, string(w.State), w.attempts, w.Status, cut(w.Reply, replyMax), w.Remote})
		}
		detail, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if err := t.addRecords([]Record{{At: d.At, Kind: "sent", Account: ended[0].account, Subject: ended[0].queue, Detail: detail}}); err != nil {
			return err
		}
		ended = ended[n:]
	}
	return nil
}

// SentOf is what the journal says of a queue id, the oldest first, at most limit records.
func (s *Store) SentOf(ctx context.Context, queue string, limit int) ([]Sent, error) {
	details, err := readAll[[]byte](s.db, `SELECT detail FROM journal WHERE kind = 'sent' AND subject = ? ORDER BY id LIMIT ?`, queue, limit)
	if err != nil {
		return nil, fail("sent", err)
	}
	all := make([]Sent, len(details))
	for i, d := range details {
		if err := json.Unmarshal(d, &all[i]); err != nil {
			return nil, fail("sent", err)
		}
	}
	return all, nil
}
