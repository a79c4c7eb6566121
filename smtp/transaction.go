package smtp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"

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
	letter
	c    *client
	each []*reply // LMTP: what became of each recipient, when they differ

	binary *binaryBody // the message as it came, when it came by BINARYMIME
}

// begin is MAIL.
func (c *client) begin(m sender) *reply {
	if !m.utf8 && !ascii(m.path) {
		return errNotUTF8
	}
	if r := c.mayMail(); r != nil {
		return c.refused(r)
	}
	if c.srv.o.Mode == Submission {
		if r := c.mayUse(m.path); r != nil {
			return c.refused(r)
		}
	}
	c.mail = &transaction{c: c, letter: letter{srv: c.srv, log: c.log, account: c.account, remote: c.remote(), helo: c.helo, arrived: c.srv.o.Now(), sender: m}}
	return say(250, "2.1.0", "sender ok")
}

// failure notes an error of ours.
func (c *client) failure(what string, err error) *reply {
	return noted(c.context(), c.log, what, err)
}

func noted(ctx context.Context, log *slog.Logger, what string, err error) *reply {
	r := replyTo(err)
	if r.code/100 == 4 && r.enhanced != "4.2.2" && ctx.Err() == nil {
		log.Error("failed", "doing", what, "error", err)
	}
	return r
}

// data takes the message, has it judged and delivers it.
func (t *transaction) data(ctx context.Context, body io.Reader) (said *reply) {
	defer func() { t.count(said) }()
	t.c.ses.SetActivity(t.activity())
	t.queue = ulid.MustNew(ulid.Timestamp(t.c.srv.o.Now()), ulid.DefaultEntropy()).String()
	u, err := t.take(ctx, body)
	if err != nil {
		if errors.Is(err, errLost) {
			t.c.log.Info("message lost on its way in", "error", err)
			return replyTo(err)
		}
		var r *reply
		if !errors.As(err, &r) {
			r = t.c.failure("message", err)
		}
		if r.failed() {
			return t.c.refused(r)
		}
		return r // RSET or QUIT between two chunks
	}
	defer u.Abort()
	if t.verdict != nil && t.verdict.Discard {
		t.accepted("discarded", u.Size())
		return say(250, "2.0.0", "taken as %s", t.queue)
	}
	if r := t.finish(ctx, t.queue, u); r != nil {
		return t.c.refused(r)
	}
	t.c.errors = 0 // a client that gets mail through knows what it does
	t.accepted("accepted", u.Size())
	t.acquaint(ctx)
	return say(250, "2.0.0", "%s as %s", t.became(), t.queue)
}

// became says what the sender may know of a message that was taken: it waits in the queue for somebody whom the sender named, or not. Where mail for
// ours goes on to is not the sender's business.
func (t *transaction) became() string {
	if !t.sender.hold.IsZero() || slices.ContainsFunc(t.recipients, func(r recipient) bool { return r.relay }) {
		return "queued"
	}
	return "delivered"
}

func (t *transaction) activity() string {
	if len(t.recipients) == 1 {
		return "DATA 1 recipient"
	}
	return "DATA " + itoa(len(t.recipients)) + " recipients"
}

// take makes an upload of the message, with what we add to it in front: as it comes in when nothing is to be judged, else once it was.
func (t *transaction) take(ctx context.Context, body io.Reader) (*storage.Upload, error) {
	buf := headers.Get().(*[headerBuffer]byte)
	defer headers.Put(buf)
	h, err := readHeader(body, buf[:0])
	if err != nil {
		return nil, err
	}
	if h.count("received") > maxReceived {
		return nil, say(554, "5.4.6", "message goes in circles")
	}
	if err := t.validSince(h); err != nil {
		return nil, err
	}
	var added []byte
	if t.c.srv.o.Mode == Submission {
		if added, err = t.submit(t.queue, h); err != nil {
			return nil, err
		}
	}
	added = append(t.marks(ctx, h), added...)
	if t.judged() {
		return t.spooled(ctx, h, added, body)
	}
	t.unclaim(h)
	return t.fill(ctx, t.top(added), h, 0, func(u *storage.Upload) error {
		if h.ended {
			return nil
		}
		_, err := u.ReadFrom(body)
		return err
	})
}

// top is what stands in front of a message: the trace fields, and what was added.
func (t *transaction) top(added []byte) []byte { return append(t.trace(t.queue), added...) }
