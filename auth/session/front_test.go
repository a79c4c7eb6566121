package session

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var loopbackOnly = FrontEnds{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")}

// front serves what comes behind front ends, each with its session's addresses in a line.
func front(t *testing.T, r *Registry, log *slog.Logger) net.Addr {
	t.Helper()
	below, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := r.Listen(Fronted(below, loopbackOnly, log), ListenerOptions{Name: "ftp", Protocol: FTP, Refusal: func(reason string) []byte {
		return []byte("421 " + reason + "\r\n")
	}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			i := From(c).Info()
			io.WriteString(c, i.Remote+" "+i.Local+" "+From(c).Remote().String()+" "+c.RemoteAddr().String()+"\r\n")
			t.Cleanup(func() { c.Close() })
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return below.Addr()
}

// say connects from an address of this host, sends and returns what comes back.
func say(t *testing.T, to net.Addr, from, text string) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp4", net.JoinHostPort("127.0.0.1", port(to)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	io.WriteString(c, text)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 200)
	n, err := io.ReadAtLeast(c, b, 2)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b[:n]))
}

func port(a net.Addr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

func TestFronted(t *testing.T) {
	r := New(Options{Limits: Limits{PerAddress: 2}})
	var log bytes.Buffer
	addr := front(t, r, slog.New(slog.NewTextHandler(&log, nil)))
	const ann = "PROXY TCP4 192.0.2.7 203.0.113.1 40000 21\r\n"
	want := "192.0.2.7:40000 203.0.113.1:21 192.0.2.7:40000 192.0.2.7:40000"
	for range 2 {
		if got := say(t, addr, "127.0.0.1", ann); got != want {
			t.Errorf("got %q", got)
		}
	}
	// Limits are the client's and not the front end's.
	if got := say(t, addr, "127.0.0.1", ann); got != "421 too many sessions from your address (limit 2, limits.per_address)" {
		t.Errorf("over the limit: %q", got)
	}
	if got := say(t, addr, "127.0.0.1", strings.Replace(ann, "192.0.2.7", "192.0.2.8", 1)); !strings.HasPrefix(got, "192.0.2.8:40000 ") {
		t.Errorf("another client: %q", got)
	}
	for _, i := range r.List() {
		if !strings.HasPrefix(i.Front, "127.0.0.1:") {
			t.Errorf("front %q", i.Front)
		}
	}
	// A health check is the front end's own.
	if got := say(t, addr, "127.0.0.1", string(proxy2(0x20, 0))); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("health check: %q", got)
	}
	// Somebody who speaks past the front end, with a header and without, and a front end that forgets it.
	for _, text := range []string{ann, "USER ann\r\n"} {
		if got := say(t, addr, "127.0.0.2", text); got != "" {
			t.Errorf("stranger: %q", got)
		}
	}
	if got := say(t, addr, "127.0.0.1", "USER ann@example.test\r\n"); got != "" {
		t.Errorf("no header: %q", got)
	}
}

// The health checks of front ends, of which there is one every few seconds, do not fill the history.
func TestFrontedHistory(t *testing.T) {
	told := make(chan Info, 10)
	r := New(Options{History: func(i Info) { told <- i }})
	addr := front(t, r, nil)
	for _, header := range []string{string(proxy2(0x20, 0)), "PROXY UNKNOWN\r\n", "PROXY TCP4 127.0.0.1 127.0.0.1 40000 21\r\n", "PROXY TCP4 192.0.2.7 203.0.113.1 40000 21\r\n"} {
		if got := say(t, addr, "127.0.0.1", header); got == "" {
			t.Error("not served")
		}
	}
	for _, s := range r.all() {
		s.conn.Close()
	}
	r.Wait()
	if i := <-told; i.Remote != "192.0.2.7:40000" || len(told) > 0 {
		t.Errorf("told of %+v and %d others", i, len(told))
	}
}

// A front end that says nothing holds nobody up, and many that say nothing are closed.
func TestFrontedSilence(t *testing.T) {
	r := New(Options{})
	addr := front(t, r, nil)
	silent, err := net.Dial("tcp4", "127.0.0.1:"+port(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if got := say(t, addr, "127.0.0.1", "PROXY UNKNOWN\r\n"); got == "" {
		t.Error("not served beside a silent one")
	}
	var more []net.Conn
	for range maxFronted + 1 {
		c, err := net.Dial("tcp4", "127.0.0.1:"+port(addr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		more = append(more, c)
	}
	last := more[len(more)-1]
	last.SetReadDeadline(time.Now().Add(proxyTime / 2))
	if _, err := last.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one too many: %v", err)
	}
	silent.SetReadDeadline(time.Now().Add(2 * proxyTime))
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the silent one: %v", err)
	}
}

// Close ends what is being read, at once.
func TestFrontedClose(t *testing.T) {
	below, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := Fronted(below, loopbackOnly, nil)
	accepted := make(chan error, 1)
	go func() { _, err := ln.Accept(); accepted <- err }()
	c, err := net.Dial("tcp4", below.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "PROXY")
	for reading := false; !reading; time.Sleep(time.Millisecond) {
		f := ln.(*fronted)
		f.mu.Lock()
		reading = len(f.waiting) == 1
		f.mu.Unlock()
	}
	start := time.Now()
	ln.Close()
	if took := time.Since(start); took > proxyTime/2 {
		t.Errorf("it took %v", took)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// A client on a front end's own machine is not on this one.
func TestFrontedLoopback(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go io.WriteString(client, "PROXY TCP4 127.0.0.1 127.0.0.1 40000 21\r\n")
	from, to, err := ReadProxy(afar{server})
	if err != nil || from.IsValid() || to.IsValid() {
		t.Errorf("%v %v %v", from, to, err)
	}
}

// afar is a connection from another machine.
type afar struct{ net.Conn }

func (afar) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 7} }
