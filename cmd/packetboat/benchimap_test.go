//go:build bench

package main

import (
	"crypto/tls"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rival is a server of the comparison.
type rival struct {
	name           string
	plain, tls     string // addresses
	user, password string
	conf           *tls.Config
	pid            int
	conn, secure   *imapConn // with INBOX selected
}

func (r *rival) dial(secure bool) (*imapConn, error) {
	addr, conf := r.plain, (*tls.Config)(nil)
	if secure {
		addr, conf = r.tls, r.conf
	}
	c, err := dialIMAP(addr, conf)
	if err == nil {
		if err = c.login(r.user, r.password); err != nil {
			c.Close()
		}
	}
	return c, err
}

// row is a line of the table: units a second, unless its name says otherwise.
type row struct {
	name  string
	goal  float64 // ratio to the better Dovecot; 0: none
	lower bool    // less is better
	cells map[string][]float64
}

// comparison runs the same steps on every server, in turns, and keeps the figures.
type comparison struct {
	t      *testing.T
	rivals []*rival
	rows   []*row
	n      int // messages in INBOX
}

func (c *comparison) row(name string, goal float64, lower bool) *row {
	for _, r := range c.rows {
		if r.name == name {
			return r
		}
	}
	r := &row{name: name, goal: goal, lower: lower, cells: map[string][]float64{}}
	c.rows = append(c.rows, r)
	return r
}

// rate measures a step that returns how many units it did.
func (c *comparison) rate(name string, goal float64, step func(*rival) (int, error)) {
	c.t.Helper()
	r := c.row(name, goal, false)
	for _, v := range c.rivals {
		start := time.Now()
		n, err := step(v)
		if err != nil {
			c.t.Fatalf("%s, %s: %v", name, v.name, err)
		}
		r.cells[v.name] = append(r.cells[v.name], float64(n)/time.Since(start).Seconds())
	}
}

// latency measures a step in milliseconds. Its count must be the same for all servers.
func (c *comparison) latency(name string, goal float64, step func(*rival) (int, error)) {
	c.t.Helper()
	r := c.row(name+", ms", goal, true)
	counts := map[string]int{}
	for _, v := range c.rivals {
		start := time.Now()
		n, err := step(v)
		if err != nil {
			c.t.Logf("%s, %s: %v", name, v.name, err) // Dovecot has no THREAD of every kind
			continue
		}
		counts[v.name] = n
		r.cells[v.name] = append(r.cells[v.name], float64(time.Since(start).Microseconds())/1000)
	}
	for _, n := range counts {
		if n != counts[c.rivals[0].name] {
			c.t.Logf("%s: results differ: %v", name, counts)
			break
		}
	}
}

func median(l []float64) float64 {
	if len(l) == 0 {
		return math.NaN()
	}
	l = slices.Sorted(slices.Values(l))
	return l[len(l)/2]
}

func short(x float64) string {
	switch {
	case math.IsNaN(x):
		return "-"
	case x >= 100_000:
		return strconv.FormatFloat(x/1000, 'f', 0, 64) + "k"
	case x >= 10_000:
		return strconv.FormatFloat(x/1000, 'f', 1, 64) + "k"
	case x >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

func cell(l []float64) string {
	if len(l) == 0 {
		return "-"
	}
	s := short(median(l))
	if len(l) > 1 {
		s += " [" + short(slices.Min(l)) + "-" + short(slices.Max(l)) + "]"
	}
	return s
}

// table is Markdown.
func (c *comparison) table() string {
	var b strings.Builder
	b.WriteString("| |")
	for _, v := range c.rivals {
		b.WriteString(" " + v.name + " |")
	}
	b.WriteString(" ratio to the better | goal |\n|---|" + strings.Repeat("---|", len(c.rivals)+2) + "\n")
	for _, r := range c.rows {
		b.WriteString("| " + r.name + " |")
		best := math.NaN()
		for i, v := range c.rivals {
			b.WriteString(" " + cell(r.cells[v.name]) + " |")
			if m := median(r.cells[v.name]); i > 0 && !math.IsNaN(m) && (math.IsNaN(best) || r.lower == (m < best)) {
				best = m
			}
		}
		ratio := median(r.cells[c.rivals[0].name]) / best
		if r.lower {
			ratio = 1 / ratio
		}
		goal := ""
		if r.goal > 0 {
			goal = short(r.goal)
		}
		fmt.Fprintf(&b, " %s | %s |\n", short(ratio), goal)
	}
	return b.String()
}

// fromEnv is a number from the environment.
func fromEnv(t *testing.T, name string, preset int) int {
	text := os.Getenv(name)
	if text == "" {
		return preset
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no number", name, text)
	}
	return n
}

// TestBenchIMAP compares packetboat with Dovecot on Maildir and on sdbox, side by side in one run: make bench-imap. BENCH_MESSAGES is how many
// messages lie in the mailbox, BENCH_PASSES how often each step is measured. It judges nothing.
func TestBenchIMAP(t *testing.T) {
	c := &comparison{t: t, n: fromEnv(t, "BENCH_MESSAGES", 100_000)}
	passes := fromEnv(t, "BENCH_PASSES", 3)
	b := launch(t, "--set", "auth.throttle=off", "--set", "limits.per_address=0", "--set", "limits.per_account=0", "--set", "server.log_level=warn")
	cert, key := filepath.Join(b.data, "tls", "server.pem"), filepath.Join(b.data, "tls", "server.key")
	c.rivals = append(c.rivals, &rival{name: "packetboat", plain: b.addr(143), tls: b.addr(993), user: "ann@example.test", password: annPassword, conf: b.tls(), pid: b.cmd.Process.Pid})
	for _, store := range []string{"maildir", "sdbox"} {
		d := startDovecot(t, store, "always", cert, key) // what it has acknowledged is on disk, as packetboat's is
		c.rivals = append(c.rivals, &rival{name: "Dovecot " + store, plain: fmt.Sprintf("127.0.0.1:%d", d.plain), tls: fmt.Sprintf("127.0.0.1:%d", d.tls),
			user: "ann", password: dovecotPassword, conf: b.tls(), pid: d.cmd.Process.Pid})
	}
	c.fill()
	start := time.Now()
	for unindexed := 1; unindexed > 0; time.Sleep(time.Second) { // it is built while nothing else is asked
		var stats struct{ Index struct{ Unindexed int } }
		b.json(&stats, "mailbox", "stats")
		unindexed = stats.Index.Unindexed
	}
	t.Logf("packetboat's search index is complete %v after the last message\n%s", time.Since(start).Round(time.Second), b.run("", "mailbox", "stats", "ann"))
	for _, v := range c.rivals {
		for _, secure := range []bool{false, true} {
			conn, err := v.dial(secure)
			if err == nil {
				_, err = conn.do("SELECT INBOX")
			}
			if err != nil {
				t.Fatal(v.name, err)
			}
			defer conn.Close()
			if secure {
				v.secure = conn
			} else {
				v.conn = conn
			}
		}
	}
	c.first()
	for i := range passes {
		t.Logf("pass %d of %d, load %s", i+1, passes, strings.Join(strings.Fields(procFile("/proc/loadavg"))[:3], " "))
		c.reading()
		c.searching()
		c.writing()
		c.logins()
	}
	c.waiting()
	t.Logf("messages: %d, passes: %d\n%s", c.n, passes, c.table())
}

// fill puts the same messages into every INBOX, many in each APPEND: one by one a large Maildir takes some tens a second.
func (c *comparison) fill() {
	l := newLetters()
	const batch, sessions = 250, 4
	r := c.row(fmt.Sprintf("APPEND of all, %d a command, %d sessions", batch, sessions), 0, false)
	for _, v := range c.rivals {
		start := time.Now()
		work := make(chan int)
		var wait sync.WaitGroup
		for range sessions {
			wait.Go(func() {
				conn, err := v.dial(false)
				if err != nil {
					c.t.Error(v.name, err)
					for range work {
					}
					return
				}
				defer conn.Close()
				for first := range work {
					var mails [][]byte
					for i := first; i < min(first+batch, c.n); i++ {
						mails = append(mails, l.mail(i))
					}
					if err := conn.multiappend("INBOX", mails, func(i int) time.Time { return mailDate(first + i) }); err != nil {
						c.t.Error(v.name, err)
					}
				}
			})
		}
		for first := 0; first < c.n; first += batch {
			work <- first
		}
		close(work)
		wait.Wait()
		if c.t.Failed() {
			c.t.FailNow()
		}
		r.cells[v.name] = append(r.cells[v.name], float64(c.n)/time.Since(start).Seconds())
		c.t.Logf("%s: %d messages in %v", v.name, c.n, time.Since(start).Round(time.Second))
	}
}

const thunderbirdHeaders = "BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To Received)]"

// all runs a FETCH that must answer every message.
func (c *comparison) all(conn *imapConn, items string) (int, error) {
	n, err := conn.do("UID FETCH 1:* (%s)", items)
	if err == nil && n != c.n {
		err = fmt.Errorf("%d responses, want %d", n, c.n)
	}
	return n, err
}

// first is what is measured once only: nothing was asked before.
func (c *comparison) first() {
	c.rate("ENVELOPE BODYSTRUCTURE, the first time", 8, func(v *rival) (int, error) {
		return c.all(v.conn, "UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE")
	})
	c.rate("Thunderbird's headers, the first time", 5, func(v *rival) (int, error) {
		return c.all(v.conn, "UID RFC822.SIZE FLAGS "+thunderbirdHeaders)
	})
	c.latency("SORT (DATE), the first time", 0, func(v *rival) (int, error) { return v.conn.do("UID SORT (DATE) UTF-8 ALL") })
}

func (c *comparison) reading() {
	for _, v := range c.rivals { // what the pass before changed is not counted with the answers
		for _, conn := range []*imapConn{v.conn, v.secure} {
			if _, err := conn.do("NOOP"); err != nil {
				c.t.Fatal(v.name, err)
			}
		}
	}
	c.latency("SELECT", 0, func(v *rival) (int, error) { return v.conn.do("SELECT INBOX") })
	for _, how := range []string{"", ", TLS"} {
		conn := func(v *rival) *imapConn {
			if how != "" {
				return v.secure
			}
			return v.conn
		}
		c.rate("UID FLAGS"+how, 3, func(v *rival) (int, error) { return c.all(conn(v), "UID FLAGS") })
		c.rate("ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE"+how, 8, func(v *rival) (int, error) {
			return c.all(conn(v), "UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE")
		})
		c.rate("Thunderbird's headers"+how, 5, func(v *rival) (int, error) { return c.all(conn(v), "UID RFC822.SIZE FLAGS "+thunderbirdHeaders) })
		c.rate("bodies of 10,000"+how, 2, func(v *rival) (int, error) { return conn(v).do("FETCH 1:%d (UID BODY.PEEK[])", min(10_000, c.n)) })
		for _, window := range []int{1, 16} {
			c.rate(fmt.Sprintf("bodies one by one, %d in flight%s", window, how), 1.2, func(v *rival) (int, error) {
				return flight(conn(v), 2000, window, func(i int) string { return fmt.Sprintf("FETCH %d (UID BODY.PEEK[])", 1+i*7919%c.n) })
			})
		}
	}
}

// flight sends n commands, window of them before the first is answered.
func flight(conn *imapConn, n, window int, command func(int) string) (int, error) {
	var tags []string
	for i := range n {
		tags = append(tags, conn.send("%s", command(i)))
		if len(tags) == window {
			if _, err := conn.wait(tags[0]); err != nil {
				return i, err
			}
			tags = tags[1:]
		}
	}
	for _, tag := range tags {
		if _, err := conn.wait(tag); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (c *comparison) searching() {
	for _, s := range []struct {
		name string
		goal float64
		keys string
	}{
		{"SEARCH TEXT, 1 in 100", 20, "TEXT zqx7z"},
		{"SEARCH BODY, in none", 20, "BODY qqqqnotthere"},
		{"SEARCH TEXT, in all", 20, "TEXT received"},
		{"SEARCH TEXT, two letters", 0, "TEXT zq"},
		{"SEARCH TEXT, of frequent syllables", 0, "TEXT karamusu"},
		{"SEARCH SUBJECT, 1 in 50", 5, "SUBJECT topic7x"},
		{"SEARCH FROM", 0, "FROM user77@"},
		{"SEARCH SINCE", 0, "SINCE 1-Jun-2024"},
		{"SEARCH UNSEEN", 0, "UNSEEN"},
	} {
		c.latency(s.name, s.goal, func(v *rival) (int, error) { return v.conn.do("UID SEARCH %s", s.keys) })
	}
	for _, s := range []string{"DATE", "SUBJECT", "FROM", "REVERSE ARRIVAL"} {
		c.latency("SORT ("+s+")", 0, func(v *rival) (int, error) { return v.conn.do("UID SORT (%s) UTF-8 ALL", s) })
	}
	for _, s := range []string{"REFERENCES", "ORDEREDSUBJECT"} {
		c.latency("THREAD "+s, 0, func(v *rival) (int, error) { return v.conn.do("UID THREAD %s UTF-8 ALL", s) })
	}
}

func (c *comparison) writing() {
	c.rate("STORE one by one", 0, func(v *rival) (int, error) {
		return flight(v.conn, 500, 1, func(i int) string { return fmt.Sprintf("STORE %d +FLAGS.SILENT (\\Flagged)", 1+i*7919%c.n) })
	})
	c.rate("STORE 1:10000, there and back", 0, func(v *rival) (int, error) {
		n := min(10_000, c.n)
		for _, sign := range []string{"+", "-"} {
			if _, err := v.conn.do("STORE 1:%d %sFLAGS.SILENT (\\Answered)", n, sign); err != nil {
				return 0, err
			}
		}
		return 2 * n, nil
	})
	m := newLetters().mail(3)
	for _, sessions := range []int{1, 16} {
		goal := 2.5
		if sessions > 1 {
			goal = 5
		}
		c.rate(fmt.Sprintf("APPEND of %d bytes, %d sessions", len(m), sessions), goal, func(v *rival) (int, error) {
			const each = 100
			return parallel(v, sessions, func(conn *imapConn) error {
				conn.do("CREATE Other") // there already but for the first time
				for i := range each {
					if err := conn.append("Other", [][]byte{m}, func(int) time.Time { return mailDate(i) }); err != nil {
						return err
					}
				}
				return nil
			}, each)
		})
	}
}

// parallel runs what one session does in several at a time; each of them does so many units.
func parallel(v *rival, sessions int, f func(*imapConn) error, units int) (int, error) {
	errs := make(chan error, sessions)
	for range sessions {
		go func() {
			conn, err := v.dial(false)
			if err == nil {
				err = f(conn)
				conn.Close()
			}
			errs <- err
		}()
	}
	var failed error
	for range sessions {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	return sessions * units, failed
}

func (c *comparison) logins() {
	for _, sessions := range []int{1, 16} {
		c.rate(fmt.Sprintf("LOGIN and LOGOUT, %d at a time", sessions), 0, func(v *rival) (int, error) {
			const each = 50
			errs := make(chan error, sessions)
			for range sessions {
				go func() {
					for range each {
						conn, err := v.dial(false)
						if err == nil {
							_, err = conn.do("LOGOUT")
							conn.Close()
						}
						if err != nil {
							errs <- err
							return
						}
					}
					errs <- nil
				}()
			}
			for range sessions {
				if err := <-errs; err != nil {
					return 0, err
				}
			}
			return sessions * each, nil
		})
	}
}
