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
// what kept it from all.
func (t *transaction) deliverEach(ctx context.Context, id string, u *storage.Upload) *reply {
	all := t.recipients
	t.each = make([]*reply, len(all))
	defer func() { t.recipients = all }()
	var last *reply
	left := make([]int, 0, len(all))
	for i, r := range all {
		for _, b := range r.route.Boxes {
			if t.each[i] == nil {
				t.each[i] = t.full(ctx, b.Account, u.Size())
			}
		}
		if last = t.each[i]; last == nil {
			left = append(left, i)
		} else {
			t.each[i] = t.c.refused(last)
		}
	}
	if len(left) == 0 {
		return last
	}
	t.recipients = make([]recipient, len(left))
	for k, i := range left {
		t.recipients[k] = all[i]
	}
	r := t.deliver(ctx, id, u)
	if r == nil {
		return nil
	}
	for _, i := range left {
		t.each[i] = t.c.refused(r)
	}
	return r
}

// finish delivers a message that is complete, in the way of its listener.
func (t *transaction) finish(ctx context.Context, id string, u *storage.Upload) *reply {
	if t.c.srv.o.Mode == LMTP {
		return t.deliverEach(ctx, id, u)
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
