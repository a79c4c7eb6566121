//go:build e2e

package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// crashSink is another domain's server: it takes everything and counts by Message-ID.
type crashSink struct {
	ln   net.Listener
	mu   sync.Mutex
	got  map[string]int
	work sync.WaitGroup
	open map[net.Conn]bool
}

func newCrashSink(t *testing.T) *crashSink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &crashSink{ln: ln, got: map[string]int{}, open: map[net.Conn]bool{}}
	s.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open[c] = true
			s.mu.Unlock()
			s.work.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for c := range s.open {
			c.Close()
		}
		s.mu.Unlock()
		s.work.Wait()
	})
	return s
}

func (s *crashSink) port() string { return fmt.Sprint(s.ln.Addr().(*net.TCPAddr).Port) }

func (s *crashSink) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	fmt.Fprint(c, "220 sink\r\n")
	for {
		l, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.Fields(l + " x")[0]); verb {
		case "EHLO":
			fmt.Fprint(c, "250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
		case "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		case "DATA":
			fmt.Fprint(c, "354 go on\r\n")
			id := ""
			for l != ".\r\n" {
				if l, err = in.ReadString('\n'); err != nil {
					return
				}
				if v, ok := strings.CutPrefix(l, "Message-ID: "); ok && id == "" {
					id = strings.TrimSpace(v)
				}
			}
			s.mu.Lock()
			s.got[id]++
			s.mu.Unlock()
			fmt.Fprint(c, "250 taken\r\n")
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

// kill -9 while mail comes in by submission and goes out, several times: what was acknowledged arrives, and no more of it twice than was under way.
func TestCrashOutbound(t *testing.T) {
	sink := newCrashSink(t)
	dns := resolvetest.New(t)
	dns.Set("sink.example. MX 10 mx.sink.example.\nmx.sink.example. A 127.0.0.1")
	const perDomain, rounds = 5, 4
	b := launch(t, "--set", "auth.throttle=off", "--set", "dns.servers="+dns.Addr(), "--set", "outbound.enabled=on", "--set", "outbound.port="+sink.port(),
		"--set", fmt.Sprint("outbound.per_domain=", perDomain))
	var mu sync.Mutex
	acked := map[string]bool{}
	for round := range rounds {
		var work sync.WaitGroup
		for w := range 4 {
			work.Go(func() {
				b.submitUntilCut(fmt.Sprintf("r%dw%d", round, w), func(id string) {
					mu.Lock()
					acked[id] = true
					mu.Unlock()
				})
			})
		}
		time.Sleep(time.Second + time.Duration(round)*173*time.Millisecond)
		b.kill()
		work.Wait()
		b.start()
	}
	missing := func() (n int) {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		for id := range acked {
			if sink.got[id] == 0 {
				n++
			}
		}
		return n
	}
	for end := time.Now().Add(time.Minute); missing() > 0 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	if n := missing(); n > 0 {
		t.Errorf("%d of %d messages never arrived\n%s", n, len(acked), b.must("", binary, "--data", b.data, "queue", "list"))
	}
	twice := 0
	sink.mu.Lock()
	for _, n := range sink.got {
		twice += n - 1
	}
	sink.mu.Unlock()
	t.Logf("after %d kills: %d acknowledged messages arrived, %d once more", rounds, len(acked), twice)
	if twice > rounds*perDomain {
		t.Errorf("%d messages arrived twice, with %d under way at a time and %d kills", twice, perDomain, rounds)
	}
	if len(acked) < 50 {
		t.Error("too little was acknowledged for the test to mean anything")
	}
}

// submitUntilCut sends messages to another domain until the server is gone.
func (b *boat) submitUntilCut(id string, acked func(string)) {
	l, err := b.plain(587)
	if err != nil {
		return
	}
	defer l.Close()
	l.until("", "220 ")
	l.until("EHLO crash", "250 ")
	if _, err := l.until("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00ann@example.test\x00"+annPassword)), "235"); err != nil {
		return
	}
	for n := 0; ; n++ {
		mid := fmt.Sprintf("<%sn%d@example.test>", id, n)
		for _, step := range [][2]string{{"MAIL FROM:<ann@example.test>", "250"}, {"RCPT TO:<joe@sink.example>", "250"}, {"DATA", "354"},
			{"From: ann@example.test\r\nMessage-ID: " + mid + "\r\n\r\n" + crashText(mid, n) + ".", "250"}} {
			if _, err := l.until(step[0], step[1]); err != nil {
				return
			}
		}
		acked(mid)
	}
}
