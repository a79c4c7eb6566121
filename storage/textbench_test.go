package storage

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkDeliverWhileIndexing delivers messages of 4 KiB from 16 goroutines while the store's background work runs: with the text index, and
// without. behind is what was not indexed at the end.
func BenchmarkDeliverWhileIndexing(b *testing.B) {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog, again and again and again.\r\n", 50)
	for _, c := range []struct {
		name string
		o    Options
	}{{"index", Options{}}, {"none", Options{NoTextIndex: true}}} {
		b.Run(c.name, func(b *testing.B) {
			l := openLibrary(b, b.TempDir(), c.o)
			defer l.close()
			ctx, cancel := context.WithCancel(b.Context())
			ran := make(chan error)
			go func() { ran <- l.s.Run(ctx) }()
			var next, slowest atomic.Int64
			b.ResetTimer()
			var w sync.WaitGroup
			for range 16 {
				w.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						start := time.Now()
						u, err := l.s.NewMail(ctx, 0, -1)
						if err == nil {
							_, err = fmt.Fprintf(u, "Subject: %d\r\n\r\n%s", n, text)
						}
						if err == nil {
							_, err = l.s.Deliver(ctx, u, []Target{l.to})
						}
						if err != nil {
							b.Error(err)
							return
						}
						for took := time.Since(start).Microseconds(); took > slowest.Load(); {
							slowest.Store(took)
						}
					}
				})
			}
			w.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(float64(slowest.Load())/1000, "slowest-ms")
			b.ReportMetric(float64(l.stats().Unindexed), "behind")
			cancel()
			if err := <-ran; err != nil {
				b.Error(err)
			}
		})
	}
}
