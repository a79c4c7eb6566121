package outbound

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/packetboat/packetboat/smtp/dsn"
	"github.com/packetboat/packetboat/storage"
)

// notices writes what the sender is to be told of the outcomes (RFC 3461 section 6.2): one message for all recipients of which
// something is to be told.
func (d *delivery) notices(ctx context.Context, all []storage.Outcome, now time.Time) ([]storage.Notice, error) {
	var told []dsn.Recipient
	var ids []int64
	for i, t := range d.tasks {
		a := action(t, &all[i])
		if a == "" || !d.wanted(t, a) {
			continue
		}
		told = append(told, d.recipient(t, &all[i], a, now))
		ids = append(ids, t.ID)
	}
	if len(told) == 0 {
		return nil, nil
	}
	n := storage.Notice{For: ids}
	sender, err := d.w.store.Resolve(ctx, d.m.From)
	switch {
	case err == nil:
		return d.compose(ctx, n, told, &sender, now)
	case errors.Is(err, storage.ErrNotLocal):
		return d.compose(ctx, n, told, nil, now)
	case gone(err):
		d.w.log.Info("nobody to tell", "queue", d.m.Queue, "from", d.m.From, "error", err)
		return nil, nil
	}
	return nil, err
}

// wanted tells whether the sender is to hear of an action: when NOTIFY has it, or BY.
func (d *delivery) wanted(t *task, a dsn.Action) bool {
	return dsn.Wanted(d.m.From, t.Notify, a) || a == dsn.Relayed && d.m.From != "" && t.traced()
}

// traced tells whether BY asks for a notice that the message went on. RFC 2852 section 4.1: with a trace of each server that knows BY, and with mode N of one that does not,
// behind which nobody looks at the time. NOTIFY may rule it out.
func (t *task) traced() bool {
	if t.Notify != "" && !asks(t.Notify, "SUCCESS") && !asks(t.Notify, "DELAY") {
		return false
	}
	if t.by {
		return strings.HasSuffix(t.ByMode, "T")
	}
	return strings.HasPrefix(t.ByMode, "N")
}

// gone tells whether an address of ours leads nowhere.
func gone(err error) bool {
	for _, e := range []error{fs.ErrNotExist, storage.ErrInvalid, storage.ErrLoop, storage.ErrLimit, storage.ErrEmptyGroup, storage.ErrForged, storage.ErrExpired} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// action is what a notice would say of a recipient, "" for nothing.
func action(t *task, o *storage.Outcome) dsn.Action {
	switch {
	case o.State == storage.Failed:
		return dsn.Failed
	case o.State == storage.Relayed:
		return dsn.Relayed
	case o.State == storage.Expanded:
		return dsn.Expanded
	case t.delayed:
		return dsn.Delayed
	}
	return ""
}

func (d *delivery) recipient(t *task, o *storage.Outcome, a dsn.Action, now time.Time) dsn.Recipient {
	r := dsn.Recipient{Address: t.Address, Original: t.Original, Action: a, Status: o.Status, Remote: o.Remote}
	if !o.NoAttempt {
		r.LastAttempt = now
	}
	switch {
	case t.fail == nil:
		r.Reply = o.Reply
	case t.fail.reply.Code != 0:
		r.Reply = t.fail.reply.String()
	default:
		r.Why, r.Remote = t.fail.text, ""
	}
	if a == dsn.Delayed {
		r.WillRetryUntil = t.Created.Add(d.w.o.Schedule.Expire)
	}
	if a == dsn.Failed && o.Status == "4.4.7" {
		r.Why = "the message could not be delivered in time"
	}
	return r
}

// compose writes the notice for the sender: into mailboxes of ours, or back into the outbox.
func (d *delivery) compose(ctx context.Context, n storage.Notice, told []dsn.Recipient, sender *storage.Route, now time.Time) ([]storage.Notice, error) {
	b, err := d.w.store.OpenOutgoing(ctx, d.m.Outbox)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // dropped meanwhile
	}
	if err != nil {
		return nil, err
	}
	defer b.Close()
	m := &dsn.Message{Reporter: d.w.reporter(), To: d.m.From, Now: now, Queue: d.m.Queue, EnvelopeID: d.m.EnvelopeID, Return: d.m.Return, UTF8: d.m.UTF8,
		Arrival: d.m.Created, Original: b, Size: b.Size(), Recipients: told}
	if n.Upload, err = d.w.store.NewMail(ctx, 0, -1); err != nil {
		return nil, err
	}
	fail := func(err error) ([]storage.Notice, error) {
		n.Upload.Abort()
		return nil, err
	}
	if sender != nil && len(sender.Boxes) > 0 {
		// RFC 5321 section 4.4: the last server notes the sender.
		if _, err := io.WriteString(n.Upload, "Return-Path: <>\r\n"); err != nil {
			return fail(err)
		}
	}
	info, err := dsn.Compose(n.Upload, m)
	if err != nil {
		return fail(err)
	}
	out := &storage.Outgoing{From: "", UTF8: info.UTF8} // RFC 3461 section 6.1: from the null sender
	if sender == nil {
		out.Recipients = []storage.OutgoingRecipient{{Address: d.m.From, Notify: "NEVER"}}
	} else {
		if n.Targets, err = d.w.inboxes(ctx, sender.Boxes, now); err != nil {
			return fail(err)
		}
		for _, f := range sender.Forwards {
			out.Recipients = append(out.Recipients, storage.OutgoingRecipient{Address: f.Address, Notify: "NEVER"})
		}
	}
	if len(out.Recipients) > 0 {
		n.Outgoing = out
	}
	return []storage.Notice{n}, nil
}

// reporter is our name in notices.
func (w *Worker) reporter() string {
	if w.o.Name != "" {
		return w.o.Name
	}
	return "localhost"
}

// inboxes are where mail for boxes goes.
func (w *Worker) inboxes(ctx context.Context, boxes []storage.Box, now time.Time) ([]storage.Target, error) {
	var all []storage.Target
	for _, b := range boxes {
		m, err := w.store.Mailbox(ctx, b.Account.ID, "INBOX")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, storage.Target{Account: b.Account.ID, Mailbox: m.ID, InternalDate: now})
	}
	return all, nil
}
