package smtp

import (
	"context"
	"errors"
	"strings"

	"github.com/packetboat/packetboat/storage"
)

// maySend tells whether the account of a submission may send one more message to so many recipients (Options.Send, and its own limits). It is
// looked at with MAIL and with each RCPT, so that the refusal names the recipient that was one too many; what was taken is counted, and looked at once
// more, in the transaction that queues it.
func (c *client) maySend(s *storage.Sending, recipients int) *reply {
	if s == nil {
		return nil
	}
	if err := s.Refuses(c.srv.o.Send, c.srv.o.Now(), int64(recipients)); err != nil {
		return c.refused(replyTo(err))
	}
	return nil
}

// sending is what the account of a submission has sent; nil where nobody counts.
func (c *client) sending(ctx context.Context) (*storage.Sending, *reply) {
	if c.srv.o.Mode != Submission || c.account == nil {
		return nil, nil
	}
	s, err := c.srv.store.Sending(ctx, c.account.ID)
	if err != nil {
		return nil, c.refused(c.failure("sending limits", err))
	}
	return &s, nil
}

// tooMuch is the refusal of an account that has sent what it may.
func tooMuch(e *storage.SendLimitError) *reply {
	text := strings.ReplaceAll(e.Error(), "(send_", "(limits.send_")
	if e.Limit <= 0 {
		return say(550, "5.7.1", "%s", text)
	}
	return say(450, "4.7.1", "%s", text)
}

// asTooMuch finds a SendLimitError.
func asTooMuch(err error) *storage.SendLimitError {
	e, _ := errors.AsType[*storage.SendLimitError](err)
	return e
}
