package smtp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// reply is an answer of one line. A reply of 400 and more is an error; every one
// but a 3xx has an enhanced code (RFC 2034 section 4), of RFC 3463.
type reply struct {
	code     int
	enhanced string // "5.1.1"; "" for none
	text     string
}

// maxReply is how long the text of a reply may be: RFC 5321 section 4.5.3.1.5 allows 512 octets a line.
const maxReply = 480

func say(code int, enhanced, format string, args ...any) *reply {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	return &reply{code, enhanced, text}
}

// Error makes a reply an error of the backend.
func (r *reply) Error() string { return fmt.Sprintf("%d %s %s", r.code, r.enhanced, r.text) }

func (r *reply) failed() bool { return r.code >= 400 }

// append writes the line. What a client sent and is quoted here cannot break the line.
func (r *reply) append(b []byte) []byte {
	b = fmt.Append(b, r.code)
	if r.enhanced != "" {
		b = append(append(b, ' '), r.enhanced...)
	}
	b = append(b, ' ')
	return append(append(b, clean(r.text, maxReply)...), "\r\n"...)
}

// clean makes s fit into a line: control characters become "?", and it is cut to n bytes.
func clean(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	s = strings.ToValidUTF8(s, "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// plainly is clean for what is said before anybody asked for SMTPUTF8: "?" for what is not ASCII (RFC 5321 section 4.2).
func plainly(s string, n int) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x80 {
			return '?'
		}
		return r
	}, clean(s, n))
}

// Refusal is the line that turns a connection away before it has begun (RFC 5321 section 3.1).
func Refusal(reason string) []byte {
	return say(421, "4.7.0", "%s", reason).append(nil)
}

// replyTo is the one place that knows which error is which reply (RFC 3463, RFC 4954 section 6).
func replyTo(err error) *reply {
	var r *reply
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, storage.ErrQuota):
		return say(452, "4.2.2", "mailbox is full")
	case asTooMuch(err) != nil:
		return tooMuch(asTooMuch(err))
	case errors.Is(err, storage.ErrQueueFull):
		return say(452, "4.3.1", "the queue holds as many messages as it may, try again later")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return say(452, "4.3.1", "no room for the message now")
	case errors.Is(err, storage.ErrNotLocal):
		return say(550, "5.7.1", "relaying denied")
	case errors.Is(err, fs.ErrNotExist):
		return say(550, "5.1.1", "no such user here")
	case errors.Is(err, storage.ErrInvalid):
		return say(501, "5.1.3", "bad address")
	case errors.Is(err, auth.ErrCredentials):
		return say(535, "5.7.8", "authentication failed")
	case errors.Is(err, auth.ErrTooMany):
		return say(421, "4.7.0", "too many failed logins")
	case errors.Is(err, auth.ErrThrottled):
		return say(454, "4.7.0", "too many failed logins, try again later")
	case errors.Is(err, auth.ErrPlaintext):
		return say(530, "5.7.0", "must issue a STARTTLS command first")
	case errors.Is(err, auth.ErrMechanism):
		return say(504, "5.5.4", "unknown authentication mechanism")
	case errors.Is(err, session.ErrLimit):
		return say(421, "4.7.0", "%s", err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return say(451, "4.3.2", "interrupted, try again")
	}
	return say(451, "4.3.0", "temporary failure, try again later")
}

// farewell is the 421 for a session that ends against its client's will (RFC 5321 section 3.8).
func farewell(cause error, name string) *reply {
	switch {
	case errors.Is(cause, session.ErrDrain), errors.Is(cause, session.ErrHurry):
		return say(421, "4.3.2", "%s is shutting down", name)
	case errors.Is(cause, session.ErrKilled), errors.Is(cause, session.ErrRevoked), errors.Is(cause, session.ErrDisabled),
		errors.Is(cause, session.ErrRemoved), errors.Is(cause, session.ErrPass):
		return say(421, "4.7.0", "%s", cause.Error())
	case errors.Is(cause, session.ErrLogin):
		return say(421, "4.7.0", "no login in time")
	case errors.Is(cause, session.ErrDeadline):
		return say(421, "4.4.2", "session lasted too long")
	}
	return say(421, "4.4.2", "idle for too long")
}
