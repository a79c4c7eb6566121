package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"
)

// TestSTSPolicies: what is known of others' policies is kept, refreshed and forgotten.
func TestSTSPolicies(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	if _, err := s.STSPolicy(ctx, "a.example"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	put := func(p STSPolicy) {
		t.Helper()
		if err := s.PutSTSPolicy(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	p := STSPolicy{Domain: "a.example", ID: "1", Body: "text", Fetched: now, Expires: now.Add(time.Hour), Tried: now, Used: now}
	put(p)
	p.ID = "2"
	put(p)
	got, err := s.STSPolicy(ctx, "a.example")
	if err != nil || got.ID != "2" || got.Body != "text" || !got.Fetched.Equal(now) || !got.Expires.Equal(now.Add(time.Hour)) || !got.Tried.Equal(now) || !got.Used.Equal(now) {
		t.Errorf("%+v %v", got, err)
	}
	put(STSPolicy{Domain: "none.example", Tried: now.Add(-time.Hour), Used: now, Fetched: time.Unix(0, 0), Expires: time.Unix(0, 0)})
	put(STSPolicy{Domain: "unused.example", Body: "text", Tried: now.Add(-time.Hour), Used: now.Add(-100 * time.Hour), Expires: now.Add(time.Hour)})
	put(STSPolicy{Domain: "due.example", Body: "text", Tried: now.Add(-time.Hour), Used: now, Expires: now.Add(time.Hour)})
	due, err := s.STSPoliciesDue(ctx, now, now.Add(-50*time.Hour), 10)
	if err != nil || len(due) != 1 || due[0].Domain != "due.example" {
		t.Errorf("%+v %v", due, err)
	}
	if err := s.DropSTSPolicies(ctx, now); err != nil {
		t.Error(err)
	}
	if _, err := s.STSPolicy(ctx, "none.example"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("one that is over is still there:", err)
	}
	if _, err := s.STSPolicy(ctx, "due.example"); err != nil {
		t.Error(err)
	}
}

// TestTLSResults: counts add up, and there is an end to how many different ones are kept.
func TestTLSResults(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ctx := t.Context()
	some := map[TLSResult]int64{{Day: 1, Domain: "a.example", Policy: "p"}: 2, {Day: 1, Domain: "a.example", Policy: "p", Failure: "f"}: 1, {Day: 2, Domain: "b.example", Policy: "p"}: 1}
	for range 2 {
		if err := s.CountTLS(ctx, some); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.TLSResults(ctx, 1, "a.example")
	if err != nil || len(got) != 2 || got[TLSResult{Day: 1, Domain: "a.example", Policy: "p"}] != 4 {
		t.Error(got, err)
	}
	many := map[TLSResult]int64{}
	for i := range tlsDomainMax + 50 {
		many[TLSResult{Day: 1, Domain: "c.example", Policy: "p", Failure: fmt.Sprint(i)}] = 1
	}
	if err := s.CountTLS(ctx, many); err != nil {
		t.Fatal(err)
	}
	if got, err := s.TLSResults(ctx, 1, "c.example"); err != nil || len(got) != tlsDomainMax {
		t.Error(len(got), err)
	}
	if due, err := s.TLSReportsDue(ctx, 1, "a.example", 10); err != nil || len(due) != 1 || due[0] != "c.example" {
		t.Error(due, err)
	}
	if err := s.Reported(ctx, ReportTLS, 1, "c.example", time.Time{}); err != nil {
		t.Error(err)
	}
	if err := s.DropReports(ctx, ReportTLS, 1); err != nil {
		t.Error(err)
	}
	if due, err := s.TLSReportsDue(ctx, 2, "", 10); err != nil || len(due) != 1 {
		t.Error(due, err)
	}
	if due, err := s.TLSReportsDue(ctx, 1, "", 10); err != nil || len(due) != 0 {
		t.Error(due, err)
	}
}
