package report

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPlanned: soon after a start, and once after each midnight, not at midnight.
func TestPlanned(t *testing.T) {
	day := func(n int64, after time.Duration) time.Time { return time.Unix(n*86400, 0).Add(after) }
	for range 50 { // it is a matter of chance
		p := planned{day: 100, at: day(100, 10*time.Hour)}
		for _, step := range []struct {
			now time.Time
			due bool
		}{
			{day(100, 10*time.Hour-1), false}, {day(100, 10*time.Hour), true}, {day(100, 11*time.Hour), false}, {day(100, 24*time.Hour-1), false},
			{day(101, 0), false}, {day(101, settle-1), false}, {day(101, settle+spread), true}, {day(101, 20*time.Hour), false},
			{day(103, 0), false}, {day(103, settle+spread), true},
		} {
			if got := p.due(step.now); got != step.due {
				t.Fatalf("at %v: %v", step.now.UTC(), got)
			}
		}
		if p.day != 103 {
			t.Fatal(p.day)
		}
	}
}

// TestDailySend: page by page, one at a time, and a fault of one domain keeps no other waiting.
func TestDailySend(t *testing.T) {
	fault := errors.New("fault")
	now := time.Unix(100*86400+3600, 0)
	var mu sync.Mutex
	var told []string
	r := Reports{Now: func() time.Time { return now },
		Due: func(_ context.Context, day int64, after string, _ int) ([]string, error) {
			all := []string{"a", "b", "c"}
			i := slices.IndexFunc(all, func(s string) bool { return s > after })
			if i < 0 || day != 100 {
				return nil, nil
			}
			return all[i : i+1], nil
		},
		Send: func(_ context.Context, _ int64, domain string) (Sent, error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, domain)
			if domain == "b" {
				return Sent{Domain: domain}, fault
			}
			return Sent{Domain: domain}, nil
		}}
	var d Daily
	if sent, err := d.Send(t.Context(), r, 99, 101, ""); err != fault || len(sent) != 3 || !slices.Equal(told, []string{"a", "b", "c"}) {
		t.Error(sent, err, told)
	}
	if sent, err := d.Send(t.Context(), r, 99, 101, "c"); err != nil || len(sent) != 1 {
		t.Error(sent, err)
	}
	r.Due = func(context.Context, int64, string, int) ([]string, error) { return nil, fault }
	if _, err := d.Send(t.Context(), r, 99, 101, ""); err != fault {
		t.Error(err)
	}
}

// TestDailyAtOnce: some domains at a time, no more, and what was sent is told in order.
func TestDailyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Daily
		var busy, most atomic.Int64
		var all []string
		for i := range 3 * atOnce {
			all = append(all, string(rune('a'+i)))
		}
		r := Reports{Now: time.Now,
			Due: func(_ context.Context, _ int64, after string, _ int) ([]string, error) {
				if after != "" {
					return nil, nil
				}
				return slices.Clone(all), nil
			},
			Send: func(ctx context.Context, _ int64, domain string) (Sent, error) {
				if n := busy.Add(1); n > most.Load() {
					most.Store(n)
				}
				defer busy.Add(-1)
				select {
				case <-ctx.Done():
				case <-time.After(time.Minute):
				}
				return Sent{Domain: domain}, ctx.Err()
			}}
		began := time.Now()
		sent, err := d.Send(t.Context(), r, 5, 5, "")
		if err != nil || len(sent) != len(all) || most.Load() != atOnce || time.Since(began) != 3*time.Minute {
			t.Error(len(sent), err, most.Load(), time.Since(began))
		}
		for i, s := range sent {
			if s.Domain != all[i] {
				t.Fatal(sent)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		if sent, err := d.Send(ctx, r, 5, 5, ""); !errors.Is(err, context.DeadlineExceeded) || len(sent) >= len(all) {
			t.Error(len(sent), err)
		}
	})
}

// TestDailyExcludes: nobody else sends meanwhile, and to a day that is not over nothing is added while it is told; to one that is over it may be, for what takes long.
func TestDailyExcludes(t *testing.T) {
	for _, c := range []struct {
		after time.Duration // since the day began
		waits bool
	}{{time.Hour, true}, {24*time.Hour + settle - time.Second, true}, {24*time.Hour + settle, false}} {
		now := time.Unix(100*86400, 0).Add(c.after)
		var d Daily
		r := Reports{Now: func() time.Time { return now },
			Due: func(_ context.Context, _ int64, after string, _ int) ([]string, error) {
				if after != "" {
					return nil, nil
				}
				return []string{"a"}, nil
			},
			Send: func(context.Context, int64, string) (Sent, error) {
				if free := d.writing.TryLock(); free == c.waits {
					t.Errorf("%v: free: %v", c.after, free)
				} else if free {
					d.writing.Unlock()
				}
				gone, cancel := context.WithCancel(t.Context())
				cancel()
				if _, err := d.Send(gone, Reports{}, 1, 1, ""); !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
				return Sent{}, nil
			}}
		if sent, err := d.Send(t.Context(), r, 100, 100, ""); err != nil || len(sent) != 1 {
			t.Error(sent, err)
		}
	}
}

// TestDailyRun: what an earlier run left, then each day once, and every hour what fails.
func TestDailyRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var d Daily
		var mu sync.Mutex
		var days []int64
		var at []time.Time
		failing := true
		done := make(chan struct{})
		go func() {
			defer close(done)
			d.Run(ctx, time.Now, func(_ context.Context, day int64) error {
				mu.Lock()
				defer mu.Unlock()
				days, at = append(days, day), append(at, time.Now())
				if failing && len(days) > 1 {
					return errors.New("not now")
				}
				return nil
			})
		}()
		first := time.Now().Unix() / 86400
		sleep := func(d time.Duration) { // the mutex is ours when it returns
			mu.Unlock()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
		}
		mu.Lock()
		defer mu.Unlock()
		sleep(time.Hour)
		if !slices.Equal(days, []int64{first - 1}) {
			t.Fatal(days)
		}
		sleep(34 * time.Hour) // midnight was yesterday at the latest, and there were four hours and some for the first attempt
		if len(days) < 4 || days[1] != first || days[len(days)-1] != first && days[len(days)-1] != first+1 {
			t.Fatal(days)
		}
		if wait := at[2].Sub(at[1]); wait < retryEvery || wait > retryEvery+lookEvery {
			t.Error("tried again after", wait)
		}
		failing = false
		sleep(2 * time.Hour)
		n := len(days)
		sleep(48 * time.Hour)
		if len(days) != n+2 || days[n+1] != days[n]+1 {
			t.Error(days[n-1:])
		}
		cancel()
		<-done
	})
}
