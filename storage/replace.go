package storage

import (
	"context"
	"fmt"
)

// Replace puts a message into a mailbox and removes the message uid of the mailbox from, both or none (RFC 8508 section 3.4). Quota is asked for the difference
// only, when both are the same account's. Without an error the Upload is taken. ErrConflict when there is no such message; fs.ErrNotExist (a mailbox),
// ErrQuota, ErrLimit.
func (s *Store) Replace(ctx context.Context, u *Upload, to Target, account, from int64, uid uint32) (Appended, error) {
	if err := u.Prepare(ctx); err != nil {
		return Appended{}, err
	}
	if _, err := s.loadWarm(ctx, from); err != nil {
		return Appended{}, fail("replace", err)
	}
	var res Appended
	err := s.do(ctx, func(t *tx) error {
		src, err := t.mailbox(account, from)
		if err != nil {
			return err
		}
		p, err := t.view(src)
		if err != nil {
			return err
		}
		i, ok := p.Find(uid)
		if !ok {
			return fmt.Errorf("%w: the message is gone", ErrConflict)
		}
		bytes, messages := u.size, int64(1)
		if account == to.Account {
			bytes, messages = bytes-int64(p.at(i).size), 0
		}
		d, err := t.admit(&to, bytes, messages)
		if err != nil {
			return err
		}
		blob, err := t.putBlob(u)
		if err != nil {
			return err
		}
		if _, err := t.expunge(account, from, []uint32{uid}, true); err != nil {
			return err
		}
		res, err = t.append(d, &to, u.size, blob)
		return err
	})
	if err != nil {
		return Appended{}, fail("replace", err)
	}
	u.taken()
	return res, nil
}
