package storage

import (
	"context"
	"database/sql"
	"errors"
)

// DMARCDay is a day's report to a domain whose DMARC policy applied.
type DMARCDay struct {
	Day    int64 // since 1970, UTC
	Domain string
}

// DMARCResult is a record of a report. Result is opaque here; "" stands for what had no room.
type DMARCResult struct {
	DMARCDay
	Result string
}

// DMARCCount is how often it came: messages, and those of them that were reports themselves, which are no reason to send one.
type DMARCCount struct{ Messages, Reports int64 }

const (
	dmarcResultsMax = 50_000 // rows of a day
	dmarcDomainMax  = 1_000  // rows of a domain and day
)

// CountDMARC adds to results, and notes the policies of their domains that were in force last. What would be too many different ones for a domain counts as the result "", and what
// would be too many for a day is left out. A crash may lose it.
func (s *Store) CountDMARC(ctx context.Context, n map[DMARCResult]DMARCCount, policies map[DMARCDay]string) error {
	return fail("dmarc results", s.done(&job{ctx: ctx, relaxed: true, run: func(t *tx) error {
		room := dmarcRoom{days: map[int64]int{}, domains: map[DMARCDay]int{}}
		for r, count := range n {
			there, err := room.take(t, &r)
			if err != nil {
				return err
			}
			if !there {
				continue
			}
			if err := t.exec(`INSERT INTO dmarc_result (day, domain, result, count, reports) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (day, domain, result) DO UPDATE SET count = dmarc_result.count + excluded.count, reports = dmarc_result.reports + excluded.reports`,
				r.Day, r.Domain, r.Result, count.Messages, count.Reports); err != nil {
				return err
			}
		}
		for d, policy := range policies {
			if room.domains[d] == 0 {
				continue // nothing of it was kept
			}
			if err := t.exec(`INSERT INTO dmarc_policy (day, domain, policy) VALUES (?, ?, ?) ON CONFLICT (day, domain) DO UPDATE SET policy = excluded.policy`, d.Day, d.Domain, policy); err != nil {
				return err
			}
		}
		return nil
	}}))
}

// dmarcRoom knows how many rows there are, counted when first asked for.
type dmarcRoom struct {
	days    map[int64]int
	domains map[DMARCDay]int
}

// take tells whether a result is there or may be added, if need be as one that had no room.
func (m *dmarcRoom) take(t *tx, r *DMARCResult) (bool, error) {
	if _, ok := m.days[r.Day]; !ok {
		var n int
		if err := t.db.Row(`SELECT COUNT(*) FROM dmarc_result WHERE day = ?`, r.Day).Scan(&n); err != nil {
			return false, err
		}
		m.days[r.Day] = n
	}
	if _, ok := m.domains[r.DMARCDay]; !ok {
		var n int
		if err := t.db.Row(`SELECT COUNT(*) FROM dmarc_result WHERE day = ? AND domain = ?`, r.Day, r.Domain).Scan(&n); err != nil {
			return false, err
		}
		m.domains[r.DMARCDay] = n
	}
	for {
		var have int
		if err := t.db.Row(`SELECT COUNT(*) FROM dmarc_result WHERE day = ? AND domain = ? AND result = ?`, r.Day, r.Domain, r.Result).Scan(&have); err != nil || have > 0 {
			return true, err
		}
		most := dmarcDomainMax
		if r.Result == "" {
			most++
		}
		if m.domains[r.DMARCDay] < most && m.days[r.Day] < dmarcResultsMax {
			m.domains[r.DMARCDay]++
			m.days[r.Day]++
			return true, nil
		}
		if r.Result == "" {
			return false, nil
		}
		r.Result = ""
	}
}

// DMARCReportsDue are the domains, at most max after a name, that have results of a day which are a reason to report. In order.
func (s *Store) DMARCReportsDue(ctx context.Context, day int64, after string, max int) ([]string, error) {
	all, err := readAll[string](s.db, `SELECT DISTINCT domain FROM dmarc_result WHERE day = ? AND domain > ? AND count > reports ORDER BY domain LIMIT ?`, day, after, max)
	return all, fail("dmarc results", err)
}

// DMARCResults are those of a domain and day, with the policy that was in force last; "" when none is known.
func (s *Store) DMARCResults(ctx context.Context, d DMARCDay) (results map[string]DMARCCount, policy string, err error) {
	rows, err := s.db.Query(`SELECT result, count, reports FROM dmarc_result WHERE day = ? AND domain = ?`, d.Day, d.Domain)
	if err != nil {
		return nil, "", fail("dmarc results", err)
	}
	defer rows.Close()
	results = map[string]DMARCCount{}
	for rows.Next() {
		var r string
		var n DMARCCount
		if err := rows.Scan(&r, &n.Messages, &n.Reports); err != nil {
			return nil, "", fail("dmarc results", err)
		}
		results[r] = n
	}
	if err := rows.Err(); err != nil {
		return nil, "", fail("dmarc results", err)
	}
	err = s.db.Row(`SELECT policy FROM dmarc_policy WHERE day = ? AND domain = ?`, d.Day, d.Domain).Scan(&policy)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return results, policy, fail("dmarc results", err)
}
