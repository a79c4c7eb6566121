package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-milter"
)

// MilterOptions say where a milter is.
type MilterOptions struct {
	Address string        // "unix:/run/opendkim.sock", "tcp:127.0.0.1:8891" or "inet:8891@127.0.0.1"
	Timeout time.Duration // for each of its answers; 0 means 10 s. All of them together have six times as long
	Closed  bool          // refuse for now what it does not answer about
}

// maxMilterMore is how much longer than the message's body all that a milter answers may be.
const maxMilterMore = 4 << 20

// milterActions are what a milter may do: all that version 2 of the protocol has, since filters end when they are not offered what they might want.
const milterActions = milter.OptAddHeader | milter.OptChangeHeader | milter.OptChangeBody | milter.OptQuarantine | milter.OptAddRcpt | milter.OptRemoveRcpt

// milterFilter is a Filter over the milter protocol, a connection a message.
type milterFilter struct {
	o                MilterOptions
	network, address string
}

// NewMilter returns a Filter that asks a milter.
func NewMilter(o MilterOptions) (Filter, error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	f := &milterFilter{o: o}
	kind, rest, _ := strings.Cut(o.Address, ":")
	switch kind {
	case "unix", "local":
		f.network, f.address = "unix", rest
	case "tcp":
		f.network, f.address = "tcp", rest
	case "inet", "inet6":
		// As sendmail writes them: port@host; Postfix: host:port.
		f.network, f.address = "tcp", rest
		if port, host, ok := strings.Cut(rest, "@"); ok {
			f.address = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
	}
	bad := f.address == ""
	if f.network == "tcp" {
		_, _, err := net.SplitHostPort(f.address)
		bad = err != nil
	}
	if bad {
		return nil, fmt.Errorf("%q is no address of a milter such as unix:/run/milter.sock or tcp:127.0.0.1:8891", o.Address)
	}
	return f, nil
}

func (f *milterFilter) Name() string     { return "milter " + f.o.Address }
func (f *milterFilter) FailClosed() bool { return f.o.Closed }

// Examine has the whole dialogue about one message.
func (f *milterFilter) Examine(ctx context.Context, m *Examined) (Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*f.o.Timeout)
	defer cancel()
	d := &milterDialer{ctx: ctx, timeout: f.o.Timeout, left: m.Size + maxMilterMore}
	c := milter.NewClientWithOptions(f.network, f.address, milter.ClientOptions{
		Dialer: d, ReadTimeout: f.o.Timeout, WriteTimeout: f.o.Timeout, ActionMask: milterActions,
	})
	s, err := c.Session()
	defer d.close() // the library leaves a connection open whose beginning failed
	if err != nil {
		return Finding{}, err
	}
	if extra := s.ActionOpts &^ milterActions; extra != 0 {
		return Finding{}, fmt.Errorf("it wants to do what is not offered (%#x)", uint32(extra))
	}
	x := milterExchange{s, m}
	found, err := x.run()
	if err == nil {
		_ = s.Close()
	}
	return found, err
}

// milterExchange is the dialogue about a message.
type milterExchange struct {
	s *milter.ClientSession
	m *Examined
}

// run sends envelope, header and body; an answer that is a decision ends it.
func (x *milterExchange) run() (Finding, error) {
	for _, step := range []func() (*milter.Action, error){x.connect, x.helo, x.mail, x.recipients, x.header, x.body} {
		a, err := step()
		if err != nil {
			return Finding{}, err
		}
		if a != nil && a.Code != milter.ActContinue {
			return milterFinding(a)
		}
	}
	changes, a, err := x.s.End()
	if err != nil {
		return Finding{}, err
	}
	f, err := milterFinding(a)
	if err == nil && f.Action <= ToJunk {
		err = f.changed(changes)
	}
	return f, err
}

func (x *milterExchange) connect() (*milter.Action, error) {
	a := x.m.Remote.Addr().Unmap().WithZone("")
	family := milter.FamilyInet
	if a.Is6() {
		family = milter.FamilyInet6
	}
	if !a.IsValid() { // a front end need not know its client
		return x.s.Conn("unknown", milter.FamilyUnknown, 0, "")
	}
	host := x.m.Host
	if host == "" {
		host = "[" + a.String() + "]"
	}
	if err := x.s.Macros(milter.CodeConn, "j", x.m.Server, "{daemon_name}", "packetboat", "v", "packetboat", "_", host+" ["+a.String()+"]",
		"{client_addr}", a.String(), "{client_name}", host, "{client_port}", itoa(int(x.m.Remote.Port()))); err != nil {
		return nil, err
	}
	return x.s.Conn(host, family, x.m.Remote.Port(), a.String())
}

func (x *milterExchange) helo() (*milter.Action, error) {
	if x.m.TLS != "" {
		if err := x.s.Macros(milter.CodeHelo, "{tls_version}", x.m.TLSVersion, "{cipher}", x.m.TLS); err != nil {
			return nil, err
		}
	}
	return x.s.Helo(x.m.Helo)
}

func (x *milterExchange) mail() (*milter.Action, error) {
	kv := []string{"i", x.m.Queue, "{mail_addr}", x.m.From}
	if x.m.User != "" {
		kv = append(kv, "{auth_authen}", x.m.User, "{auth_type}", "PLAIN")
	}
	if err := x.s.Macros(milter.CodeMail, kv...); err != nil {
		return nil, err
	}
	return x.s.Mail(x.m.From, nil)
}

// recipients: a milter that refuses one of them refuses the message, since SMTP has answered its RCPT already.
func (x *milterExchange) recipients() (*milter.Action, error) {
	for _, to := range x.m.Recipients {
		if err := x.s.Macros(milter.CodeRcpt, "{rcpt_addr}", to); err != nil {
			return nil, err
		}
		if a, err := x.s.Rcpt(to, nil); err != nil || a.Code != milter.ActContinue {
			return a, err
		}
	}
	return nil, nil
}

func (x *milterExchange) header() (*milter.Action, error) {
	for _, f := range x.m.Header {
		// The protocol has lines end with LF, and no blank in front unless it was asked for.
		value := strings.TrimPrefix(strings.ReplaceAll(f.Value, "\r\n", "\n"), " ")
		if a, err := x.s.HeaderField(f.Name, value); err != nil || a.Code != milter.ActContinue {
			return a, err
		}
	}
	return x.s.HeaderEnd()
}

func (x *milterExchange) body() (*milter.Action, error) {
	if x.s.ProtocolOption(milter.OptNoBody) {
		return nil, nil
	}
	r := io.NewSectionReader(x.m.Body, 0, x.m.Size)
	buf := make([]byte, min(milter.MaxBodyChunk, x.m.Size+1))
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if a, err := x.s.BodyChunk(buf[:n]); err != nil || a.Code != milter.ActContinue {
				return a, err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// milterFinding is what an answer means.
func milterFinding(a *milter.Action) (Finding, error) {
	switch a.Code {
	case milter.ActAccept, milter.ActContinue:
		return Finding{Action: Take}, nil
	case milter.ActDiscard:
		return Finding{Action: Discard, Reason: "discard"}, nil
	case milter.ActReject:
		return Finding{Action: Refuse, Reason: "reject"}, nil
	case milter.ActTempFail:
		return Finding{Action: Defer, Reason: "temporary failure"}, nil
	case milter.ActReplyCode:
		f := Finding{Code: a.SMTPCode, Text: a.SMTPText, Reason: fmt.Sprintf("%d %s", a.SMTPCode, a.SMTPText)}
		switch a.SMTPCode / 100 {
		case 4:
			f.Action = Defer
		case 5:
			f.Action = Refuse
		default:
			return f, fmt.Errorf("it replies %d, which refuses nothing", a.SMTPCode)
		}
		return f, nil
	}
	return Finding{}, fmt.Errorf("it answers %q", rune(a.Code))
}

// changed adds what the milter changes.
func (f *Finding) changed(changes []milter.ModifyAction) error {
	for _, c := range changes {
		switch c.Code {
		case milter.ActAddHeader:
			f.Edits = append(f.Edits, Edit{Append, c.HeaderName, 0, c.HeaderValue})
		case milter.ActInsertHeader:
			f.Edits = append(f.Edits, Edit{Insert, c.HeaderName, int(max(c.HeaderIndex, 1) - 1), c.HeaderValue})
		case milter.ActChangeHeader:
			f.Edits = append(f.Edits, Edit{Change, c.HeaderName, int(max(c.HeaderIndex, 1)), c.HeaderValue})
		case milter.ActReplBody:
			f.Body = append(f.Body, c.Body...)
			if f.Body == nil {
				f.Body = []byte{}
			}
		case milter.ActQuarantine:
			f.Action, f.Reason = ToJunk, "quarantine: "+clean(c.Reason, 200)
		case milter.ActAddRcpt:
			f.Add = append(f.Add, strings.Trim(c.Rcpt, "<>"))
		case milter.ActDelRcpt:
			f.Remove = append(f.Remove, strings.Trim(c.Rcpt, "<>"))
		default:
			return fmt.Errorf("it does what was not agreed upon (%q)", rune(c.Code))
		}
	}
	if f.Body != nil {
		f.Body = wholeLines(f.Body)
	}
	return nil
}

// wholeLines gives a new body line ends that are CRLF, whatever it had.
func wholeLines(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/32+2)
	for i, c := range b {
		switch {
		case c == '\n' && (i == 0 || b[i-1] != '\r'):
			out = append(out, crlf...)
		case c == '\r' && (i+1 == len(b) || b[i+1] != '\n'):
			out = append(out, crlf...)
		case c != 0:
			out = append(out, c)
		}
	}
	if n := len(out); n > 0 && out[n-1] != '\n' {
		out = append(out, crlf...)
	}
	return out
}

// milterDialer makes the connection of one message.
type milterDialer struct {
	ctx     context.Context
	timeout time.Duration
	left    int64
	conn    net.Conn
	stop    func() bool
}

// Dial is what the library calls.
func (d *milterDialer) Dial(network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: d.timeout}).DialContext(d.ctx, network, addr)
	if err != nil {
		return nil, err
	}
	d.conn = conn
	d.stop = context.AfterFunc(d.ctx, func() { _ = conn.Close() })
	return &milterConn{conn, d.left}, nil
}

func (d *milterDialer) close() {
	if d.conn != nil {
		d.stop()
		_ = d.conn.Close()
	}
}

var errMilterFlood = errors.New("it answers too much")

// milterConn ends when more comes than there is a use for: the library collects all that a milter wants to change.
type milterConn struct {
	net.Conn
	left int64
}

func (c *milterConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, errMilterFlood
	}
	return n, err
}
