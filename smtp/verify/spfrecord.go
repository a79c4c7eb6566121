package verify

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// spfRecord is a policy (RFC 7208 section 4.6.1).
type spfRecord struct {
	directives []*spfDirective
	redirect   string // domain-specs with macros; "": none
	exp        string
}

// spfDirective is a mechanism with its result.
type spfDirective struct {
	text      string // as published
	result    Status
	mechanism string // lower case
	spec      string // domain-spec with macros; "" is the domain itself
	network   netip.Prefix
	bits4     int // dual-cidr-length of a and mx
	bits6     int
}

// contains tells whether one of the addresses is the client's, within the directive's prefix length.
func (d *spfDirective) contains(all []netip.Addr, remote netip.Addr) bool {
	bits := d.bits6
	if remote.Is4() {
		bits = d.bits4
	}
	for _, a := range all {
		if p, err := a.Prefix(bits); err == nil && p.Contains(remote) {
			return true
		}
	}
	return false
}

// parseSPF reads a record whole: RFC 7208 section 4.6: an error anywhere in it is an error before anything of it is used.
func parseSPF(text string) (*spfRecord, error) {
	r := &spfRecord{}
	seen := map[string]bool{}
	for term := range strings.SplitSeq(text[len("v=spf1"):], " ") {
		if term == "" {
			continue
		}
		if name, value, ok := modifier(term); ok {
			if err := r.modify(strings.ToLower(name), value, seen); err != nil {
				return nil, err
			}
			continue
		}
		d, err := parseDirective(term)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", printable(term, 60), err)
		}
		r.directives = append(r.directives, d)
	}
	return r, nil
}

// modifier splits name=value; a name is a letter and letters, digits, "-", "_", ".".
func modifier(term string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(term, "=")
	if !ok || name == "" || !letter(name[0]) {
		return "", "", false
	}
	for i := range len(name) {
		if c := name[i]; !letter(c) && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return "", "", false
		}
	}
	return name, value, true
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// modify takes a modifier. RFC 7208 section 6: redirect and exp once at most, others are ignored when their syntax is right.
func (r *spfRecord) modify(name, value string, seen map[string]bool) error {
	switch name {
	case "redirect", "exp":
		if seen[name] {
			return errors.New(name + " comes twice")
		}
		seen[name] = true
		if err := checkSpec(value, true); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if name == "exp" {
			r.exp = value
		} else {
			r.redirect = value
		}
		return nil
	}
	return checkSpec(value, false)
}

// parseDirective reads a mechanism with its qualifier.
func parseDirective(term string) (*spfDirective, error) {
	d := &spfDirective{text: printable(term, 200), result: Pass, bits4: 32, bits6: 128}
	switch term[0] {
	case '+':
		term = term[1:]
	case '-':
		d.result, term = Fail, term[1:]
	case '~':
		d.result, term = SoftFail, term[1:]
	case '?':
		d.result, term = Neutral, term[1:]
	}
	end := strings.IndexAny(term, ":/")
	if end < 0 {
		end = len(term)
	}
	rest := term[end:]
	d.mechanism = strings.ToLower(term[:end])
	switch d.mechanism {
	case "all":
		if rest != "" {
			return nil, errors.New("all has no arguments")
		}
		return d, nil
	case "ip4", "ip6":
		return d, d.parseNetwork(rest)
	case "a", "mx":
		var err error
		if rest, err = d.parseBits(rest); err != nil {
			return nil, err
		}
		if rest == "" {
			return d, nil
		}
	case "ptr":
		if rest == "" {
			return d, nil
		}
	case "include", "exists":
	default:
		return nil, errors.New("unknown mechanism")
	}
	spec, ok := strings.CutPrefix(rest, ":")
	if !ok {
		return nil, errors.New("no domain")
	}
	d.spec = spec
	return d, checkSpec(spec, true)
}

// parseNetwork reads ":" ip [ "/" length ].
func (d *spfDirective) parseNetwork(s string) error {
	s, ok := strings.CutPrefix(s, ":")
	text, length, has := strings.Cut(s, "/")
	a, err := netip.ParseAddr(text)
	if !ok || err != nil || a.Zone() != "" || a.Is4() != (d.mechanism == "ip4") {
		return errors.New("no network")
	}
	bits := a.BitLen()
	if has {
		if bits, err = prefixLength(length, bits); err != nil {
			return err
		}
	}
	d.network = netip.PrefixFrom(a, bits).Masked()
	return nil
}

// parseBits takes the dual-cidr-length off the end: [ "/" n ] [ "//" n ].
func (d *spfDirective) parseBits(s string) (rest string, err error) {
	if i := strings.LastIndex(s, "//"); i >= 0 {
		if d.bits6, err = prefixLength(s[i+2:], 128); err != nil {
			return "", err
		}
		s = s[:i]
	}
	// A slash may stand in a domain-spec, so that only digits behind the last one are a length.
	if i := strings.LastIndexByte(s, '/'); i >= 0 && (s[i+1:] == "" || strings.Trim(s[i+1:], "0123456789") == "") {
		if d.bits4, err = prefixLength(s[i+1:], 32); err != nil {
			return "", err
		}
		s = s[:i]
	}
	return s, nil
}

// prefixLength: "0", or digits that do not begin with it.
func prefixLength(s string, most int) (int, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || int(n) > most || len(s) > 1 && s[0] == '0' {
		return 0, errors.New("bad prefix length")
	}
	return int(n), nil
}
