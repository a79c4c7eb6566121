package smtp

import (
	"net/netip"
	"strconv"
	"strings"
)

// XCLIENT is Postfix's extension with which a front end says who its client is. It goes further than the PROXY protocol's
// header in that a connection may serve one client after another. Only Options.XClient are believed, and only they hear of it. LOGIN is
// not among the attributes: whoever logs in proves it here.

// attributes are what EHLO tells of XCLIENT.
const attributes = "NAME ADDR PORT PROTO HELO DESTADDR DESTPORT"

// told is what a front end said of its client.
type told struct {
	addr netip.Addr // zero: unknown
	port uint16
	helo string // "": the client's EHLO tells
}

// fronts tells whether the connection is of a front end whose XCLIENT is believed. It goes by who connected, not by what was told since.
func (c *client) fronts() bool {
	return c.srv.o.XClient != nil && c.srv.o.Mode != LMTP && c.srv.o.XClient.Has(c.ses.Origin().Addr())
}

// xclient is XCLIENT: the session begins anew, as the client's that the front end speaks of.
func (c *client) xclient(_, arg string) {
	switch {
	case !c.fronts():
		c.bad(say(550, "5.7.0", "you are no front end of this server"))
		return
	case c.mail != nil:
		c.bad(say(503, "5.5.1", "XCLIENT is not allowed within a transaction"))
		return
	}
	from := c.ses.Remote()
	t := told{addr: from.Addr(), port: from.Port()}
	if c.told != nil {
		t.helo = c.told.helo
	}
	if refusal := t.read(arg); refusal != nil {
		c.bad(refusal)
		return
	}
	if t.addr.IsLoopback() && !c.ses.Origin().Addr().IsLoopback() {
		// It would be taken for this machine, which may do more than others.
		c.bad(say(501, "5.5.4", "no client of yours can have a loopback address"))
		return
	}
	if err := c.ses.Believe(netip.AddrPortFrom(t.addr, t.port)); err != nil {
		c.part(replyTo(err), err.Error())
		return
	}
	c.told = &t
	if r := c.admit(); r != nil {
		c.part(r, r.text)
		return
	}
	c.forget()
	c.errors, c.notes, c.unknown, c.work = 0, 0, 0, 0 // of another client
	c.answer(say(220, "", "%s ESMTP Service Ready", c.srv.o.Name))
	c.feed, c.hush = []byte("RSET\r\n"), 1
}

// read takes the attributes.
func (t *told) read(text string) *reply {
	if text == "" {
		return say(501, "5.5.4", "syntax: XCLIENT attribute=value...")
	}
	addressed, ported := false, false
	for f := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(f, "=")
		name = strings.ToUpper(name)
		if !validXtext(value) {
			return say(501, "5.5.4", "%s needs a value as xtext", clean(name, 40))
		}
		value = decodeXtext(value)
		unknown := strings.EqualFold(value, "[UNAVAILABLE]") || strings.EqualFold(value, "[TEMPUNAVAIL]")
		ok := true
		switch name {
		case "ADDR":
			t.addr, ok = clientAddr(value, unknown)
			addressed = true
		case "DESTADDR":
			_, ok = clientAddr(value, unknown)
		case "PORT", "DESTPORT":
			n, err := strconv.ParseUint(value, 10, 16)
			if ok = unknown || err == nil && digits(value); name == "PORT" {
				t.port, ported = uint16(n), true
			}
		case "PROTO":
			ok = strings.EqualFold(value, "SMTP") || strings.EqualFold(value, "ESMTP")
		case "HELO":
			if t.helo = clean(value, 255); unknown {
				t.helo = ""
			}
		case "NAME": // names are looked up here
			ok = unknown || len(value) <= 255 && validDomain(strings.TrimSuffix(value, "."))
		default:
			return say(501, "5.5.4", "attribute %s is not taken", clean(name, 40))
		}
		if !ok {
			return say(501, "5.5.4", "%s has a bad value", name)
		}
	}
	if addressed && (!ported || !t.addr.IsValid()) {
		t.port = 0
	}
	return nil
}

// clientAddr reads an address; IPv6 has a word in front.
func clientAddr(s string, unknown bool) (netip.Addr, bool) {
	if unknown {
		return netip.Addr{}, true
	}
	v6, tagged := cutFold(s, "IPV6:")
	if !tagged {
		v6 = s
	}
	a, err := netip.ParseAddr(v6)
	ok := err == nil && a.Zone() == "" && a.Is6() == tagged && !a.IsUnspecified() && !a.IsMulticast()
	return a.Unmap(), ok
}
