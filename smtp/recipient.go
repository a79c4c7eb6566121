package smtp

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/packetboat/packetboat/storage"
)

// recipient is what a RCPT said and whom it meant.
type recipient struct {
	envelope
	relay bool          // it is of another domain, and an account of ours sends it
	route storage.Route // else: where it goes
}

// whole is the address with its domain: "postmaster" has none (RFC 5321 section 4.5.1).
func (r *recipient) whole() string {
	if !strings.Contains(r.path, "@") && len(r.route.Boxes) > 0 {
		return r.route.Boxes[0].Account.Name
	}
	return r.path
}

// maxRouted is how many mailboxes and foreign addresses the recipients of one message may lead to.
const maxRouted = 20_000

// rcpt is RCPT.
func (t *transaction) rcpt(ctx context.Context, r recipient) *reply {
	if !t.sender.utf8 && !ascii(r.path) {
		return errNotUTF8
	}
	var err error
	r.route, err = t.c.srv.store.Resolve(ctx, r.path)
	if errors.Is(err, storage.ErrNotLocal) && t.mayRelay() {
		r.relay = true
		t.recipients = append(t.recipients, r)
		return say(250, "2.1.5", "recipient ok")
	}
	if err != nil {
		return t.c.refused(t.unresolved(ctx, r.path, err))
	}
	if refusal := t.refusesRoute(ctx, &r); refusal != nil {
		return t.c.refused(refusal)
	}
	t.recipients = append(t.recipients, r)
	return say(250, "2.1.5", "recipient ok")
}

// refusesRoute tells why mail cannot go where a recipient leads.
func (l *letter) refusesRoute(ctx context.Context, r *recipient) *reply {
	if r.route.Return && l.sender.path != "" {
		// What comes back is a notice, and those have no sender (RFC 5321 section 4.5.5); all else would be mail that we relay for others.
		return say(550, "5.7.1", "<%s>: only notices may come back here", clean(r.path, 200))
	}
	n := len(r.route.Boxes) + len(r.route.Forwards)
	for _, o := range l.recipients {
		n += len(o.route.Boxes) + len(o.route.Forwards)
	}
	if n > maxRouted {
		return say(452, "4.5.3", "too many recipients") // RFC 5321 section 4.5.3.1.10
	}
	var full *reply
	for _, b := range r.route.Boxes {
		if !r.route.Group {
			if refusal := r.owned(b.Account); refusal != nil {
				return refusal
			}
		}
		if full = l.full(ctx, b.Account, l.sender.size); full == nil && r.route.Group {
			return nil // one member has room
		}
	}
	if len(r.route.Forwards) > 0 && r.route.Group {
		return nil
	}
	return full
}

// mayRelay tells whether mail for other domains is taken: of our accounts, and of nobody else.
func (t *transaction) mayRelay() bool { return t.c.srv.o.Mode == Submission && t.c.account != nil }

// unresolved is why nobody here has an address.
func (l *letter) unresolved(ctx context.Context, path string, err error) *reply {
	switch {
	case errors.Is(err, storage.ErrNotLocal):
		return say(550, "5.7.1", "<%s>: relaying denied", clean(path, 200))
	case errors.Is(err, storage.ErrForged):
		return say(550, "5.1.1", "<%s>: no such return address", clean(path, 200))
	case errors.Is(err, storage.ErrExpired):
		return say(550, "5.1.1", "<%s>: the return address is too old", clean(path, 200))
	case errors.Is(err, storage.ErrLoop):
		return say(550, "5.4.6", "<%s>: forwarding without an end", clean(path, 200))
	case errors.Is(err, storage.ErrEmptyGroup), errors.Is(err, storage.ErrLimit):
		return say(550, "5.2.4", "<%s>: the group cannot be reached", clean(path, 200)) // RFC 3463 section 3.3: expansion problem
	case errors.Is(err, fs.ErrNotExist):
		return say(550, "5.1.1", "<%s>: no such user here", clean(path, 200))
	case errors.Is(err, storage.ErrInvalid):
		return say(550, "5.1.2", "<%s>: no such address here", clean(path, 200)) // an address literal: its syntax was checked
	}
	return l.failure(ctx, "recipient", err)
}

// full tells whether a message of size bytes is too much for an account, or one message too many.
func (l *letter) full(ctx context.Context, a *storage.Account, size int64) *reply {
	if a.Quota == 0 && a.MessageQuota == 0 {
		return nil
	}
	usage, err := l.srv.store.Usage(ctx, a.ID)
	switch {
	case err != nil:
		return l.failure(ctx, "quota", err)
	case a.MessageQuota != 0 && usage.Messages >= a.MessageQuota:
		return say(452, "4.2.2", "mailbox of %s is full", a.Name)
	case a.Quota == 0:
		return nil
	case size > a.Quota:
		return say(552, "5.2.2", "message is larger than the mailbox of %s may become", a.Name)
	case usage.Bytes >= a.Quota || usage.Bytes+size > a.Quota:
		return say(452, "4.2.2", "mailbox of %s is full", a.Name)
	}
	return nil
}

// RFC 6531 section 3.5.
var errNotUTF8 = say(553, "5.6.7", "address needs SMTPUTF8")
