package smtp

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/packetboat/packetboat/auth"
)

var (
	errCancelled = say(501, "5.7.0", "authentication cancelled")
	errBase64    = say(501, "5.5.2", "invalid base64")
)

// auth is AUTH (RFC 4954). The engine has no part in it: its own dialogue forgets read errors and the number of tries.
func (c *client) auth(_, arg string) {
	mech, initial, _ := strings.Cut(arg, " ")
	switch {
	case c.srv.o.Mode != Submission:
		c.bad(say(502, "5.5.1", "AUTH is not available here"))
		return
	case c.account != nil:
		c.bad(say(503, "5.5.1", "authenticated already"))
		return
	case c.mail != nil:
		c.bad(say(503, "5.5.1", "AUTH is not allowed within a transaction"))
		return
	case mech == "":
		c.bad(say(501, "5.5.4", "syntax: AUTH mechanism [initial-response]"))
		return
	}
	x, err := c.srv.door.SASL(c.context(), c.ses, mech)
	if err == nil {
		err = c.dialogue(x, strings.TrimSpace(initial))
	}
	if err == nil {
		c.account = x.Account()
		c.answer(say(235, "2.7.0", "authentication succeeded"))
		return
	}
	if c.over {
		return
	}
	if cause := c.context().Err(); cause != nil {
		c.lose(cause)
		return
	}
	if errors.Is(err, auth.ErrTooMany) {
		// The one failure too many is told as a failure: a 421 alone would make the client try the same password again.
		c.answer(replyTo(auth.ErrCredentials))
		c.part(replyTo(err), "too many failed logins")
		return
	}
	r := replyTo(err)
	if r.code == 451 {
		r = say(454, "4.3.0", "temporary authentication failure") // RFC 4954 section 4
	}
	if r.code == 421 {
		c.part(r, err.Error())
		return
	}
	c.bad(r)
}

// dialogue runs the exchange. RFC 4954 section 4: success carries no data, so a last challenge is sent as any other.
func (c *client) dialogue(x auth.Exchange, initial string) error {
	var response []byte
	if initial != "" {
		var err error
		if response, err = decode(initial, true); err != nil {
			return err
		}
	}
	for {
		challenge, done, err := x.Next(response)
		if err != nil {
			return err
		}
		if done && len(challenge) == 0 {
			return nil
		}
		c.challenge(challenge)
		if response, err = c.response(); err != nil || done {
			return err
		}
	}
}

// challenge sends what may be longer than a reply.
func (c *client) challenge(b []byte) {
	line := append(base64.StdEncoding.AppendEncode([]byte("334 "), b), crlf...)
	if err := c.wire.put(line); err != nil {
		c.over = true
	}
}

// response reads a line of the dialogue. Meanwhile the session only waits: a drain need not wait for it.
func (c *client) response() ([]byte, error) {
	c.ses.Park("AUTH")
	line, err := c.wire.line()
	if errors.Is(err, errLongLine) {
		return nil, say(500, "5.5.6", "line too long")
	}
	if errors.Is(err, errHello) {
		c.part(errBase64, err.Error())
	}
	if err != nil {
		c.lose(err)
		return nil, err
	}
	text, refusal := c.checkLine(line)
	if refusal != nil {
		return nil, refusal
	}
	if text == "*" {
		return nil, errCancelled
	}
	return decode(text, false)
}

// decode reads base64; "=" is an empty initial response.
func decode(s string, initial bool) ([]byte, error) {
	if initial && s == "=" {
		return []byte{}, nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errBase64
	}
	return b, nil
}
