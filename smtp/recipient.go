package smtp

import (
	"context"
	"errors"
	"io/fs"

	"github.com/packetboat/packetboat/storage"
)

// recipient is what a RCPT said and whom it meant.
type recipient struct {
	envelope
	detail  string           // of user+detail (RFC 5233)
	account *storage.Account // nil: it is of another domain
	inbox   int64
}

// rcpt is RCPT.
func (t *transaction) rcpt(ctx context.Context, r recipient) *reply {
	if !t.sender.utf8 && !ascii(r.path) {
		return errNotUTF8
	}
	route, err := t.c.srv.store.Resolve(ctx, r.path)
	if errors.Is(err, storage.ErrNotLocal) && t.mayRelay() {
		t.recipients = append(t.recipients, r)
		return say(250, "2.1.5", "recipient ok")
	}
	if err != nil {
		return t.c.refused(t.unresolved(r.path, err))
	}
	r.account, r.detail = route.Account, route.Detail
	if refusal := r.owned(r.account); refusal != nil {
		return t.c.refused(refusal)
	}
	if refusal := t.full(ctx, r.account, t.sender.size); refusal != nil {
		return t.c.refused(refusal)
	}
	box, err := t.c.srv.store.Mailbox(ctx, r.account.ID, "INBOX")
	if err != nil {
		return t.c.refused(t.c.failure("recipient", err))
	}
	r.inbox = box.ID
	t.recipients = append(t.recipients, r)
	return say(250, "2.1.5", "recipient ok")
}

// mayRelay tells whether mail for other domains is taken: of our accounts, and of nobody else.
func (t *transaction) mayRelay() bool { return t.c.srv.o.Mode == Submission && t.c.account != nil }

// unresolved is why nobody here has an address.
func (t *transaction) unresolved(path string, err error) *reply {
	switch {
	case errors.Is(err, storage.ErrNotLocal):
		return say(550, "5.7.1", "<%s>: relaying denied", clean(path, 200))
	case errors.Is(err, fs.ErrNotExist):
		return say(550, "5.1.1", "<%s>: no such user here", clean(path, 200))
	case errors.Is(err, storage.ErrInvalid):
		return say(550, "5.1.2", "<%s>: no such address here", clean(path, 200)) // an address literal: its syntax was checked
	}
	return t.c.failure("recipient", err)
}

// full tells whether a message of size bytes is too much for an account, or one message too many.
func (t *transaction) full(ctx context.Context, a *storage.Account, size int64) *reply {
	if a.Quota == 0 && a.MessageQuota == 0 {
		return nil
	}
	usage, err := t.c.srv.store.Usage(ctx, a.ID)
	switch {
	case err != nil:
		return t.c.failure("quota", err)
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
