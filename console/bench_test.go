package console

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

// BenchmarkPolicy asks for a policy over kept connections of HTTP/2, BenchmarkHandshake over a new one each time.
func BenchmarkPolicy(b *testing.B)    { benchmark(b, false) }
func BenchmarkHandshake(b *testing.B) { benchmark(b, true) }

func benchmark(b *testing.B, fresh bool) {
	address, conf := serveTLS(b)
	t := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true, DisableKeepAlives: fresh, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}}
	b.Cleanup(t.CloseIdleConnections)
	c := &http.Client{Transport: t}
	for b.Loop() {
		resp, err := c.Get("https://mta-sts.example.test/.well-known/mta-sts.txt")
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
	}
}

// BenchmarkIdle tells what a connection holds that has asked once and waits.
func BenchmarkIdle(b *testing.B) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		b.Run(protocol, func(b *testing.B) {
			address, conf := serveTLS(b)
			conf.NextProtos = []string{protocol}
			const n = 200
			before := live()
			var conns []net.Conn
			for range n {
				c, err := tls.Dial("tcp", address, conf)
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				conns = append(conns, c)
				hello := "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
				if protocol == "h2" {
					hello = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
				}
				fmt.Fprint(c, hello)
				c.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := c.Read(make([]byte, 4096)); err != nil {
					b.Fatal(err)
				}
			}
			time.Sleep(200 * time.Millisecond)
			held := float64(live()-before) / n
			for b.Loop() {
			}
			b.ReportMetric(held, "B/conn-both-sides")
			runtime.KeepAlive(conns)
		})
	}
}

// live is what heap and stacks hold.
func live() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func serveTLS(b *testing.B) (string, *tls.Config) {
	b.Helper()
	server, client := sessiontest.TLS(b)
	s := New(Options{Name: "mail.example.test", HTTPS: 443, Services: services, Policy: Policy{Mode: Enforce, MX: []string{"mail.example.test"}, MaxAge: time.Hour},
		TLS: server, Domains: func(context.Context) ([]string, error) { return strings.Fields("example.test"), nil }})
	return sessiontest.Serve(b, sessiontest.New(b, session.Options{}), session.ListenerOptions{Name: "https", Protocol: session.HTTP, LoginTimeout: -1}, s.Serve), client
}
