package storage

import (
	"context"
	"time"
)

// TLSResult is what happened with TLS on the way to a domain: so many times the same.
type TLSResult struct {
	Day     int64  // since 1970, UTC
	Domain  string // whom it is reported to
	Policy  string // opaque here
	Failure string // opaque; "" for successes
}

// TLSDay is the day of a time.
func TLSDay(t time.Time) int64 { return t.Unix() / 86400 }

const (
	tlsResultsMax = 50_000 // rows of a day
	tlsDomainMax  = 200    // rows of a domain and day
)

// CountTLS adds to results. What would be too many different ones for a domain or day is left out. A crash may lose it.
func (s *Store) CountTLS(ctx context.Context, n map[TLSResult]int64) error {
	return fail("tls results", s.done(&job{ctx: ctx, relaxed: true, run: func(t *tx) error {
		days := map[int64]int{}
		for r, count := range n {
			room, err := t.roomForTLS(r, days)
			if err != nil {
				return err
			}
			if !room {
				continue
			}
			if err := t.exec(`INSERT INTO tls_result (day, domain, policy, failure, count) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (day, domain, policy, failure) DO UPDATE SET count = tls_result.count + excluded.count`, r.Day, r.Domain, r.Policy, r.Failure, count); err != nil {
				return err
			}
		}
		return nil
	}}))
}

// roomForTLS tells whether a result is there or may be added. days are the rows of each day, counted when first asked for.
func (t *tx) roomForTLS(r TLSResult, days map[int64]int) (bool, error) {
	var have, domain int
	if err := t.db.Row(`SELECT COUNT(*) FROM tls_result WHERE day = ? AND domain = ? AND policy = ? AND failure = ?`, r.Day, r.Domain, r.Policy, r.Failure).Scan(&have); err != nil || have > 0 {
		return true, err
	}
	if err := t.db.Row(`SELECT COUNT(*) FROM tls_result WHERE day = ? AND domain = ?`, r.Day, r.Domain).Scan(&domain); err != nil {
		return false, err
	}
	if _, ok := days[r.Day]; !ok {
		var day int
		if err := t.db.Row(`SELECT COUNT(*) FROM tls_result WHERE day = ?`, r.Day).Scan(&day); err != nil {
			return false, err
		}
		days[r.Day] = day
	}
	if domain >= tlsDomainMax || days[r.Day] >= tlsResultsMax {
		return false, nil
	}
	days[r.Day]++
	return true, nil
}

// TLSReportsDue are the domains, at most max after a name, with results of a day. In order.
func (s *Store) TLSReportsDue(ctx context.Context, day int64, after string, max int) ([]string, error) {
	all, err := readAll[string](s.db, `SELECT DISTINCT domain FROM tls_result WHERE day = ? AND domain > ? ORDER BY domain LIMIT ?`, day, after, max)
	return all, fail("tls results", err)
}

// TLSResults are those of a domain and day.
func (s *Store) TLSResults(ctx context.Context, day int64, domain string) (map[TLSResult]int64, error) {
	rows, err := s.db.Query(`SELECT policy, failure, count FROM tls_result WHERE day = ? AND domain = ?`, day, domain)
	if err != nil {
		return nil, fail("tls results", err)
	}
	defer rows.Close()
	all := map[TLSResult]int64{}
	for rows.Next() {
		r := TLSResult{Day: day, Domain: domain}
		var n int64
		if err := rows.Scan(&r.Policy, &r.Failure, &n); err != nil {
			return nil, fail("tls results", err)
		}
		all[r] = n
	}
	return all, fail("tls results", rows.Err())
}
