package storage

import (
	"context"
	"slices"
	"time"
)

// Notice is a message of ours that enters with what it tells of: into the outbox, or into local mailboxes. It tells of outcomes (Settle; RFC 3464), or of a message that is
// delivered (Upload.Tells).
type Notice struct {
	For      []int64 // of Settle: the recipients it tells of: when all their rows were gone already (dropped, or settled by another worker), it does not enter
	Upload   *Upload // of NewMail; it is taken, or ended when it does not enter
	Outgoing *Outgoing
	Targets  []Target   // a mailbox takes a notice even when it is full; one that is gone does not
	Once     *SieveMark // it enters only when this is not remembered yet, and is remembered with it; nil: it always enters
	Spare    bool       // it does not enter when the outbox is full
}

// SieveMark is what an account's filter remembers.
type SieveMark struct {
	Account int64
	Mark    string
	For     time.Duration
}

// Tells makes Enqueue enter notices in its transaction, so that no crash parts a message from what its sender is told of it. The uploads of those that entered are taken with u's; after an
// error they are as they were.
func (u *Upload) Tells(all []Notice) { u.notices = all }

// Remembers makes Enqueue remember marks of accounts' filters in its transaction.
func (u *Upload) Remembers(all []SieveMark) { u.marks = all }

// tidings are notices on their way into a transaction.
type tidings struct {
	notices []Notice
	letters []*letter // of those with an Outgoing
	entered []bool
}

// tidings checks notices and makes their bytes durable.
func (s *Store) tidings(ctx context.Context, all []Notice) (*tidings, error) {
	if len(all) == 0 {
		return nil, nil
	}
	w := &tidings{notices: all, letters: make([]*letter, len(all))}
	for i := range all {
		n := &all[i]
		if n.Outgoing != nil {
			l, err := newLetter(n.Outgoing)
			if err != nil {
				return nil, err
			}
			w.letters[i] = &l
		}
		if err := n.Upload.Prepare(ctx); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// enter enters the notices, without those that tell of recipients of which none was there.
func (w *tidings) enter(t *tx, there map[int64]bool) error {
	if w == nil {
		return nil
	}
	w.entered = make([]bool, len(w.notices))
	for i := range w.notices {
		n := &w.notices[i]
		if len(n.For) > 0 && !slices.ContainsFunc(n.For, func(id int64) bool { return there[id] }) {
			continue
		}
		var err error
		if w.entered[i], err = t.notify(n, w.letters[i]); err != nil {
			return err
		}
	}
	return nil
}

// taken ends the uploads, after the commit.
func (w *tidings) taken() {
	if w == nil {
		return
	}
	for i, n := range w.notices {
		if w.entered[i] {
			n.Upload.taken()
		} else {
			n.Upload.Abort()
		}
	}
}

// notify enters a notice, unless nobody is there to get it or it is one too many.
func (t *tx) notify(n *Notice, l *letter) (bool, error) {
	if l != nil && n.Spare && t.mayEnqueue([]letter{*l}) != nil {
		l = nil
	}
	var targets []Target
	for i := range n.Targets {
		err := t.unlimited(n.Targets[i].Account, func() error {
			_, err := t.admit(&n.Targets[i], n.Upload.size, 1)
			return err
		})
		if err != nil && !isRefusal(err) {
			return false, err
		}
		if err == nil {
			targets = append(targets, n.Targets[i])
		}
	}
	refs := int64(len(targets))
	if l != nil {
		refs++
	}
	if refs == 0 {
		return false, nil
	}
	if n.Once != nil {
		if fresh, err := t.sieveFresh(n.Once); err != nil || !fresh {
			return false, err
		}
		if err := t.sieveRemember(n.Once); err != nil {
			return false, err
		}
	}
	if err := t.countSentOn(n.Upload); err != nil {
		return false, err
	}
	blob, err := t.putOutgoing(n.Upload, len(targets) > 0)
	if err != nil {
		return false, err
	}
	if l != nil {
		if err := t.putLetter(*l, blob, n.Upload.size); err != nil {
			return false, err
		}
		if err := t.tellAccepted(*l, n.Upload.size); err != nil {
			return false, err
		}
	}
	for i := range targets {
		err := t.unlimited(targets[i].Account, func() error {
			d, err := t.admit(&targets[i], n.Upload.size, 1)
			if err == nil {
				_, err = t.append(d, &targets[i], n.Upload.size, blob)
			}
			return err
		})
		if err != nil {
			return false, err
		}
	}
	if refs > 1 {
		return true, t.share(blob, refs-1)
	}
	return true, nil
}

// unlimited runs fn while the account has no quota.
func (t *tx) unlimited(account int64, fn func() error) error {
	a, err := t.account(account)
	if err != nil {
		return err
	}
	bytes, messages := a.Quota, a.MessageQuota
	a.Quota, a.MessageQuota = 0, 0
	defer func() { a.Quota, a.MessageQuota = bytes, messages }()
	return fn()
}
