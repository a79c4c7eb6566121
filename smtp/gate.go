package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/packetboat/packetboat/auth/session"
)

// needs are states that a command needs (RFC 5321 section 4.1.4).
type needs uint8

const (
	hello needs = 1 << iota // EHLO or HELO came
	login                   // on submission: AUTH succeeded
	mail                    // MAIL came
	rcpts                   // and a RCPT was taken
	alone                   // takes no arguments
	lmtp                    // on LMTP and nowhere else
	smtp                    // not on LMTP
)

// rule is a command. run answers it, or feeds the engine with the line that it is to see.
type rule struct {
	needs needs
	run   func(c *client, verb, arg string)
}

var rules = map[string]rule{
	"EHLO":     {smtp, (*client).hello},
	"HELO":     {smtp, (*client).hello},
	"LHLO":     {lmtp, (*client).hello}, // RFC 2033 section 4.1
	"STARTTLS": {alone, (*client).starttls},
	"XCLIENT":  {smtp, (*client).xclient},
	"AUTH":     {hello | smtp, (*client).auth},
	"MAIL":     {hello | login, (*client).mailFrom},
	"RCPT":     {hello | login | mail, (*client).rcptTo},
	"DATA":     {hello | login | mail | rcpts | alone, (*client).data},
	"BDAT":     {0, (*client).bdat}, // a chunk follows whatever the state
	"RSET":     {alone, (*client).pass},
	"NOOP":     {0, (*client).noop},
	"QUIT":     {0, (*client).pass},
	"VRFY":     {0, (*client).vrfy},
	"HELP":     {0, (*client).help},
}

// absent are commands of other servers.
var absent = map[string]bool{
	"EXPN": true, "SEND": true, "SOML": true, "SAML": true, "TURN": true, "ETRN": true, "ATRN": true,
	"XFORWARD": true, "BURL": true,
}

// web are the first words of what is no SMTP client: somebody's browser was sent here.
var web = map[string]bool{"GET": true, "POST": true, "PUT": true, "CONNECT": true, "OPTIONS": true, "HEAD": true}

// Read gives the engine its next line. Between two lines the commands are read, checked and, if wrong or not the
// engine's business, answered.
func (c *client) Read(p []byte) (int, error) {
	for len(c.feed) == 0 {
		if c.chunk != nil {
			// The engine took DATA for wrong, and the bytes of a chunk must not be read as commands.
			c.part(say(451, "4.3.0", "out of step, try again"), "engine and gate out of step")
		}
		if c.over {
			return 0, io.EOF
		}
		verb, arg, err := c.command()
		if err == nil {
			c.labour()
			c.dispatch(verb, arg)
		}
	}
	n := copy(p, c.feed)
	c.feed = c.feed[n:]
	return n, nil
}

// command waits for the next command that is one. An error means that the connection is over.
func (c *client) command() (verb, arg string, err error) {
	for {
		line, err := c.line()
		if errors.Is(err, errLongLine) {
			if c.bad(say(500, "5.5.6", "line too long")) {
				return "", "", io.ErrUnexpectedEOF
			}
			continue
		}
		if errors.Is(err, errHello) {
			c.part(say(421, "4.7.0", "no TLS here now: send STARTTLS, or use another port"), "TLS handshake in a session without")
			return "", "", io.ErrUnexpectedEOF
		}
		if errors.Is(err, errEndless) {
			c.part(say(500, "5.5.6", "line without end"), "line without end")
			return "", "", io.ErrUnexpectedEOF
		}
		if err != nil {
			c.lose(err)
			return "", "", io.ErrUnexpectedEOF
		}
		text, refusal := c.checkLine(line)
		if refusal != nil {
			if c.bad(refusal) {
				return "", "", io.ErrUnexpectedEOF
			}
			continue
		}
		verb, arg, _ = strings.Cut(text, " ")
		verb = strings.ToUpper(verb)
		c.ses.Begin(activity(verb))
		c.begun = true
		return verb, strings.TrimSpace(arg), nil
	}
}

// line waits for a line. Before it waits the session is idle, and hears that it is to end.
func (c *client) line() ([]byte, error) {
	c.wire.shrink()
	if c.begun {
		c.begun = false
		c.ses.Done()
	}
	if cause := c.ses.Ending(); cause != nil {
		return nil, cause
	}
	return c.wire.line()
}

// checkLine takes the end off a line.
func (c *client) checkLine(line []byte) (string, *reply) {
	text, whole := bytes.CutSuffix(line, crlf)
	if !whole {
		// RFC 5321 section 2.3.8: a bare LF ends no line.
		if c.srv.o.BareNewline == Reject {
			return "", say(500, "5.5.2", "line ends with a bare LF")
		}
		text = bytes.TrimSuffix(line, []byte("\n"))
	}
	if bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, 0) >= 0 {
		return "", say(500, "5.5.2", "bare CR or NUL in a command")
	}
	return strings.TrimRight(string(text), " \t"), nil
}

func activity(verb string) string {
	if _, ok := rules[verb]; ok {
		return verb
	}
	return "unknown command"
}

// dispatch looks whether a command may come now, and runs it.
func (c *client) dispatch(verb, arg string) {
	r, ok := rules[verb]
	switch {
	case absent[verb]:
		c.bad(say(502, "5.5.1", "%s is not implemented", verb))
	case web[verb]:
		c.part(say(421, "4.7.0", "this is an SMTP server"), "no SMTP client")
	case !ok:
		c.bad(say(500, "5.5.1", "command not recognized"))
	default:
		if refusal := c.refuses(r, arg); refusal != nil {
			c.bad(refusal)
			return
		}
		r.run(c, verb, arg)
	}
}

// refuses tells why a command may not come now.
func (c *client) refuses(r rule, arg string) *reply {
	switch n := r.needs; {
	case n&lmtp != 0 && c.srv.o.Mode != LMTP:
		return say(500, "5.5.1", "this is no LMTP server: send EHLO")
	case n&smtp != 0 && c.srv.o.Mode == LMTP:
		return say(500, "5.5.1", "this is an LMTP server: send LHLO") // RFC 2033 section 4.1
	case n&alone != 0 && arg != "":
		return say(501, "5.5.4", "no parameters allowed")
	case n&hello != 0 && c.helo == "":
		return say(503, "5.5.1", "send %s first", c.srv.o.Mode.hello())
	case n&login != 0 && c.srv.o.Mode == Submission && c.account == nil:
		// RFC 4954 section 6, RFC 3207 section 4, RFC 6409 section 4.3.
		if !c.srv.door.PlaintextAllowed(c.ses) {
			return say(530, "5.7.0", "must issue a STARTTLS command first")
		}
		return say(530, "5.7.0", "authentication required")
	case n&mail != 0 && c.mail == nil:
		return say(503, "5.5.1", "send MAIL first")
	case n&rcpts != 0 && len(c.mail.recipients) == 0 && c.srv.o.Mode == LMTP:
		return say(503, "5.5.1", "no valid recipients") // RFC 2033 section 4.2
	case n&rcpts != 0 && len(c.mail.recipients) == 0:
		return say(554, "5.5.1", "no valid recipients") // RFC 5321 section 3.3
	}
	return nil
}

// pass gives the command to the engine.
func (c *client) pass(verb, _ string) {
	if verb == "QUIT" {
		c.ses.SetEnd("quit")
	}
	c.feed = append([]byte(verb), crlf...)
}

func (c *client) hello(verb, arg string) {
	name, _, _ := strings.Cut(arg, " ")
	if name == "" {
		c.bad(say(501, "5.5.4", "%s needs a name", verb))
		return
	}
	// Names are not judged: devices send junk (RFC 5321 section 4.1.4 forbids refusing for it).
	c.helo, c.esmtp = clean(name, 255), verb != "HELO"
	if c.told != nil && c.told.helo != "" {
		c.helo = c.told.helo
	}
	c.ses.SetClient(c.helo)
	c.instead = c.greeting()
	c.feed = []byte("HELO client\r\n")
}

// greeting is the answer to EHLO, HELO and LHLO. RFC 5321 section 4.1.1.1: the first word is the server's name.
func (c *client) greeting() []byte {
	if !c.esmtp {
		return say(250, "", "%s", c.srv.o.Name).append(nil)
	}
	b := fmt.Appendf(nil, "250-%s greets %s\r\n", c.srv.o.Name, plainly(c.helo, 255))
	words := c.offers()
	for i, w := range words {
		mark := byte('-')
		if i == len(words)-1 {
			mark = ' '
		}
		b = fmt.Appendf(b, "250%c%s\r\n", mark, w)
	}
	return b
}

func (c *client) noop(string, string) { c.answer(say(250, "2.0.0", "ok")) }

func (c *client) vrfy(_, arg string) {
	if arg == "" {
		c.bad(say(501, "5.5.4", "VRFY needs a name"))
		return
	}
	// RFC 5321 section 3.5.3: 252 tells nothing, and so no address is given away.
	c.answer(say(252, "2.5.0", "cannot verify, but will take mail for local users"))
}

func (c *client) help(string, string) {
	c.answer(say(214, "2.0.0", "%s STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT", c.srv.o.Mode.hello()))
}

// starttls changes to TLS (RFC 3207). The engine is only told to forget its transaction.
func (c *client) starttls(string, string) {
	_, on := c.ses.TLS()
	switch {
	case c.srv.o.TLS == nil:
		c.bad(say(502, "5.5.1", "STARTTLS is not available"))
		return
	case on:
		c.bad(say(503, "5.5.1", "TLS is active already"))
		return
	}
	c.answer(say(220, "2.0.0", "ready to start TLS"))
	if err := c.wire.flush(); err != nil {
		c.over = true
		return
	}
	if n := c.wire.upgrade(); n > 0 {
		c.log.Warn("plaintext behind STARTTLS dropped", "bytes", n)
	}
	conn, err := session.Handshake(c.context(), c.wire.conn, c.srv.o.TLS)
	if err != nil {
		// RFC 3207 section 4.1 lets the client go on in plaintext; no client that wants TLS does.
		c.log.Debug("tls handshake failed", "error", err)
		c.over = true
		return
	}
	c.wire.conn = conn
	c.forget()
	c.feed, c.hush = []byte("RSET\r\n"), 1
}

// mailFrom checks MAIL. The engine sees that it came; what it says is ours.
func (c *client) mailFrom(_, arg string) {
	if c.mail != nil {
		c.bad(say(503, "5.5.1", "MAIL came already"))
		return
	}
	rest, ok := cutFold(arg, "FROM:")
	if !ok {
		c.bad(say(501, "5.5.4", "syntax: MAIL FROM:<address>"))
		return
	}
	path, rest, ok := parsePath(rest)
	if !ok || path != "" && !validMailbox(path) {
		c.bad(say(501, "5.1.7", "bad sender address"))
		return
	}
	m := &sender{path: path}
	if refusal := readMail(c, m, rest); refusal != nil {
		c.bad(refusal)
		return
	}
	c.from = m
	c.feed = []byte("MAIL FROM:<>\r\n")
}

func (c *client) rcptTo(_, arg string) {
	rest, ok := cutFold(arg, "TO:")
	if !ok {
		c.bad(say(501, "5.5.4", "syntax: RCPT TO:<address>"))
		return
	}
	path, rest, ok := parsePath(rest)
	if strings.EqualFold(path, "postmaster@"+c.srv.o.Name) {
		path = "postmaster" // RFC 5321 section 4.5.1: of the host that greets, too
	}
	if !ok || !validMailbox(path) && !strings.EqualFold(path, "postmaster") {
		c.bad(say(501, "5.1.3", "bad recipient address"))
		return
	}
	r := &envelope{path: path}
	if refusal := readParams(c, r, rest, rcptParams); refusal != nil {
		c.bad(refusal)
		return
	}
	c.to = r
	c.feed = []byte("RCPT TO:<recipient@invalid>\r\n")
}

// data is DATA. RFC 3030 section 3: a binary message comes by BDAT alone.
func (c *client) data(verb, arg string) {
	if c.mail.sender.body == "BINARYMIME" {
		c.bad(say(503, "5.5.1", "a binary message needs BDAT"))
		return
	}
	c.pass(verb, arg)
}

// bdat is the first chunk of a message, or one that may not come: then its bytes are thrown away, for
// they follow in any case (RFC 3030 section 2). To the engine it is DATA.
func (c *client) bdat(_, arg string) {
	size, last, ok := parseChunk(arg)
	if !ok {
		_ = c.astray()
		return
	}
	if c.flood(size) {
		return
	}
	k := &chunks{c: c, left: size, size: size, last: last}
	refusal := c.refuses(rule{needs: hello | login | mail | rcpts}, "")
	if refusal == nil {
		c.chunk = k
		c.feed, c.hush = []byte("DATA\r\n"), 1
		return
	}
	switch err := k.discard(2*c.srv.o.MaxMessage + 1); {
	case errors.Is(err, errFlood):
		c.part(errTooLarge, "too much data")
	case err != nil:
		c.lose(err)
	default:
		c.bad(refusal)
	}
}

// flood ends the connection when a chunk is announced that is too large even to be thrown away.
func (c *client) flood(size int64) bool {
	if size/2 <= c.srv.o.MaxMessage {
		return false
	}
	c.part(errTooLarge, "too much data")
	return true
}

// astray ends a connection in which nobody knows what is a command and what is not.
func (c *client) astray() error {
	c.part(say(501, "5.5.4", "syntax: BDAT size [LAST]; closing the connection"), "bad BDAT")
	return io.ErrUnexpectedEOF
}

// Write takes what the engine says.
func (c *client) Write(p []byte) (int, error) {
	n := len(p)
	switch {
	case c.over:
		return n, nil
	case c.hush > 0:
		c.hush--
		return n, nil
	case c.instead != nil:
		p, c.instead = c.instead, nil
	}
	if err := c.wire.put(p); err != nil {
		c.over = true
		return 0, err
	}
	return n, nil
}

// Close ends the connection; the engine calls it twice.
func (c *client) Close() error {
	if c.closed {
		return nil
	}
	c.closed, c.over = true, true
	return c.wire.close()
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
