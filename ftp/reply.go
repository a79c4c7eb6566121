package ftp

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage"
)

// answer is a reply: RFC 959 section 4.2.
type answer struct {
	code int
	text string
}

// errorAnswer is an error that knows its reply.
type errorAnswer struct {
	answer
	err error // for the log
}

func (e *errorAnswer) Error() string {
	if e.err != nil {
		return e.text + ": " + e.err.Error()
	}
	return e.text
}

func (e *errorAnswer) Unwrap() error { return e.err }

func refuse(code int, text string) error { return &errorAnswer{answer: answer{code, text}} }

// oneLine makes text fit for one line of a reply: UTF-8 (RFC 2640 section 3.1) without control characters, of which C1 has some that terminals obey, and without
// what ends a line for some.
func oneLine(text string) string {
	if strings.IndexFunc(text, notShown) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if notShown(r) {
			return '?'
		}
		return r
	}, text)
}

func notShown(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
}

// quote doubles the quotes in a path: RFC 959 appendix II.
func quote(path string) string { return `"` + strings.ReplaceAll(path, `"`, `""`) + `"` }

// replyOf turns an error into a reply. It is the only place that knows the codes of errors. creates is true for the commands
// to which RFC 959 section 5.4 gives 553; MKD has 550 like the rest. Texts of errors are not shown, since they may hold paths
// of the host, with the exception of those about names.
func replyOf(err error, creates bool) answer {
	var known *errorAnswer
	switch {
	case errors.As(err, &known):
		return known.answer
	case errors.Is(err, storage.ErrQuota):
		return answer{552, "Over quota."}
	case errors.Is(err, syscall.ENOSPC):
		return answer{452, "No space left, try again later."}
	case errors.Is(err, storage.ErrTemporary):
		return answer{451, "Temporary failure, try again later."}
	case errors.Is(err, storage.ErrConflict):
		return answer{450, "Changed by somebody else meanwhile, try again."}
	case errors.Is(err, storage.ErrInvalid), errors.Is(err, fs.ErrInvalid):
		if creates {
			return answer{553, "Not possible here: " + reason(err) + "."}
		}
		return answer{550, "Not possible: " + reason(err) + "."}
	case errors.Is(err, storage.ErrEntries):
		return answer{552, "The account has as many files and folders as it may."}
	case errors.Is(err, storage.ErrLimit) && creates:
		return answer{553, "Not possible: " + reason(err) + "."}
	case errors.Is(err, storage.ErrLimit):
		return answer{550, "Not possible: " + reason(err) + "."}
	case errors.Is(err, fs.ErrNotExist):
		return answer{550, "No such file or folder."}
	case errors.Is(err, fs.ErrExist):
		return answer{550, "Not possible: " + reason(err) + "."}
	case errors.Is(err, fs.ErrPermission):
		return answer{550, "Not allowed: " + reason(err) + "."}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return answer{426, "Interrupted."}
	}
	return answer{451, "Local error, see the server's log."}
}

// reason is the last part of an error's text when it is about the tree, which holds virtual names only. An error that comes from
// the operating system tells nothing.
func reason(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return "refused by the system"
	}
	text := err.Error()
	var path *fs.PathError
	if errors.As(err, &path) {
		text = path.Err.Error()
	}
	// "storage: remove: permission denied: why": who reads the reply knows what was asked for, and it says in front what kind of refusal it is.
	if rest, ok := strings.CutPrefix(text, "storage: "); ok {
		if _, why, ok := strings.Cut(rest, ": "); ok {
			text = strings.TrimPrefix(why, fs.ErrPermission.Error()+": ")
		}
	}
	return strings.TrimSuffix(oneLine(text), ".")
}

// reply writes a reply of one line.
func (c *client) reply(code int, text string) {
	text = oneLine(text)
	b := make([]byte, 0, len(text)+6)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, ' ')
	b = append(b, text...)
	c.write(append(b, "\r\n"...))
}

// replyLines writes a reply of several lines: the first and last carry the code, those between begin with a blank.
func (c *client) replyLines(code int, first string, between []string, last string) {
	n := strconv.Itoa(code)
	var b strings.Builder
	b.WriteString(n + "-" + oneLine(first) + "\r\n")
	for _, l := range between {
		b.WriteString(" " + oneLine(l) + "\r\n")
	}
	b.WriteString(n + " " + oneLine(last) + "\r\n")
	c.write([]byte(b.String()))
}

// fail answers an error. path, if there is one, is what the client asked for, in its virtual form.
func (c *client) fail(err error, path string, creates bool) {
	a := replyOf(err, creates)
	if a.code == 451 || a.code == 452 {
		c.log.Warn("command failed", "path", path, "error", err, "cause", cause(err))
	}
	if path != "" && a.code >= 550 {
		a.text = path + ": " + a.text
	}
	c.reply(a.code, a.text)
}

// cause is what is behind an error of the tree, whose own text is for strangers.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return errors.Unwrap(p.Err)
	}
	return nil
}

// write appends to what is to be sent. Replies are collected and sent together when no further command is waiting (flush).
func (c *client) write(b []byte) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.out = append(c.out, b...)
	if len(c.out) > 32<<10 {
		c.flushLocked()
	}
}

func (c *client) flush() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.flushLocked()
}

func (c *client) flushLocked() {
	if len(c.out) == 0 {
		return
	}
	if !c.deaf {
		// session.Conn cuts a peer that takes nothing.
		if _, err := c.conn.Write(c.out); err != nil {
			c.deaf = true
		}
	}
	if cap(c.out) > 4<<10 {
		c.out = nil
	}
	c.out = c.out[:0]
}
