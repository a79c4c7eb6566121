package storage

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// maxVerdict bounds what SetVerdict takes.
const maxVerdict = 64 << 10

// SetVerdict gives a NewMail upload what was found of the message when it came in, as JSON of at most 64 KiB. Before a method of Store takes it; ErrInvalid when it is too long.
func (u *Upload) SetVerdict(b []byte) error {
	if len(b) > maxVerdict || !u.mail {
		return fail("verdict", fmt.Errorf("%w: %d bytes", ErrInvalid, len(b)))
	}
	u.verdict = bytes.Clone(b)
	return nil
}

// Verdict is what was found of a message (Entry.Blob) when it came in; nil for one that was not judged. fs.ErrNotExist.
func (s *Store) Verdict(ctx context.Context, blob int64) (b []byte, err error) {
	there := false
	err = s.db.Scan(`SELECT verdict FROM mail WHERE blob = ?`, []int64{blob}, func(r *sqldb.Row) bool {
		there, b = true, bytes.Clone(r.Bytes(0))
		return false
	})
	if err == nil && !there {
		err = fs.ErrNotExist
	}
	return b, fail("verdict", err)
}

// dnsSeen is the counter that tells of a DNS: when it answered for the first time.
const dnsSeen = "dns"

// DNSSeen tells whether there ever was a DNS (NoteDNS): a server that had one waits for it, and one that never had does without.
func (s *Store) DNSSeen(ctx context.Context) (bool, error) {
	var at int64
	err := s.db.Row(`SELECT value FROM counter WHERE name = '` + dnsSeen + `'`).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, fail("dns", err)
}

// NoteDNS notes that the DNS answered.
func (s *Store) NoteDNS(ctx context.Context) error {
	return fail("dns", s.do(ctx, func(t *tx) error {
		return t.exec(`INSERT INTO counter (name, value) VALUES ('`+dnsSeen+`', ?) ON CONFLICT (name) DO NOTHING`, t.now())
	}))
}
