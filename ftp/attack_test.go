package ftp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage/vfs"
)

// What attackers do, class by class, over sockets: attack*_test.go. Costs are held in bytes, goroutines and connections, never in time.

// logBook is what a server logged.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// into makes a server log everything there.
func (l *logBook) into(o *Options) {
	o.Logger = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (h *house) addrPort() netip.AddrPort { return netip.MustParseAddrPort(h.addr) }

// mailPeer is an IMAP client on the same accounts.
type mailPeer struct {
	t    testing.TB
	conn net.Conn
	br   *bufio.Reader
	tag  int
}

// imap starts an IMAP server on the house.
func (h *house) imap() (addr string) {
	srv := imap.New(h.store, h.door, imap.Options{Recents: imap.NewRecents(), TLS: h.tls})
	return sessiontest.Serve(h.t, h.reg, session.ListenerOptions{Name: "imap", Protocol: session.IMAP, Refusal: imap.Refusal}, srv.Serve)
}

func (h *house) mail(addr string) *mailPeer {
	h.t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	m := &mailPeer{t: h.t, conn: conn, br: bufio.NewReader(conn)}
	if line, err := m.br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* OK") {
		h.t.Fatal(line, err)
	}
	return m
}

// cmd sends a command and returns everything up to its tagged answer. Each argument goes as a literal.
func (m *mailPeer) cmd(name string, literals ...string) (all, answer string) {
	m.t.Helper()
	all, answer, err := m.try(name, literals...)
	if err != nil {
		m.t.Fatalf("%s %q: %v (so far %q)", name, literals, err, all)
	}
	return all, answer
}

func (m *mailPeer) try(name string, literals ...string) (all, answer string, err error) {
	m.tag++
	tag := fmt.Sprintf("t%d ", m.tag)
	m.conn.SetDeadline(time.Now().Add(20 * time.Second))
	var b strings.Builder
	b.WriteString(tag + name)
	for _, l := range literals {
		fmt.Fprintf(&b, " {%d+}\r\n%s", len(l), l)
	}
	if _, err := fmt.Fprint(m.conn, b.String()+"\r\n"); err != nil {
		return "", "", err
	}
	for {
		line, err := m.br.ReadString('\n')
		all += line
		if err != nil {
			return all, "", err
		}
		if answer, ok := strings.CutPrefix(line, tag); ok {
			return all, answer, nil
		}
	}
}

// ok is cmd for what must succeed.
func (m *mailPeer) ok(name string, literals ...string) string {
	m.t.Helper()
	all, answer := m.cmd(name, literals...)
	if !strings.HasPrefix(answer, "OK") {
		m.t.Fatalf("%s %q: %s", name, literals, answer)
	}
	return all
}

// walk calls f for everything in a tree.
func walk(t testing.TB, tree *vfs.Tree, path string, f func(path string, i vfs.Info)) {
	t.Helper()
	for i, err := range tree.ReadDir(context.Background(), path) {
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		p := strings.TrimSuffix(path, "/") + "/" + i.Name()
		f(p, i)
		if i.IsDir() {
			walk(t, tree, p, f)
		}
	}
}
