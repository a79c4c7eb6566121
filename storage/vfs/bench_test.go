package vfs_test

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

const benchEntries = 10_000

// BenchmarkReadDir lists 10,000 entries; entries/s is what to compare.
func BenchmarkReadDir(b *testing.B) {
	h := newHouse(b)
	h.ok(h.Mkdir(h.ctx(), "/d"))
	for i := range benchEntries {
		h.put(fmt.Sprintf("/d/file-%05d.dat", i), "x")
	}
	inbox := h.mailbox("INBOX").ID
	for i := range benchEntries {
		u, err := h.store.NewMail(h.ctx(), h.account.ID, -1)
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(u, "From: joe@example.org\r\nSubject: Re: the meeting of next Tuesday is moved, %d\r\n\r\n", i)
		if _, err := h.store.Deliver(h.ctx(), u, []storage.Target{{Account: h.account.ID, Mailbox: inbox}}); err != nil {
			b.Fatal(err)
		}
	}
	for name, path := range map[string]string{"files": "/d", "messages": "/Mail/INBOX"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range h.ReadDir(h.ctx(), path) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != benchEntries {
					b.Fatal(n)
				}
			}
			b.ReportMetric(float64(benchEntries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
	for name, path := range map[string]string{"file": "/d/file-05000.dat", "message": "/Mail/INBOX/" + h.name("/Mail/INBOX", 5000)} {
		b.Run("stat-"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.stat(path)
			}
		})
	}
}

// name of the n-th entry of a folder.
func (h *house) name(path string, n int) string {
	for i, err := range h.ReadDir(h.ctx(), path) {
		if err != nil {
			h.Fatal(err)
		}
		if n--; n < 0 {
			return i.Name()
		}
	}
	return ""
}

// BenchmarkTransfer puts and gets files; both ends are in memory.
func BenchmarkTransfer(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 8 << 20} {
		data := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
		h := newHouse(b)
		b.Run(fmt.Sprintf("put-%dk", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				h := h.again()
				name := fmt.Sprintf("/%p", pb)
				for pb.Next() {
					w, err := h.Create(h.ctx(), name, vfs.CreateOptions{Expect: -1})
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := w.ReadFrom(bytes.NewReader(data)); err != nil {
						b.Error(err)
					}
					if _, err := w.Commit(h.ctx()); err != nil {
						b.Error(err)
					}
				}
			})
		})
		h.put("/f", string(data))
		b.Run(fmt.Sprintf("get-%dk", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				f, err := h.Open(h.ctx(), "/f")
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

// BenchmarkRemove removes files and messages, by one session and by 16 that share commits.
func BenchmarkRemove(b *testing.B) {
	for _, kind := range []string{"file", "message"} {
		for _, sessions := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s-%d", kind, sessions), func(b *testing.B) {
				h := newHouse(b)
				paths := make(chan string, b.N)
				for i := range b.N {
					if kind == "file" {
						paths <- "/" + h.put(fmt.Sprintf("/%d", i), "x").Name()
					} else {
						paths <- "/Mail/INBOX/" + h.put("/Mail/INBOX/x", letter(fmt.Sprint(i), monday)).Name()
					}
				}
				close(paths)
				var wg sync.WaitGroup
				b.ResetTimer()
				for range sessions {
					wg.Go(func() {
						for p := range paths {
							if err := h.RemoveFile(h.ctx(), p); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
