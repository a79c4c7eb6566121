package smtp

import (
	"context"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// box adds an account's mailbox, or what its filter wants.
func (l *letter) box(ctx context.Context, d *delivery, r *recipient, b storage.Box, id string, u *storage.Upload) *reply {
	d.seen[b.Account.ID] = true
	if r.route.Group {
		// One full mailbox does not keep a message from the others; its sender is told.
		if refusal := l.full(ctx, b.Account, u.Size()); refusal != nil && refusal.enhanced[1:] == ".2.2" {
			d.full = refusal
			d.notify(r, refusedBy, "5.2.2", refusal.text)
			return nil
		} else if refusal != nil {
			return refusal
		}
	}
	s, err := l.srv.o.Filters.of(ctx, b.Account.ID)
	if err != nil {
		return l.failure(ctx, "filter", err)
	}
	if s != nil {
		d.stack = append(d.stack, b.Account.ID)
		defer func() { d.stack = d.stack[:len(d.stack)-1] }()
		return l.sift(ctx, d, s, r, b, id, u)
	}
	m, err := l.mailbox(ctx, b)
	if err != nil {
		return l.failure(ctx, "mailbox", err)
	}
	d.keep(b, storage.Target{Mailbox: m}, l.srv.o.Now())
	return nil
}

// keep adds a target of an account; the same mailbox only once, with the flags of the last.
func (d *delivery) keep(b storage.Box, g storage.Target, now time.Time) {
	for i := range d.targets {
		if o := &d.targets[i]; o.Account == b.Account.ID && o.Mailbox == g.Mailbox {
			if g.Flags != 0 || g.Keywords != nil {
				o.Flags, o.Keywords = g.Flags, g.Keywords
			}
			return
		}
	}
	g.Account, g.InternalDate = b.Account.ID, now
	d.targets = append(d.targets, g)
	d.accounts = append(d.accounts, b.Account)
}

// mailbox is where an account's mail goes unless its filter says otherwise: what was judged to be junk into the mailbox for that; else the mailbox of the name that stands
// behind a "+" in the address (RFC 5233) if the account has one; else INBOX. The one for junk alone is made where there is none, and it is never another one's.
func (l *letter) mailbox(ctx context.Context, b storage.Box) (int64, error) {
	all, err := l.srv.store.Names(ctx, b.Account.ID)
	if err != nil {
		return 0, err
	}
	junk := l.verdict != nil && l.verdict.Junk
	if detail := b.Detail != "" && len(b.Detail) <= 64; junk || detail {
		for _, m := range all {
			if !m.NoSelect && (junk && m.Role == "Junk" || !junk && strings.EqualFold(m.Name, b.Detail)) {
				return m.ID, nil
			}
		}
		if junk {
			return l.makeJunk(ctx, b.Account.ID, all)
		}
	}
	if len(all) == 0 || all[0].Name != "INBOX" {
		return 0, say(451, "4.2.1", "mailbox went away, try again")
	}
	return all[0].ID, nil
}
