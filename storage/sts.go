package storage

import (
	"context"
	"time"
)

// STSPolicy is what we know of the MTA-STS policy of another domain (RFC 8461).
type STSPolicy struct {
	Domain  string    // A-labels, lowercase
	ID      string    // of the TXT record that it was fetched for
	Body    string    // its text; "": there was none to fetch
	Fetched time.Time // when the text was fetched
	Expires time.Time // when it may no longer be used: max_age after Fetched
	Tried   time.Time // when it was last asked for
	Used    time.Time // when mail was last sent by it
}

// stsMax is how many are kept.
const stsMax = 20_000

const stsColumns = `domain, id, body, fetched, expires, tried, used`

// STSPolicy is what is known of a domain's policy. fs.ErrNotExist: nothing.
func (s *Store) STSPolicy(ctx context.Context, domain string) (*STSPolicy, error) {
	p, err := scanSTS(s.db.Row(`SELECT `+stsColumns+` FROM sts_policy WHERE domain = ?`, domain))
	if err != nil {
		return nil, fail("mta-sts policy", err)
	}
	return p, nil
}

func scanSTS(row interface{ Scan(...any) error }) (*STSPolicy, error) {
	var p STSPolicy
	var at [4]int64
	if err := row.Scan(&p.Domain, &p.ID, &p.Body, &at[0], &at[1], &at[2], &at[3]); err != nil {
		return nil, err
	}
	p.Fetched, p.Expires, p.Tried, p.Used = unix(at[0]), unix(at[1]), unix(at[2]), unix(at[3])
	return &p, nil
}

// PutSTSPolicy keeps what is known of a policy, in place of what was known. When there are too many, those that were not used for longest make room. A crash
// may lose it: it can be fetched again.
func (s *Store) PutSTSPolicy(ctx context.Context, p STSPolicy) error {
	return fail("mta-sts policy", s.done(&job{ctx: ctx, relaxed: true, run: func(t *tx) error {
		var n int
		if err := t.db.Row(`SELECT COUNT(*) FROM sts_policy`).Scan(&n); err != nil {
			return err
		}
		if n >= stsMax {
			if err := t.exec(`DELETE FROM sts_policy WHERE domain IN (SELECT domain FROM sts_policy ORDER BY used LIMIT ?)`, n-stsMax+stsMax/100); err != nil {
				return err
			}
		}
		return t.exec(`INSERT INTO sts_policy (`+stsColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (domain) DO UPDATE SET
			id = excluded.id, body = excluded.body, fetched = excluded.fetched, expires = excluded.expires, tried = excluded.tried, used = excluded.used`,
			p.Domain, p.ID, p.Body, p.Fetched.Unix(), p.Expires.Unix(), p.Tried.Unix(), p.Used.Unix())
	}}))
}

// STSPoliciesDue are at most max policies that have not been asked for since tried and were used since used, for a refresh.
func (s *Store) STSPoliciesDue(ctx context.Context, tried, used time.Time, max int) ([]*STSPolicy, error) {
	rows, err := s.db.Query(`SELECT `+stsColumns+` FROM sts_policy WHERE tried < ? AND used >= ? AND body <> '' ORDER BY tried LIMIT ?`, tried.Unix(), used.Unix(), max)
	if err != nil {
		return nil, fail("mta-sts policies", err)
	}
	defer rows.Close()
	var all []*STSPolicy
	for rows.Next() {
		p, err := scanSTS(rows)
		if err != nil {
			return nil, fail("mta-sts policies", err)
		}
		all = append(all, p)
	}
	return all, fail("mta-sts policies", rows.Err())
}

// DropSTSPolicies forgets policies that may no longer be used and were last asked for before a time.
func (s *Store) DropSTSPolicies(ctx context.Context, before time.Time) error {
	return fail("mta-sts policies", s.done(&job{ctx: ctx, relaxed: true, run: func(t *tx) error {
		return t.exec(`DELETE FROM sts_policy WHERE tried < ? AND expires < ?`, before.Unix(), t.now())
	}}))
}
