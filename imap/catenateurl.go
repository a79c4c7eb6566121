package imap

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/imap/wire"
)

// maxURL is how many bytes the URL of a message may have.
const maxURL = 8 << 10

var errURL = errors.New("not the URL of a message")

// messageURL is a URL of a message or a part of one (RFC 5092 section 6), as CATENATE takes it (RFC 4469 section 3).
type messageURL struct {
	absolute    bool
	user, host  string // of an absolute one; user may be ""
	mailbox     string // UTF-8; "": the selected one
	uidValidity uint32 // 0: not given
	uid         uint32
	section     *imap.FetchItemBodySection
	partial     *imap.SectionPartial
}

// parseURL reads imap://[user@]host/mailbox..., //[user@]host/mailbox..., /mailbox;UIDVALIDITY=n/;UID=n/;SECTION=s/;PARTIAL=a.b, and ;UID=n...
// relative to the selected mailbox. RFC 5092 section 7.2: no other relative paths.
func parseURL(s string) (u messageURL, err error) {
	if len(s) > maxURL {
		return u, errURL
	}
	rest, ok := cutFold(s, "imap:")
	if ok && !strings.HasPrefix(rest, "//") {
		return u, errURL
	}
	if after, found := strings.CutPrefix(rest, "//"); found {
		u.absolute = true
		authority, path, _ := strings.Cut(after, "/")
		if u.user, u.host, err = parseAuthority(authority); err != nil {
			return u, err
		}
		rest = "/" + path
	}
	if strings.ContainsAny(rest, "?#") {
		return u, errURL // a search, or a fragment: no message
	}
	if rest, ok = strings.CutPrefix(rest, "/"); ok {
		if rest, err = u.parseMailbox(dotless(rest)); err != nil {
			return u, err
		}
	}
	return u, u.parseMessage(rest)
}

// cutFold is strings.CutPrefix in any case, of an ASCII prefix.
func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// parseAuthority reads [user[;AUTH=mechanism]@]host[:port].
func parseAuthority(s string) (user, host string, err error) {
	info, host, ok := strings.Cut(s, "@")
	if !ok {
		info, host = "", s
	}
	if host == "" || strings.Contains(host, "@") {
		return "", "", errURL
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	info, _, _ = strings.Cut(info, ";")
	if user, ok = unescape(info); !ok {
		return "", "", errURL
	}
	return user, strings.Trim(host, "[]"), nil
}

// dotless resolves dot segments (RFC 3986 section 5.2.4).
func dotless(path string) string {
	var out []string
	segments := strings.Split(path, "/")
	for i, s := range segments {
		switch s {
		case ".", "..":
			if s == ".." && len(out) > 0 {
				out = out[:len(out)-1]
			}
			if i == len(segments)-1 {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return strings.Join(out, "/")
}

// parseMailbox takes mailbox[;UIDVALIDITY=n]/ off.
func (u *messageURL) parseMailbox(s string) (rest string, err error) {
	i := strings.Index(s, "/;")
	if i <= 0 {
		return "", errURL
	}
	name, mod, has := strings.Cut(s[:i], ";")
	if has {
		n, ok := cutFold(mod, "UIDVALIDITY=")
		if u.uidValidity = nzNumber(n); !ok || u.uidValidity == 0 {
			return "", errURL
		}
	}
	ok := false
	if u.mailbox, ok = unescape(name); !ok || u.mailbox == "" {
		return "", errURL
	}
	return s[i+1:], nil
}

// parseMessage reads ;UID=n[/;SECTION=s][/;PARTIAL=a[.b]].
func (u *messageURL) parseMessage(s string) error {
	uid, rest, more := strings.Cut(s, "/")
	n, ok := cutFold(uid, ";UID=")
	if u.uid = nzNumber(n); !ok || u.uid == 0 {
		return errURL
	}
	u.section = &imap.FetchItemBodySection{Peek: true}
	if !more {
		return nil
	}
	part, has := rest, false
	if text, ok := cutFold(rest, ";SECTION="); ok {
		text, part, has = cutPartial(text)
		text, ok = unescape(text)
		if u.section, ok = sectionOf(text, ok); !ok {
			return errURL
		}
		if !has {
			return nil
		}
	}
	text, ok := cutFold(part, ";PARTIAL=")
	if !ok {
		return errURL
	}
	return u.parsePartial(text)
}

func sectionOf(text string, ok bool) (*imap.FetchItemBodySection, bool) {
	if !ok || text == "" {
		return nil, false
	}
	return wire.ParseSection(text)
}

// cutPartial cuts a section off before "/;PARTIAL=".
func cutPartial(s string) (section, partial string, found bool) {
	i := strings.Index(s, "/;")
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// parsePartial reads offset[.length] (RFC 5092 section 11, partial-range).
func (u *messageURL) parsePartial(s string) error {
	from, size, has := strings.Cut(s, ".")
	p := &imap.SectionPartial{Size: math.MaxInt64}
	var err error
	if p.Offset, err = parseNumber(from); err != nil {
		return err
	}
	if has {
		if p.Size, err = parseNumber(size); err != nil || p.Size == 0 {
			return errURL
		}
	}
	u.partial = p
	return nil
}

func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errURL
	}
	return int64(n), nil
}

// nzNumber is 0 for what is no nz-number.
func nzNumber(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || s[0] == '0' {
		return 0
	}
	return uint32(n)
}

// unescape resolves percent-encoding. RFC 5092 section 8: mailbox names are UTF-8 in it.
func unescape(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c = byte(n)
			i += 2
		case c <= ' ' || c == 0x7f:
			return "", false
		}
		b = append(b, c)
	}
	return string(b), utf8.Valid(b)
}

// badURL is the BADURL code (RFC 4469 section 4.1) with what may not stand in it in percent-encoding.
func badURL(s string) string {
	const most = 1000
	b := []byte("BADURL ")
	for i := 0; i < len(s) && len(b) < most; i++ {
		c := s[i]
		if c > ' ' && c < 0x7f && c != ']' && c != '\\' {
			b = append(b, c)
			continue
		}
		b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
	}
	if len(s) == 0 {
		b = append(b, '.')
	}
	return string(b)
}
