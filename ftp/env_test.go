package ftp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

// house is a server with everything below it, for one test.
type house struct {
	t      testing.TB
	reg    *session.Registry
	store  *storage.Store
	fs     *vfs.FS
	door   *auth.Door
	pool   *PortPool
	ann    *storage.Account
	addr   string // explicit TLS
	tls    *tls.Config
	client *tls.Config
}

// portBase is the first of the ports that the tests of the package choose themselves, below the system's own range.
var portBase = freePorts(160)

// portMark listens on the port before, by which other runs of the tests know that these are taken.
var portMark net.Listener

// freePorts finds n ports in a row that nobody listens on.
func freePorts(n int) (first int) {
	for {
		base := 10_000 + rand.IntN(22_000/(n+1))*(n+1)
		mark, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base))
		if err == nil && allFree(base+1, n) {
			portMark = mark
			return base + 1
		}
		if err == nil {
			mark.Close()
		}
	}
}

func allFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		for _, host := range []string{"127.0.0.1", "::1"} {
			ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if errors.Is(err, syscall.EADDRINUSE) {
				return false
			}
			if err == nil {
				ln.Close()
			}
		}
	}
	return true
}

func newHouse(t testing.TB, change ...func(*Options)) *house {
	t.Helper()
	return newHouseWith(t, session.Options{Grace: 2 * time.Second}, change...)
}

func newHouseWith(t testing.TB, o session.Options, change ...func(*Options)) *house {
	t.Helper()
	return newHouseOn(t, storagetest.New(t), o, change...)
}

func newHouseOn(t testing.TB, store *storage.Store, o session.Options, change ...func(*Options)) *house {
	t.Helper()
	h := &house{t: t, reg: sessiontest.New(t, o), store: store}
	creds, err := auth.Credentials("secret")
	if err != nil {
		t.Fatal(err)
	}
	h.ann = storagetest.Account(t, h.store, "ann@example.test", creds...)
	h.fs = vfs.New(h.store, vfs.Options{})
	h.door = auth.New(h.store, h.reg, auth.Options{NoThrottle: true})
	h.tls, h.client = sessiontest.TLS(t)
	h.pool = NewPortPool([]string{"127.0.0.1", "::1"}, portBase, portBase+99)
	t.Cleanup(func() { h.pool.Close() })
	h.addr = h.listen(change...)
	return h
}

// listen starts a further server on the same house.
func (h *house) listen(change ...func(*Options)) string {
	o := Options{TLS: h.tls, PassivePorts: h.pool, ConnectTimeout: 3 * time.Second, Name: "files.example.test", Domains: h.domains}
	for _, c := range change {
		c(&o)
	}
	srv := New(h.fs, h.door, o)
	return sessiontest.Serve(h.t, h.reg, session.ListenerOptions{Name: "ftp", Protocol: session.FTP, Refusal: Refusal}, srv.Serve)
}

// listenIdle is listen with sessions that end when nothing happens for so long.
func (h *house) listenIdle(idle time.Duration) string {
	srv := New(h.fs, h.door, Options{TLS: h.tls, PassivePorts: h.pool})
	return sessiontest.Serve(h.t, h.reg, session.ListenerOptions{Name: "ftp", Protocol: session.FTP, Refusal: Refusal, IdleTimeout: idle}, srv.Serve)
}

// domains are those of the store.
func (h *house) domains(ctx context.Context) ([]string, error) {
	all, err := h.store.Domains(ctx)
	var names []string
	for _, d := range all {
		names = append(names, d.Name)
	}
	return names, err
}

// put makes a file for ann.
func (h *house) put(path, content string) {
	h.t.Helper()
	tree := h.fs.Tree(h.ann)
	modified := time.Date(2024, 2, 29, 12, 34, 56, 0, time.UTC)
	w, err := tree.Create(context.Background(), path, vfs.CreateOptions{Expect: -1, Modified: modified})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		h.t.Fatal(err)
	}
	if _, err := w.Commit(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

// part leaves what a cut upload of ann's leaves.
func (h *house) part(path, content string) {
	h.t.Helper()
	w, err := h.fs.Tree(h.ann).Create(context.Background(), path, vfs.CreateOptions{Expect: -1})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		h.t.Fatal(err)
	}
	if err := w.Abort(context.Background(), true); err != nil {
		h.t.Fatal(err)
	}
}

// get is the content of a file of ann's, "" and false when there is none.
func (h *house) get(path string) (string, bool) {
	h.t.Helper()
	f, err := h.fs.Tree(h.ann).Open(context.Background(), path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b), true
}

// peer is an FTP client that fails the test when an answer is not what it expects.
type peer struct {
	t    testing.TB
	raw  *net.TCPConn
	conn net.Conn
	br   *bufio.Reader
	tls  *tls.Config // with a session cache, once secure
	prot bool
}

func (h *house) dial() *peer { return h.dialAt(h.addr) }

func (h *house) dialAt(addr string) *peer {
	h.t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		h.t.Fatal(err)
	}
	p := &peer{t: h.t, raw: conn.(*net.TCPConn), conn: conn, br: bufio.NewReader(conn)}
	h.t.Cleanup(func() { conn.Close() })
	p.expect(220)
	return p
}

func (h *house) login() *peer {
	h.t.Helper()
	p := h.dial()
	p.cmd(331, "USER ann@example.test")
	p.cmd(230, "PASS secret")
	p.cmd(200, "TYPE I")
	return p
}

// secure does AUTH TLS; version 0 means any.
func (h *house) secure(p *peer, version uint16) {
	h.t.Helper()
	p.cmd(234, "AUTH TLS")
	p.tls = h.client.Clone()
	p.tls.MaxVersion = version
	p.tls.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	conn := tls.Client(p.raw, p.tls)
	if err := conn.Handshake(); err != nil {
		h.t.Fatal(err)
	}
	p.conn, p.br = conn, bufio.NewReader(conn)
}

func (h *house) secureLogin(version uint16) *peer {
	h.t.Helper()
	p := h.dial()
	h.secure(p, version)
	p.cmd(331, "USER ann@example.test")
	p.cmd(230, "PASS secret")
	p.cmd(200, "PBSZ 0")
	p.cmd(200, "PROT P")
	p.cmd(200, "TYPE I")
	p.prot = true
	return p
}

// reply reads one reply.
func (p *peer) reply() (int, string) {
	p.t.Helper()
	code, text, err := p.tryReply()
	if err != nil {
		p.t.Fatalf("reply: %v (so far %q)", err, text)
	}
	return code, text
}

func (p *peer) tryReply() (int, string, error) {
	p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var all strings.Builder
	for {
		line, err := p.br.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			return 0, all.String(), err
		}
		if len(line) > 3 && line[3] == ' ' && line[0] != ' ' {
			code, err := strconv.Atoi(line[:3])
			return code, all.String(), err
		}
	}
}

func (p *peer) expect(code int) string {
	p.t.Helper()
	got, text := p.reply()
	if got != code {
		p.t.Fatalf("want %d, got %q", code, text)
	}
	return text
}

func (p *peer) send(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.conn, format+"\r\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) cmd(code int, format string, args ...any) string {
	p.t.Helper()
	p.send(format, args...)
	got, text := p.reply()
	if got != code {
		p.t.Fatalf("%s: want %d, got %q", fmt.Sprintf(format, args...), code, text)
	}
	return text
}

// epsv is the port of a new passive data connection.
func (p *peer) epsv() netip.AddrPort {
	p.t.Helper()
	text := p.cmd(229, "EPSV")
	var port uint16
	if _, err := fmt.Sscanf(text[strings.Index(text, "(|||"):], "(|||%d|)", &port); err != nil {
		p.t.Fatal(err)
	}
	return netip.AddrPortFrom(p.raw.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(), port)
}

// open starts a transfer and returns its data connection, with TLS when PROT P was sent.
func (p *peer) open(format string, args ...any) net.Conn {
	p.t.Helper()
	addr := p.epsv()
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	p.cmd(150, format, args...)
	if !p.prot {
		return conn
	}
	tc := tls.Client(conn, p.tls)
	if err := tc.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	return tc
}

// retr runs a command that sends something here.
func (p *peer) retr(format string, args ...any) string {
	p.t.Helper()
	conn := p.open(format, args...)
	b, err := io.ReadAll(conn)
	if err != nil {
		p.t.Fatal(err)
	}
	conn.Close()
	p.expect(226)
	return string(b)
}

// stor uploads content and returns the code of the last reply.
func (p *peer) stor(content, format string, args ...any) int {
	p.t.Helper()
	conn := p.open(format, args...)
	if _, err := io.WriteString(conn, content); err != nil {
		p.t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		p.t.Fatal(err)
	}
	code, _ := p.reply()
	return code
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}
