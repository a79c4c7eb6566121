package smtp

import (
	"context"
	"errors"
	"io/fs"

	"github.com/packetboat/packetboat/storage"
)

// only is the account of a message that has one, so that its quota is looked at while the bytes come in.
func (t *transaction) only() int64 {
	id := int64(0)
	for i, r := range t.recipients {
		if r.account == nil || i > 0 && r.account.ID != id {
			return 0
		}
		id = r.account.ID
	}
	return id
}

// targets are the mailboxes, one for each account however many of its addresses were named.
func (t *transaction) targets() (all []storage.Target, accounts []*storage.Account) {
	seen := map[int64]bool{}
	for _, r := range t.recipients {
		if r.account != nil && !seen[r.account.ID] {
			seen[r.account.ID] = true
			all = append(all, storage.Target{Account: r.account.ID, Mailbox: r.inbox, InternalDate: t.c.srv.o.Now()})
			accounts = append(accounts, r.account)
		}
	}
	return all, accounts
}

// outgoing is what must leave; nil when nothing does.
func (t *transaction) outgoing() *storage.Outgoing {
	out := storage.Outgoing{From: t.sender.path, EnvelopeID: t.sender.envid, Return: t.sender.ret}
	if t.c.account != nil {
		out.Account = t.c.account.ID
	}
	for _, r := range t.recipients {
		if r.account == nil {
			out.Recipients = append(out.Recipients, storage.OutgoingRecipient{Address: r.path, Notify: r.notify, Original: r.original})
		}
	}
	if len(out.Recipients) == 0 {
		return nil
	}
	return &out
}

// deliver puts the message into all mailboxes and the outbox, or nowhere.
func (t *transaction) deliver(ctx context.Context, id string, u *storage.Upload) *reply {
	targets, accounts := t.targets()
	for _, a := range accounts {
		if r := t.full(ctx, a, u.Size()); r != nil {
			return r
		}
	}
	// The message is complete: what ends the session now must not leave in doubt whether it was delivered.
	ctx = context.WithoutCancel(ctx)
	out := t.outgoing()
	if out == nil {
		return t.deliverHere(ctx, u, targets)
	}
	done, err := t.c.srv.store.Enqueue(ctx, u, *out, targets)
	for _, d := range done {
		if d.Err != nil {
			t.c.log.Error("failed", "doing", "delivery beside the outbox", "queue", id, "error", d.Err)
		}
	}
	if err != nil {
		return t.c.failure("outbox", err)
	}
	return nil
}

// deliverHere puts the message into all targets or none.
func (t *transaction) deliverHere(ctx context.Context, u *storage.Upload, targets []storage.Target) *reply {
	done, err := t.c.srv.store.Deliver(ctx, u, targets)
	if err != nil {
		return t.c.failure("delivery", err)
	}
	for _, d := range done {
		if d.Err != nil {
			err = d.Err
		}
	}
	if err == nil {
		return nil
	}
	for i, d := range done {
		if d.Err != nil {
			continue
		}
		if _, err := t.c.srv.store.Expunge(ctx, targets[i].Account, targets[i].Mailbox, []uint32{d.UID}, true); err != nil {
			t.c.log.Error("failed", "doing", "taking a delivery back", "account", targets[i].Account, "uid", d.UID, "error", err)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return say(451, "4.2.1", "mailbox went away, try again") // the next RCPT tells whose
	}
	return t.c.failure("delivery", err)
}
