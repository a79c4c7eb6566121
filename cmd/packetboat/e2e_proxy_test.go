//go:build e2e

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// HAProxy in front, which passes on who the clients are by headers of both versions, to control connections and passive ports; and its health checks.
func TestEndToEndHAProxy(t *testing.T) {
	b := launch(t, "--set", "proxy.listeners=imaps,ftp,ftps,passive", "--set", "proxy.trusted=127.0.0.1", "--set", "ftp.data_tls_reuse=require")
	path, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatalf("%v (make tools installs it)", err)
	}
	const front = "127.0.0.2"
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := "global\n  maxconn 500\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
	for _, l := range []struct {
		standard int
		how      string
	}{{21, "send-proxy check check-send-proxy inter 200ms"}, {990, "send-proxy-v2 check check-send-proxy inter 200ms"}, {993, "send-proxy-v2 proxy-v2-options crc32c,unique-id"}} {
		text += fmt.Sprintf("listen l%d\n  bind %s:%s\n  server boat %s %s\n", l.standard, front, b.port(l.standard), b.addr(l.standard), l.how)
	}
	text += fmt.Sprintf("listen passive\n  bind %s:%s-%s\n  server boat 127.0.0.1 send-proxy-v2\n", front, b.port(1100), b.port(1199))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	haproxy := exec.Command(path, "-f", conf, "-db")
	if err := haproxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		haproxy.Process.Signal(syscall.SIGTERM)
		haproxy.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", front+":"+b.port(21)); err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("HAProxy is not there")
		}
	}
	content := strings.Repeat("through the front end\n", 100_000)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, url := range []string{"ftp://localhost:" + b.port(21), "ftps://localhost:" + b.port(990)} {
		from := fmt.Sprintf("127.0.0.%d", 7+i)
		curl := func(args ...string) string {
			all := []string{"-sS", "--ssl-reqd", "--cacert", b.ca(), "--interface", from, "--max-time", "60", "-u", "ann@example.test:" + annPassword}
			for _, standard := range []int{21, 990} {
				all = append(all, "--connect-to", "localhost:"+b.port(standard)+":"+front+":"+b.port(standard))
			}
			return b.must("", "curl", append(all, args...)...)
		}
		for _, mode := range []string{"--ftp-pasv", "--disable-epsv"} {
			curl(mode, "-T", file, url+"/copy")
			if got := curl(mode, url+"/copy"); got != content {
				t.Errorf("%s %s: %d bytes came back", url, mode, len(got))
			}
		}
	}
	// The history knows the clients, and nothing of the checks.
	out := b.run("", "session", "history", "--json")
	for _, want := range []string{`"remote": "127.0.0.7:`, `"remote": "127.0.0.8:`, `"front": "127.0.0.1:`, `"local": "127.0.0.2:` + b.port(21)} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in the history", want)
		}
	}
	if strings.Contains(out, `"remote": "127.0.0.1:`) {
		t.Errorf("checks are in the history:\n%s", out)
	}
	if out := b.run("", "doctor", "ftp"); !strings.Contains(out, "and the passive ports expect PROXY headers") || strings.Contains(out, "FAIL") {
		t.Errorf("the doctor says\n%s", out)
	}
}
