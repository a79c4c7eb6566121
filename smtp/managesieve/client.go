package managesieve

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/smtp/sieve"
	"github.com/packetboat/packetboat/storage"
)

// client is what the protocol knows of its session. It belongs to the goroutine of the connection.
//
//	connected --AUTHENTICATE--> authenticated --UNAUTHENTICATE--> connected
//	    |  ^
//	    +--+ STARTTLS
type client struct {
	srv     *Server
	ses     *session.Session
	log     *slog.Logger
	reader  reader
	account *storage.Account // after AUTHENTICATE
	faults  int
}

// maxFaults is how many wrong commands a connection may send.
const maxFaults = 20

// answer is the response that ends a command.
type answer struct {
	word string // OK, NO, BYE
	code string // "QUOTA/MAXSIZE", ...; ""
	text string
}

func (a *answer) Error() string { return a.text }

func ok(text string) *answer { return &answer{"OK", "", text} }
func no(code, format string, args ...any) *answer {
	return &answer{"NO", code, fmt.Sprintf(format, args...)}
}

func (a *answer) append(b []byte) []byte {
	b = append(b, a.word...)
	if a.code != "" {
		b = append(append(append(b, " ("...), a.code...), ')')
	}
	if a.text != "" {
		b = append(append(b, ' '), quote(a.text)...)
	}
	return append(b, crlf...)
}

var errEnd = errors.New("end")

func (c *client) run() {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("panic in a session", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	err := c.write(append(c.capabilities(), ok("packetboat ready").append(nil)...))
	for err == nil {
		err = c.next()
	}
	cause := c.ses.Ending()
	switch {
	case errors.Is(err, errEnd):
	case errors.Is(err, errFatal):
		_ = c.write((&answer{"BYE", "", "what was sent is no ManageSieve"}).append(nil))
		c.ses.SetEnd("no ManageSieve")
	case cause != nil:
		_ = c.write((&answer{"BYE", "TRYLATER", cause.Error()}).append(nil))
	case errors.Is(err, os.ErrDeadlineExceeded):
		_ = c.write((&answer{"BYE", "TRYLATER", "idle for too long"}).append(nil))
	}
}

func (c *client) write(b []byte) error {
	_, err := c.reader.conn.Write(b)
	return err
}

// max is how large a literal may be.
func (c *client) max() int64 {
	if c.account == nil {
		return maxLogin
	}
	return c.srv.o.Limits.Size
}

// next reads a command, runs it and answers.
func (c *client) next() error {
	c.ses.Done()
	if cause := c.ses.Ending(); cause != nil {
		return cause
	}
	name, args, err := c.reader.command(c.max())
	var wrong syntaxError
	if err != nil && err != errTooLong && !errors.As(err, &wrong) {
		return err
	}
	if name == "" && err == nil {
		return nil // an empty line
	}
	cmd, known := commands[name]
	activity := name
	if !known {
		activity = "unknown command"
	}
	c.ses.Begin(activity)
	a := c.refuses(name, cmd, known, args, err)
	if a == nil {
		var out []byte
		out, a = cmd.run(c, args)
		if a == nil {
			return errEnd // it has spoken for itself
		}
		if a.word == "" {
			return nil
		}
		return c.finish(out, a)
	}
	if c.faults++; c.faults >= maxFaults {
		_ = c.write((&answer{"BYE", "", "too many errors"}).append(nil))
		c.ses.SetEnd("too many errors")
		return errEnd
	}
	return c.finish(nil, a)
}

func (c *client) finish(out []byte, a *answer) error {
	if err := c.write(a.append(out)); err != nil {
		return err
	}
	if a.word == "BYE" || a.word == "OK" && a.code == "" && a.text == farewell {
		return errEnd
	}
	return nil
}

// refuses tells why a command is not run.
func (c *client) refuses(name string, cmd command, known bool, args []argument, err error) *answer {
	switch {
	case !known:
		return no("", "unknown command")
	case err == errTooLong:
		return no("QUOTA/MAXSIZE", "larger than %d bytes", c.max())
	case err != nil:
		return no("", "%s", err.Error())
	case cmd.states&c.state() == 0 && c.account == nil:
		return no("", "authenticate first")
	case cmd.states&c.state() == 0:
		return no("", "%s is not possible now", name)
	}
	kinds := strings.TrimSuffix(cmd.args, "?")
	fewest := len(kinds)
	if kinds != cmd.args {
		fewest--
	}
	if len(args) < fewest || len(args) > len(kinds) {
		return no("", "%s takes %d arguments", name, len(kinds))
	}
	for i, a := range args {
		if a.isNum != (kinds[i] == 'n') {
			return no("", "an argument of %s is of the wrong kind", name)
		}
	}
	return nil
}

const (
	before states = 1 << iota // the login
	after
)

type states uint8

func (c *client) state() states {
	if c.account == nil {
		return before
	}
	return after
}

// failed is the response to an error: the one place that knows which it is (RFC 5804 section 1.3).
func (c *client) failed(what string, err error) *answer {
	var a *answer
	switch {
	case errors.As(err, &a):
		return a
	case errors.Is(err, storage.ErrSieveScripts):
		return no("QUOTA/MAXSCRIPTS", "there are as many scripts as there may be")
	case errors.Is(err, storage.ErrSieveSize):
		return no("QUOTA/MAXSIZE", "the script is too large, or all scripts together are")
	case errors.Is(err, storage.ErrQuota):
		return no("QUOTA", "the account is full")
	case errors.Is(err, storage.ErrSieveActive):
		return no("ACTIVE", "the active script is not deleted")
	case errors.Is(err, fs.ErrNotExist):
		return no("NONEXISTENT", "there is no script of that name")
	case errors.Is(err, fs.ErrExist):
		return no("ALREADYEXISTS", "there is a script of that name")
	case errors.Is(err, storage.ErrInvalid):
		return no("", "that is no name for a script")
	case errors.Is(err, auth.ErrTooMany):
		return &answer{"BYE", "", "too many failed logins"}
	case errors.Is(err, auth.ErrThrottled):
		return no("TRYLATER", "too many failed logins, try again later")
	case errors.Is(err, auth.ErrPlaintext):
		return no("ENCRYPT-NEEDED", "STARTTLS first")
	case errors.Is(err, auth.ErrMechanism):
		return no("", "there is no such mechanism")
	case errors.Is(err, auth.ErrCredentials):
		return no("", "authentication failed")
	case errors.Is(err, session.ErrLimit):
		return &answer{"BYE", "TRYLATER", err.Error()}
	}
	if c.ses.Ending() == nil && !errors.Is(err, context.Canceled) {
		c.log.Error("failed", "doing", what, "error", err)
	}
	return no("TRYLATER", "temporary failure")
}

// capabilities are RFC 5804 section 1.7's.
func (c *client) capabilities() []byte {
	var b bytes.Buffer
	line := func(name, value string) { fmt.Fprintf(&b, "\"%s\" %s\r\n", name, quote(value)) }
	line("IMPLEMENTATION", strings.TrimSpace("packetboat "+c.srv.o.Version))
	line("VERSION", "1.0")
	line("SASL", strings.Join(c.srv.door.Mechanisms(c.ses), " "))
	line("SIEVE", strings.Join(sieve.Extensions(), " "))
	line("MAXREDIRECTS", fmt.Sprint(c.srv.o.MaxRedirects))
	if _, on := c.ses.TLS(); !on && c.srv.o.TLS != nil && c.account == nil {
		b.WriteString("\"STARTTLS\"\r\n")
	}
	if c.account != nil {
		line("OWNER", c.account.Name)
		b.WriteString("\"UNAUTHENTICATE\"\r\n")
	}
	return b.Bytes()
}

// authenticate is AUTHENTICATE (section 2.1).
func (c *client) authenticate(args []argument) ([]byte, *answer) {
	var initial []byte
	if len(args) == 2 {
		var err error
		if initial, err = decode(args[1].text); err != nil {
			return nil, no("", "invalid base64")
		}
		if initial == nil {
			initial = []byte{}
		}
	}
	x, err := c.srv.door.SASL(c.ses.Context(), c.ses, strings.ToUpper(args[0].text))
	if err != nil {
		return nil, c.failed("login", err)
	}
	last, err := c.dialogue(x, initial)
	var wrong syntaxError
	var gone *net.OpError
	switch {
	case err == nil:
	case errors.As(err, &wrong):
		return nil, no("", "%s", wrong)
	case err == errTooLong:
		return nil, no("", "a response is larger than %d bytes", maxLogin)
	case c.ses.Ending() != nil:
		return nil, &answer{"BYE", "TRYLATER", c.ses.Ending().Error()}
	case errors.Is(err, errFatal):
		return nil, &answer{"BYE", "", "what was sent is no ManageSieve"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &answer{"BYE", "TRYLATER", "idle for too long"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &gone):
		return nil, nil // the client left
	default:
		return nil, c.failed("login", err)
	}
	c.account = x.Account()
	c.faults = 0
	done := ok("logged in")
	if last != nil {
		done.code = "SASL " + string(quote(base64.StdEncoding.EncodeToString(last)))
	}
	return nil, done
}

// dialogue runs an exchange. last is what the mechanism says with its success, which goes into the OK.
func (c *client) dialogue(x auth.Exchange, response []byte) (last []byte, err error) {
	for {
		challenge, done, err := x.Next(response)
		if err != nil {
			return nil, err
		}
		if done {
			if len(challenge) == 0 {
				challenge = nil
			}
			return challenge, nil
		}
		if err := c.write(append(quote(base64.StdEncoding.EncodeToString(challenge)), crlf...)); err != nil {
			return nil, err
		}
		c.ses.Park("AUTHENTICATE")
		line, err := c.reader.line()
		if err != nil {
			return nil, err
		}
		args, err := c.reader.arguments(line, maxLogin)
		if err != nil {
			return nil, err
		}
		if len(args) != 1 || args[0].isNum {
			return nil, syntaxError("a string was expected")
		}
		if args[0].text == "*" {
			return nil, syntaxError("authentication cancelled")
		}
		if response, err = decode(args[0].text); err != nil {
			return nil, syntaxError("invalid base64")
		}
	}
}

func decode(s string) ([]byte, error) {
	if s == "" || s == "=" {
		return []byte{}, nil
	}
	return base64.StdEncoding.DecodeString(s)
}
