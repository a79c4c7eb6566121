package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// rig is a door with a real store and a real registry, to which peers come from any address.
type rig struct {
	t     testing.TB
	clock *clock
	store *storage.Store
	reg   *session.Registry
	door  *Door
	log   *logged
	peers peers
	ln    net.Listener
}

// logged is what was written to the log.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// newRig makes a rig in which ann has the password "secret" and bob none; the throttle's clock stands still.
func newRig(t testing.TB, o Options, limits session.Limits) (*rig, *storage.Account) {
	t.Helper()
	return newRigOf(t, session.IMAP, o, limits)
}

// newRigOf is newRig whose sessions speak a protocol.
func newRigOf(t testing.TB, protocol session.Protocol, o Options, limits session.Limits) (*rig, *storage.Account) {
	t.Helper()
	r := &rig{t: t, clock: newClock(), log: &logged{}, peers: peers{conns: make(chan net.Conn, 1), closed: make(chan struct{})}}
	r.store = storagetest.New(t)
	r.reg = sessiontest.New(t, session.Options{Limits: limits})
	r.ln = r.reg.Listen(&r.peers, session.ListenerOptions{Name: "test", Protocol: protocol})
	t.Cleanup(func() { r.ln.Close() })
	o.Logger = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Now = r.clock.now
	r.door = New(r.store, r.reg, o)
	r.door.hash = newHasher(testCost)
	c, err := testCredentials()
	if err != nil {
		t.Fatal(err)
	}
	ann := storagetest.Account(t, r.store, "ann@example.test", c...)
	storagetest.Account(t, r.store, "bob@example.test")
	return r, ann
}

// testCost makes hashing cheap, for the race detector's sake.
var testCost = cost{memory: 256, passes: 1, threads: 1}

// testCredentials are those of the password "secret", made once.
var testCredentials = sync.OnceValues(func() ([]storage.Credential, error) { return credentials("secret", testCost) })

// peers is a listener whose connections come from wherever the test says.
type peers struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *peers) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *peers) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *peers) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 254), Port: 143} }

// peer is the server's end of a pipe that says it is a TCP connection.
type peer struct {
	net.Conn
	from net.Addr
}

func (p peer) RemoteAddr() net.Addr { return p.from }
func (p peer) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 254), Port: 143} }

// connect is a connection from addr; it ends with the test.
func (r *rig) connect(addr string) (server, client net.Conn) {
	r.t.Helper()
	client, far := net.Pipe()
	r.peers.conns <- peer{far, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 40000))}
	server, err := r.ln.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

func (r *rig) session(addr string) *session.Session {
	r.t.Helper()
	server, _ := r.connect(addr)
	return session.From(server)
}

// local is a new session from loopback, where passwords may be sent in plaintext.
func (r *rig) local() *session.Session { return r.session("127.0.0.1") }

// remote is a session from addr with TLS, of which nothing but the fact is used.
func (r *rig) remote(addr string) *session.Session {
	s := r.session(addr)
	s.SetTLS(tls.ConnectionState{Version: tls.VersionTLS13})
	return s
}

// encrypted is a session with TLS of that version, and the client's end of it.
func (r *rig) encrypted(version uint16) (*session.Session, tls.ConnectionState) {
	r.t.Helper()
	server, client := r.connect("192.0.2.1")
	sc, cc := sessiontest.TLS(r.t)
	sc.MaxVersion, cc.MaxVersion = version, version
	secured := tls.Client(client, cc)
	done := make(chan error, 1)
	go func() { done <- secured.HandshakeContext(context.Background()) }()
	_, err := session.Handshake(r.t.Context(), server, sc)
	if err2 := <-done; err != nil || err2 != nil {
		r.t.Fatalf("TLS handshake: %v, %v", err, err2)
	}
	cs := secured.ConnectionState()
	if cs.Version != version {
		r.t.Fatalf("TLS version %x", cs.Version)
	}
	return session.From(server), cs
}

// login is one attempt on a session of its own.
func (r *rig) login(s *session.Session, user, password string) error {
	r.t.Helper()
	a, err := r.door.Login(r.t.Context(), s, user, password)
	if (err == nil) != (a != nil) || (a != nil) != (s.Account().ID != 0) {
		r.t.Errorf("account %v, session's %v, error %v", a, s.Account(), err)
	}
	return err
}

func (r *rig) hashes() int64 { return r.door.hash.count.Load() }
