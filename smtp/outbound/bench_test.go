package outbound

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
)

// BenchmarkSink is how long a message of 4 KiB takes from the outbox to a server on this machine, with 64 connections.
func BenchmarkSink(b *testing.B) {
	for _, ext := range []struct {
		name, from string
		ext        []string
	}{{"chunking", "ann@packetboat.test", with("CHUNKING")}, {"data", "ann@packetboat.test", usual}, {"signed", "ann@example.test", with("CHUNKING")}} {
		for _, n := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s-%d", ext.name, n), func(b *testing.B) {
				f := serve(b, "127.0.0.1:0", func(f *fake) { f.ext = ext.ext })
				h := &house{t: b}
				message := "From: " + ext.from + "\nSubject: hello\n\n" + strings.Repeat(strings.Repeat("x", 62)+"\n", 64)
				h = build(b, func(o *Options, r *dns.MockResolver) {
					o.Port, o.PerDomain, o.Concurrency = f.port(), n, n
					mx(r, "example.org", "127.0.0.1")
				})
				var outs []storage.Outgoing
				for range min(b.N, 500) {
					outs = append(outs, storage.Outgoing{From: ext.from, Recipients: []storage.OutgoingRecipient{{Address: "joe@example.org"}}})
				}
				// Held while they are made: nothing is measured but the way out.
				h.worker.mu.Lock()
				h.worker.running += n
				h.worker.mu.Unlock()
				for left := b.N; left > 0; left -= len(outs) {
					outs = outs[:min(left, len(outs))]
					u, err := h.store.NewMail(context.Background(), 0, -1)
					if err != nil {
						b.Fatal(err)
					}
					u.Write([]byte(strings.ReplaceAll(message, "\n", "\r\n")))
					if _, err := h.store.Enqueue(context.Background(), u, outs, nil); err != nil {
						b.Fatal(err)
					}
				}
				b.ResetTimer()
				h.worker.mu.Lock()
				h.worker.running -= n
				h.worker.dispatchLocked()
				h.worker.mu.Unlock()
				h.empty()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
				if got := len(f.all()); got != b.N {
					b.Fatalf("%d of %d", got, b.N)
				}
			})
		}
	}
}
