package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// troubles are what the system says when a file cannot be written or opened now and the caller is not at fault.
var troubles = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}

func isTrouble(err error) bool {
	return slices.ContainsFunc(troubles, func(t error) bool { return errors.Is(err, t) })
}

// CleanName checks and normalises one name of the tree: NFC; not empty, ".", ".." ; at most 255 bytes; valid UTF-8; no "/", NUL or other control
// character. ErrInvalid says what is wrong. Names are case-sensitive, except that INBOX below /Mail is INBOX in any case.
func CleanName(name string) (string, error) {
	// Looked at before it is normalised: what is too long is not worth the work.
	if len(name) > 4*maxName {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxName)
	}
	if !utf8.ValidString(name) {
		return "", fmt.Errorf("%w: not UTF-8", ErrInvalid)
	}
	name = norm.NFC.String(name)
	switch {
	case name == "":
		return "", fmt.Errorf("%w: empty", ErrInvalid)
	case name == "." || name == "..":
		return "", fmt.Errorf("%w: %q is no name", ErrInvalid, name)
	case len(name) > maxName:
		return "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxName)
	}
	if strings.HasPrefix(name, "\ufeff") {
		return "", fmt.Errorf("%w: it begins with a byte order mark", ErrInvalid) // RFC 6855 section 3: Net-Unicode, which has none
	}
	for _, r := range name {
		if r == '/' {
			return "", fmt.Errorf("%w: it holds a slash", ErrInvalid)
		}
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return "", fmt.Errorf("%w: it holds a control character", ErrInvalid)
		}
	}
	return name, nil
}

const maxName = 255

// CleanMailbox checks and normalises a mailbox name: each level by CleanName, INBOX uppercased, no empty level; ErrInvalid.
func CleanMailbox(name string) (string, error) {
	if len(name) > MaxPath {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, MaxPath)
	}
	levels := strings.Split(name, "/")
	if len(levels) >= MaxDepth {
		return "", fmt.Errorf("%w: more than %d levels", ErrInvalid, MaxDepth-1)
	}
	for i, l := range levels {
		c, err := CleanName(l)
		if err != nil {
			return "", err
		}
		// RFC 9051 section 5.1: INBOX is INBOX in any case.
		if i == 0 && strings.EqualFold(c, "INBOX") {
			c = "INBOX"
		}
		levels[i] = c
	}
	name = strings.Join(levels, "/")
	if len(name) > MaxPath {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, MaxPath)
	}
	return name, nil
}
