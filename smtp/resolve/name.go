package resolve

import (
	"strings"

	"github.com/miekg/dns"
	"github.com/mjl-/adns"
	"golang.org/x/net/idna"
)

// forLookup maps names that are not ASCII to A-labels; labels with underscores stand among them (_dmarc, selectors).
var forLookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))

// absolute makes of a name the form in which it is asked, cached and compared: ASCII, lower case, with its last dot, and octets that
// are special escaped as miekg/dns prints them. A name that cannot be in the DNS is one that does not exist.
func absolute(name string) (string, error) {
	plain := name != ""
	for i := range len(name) {
		c := name[i]
		plain = plain && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
	}
	s := name
	if !plain {
		var err error
		if s, err = unusual(name); err != nil {
			return "", err
		}
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	if _, ok := dns.IsDomainName(s); !ok || len(s) > 1 && s[0] == '.' || strings.Contains(s, "..") {
		return "", notAName(name)
	}
	return s, nil
}

// unusual is absolute for names with upper case, octets that are not ASCII or not of host names.
func unusual(name string) (string, error) {
	if name == "" {
		return "", notAName(name)
	}
	for i := range len(name) {
		if name[i] >= 0x80 {
			a, err := forLookup.ToASCII(name)
			if err != nil {
				return "", notAName(name)
			}
			name = a
			break
		}
	}
	name = dns.Fqdn(strings.ReplaceAll(name, `\`, `\\`))
	// Out to the wire and back: the way in which an answer's question is read.
	var wire [256]byte
	if _, err := dns.PackDomainName(name, wire[:], 0, nil, false); err != nil {
		return "", notAName(name)
	}
	s, _, err := dns.UnpackDomainName(wire[:], 0)
	if err != nil {
		return "", notAName(name)
	}
	return strings.ToLower(s), nil
}

func notAName(name string) error {
	return &adns.DNSError{Err: "not a domain name", Name: name, IsNotFound: true}
}

// hostName tells whether a name that came from the DNS is one that programs may use: letters, digits, hyphens, underscores; or the root.
func hostName(s string) bool {
	if s == "." {
		return true
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != "" && s[0] != '.'
}

// octets undoes the escapes in which miekg/dns keeps character-strings.
func octets(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		if i+3 < len(s) && digit(s[i+1]) && digit(s[i+2]) && digit(s[i+3]) {
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+(s[i+3]-'0'))
			i += 3
			continue
		}
		i++
		b = append(b, s[i])
	}
	return string(b)
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
