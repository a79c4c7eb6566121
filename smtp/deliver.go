package smtp

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/smtp/dsn"
	"github.com/packetboat/packetboat/storage"
)

// loopField marks what we sent on, with storage.LoopMark of who did: who sees its own mark again does not send it on a second time (RFC 5321 section 6.3). The
// address itself would tell one recipient of another.
const loopField = "X-Packetboat-Loop"

// only is the account of a message that has one, so that its quota is looked at while the bytes come in; 0 when there are several, or it has no quota.
func (l *letter) only() int64 {
	id := int64(0)
	for i, r := range l.recipients {
		if r.relay || len(r.route.Boxes) != 1 || i > 0 && r.route.Boxes[0].Account.ID != id {
			return 0
		}
		a := r.route.Boxes[0].Account
		if a.Quota == 0 && a.MessageQuota == 0 {
			return 0 // nothing to look at
		}
		id = a.ID
	}
	return id
}

// marks are the fields for those who may send the message on, and remembers which of them did already.
func (l *letter) marks(ctx context.Context, h *header) (fields []byte) {
	var seen map[string]bool
	for _, f := range h.fields {
		if f.name == strings.ToLower(loopField) {
			if seen == nil {
				seen = map[string]bool{}
			}
			_, mark, _ := strings.Cut(string(f.raw), ":")
			seen[strings.TrimSpace(mark)] = true
		}
	}
	l.loops = nil
	mark := func(by string) {
		m := l.srv.store.LoopMark(by)
		if seen[m] {
			if l.loops == nil {
				l.loops = map[string]bool{}
			}
			l.loops[by] = true
			return
		}
		if !l.marked[m] {
			if l.marked == nil {
				l.marked = map[string]bool{}
			}
			l.marked[m] = true
			fields = append(append(append(fields, loopField+": "...), m...), crlf...)
		}
	}
	if !l.sender.hold.IsZero() {
		return nil // nobody sends it on yet
	}
	for _, r := range l.recipients {
		for _, f := range r.route.Forwards {
			if f.By != "" {
				mark(f.By)
			}
		}
		for _, b := range r.route.Boxes {
			if l.filters(ctx, b.Account.ID) {
				mark(b.Account.Name)
			}
		}
	}
	return fields
}

// delivery is where a message goes: everything that one transaction of the store takes.
type delivery struct {
	outs     []storage.Outgoing
	targets  []storage.Target
	accounts []*storage.Account          // of the targets
	seen     map[int64]bool              // accounts that were looked at
	stack    []int64                     // those whose filters redirect to one another
	full     *reply                      // why a member of a group got nothing
	rejected *reply                      // why a filter does not want it
	notices  []notice                    // what the sender is told
	sentOn   map[int64]int               // by accounts' filters, to other domains
	marks    []storage.SieveMark         // what filters remember of it
	answers  []func(ctx context.Context) // make the replies of filters, when all agree to the delivery
	told     []storage.Notice            // what goes back to the sender, in the same transaction
}

// send adds a recipient that is elsewhere to the Outgoing that is like o.
func (d *delivery) send(o storage.Outgoing, r storage.OutgoingRecipient) {
	for i := range d.outs {
		p := &d.outs[i]
		if p.Account != o.Account || p.From != o.From || p.Seal != o.Seal {
			continue
		}
		for _, have := range p.Recipients {
			if have.Address == r.Address {
				return
			}
		}
		p.Recipients = append(p.Recipients, r)
		p.UTF8 = p.UTF8 || o.UTF8
		return
	}
	o.Recipients = []storage.OutgoingRecipient{r}
	d.outs = append(d.outs, o)
}

// outgoing is an Outgoing with what MAIL said, without recipients.
func (l *letter) outgoing(id string, account int64, from string) storage.Outgoing {
	m := &l.sender
	return storage.Outgoing{Queue: id, Account: account, From: from, EnvelopeID: m.envid, Return: m.ret, UTF8: m.utf8, RequireTLS: m.requireTLS,
		Priority: m.priority, ByMode: m.byMode, By: m.by}
}

// plan says where the message goes.
func (l *letter) plan(ctx context.Context, id string, u *storage.Upload) (*delivery, *reply) {
	d := &delivery{seen: map[int64]bool{}}
	for i := range l.recipients {
		r := &l.recipients[i]
		if r.relay || !l.sender.hold.IsZero() {
			// FUTURERELEASE: nobody sees it before (RFC 4865 section 4.1). Where it goes then is found out then.
			d.send(l.outgoing(id, l.account.ID, l.sender.path), storage.OutgoingRecipient{Address: r.whole(), Notify: r.notify, Original: r.original, Due: l.sender.hold})
			continue
		}
		if l.circles(r) {
			d.notify(r, refusedBy, "5.4.6", circle)
			continue
		}
		for _, b := range r.route.Boxes {
			if d.seen[b.Account.ID] {
				continue
			}
			if refusal := l.box(ctx, d, r, b, id, u); refusal != nil {
				return nil, refusal
			}
		}
		for _, f := range r.route.Forwards {
			if refusal := l.forward(ctx, d, r, f, id); refusal != nil {
				return nil, refusal
			}
		}
		for _, addr := range r.route.Missing {
			// The group took the message, so who sent it hears what did not become of it.
			d.notify(r, refusedBy, "5.1.1", "member "+clean(addr, 200)+": no such user here")
		}
	}
	if len(d.targets) == 0 && len(d.outs) == 0 && d.full != nil {
		return nil, d.full
	}
	if len(d.targets) == 0 && len(d.outs) == 0 && d.rejected != nil {
		return nil, d.rejected
	}
	if len(d.targets) == 0 && len(d.outs) == 0 && len(l.loops) > 0 {
		return nil, say(554, "5.4.6", circle)
	}
	return d, nil
}

// circle is what the sender is told of a recipient to whom a message only leads back.
const circle = "message goes in circles"

// circles tells whether a recipient's mail all goes where it came from: nobody would get it.
func (l *letter) circles(r *recipient) bool {
	return len(r.route.Boxes) == 0 && len(r.route.Forwards) > 0 && !slices.ContainsFunc(r.route.Forwards, func(f storage.Forward) bool { return !l.loops[f.By] })
}

// forward adds an address of another domain that a route leads to.
func (l *letter) forward(ctx context.Context, d *delivery, r *recipient, f storage.Forward, id string) *reply {
	if l.loops[f.By] {
		l.log.Info("not sent on: it came from there", "queue", id, "by", f.By)
		return nil
	}
	from, err := l.srv.store.RewriteSender(ctx, l.sender.path, f.By)
	if err != nil {
		return l.failure(ctx, "forward", err)
	}
	account := f.Account
	if l.account != nil {
		account = l.account.ID // who sends it answers for it
	}
	to := storage.OutgoingRecipient{Address: f.Address, Notify: r.notify, Original: r.original}
	if to.Original == "" {
		to.Original = "rfc822;" + r.path
		if !ascii(r.path) {
			to.Original = "utf-8;" + r.path
		}
	}
	if r.route.Group {
		to.Notify = dsn.WithoutSuccess(r.notify)
	}
	if l.disowned() {
		from, to.Notify = "", "NEVER" // what the next server says of it is for nobody: neither ours nor its notice may go to whoever's name was used
	}
	o := l.outgoing(id, account, from)
	o.UTF8 = o.UTF8 || !ascii(f.Address) || !ascii(from)
	o.Seal = l.account == nil // what came from outside (RFC 8617)
	d.send(o, to)
	return nil
}

// deliver puts the message into all mailboxes and the outbox, or nowhere.
func (l *letter) deliver(ctx context.Context, id string, u *storage.Upload) *reply {
	d, refusal := l.plan(ctx, id, u)
	if refusal != nil {
		return refusal
	}
	for _, a := range d.accounts {
		if r := l.full(ctx, a, u.Size()); r != nil {
			return r
		}
	}
	// The message is complete: what ends the session now must not leave in doubt whether it was delivered.
	ctx = context.WithoutCancel(ctx)
	defer d.abort()
	for _, f := range d.answers {
		f(ctx)
	}
	l.succeed(d)
	if r := l.tell(ctx, d, id, u); r != nil {
		return r
	}
	return l.commit(ctx, u, d)
}

// abort gives back what is told to the sender, unless it was taken.
func (d *delivery) abort() {
	for _, n := range d.told {
		n.Upload.Abort()
	}
}

// commit is the transaction: all or none.
func (l *letter) commit(ctx context.Context, u *storage.Upload, d *delivery) *reply {
	if len(d.outs) == 0 && len(d.targets) == 0 && len(d.told) == 0 && len(d.marks) == 0 && l.settles == nil {
		return nil // filters want it nowhere
	}
	u.Tells(d.told)
	u.Remembers(d.marks)
	if l.settles != nil {
		u.Settles(*l.settles)
	} else {
		u.Arrived(l.arrival())
	}
	u.SentOn(d.sentOn)
	_, err := l.srv.store.Enqueue(ctx, u, d.outs, d.targets)
	if refused := (*storage.TargetError)(nil); errors.As(err, &refused) && errors.Is(err, storage.ErrLimit) {
		// A filter's keywords are no reason to refuse mail.
		for i := range d.targets {
			d.targets[i].Keywords = nil
		}
		_, err = l.srv.store.Enqueue(ctx, u, d.outs, d.targets)
	}
	switch {
	case err == nil:
		return nil
	case l.settles != nil && errors.Is(err, storage.ErrConflict):
		return errTaken
	case errors.Is(err, fs.ErrNotExist):
		return say(451, "4.2.1", "mailbox went away, try again") // the next RCPT tells whose
	}
	return l.failure(ctx, "delivery", err)
}

// arrival is what the webhook is told of the message.
func (l *letter) arrival() storage.Arrival {
	a := storage.Arrival{Queue: l.queue, From: l.sender.path, EnvelopeID: l.sender.envid, Recipients: make([]string, len(l.recipients))}
	if l.account != nil {
		a.Account = l.account.ID
	}
	for i, r := range l.recipients {
		a.Recipients[i] = r.path
	}
	return a
}
