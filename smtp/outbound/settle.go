package outbound

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/packetboat/packetboat/smtp/dsn"
	"github.com/packetboat/packetboat/storage"
)

// settleTime bounds one Settle, which may have to wait for the disk.
const settleTime = time.Minute

// write tries f until it works: what was delivered and is not written down would be delivered again, so the runner does nothing else meanwhile (the disk
// may be full). Once the server ends it is tried for the last time.
func (w *Worker) write(f func(context.Context) error) error {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		ending := w.ctx.Err() != nil
		// The reply is there: what ends the server now must not leave in doubt whether the message was delivered.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), settleTime)
		err := f(ctx)
		cancel()
		if err == nil || ending {
			return err
		}
		select {
		case <-time.After(wait):
		case <-w.ctx.Done():
		}
	}
}

// settle writes down what became of the recipients, with the notices that follow.
func (d *delivery) settle() {
	w := d.w
	now := w.o.Now()
	all := make([]storage.Outcome, 0, len(d.tasks))
	for _, t := range d.tasks {
		all = append(all, d.outcome(t, now))
	}
	if err := w.write(func(ctx context.Context) error {
		notices, err := d.notices(ctx, all, now)
		if err == nil {
			err = w.store.Settle(ctx, all, notices)
		}
		if errors.Is(err, storage.ErrTemporary) && w.ctx.Err() == nil && d.untold(all, now) {
			// There is no room for the notice: what failed waits until there is, and the runner goes on with what makes room.
			w.log.Warn("no room for a notice: what failed is tried again later", "queue", d.m.Queue, "error", err)
			if e := w.store.Settle(ctx, all, nil); e == nil {
				err = nil
			}
		}
		if err != nil {
			for _, n := range notices {
				n.Upload.Abort()
			}
			w.log.Error("cannot settle what became of outgoing mail", "queue", d.m.Queue, "error", err)
		}
		return err
	}); err != nil {
		return
	}
	for i, t := range d.tasks {
		o := &all[i]
		if t.putOff {
			continue
		}
		level := slog.LevelInfo
		if o.NoAttempt {
			level = slog.LevelDebug // it is held: nothing happened
		}
		w.log.Log(context.Background(), level, "outgoing "+string(o.State), "queue", t.Queue, "to", t.Address, "from", t.From, "remote", o.Remote, "status", o.Status, "reply", o.Reply, "attempt", t.Attempts+1)
	}
}

// untold puts off the recipients whose senders are to be told that they failed or are late. It is false when there are none, or when one cannot be put off: what
// was delivered, and what an administrator has given up on.
func (d *delivery) untold(all []storage.Outcome, now time.Time) bool {
	var late []int
	for i, t := range d.tasks {
		a := action(t, &all[i])
		if a == "" || !d.wanted(t, a) {
			continue
		}
		if a != dsn.Failed && a != dsn.Delayed || t.Verdict != "" {
			return false
		}
		late = append(late, i)
	}
	for _, i := range late {
		t, o := d.tasks[i], &all[i]
		if o.State == storage.Failed {
			o.State, o.Due, o.NoAttempt, t.putOff = storage.Deferred, now.Add(noRoom), true, true
		}
		t.delayed, o.Delayed = false, t.Delayed
	}
	return len(late) > 0
}

// noRoom is how long a recipient waits whose sender could not be told.
const noRoom = time.Minute

// outcome is what the store is told of a recipient.
func (d *delivery) outcome(t *task, now time.Time) storage.Outcome {
	o := storage.Outcome{Recipient: t.ID, Owner: d.w.owner, Delayed: t.Delayed}
	switch {
	case t.state != "":
		o.State, o.Reply, o.Status, o.Remote = t.state, t.reply, t.status, t.remote
		if o.State == storage.Delivered && !t.here && (!t.dsn && asks(t.Notify, "SUCCESS") || t.traced()) {
			o.State = storage.Relayed // RFC 3461 section 5.2.2: the next server will tell nobody
		}
		return o
	case t.putOff:
		o.State, o.Due, o.NoAttempt = storage.Deferred, t.due, true
		return o
	}
	f := t.fail
	o.Reply, o.Status, o.Remote = f.Error(), f.status, f.remote
	if f.permanent {
		o.State, o.Suppressed = storage.Failed, t.Suppressed
		return o
	}
	due, again := d.w.o.Schedule.next(t.Leased, now)
	switch {
	case !again:
		o.State, o.Status = storage.Failed, "4.4.7" // RFC 3463 section 3.5: delivery time expired
		return o
	case !t.due.IsZero():
		due, o.NoAttempt = t.due, true
	}
	o.State, o.Due = storage.Deferred, due
	t.delayed = d.w.o.Schedule.delayed(t.Leased, now)
	o.Delayed = o.Delayed || t.delayed
	return o
}
