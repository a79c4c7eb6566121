package storage

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkOutbox: messages a second of 4 KiB with one recipient, into the queue and out of it, by 64 sessions and 64 deliveries at a time.
func BenchmarkOutbox(b *testing.B) {
	body := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc\r\n", 64)
	b.Run("in", func(b *testing.B) {
		s := openTest(b, b.TempDir(), Options{})
		var n atomic.Int64
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				u := newMessage(b, s, 0, body)
				if _, err := s.Enqueue(context.Background(), u, []Outgoing{outgoing("ann@example.test", fmt.Sprintf("r@d%d.test", n.Add(1)%100))}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
	b.Run("out", func(b *testing.B) {
		s := openTest(b, b.TempDir(), Options{})
		fillQueue(b, s, b.N, 100)
		leased := make(chan Leased, 1000)
		b.ResetTimer()
		go func() {
			for {
				all, err := s.Lease(context.Background(), LeaseRequest{Owner: "w", Max: 100, PerDomain: 10})
				if err != nil || len(all) == 0 {
					break
				}
				for _, l := range all {
					leased <- l
				}
			}
			close(leased)
		}()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				l, ok := <-leased
				if !ok {
					return
				}
				body, err := s.OpenBlob(context.Background(), l.Blob)
				if err != nil {
					b.Fatal(err)
				}
				body.Close()
				if err := s.Settle(context.Background(), []Outcome{{Recipient: l.ID, State: Delivered, Status: "2.0.0", Reply: "250 2.0.0 ok", Remote: "mx (192.0.2.1)"}}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
}

// fillQueue enqueues n recipients of so many domains, many with one message.
func fillQueue(b *testing.B, s *Store, n, domains int) {
	b.Helper()
	for i := 0; i < n; {
		var outs []Outgoing
		for range min(1000, n-i) {
			outs = append(outs, outgoing("", fmt.Sprintf("r%d@d%d.test", i, i%domains)))
			i++
		}
		enqueue(b, s, outs...)
	}
}

// BenchmarkLease: what a look at a queue of 100,000 costs that gives one recipient, or none: all wait for later, or for a domain that is busy.
func BenchmarkLease(b *testing.B) {
	now := time.Now()
	for _, c := range []struct {
		name    string
		domains int
		busy    string
		ahead   time.Duration
	}{{"later", 100_000, "", -time.Hour}, {"busy", 1, "d0.test", 0}, {"one of many domains", 100_000, "", 0}, {"one of one domain", 1, "", 0}} {
		b.Run(c.name, func(b *testing.B) {
			s := openTest(b, b.TempDir(), Options{Now: func() time.Time { return now }})
			fillQueue(b, s, 100_000, c.domains)
			now = now.Add(c.ahead)
			defer func() { now = now.Add(-c.ahead) }()
			b.ResetTimer()
			for range b.N {
				all, err := s.Lease(context.Background(), LeaseRequest{Owner: "w", Max: 1, Busy: func(d string) bool { return d == c.busy }})
				if err != nil {
					b.Fatal(err)
				}
				if c.ahead == 0 && c.busy == "" && len(all) != 1 {
					b.Fatal(len(all))
				}
			}
		})
	}
}
