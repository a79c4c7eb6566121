package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
)

// Where mail for a domain goes (RFC 5321 section 5.1, RFC 7505), and what is no way.
func TestFind(t *testing.T) {
	r := dns.MockResolver{
		MX: map[string][]*net.MX{
			"two.test.":      {{Host: "b.two.test.", Pref: 20}, {Host: "a.two.test.", Pref: 10}},
			"null.test.":     {{Host: ".", Pref: 0}},
			"nulls.test.":    {{Host: ".", Pref: 0}, {Host: "a.two.test.", Pref: 10}},
			"nohost.test.":   {{Host: "gone.test.", Pref: 10}},
			"silent.test.":   {{Host: "silent.host.test.", Pref: 10}},
			"partly.test.":   {{Host: "silent.host.test.", Pref: 10}, {Host: "a.two.test.", Pref: 20}},
			"self.test.":     {{Host: "mail.our.test.", Pref: 10}, {Host: "a.two.test.", Pref: 20}},
			"backup.test.":   {{Host: "a.two.test.", Pref: 5}, {Host: "mail.our.test.", Pref: 10}, {Host: "b.two.test.", Pref: 10}, {Host: "six.test.", Pref: 20}},
			"target.test.":   {{Host: "a.two.test.", Pref: 10}},
			"address.test.":  {{Host: "192.0.2.7.", Pref: 10}},
			"hostcname.test": nil,
		},
		A: map[string][]string{
			"a.two.test.": {"192.0.2.1"}, "b.two.test.": {"192.0.2.2"}, "plain.test.": {"192.0.2.3"}, "mail.our.test.": {"192.0.2.99"}, "xn--bcher-kva.test.": {"192.0.2.4"},
			"real.test.": {"192.0.2.5"},
		},
		AAAA:  map[string][]string{"six.test.": {"2001:db8::6"}, "a.two.test.": {"2001:db8::1"}},
		CNAME: map[string]string{"alias.test.": "target.test.", "loop1.test.": "loop2.test.", "loop2.test.": "loop1.test.", "aliashost.test.": "real.test."},
		Fail:  []string{"mx servfail.test.", "ip silent.host.test.", "host silent.host.test.", "cname cnamefail.test.", "ip silentplain.test.", "host silentplain.test."},
	}
	own := func(host string, a netip.AddrPort) bool {
		return host == "mail.our.test" || a.Addr() == netip.MustParseAddr("192.0.2.98")
	}
	for _, c := range []struct{ domain, want string }{
		{"two.test", "a.two.test 2001:db8::1 192.0.2.1, b.two.test 192.0.2.2"},
		{"TWO.test.", "a.two.test 2001:db8::1 192.0.2.1, b.two.test 192.0.2.2"},
		{"plain.test", "plain.test 192.0.2.3"},
		{"six.test", "six.test 2001:db8::6"},
		{"bücher.test", "xn--bcher-kva.test 192.0.2.4"},
		{"alias.test", "a.two.test 2001:db8::1 192.0.2.1"},
		{"aliashost.test", "real.test 192.0.2.5"},
		{"nulls.test", "a.two.test 2001:db8::1 192.0.2.1"},
		{"partly.test", "a.two.test 2001:db8::1 192.0.2.1"},
		{"address.test", "192.0.2.7 192.0.2.7"},
		{"backup.test", "a.two.test 2001:db8::1 192.0.2.1"},
		{"[192.0.2.9]", "192.0.2.9 192.0.2.9"},
		{"[IPv6:2001:db8::9]", "2001:db8::9 2001:db8::9"},
		{"[192.0.2.98]", "5.4.6 permanent"},
		{"self.test", "5.4.6 permanent"},
		{"null.test", "5.1.10 permanent"},
		{"nohost.test", "5.4.4 permanent"},
		{"nothing.test", "5.1.2 permanent"},
		{"servfail.test", "4.4.3"},
		{"silent.test", "4.4.3"},
		{"silentplain.test", "4.4.3"},
		{"cnamefail.test", "4.4.3"},
		{"loop1.test", "4.4.6"},
	} {
		f := &finder{resolver: r, family: IPv6First, port: 25, own: own}
		p, err := f.find(context.Background(), c.domain)
		var got []string
		var fail *failure
		switch {
		case errors.As(err, &fail):
			got = []string{fail.status}
			if fail.permanent {
				got[0] += " permanent"
			}
		case err != nil:
			t.Fatal(err)
		default:
			for _, h := range p.places {
				s := h.Name
				for _, a := range h.addresses {
					s += " " + a.String()
				}
				got = append(got, s)
			}
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %s, want %s", c.domain, s, c.want)
		}
	}
}

// Hosts of one preference are taken in turn by chance; families alternate.
func TestOrder(t *testing.T) {
	first := map[string]int{}
	for range 200 {
		all := order([]*net.MX{{Host: "c.", Pref: 20}, {Host: "a.", Pref: 10}, {Host: "b.", Pref: 10}})
		if len(all) != 3 || all[2].Name != "c" {
			t.Fatalf("%+v", all)
		}
		first[all[0].Name]++
	}
	if first["a"] < 50 || first["b"] < 50 {
		t.Errorf("not by chance: %v", first)
	}
	var many []*net.MX
	for i := range 100 {
		many = append(many, &net.MX{Host: strings.Repeat("x", i+1) + ".", Pref: uint16(i)})
	}
	if n := len(order(many)); n != maxHosts {
		t.Errorf("%d hosts of 100", n)
	}
	f := &finder{family: IPv4First}
	all := f.mixed([]netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("192.0.2.1")})
	if !all[0].Is4() || !all[1].Is6() || !all[2].Is6() {
		t.Errorf("%v", all)
	}
}

// Who does not answer, or says "not now", is passed over for the next host; what is refused for good is not tried there.
func TestFailover(t *testing.T) {
	for _, c := range []struct {
		at, reply string
		second    int // messages that the second host got
	}{
		{"connect", "close", 1},
		{"connect", "554 5.7.1 no", 1},
		{"EHLO", "421 no", 1},
		{"MAIL", "451 4.3.0 no", 1},
		{"RCPT", "450 4.2.1 no", 1},
		{"RCPT", "550 5.1.1 no", 0},
		{"DATA", "451 4.3.0 no", 1},
		{"end", "451 4.3.0 no", 1},
		{"end", "554 5.6.0 no", 0},
		{"end", "close", 0}, // it may have arrived
	} {
		f, g := serveTwo(t, func(f *fake) {
			f.say = func(_ int, line string) string {
				if strings.HasPrefix(line, c.at) {
					return c.reply
				}
				return ""
			}
		})
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port = f.port()
			mx(r, "example.org", "127.0.0.1", "127.0.0.2")
		})
		h.send(storage.Outgoing{}, hello, "joe@example.org")
		if c.second > 0 || strings.HasPrefix(c.reply, "5") {
			h.empty()
		} else {
			h.tried()
		}
		if n := len(g.all()); n != c.second {
			t.Errorf("%s -> %s: the second host has %d messages", c.at, c.reply, n)
		}
	}
}

// A host that is down costs one wait, not one for each message.
func TestDown(t *testing.T) {
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.say = func(int, string) string { return "close" }
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port, o.PerDomain = f.port(), 1
		mx(r, "example.org", "127.0.0.1")
	})
	for range 20 {
		h.send(storage.Outgoing{}, hello, "joe@example.org")
	}
	h.until("all told why they wait", func() bool {
		attempts, told := 0, 0
		for _, i := range h.items() {
			attempts += i.Attempts
			if i.State == storage.QueueWaiting && strings.Contains(i.LastReply, "greeting: connection lost") {
				told++
			}
		}
		return told == 20 && attempts == 1
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns != 1 {
		t.Errorf("%d connections", f.conns)
	}
}
