package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/mjl-/adns"
)

// rounds is how often each server is asked at most; payload is what a server may send over UDP (DNS flag day 2020: below any path's MTU).
const (
	rounds  = 2
	payload = 1232
)

// reply is a server's message that answers the question.
type reply struct {
	*dns.Msg
	server    string
	authentic bool
}

// exchange asks the servers one after the other until one gives an answer that holds: data, "no such name" or "no such data".
func (r *Resolver) exchange(ctx context.Context, q question) (*reply, error) {
	leave, err := r.enter(ctx, q)
	if err != nil {
		return nil, err
	}
	answered := false
	defer func() { leave(answered) }()
	set := r.servers.current()
	trust := r.trusts(set)
	var last error
	turns := rounds
	if set.silent() { // nobody answered lately: whoever waits for us is not kept longer than it takes to look again
		turns = 1
	}
	for range turns {
		for _, s := range set.order() {
			if ctx.Err() != nil {
				return nil, gaveUp(ctx, q)
			}
			msg, err := r.one(ctx, s.address, q, trust)
			if err == nil {
				s.failed.Store(0)
				answered = true
				return &reply{msg, s.address, trust && msg.AuthenticatedData}, nil
			}
			last = err
			if ctx.Err() != nil {
				return nil, gaveUp(ctx, q)
			}
			if err.mute {
				s.failed.Store(time.Now().UnixNano())
			}
		}
	}
	if last == nil {
		return nil, &adns.DNSError{Err: "no servers to ask", Name: q.name, IsTemporary: true}
	}
	return nil, last.(*trouble).error(q)
}

// quick is how long a question may take to count among those that others wait for.
const quick = 250 * time.Millisecond

// enter waits for a place on the wire. Whoever makes us ask many names whose servers do not answer would have all places and stop everybody else's questions: what
// is slow goes to places of its own, as long as there are some.
func (r *Resolver) enter(ctx context.Context, q question) (leave func(answered bool), err error) {
	zone := zoneOf(q.name)
	if err := r.crowds.full(zone, q); err != nil {
		return nil, err
	}
	select {
	case r.wire <- struct{}{}:
	case <-ctx.Done():
		return nil, gaveUp(ctx, q)
	}
	if err := r.crowds.full(zone, q); err != nil { // since it waited
		<-r.wire
		return nil, err
	}
	var mu sync.Mutex
	place, slow := r.wire, false
	timer := time.AfterFunc(quick, func() {
		mu.Lock()
		defer mu.Unlock()
		if place == nil {
			return
		}
		slow = true
		r.crowds.enter(zone)
		select {
		case r.slow <- struct{}{}:
			<-place
			place = r.slow
		default:
		}
	})
	return func(answered bool) {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		<-place
		place = nil
		r.crowds.leave(zone, slow, answered)
	}, nil
}

// trouble is why a server's word is none.
type trouble struct {
	server  string
	err     error
	timeout bool
	mute    bool // about the server, not about this question
	ede     *adns.ExtendedError
}

func (t *trouble) Error() string { return t.server + ": " + t.err.Error() }

func (t *trouble) error(q question) error {
	e := &adns.DNSError{Err: t.err.Error(), Name: q.name, Server: t.server, IsTemporary: true, IsTimeout: t.timeout}
	if t.ede != nil {
		e.UnwrapErr = *t.ede
	}
	return e
}

// gaveUp is the error of a caller whose time is over or who wants it no longer.
func gaveUp(ctx context.Context, q question) error {
	err := ctx.Err()
	return &adns.DNSError{UnwrapErr: err, Err: err.Error(), Name: q.name, IsTemporary: true, IsTimeout: errors.Is(err, context.DeadlineExceeded)}
}

// one asks one server: over UDP, over TCP when that was cut, without EDNS when it does not know that.
func (r *Resolver) one(ctx context.Context, address string, q question, ad bool) (*dns.Msg, *trouble) {
	for _, edns := range []bool{true, false} {
		msg, err := r.transact(ctx, address, "udp", q, ad, edns)
		if err == nil && msg.Truncated {
			msg, err = r.transact(ctx, address, "tcp", q, ad, edns)
		}
		if err != nil {
			var ne net.Error
			return nil, &trouble{server: address, err: plain(err), timeout: errors.As(err, &ne) && ne.Timeout(), mute: true}
		}
		switch {
		case msg.Rcode == dns.RcodeSuccess && lame(msg):
			return nil, &trouble{server: address, err: errors.New("the server refers to others and does not ask them itself")}
		case msg.Rcode == dns.RcodeSuccess, msg.Rcode == dns.RcodeNameError:
			return msg, nil
		case edns && (msg.Rcode == dns.RcodeFormatError || msg.Rcode == dns.RcodeNotImplemented || msg.Rcode == dns.RcodeBadVers):
			continue // RFC 6891 section 7: perhaps it knows no EDNS
		}
		return nil, &trouble{server: address, err: fmt.Errorf("the server says %s", dns.RcodeToString[msg.Rcode]), ede: extended(msg)}
	}
	return nil, &trouble{server: address, err: errors.New("the server does not understand the question")}
}

// lame tells whether a message without answer is one of a server that is no recursive one and has not the name.
func lame(msg *dns.Msg) bool {
	return len(msg.Answer) == 0 && !msg.Authoritative && !msg.RecursionAvailable && !hasSOA(msg)
}

func hasSOA(msg *dns.Msg) bool {
	_, ok := negativeTTL(msg)
	return ok
}

// extended gives the extended error of a message (RFC 8914), nil when there is none.
func extended(msg *dns.Msg) *adns.ExtendedError {
	if o := msg.IsEdns0(); o != nil {
		for _, v := range o.Option {
			if e, ok := v.(*dns.EDNS0_EDE); ok {
				return &adns.ExtendedError{InfoCode: adns.ErrorCode(e.InfoCode)}
			}
		}
	}
	return nil
}

var buffers = sync.Pool{New: func() any { return new([4096]byte) }}

// transact sends one question over one transport and waits for what answers it. Each has a socket, and so a source port, of its own
// (RFC 5452 section 9.2); the kernel takes datagrams of the asked address and port alone.
func (r *Resolver) transact(ctx context.Context, address, network string, q question, ad, edns bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	m := &dns.Msg{}
	m.Id = dns.Id()
	m.RecursionDesired = true
	m.AuthenticatedData = ad // RFC 6840 section 5.7: please say whether it is authentic
	m.Question = []dns.Question{{Name: q.name, Qtype: q.kind, Qclass: dns.ClassINET}}
	if edns {
		m.SetEdns0(payload, false)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	out := buffers.Get().(*[4096]byte)
	defer buffers.Put(out)
	packed, err := m.PackBuffer(out[2:2])
	if err != nil {
		return nil, fmt.Errorf("writing the question: %w", err)
	}
	if network == "tcp" {
		// RFC 7766 section 8: length and message in one write.
		packed = append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(packed)), uint16(len(packed))), packed...)
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	if network == "tcp" {
		return readTCP(conn, m)
	}
	return readUDP(conn, m)
}

// readUDP waits for a datagram that answers m; others are none of ours (RFC 5452 section 9.1).
func readUDP(conn net.Conn, m *dns.Msg) (*dns.Msg, error) {
	buf := buffers.Get().(*[4096]byte)
	defer buffers.Put(buf)
	for {
		n, err := conn.Read(buf[:])
		if err != nil {
			return nil, err
		}
		if n < 12 || binary.BigEndian.Uint16(buf[:]) != m.Id {
			continue
		}
		in := &dns.Msg{}
		err = in.Unpack(buf[:n])
		if in.Truncated && in.Response && answers(m, in) {
			return in, nil // what is cut may be cut anywhere
		}
		if err == nil && answers(m, in) {
			return in, nil
		}
	}
}

// readTCP reads the one message that answers m.
func readTCP(conn net.Conn, m *dns.Msg) (*dns.Msg, error) {
	in, err := (&dns.Conn{Conn: conn}).ReadMsg()
	if err != nil {
		return nil, err
	}
	if !answers(m, in) || in.Truncated {
		return nil, errors.New("the server answers something that was not asked")
	}
	return in, nil
}

// answers tells whether in is the reply to m: its id, its question and nothing else.
func answers(m, in *dns.Msg) bool {
	if !in.Response || in.Id != m.Id || in.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(in.Question) == 0 { // servers that understand nothing repeat nothing
		return in.Rcode == dns.RcodeFormatError || in.Rcode == dns.RcodeNotImplemented
	}
	a, b := m.Question[0], in.Question[0]
	return len(in.Question) == 1 && a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

// plain is a network's error without the addresses that the caller adds.
func plain(err error) error {
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case errors.As(err, &call): // it names the operation
		return call
	case errors.As(err, &op) && op.Err != nil:
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}
