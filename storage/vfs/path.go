package vfs

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/packetboat/packetboat/storage"
)

// mailFolder is the one folder of the home that holds mailboxes.
const mailFolder = "Mail"

const maxName = 255 // bytes, storage.CleanName's limit

// Clean makes of a path as a client sends it, relative to cwd, an absolute clean one: "." and ".." resolved, NFC, no control characters,
// limits of storage.MaxDepth and MaxPath. storage.ErrInvalid. "" is cwd. A backslash is a character like others.
func Clean(cwd, path string) (string, error) {
	if !strings.HasPrefix(path, "/") {
		path = cwd + "/" + path
	}
	// Looked at before it is normalised: what is too long is not worth the work.
	if len(path) > 4*storage.MaxPath {
		return "", fmt.Errorf("%w: path longer than %d bytes", storage.ErrInvalid, storage.MaxPath)
	}
	if !utf8.ValidString(path) {
		return "", fmt.Errorf("%w: not UTF-8", storage.ErrInvalid)
	}
	path = norm.NFC.String(path)
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		switch name {
		case "", ".":
		case "..":
			names = names[:max(len(names)-1, 0)]
		default:
			if err := checkName(name); err != nil {
				return "", err
			}
			names = append(names, name)
		}
	}
	if len(names) > storage.MaxDepth {
		return "", fmt.Errorf("%w: more than %d levels", storage.ErrInvalid, storage.MaxDepth)
	}
	clean := "/" + strings.Join(names, "/")
	if len(clean) > storage.MaxPath {
		return "", fmt.Errorf("%w: path longer than %d bytes", storage.ErrInvalid, storage.MaxPath)
	}
	return clean, nil
}

func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("%w: longer than %d bytes", storage.ErrInvalid, maxName)
	}
	for _, r := range name {
		// U+2028 and U+2029 end lines for some who read a listing.
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("%w: it holds a control character", storage.ErrInvalid)
		}
	}
	return nil
}

// splitBelow cleans path once more (a Tree trusts nobody) and gives its names, which begin at root; none is home.
func splitBelow(root []string, path string) (names []string, err error) {
	path, err = Clean("/", path)
	if err != nil || path == "/" {
		return root, err
	}
	names = strings.Split(path[1:], "/")
	if len(root) > 0 {
		names = slices.Concat(root, names)
	}
	if len(names) > storage.MaxDepth {
		return nil, fmt.Errorf("%w: more than %d levels", storage.ErrInvalid, storage.MaxDepth)
	}
	// RFC 9051 section 5.1: INBOX is INBOX in any case.
	if inMail(names) && len(names) > 1 && strings.EqualFold(names[1], "INBOX") {
		names[1] = "INBOX"
	}
	return names, nil
}

func join(names []string) string { return "/" + strings.Join(names, "/") }

// inMail tells whether names lead to /Mail or below.
func inMail(names []string) bool { return len(names) > 0 && names[0] == mailFolder }

// isMailRoot tells whether names lead to /Mail itself.
func isMailRoot(names []string) bool { return len(names) == 1 && inMail(names) }

// mailbox is the name of the mailbox to which names lead.
func mailbox(names []string) string { return strings.Join(names[1:], "/") }
