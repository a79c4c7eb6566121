package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ReportKind is what a report to another domain is about.
type ReportKind string

// The kinds.
const (
	ReportTLS   ReportKind = "tls"   // how TLS with its servers went (RFC 8460)
	ReportDMARC ReportKind = "dmarc" // what was received in its name (RFC 7489 section 7.2)
)

// results is the table of a kind.
func (k ReportKind) results() (string, error) {
	switch k {
	case ReportTLS:
		return "tls_result", nil
	case ReportDMARC:
		return "dmarc_result", nil
	}
	return "", fmt.Errorf("%w: %q is no kind of report", ErrInvalid, string(k))
}

// ReportWaiting is a report that is not sent yet.
type ReportWaiting struct {
	Kind    ReportKind
	Day     int64 // since 1970, UTC
	Domain  string
	Results int   // different ones
	Count   int64 // connections, or messages
}

// ReportsWaiting are the reports of a kind, at most max, the oldest day first.
func (s *Store) ReportsWaiting(ctx context.Context, kind ReportKind, max int) ([]ReportWaiting, error) {
	table, err := kind.results()
	if err != nil {
		return nil, fail("reports", err)
	}
	rows, err := s.db.Query(`SELECT day, domain, COUNT(*), SUM(count) FROM `+table+` GROUP BY day, domain ORDER BY day, domain LIMIT ?`, max)
	if err != nil {
		return nil, fail("reports", err)
	}
	defer rows.Close()
	var all []ReportWaiting
	for rows.Next() {
		w := ReportWaiting{Kind: kind}
		if err := rows.Scan(&w.Day, &w.Domain, &w.Results, &w.Count); err != nil {
			return nil, fail("reports", err)
		}
		all = append(all, w)
	}
	return all, fail("reports", rows.Err())
}

// ReportedUntil is how far a report of a day reaches that was sent before the day was over; zero: none was.
func (s *Store) ReportedUntil(ctx context.Context, kind ReportKind, day int64, domain string) (time.Time, error) {
	var at int64
	err := s.db.Row(`SELECT until FROM report_sent WHERE kind = ? AND day = ? AND domain = ?`, string(kind), day, domain).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fail("reports", err)
	}
	return time.Unix(at, 0), nil
}

// Reported forgets the results of a domain and day, which a report up to a time has told; the next report of the day begins there. A zero time: there is no next one.
func (s *Store) Reported(ctx context.Context, kind ReportKind, day int64, domain string, until time.Time) error {
	table, err := kind.results()
	if err != nil {
		return fail("reports", err)
	}
	return fail("reports", s.do(ctx, func(t *tx) error {
		if err := t.exec(`DELETE FROM `+table+` WHERE day = ? AND domain = ?`, day, domain); err != nil {
			return err
		}
		if kind == ReportDMARC {
			if err := t.exec(`DELETE FROM dmarc_policy WHERE day = ? AND domain = ?`, day, domain); err != nil {
				return err
			}
		}
		if until.IsZero() {
			return t.exec(`DELETE FROM report_sent WHERE kind = ? AND day = ? AND domain = ?`, string(kind), day, domain)
		}
		return t.exec(`INSERT INTO report_sent (kind, day, domain, until) VALUES (?, ?, ?, ?) ON CONFLICT (kind, day, domain) DO UPDATE SET until = excluded.until`,
			string(kind), day, domain, until.Unix())
	}))
}

// DropReports forgets the results of a kind of all days up to one: they were reported, or nobody could be told.
func (s *Store) DropReports(ctx context.Context, kind ReportKind, day int64) error {
	table, err := kind.results()
	if err != nil {
		return fail("reports", err)
	}
	return fail("reports", s.do(ctx, func(t *tx) error {
		if err := t.exec(`DELETE FROM `+table+` WHERE day <= ?`, day); err != nil {
			return err
		}
		if kind == ReportDMARC {
			if err := t.exec(`DELETE FROM dmarc_policy WHERE day <= ?`, day); err != nil {
				return err
			}
		}
		return t.exec(`DELETE FROM report_sent WHERE kind = ? AND day <= ?`, string(kind), day)
	}))
}
