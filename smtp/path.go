package smtp

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

// maxPath is how long a path may be with its brackets: RFC 5321 section 4.5.3.1.3 asks for 256 octets;
// UTF-8 needs more (RFC 6531 section 3.3).
const maxPath = 1024

// parsePath reads "<path>" at the beginning of s (RFC 5321 section 4.1.2, RFC 6531 section 3.3). The path is given
// without brackets and source route (which section 3.6.1 lets us ignore), its local part as it was written; "" is the null path.
func parsePath(s string) (path, rest string, ok bool) {
	s, ok = strings.CutPrefix(strings.TrimLeft(s, " \t"), "<")
	if !ok {
		return "", "", false
	}
	if strings.HasPrefix(s, "@") {
		// RFC 5321 appendix C: @one,@two:mailbox.
		route, after, found := strings.Cut(s, ":")
		for hop := range strings.SplitSeq(route, ",") {
			domain, at := strings.CutPrefix(hop, "@")
			found = found && at && validDomain(domain)
		}
		if !found {
			return "", "", false
		}
		s = after
	}
	end := pathEnd(s)
	if end < 0 || end > maxPath || !utf8.ValidString(s[:end]) {
		return "", "", false
	}
	path, rest = s[:end], s[end+1:]
	if rest != "" && rest[0] != ' ' {
		return "", "", false
	}
	return path, rest, true
}

// pathEnd is where the bracket closes; one inside of a quoted local part does not count.
func pathEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i
		}
	}
	return -1
}

// validMailbox checks a mailbox of a reverse-path, which, unlike what storage.ParseAddress takes, may have an
// address literal for its domain and is not looked at further.
func validMailbox(path string) bool {
	at := strings.LastIndexByte(path, '@')
	if at < 1 || at > 64 || len(path)-at-1 > 255 {
		return false
	}
	local, domain := path[:at], path[at+1:]
	if !validDomain(domain) && !validLiteral(domain) {
		return false
	}
	if len(local) >= 2 && local[0] == '"' && local[len(local)-1] == '"' {
		return validQuoted(local[1 : len(local)-1])
	}
	return !strings.ContainsFunc(local, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>[]:;@\,"`, r)
	}) && local[0] != '.' && local[len(local)-1] != '.' && !strings.Contains(local, "..")
}

// validDomain checks the syntax of a domain (RFC 5321 section 4.1.2, RFC 6531 section 3.3). Underscores are in use and do no harm.
func validDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 && ascii(label) || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, badInLabel) {
			return false
		}
	}
	return true
}

func badInLabel(r rune) bool {
	switch {
	case r >= 0xa0, r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}

// validLiteral checks an address literal (RFC 5321 section 4.1.3); of its general form only the IPv6 one is in use.
func validLiteral(s string) bool {
	s, open := strings.CutPrefix(s, "[")
	s, closed := strings.CutSuffix(s, "]")
	v6, tagged := cutFold(s, "IPv6:")
	if !tagged {
		v6 = s
	}
	addr, err := netip.ParseAddr(v6)
	return open && closed && err == nil && addr.Zone() == "" && addr.Is6() == tagged
}

func validQuoted(s string) bool {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] < ' ' || s[i] == 0x7f || s[i] == '"':
			return false
		case s[i] == '\\':
			if i++; i == len(s) || s[i] < ' ' || s[i] == 0x7f {
				return false
			}
		}
	}
	return true
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
