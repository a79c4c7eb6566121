package smtp

import (
	"context"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// GreylistOptions: mail of somebody unknown, for somebody, must come twice; the zero value is off. What comes from a server sends again
// (RFC 5321 section 4.5.4.1); much of what sends junk does not.
type GreylistOptions struct {
	On     bool
	Delay  time.Duration // the second attempt comes no sooner; 0 means 1 min
	Window time.Duration // and no later, or it is a first one; 0 means 2 days
	Keep   time.Duration // what passed passes at once for so long; 0 means 36 days
	Trust  int           // a network of which so many passed is not asked again; 0 means 5, negative: never
}

func (o GreylistOptions) withDefaults() GreylistOptions {
	for p, v := range map[*time.Duration]time.Duration{&o.Delay: time.Minute, &o.Window: 48 * time.Hour, &o.Keep: 36 * 24 * time.Hour} {
		if *p == 0 {
			*p = v
		}
	}
	switch {
	case o.Trust == 0:
		o.Trust = 5
	case o.Trust < 0:
		o.Trust = 0
	}
	return o
}

// greylist asks the peer to come again, unless it did or has shown whose mail it is. SMTP has one reply for all recipients: one that is new delays
// all of them, which are all known the next time. A store that fails delays nobody.
func (t *transaction) greylist(ctx context.Context) *reply {
	j, c := t.c.srv.o.Judge, t.c
	o := j.o.Greylist
	if !o.On || t.verdict.proved || !c.remote().IsValid() || c.account != nil {
		return nil
	}
	check := storage.GreylistCheck{Network: masked(c.remote(), 24, 64), Sender: t.sender.path, Delay: o.Delay, Window: o.Window, Keep: o.Keep, Trust: o.Trust}
	for _, r := range t.recipients {
		check.Recipients = append(check.Recipients, r.path)
	}
	wait, err := t.c.srv.store.Greylist(ctx, check)
	if err != nil {
		c.log.Error("failed", "doing", "greylisting", "error", err)
		return nil
	}
	if wait <= 0 {
		return nil
	}
	t.verdict.because("greylisted: the first attempt of this network, sender and recipient")
	return say(451, "4.7.1", "greylisted, try again in %d seconds", int(wait.Seconds()+0.999))
}

// acquaintance is how long a sender stays known.
const acquaintance = 180 * 24 * time.Hour

// stranger makes mail of a sender whom one of the accounts never had any from wait before it is taken: lists of bad senders learn meanwhile.
func (t *transaction) stranger(ctx context.Context) error {
	j := t.c.srv.o.Judge
	if j.o.FirstDelay <= 0 || t.sender.path == "" {
		return nil
	}
	known, err := t.c.srv.store.Acquainted(ctx, t.accounts(), t.sender.path)
	if err != nil {
		t.c.log.Error("failed", "doing", "looking up a sender", "error", err)
		return nil
	}
	if known {
		return nil
	}
	t.verdict.because("held for " + j.o.FirstDelay.String() + ": the first message of this sender")
	timer := time.NewTimer(j.o.FirstDelay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// acquaint notes the sender of a message that was taken for an inbox.
func (t *transaction) acquaint(ctx context.Context) {
	j := t.c.srv.o.Judge
	if j == nil || j.o.FirstDelay <= 0 || t.verdict == nil || t.verdict.Junk || t.sender.path == "" {
		return
	}
	if err := t.c.srv.store.Acquaint(context.WithoutCancel(ctx), t.accounts(), t.sender.path, acquaintance); err != nil {
		t.c.log.Error("failed", "doing", "noting a sender", "error", err)
	}
}

// accounts are those of the recipients.
func (t *transaction) accounts() []int64 {
	seen := map[int64]bool{}
	var all []int64
	for _, r := range t.recipients {
		for _, b := range r.route.Boxes {
			if !seen[b.Account.ID] {
				seen[b.Account.ID] = true
				all = append(all, b.Account.ID)
			}
		}
	}
	return all
}
