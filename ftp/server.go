package ftp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage/vfs"
)

// PublicAddress is what PASV tells IPv4 clients in For: the address of a NAT or container host.
type PublicAddress struct {
	For     netip.Prefix // the client's network; the zero Prefix is every client but one on this host
	Address netip.Addr   // IPv4; the zero Addr is the one that the client connected to
}

// Options of a Server; the zero value is usable and serves passive transfers on ports that the system chooses.
type Options struct {
	Name string // in the greeting; "" means "packetboat"
	// TLS is nil for no AUTH TLS. Its GetConfigForClient, if there is one, is asked for each session before the client said anything. When it asks
	// clients for certificates, USER is enough for who shows one of the account's (232, RFC 2228 section 3).
	TLS         *tls.Config
	ImplicitTLS bool // TLS from the first byte

	PassivePorts    *PortPool       // shared by the servers of one host; nil: a pool of the server's own over 1024 to 65535
	PublicAddresses []PublicAddress // the first that fits; none: the address of the control connection
	NoActiveMode    bool            // PORT and EPRT are refused
	OwnPorts        []int           // of this host, beside PassivePorts, that active mode must not connect to: where other servers of the process listen

	// Anonymous is the account whose tree those see who log in as anonymous or ftp; "": nobody does. AnonymousSessions is how many of them there may be
	// at a time; 0: as many as an account may have.
	Anonymous         string
	AnonymousSessions int

	DataTLSReuse   Reuse       // "" means prefer
	ReuseRules     []ReuseRule // exceptions from it; the first that fits
	RequireDataTLS bool        // transfers without PROT P are refused (521, RFC 4217 section 9)
	// LaxDataEnd takes a TLS data connection that ends without close_notify as plain ones are taken: whole, when the
	// control connection is alive. For clients that never send it.
	LaxDataEnd bool

	// PlainGrace is how long at least, from the end of an upload in the clear, the control connection must be alive for the upload to count as
	// whole; 0: 1 ms, negative: none. It is a quarter of the upload's time when that is more, up to 20 ms. Making large files durable takes longer
	// anyway.
	PlainGrace time.Duration

	Rates *Rates // how fast transfers may be; nil: as fast as they can

	// Relaxed answers 226 before an upload is on disk, as other servers do: it survives the end of the program, but not always that of the machine.
	Relaxed bool

	ConnectTimeout time.Duration // until a data connection is there and its TLS handshake done; 0: 30 s
	StallTimeout   time.Duration // a transfer in which no byte moves; 0: 2 min
	Logger         *slog.Logger  // nil: discard

	// RestoreFolder begins a login in the folder where the client's last session ended, and says so in the 230.
	RestoreFolder bool
	// ConvertASCII has transfers of files in TYPE A convert line ends: CR LF on the wire, LF in files. SIZE, REST and RANG are refused in it then.
	ConvertASCII bool
	// Domains are the names, beside Name, that HOST knows; nil: none. A login name without @ is one of the domain that HOST chose.
	Domains func(context.Context) ([]string, error)

	engineRest time.Duration // 0: the constant of that name; for tests
}

// Server serves the accounts' trees over FTP. One Server is one kind of listener (explicit or implicit TLS).
type Server struct {
	fs       *vfs.FS
	door     *auth.Door
	o        Options
	log      *slog.Logger
	pool     *PortPool
	ownPool  bool
	commands []*command
	byName   map[string]*command
	site     []siteCommand
	hashing  *hashing
	features []string
}

// New returns a Server of the trees of fs, to which door lets people in.
func New(fs *vfs.FS, door *auth.Door, o Options) *Server {
	o.Name = cmp.Or(o.Name, "packetboat")
	o.DataTLSReuse = cmp.Or(o.DataTLSReuse, ReusePrefer)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 30*time.Second)
	o.engineRest = cmp.Or(o.engineRest, engineRest)
	o.PlainGrace = cmp.Or(o.PlainGrace, time.Millisecond)
	o.StallTimeout = cmp.Or(o.StallTimeout, 2*time.Minute)
	s := &Server{fs: fs, door: door, o: o, log: o.Logger, pool: o.PassivePorts}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.pool == nil {
		s.pool, s.ownPool = NewPortPool(nil, 1024, 65535), true
	}
	s.commands = commandTable()
	s.byName = make(map[string]*command, len(s.commands))
	for _, c := range s.commands {
		s.byName[c.name] = c
	}
	s.site = siteTable()
	s.hashing = newHashing()
	s.features = s.featureLines()
	return s
}

// Refusal is the line with which a connection over a limit is turned away (session.ListenerOptions).
func Refusal(reason string) []byte { return []byte("421 " + oneLine(reason) + "\r\n") }

// Serve serves the connections of ln, which must come from session.Registry.Listen, until ctx ends or ln is closed.
// Then the sessions that are left are told to end (session.ErrDrain), and Serve returns when all have ended. A ctx that ends
// is no error.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		live = make(map[*session.Session]struct{})
	)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	err := s.accept(ctx, ln, func(conn net.Conn, sess *session.Session) {
		mu.Lock()
		live[sess] = struct{}{}
		mu.Unlock()
		wg.Go(func() {
			defer func() {
				mu.Lock()
				delete(live, sess)
				mu.Unlock()
			}()
			s.serve(conn, sess)
		})
	})
	mu.Lock()
	for sess := range live {
		sess.Kill(session.ErrDrain)
	}
	mu.Unlock()
	wg.Wait()
	if s.ownPool {
		s.pool.Close()
	}
	return err
}

func (s *Server) accept(ctx context.Context, ln net.Listener, begin func(net.Conn, *session.Session)) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("ftp: accept: %w", err)
		}
		sess := session.From(conn)
		if sess == nil {
			conn.Close()
			return errors.New("ftp: the listener's connections carry no session")
		}
		begin(conn, sess)
	}
}
