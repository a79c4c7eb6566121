package smtp

import (
	"context"
	"errors"
	"io/fs"

	"github.com/packetboat/packetboat/storage"
)

// only is the account of a message that has one, so that its quota is looked at while the bytes come in.
func (t *transaction) only() int64 {
	id := t.recipients[0].account.ID
	for _, r := range t.recipients {
		if r.account.ID != id {
			return 0
		}
	}
	return id
}

func (t *transaction) account(id int64) *storage.Account {
	for _, r := range t.recipients {
		if r.account.ID == id {
			return r.account
		}
	}
	return nil
}

// targets are the mailboxes, one for each account however many of its addresses were named.
func (t *transaction) targets() []storage.Target {
	seen := map[int64]bool{}
	all := make([]storage.Target, 0, len(t.recipients))
	for _, r := range t.recipients {
		if !seen[r.account.ID] {
			seen[r.account.ID] = true
			all = append(all, storage.Target{Account: r.account.ID, Mailbox: r.inbox, InternalDate: t.c.srv.o.Now()})
		}
	}
	return all
}

// deliver puts the message into all targets or none.
func (t *transaction) deliver(ctx context.Context, u *storage.Upload, targets []storage.Target) *reply {
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
