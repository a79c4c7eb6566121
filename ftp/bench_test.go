package ftp

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

func (h *house) logins() map[string]func() *peer {
	return map[string]func() *peer{"plain": h.login, "tls": func() *peer { return h.secureLogin(tls.VersionTLS13) }}
}

// BenchmarkMLSD: seconds for a folder of 10,000 files.
func BenchmarkMLSD(b *testing.B) {
	h := newHouse(b)
	for i := range 10_000 {
		h.put(fmt.Sprintf("/message-%05d.eml", i), "")
	}
	for name, login := range h.logins() {
		b.Run(name, func(b *testing.B) {
			p := login()
			p.t = b
			for b.Loop() {
				if n := strings.Count(p.retr("MLSD"), "\n"); n != 10_001 {
					b.Fatal(n)
				}
			}
			b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkLarge moves a file of 256 MiB.
func BenchmarkLarge(b *testing.B) {
	const size = 256 << 20
	h := newHouse(b)
	block := []byte(noise(1 << 20))
	for name, login := range h.logins() {
		p := login()
		b.Run("upload/"+name, func(b *testing.B) {
			p.t = b
			b.SetBytes(size)
			for b.Loop() {
				conn := p.open("STOR large")
				for range size / len(block) {
					conn.Write(block)
				}
				conn.Close()
				p.expect(226)
			}
		})
		b.Run("download/"+name, func(b *testing.B) {
			p.t = b
			b.SetBytes(size)
			buf := make([]byte, 256<<10)
			for b.Loop() {
				conn := p.open("RETR large")
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, buf)
				if n != size || err != nil {
					b.Fatal(n, err)
				}
				conn.Close()
				p.expect(226)
			}
		})
	}
}

// BenchmarkSmall moves files of 4 KiB over 16 sessions.
func BenchmarkSmall(b *testing.B) {
	const sessions = 16
	h := newHouse(b)
	data := noise(4096)
	for name, login := range h.logins() {
		peers := make([]*peer, sessions)
		for i := range peers {
			peers[i] = login()
		}
		each := func(b *testing.B, one func(p *peer, name string)) {
			var wg sync.WaitGroup
			for i, p := range peers {
				p.t = b
				wg.Go(func() {
					for n := i; n < b.N; n += sessions {
						one(p, fmt.Sprintf("small-%d-%d", i, n%100))
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
		}
		b.Run("upload/"+name, func(b *testing.B) {
			each(b, func(p *peer, name string) {
				if code := p.stor(data, "STOR %s", name); code != 226 {
					b.Error(code)
				}
			})
		})
		for i, p := range peers {
			p.t = b
			for n := range 100 {
				p.stor(data, "STOR small-%d-%d", i, n)
			}
		}
		b.Run("download/"+name, func(b *testing.B) {
			each(b, func(p *peer, name string) {
				if len(p.retr("RETR %s", name)) != len(data) {
					b.Error("short")
				}
			})
		})
	}
}

// BenchmarkLogin is a connection with one login, of a client of which nothing is to be remembered, of one that is where it was the last time, and of one that
// never is.
func BenchmarkLogin(b *testing.B) {
	for name, lines := range map[string]string{"home": "", "same": "CWD /a\r\n", "other": "CWD /%s\r\n"} {
		b.Run(name, func(b *testing.B) {
			h := newHouse(b)
			for _, p := range []string{"/a", "/b"} {
				if err := h.fs.Tree(h.ann).Mkdir(b.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
			for i := 0; b.Loop(); i++ {
				conn, err := net.Dial("tcp", h.addr)
				if err != nil {
					b.Fatal(err)
				}
				fmt.Fprintf(conn, "USER ann@example.test\r\nPASS secret\r\n%sQUIT\r\n", strings.ReplaceAll(lines, "%s", "ab"[i%2:i%2+1]))
				if all, err := io.ReadAll(conn); err != nil || !strings.Contains(string(all), "\r\n230 ") {
					b.Fatalf("%q %v", all, err)
				}
				conn.Close()
			}
		})
	}
}
