package vfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"github.com/packetboat/packetboat/storage"
)

// refusal is a rule of the tree that forbids something: a text for people and the kind that errors.Is finds.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// ErrBeyond is Create's error when there are fewer bytes than Offset to go on from.
var ErrBeyond error = &refusal{storage.ErrInvalid, "fewer bytes than that are here to go on from"}

// The rules.
var (
	errMailRoot     = &refusal{fs.ErrPermission, "messages live in mailboxes: upload into a folder below /Mail"}
	errNoSelect     = &refusal{fs.ErrPermission, "this folder of /Mail is no mailbox and holds no messages"}
	errFixed        = &refusal{fs.ErrPermission, "this folder is part of every account"}
	errInbox        = &refusal{fs.ErrPermission, "INBOX cannot be removed or renamed"}
	errSpecial      = &refusal{fs.ErrPermission, "mail programs need this mailbox: it cannot be removed"}
	errNoRewrite    = &refusal{fs.ErrPermission, "a message is never changed; it cannot be resumed or appended to"}
	errOwnName      = &refusal{fs.ErrPermission, "a message's name is made from its date and subject and cannot be changed"}
	errMoveOut      = &refusal{fs.ErrPermission, "a message cannot be moved out of /Mail: download it and upload it as a file"}
	errFolderIn     = &refusal{fs.ErrPermission, "only messages can be moved into a mailbox, not folders"}
	errMailboxOut   = &refusal{fs.ErrPermission, "a mailbox cannot be moved out of /Mail"}
	errMailTimes    = &refusal{fs.ErrPermission, "times and modes of mail cannot be changed"}
	errMessageForm  = &refusal{fs.ErrInvalid, "a mailbox cannot have a name of the form of a message's: (number).eml"}
	errIsFolder     = &refusal{fs.ErrInvalid, "it is a folder"}
	errNotFolder    = &refusal{fs.ErrInvalid, "it is no folder"}
	errFolderExists = &refusal{fs.ErrExist, "a folder of that name exists"}
	errTooLarge     = &refusal{storage.ErrLimit, "the message is larger than this server takes"}
	errBelowItself  = &refusal{fs.ErrInvalid, "a folder cannot be moved below itself"}
	errWriteOnly    = &refusal{fs.ErrPermission, "the file is open for writing"}
	errReadOnly     = &refusal{fs.ErrPermission, "the file is open for reading"}
	errSequential   = &refusal{fs.ErrInvalid, "files are written from their beginning to their end"}
)

// fault is an error of ours or the machine's. Its text is for strangers; what happened can be unwrapped, for the log.
type fault struct{ err error }

func (f *fault) Error() string { return "internal failure" }
func (f *fault) Unwrap() error { return f.err }

// fail makes a *fs.PathError of err that tells of the virtual path alone, never of a path of the host.
func fail(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: printable(path), Err: outward(err)}
}

// printable is a path as a log or a reply can hold it: a path that was refused can hold anything, line ends too.
func printable(path string) string {
	if len(path) > storage.MaxPath {
		path = path[:storage.MaxPath]
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, path), "?")
}

// outward is err in a form that may be shown.
func outward(err error) error {
	var r *refusal
	var f *fault
	var p *fs.PathError
	var l *os.LinkError
	var sys *os.SyscallError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &f):
		return f
	case errors.Is(err, storage.ErrQuota):
		return storage.ErrQuota
	case errors.Is(err, storage.ErrTemporary):
		return temporary{err}
	case errors.Is(err, fs.ErrNotExist):
		return fs.ErrNotExist
	case errors.Is(err, fs.ErrExist):
		return fs.ErrExist
	case errors.Is(err, storage.ErrConflict):
		return storage.ErrConflict
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &p), errors.As(err, &l), errors.As(err, &sys):
		return &fault{err}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, storage.ErrInvalid), errors.Is(err, storage.ErrLimit), errors.Is(err, fs.ErrInvalid):
		return err // its text says why
	}
	return &fault{err}
}

// temporary keeps what is behind a storage.ErrTemporary (a path of the host, for one) out of its text.
type temporary struct{ err error }

func (t temporary) Error() string { return storage.ErrTemporary.Error() }
func (t temporary) Unwrap() error { return t.err }
