package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

// Whether mail leaves for other domains: never in a first run, and always where somebody says so.
func TestOutboundHeld(t *testing.T) {
	for _, c := range []struct {
		enabled, domain string
		listen          []string
		why             string // a part of it; "": it leaves
	}{
		{"auto", "packetboat.test", []string{"127.0.0.1", "::1"}, "a domain for tests"},
		{"auto", "packetboat.test", []string{"all"}, "a domain for tests"},
		{"auto", "example.org", []string{"127.0.0.1", "::1"}, "loopback addresses alone"},
		{"auto", "example.org", []string{"all"}, ""},
		{"auto", "example.org", []string{"127.0.0.1", "192.0.2.1"}, ""},
		{"on", "packetboat.test", []string{"127.0.0.1"}, ""},
		{"off", "example.org", []string{"all"}, "switched off"},
	} {
		conf := &config{Domain: c.domain, Listen: c.listen}
		conf.Outbound = c.enabled
		if why := conf.outboundHeld(); (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%+v: %q", c, why)
		}
	}
}

// Every key of the section takes its default, and refuses nonsense.
func TestOutboundKeys(t *testing.T) {
	nonsense := map[string]string{"outbound.enabled": "maybe", "outbound.smarthost": "ftp://x", "outbound.routes": "x", "outbound.port": "0", "outbound.bind": "host", "outbound.hostname": "a b",
		"outbound.ip": "both", "outbound.concurrency": "0", "outbound.per_domain": "-1", "outbound.per_connection": "x", "outbound.idle_timeout": "0", "outbound.connect_timeout": "soon",
		"outbound.reply_timeout": "-5m", "outbound.data_timeout": "x", "outbound.retry": "5", "outbound.expire": "never", "outbound.delay_notice": "x", "limits.outgoing": "-1", "outbound.ca": ""}
	for _, k := range outboundKeys {
		if err := k.set(&config{}, k.def); err != nil {
			t.Errorf("%s = %s: %v", k.name, k.def, err)
		}
		bad, ok := nonsense[k.name]
		if !ok {
			t.Errorf("%s: no nonsense to try", k.name)
		}
		if bad != "" && k.set(&config{}, bad) == nil {
			t.Errorf("%s = %s is taken", k.name, bad)
		}
	}
	c := &config{}
	for _, k := range outboundKeys {
		switch k.name {
		case "outbound.smarthost":
			k.set(c, "relay.test:25")
		case "outbound.routes":
			k.set(c, "domain a.test: direct")
		}
	}
	if !c.OutboundRoutes.For("a.test", "", "").Direct || c.OutboundRoutes.For("b.test", "", "").Host != "relay.test" {
		t.Errorf("%+v", c.OutboundRoutes)
	}
}

// What is this server: its names, and where its own port for mail is.
func TestIsSelf(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	at := netip.MustParseAddrPort(ln.Addr().String())
	h := &house{config: &config{Hostname: "mail.our.test"}, bound: map[string][]net.Listener{"mx": {ln}}}
	self := h.isSelf("out.our.test")
	for _, c := range []struct {
		host string
		addr netip.AddrPort
		want bool
	}{
		{"MAIL.our.test", netip.MustParseAddrPort("192.0.2.1:25"), true},
		{"out.our.test", netip.MustParseAddrPort("192.0.2.1:25"), true},
		{"other.test", at, true},
		{"other.test", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), at.Port()), false},
		{"other.test", netip.AddrPortFrom(at.Addr(), at.Port()+1), false},
	} {
		if got := self(c.host, c.addr); got != c.want {
			t.Errorf("%s %s: %t", c.host, c.addr, got)
		}
	}
}
