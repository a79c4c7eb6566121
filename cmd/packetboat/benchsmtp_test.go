//go:build bench

package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// mailRival is a mail server of the comparison. Everything it acknowledges is durable.
type mailRival struct {
	name     string
	pids     []int
	mx       string // SMTP for its own users
	out      string // SMTP for those who send to others
	auth     string // the AUTH command there, "" for none
	imap     string
	user     func(i int) string
	password string
	boxes    []*imapConn
	from     string // of what comes in
	own      string // of what goes out
	signs    bool   // what goes out
	message  atomic.Int64
}

const (
	smtpUsers    = 50
	smtpPassword = "a secret of the bench"
)

// mailPlan is a row: n messages over some connections.
type mailPlan struct {
	size, conns, recipients, n int
	goal                       string
}

type mailRow struct {
	name, goal string
	lower      bool
	cells      map[string][]float64
}

type mailComparison struct {
	t      *testing.T
	rivals []*mailRival
	rows   []*mailRow
	sink   *mailSink
	turn   int
}

func (c *mailComparison) row(name, goal string, lower bool) *mailRow {
	for _, r := range c.rows {
		if r.name == name {
			return r
		}
	}
	r := &mailRow{name, goal, lower, map[string][]float64{}}
	c.rows = append(c.rows, r)
	return r
}

// TestBenchSMTP compares packetboat with Debian's Postfix, which delivers to Dovecot by LMTP, alone and with OpenDKIM. BENCH_QUICK=1 sends an eighth,
// BENCH_PASSES says how often (3), BENCH_ROWS which (delivered, outbound, large).
func TestBenchSMTP(t *testing.T) {
	quick := os.Getenv("BENCH_QUICK") != ""
	rows := cmp.Or(os.Getenv("BENCH_ROWS"), "delivered,outbound,large")
	c := &mailComparison{t: t, sink: startMailSink(t)}
	c.rivals = c.servers()
	less := func(n int) int {
		if quick {
			return max(n/8, 20)
		}
		return n
	}
	for range fromEnv(t, "BENCH_PASSES", 3) {
		if strings.Contains(rows, "delivered") {
			for _, p := range []mailPlan{
				{4 << 10, 1, 1, less(800), "4x"}, {4 << 10, 16, 1, less(4000), "15x"}, {4 << 10, 64, 1, less(4000), "20x"}, {4 << 10, 16, 10, less(800), ""},
				{64 << 10, 1, 1, less(400), ""}, {64 << 10, 16, 1, less(1200), "8x"}, {64 << 10, 64, 1, less(1200), ""}, {64 << 10, 16, 10, less(300), ""},
				{1 << 20, 1, 1, less(100), ""}, {1 << 20, 16, 1, less(200), ""},
			} {
				c.each(func(v *mailRival) error { return c.delivered(v, p) })
			}
		}
		if strings.Contains(rows, "outbound") {
			for _, conns := range []int{1, 16, 64} {
				c.each(func(v *mailRival) error { return c.outbound(v, conns, less(3000)) })
			}
		}
		if strings.Contains(rows, "large") {
			for _, verb := range []string{"DATA", "BDAT"} {
				c.each(func(v *mailRival) error { return c.large(v, verb, 256<<20) })
			}
		}
	}
	c.print()
}

// each runs a step on the servers in turns, beginning with another one each time.
func (c *mailComparison) each(step func(v *mailRival) error) {
	c.turn++
	for i := range c.rivals {
		v := c.rivals[(i+c.turn)%len(c.rivals)]
		syscall.Sync() // or one server's step would wait for what another one's left to be written
		if err := step(v); err != nil {
			c.t.Errorf("%s: %v", v.name, err)
		}
	}
}

func (v *mailRival) cpu() (sum time.Duration) {
	for _, pid := range v.pids {
		sum += cpuOf(pid)
	}
	return sum
}

// seen is how many messages all INBOXes have.
func (v *mailRival) seen() (n int, err error) {
	for _, box := range v.boxes {
		if _, err := box.do("STATUS INBOX (MESSAGES)"); err != nil {
			return 0, err
		}
		_, count, _ := strings.Cut(box.last, "(MESSAGES ")
		k, err := strconv.Atoi(strings.TrimRight(strings.TrimSpace(count), ")"))
		if err != nil {
			return 0, fmt.Errorf("%q: %w", box.last, err)
		}
		n += k
	}
	return n, nil
}

// delivered sends messages and waits until IMAP shows all of them.
func (c *mailComparison) delivered(v *mailRival, p mailPlan) error {
	before, err := v.seen()
	if err != nil {
		return err
	}
	cpu, start := v.cpu(), time.Now()
	if err := v.send(v.mx, "", v.from, p.conns, p.n, p.size, func(i int) (to []string) {
		for k := range p.recipients {
			to = append(to, v.user((i+k)%smtpUsers))
		}
		return to
	}); err != nil {
		return err
	}
	for {
		n, err := v.seen()
		if err != nil {
			return err
		}
		if n == before+p.n*p.recipients {
			break
		}
		if n > before+p.n*p.recipients || time.Since(start) > 5*time.Minute {
			return fmt.Errorf("%d messages in the mailboxes, want %d", n-before, p.n*p.recipients)
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(start)
	name := fmt.Sprintf("delivered %s, %s, %d to each", sizeName(p.size), connsName(p.conns), p.recipients)
	add := func(r *mailRow, x float64) { r.cells[v.name] = append(r.cells[v.name], x) }
	add(c.row(name+", messages/s", p.goal, false), float64(p.n)/took.Seconds())
	add(c.row(name+", CPU s per 1,000", "", true), (v.cpu()-cpu).Seconds()*1000/float64(p.n))
	return nil
}

// outbound sends messages for another server's users, and waits until that server has all of them.
func (c *mailComparison) outbound(v *mailRival, conns, n int) error {
	before, signed := c.sink.count.Load(), c.sink.signed.Load()
	cpu, start := v.cpu(), time.Now()
	if err := v.send(v.out, v.auth, v.own, conns, n, 4<<10, func(i int) []string { return []string{fmt.Sprintf("r%d@sink.test", i%200)} }); err != nil {
		return err
	}
	accepted := time.Since(start)
	for c.sink.count.Load()-before < int64(n) {
		if time.Since(start) > 5*time.Minute {
			return fmt.Errorf("%d of %d messages came out", c.sink.count.Load()-before, n)
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(start)
	time.Sleep(300 * time.Millisecond) // what it writes down about the last ones
	if more := c.sink.count.Load() - before - int64(n); more != 0 {
		return fmt.Errorf("%d messages came out twice", more)
	}
	if got := c.sink.signed.Load() - signed; v.signs && got != int64(n) || !v.signs && got != 0 {
		return fmt.Errorf("%d of %d messages are signed", got, n)
	}
	add := func(r *mailRow, x float64) { r.cells[v.name] = append(r.cells[v.name], x) }
	name := fmt.Sprintf("outbound 4 KiB, %s", connsName(conns))
	add(c.row(name+", messages/s to a sink", "", false), float64(n)/took.Seconds())
	add(c.row(name+", accepted/s", "", false), float64(n)/accepted.Seconds())
	add(c.row(name+", CPU s per 1,000", "", true), (v.cpu()-cpu).Seconds()*1000/float64(n))
	return nil
}

// large sends one message by DATA, or by BDAT in chunks of 1 MiB.
func (c *mailComparison) large(v *mailRival, verb string, size int) error {
	before, err := v.seen()
	if err != nil {
		return err
	}
	p, err := dialSMTP(v.mx, "")
	if err != nil {
		return err
	}
	defer p.Close()
	text := []byte(mailText(0, v.from, size))
	cpu, start := v.cpu(), time.Now()
	if verb == "DATA" {
		err = p.message(v.from, []string{v.user(0)}, text)
	} else {
		err = p.chunks(v.from, v.user(0), text, 1<<20)
	}
	if err != nil {
		return err
	}
	r := c.row(fmt.Sprintf("one %s of %d MiB, MB/s", verb, size>>20), "", false)
	r.cells[v.name] = append(r.cells[v.name], float64(len(text))/1e6/time.Since(start).Seconds())
	for n := before; n == before && time.Since(start) < time.Minute; time.Sleep(10 * time.Millisecond) { // Postfix goes on to deliver it
		if n, err = v.seen(); err != nil {
			return err
		}
	}
	r = c.row(fmt.Sprintf("one %s of %d MiB, CPU s, delivery included", verb, size>>20), "", true)
	r.cells[v.name] = append(r.cells[v.name], (v.cpu() - cpu).Seconds())
	return nil
}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

func connsName(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

// send sends n messages over some connections.
func (v *mailRival) send(addr, auth, from string, conns, n, size int, to func(i int) []string) error {
	var next atomic.Int64
	errs := make([]error, conns)
	var all sync.WaitGroup
	for k := range conns {
		all.Go(func() {
			p, err := dialSMTP(addr, auth)
			if err != nil {
				errs[k] = err
				return
			}
			defer p.Close()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if errs[k] = p.message(from, to(i), []byte(mailText(int(v.message.Add(1)), from, size))); errs[k] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// print tells of each row the medians, their spread, and how we stand to Postfix: as both are shipped, both bare, and both with DKIM.
func (c *mailComparison) print() {
	ours, bare, dkim, peer := c.rivals[0].name, c.rivals[1].name, c.rivals[2].name, c.rivals[3].name
	fmt.Printf("\n| row | %s | ratio | both bare | both with DKIM | goal |\n|---|%s---|---|---|---|\n", strings.Join(names(c.rivals), " | "), strings.Repeat("---|", len(c.rivals)))
	for _, r := range c.rows {
		fmt.Printf("| %s |", r.name)
		for _, v := range c.rivals {
			fmt.Printf(" %s |", spread(r.cells[v.name]))
		}
		fmt.Printf(" %s | %s | %s | %s |\n", r.ratio(ours, peer), r.ratio(bare, peer), r.ratio(ours, dkim), r.goal)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("load at the end: %s", load)
}

// ratio is how many times better one server is than another one.
func (r *mailRow) ratio(one, other string) string {
	x, y := middle(r.cells[one]), middle(r.cells[other])
	if r.lower {
		x, y = y, x
	}
	if x == 0 || y == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fx", x/y)
}

func names(all []*mailRival) (n []string) {
	for _, v := range all {
		n = append(n, v.name)
	}
	return n
}

func middle(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}

func spread(x []float64) string {
	if len(x) == 0 {
		return "-"
	}
	form := func(f float64) string {
		if f >= 100 {
			return fmt.Sprintf("%.0f", f)
		}
		return fmt.Sprintf("%.3g", f)
	}
	if len(x) == 1 {
		return form(x[0])
	}
	return fmt.Sprintf("%s [%s-%s]", form(middle(x)), form(slices.Min(x)), form(slices.Max(x)))
}

// servers starts packetboat, twice (the second one neither judges what comes nor signs what goes), and Postfix with Dovecot, with OpenDKIM and without.
func (c *mailComparison) servers() []*mailRival {
	t := c.t
	var all []*mailRival
	for _, kind := range []struct {
		name string
		args []string
	}{{"packetboat", nil}, {"packetboat, neither judging nor signing", bareMail}} {
		args := append(slices.Clone(kind.args), "--set", "auth.throttle=off", "--set", "limits.per_address=0", "--set", "limits.per_account=0", "--set", "limits.total=0",
			"--set", "auth.plaintext=always", "--set", "limits.message_size=400MiB")
		b := launch(t, append(args, benchOutbound(t, c.sink)...)...)
		v := &mailRival{name: kind.name, pids: []int{b.cmd.Process.Pid}, signs: len(kind.args) == 0, mx: b.addr(25), out: b.addr(587), imap: b.addr(143), from: "bench@client.test", password: smtpPassword,
			user: func(i int) string { return fmt.Sprintf("u%d@example.test", i) }}
		for i := range smtpUsers {
			b.run(smtpPassword+"\n", "account", "add", v.user(i), "--password-stdin")
		}
		v.auth, v.own = plainAuth(v.user(0), smtpPassword), v.user(0)
		v.open(t)
		all = append(all, v)
	}
	return append(all, startMailPeer(t, c.sink, "127.0.0.14", true), startMailPeer(t, c.sink, "127.0.0.13", false))
}

// open logs in to every INBOX.
func (v *mailRival) open(t *testing.T) {
	t.Helper()
	for i := range smtpUsers {
		box, err := dialIMAP(v.imap, nil)
		if err == nil {
			err = box.login(v.user(i), v.password)
		}
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		t.Cleanup(func() { box.Close() })
		v.boxes = append(v.boxes, box)
	}
}

// startMailPeer starts Postfix before Dovecot's LMTP. With OpenDKIM it looks for signatures in what comes and signs what goes.
func startMailPeer(t *testing.T, sink *mailSink, host string, dkim bool) *mailRival {
	cert, key := selfSigned(t, openDir(t), "mx.bench.test")
	d := startDovecot(t, "maildir", "optimized", cert, key) // the default: what LMTP delivers is flushed
	_, port, _ := net.SplitHostPort(sink.addr)
	name, milters := "Postfix+Dovecot", ""
	pids := []int{d.cmd.Process.Pid}
	if dkim {
		// By a socket: over TCP its small packets wait for one another, 90 ms a message.
		dir := openDir(t)
		socket := filepath.Join(dir, "milter")
		o := startOpenDKIMAt(t, "bench.test", nil, dir, "local:"+socket)
		for end := time.Now().Add(30 * time.Second); os.Chmod(socket, 0o666) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("OpenDKIM does not listen")
			}
		}
		name, milters, pids = "Postfix+Dovecot with OpenDKIM", "unix:"+socket, append(pids, o.cmd.Process.Pid)
	}
	p := startPostfix(t, "bench.test", host, freePort(t), "smtpd_milters = "+milters,
		"mynetworks = 127.0.0.0/8", "virtual_transport = lmtp:unix:"+d.lmtp, "message_size_limit = 0", "virtual_mailbox_limit = 0", "mailbox_size_limit = 0",
		"transport_maps = inline:{ {sink.test = smtp:[127.0.0.1]:"+port+"} }", "smtpd_recipient_limit = 1000", "in_flow_delay = 0")
	master, err := strconv.Atoi(strings.TrimSpace(procFile(filepath.Join(p.dir, "queue", "pid", "master.pid"))))
	if err != nil {
		t.Fatal(err)
	}
	v := &mailRival{name: name, signs: dkim, pids: append(pids, master), imap: fmt.Sprintf("127.0.0.1:%d", d.plain), from: "bench@client.test", password: dovecotPassword,
		user: func(i int) string { return fmt.Sprintf("u%d@bench.test", i) }}
	v.mx = net.JoinHostPort(p.host, strconv.Itoa(p.port))
	v.out, v.own = v.mx, v.user(0)
	v.open(t)
	return v
}
