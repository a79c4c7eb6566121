//go:build bench

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ftpRival is a server of the comparison with a folder that lasts from step to step.
type ftpRival struct {
	Name string // in the table
	Kind string // packetboat, vsftpd, pureftpd, proftpd
	Dir  string
	Args []string // of packetboat serve
}

func (v *ftpRival) ours() bool { return v.Kind == "packetboat" }

// ftpStep is what one server is asked to do once. It runs in a process of its own (TestFTPStep), in a network namespace of its own: thousands of
// data connections in TIME_WAIT would slow down whoever comes next.
type ftpStep struct {
	Kind     string // login, small, large, list, idle, fill
	Command  string // STOR, RETR; MLSD, LIST, NLST
	Secure   bool
	Sessions int
	Count    int   // files, logins, entries of the folder, idle sessions
	Size     int64 // bytes a file
	Folder   string
	Settle   time.Duration // before the memory of idle sessions is looked at
	Rival    *ftpRival
}

// ftpResult is what a step measured.
type ftpResult struct {
	Units   int           // files, logins, entries
	Bytes   int64         // that moved
	Took    time.Duration // until all was done
	CPU     time.Duration // of the server's processes
	Memory  int64         // that idle sessions took, bytes, proportional
	Whole   int64         // that the server has with them
	Failure string
}

// ftpRow is a line of a table.
type ftpRow struct {
	name, goal string
	lower      bool                 // less is better
	cells      map[string][]float64 // by the rival's name
}

type ftpComparison struct {
	t      *testing.T
	rivals []*ftpRival
	rates  []*ftpRow
	costs  []*ftpRow
	passes int
	quick  bool
	turn   int
}

func ftpRowOf(rows *[]*ftpRow, name, goal string, lower bool) *ftpRow {
	for _, r := range *rows {
		if r.name == name {
			return r
		}
	}
	r := &ftpRow{name: name, goal: goal, lower: lower, cells: map[string][]float64{}}
	*rows = append(*rows, r)
	return r
}

func (r *ftpRow) add(v *ftpRival, x float64) { r.cells[v.Name] = append(r.cells[v.Name], x) }

// do runs a step on one server.
func (c *ftpComparison) do(v *ftpRival, s ftpStep) ftpResult {
	c.t.Helper()
	syscall.Sync() // or one server's step would wait for what another one's left to be written
	s.Rival = v
	text, err := json.Marshal(s)
	if err != nil {
		c.t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	defer read.Close()
	cmd := exec.Command(program, "-test.run=^TestFTPStep$", "-test.timeout=20m")
	cmd.Env = append(os.Environ(), "BENCH_FTP_STEP="+string(text), "PACKETBOAT_BINARY="+binary)
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
	out := &output{wake: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	write.Close()
	var r ftpResult
	decoded := json.NewDecoder(read).Decode(&r)
	if err := cmd.Wait(); err != nil || decoded != nil || r.Failure != "" {
		c.t.Errorf("%s, %s: %v %v %s\n%s", v.Name, text, err, decoded, r.Failure, out)
	}
	return r
}

// each runs a step on the servers in turns, beginning with another one each time. which are left out: nil for none.
func (c *ftpComparison) each(s ftpStep, skip func(*ftpRival) bool, told func(*ftpRival, ftpResult)) {
	c.t.Helper()
	c.turn++
	for i := range c.rivals {
		v := c.rivals[(i+c.turn)%len(c.rivals)]
		if skip != nil && skip(v) {
			continue
		}
		if r := c.do(v, s); r.Failure == "" && r.Took > 0 {
			told(v, r)
		}
	}
}

// lax leaves out the second packetboat, of which only uploads differ.
func lax(v *ftpRival) bool { return v.Name == laxName }

const (
	laxName = "not durable"

	goalBest = "0.95 of the best"
)

func tlsName(secure bool) string {
	if secure {
		return ", TLS"
	}
	return ""
}

func sessionsName(n int) string {
	if n == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", n)
}

// large moves 1 GiB, over one session or in parts over several.
func (c *ftpComparison) large(total int64) {
	for _, secure := range []bool{false, true} {
		for _, sessions := range []int{1, 8} {
			for _, command := range []string{"STOR", "RETR"} {
				skip := lax
				if command == "STOR" {
					skip = nil
				}
				name := fmt.Sprintf("%s %d MiB, %s%s", ftpVerb(command), total>>20, sessionsName(sessions), tlsName(secure))
				c.each(ftpStep{Kind: "large", Command: command, Secure: secure, Sessions: sessions, Size: total / int64(sessions)}, skip, func(v *ftpRival, r ftpResult) {
					ftpRowOf(&c.rates, name+", MB/s", goalBest, false).add(v, float64(r.Bytes)/1e6/r.Took.Seconds())
					ftpRowOf(&c.costs, name+", CPU s a GiB", "", true).add(v, r.CPU.Seconds()*float64(1<<30)/float64(r.Bytes))
				})
			}
		}
	}
}

func ftpVerb(command string) string {
	if command == "STOR" {
		return "upload"
	}
	return "download"
}

// small moves many files.
func (c *ftpComparison) small(files int) {
	type plan struct {
		size     int64
		secure   bool
		sessions int
		files    int
	}
	var plans []plan
	for _, size := range []int64{4 << 10, 64 << 10} {
		plans = append(plans, plan{size, false, 1, files / 5}, plan{size, false, 8, files}, plan{size, false, 16, files}, plan{size, true, 16, files / 5})
	}
	for _, p := range plans {
		for _, command := range []string{"STOR", "RETR"} {
			skip, goal := lax, ""
			if command == "STOR" {
				skip = nil
			}
			if p.size == 4<<10 && p.sessions == 16 && !p.secure {
				goal = map[string]string{"STOR": "1 of the best", "RETR": "1 of vsftpd, near Pure-FTPd"}[command]
			}
			name := fmt.Sprintf("%s %d files of %d KiB, %s%s", ftpVerb(command), p.files, p.size>>10, sessionsName(p.sessions), tlsName(p.secure))
			s := ftpStep{Kind: "small", Command: command, Secure: p.secure, Sessions: p.sessions, Count: p.files, Size: p.size, Folder: "small"}
			c.each(s, skip, func(v *ftpRival, r ftpResult) {
				ftpRowOf(&c.rates, name+", files/s", goal, false).add(v, float64(r.Units)/r.Took.Seconds())
				ftpRowOf(&c.costs, name+", CPU ms a file", "", true).add(v, r.CPU.Seconds()*1000/float64(r.Units))
			})
		}
	}
}

// lists lists folders of empty files.
func (c *ftpComparison) lists(sizes []int) {
	for _, n := range sizes {
		for _, secure := range []bool{false, true} {
			for _, command := range []string{"MLSD", "LIST", "NLST"} {
				goal := ""
				if command == "MLSD" {
					goal = map[bool]string{false: "1 of Pure-FTPd", true: "1 of ProFTPD"}[secure]
				}
				name := fmt.Sprintf("%s of %d entries%s, entries/s", command, n, tlsName(secure))
				s := ftpStep{Kind: "list", Command: command, Secure: secure, Sessions: 1, Count: n, Folder: listFolder(n)}
				skip := func(v *ftpRival) bool { return lax(v) || v.Kind == "vsftpd" && command == "MLSD" }
				c.each(s, skip, func(v *ftpRival, r ftpResult) {
					ftpRowOf(&c.rates, name, goal, false).add(v, float64(r.Units)/r.Took.Seconds())
				})
			}
		}
	}
}

func listFolder(n int) string { return fmt.Sprintf("list%d", n) }

func (c *ftpComparison) logins() {
	for _, secure := range []bool{false, true} {
		for _, sessions := range []int{1, 16} {
			name := fmt.Sprintf("logins, %d at a time%s, a second", sessions, tlsName(secure))
			c.turn++
			for i := range c.rivals {
				v := c.rivals[(i+c.turn)%len(c.rivals)]
				if lax(v) {
					continue
				}
				n := 64 // they hash the password anew each time
				if v.ours() {
					n = 2000
				}
				if r := c.do(v, ftpStep{Kind: "login", Secure: secure, Sessions: sessions, Count: n}); r.Took > 0 {
					ftpRowOf(&c.rates, name, "", false).add(v, float64(r.Units)/r.Took.Seconds())
					ftpRowOf(&c.costs, fmt.Sprintf("logins, %d at a time%s, CPU ms each", sessions, tlsName(secure)), "", true).add(v, r.CPU.Seconds()*1000/float64(r.Units))
				}
			}
		}
	}
}

// idle is measured once: of packetboat with 2,000 sessions, of the others, which start processes for each, with a quarter of them.
func (c *ftpComparison) idle(n int) {
	for _, secure := range []bool{false, true} {
		for _, v := range c.rivals {
			if lax(v) {
				continue
			}
			s := ftpStep{Kind: "idle", Secure: secure, Count: n / 4, Settle: 3 * time.Second}
			if v.ours() {
				s.Count, s.Settle = n, 60*time.Second // until garbage is collected and stacks are given back
			}
			if c.quick {
				s.Settle = min(s.Settle, 40*time.Second)
			}
			if r := c.do(v, s); r.Units > 0 {
				ftpRowOf(&c.costs, "memory that an idle session adds"+tlsName(secure)+", KiB (PSS)", "", true).add(v, float64(r.Memory)/1024/float64(r.Units))
				ftpRowOf(&c.costs, "the whole server by its idle sessions"+tlsName(secure)+", KiB (PSS)", "", true).add(v, float64(r.Whole)/1024/float64(r.Units))
			}
		}
	}
}

// table is Markdown. The ratio is that of packetboat to the best peer, above 1 when it is better; behind it that of the one that is not durable.
func (c *ftpComparison) table(rows []*ftpRow) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, v := range c.rivals {
		b.WriteString(" " + v.Name + " |")
	}
	b.WriteString(" ratio to the best peer | goal |\n|---|" + strings.Repeat("---|", len(c.rivals)+2) + "\n")
	for _, r := range rows {
		b.WriteString("| " + r.name + " |")
		best := math.NaN()
		for _, v := range c.rivals {
			b.WriteString(" " + cell(r.cells[v.Name]) + " |")
			if m := median(r.cells[v.Name]); !v.ours() && !math.IsNaN(m) && (math.IsNaN(best) || r.lower == (m < best)) {
				best = m
			}
		}
		var ratios []string
		for _, v := range c.rivals {
			if x := median(r.cells[v.Name]); v.ours() && !math.IsNaN(x) {
				if x /= best; r.lower {
					x = 1 / x
				}
				ratios = append(ratios, short(x))
			}
		}
		fmt.Fprintf(&b, " %s | %s |\n", strings.Join(ratios, " / "), r.goal)
	}
	return b.String()
}

// TestBenchFTP compares packetboat with Debian's vsftpd, Pure-FTPd and ProFTPD, side by side in one run: make bench-ftp. BENCH_PASSES is how often each
// step is measured, BENCH_QUICK=1 a short run with smaller counts, BENCH_ROWS a comma-separated choice of large, small, lists, logins, idle, and
// BENCH_SERVERS one of packetboat, lax, vsftpd, pureftpd, proftpd. It judges nothing but that every byte is right.
func TestBenchFTP(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("the servers are started with users and network namespaces of their own, which needs root")
	}
	c := &ftpComparison{t: t, quick: os.Getenv("BENCH_QUICK") != ""}
	total, files, lists, idle, passes := int64(1<<30), 10_000, []int{10_000, 100_000}, 2000, 3
	if c.quick {
		total, files, lists, passes = 256<<20, 2000, []int{10_000}, 1
	}
	c.passes = fromEnv(t, "BENCH_PASSES", passes)
	rows := strings.Split("large,small,lists,logins,idle", ",")
	if s := os.Getenv("BENCH_ROWS"); s != "" {
		rows = strings.Split(s, ",")
	}
	c.prepare(strings.Split(cmp.Or(os.Getenv("BENCH_SERVERS"), "packetboat,lax,vsftpd,pureftpd,proftpd"), ","))
	if slices.Contains(rows, "lists") {
		c.fill(lists)
	}
	start := time.Now()
	for i := range c.passes {
		t.Logf("pass %d of %d, load %s, %v", i+1, c.passes, strings.Join(strings.Fields(procFile("/proc/loadavg"))[:3], " "), time.Since(start).Round(time.Second))
		for _, step := range []struct {
			name string
			run  func()
		}{{"large", func() { c.large(total) }}, {"small", func() { c.small(files) }}, {"lists", func() { c.lists(lists) }}, {"logins", c.logins}} {
			if slices.Contains(rows, step.name) {
				step.run()
			}
		}
	}
	if slices.Contains(rows, "idle") {
		c.idle(idle)
	}
	t.Logf("passes: %d, took %v, load %s\npacketboat's uploads are on disk (fsync) when they are answered; those of the column %q, and of all others, are not.\n"+
		"Ratios are packetboat's, then that column's. Of idle sessions packetboat has %d, the others %d. Large is %d MiB; of two passes the median is the higher.\n\n%s\n%s",
		c.passes, time.Since(start).Round(time.Second), strings.TrimSpace(procFile("/proc/loadavg")), laxName, idle, idle/4, total>>20, c.table(c.rates), c.table(c.costs))
}

// prepare makes the servers' folders.
func (c *ftpComparison) prepare(servers []string) {
	args := []string{"--set", "auth.throttle=off", "--set", "limits.per_address=0", "--set", "limits.per_account=0", "--set", "limits.total=0"}
	for _, name := range []string{"packetboat", laxName} {
		if !slices.Contains(servers, name) && !(name == laxName && slices.Contains(servers, "lax")) {
			continue
		}
		b := launch(c.t)
		b.stop()
		v := &ftpRival{Name: name, Kind: "packetboat", Dir: b.data, Args: args}
		if name == laxName {
			v.Args = append(slices.Clip(args), "--set", "ftp.durable=off")
		}
		c.rivals = append(c.rivals, v)
	}
	for _, kind := range []string{"vsftpd", "pureftpd", "proftpd"} {
		if !slices.Contains(servers, kind) {
			continue
		}
		dir := c.t.TempDir()
		for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) { // the account must get through to its home
			os.Chmod(d, 0o755)
		}
		v := &ftpRival{Name: map[string]string{"vsftpd": "vsftpd", "pureftpd": "Pure-FTPd", "proftpd": "ProFTPD"}[kind], Kind: kind, Dir: dir}
		if err := v.makePeer(); err != nil {
			c.t.Fatal(err)
		}
		c.rivals = append(c.rivals, v)
	}
}

// fill makes the folders that are listed: of empty files.
func (c *ftpComparison) fill(sizes []int) {
	for _, n := range sizes {
		for _, v := range c.rivals {
			if lax(v) {
				continue
			}
			start := time.Now()
			if v.ours() {
				c.do(v, ftpStep{Kind: "fill", Sessions: 64, Count: n, Folder: listFolder(n)})
			} else if err := v.fillPeer(listFolder(n), n); err != nil {
				c.t.Fatal(err)
			}
			c.t.Logf("%s: folder of %d made in %v", v.Name, n, time.Since(start).Round(time.Second))
		}
	}
}
