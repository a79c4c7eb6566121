package storage

import (
	"fmt"
	"testing"
	"time"
)

// TestDMARCResults: counts add up, the last policy stays, and there is an end to how many different ones are kept.
func TestDMARCResults(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ctx := t.Context()
	a := DMARCDay{1, "a.example"}
	count := func(policy string) {
		t.Helper()
		err := s.CountDMARC(ctx, map[DMARCResult]DMARCCount{{a, "x"}: {2, 1}, {a, "y"}: {1, 0}, {DMARCDay{1, "r.example"}, "x"}: {3, 3}, {DMARCDay{2, "a.example"}, "x"}: {1, 0}},
			map[DMARCDay]string{a: policy})
		if err != nil {
			t.Fatal(err)
		}
	}
	count("old")
	count("new")
	got, policy, err := s.DMARCResults(ctx, a)
	if err != nil || policy != "new" || len(got) != 2 || got["x"] != (DMARCCount{4, 2}) || got["y"] != (DMARCCount{2, 0}) {
		t.Error(got, policy, err)
	}
	if _, policy, err := s.DMARCResults(ctx, DMARCDay{2, "a.example"}); err != nil || policy != "" {
		t.Error(policy, err)
	}
	if due, err := s.DMARCReportsDue(ctx, 1, "", 10); err != nil || len(due) != 1 || due[0] != "a.example" {
		t.Error("r.example sent nothing but reports:", due, err)
	}
	many, all := map[DMARCResult]DMARCCount{}, int64(0)
	for i := range dmarcDomainMax + 50 {
		many[DMARCResult{a, fmt.Sprint(i)}] = DMARCCount{1, 0}
		all++
	}
	for range 2 { // the second time nothing is new
		if err := s.CountDMARC(ctx, many, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, _, err = s.DMARCResults(ctx, a); err != nil || len(got) != dmarcDomainMax+1 || got[""] != (DMARCCount{2 * 52, 0}) {
		t.Error(len(got), got[""], err)
	}
	waiting, err := s.ReportsWaiting(ctx, ReportDMARC, 10)
	if err != nil || len(waiting) != 3 || waiting[0].Count != 6+2*all || waiting[0].Results != dmarcDomainMax+1 {
		t.Error(waiting, err)
	}
	if err := s.Reported(ctx, ReportDMARC, 1, "a.example", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got, policy, err := s.DMARCResults(ctx, a); err != nil || len(got) != 0 || policy != "" {
		t.Error(got, policy, err)
	}
	if err := s.DropReports(ctx, ReportDMARC, 1); err != nil {
		t.Fatal(err)
	}
	if waiting, err := s.ReportsWaiting(ctx, ReportDMARC, 10); err != nil || len(waiting) != 1 || waiting[0].Day != 2 {
		t.Error(waiting, err)
	}
}

// TestDMARCDayFull: a day has so many rows and no more, however many domains are named.
func TestDMARCDayFull(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	n := map[DMARCResult]DMARCCount{}
	policies := map[DMARCDay]string{}
	const before = dmarcResultsMax - 100
	err := s.do(t.Context(), func(t *tx) error {
		return t.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO dmarc_result SELECT 1, i || '.before.example', 'x', 1, 0 FROM n`, before)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		d := DMARCDay{1, fmt.Sprintf("%d.example", i)}
		n[DMARCResult{d, "x"}], policies[d] = DMARCCount{1, 0}, "p"
	}
	if err := s.CountDMARC(t.Context(), n, policies); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]int{"dmarc_result": dmarcResultsMax, "dmarc_policy": 100} {
		var have int
		if err := s.db.Row(`SELECT COUNT(*) FROM ` + table).Scan(&have); err != nil || have != want {
			t.Errorf("%s: %d rows, %v", table, have, err)
		}
	}
}
