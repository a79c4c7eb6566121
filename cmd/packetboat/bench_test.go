package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/storage"
)

// The benchmarks here are of the whole: everything wired as `packetboat serve` does it, in this process, with clients over TCP. What one
// protocol does by itself (FETCH, idle sessions, listings, small files) is measured in its package.

const (
	benchAccounts = 50
	benchPassword = "a secret for benchmarks"
)

// benchHouse is a house with the accounts u0 to u49 @bench.test.
type benchHouse struct {
	*house
	b    testing.TB
	base int
}

func openBench(b *testing.B) *benchHouse {
	b.Helper()
	dir := b.TempDir()
	for base := 12000; base < 30000; base += 1200 { // until one whose ports are free
		f := configFlags{domain: "bench.test", basePort: strconv.Itoa(base), set: []string{
			"auth.throttle=off", "limits.per_address=0", "limits.per_account=0", "limits.total=0", "server.drain_timeout=1s", "dns.servers=127.0.0.1:1"}}
		c, all, err := f.load(dir)
		if err != nil {
			b.Fatal(err)
		}
		h := &benchHouse{&house{config: c, settings: all, dir: dir, logger: slog.New(slog.DiscardHandler), started: time.Now()}, b, base}
		if err = h.open(b.Context()); err != nil {
			b.Log(err)
			continue
		}
		b.Cleanup(func() {
			if err := h.close(); err != nil {
				b.Error(err)
			}
		})
		if _, err = h.firstRun(b.Context()); err == nil {
			err = h.start()
		}
		if err != nil {
			b.Fatal(err)
		}
		h.makeAccounts()
		return h
	}
	b.Fatal("no free ports")
	return nil
}

func (h *benchHouse) makeAccounts() {
	credentials, err := auth.Credentials(benchPassword)
	if err != nil {
		h.b.Fatal(err)
	}
	for i := range benchAccounts {
		name := fmt.Sprintf("u%d@bench.test", i)
		if _, err := h.store.CreateAccount(h.b.Context(), storage.NewAccount{Name: name, Credentials: credentials}); err != nil {
			h.b.Fatal(err)
		}
	}
}

// messages is how many all accounts have.
func (h *benchHouse) messages() (n int64) {
	accounts, err := h.store.Accounts(h.b.Context())
	if err != nil {
		h.b.Fatal(err)
	}
	for _, a := range accounts {
		u, err := h.store.Usage(h.b.Context(), a.ID)
		if err != nil {
			h.b.Fatal(err)
		}
		n += u.Messages
	}
	return n
}

// benchPeer is a client's connection. Its faults are the benchmark's, which go on for the sake of the other goroutines.
type benchPeer struct {
	net.Conn
	r *bufio.Reader
}

// dial connects to a standard port and reads the greeting.
func (h *benchHouse) dial(port int, greeting string) (*benchPeer, error) {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.base+port))
	if err != nil {
		return nil, err
	}
	p := &benchPeer{conn, bufio.NewReader(conn)}
	return p, p.expect(greeting)
}

// expect reads lines up to one that begins with this; one that says no is an error.
func (p *benchPeer) expect(begin string) error {
	for {
		line, err := p.r.ReadString('\n')
		if err != nil || strings.HasPrefix(line, begin) {
			return err
		}
		if line[0] == '4' || line[0] == '5' || strings.HasPrefix(line, "a NO") || strings.HasPrefix(line, "a BAD") {
			return fmt.Errorf("wanted %q, got %q", begin, line)
		}
	}
}

func (p *benchPeer) ask(say, begin string) error {
	if _, err := io.WriteString(p, say); err != nil {
		return err
	}
	return p.expect(begin)
}

// mx is a connection after EHLO.
func (h *benchHouse) mx() (*benchPeer, error) {
	p, err := h.dial(25, "220 ")
	if err == nil {
		err = p.ask("EHLO client.example\r\n", "250 ")
	}
	return p, err
}

// imap is a connection of account i after LOGIN.
func (h *benchHouse) imap(i int) (*benchPeer, error) {
	p, err := h.dial(143, "* OK")
	if err == nil {
		err = p.ask(fmt.Sprintf("a LOGIN u%d@bench.test %q\r\n", i, benchPassword), "a OK")
	}
	return p, err
}

// send gives one message to the MX.
func (p *benchPeer) send(to int, text string) error {
	err := p.ask(fmt.Sprintf("MAIL FROM:<joe@client.example>\r\nRCPT TO:<u%d@bench.test>\r\nDATA\r\n", to), "354 ")
	if err == nil {
		err = p.ask(text+".\r\n", "250 ")
	}
	return err
}

// benchText is a message of n bytes.
func benchText(n int) string {
	head := "From: Joe <joe@client.example>\r\nTo: Ann <ann@bench.test>\r\nSubject: a message of the usual kind\r\n" +
		"Date: Mon, 23 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@client.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
	line := strings.Repeat("The quick brown fox. ", 3) + "\r\n"
	return head + strings.Repeat(line, (n-len(head))/len(line))
}

// eachOf runs b.N turns over some connections at once.
func eachOf(b *testing.B, conns int, dial func(i int) (*benchPeer, error), turn func(p *benchPeer, i int) error) {
	b.Helper()
	peers := make([]*benchPeer, conns)
	for i := range peers {
		p, err := dial(i)
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		peers[i] = p
	}
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for _, p := range peers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
				if err := turn(p, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkDelivery: messages from the MX's door to 50 mailboxes, durable when answered.
func BenchmarkDelivery(b *testing.B) {
	for _, c := range []struct{ kib, conns int }{{4, 1}, {4, 16}, {4, 64}, {64, 16}} {
		b.Run(fmt.Sprintf("%dKiB/%d", c.kib, c.conns), func(b *testing.B) {
			h, text := openBench(b), benchText(c.kib<<10)
			eachOf(b, c.conns, func(int) (*benchPeer, error) { return h.mx() },
				func(p *benchPeer, i int) error { return p.send(i%benchAccounts, text) })
			if n := h.messages(); n != int64(b.N) {
				b.Errorf("%d messages, want %d", n, b.N)
			}
		})
	}
}

// BenchmarkAppend: messages of 4 KiB by IMAP APPEND with a non-synchronizing literal (RFC 7888).
func BenchmarkAppend(b *testing.B) {
	for _, conns := range []int{1, 16} {
		b.Run(strconv.Itoa(conns), func(b *testing.B) {
			h, text := openBench(b), benchText(4<<10)
			literal := fmt.Sprintf("a APPEND INBOX {%d+}\r\n%s\r\n", len(text), text)
			eachOf(b, conns, h.imap, func(p *benchPeer, _ int) error { return p.ask(literal, "a OK") })
			if n := h.messages(); n != int64(b.N) {
				b.Errorf("%d messages, want %d", n, b.N)
			}
		})
	}
}

// BenchmarkNotify: from the end of DATA to EXISTS in the last of ten sessions of an account that wait in IDLE.
func BenchmarkNotify(b *testing.B) {
	h, text := openBench(b), benchText(4<<10)
	var idle []*benchPeer
	for range 10 {
		p, err := h.imap(0)
		if err == nil {
			err = p.ask("a SELECT INBOX\r\n", "a OK")
		}
		if err == nil {
			err = p.ask("a IDLE\r\n", "+")
		}
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		idle = append(idle, p)
	}
	mx, err := h.mx()
	if err != nil {
		b.Fatal(err)
	}
	defer mx.Close()
	for n := 0; b.Loop(); {
		n++
		if err := mx.send(0, text); err != nil {
			b.Fatal(err)
		}
		for _, p := range idle {
			if err := p.expect(fmt.Sprintf("* %d EXISTS", n)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkFile moves a file of 1 GiB by plain FTP.
func BenchmarkFile(b *testing.B) {
	const size = 1 << 30
	h := openBench(b)
	p, err := h.dial(21, "220 ")
	if err == nil {
		err = p.ask("USER u0@bench.test\r\nPASS "+benchPassword+"\r\nTYPE I\r\n", "230 ")
	}
	if err == nil {
		err = p.expect("200 ")
	}
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	block := make([]byte, 256<<10)
	up := func(d net.Conn) (n int64, err error) {
		for n < size && err == nil {
			var k int
			k, err = d.Write(block)
			n += int64(k)
		}
		return n, err
	}
	down := func(d net.Conn) (int64, error) {
		return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{d}, block)
	}
	if _, err := p.transfer("STOR large", up); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name, say string
		move      func(d net.Conn) (int64, error)
	}{{"upload", "STOR large", up}, {"download", "RETR large", down}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if n, err := p.transfer(c.say, c.move); err != nil || n != size {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// transfer does one transfer over a passive data connection (RFC 2428).
func (p *benchPeer) transfer(say string, move func(d net.Conn) (int64, error)) (int64, error) {
	if _, err := io.WriteString(p, "EPSV\r\n"); err != nil {
		return 0, err
	}
	line, err := p.r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	_, port, _ := strings.Cut(line, "|||")
	port, _, _ = strings.Cut(port, "|")
	d, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", line, err)
	}
	defer d.Close()
	if err := p.ask(say+"\r\n", "150 "); err != nil {
		return 0, err
	}
	n, err := move(d)
	d.Close()
	if err == nil {
		err = p.expect("226 ")
	}
	return n, err
}
