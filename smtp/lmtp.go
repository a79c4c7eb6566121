package smtp

import (
	"context"
	"errors"

	"github.com/packetboat/packetboat/storage"
)

// LMTP (RFC 2033) differs from SMTP in its greeting, LHLO, and in that the end of a message is answered once for each recipient that
// RCPT took, in their order: what one account cannot take harms no other. There is no queue behind it: whoever sends keeps the
// message for those that got a temporary error.

// verdicts are the replies to the end of a message: one for each recipient in LMTP, one in all otherwise.
func (c *client) verdicts(t *transaction, r *reply) []byte {
	if c.srv.o.Mode != LMTP {
		return r.append(nil)
	}
	var b []byte
	for i := range t.recipients {
		one := r
		if i < len(t.each) && t.each[i] != nil {
			one = t.each[i]
		}
		b = one.append(b)
	}
	return b
}

// deliverEach is deliver for LMTP: t.each says what became of each recipient. The reply is nil when one of them has the message, and else
// what kept it from all. Deliveries are all or none, and leave the upload as it was when they fail: then those who cannot be served are looked for
// one by one, and the others served without them.
func (t *transaction) deliverEach(ctx context.Context, id string, u *storage.Upload) *reply {
	all := t.recipients
	t.each = make([]*reply, len(all))
	defer func() { t.recipients = all }()
	r := t.deliver(ctx, id, u)
	if r == nil || len(all) == 1 {
		return r
	}
	var able []recipient
	for i := range all {
		t.recipients = all[i : i+1]
		if refusal := t.alone(ctx, id, u); refusal != nil {
			t.each[i] = t.c.refused(refusal)
		} else {
			able = append(able, all[i])
		}
	}
	if len(able) > 0 && len(able) < len(all) {
		t.recipients = able
		r = t.deliver(ctx, id, u)
	}
	if r == nil {
		return nil
	}
	for i := range all {
		if t.each[i] == nil {
			t.each[i] = t.c.refused(r)
		}
	}
	return r
}

// alone tells what would keep the message from the only recipient.
func (t *transaction) alone(ctx context.Context, id string, u *storage.Upload) *reply {
	d, refusal := t.plan(ctx, id, u)
	if refusal != nil {
		return refusal
	}
	for _, a := range d.accounts {
		now, err := t.c.srv.store.Account(ctx, a.ID) // it may have changed since RCPT
		if err != nil {
			return t.c.failure("recipient", err)
		}
		if refusal := t.full(ctx, now, u.Size()); refusal != nil {
			return refusal
		}
	}
	return nil
}

// finish delivers a message that is complete, in the way of its listener.
func (t *transaction) finish(ctx context.Context, id string, u *storage.Upload) *reply {
	if t.c.srv.o.Mode == LMTP {
		return t.deliverEach(ctx, id, u)
	}
	if t.c.srv.o.Mode == Submission && t.c.account != nil {
		u.SentBy(t.c.account.ID, len(t.recipients), t.c.srv.o.Send)
	}
	return t.deliver(ctx, id, u)
}

// strange tells whether an LMTP session comes from somebody who is not served. A socket of this machine has no address.
func (c *client) strange() bool {
	from := c.ses.Remote().Addr()
	return c.srv.o.Mode == LMTP && from.IsValid() && !c.srv.o.Trusted.Has(from)
}

// turnAway ends a session before it has begun, in the place of its greeting.
func (c *client) turnAway() error {
	c.log.Warn("connection refused", "remote", c.ses.Remote(), "reason", "not from a trusted network (lmtp.trusted)")
	c.wire.out = nil
	c.part(say(421, "4.7.0", "%s serves its own front ends only", c.srv.o.Name), "not trusted")
	_ = c.wire.flush()
	return errStrange
}

var errStrange = errors.New("not from a trusted network")
