package storage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// benchMessage is a message of about n bytes with a header of the usual size.
func benchMessage(n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Received: from a.example (a.example [192.0.2.1]) by mx.example.test with ESMTPS id 1; Mon, 23 Nov 2026 00:00:00 +0000\r\n")
	fmt.Fprintf(&b, "From: Joe <joe@a.example>\r\nTo: Ann <ann@example.test>\r\nSubject: a message of the usual kind\r\nDate: Mon, 23 Nov 2026 00:00:00 +0000\r\n")
	fmt.Fprintf(&b, "Message-ID: <1@a.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n")
	for b.Len() < min(1200, n/2) {
		fmt.Fprintf(&b, "X-Header: what others put into a header on the way\r\n")
	}
	b.WriteString("\r\n")
	for b.Len() < n {
		for range 70 {
			b.WriteByte(byte('a' + rand.IntN(26)))
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// benchDir is on a real disk: set TMPDIR.
func benchStore(b *testing.B, o Options) *Store {
	dir, err := os.MkdirTemp("", "packetboat-bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return openTest(b, dir, o)
}

func benchDeliver(b *testing.B, s *Store, text []byte, workers int) {
	var targets []Target
	for i := range 50 {
		a := newAccount(b, s, fmt.Sprintf("u%d@example.test", i), 0)
		targets = append(targets, Target{Account: a.ID, Mailbox: mailboxNamed(b, s, a.ID, "INBOX").ID})
	}
	b.SetBytes(int64(len(text)))
	b.ResetTimer()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					return
				}
				g := targets[i%50]
				u, err := s.NewMail(context.Background(), 0, -1)
				if err == nil {
					_, err = u.Write(text)
				}
				if err == nil {
					_, err = s.Deliver(context.Background(), u, []Target{g})
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkDeliver(b *testing.B) {
	text := benchMessage(4 << 10)
	for _, workers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) { benchDeliver(b, benchStore(b, Options{}), text, workers) })
	}
}

// BenchmarkInline finds Options.InlineMax: the same message as a row and as a file.
func BenchmarkInline(b *testing.B) {
	for _, kib := range []int{8, 16, 32, 64, 128} {
		text := benchMessage(kib << 10)
		for _, as := range []struct {
			name   string
			inline int
		}{{"row", 1 << 20}, {"file", 1}} {
			b.Run(fmt.Sprintf("%dKiB/%s", kib, as.name), func(b *testing.B) { benchDeliver(b, benchStore(b, Options{InlineMax: as.inline}), text, 16) })
		}
	}
}

// filled is a store with one mailbox of n messages, made quickly.
func filled(b *testing.B, n int) (*Store, *Account, int64) {
	s := benchStore(b, Options{})
	a := newAccount(b, s, "ann@example.test", 0)
	in := mailboxNamed(b, s, a.ID, "INBOX")
	text := benchMessage(2 << 10)
	batch := s.NewBatch()
	for i := range n {
		if err := batch.Add(context.Background(), newMessage(b, s, 0, string(text)), Target{Account: a.ID, Mailbox: in.ID}); err != nil {
			b.Fatal(err)
		}
		if batch.Len() == 1000 || i == n-1 {
			if _, err := s.DeliverBatch(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
			batch = s.NewBatch()
		}
	}
	return s, a, in.ID
}

func (s *Store) forget() {
	s.snaps.init(s.snaps.max, s.snaps.now)
}

func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		s, _, in := filled(b, n)
		b.Run(fmt.Sprintf("%d/cold", n), func(b *testing.B) {
			for b.Loop() {
				s.forget()
				if p, err := s.Snapshot(context.Background(), in); err != nil || p.Len() != n {
					b.Fatal(p, err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/warm", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Snapshot(context.Background(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/walk", n), func(b *testing.B) {
			p, _ := s.Snapshot(context.Background(), in)
			var sum uint32
			for b.Loop() {
				for i := range p.Len() {
					sum += p.UID(i)
				}
			}
		})
	}
}

func BenchmarkMail(b *testing.B) {
	const n = 10_000
	s, _, in := filled(b, n)
	p, err := s.Snapshot(context.Background(), in)
	if err != nil {
		b.Fatal(err)
	}
	var all, every []int
	for i := range n {
		all = append(all, i)
		if i%7 == 0 {
			every = append(every, i)
		}
	}
	for _, c := range []struct {
		name    string
		want    MailWant
		indexes []int
	}{
		{"envelope+structure", WantEnvelope | WantStructure, all},
		{"envelope+structure/every7th", WantEnvelope | WantStructure, every},
		{"header", WantHeader, all},
		{"index", WantIndex, all},
		{"body", WantBody, all},
	} {
		walk := func(b *testing.B, first bool) {
			for b.Loop() {
				if first {
					s.mails.init(s.mails.max)
				}
				for _, m := range s.Mail(context.Background(), p, c.indexes, c.want) {
					if m.Err != nil {
						b.Fatal(m.Err)
					}
				}
			}
			b.ReportMetric(float64(b.N*len(c.indexes))/b.Elapsed().Seconds(), "rows/s")
		}
		b.Run(c.name+"/first", func(b *testing.B) { walk(b, true) })
		if c.want&WantBody == 0 {
			b.Run(c.name+"/again", func(b *testing.B) { walk(b, false) })
		}
	}
}

func BenchmarkSetFlags(b *testing.B) {
	const n = 100_000
	s, a, in := filled(b, n)
	if _, err := s.Snapshot(context.Background(), in); err != nil {
		b.Fatal(err)
	}
	for _, workers := range []int{1, 16} {
		b.Run(fmt.Sprintf("one/%d", workers), func(b *testing.B) {
			var k atomic.Int64
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for {
						i := k.Add(1)
						if i > int64(b.N) {
							return
						}
						op := FlagsAdd
						if i/n%2 == 1 {
							op = FlagsRemove
						}
						if _, _, err := s.SetFlags(context.Background(), a.ID, in, []uint32{uint32(i%n) + 1}, FlagChange{Op: op, Flags: Flagged}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "store/s")
		})
	}
	b.Run("all", func(b *testing.B) {
		var uids []uint32
		for i := range n {
			uids = append(uids, uint32(i)+1)
		}
		op := FlagsAdd
		for b.Loop() {
			if _, _, err := s.SetFlags(context.Background(), a.ID, in, uids, FlagChange{Op: op, Flags: Seen}); err != nil {
				b.Fatal(err)
			}
			op = FlagsAdd + FlagsRemove - op
		}
	})
}

func BenchmarkOpenBlob(b *testing.B) {
	s, _, in := filled(b, 1000)
	p, err := s.Snapshot(context.Background(), in)
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		i++
		body, err := s.OpenBlob(context.Background(), p.At(i%1000).Blob)
		if err != nil {
			b.Fatal(err)
		}
		body.Close()
	}
}

// BenchmarkRenameTree renames a mailbox with 2,000 below it.
func BenchmarkRenameTree(b *testing.B) {
	s := benchStore(b, Options{})
	a := newAccount(b, s, "tree@example.test", 0)
	for n := range 2000 {
		if _, err := s.CreateMailbox(b.Context(), a.ID, fmt.Sprintf("one/%d/%d", n%50, n), ""); err != nil {
			b.Fatal(err)
		}
	}
	from, to := "one", "two"
	for b.Loop() {
		if err := s.RenameMailbox(b.Context(), a.ID, from, to); err != nil {
			b.Fatal(err)
		}
		from, to = to, from
	}
}
