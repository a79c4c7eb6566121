package imap

import (
	"io"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage"
)

// nulReader looks for NUL in what is read through it.
type nulReader struct {
	r io.Reader
	f *nulFinder
}

func (n *nulReader) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	_, _ = n.f.Write(p[:k])
	return k, err
}

// needsUTF8 tells whether a message is an internationalized one (RFC 6532 section 3): whether there is UTF-8 beyond ASCII in its header fields. A
// header that has other 8-bit bytes is none: it is in some charset of before, and mail of that kind must be let in when a client moves old mail.
func needsUTF8(u *storage.Upload) (bool, error) {
	end := u.Index().Root.BodyOffset
	buf := make([]byte, min(end, copyMax))
	found, kept := false, 0 // buf[:kept] is the beginning of a character
	for off := int64(0); off < end; {
		n := min(len(buf)-kept, int(min(end-off, copyMax)))
		k, err := u.ReadAt(buf[kept:kept+n], off)
		if k < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return false, err
		}
		off += int64(n)
		b := buf[:kept+n]
		for len(b) > 0 {
			if b[0] < utf8.RuneSelf {
				b = b[1:]
				continue
			}
			if !utf8.FullRune(b) && off < end {
				break
			}
			r, size := utf8.DecodeRune(b)
			if r == utf8.RuneError && size == 1 {
				return false, nil
			}
			found, b = true, b[size:]
		}
		kept = copy(buf, b)
	}
	return found, nil
}
