package smtp_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// BenchmarkDeliver delivers messages of 4 and 64 KiB into 50 accounts, durably.
func BenchmarkDeliver(b *testing.B) { benchmarkDeliver(b, smtp.Options{}) }

// BenchmarkJudged is BenchmarkDeliver for messages that are spooled, and verified by a DNS that answers from the cache.
func BenchmarkJudged(b *testing.B) {
	d := resolvetest.New(b)
	d.Set("b.example. 300 IN TXT \"v=spf1 ip4:127.0.0.1 -all\"\n_dmarc.b.example. 300 IN TXT \"v=DMARC1; p=reject\"\n1.0.0.127.in-addr.arpa. 300 IN PTR x.b.example.\nx.b.example. 300 IN A 127.0.0.1\n")
	r := resolve.New(resolve.Options{Servers: []string{d.Addr()}})
	benchmarkDeliver(b, smtp.Options{Judge: smtp.NewJudge(smtp.JudgeOptions{Weights: smtp.Weights{Junk: 5}, Verify: smtp.VerifyOptions{Verifier: verify.New(r, verify.Options{Glance: resolve.Glance})}})})
}

func benchmarkDeliver(b *testing.B, o smtp.Options) {
	for _, size := range []int{4 << 10, 64 << 10} {
		for _, conns := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, conns), func(b *testing.B) {
				h := open(b, o, auth.PlaintextNever)
				for i := range 50 {
					storagetest.Account(b, h.store, fmt.Sprintf("user%d@example.test", i))
				}
				body := "DATA\r\nFrom: a@b.example\r\nSubject: benchmark\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72) + ".\r\n"
				var next atomic.Int64
				var all sync.WaitGroup
				clients := make([]*bench, conns)
				for i := range clients {
					clients[i] = connect(b, h.mx)
				}
				before := cpuTime()
				b.ResetTimer()
				for _, c := range clients {
					all.Go(func() {
						for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
							c.send(b, fmt.Sprintf("MAIL FROM:<a@b.example>\r\nRCPT TO:<user%d@example.test>\r\n", n%50), 2)
							c.send(b, body[:6], 1)
							c.send(b, body[6:], 1)
						}
					})
				}
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
				b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/msg") // steadier than the rate on a busy machine
				b.StopTimer()
				for _, c := range clients {
					c.Close()
				}
			})
		}
	}
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bench is a client that wastes no time.
type bench struct {
	net.Conn
	r *bufio.Reader
}

func connect(b *testing.B, addr string) *bench {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	c := &bench{conn, bufio.NewReader(conn)}
	c.send(b, "EHLO x\r\n", 2)
	return c
}

// send sends text and reads n replies.
func (c *bench) send(b *testing.B, text string, n int) {
	if _, err := io.WriteString(c, text); err != nil {
		b.Error(err)
		return
	}
	c.replies(b, n)
}

func (c *bench) replies(b *testing.B, n int) {
	for n > 0 {
		line, err := c.r.ReadSlice('\n')
		if err != nil || line[0] > '3' {
			b.Errorf("%s %v", line, err)
			return
		}
		if line[3] == ' ' {
			n--
		}
	}
}

// BenchmarkLarge sends one message of 100 MB, as DATA and as one chunk.
func BenchmarkLarge(b *testing.B) {
	line := strings.Repeat("x", 74) + "\r\n"
	block := []byte(strings.Repeat(line, 1<<20/len(line)))
	count := 100_000_000 / len(block)
	for _, name := range []string{"DATA", "BDAT"} {
		b.Run(name, func(b *testing.B) {
			h := open(b, smtp.Options{MaxMessage: 1 << 30}, auth.PlaintextNever)
			c := connect(b, h.mx)
			defer c.Close()
			head := "Subject: large\r\n\r\n"
			b.SetBytes(int64(len(head) + count*len(block)))
			for b.Loop() {
				c.send(b, "MAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\n", 2)
				end := ".\r\n"
				if name == "DATA" {
					c.send(b, "DATA\r\n", 1)
				} else {
					fmt.Fprintf(c, "BDAT %d LAST\r\n", len(head)+count*len(block))
					end = ""
				}
				io.WriteString(c, head)
				for range count {
					c.Write(block)
				}
				c.send(b, end, 1)
			}
		})
	}
}
