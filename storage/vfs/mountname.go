package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/packetboat/packetboat/storage"
)

// hiddenPrefix begins the names of uploads under way and of parts that cut uploads left, beside the files that they are to become. No listing shows
// such names and no path leads to them.
const hiddenPrefix = ".packetboat-"

// hidden tells whether a name of the host begins so, also in the eyes of file systems that do not tell the case of letters apart or pass over characters
// that cannot be seen.
func hidden(name string) bool {
	if name == "" || name[0] != hiddenPrefix[0] && name[0] < 0x80 {
		return false
	}
	var seen strings.Builder
	n := 0
	for _, r := range name {
		if unicode.In(r, unicode.Cf, unicode.Mn, unicode.Variation_Selector) {
			continue
		}
		seen.WriteRune(r)
		if n++; n == len(hiddenPrefix) {
			break
		}
	}
	return strings.EqualFold(norm.NFKC.String(seen.String()), hiddenPrefix)
}

// find makes the path below the mount, or the jail, of names. A name may be written on the host in the decomposed form (macOS does so): it is looked
// for in NFC, then in NFD.
func (h *hosted) find(names []string) error {
	h.rel = "."
	for _, name := range names {
		if hidden(name) {
			return errHiddenName
		}
		in := h.rel
		h.rel = path.Join(in, name)
		if other := norm.NFD.String(name); other != name && h.missing(h.rel) {
			if rel := path.Join(in, other); !h.missing(rel) {
				name, h.rel = other, rel
			}
		}
		if h.exact {
			if err := h.spelled(in, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// spelled refuses what is in a folder under a name that is a link, or is spelled otherwise there: a file system that folds names (case, forms of Unicode, short
// names) would lead by one of them to what has other rights by its own.
func (h *hosted) spelled(in, name string) error {
	st, err := h.r.Lstat(path.Join(in, name))
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return nil
	case err != nil:
		return hostError(err)
	case st.Mode()&fs.ModeSymlink != 0:
		return errLinkHere
	}
	other, sure := flipped(name)
	if other == name && sure {
		return nil
	}
	if sure {
		if same, err := h.r.Lstat(path.Join(in, other)); err != nil || !os.SameFile(st, same) {
			return nil // the case of letters counts here
		}
	}
	d, err := h.r.dir(in)
	if err != nil {
		return hostError(err)
	}
	defer d.close()
	return listed(d.f, name)
}

// flipped is an ASCII name with its letters in the other case; not sure: there are other ways to spell it.
func flipped(name string) (other string, sure bool) {
	sure = !strings.HasSuffix(name, ".") && !strings.HasSuffix(name, " ") && !strings.Contains(name, "~")
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0x80:
			sure = false
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, name), sure
}

// listed tells whether a folder has an entry of exactly this name.
func listed(d interface {
	Readdirnames(n int) ([]string, error)
}, name string) error {
	for {
		page, err := d.Readdirnames(hostPage)
		if slices.Contains(page, name) {
			return nil
		}
		if err == io.EOF {
			return fs.ErrNotExist
		}
		if err != nil {
			return hostError(err)
		}
	}
}

func (h *hosted) missing(rel string) bool {
	_, err := h.r.Lstat(rel)
	return errors.Is(err, fs.ErrNotExist)
}

// shownName is the name under which an entry of the host is listed: what leads to it as a path. One to which no path leads is not listed: hidden ones, those
// that are not UTF-8, hold control characters, or are neither in NFC nor in NFD.
func shownName(raw string) (string, bool) {
	if hidden(raw) || norm.NFC.IsNormalString(raw) && checkShown(raw) == nil {
		return raw, !hidden(raw)
	}
	name := norm.NFC.String(raw)
	return name, checkShown(name) == nil && norm.NFD.String(name) == raw
}

// checkShown is checkName for what comes from the host and not from a client.
func checkShown(name string) error {
	if strings.ToValidUTF8(name, "") != name {
		return fs.ErrInvalid
	}
	return checkName(name)
}

// The rules of mounts.
var (
	errReadOnlyMount = &refusal{fs.ErrPermission, "this folder can only be read"}
	errMountPoint    = &refusal{fs.ErrPermission, "a folder of the host is mounted there: only the administrator can move or remove it"}
	errAcrossMounts  = &refusal{fs.ErrPermission, "files cannot be moved into or out of a mounted folder: download and upload them"}
	errAcrossHost    = &refusal{fs.ErrPermission, "files cannot be moved between file systems of the host: download and upload them"}
	errHiddenName    = &refusal{fs.ErrNotExist, "names that begin with " + hiddenPrefix + " are the server's own"}
	errLinkHere      = &refusal{fs.ErrNotExist, "links are not followed where paths have rights of their own"}
	errNoFile        = &refusal{fs.ErrPermission, "it is neither a file nor a folder"}
	errNotEmpty      = &refusal{fs.ErrPermission, "the folder is not empty"}
	errHostForbids   = &refusal{fs.ErrPermission, "the host does not allow it"}
	errHostReadOnly  = &refusal{fs.ErrPermission, "the host's file system can only be read"}
	errHostName      = &refusal{fs.ErrInvalid, "the host's file system does not take such a name"}
	errHostSize      = &refusal{fs.ErrInvalid, "the host's file system does not take so large a file"}
)

// errUnavailable is a host folder that is not there now: a disk that is not mounted, mostly.
var errUnavailable = fmt.Errorf("%w: the mounted folder is not available", storage.ErrTemporary)

// errMoved is that the folder of an upload went elsewhere meanwhile.
var errMoved = fmt.Errorf("%w: the folder was moved or replaced", storage.ErrConflict)

// hostErrors are what errors of the host mean here.
var hostErrors = []struct {
	no  syscall.Errno
	err error
}{
	{syscall.ENOENT, fs.ErrNotExist},
	{syscall.ENOTDIR, fs.ErrNotExist},
	{syscall.ELOOP, fs.ErrNotExist}, // links that lead in circles
	{syscall.EEXIST, fs.ErrExist},
	{syscall.EISDIR, errIsFolder},
	{syscall.ENOTEMPTY, errNotEmpty},
	{syscall.EXDEV, errAcrossHost},
	{syscall.EACCES, errHostForbids},
	{syscall.EPERM, errHostForbids},
	{syscall.EROFS, errHostReadOnly},
	{syscall.ENAMETOOLONG, errHostName},
	{syscall.EINVAL, errHostName},
	{syscall.EILSEQ, errHostName},
	{syscall.EFBIG, errHostSize},
}

// hostError makes of an error of the host one of the tree. Nothing of the host's paths gets into its text.
func hostError(err error) error {
	if err == nil {
		return nil
	}
	var known *refusal
	if errors.As(err, &known) {
		return err
	}
	var no syscall.Errno
	if !errors.As(err, &no) {
		var path *fs.PathError
		var link *os.LinkError
		if errors.As(err, &path) || errors.As(err, &link) {
			if errors.Is(err, fs.ErrClosed) {
				return fmt.Errorf("%w: %w", storage.ErrTemporary, err)
			}
			return fs.ErrNotExist // os.Root refused it: a link that leads out
		}
		return err
	}
	for _, e := range hostErrors {
		if no == e.no {
			return e.err
		}
	}
	if no == syscall.EDQUOT {
		return storage.ErrQuota // the host's
	}
	// A full disk, a server that does not answer, too many open files: what may pass.
	return fmt.Errorf("%w: %w", storage.ErrTemporary, err)
}
