package smtp

import (
	"context"
	"errors"
	"io"

	"github.com/oklog/ulid/v2"

	"github.com/packetboat/packetboat/storage"
)

// transaction is one message from MAIL to its end. It knows nothing of the engine: begin (MAIL), rcpt and data give
// the reply; data is called once.
//
// Full mailboxes: SMTP has one reply for a message of several recipients. RCPT refuses an account that is full, or whose
// room is less than SIZE said, so that the sender hears which one it is. At the end of the message its real size
// is compared once more, before anything is delivered: if it does not fit one of them, it is refused for all, with a
// temporary error unless it can never fit. If an account fills up within the delivery itself, what was delivered is taken back before the error is
// told. So the sender's server keeps the message for every recipient: nothing is lost, delivered twice, or bounced to
// somebody who sent nothing.
type transaction struct {
	c          *client
	sender     sender
	recipients []recipient
	each       []*reply // LMTP: what became of each recipient, when they differ
}

// begin is MAIL.
func (c *client) begin(m sender) *reply {
	if !m.utf8 && !ascii(m.path) {
		return errNotUTF8
	}
	if c.srv.o.Mode == Submission {
		if r := c.mayUse(m.path); r != nil {
			return c.refused(r)
		}
	}
	c.mail = &transaction{c: c, sender: m}
	return say(250, "2.1.0", "sender ok")
}

// refused notes a refusal that somebody may ask about. Its text ends with the session's id, by which the log tells more.
func (c *client) refused(r *reply) *reply {
	c.log.Info("refused", "reply", r.Error(), "account", c.ses.Account().Name)
	return &reply{r.code, r.enhanced, clean(r.text, maxReply-40) + " (" + c.ses.ID() + ")"}
}

// failure notes an error of ours.
func (c *client) failure(what string, err error) *reply {
	r := replyTo(err)
	if r.code/100 == 4 && r.enhanced != "4.2.2" && c.context().Err() == nil {
		c.log.Error("failed", "doing", what, "error", err)
	}
	return r
}

// data takes the message and delivers it.
func (t *transaction) data(ctx context.Context, body io.Reader) *reply {
	t.c.ses.SetActivity(t.activity())
	id := ulid.MustNew(ulid.Timestamp(t.c.srv.o.Now()), ulid.DefaultEntropy()).String()
	// SIZE is not reserved: whoever announces much and sends slowly would fill the mailbox with nothing.
	u, err := t.c.srv.store.NewMail(ctx, t.only(), -1)
	if err != nil {
		return t.c.refused(t.c.failure("new message", err))
	}
	defer u.Abort()
	if err := t.fill(u, id, body); err != nil {
		if errors.Is(err, errLost) {
			t.c.log.Info("message lost on its way in", "error", err)
			return replyTo(err)
		}
		r := t.c.failure("message", err)
		if r.failed() {
			return t.c.refused(r)
		}
		return r // RSET or QUIT between two chunks
	}
	if r := t.finish(ctx, id, u); r != nil {
		return t.c.refused(r)
	}
	t.c.errors = 0 // a client that gets mail through knows what it does
	t.c.log.Info("message delivered", "queue", id, "from", t.sender.path, "recipients", len(t.recipients), "bytes", u.Size())
	return say(250, "2.0.0", "delivered as %s", id)
}

func (t *transaction) activity() string {
	if len(t.recipients) == 1 {
		return "DATA 1 recipient"
	}
	return "DATA " + itoa(len(t.recipients)) + " recipients"
}

// fill writes the message with what we add to it.
func (t *transaction) fill(u *storage.Upload, id string, body io.Reader) error {
	buf := headers.Get().(*[headerBuffer]byte)
	defer headers.Put(buf)
	h, err := readHeader(body, buf[:0])
	if err != nil {
		return err
	}
	if h.count("received") > maxReceived {
		return say(554, "5.4.6", "message goes in circles")
	}
	var added []byte
	if t.c.srv.o.Mode == Submission {
		if added, err = t.submit(id, h); err != nil {
			return err
		}
	}
	if _, err := u.Write(h.appendWithout(append(t.trace(id), added...), "return-path")); err != nil {
		return err
	}
	if _, err := u.Write(h.rest); err != nil {
		return err
	}
	if h.ended {
		return nil
	}
	_, err = u.ReadFrom(body)
	return err
}
