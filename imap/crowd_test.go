package imap_test

import (
	"bufio"
	"compress/flate"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
)

// TestMain makes of the test's own binary a crowd of clients when it is told so: the memory of the process under test is the server's then.
func TestMain(m *testing.M) {
	if what := os.Getenv("PACKETBOAT_CROWD"); what != "" {
		if err := crowd(strings.Fields(what)); err != nil {
			fmt.Println("crowd:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// crowd opens sessions that wait, in IDLE or after NOTIFY: ADDRESS plain|tls|compress|notify N. For each line on its input, which is a prefix, it reads a line that begins so in every
// session.
func crowd(args []string) error {
	n, _ := strconv.Atoi(args[2])
	members := make([]*member, n)
	var all sync.WaitGroup
	failed := make(chan error, n)
	for part := range 8 {
		all.Go(func() {
			for i := part; i < n; i += 8 {
				var err error
				if members[i], err = enter(args[0], args[1]); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	if len(failed) > 0 {
		return <-failed
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		for _, m := range members {
			if err := m.until(in.Text()); err != nil {
				return err
			}
		}
		fmt.Println("done")
	}
	return nil
}

// member is one of a crowd.
type member struct {
	net.Conn
	r *bufio.Reader
	w io.Writer
}

func enter(address, over string) (*member, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if over == "tls" {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // a certificate of the test's
	}
	m := &member{c, bufio.NewReader(c), c}
	if err := m.ask("", "* OK"); err != nil {
		return nil, err
	}
	if err := m.ask("t LOGIN ann@example.test secret\r\n", "t OK"); err != nil {
		return nil, err
	}
	if over == "compress" {
		if err := m.ask("t COMPRESS DEFLATE\r\n", "t OK"); err != nil {
			return nil, err
		}
		m.r = bufio.NewReader(flate.NewReader(m.r))
		w, _ := flate.NewWriter(c, flate.HuffmanOnly)
		m.w = flushed{w}
	}
	if over == "notify" {
		return m, m.ask("t NOTIFY SET (mailboxes INBOX (MessageNew MessageExpunge))\r\n", "t OK")
	}
	if err := m.ask("t SELECT INBOX\r\n", "t OK"); err != nil {
		return nil, err
	}
	err = m.ask("t IDLE\r\n", "+")
	m.w = nil
	return m, err
}

type flushed struct{ *flate.Writer }

func (f flushed) Write(p []byte) (int, error) {
	n, _ := f.Writer.Write(p)
	return n, f.Flush()
}

func (m *member) ask(say, prefix string) error {
	if _, err := io.WriteString(m.w, say); err != nil {
		return err
	}
	return m.until(prefix)
}

func (m *member) until(prefix string) error {
	for {
		s, err := m.r.ReadString('\n')
		if err != nil || strings.HasPrefix(s, prefix) {
			return err
		}
		if strings.HasPrefix(s, "t ") {
			return fmt.Errorf("waiting for %q: %q", prefix, s)
		}
	}
}

// gather starts a crowd. The function that it returns sends it a line and waits for its answer.
func gather(t testing.TB, address, over string, n int) func(line string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("PACKETBOAT_CROWD=%s %s %d", address, over, n))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	wait := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the crowd says %q, %v; want %s", lines.Text(), lines.Err(), want)
		}
	}
	wait("ready")
	return func(line string) {
		t.Helper()
		if _, err := fmt.Fprintln(in, line); err != nil {
			t.Fatal(err)
		}
		wait("done")
	}
}

// BenchmarkIdle measures what a session that waits in IDLE takes, and how long a change takes to reach all of them. Where
// PACKETBOAT_HEAP names a file, it gets a profile of what they hold.
func BenchmarkIdle(b *testing.B) {
	sessions := 5000
	for _, over := range []string{"plain", "tls", "compress"} {
		b.Run(over, func(b *testing.B) {
			h := open(b, imap.Options{IdleKeepalive: time.Hour}, auth.PlaintextLoopback)
			address := h.plain
			if over == "tls" {
				address = h.tls
			}
			gather(b, address, over, 200) // what is there once, not for each
			before := resident()
			tell := gather(b, address, over, sessions)
			time.Sleep(300 * time.Millisecond)
			rss := float64(resident()-before) / float64(sessions)
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if name := os.Getenv("PACKETBOAT_HEAP"); name != "" {
				if f, err := os.Create(name + over); err == nil {
					_ = pprof.Lookup("heap").WriteTo(f, 0)
					f.Close()
				}
			}
			n := 0
			for b.Loop() {
				n++
				h.many(b, "ann", "INBOX", "1")
				tell(fmt.Sprintf("* %d EXISTS", n))
			}
			b.ReportMetric(rss, "rss-B/session")
			b.ReportMetric(float64(m.HeapInuse)/float64(sessions), "heap-B/session")
			b.ReportMetric(float64(m.StackInuse)/float64(sessions), "stack-B/session")
		})
	}
}

// BenchmarkWriter measures what a delivery takes into a mailbox in which many wait, beside one in which nobody does.
func BenchmarkWriter(b *testing.B) {
	for _, over := range []string{"nobody", "plain", "notify"} {
		b.Run(over, func(b *testing.B) {
			h := open(b, imap.Options{IdleKeepalive: time.Hour}, auth.PlaintextLoopback)
			if over != "nobody" {
				gather(b, h.plain, over, 1000)
			}
			h.many(b, "ann", "INBOX", "10")
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				h.many(b, "ann", "INBOX", "1")
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}
