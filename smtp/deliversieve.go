package smtp

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/smtp/sieve"
	"github.com/packetboat/packetboat/storage"
)

// run runs a filter on the message. Whatever goes wrong in it, the message is kept (RFC 5228 section 2.10.6).
func (l *letter) run(ctx context.Context, s *sieve.Script, r *recipient, b storage.Box, id string, u *storage.Upload) sieve.Actions {
	limits, left := l.limits()
	if !left {
		return sieve.Keep()
	}
	index := u.Index()
	head := make([]byte, min(index.Root.BodyOffset, maxHeader))
	if n, err := u.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		l.log.Error("failed", "doing", "reading the header for a filter", "queue", id, "error", err)
		return sieve.Keep()
	} else {
		head = head[:n]
	}
	to := r.path
	if !strings.Contains(to, "@") || r.route.Group {
		to = b.Address
	}
	env := sieve.Env{From: l.sender.path, To: to, Now: l.srv.o.Now(), Host: l.srv.o.Name, Remote: l.remote, Helo: l.helo,
		Exists: func(ctx context.Context, name string) (bool, error) {
			m, err := l.srv.store.Mailbox(ctx, b.Account.ID, name)
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil
			}
			return err == nil && !m.NoSelect, err
		},
		Seen: func(ctx context.Context, mark string) (bool, error) {
			return l.srv.store.SieveSeen(ctx, b.Account.ID, mark)
		},
	}
	if l.account != nil {
		env.Auth = l.account.Name
	}
	within, cancel := context.WithDeadline(ctx, l.budget.ends)
	out, err := s.Run(within, env, sieve.Message{Header: head, Body: u, Size: u.Size(), Index: index}, limits)
	cancel()
	l.budget.steps += out.Steps
	if err != nil {
		l.log.Warn("an account's filter failed: its mail is kept", "queue", id, "account", b.Account.Name, "steps", out.Steps, "error", err)
	}
	return out
}

// sift makes what an account's filter wants a part of the delivery.
func (l *letter) sift(ctx context.Context, d *delivery, s *sieve.Script, r *recipient, b storage.Box, id string, u *storage.Upload) *reply {
	out := l.run(ctx, s, r, b, id, u)
	if out.Rejects && l.rejects(d, r, b, out.Reject) {
		return say(550, "5.7.1", "%s", oneLine(out.Reject))
	}
	if out.Rejects {
		// Others may get the message: then the sender is told by a notice, if it is who it says (RFC 5429 section 2.1.1). When nobody does, plan refuses it.
		d.rejected = say(550, "5.7.1", "%s", oneLine(out.Reject))
		d.notify(r, refusedBy, "5.7.1", oneLine(out.Reject))
		return nil
	}
	for _, addr := range out.Redirects {
		if refusal := l.redirect(ctx, d, r, b, addr, id, u); refusal != nil {
			return refusal
		}
	}
	for _, f := range out.Files {
		if refusal := l.file(ctx, d, b, f, id); refusal != nil {
			return refusal
		}
	}
	for _, m := range out.Marks {
		d.marks = append(d.marks, storage.SieveMark{Account: b.Account.ID, Mark: m.ID, For: m.For})
	}
	if out.Vacation != nil {
		l.vacation(d, b, out.Vacation, id, u)
	}
	return nil
}

// rejects tells whether the refusal of one account can be the reply to the message: nobody else gets it (RFC 5429 section 2.1.1).
func (l *letter) rejects(d *delivery, r *recipient, b storage.Box, _ string) bool {
	return len(l.recipients) == 1 && len(r.route.Boxes) == 1 && len(r.route.Forwards) == 0 && len(d.stack) <= 1
}

// oneLine is a text for a reply.
func oneLine(s string) string { return clean(strings.Join(strings.Fields(s), " "), 300) }

// file adds a mailbox that a filter names. One that is not there, or cannot be made, is the one where the mail would have gone: nothing is lost.
func (l *letter) file(ctx context.Context, d *delivery, b storage.Box, f sieve.Mailing, id string) *reply {
	box, err := int64(0), error(nil)
	if f.Mailbox != "" {
		box, err = l.named(ctx, b.Account.ID, f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, storage.ErrInvalid) && !errors.Is(err, storage.ErrLimit) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrExist) {
			return l.failure(ctx, "filter", err)
		}
		if err != nil {
			l.log.Warn("a filter's mailbox is not there: its mail is kept", "queue", id, "account", b.Account.Name, "error", err)
		}
	}
	if box == 0 {
		if box, err = l.mailbox(ctx, b); err != nil {
			return l.failure(ctx, "mailbox", err)
		}
	}
	g := storage.Target{Mailbox: box}
	g.Flags, g.Keywords = flags(f.Flags)
	d.keep(b, g, l.srv.o.Now())
	return nil
}

// named is the mailbox of a name, made if the filter says so (RFC 5490 section 3.2).
func (l *letter) named(ctx context.Context, account int64, f sieve.Mailing) (int64, error) {
	m, err := l.srv.store.Mailbox(ctx, account, f.Mailbox)
	if err == nil && !m.NoSelect {
		return m.ID, nil
	}
	if err == nil {
		err = fs.ErrNotExist
	}
	if !f.Create || !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	m, err = l.srv.store.CreateMailbox(ctx, account, f.Mailbox, "")
	if errors.Is(err, fs.ErrExist) {
		m, err = l.srv.store.Mailbox(ctx, account, f.Mailbox) // somebody else was faster
	}
	return m.ID, err
}

// flags are a filter's flags as the store has them; what is none is left out (RFC 5232 section 2).
func flags(all []string) (system storage.Flags, keywords []string) {
	for _, f := range all {
		switch strings.ToLower(f) {
		case `\seen`:
			system |= storage.Seen
		case `\answered`:
			system |= storage.Answered
		case `\flagged`:
			system |= storage.Flagged
		case `\deleted`:
			system |= storage.Deleted
		case `\draft`:
			system |= storage.Draft
		default:
			if !strings.ContainsFunc(f, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r) }) && f != "" && len(keywords) < 16 {
				keywords = append(keywords, f)
			}
		}
	}
	return system, keywords
}

// redirect sends the message on to an address (RFC 5228 section 4.2). What is here goes where its route leads; what comes back to an account that sent it on stays there.
func (l *letter) redirect(ctx context.Context, d *delivery, r *recipient, b storage.Box, addr, id string, u *storage.Upload) *reply {
	if l.loops[b.Account.Name] {
		l.log.Info("not redirected: it came from there", "queue", id, "account", b.Account.Name)
		return l.file(ctx, d, b, sieve.Mailing{}, id)
	}
	route, err := l.srv.store.Resolve(ctx, addr)
	if errors.Is(err, storage.ErrNotLocal) {
		route = storage.Route{Forwards: []storage.Forward{{Address: addr, By: b.Address, Account: b.Account.ID}}}
		err = nil
	}
	if err != nil || route.Return {
		if err != nil && errors.Is(err, storage.ErrTemporary) {
			return l.failure(ctx, "redirect", err)
		}
		l.log.Warn("a filter redirects to nobody: its mail is kept", "queue", id, "account", b.Account.Name, "error", err)
		return l.file(ctx, d, b, sieve.Mailing{}, id)
	}
	may, err := l.maySendOn(ctx, d, b.Account.ID, len(route.Forwards))
	if err != nil {
		return l.failure(ctx, "redirect", err)
	}
	if l.budget.sent += len(route.Boxes) + len(route.Forwards); !may || l.budget.sent > maxRedirected {
		l.log.Warn("not redirected, as too many were: it is kept", "queue", id, "account", b.Account.Name)
		return l.file(ctx, d, b, sieve.Mailing{}, id)
	}
	for _, next := range route.Boxes {
		switch {
		case slices.Contains(d.stack, next.Account.ID):
			if refusal := l.file(ctx, d, next, sieve.Mailing{}, id); refusal != nil {
				return refusal
			}
		case !d.seen[next.Account.ID]:
			if refusal := l.box(ctx, d, r, next, id, u); refusal != nil {
				return refusal
			}
		}
	}
	for _, f := range route.Forwards {
		if refusal := l.forward(ctx, d, r, f, id); refusal != nil {
			return refusal
		}
	}
	return nil
}
