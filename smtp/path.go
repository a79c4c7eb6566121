package smtp

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	gosmtp "github.com/emersion/go-smtp"
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

// validXtext checks xtext that is not empty: RFC 3461 section 4.
func validXtext(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) || strings.Trim(s[i+1:i+3], "0123456789ABCDEF") != "" {
				return false
			}
			i += 2
		case c <= ' ' || c > '~' || c == '=':
			return false
		}
	}
	return s != ""
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// sender is what MAIL said.
type sender struct {
	path       string // "" is the null sender
	size       int64  // SIZE (RFC 1870), 0 when not told
	utf8       bool   // SMTPUTF8 (RFC 6531)
	ret, envid string // RET and ENVID (RFC 3461)
}

// The parameters of MAIL and RCPT.
var (
	mailParams = []string{"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"}
	rcptParams = []string{"NOTIFY", "ORCPT"}
)

// checkParams splits the parameters and refuses those that are unknown or come twice. rest is what go-smtp may see; it
// checks the values.
func checkParams(s string, known []string) (rest []string, size string, refusal *reply) {
	seen := map[string]bool{}
	for _, f := range strings.Fields(s) {
		name, value, _ := strings.Cut(f, "=")
		name = strings.ToUpper(name)
		ok := false
		for _, k := range known {
			ok = ok || k == name
		}
		switch {
		case !ok:
			// RFC 5321 section 4.1.1.11: 555 is for parameters that are not implemented.
			return nil, "", say(555, "5.5.4", "parameter %s is not known", clean(name, 40))
		case seen[name]:
			return nil, "", say(501, "5.5.4", "parameter %s comes twice", name)
		case name == "AUTH" && !validXtext(value):
			return nil, "", say(501, "5.5.4", "AUTH needs a mailbox as xtext or <>")
		case name == "AUTH": // RFC 4954 section 5: it may be ignored, and nobody is trusted here
		case name == "SIZE":
			size = value
			if value == "" {
				size = "?"
			}
		case name == "SMTPUTF8" && f != name && len(f) > len(name):
			return nil, "", say(501, "5.5.4", "parameter SMTPUTF8 has no value")
		default:
			rest = append(rest, f)
		}
		seen[name] = true
	}
	return rest, size, nil
}

// parseSize reads SIZE (RFC 1870 section 3: up to 20 digits) and compares it with the limit.
func parseSize(s string, limit int64) (int64, *reply) {
	if s == "" {
		return 0, nil
	}
	if strings.Trim(s, "0123456789") != "" || len(s) > 20 {
		return 0, say(501, "5.5.4", "SIZE is no number")
	}
	var n int64
	for _, d := range []byte(s) {
		if n = n*10 + int64(d-'0'); n > limit {
			return 0, errTooLarge
		}
	}
	return n, nil
}

// notify and original give the parameters of RCPT (RFC 3461) as storage keeps them.
func notify(o *gosmtp.RcptOptions) string {
	words := make([]string, len(o.Notify))
	for i, n := range o.Notify {
		words[i] = string(n)
	}
	return strings.Join(words, ",")
}

func original(o *gosmtp.RcptOptions) string {
	if o.OriginalRecipient == "" {
		return ""
	}
	return strings.ToLower(string(o.OriginalRecipientType)) + ";" + o.OriginalRecipient
}
