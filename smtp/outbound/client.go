package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// Timeouts are how long a peer may take. RFC 5321 section 4.5.3.2 says how long at least: these are the defaults.
type Timeouts struct {
	Dial     time.Duration // for the connection: 30 s
	Greeting time.Duration // 5 min
	Command  time.Duration // EHLO, MAIL, RCPT, AUTH and the like, each: 5 min
	Data     time.Duration // the reply to DATA: 2 min
	Block    time.Duration // each 64 KiB of a message to be taken: 3 min
	End      time.Duration // the reply to the end of a message: 10 min
	Envelope time.Duration // all replies from MAIL to DATA together, however many recipients: 20 min
	Quit     time.Duration // 5 s: nobody waits for a goodbye
}

func (t Timeouts) withDefaults() Timeouts {
	def(&t.Dial, 30*time.Second)
	def(&t.Greeting, 5*time.Minute)
	def(&t.Command, 5*time.Minute)
	def(&t.Data, 2*time.Minute)
	def(&t.Block, 3*time.Minute)
	def(&t.End, 10*time.Minute)
	def(&t.Envelope, 20*time.Minute)
	def(&t.Quit, 5*time.Second)
	return t
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// extensions are what a server offers (RFC 5321 section 4.1.1.1).
type extensions struct {
	size       int64 // SIZE (RFC 1870): the largest message, 0: it does not say; -1: it does not know SIZE
	pipelining bool  // RFC 2920
	startTLS   bool  // RFC 3207
	eightBit   bool  // 8BITMIME, RFC 6152
	utf8       bool  // SMTPUTF8, RFC 6531
	chunking   bool  // RFC 3030
	dsn        bool  // RFC 3461
	requireTLS bool  // RFC 8689
	deliverBy  int   // DELIVERBY (RFC 2852): the least seconds, 0: any; -1: not offered
	priority   bool  // MT-PRIORITY, RFC 6710
	mechanisms []string
	rcptMax    int // LIMITS (RFC 9422), 0: not said
	mailMax    int
	domainMax  int
}

// client is what we know of a connection to a server. It belongs to the goroutine that has it; between two messages it lies in a pool.
type client struct {
	wire
	ses      *session.Session
	t        Timeouts
	lmtp     bool
	name     string // ours
	server   string // its own, in the answer to EHLO
	host     string // its name in the DNS
	remote   string // "mx.example.org (192.0.2.1)", as it is noted and told
	ext      extensions
	secure   bool        // TLS
	key      string      // of the pool
	messages int         // transactions begun
	broken   bool        // nothing more can be sent on it
	dirty    bool        // a transaction may be open: RSET before the next
	doing    string      // what the session list says of the transaction
	idle     time.Time   // since when it lies in the pool
	unpark   func() bool // ends the watch over it there
}

// failure is why something with a peer did not work.
type failure struct {
	status    string // RFC 3463, ours or the peer's
	permanent bool
	reply     Reply  // the peer's; zero when it said none
	text      string // what happened, when it said none
	remote    string
	stage     stage
	err       error // of the connection
}

// stage is how far we were.
type stage string

const (
	atConnect  stage = "connect"
	atGreeting stage = "greeting"
	atHello    stage = "EHLO"
	atTLS      stage = "STARTTLS"
	atAuth     stage = "AUTH"
	atMail     stage = "MAIL"
	atRcpt     stage = "RCPT"
	atData     stage = "DATA"
	atEnd      stage = "end of message"
)

func (f *failure) Error() string {
	if f.reply.Code != 0 {
		return f.reply.String()
	}
	return f.text
}

func (f *failure) Unwrap() error { return f.err }

// refused is a reply that is an error.
func (c *client) refused(at stage, r Reply) *failure {
	status := r.Enhanced
	if status == "" {
		status = statusOf(at, r.Code)
	}
	if r.Code == 421 { // RFC 5321 section 3.8: the server closes the connection
		c.broken = true
	}
	return &failure{status: status, permanent: r.permanent(), reply: r, remote: c.remote, stage: at}
}

// statusOf is the enhanced code of a reply that has none (RFC 3463), by what was asked.
func statusOf(at stage, code int) string {
	class := "4"
	if code/100 == 5 {
		class = "5"
	}
	switch {
	case code == 421:
		return class + ".3.2"
	case at == atRcpt && (code == 550 || code == 450 || code == 551 || code == 553):
		return class + ".1.1"
	case code == 452 || code == 552:
		return class + ".2.2"
	case at == atEnd && code == 554:
		return class + ".6.0"
	case at == atMail:
		return class + ".1.0"
	}
	return class + ".0.0"
}

// lost is an error of the connection.
func (c *client) lost(at stage, err error) *failure {
	c.broken = true
	f := &failure{status: "4.4.2", remote: c.remote, stage: at, err: err}
	ended := c.ses.Ending()
	switch {
	case ended != nil && !errors.Is(ended, session.ErrClosed) && !errors.Is(ended, session.ErrStalled):
		f.status, f.text, f.err = "4.3.2", "the connection was ended here: "+ended.Error(), ended
	case errors.Is(err, errProtocol):
		f.status, f.text = "4.5.0", fmt.Sprintf("%s: %v", at, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.text = fmt.Sprintf("%s: no answer in time", at)
	default:
		f.text = fmt.Sprintf("%s: connection lost: %v", at, err)
	}
	if at == atEnd {
		f.text += " (the message may have arrived)"
	}
	return f
}

// command sends one command and reads its reply.
func (c *client) command(at stage, patience time.Duration, parts ...string) (Reply, error) {
	by := time.Now().Add(patience)
	c.put(parts...)
	if err := c.flush(by); err != nil {
		return Reply{}, c.lost(at, err)
	}
	r, err := c.reply(by)
	if err != nil {
		return Reply{}, c.lost(at, err)
	}
	return r, nil
}

// greet reads the greeting.
func (c *client) greet() error {
	r, err := c.reply(time.Now().Add(c.t.Greeting))
	switch {
	case err != nil:
		return c.lost(atGreeting, err)
	case r.ok():
		return nil
	}
	f := c.refused(atGreeting, r)
	// RFC 7504 section 4: 521 says that there is no mail at this host. Any other refusal may be about us today.
	f.permanent = r.Code == 521
	return f
}

// hello says EHLO, or HELO to a server that does not know it (RFC 5321 section 3.2).
func (c *client) hello() error {
	verb := "EHLO "
	if c.lmtp {
		verb = "LHLO " // RFC 2033 section 4.1
	}
	r, err := c.command(atHello, c.t.Command, verb, c.name)
	if err != nil {
		return err
	}
	c.ext = extensions{size: -1, deliverBy: -1}
	if r.ok() {
		c.introduced(r)
		return nil
	}
	if r.permanent() && !c.lmtp && !c.secure {
		if r, err = c.command(atHello, c.t.Command, "HELO ", c.name); err != nil {
			return err
		}
		if r.ok() {
			if len(r.Lines) > 0 {
				c.server, _, _ = strings.Cut(r.Lines[0], " ")
			}
			return nil
		}
	}
	f := c.refused(atHello, r)
	f.permanent = false // it is us whom it does not like, and another host may
	return f
}

// introduced reads the answer to EHLO.
func (c *client) introduced(r Reply) {
	e := &c.ext
	for i, l := range r.Lines {
		word, args, _ := strings.Cut(strings.TrimSpace(l), " ")
		if i == 0 {
			c.server = cut(word, 255)
			continue
		}
		// RFC 5321 section 2.4: keywords are known in any case. "AUTH=" is what old servers and clients say beside "AUTH ".
		switch word = strings.ToUpper(word); {
		case word == "SIZE":
			e.size = max(0, number(args))
		case word == "PIPELINING":
			e.pipelining = true
		case word == "STARTTLS":
			e.startTLS = true
		case word == "8BITMIME":
			e.eightBit = true
		case word == "SMTPUTF8":
			e.utf8 = true
		case word == "CHUNKING":
			e.chunking = true
		case word == "DSN":
			e.dsn = true
		case word == "REQUIRETLS":
			e.requireTLS = true
		case word == "DELIVERBY":
			e.deliverBy = int(max(0, number(args)))
		case word == "MT-PRIORITY":
			e.priority = true
		case word == "AUTH":
			e.mechanisms = strings.Fields(strings.ToUpper(args))
		case word == "LIMITS":
			e.limits(args)
		}
	}
}

// limits reads LIMITS (RFC 9422 section 3): what is not understood is passed over.
func (e *extensions) limits(args string) {
	for _, l := range strings.Fields(args) {
		name, value, _ := strings.Cut(l, "=")
		n := int(number(value))
		if n < 1 {
			continue
		}
		switch strings.ToUpper(name) {
		case "RCPTMAX":
			e.rcptMax = n
		case "MAILMAX":
			e.mailMax = n
		case "RCPTDOMAINMAX":
			e.domainMax = n
		}
	}
}

// number is a decimal number, -1 for what is none.
func number(s string) int64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 62)
	if err != nil {
		return -1
	}
	return int64(n)
}

// startTLS asks for TLS and makes the handshake. The error is a *failure; noOffer when the server did not offer TLS or refused it, and the connection can
// be used in clear.
func (c *client) startTLS(ctx context.Context, config *tls.Config) (noOffer bool, err error) {
	if !c.ext.startTLS {
		return true, &failure{status: "4.7.0", text: "the server does not offer STARTTLS", remote: c.remote, stage: atTLS}
	}
	r, err := c.command(atTLS, c.t.Command, "STARTTLS")
	if err != nil {
		return false, err
	}
	if r.Code != 220 {
		return !c.broken && r.Code != 421, c.refused(atTLS, r)
	}
	return false, c.handshake(ctx, config)
}

// handshake goes over to TLS. What the server said in clear is forgotten.
func (c *client) handshake(ctx context.Context, config *tls.Config) error {
	t := tls.Client(c.conn, config)
	if n := c.upgrade(t); n > 0 {
		c.ses.SetActivity("dropped " + strconv.Itoa(n) + " bytes that came before TLS")
	}
	by, cancel := context.WithTimeout(ctx, c.t.Data)
	defer cancel()
	if err := t.HandshakeContext(by); err != nil {
		c.broken = true
		if ended := c.ses.Ending(); ended != nil && ctx.Err() != nil {
			return c.lost(atTLS, ended)
		}
		return &failure{status: "4.7.5", text: "TLS: " + printable(err.Error()), remote: c.remote, stage: atTLS, err: err}
	}
	c.ses.SetTLS(t.ConnectionState())
	c.secure = true
	c.ext, c.server = extensions{size: -1, deliverBy: -1}, ""
	return nil
}

// quit says goodbye and closes. It may be called from any goroutine that has the client.
func (c *client) quit() {
	if !c.broken {
		by := time.Now().Add(c.t.Quit)
		c.put("QUIT")
		if c.flush(by) == nil && c.ses.Ending() == nil {
			c.reply(by) // so that the server is not cut off in its answer
		}
		c.ses.SetEnd("quit")
	}
	c.close()
}

func (c *client) close() {
	c.broken = true
	if t, ok := c.conn.(*tls.Conn); ok {
		t.SetWriteDeadline(time.Now().Add(time.Second)) // of close_notify
	}
	c.conn.Close()
}

// remoteName is how a host is named in the queue, in notices and in the log.
func remoteName(host string, addr netip.Addr) string {
	if host == "" || host == addr.String() {
		return addr.String()
	}
	return host + " (" + addr.String() + ")"
}

// helloName is the name by which we introduce ourselves: an address literal where there is none (RFC 5321 section 4.1.3).
func helloName(name string, local net.Addr) string {
	if name != "" {
		return name
	}
	a, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return "[127.0.0.1]"
	}
	if a.Addr().Unmap().Is4() {
		return "[" + a.Addr().Unmap().String() + "]"
	}
	return "[IPv6:" + a.Addr().WithZone("").String() + "]"
}
