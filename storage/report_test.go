package storage

import (
	"errors"
	"testing"
	"time"
)

// TestReported: what was reported goes, and how far a day was reported is known until the day is.
func TestReported(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ctx := t.Context()
	count := func() {
		t.Helper()
		if err := s.CountTLS(ctx, map[TLSResult]int64{{Day: 1, Domain: "a.example", Policy: "p"}: 2, {Day: 1, Domain: "a.example", Policy: "q"}: 3, {Day: 2, Domain: "a.example", Policy: "p"}: 1}); err != nil {
			t.Fatal(err)
		}
	}
	count()
	want := []ReportWaiting{{ReportTLS, 1, "a.example", 2, 5}, {ReportTLS, 2, "a.example", 1, 1}}
	if got, err := s.ReportsWaiting(ctx, ReportTLS, 10); err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Error(got, err)
	}
	if got, err := s.ReportsWaiting(ctx, ReportTLS, 1); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	until := time.Unix(90000, 0)
	if at, err := s.ReportedUntil(ctx, ReportTLS, 1, "a.example"); err != nil || !at.IsZero() {
		t.Error(at, err)
	}
	if err := errors.Join(s.Reported(ctx, ReportTLS, 1, "a.example", until.Add(-5)), s.Reported(ctx, ReportTLS, 1, "a.example", until)); err != nil {
		t.Fatal(err)
	}
	if at, err := s.ReportedUntil(ctx, ReportTLS, 1, "a.example"); err != nil || !at.Equal(until) {
		t.Error(at, err)
	}
	if at, err := s.ReportedUntil(ctx, ReportDMARC, 1, "a.example"); err != nil || !at.IsZero() {
		t.Error("of another kind:", at, err)
	}
	if got, err := s.ReportsWaiting(ctx, ReportTLS, 10); err != nil || len(got) != 1 || got[0] != want[1] {
		t.Error(got, err)
	}
	count()
	if err := s.Reported(ctx, ReportTLS, 1, "a.example", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if at, err := s.ReportedUntil(ctx, ReportTLS, 1, "a.example"); err != nil || !at.IsZero() {
		t.Error("after the day:", at, err)
	}
	if err := s.Reported(ctx, ReportTLS, 2, "a.example", until); err != nil {
		t.Fatal(err)
	}
	count()
	if err := s.DropReports(ctx, ReportTLS, 2); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ReportsWaiting(ctx, ReportTLS, 10); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
	if at, err := s.ReportedUntil(ctx, ReportTLS, 2, "a.example"); err != nil || !at.IsZero() {
		t.Error(at, err)
	}
	if _, err := s.ReportsWaiting(ctx, "x", 1); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
