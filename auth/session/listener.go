package session

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ListenerOptions say how the connections of one listener are treated.
type ListenerOptions struct {
	Name     string // "imaps"
	Protocol Protocol
	// Refusal renders the line with which a connection over a limit is turned away ("421 4.7.0 ...\r\n");
	// nil (and always for implicit TLS): closed without a word. Written with a deadline of 1 s, never in the accept loop.
	Refusal func(reason string) []byte

	LoginTimeout time.Duration // from accept to Login; 0: 60 s. Ends when the session is logged in; MX (no login ever) sets -1: none.
	IdleTimeout  time.Duration // without a byte read; 0: 30 min; -1: none
	StallTimeout time.Duration // a write in which the peer takes nothing; 0: 2 min; -1: none
	MaxDuration  time.Duration // absolute; 0: none
}

const (
	defaultLogin = 60 * time.Second
	defaultIdle  = 30 * time.Minute // RFC 9051 section 5.4: the autologout timer, where there is one, is at least 30 minutes
	defaultStall = 2 * time.Minute
)

// listener is shared by its sessions, which keep its options and not its socket.
type listener struct {
	net.Listener
	o        ListenerOptions
	registry *Registry
	outgoing bool // a connection of ours (Dial): there is no Listener
	closing  sync.Once
	closed   chan struct{}
}

// Listen wraps ln: its Accept returns *Conn, each with a Session that is in the registry.
// Accept retries temporary errors, and never blocks on a refused peer. Closing it closes ln.
func (r *Registry) Listen(ln net.Listener, o ListenerOptions) net.Listener {
	o.LoginTimeout = cmp.Or(o.LoginTimeout, defaultLogin)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, defaultIdle)
	o.StallTimeout = cmp.Or(o.StallTimeout, defaultStall)
	return &listener{Listener: ln, o: o, registry: r, closed: make(chan struct{})}
}

// Accept waits for the next connection that the limits allow.
func (l *listener) Accept() (net.Conn, error) {
	pause := time.Duration(0)
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if !temporary(err) {
				return nil, err
			}
			if pause == 0 {
				l.registry.o.Logger.Warn("accept failed", "listener", l.o.Name, "error", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if !l.sleep(pause) {
				return nil, net.ErrClosed
			}
			continue
		}
		pause = 0
		s, err := l.registry.admit(l, c)
		if err != nil {
			l.registry.refusal.refuse(l, c, err)
			continue
		}
		s.start()
		return &s.conn, nil
	}
}

// start begins to keep the deadlines, once the session is whole. A Drain may have found it already.
func (s *Session) start() {
	s.conn.arm()
	s.mu.Lock()
	s.scheduleLocked()
	s.mu.Unlock()
	s.registry.o.Logger.Debug("session opened", "session", s.id, "listener", s.listener.o.Name, "remote", s.remote)
}

// sleep is false when the listener was closed meanwhile.
func (l *listener) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.closed:
		return false
	}
}

// Close stops accepting; sessions go on.
func (l *listener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// passing are the errors of accept(2) that say nothing about the listener itself.
var passing = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR, syscall.EPROTO,
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
}

func temporary(err error) bool {
	return slices.ContainsFunc(passing, func(e error) bool { return errors.Is(err, e) })
}

const (
	maxRefusals    = 64 // that are being written at a time; what is over it is closed without a word
	refusalTime    = time.Second
	refusalLinger  = 200 * time.Millisecond // for a peer that speaks first, whose words would turn the close into a reset
	refusalLogRate = time.Second
)

// refusals turns connections away.
type refusals struct {
	slots   chan struct{}
	writing tally
	count   atomic.Int64
	logged  atomic.Int64 // clock of the last line in the log, of which there is one a second at most
	log     *slog.Logger
}

// refuse closes c, after a word if there is one to say and somebody free to say it. It does not block.
func (f *refusals) refuse(l *listener, c net.Conn, reason error) {
	n := f.count.Add(1)
	now := l.registry.clock()
	if last := f.logged.Load(); (last == 0 || now-last >= int64(refusalLogRate)) && f.logged.CompareAndSwap(last, now) {
		f.log.Warn("connection refused", "listener", l.o.Name, "remote", addrPort(c.RemoteAddr()), "reason", reason, "refused", n)
	}
	if l.o.Refusal == nil {
		c.Close()
		return
	}
	select {
	case f.slots <- struct{}{}:
	default:
		c.Close()
		return
	}
	f.writing.add()
	go func() {
		defer f.writing.done()
		defer func() { <-f.slots }()
		defer c.Close()
		c.SetWriteDeadline(time.Now().Add(refusalTime))
		if _, err := c.Write(l.o.Refusal(reason.Error())); err == nil {
			linger(c, refusalLinger)
		}
	}()
}
