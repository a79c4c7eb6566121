package ftp

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
)

// virtualHost is what HOST chose (RFC 7151).
type virtualHost struct {
	name   string // as the client knows us: a name in small letters, or an address
	domain string // of names without @; "" when the host is none of the domains
}

// cmdHost: RFC 7151 section 3. Hosts are the server's name, each domain, ftp. below one, and the address that the client is connected
// to. All show the same tree; the domain of the host is that of login names without @.
func (c *client) cmdHost(arg string) {
	if c.account != nil { // RFC 7151 section 3: after authentication HOST is out of sequence
		c.reply(503, "Not after login: HOST comes before USER.")
		return
	}
	c.host = nil // RFC 7151 section 3.2.2: as though there had been no other, also when this one is refused
	name, addr, ok := parseHost(arg)
	if !ok {
		c.reply(501, "Not a host name.")
		return
	}
	// RFC 7151 section 3.2.2: a name in the ClientHello and in HOST must be one and the same.
	if !c.sniAgrees(name) {
		c.reply(504, "That is not the host of the TLS handshake.")
		return
	}
	domain, known, err := c.knowsHost(c.ctx, name, addr)
	switch {
	case err != nil: // RFC 7151 section 3.2: temporarily unavailable
		c.log.Warn("hosts not known", "error", err)
		c.reply(421, "Temporary failure, try again later.")
		c.hangUp("hosts not known")
	case !known:
		c.reply(504, "No such host here.")
	default:
		c.host = &virtualHost{name, domain}
		c.reply(220, "Host "+name+".")
	}
}

// knowsHost tells whether a name or address is ours, and the domain that it stands for.
func (c *client) knowsHost(ctx context.Context, name string, addr netip.Addr) (domain string, ok bool, err error) {
	if addr.IsValid() {
		return "", addr == c.local() || addr == c.advertised(), nil
	}
	var domains []string
	if c.srv.o.Domains != nil {
		if domains, err = c.srv.o.Domains(ctx); err != nil {
			return "", false, err
		}
	}
	below, _ := strings.CutPrefix(name, "ftp.")
	for _, d := range domains {
		if d == name || d == below {
			return d, true, nil
		}
	}
	return "", strings.EqualFold(name, c.srv.o.Name) || name == "localhost" && c.local().IsLoopback(), nil
}

// sniAgrees tells whether a host is the one that the client named in its ClientHello, if it named one.
func (c *client) sniAgrees(name string) bool {
	cs, ok := c.sess.TLS()
	return !ok || cs.ServerName == "" || strings.EqualFold(strings.Trim(cs.ServerName, "[]"), name)
}

// loginName is what USER says, with the domain of the host when it has none.
func (c *client) loginName(user string) string {
	if c.host == nil || c.host.domain == "" || strings.Contains(user, "@") || c.srv.isAnonymous(user) || !c.sniAgrees(c.host.name) {
		return user
	}
	return user + "@" + c.host.domain
}

// hostCertificate has the certificate of the host chosen by HOST shown to a client whose ClientHello names none (RFC 7151 section 4).
func (c *client) hostCertificate(conf *tls.Config) {
	if c.host == nil {
		return
	}
	name, own := c.host.name, conf.Clone()
	conf.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "" {
			hello.ServerName = name
		}
		return chooseCertificate(own, hello)
	}
}

// parseHost reads the argument of HOST: RFC 7151 section 3.1. addr is set for an IP literal, which name has without brackets.
func parseHost(arg string) (name string, addr netip.Addr, ok bool) {
	if inner, bracketed := strings.CutPrefix(arg, "["); bracketed {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		ok = closed && err == nil && !addr.Is4() && addr.Zone() == ""
		return addr.Unmap().String(), addr.Unmap(), ok
	}
	if addr, err := netip.ParseAddr(arg); err == nil {
		return arg, addr, addr.Is4() // IPv6 must be in brackets
	}
	if arg == "" || len(arg) > 253 {
		return "", addr, false
	}
	for label := range strings.SplitSeq(arg, ".") {
		if !isLabel(label) {
			return "", addr, false
		}
	}
	return strings.ToLower(arg), addr, true
}

// isLabel tells whether s is a sub-domain of RFC 7151 section 3.1.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '-':
		default:
			return false
		}
	}
	return true
}

// cmdLang: RFC 2640 section 4. English is the only language, so there is nothing to remember.
func (c *client) cmdLang(arg string) {
	arg = strings.TrimSpace(arg)
	if arg == "" {
		c.reply(200, "Replies are in English, the default.")
		return
	}
	primary, _, _ := strings.Cut(arg, "-")
	for tag := range strings.SplitSeq(arg, "-") {
		if len(tag) < 1 || len(tag) > 8 || strings.ContainsFunc(tag, notAlpha) {
			c.reply(501, "Not a language tag.")
			return
		}
	}
	if !strings.EqualFold(primary, "en") {
		c.reply(504, "Only EN is spoken here.")
		return
	}
	c.reply(200, "Replies are in English (EN).")
}

func notAlpha(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
