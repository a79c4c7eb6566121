//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The end-to-end suite starts the real binary on ports of its own and drives it with real
// clients. A client that is missing fails the run: make tools installs them.

// binary is the program under test: that of PACKETBOAT_BINARY, or built once by TestMain.
var binary = os.Getenv("PACKETBOAT_BINARY")

func TestMain(m *testing.M) {
	// No test asks the DNS of the machine it runs on: port 1 of loopback refuses. Who needs a DNS gives its own: --set dns.servers=...
	os.Setenv("PACKETBOAT_DNS_SERVERS", "127.0.0.1:1")
	if binary != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "packetboat-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "packetboat")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building packetboat:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// boat is a running packetboat.
type boat struct {
	t    *testing.T
	data string
	host string // where it listens; "" for 127.0.0.1
	base int
	args []string

	cmd    *exec.Cmd
	stdout *output
	stderr *output
	exited chan struct{}
	code   error
}

const (
	annPassword = "ann's secret 1"
	joePassword = "joe's secret 2"
)

// launch starts a packetboat on a new data folder, with the accounts ann and joe.
func launch(t *testing.T, args ...string) *boat {
	t.Helper()
	b := &boat{t: t, data: filepath.Join(t.TempDir(), "data"), base: freeBase(t), args: args}
	b.start()
	t.Cleanup(b.stop)
	b.run(annPassword+"\n", "account", "add", "ann@example.test", "--password-stdin")
	b.run(joePassword+"\n", "account", "add", "joe@example.test", "--password-stdin")
	return b
}

// start starts it (again) and waits for its ready line.
func (b *boat) start() {
	b.t.Helper()
	args := append([]string{"serve", "--data", b.data, "--base-port", strconv.Itoa(b.base), "--domain", "example.test"}, b.args...)
	b.cmd = exec.Command(binary, args...)
	b.stdout, b.stderr = &output{wake: make(chan struct{}, 1)}, &output{wake: make(chan struct{}, 1)}
	b.cmd.Stdout, b.cmd.Stderr = b.stdout, b.stderr
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		b.code = cmd.Wait()
		close(exited)
	}(b.cmd, b.exited)
	deadline := time.After(20 * time.Second)
	for !strings.Contains(b.stdout.String(), "packetboat: ready\n") {
		select {
		case <-b.stdout.wake:
		case <-b.exited:
			b.t.Fatalf("packetboat ended: %v\n%s%s", b.code, b.stdout, b.stderr)
		case <-deadline:
			b.t.Fatalf("packetboat is not ready\n%s%s", b.stdout, b.stderr)
		}
	}
}

// stop ends it with SIGTERM; an exit code other than 0 is an error.
func (b *boat) stop() {
	select {
	case <-b.exited:
		return
	default:
	}
	b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
		if b.code != nil {
			b.t.Errorf("packetboat ended with %v\n%s", b.code, b.stderr)
		}
	case <-time.After(40 * time.Second):
		b.kill()
		b.t.Errorf("packetboat did not end on SIGTERM\n%s", b.stderr)
	}
	if b.t.Failed() {
		b.t.Logf("log of packetboat:\n%s", b.stderr)
	}
}

// kill is kill -9.
func (b *boat) kill() {
	b.cmd.Process.Kill()
	<-b.exited
}

// run runs a verb and returns what it printed; it must succeed.
func (b *boat) run(stdin string, args ...string) string {
	b.t.Helper()
	out, err := b.try(stdin, args...)
	if err != nil {
		b.t.Fatalf("packetboat %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (b *boat) try(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, binary, append(args, "--data", b.data)...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

// json runs a verb with --json into v.
func (b *boat) json(v any, args ...string) {
	b.t.Helper()
	out := b.run("", append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		b.t.Fatalf("packetboat %s --json: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (b *boat) port(standard int) string { return strconv.Itoa(b.base + standard) }
func (b *boat) addr(standard int) string {
	return net.JoinHostPort(cmp.Or(b.host, "127.0.0.1"), b.port(standard))
}
func (b *boat) ca() string { return filepath.Join(b.data, "tls", "ca.pem") }

// tls trusts the boat's CA.
func (b *boat) tls() *tls.Config {
	text, err := os.ReadFile(b.ca())
	if err != nil {
		b.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		b.t.Fatal("ca.pem holds no certificate")
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(8)}
}

// client runs a client program with what its environment and standard input shall be; it returns its output.
func (b *boat) client(stdin string, name string, args ...string) (string, error) {
	b.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		b.t.Fatalf("%s is not installed: run make tools", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	home := filepath.Join(b.t.TempDir())
	c.Env = append(os.Environ(), "HOME="+home, "LC_ALL=C.UTF-8", "SSL_CERT_FILE="+b.ca())
	c.Dir = home
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

// must is client for what must succeed.
func (b *boat) must(stdin string, name string, args ...string) string {
	b.t.Helper()
	out, err := b.client(stdin, name, args...)
	if err != nil {
		b.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// freeBase finds a base port whose ports nobody uses, below the range of outgoing connections.
func freeBase(t *testing.T) int {
	t.Helper()
	lastBase.Lock()
	defer lastBase.Unlock()
	for range 40 {
		lastBase.n += 1200
		if lastBase.n+1200 > 28000 { // the highest port by the book is 4190
			lastBase.n = 11000
		}
		free := true
		for _, p := range []int{25, 587, 465, 143, 993, 21, 990, 80, 443, 1100, 1110, 1150, 1199} {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lastBase.n+p))
			if err != nil {
				free = false
				break
			}
			ln.Close()
		}
		if free {
			return lastBase.n
		}
	}
	t.Fatal("no free range of ports")
	return 0
}

var lastBase = struct {
	sync.Mutex
	n int
}{n: 11000 + os.Getpid()%8*1200}

// output collects what a program prints.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	wake chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// line is a protocol connection for tests that speak by hand.
type line struct {
	net.Conn
	r *bufio.Reader
}

func (b *boat) dial(standard int) *line {
	b.t.Helper()
	c, err := net.DialTimeout("tcp", b.addr(standard), 5*time.Second)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return &line{c, bufio.NewReader(c)}
}

func (b *boat) dialTLS(standard int) *line {
	b.t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", b.addr(standard), b.tls())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return &line{c, bufio.NewReader(c)}
}

// tlsState of a connection made by dialTLS.
func tlsState(l *line) tls.ConnectionState { return l.Conn.(*tls.Conn).ConnectionState() }

// until sends s (unless empty) and reads lines until one begins with one of ends; it returns all of them.
func (l *line) until(s string, ends ...string) (string, error) {
	l.SetDeadline(time.Now().Add(20 * time.Second))
	if s != "" {
		if _, err := io.WriteString(l, s+"\r\n"); err != nil {
			return "", err
		}
	}
	var all strings.Builder
	for {
		text, err := l.r.ReadString('\n')
		all.WriteString(text)
		if err != nil {
			return all.String(), fmt.Errorf("waiting for %q: %w", ends, err)
		}
		for _, e := range ends {
			if strings.HasPrefix(text, e) {
				return all.String(), nil
			}
		}
	}
}
