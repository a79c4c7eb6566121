package imap

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// refusal is how an error is told.
type refusal struct {
	kind  string // NO or BAD
	code  string
	text  string
	close bool  // say BYE after it
	fatal error // instead of an answer: the connection is over
}

// errors of commands that have a code of their own.
var (
	errTryCreate = errors.New("no such mailbox") // RFC 9051 section 7.1: a COPY, MOVE or APPEND target that CREATE could make
	errGone      = errors.New("some of the messages no longer exist")
)

// errUIDRequired: message numbers were used by a client that said it would not (RFC 9586 section 3).
var errUIDRequired = &wire.Error{Code: "UIDREQUIRED", Text: "Message numbers are not taken once UIDONLY is enabled"}

// replies maps the kinds of errors to response codes (RFC 9051 section 7.1, RFC 5530 section 3). The first that matches counts.
var replies = []struct {
	err  error
	code string
	text string // "" means the error's own
}{
	{errTryCreate, "TRYCREATE", "No such mailbox"},
	{errGone, "EXPUNGEISSUED", "Some of the messages no longer exist"},
	{auth.ErrPlaintext, "PRIVACYREQUIRED", "TLS is required before a password may be sent"},
	{auth.ErrAuthorization, "AUTHORIZATIONFAILED", "Not allowed to act as somebody else"},
	{auth.ErrCredentials, "AUTHENTICATIONFAILED", "Authentication failed"},
	{auth.ErrTooMany, "AUTHENTICATIONFAILED", "Too many failed logins"},
	{auth.ErrThrottled, "UNAVAILABLE", "Too many failed logins, try again later"},
	{auth.ErrMechanism, "CANNOT", "Unknown SASL mechanism"},
	{session.ErrLimit, "LIMIT", ""},
	{storage.ErrDamaged, "CORRUPTION", "What was stored is damaged; the administrator finds more in the log"},
	{fs.ErrNotExist, "NONEXISTENT", "No such mailbox"},
	{fs.ErrExist, "ALREADYEXISTS", "Mailbox already exists"},
	{fs.ErrPermission, "CANNOT", "Not permitted"},
	{storage.ErrQuota, "OVERQUOTA", "Over quota"},
	{storage.ErrEntries, "LIMIT", "The account has as many mailboxes and files as it may"},
	{storage.ErrLimit, "LIMIT", "Limit reached"},
	{storage.ErrInvalid, "CANNOT", "Invalid mailbox name"},
	{storage.ErrConflict, "INUSE", "Changed by somebody else meanwhile, try again"},
	{syscall.ENOSPC, "UNAVAILABLE", "No space left on the server, try again later"},
	{syscall.EDQUOT, "UNAVAILABLE", "No space left on the server, try again later"},
	{storage.ErrTemporary, "UNAVAILABLE", "Temporary failure, try again later"},
}

// reply is the one place that turns errors into responses.
func (c *client) reply(err error) refusal {
	var e *wire.Error
	if errors.As(err, &e) {
		r := refusal{kind: "BAD", code: e.Code, text: e.Text}
		if e.No {
			r.kind = "NO"
		}
		if e.Close {
			r.fatal = &errBye{code: e.Code, text: e.Text}
		}
		return r
	}
	var bye *errBye
	if errors.As(err, &bye) {
		return refusal{fatal: bye}
	}
	if broken := c.e.Err(); broken != nil {
		return refusal{fatal: broken}
	}
	if cause := c.ses.Ending(); cause != nil {
		return refusal{fatal: cause}
	}
	for _, r := range replies {
		if errors.Is(err, r.err) {
			if r.err == storage.ErrDamaged {
				c.srv.o.Logger.Error("damaged data", "session", c.ses.ID(), "error", err)
			}
			if r.text == "" {
				r.text = sentence(err.Error())
			}
			return refusal{kind: "NO", code: r.code, text: r.text, close: errors.Is(err, auth.ErrTooMany)}
		}
	}
	if errors.Is(err, context.Canceled) {
		return refusal{fatal: err}
	}
	c.srv.o.Logger.Error("imap command failed", "session", c.ses.ID(), "error", err)
	return refusal{kind: "NO", code: "SERVERBUG", text: "Internal error " + c.ses.ID()}
}

// sentence makes a text for people of an error's.
func sentence(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	if s == "" {
		return "Refused"
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
