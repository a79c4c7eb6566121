package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mjl-/adns"
	"go.uber.org/goleak"

	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o Options) (*resolvetest.DNS, *Resolver) {
	d := resolvetest.New(t)
	o.Servers = append(o.Servers, d.Addr())
	return d, New(o)
}

func kind(err error) string {
	var e *adns.DNSError
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, &e):
		return "no DNSError"
	case e.IsNotFound && !e.IsTemporary && !e.IsTimeout:
		return "not found"
	case e.IsTimeout && e.IsTemporary && !e.IsNotFound:
		return "timeout"
	case e.IsTemporary && !e.IsNotFound:
		return "temporary"
	case !e.IsTimeout && !e.IsNotFound:
		return "unusable"
	}
	return fmt.Sprintf("nonsense: %+v", e)
}

func TestLookups(t *testing.T) {
	d, r := open(t, Options{})
	d.Set(`
a.test.        A     192.0.2.1
a.test.        A     192.0.2.2
a.test.        AAAA  2001:db8::1
alias.test.    CNAME a.test.
chain.test.    CNAME alias.test.
dangling.test. CNAME nothing.test.
m.test.        MX    20 b.test.
m.test.        MX    10 a.test.
null.test.     MX    0 .
odd.test.      MX    10 a\032b.test.
half.test.     MX    10 a\032b.test.
half.test.     MX    20 a.test.
t.test.        TXT   "v=spf1 " "-all"
t2.test.       TXT   "quote \" and \\ and \195\188;"
_25._tcp.a.test. TLSA 3 1 1 0102
1.2.0.192.in-addr.arpa. PTR a.test.
_imaps._tcp.test. SRV 0 1 993 a.test.
x.test.        NS    ns.test.
_x.under.test. TXT   "below"
xn--bcher-kva.test. A 192.0.2.9
`)
	ctx := t.Context()
	show := func(v any, _ adns.Result, err error) string {
		if err != nil {
			return fmt.Sprint(kind(err))
		}
		return fmt.Sprint(v)
	}
	txt := func(n string) string { v, x, err := r.LookupTXT(ctx, n); return show(v, x, err) }
	ip := func(network, n string) string { v, x, err := r.LookupIP(ctx, network, n); return show(v, x, err) }
	mx := func(n string) string {
		v, x, err := r.LookupMX(ctx, n)
		var all []string
		for _, m := range v {
			all = append(all, fmt.Sprint(m.Pref, " ", m.Host))
		}
		if err != nil && len(all) > 0 {
			return fmt.Sprint(all, " ", kind(err))
		}
		return show(all, x, err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"A and AAAA", ip("ip", "a.test."), "[192.0.2.1 192.0.2.2 2001:db8::1]"},
		{"without its dot", ip("ip4", "a.test"), "[192.0.2.1 192.0.2.2]"},
		{"upper case", ip("ip6", "A.TEST."), "[2001:db8::1]"},
		{"alias", ip("ip4", "chain.test."), "[192.0.2.1 192.0.2.2]"},
		{"alias to nothing", ip("ip", "dangling.test."), "not found"},
		{"an address", ip("ip", "192.0.2.77"), "[192.0.2.77]"},
		{"U-label", ip("ip4", "bücher.test"), "[192.0.2.9]"},
		{"no data", ip("ip", "t.test."), "not found"},
		{"no name", ip("ip", "nobody.test."), "not found"},
		{"empty name", ip("ip", ""), "not found"},
		{"dots", ip("ip", "a..test."), "not found"},
		{"label too long", ip("ip", strings.Repeat("a", 64)+".test."), "not found"},
		{"name too long", ip("ip", strings.Repeat("a.", 140)), "not found"},
		{"spaces", txt("a b.test."), "not found"},
		{"localhost", ip("ip", "localhost"), "[127.0.0.1 ::1]"},
		{"invalid", ip("ip", "a.invalid."), "not found"},
		{"MX", mx("m.test."), "[10 a.test. 20 b.test.]"},
		{"null MX", mx("null.test."), "[0 .]"},
		{"MX that is no host", mx("odd.test."), "unusable"},
		{"one MX that is no host", mx("half.test."), "[20 a.test.] unusable"},
		{"TXT in two strings", txt("t.test."), "[v=spf1 -all]"},
		{"TXT with special octets", txt("t2.test."), `[quote " and \ and ü;]`},
		{"empty non-terminal", txt("under.test."), "not found"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
	if v, _, err := r.LookupAddr(ctx, "192.0.2.1"); err != nil || !slices.Equal(v, []string{"a.test."}) {
		t.Errorf("PTR: %v %v", v, err)
	}
	if v, _, err := r.LookupCNAME(ctx, "chain.test."); err != nil || v != "alias.test." {
		t.Errorf("CNAME: %v %v", v, err)
	}
	if _, _, err := r.LookupCNAME(ctx, "a.test."); kind(err) != "not found" {
		t.Errorf("no CNAME: %v", err)
	}
	if v, _, err := r.LookupTLSA(ctx, 25, "tcp", "a.test."); err != nil || len(v) != 1 || v[0].Record() != "3 1 1 0102" {
		t.Errorf("TLSA: %v %v", v, err)
	}
	if n, v, _, err := r.LookupSRV(ctx, "imaps", "tcp", "test"); err != nil || len(v) != 1 || v[0].Port != 993 || n != "_imaps._tcp.test." {
		t.Errorf("SRV: %v %v %v", n, v, err)
	}
	if v, _, err := r.LookupNS(ctx, "x.test."); err != nil || len(v) != 1 || v[0].Host != "ns.test." {
		t.Errorf("NS: %v %v", v, err)
	}
	if v, _, err := r.LookupHost(ctx, "a.test."); err != nil || len(v) != 3 {
		t.Errorf("hosts: %v %v", v, err)
	}
	if v, _, err := r.LookupIPAddr(ctx, "a.test."); err != nil || len(v) != 3 {
		t.Errorf("addresses: %v %v", v, err)
	}
	if err := r.Alive(ctx); err != nil {
		t.Error(err)
	}
}

func TestTroubles(t *testing.T) {
	d, r := open(t, Options{Timeout: 300 * time.Millisecond})
	d.Set("fails.test. TXT x\nsilent.test. TXT x\nbig.test. TXT large\nloop1.test. CNAME loop2.test.\nloop2.test. CNAME loop1.test.\ntofail.test. CNAME fails.test.")
	d.Text("giant.test", strings.Repeat("0123456789", 3000))
	d.Fail("fails.test.")
	d.Silent("silent.test.")
	d.Big("big.test.")
	for _, c := range []struct{ name, want string }{
		{"fails.test.", "temporary"},
		{"tofail.test.", "temporary"},
		{"silent.test.", "timeout"},
		{"loop1.test.", "temporary"},
		{"big.test.", "ok"},
		{"giant.test.", "ok"},
	} {
		v, _, err := r.LookupTXT(t.Context(), c.name)
		if kind(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if c.name == "giant.test." && (len(v) != 1 || len(v[0]) != 30000) {
			t.Errorf("a large answer came as %d texts", len(v))
		}
	}
	d.Down()
	if _, _, err := r.LookupTXT(t.Context(), "fails.test."); kind(err) != "temporary" {
		t.Errorf("refused port: %v", err)
	}
	if err := r.Alive(t.Context()); err == nil {
		t.Error("a dead DNS is alive")
	}
	d.Up()
	d.Heal("fails.test.")
	if _, _, err := r.LookupTXT(t.Context(), "fails.test."); err != nil {
		t.Errorf("healed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.LookupTXT(ctx, "fails.test."); kind(err) != "temporary" || !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

func TestFailOver(t *testing.T) {
	dead := resolvetest.New(t)
	dead.Silent("*")
	d, r := open(t, Options{Servers: []string{dead.Addr()}, Timeout: 500 * time.Millisecond})
	d.Set("a.test. A 192.0.2.1\nb.test. A 192.0.2.2")
	for _, n := range []string{"a.test.", "b.test."} {
		if _, _, err := r.LookupIP(t.Context(), "ip4", n); err != nil {
			t.Error(err)
		}
	}
	if dead.Asked("a.test", "A") != 1 || dead.Asked("b.test", "A") != 0 {
		t.Errorf("the silent server was asked %d and %d times, want once", dead.Asked("a.test", "A"), dead.Asked("b.test", "A"))
	}
}

func TestCache(t *testing.T) {
	now := time.Now()
	d, r := open(t, Options{Now: func() time.Time { return now }})
	d.Set("test. SOA ns.test. h.test. 1 2 3 4 60\na.test. 30 TXT one\nzero.test. 0 TXT one\nalias.test. 10 CNAME a.test.")
	d.Set("$TTL 300\ntest. SOA ns.test. h.test. 1 2 3 4 60")
	asks := func(name string, want int) {
		t.Helper()
		r.LookupTXT(t.Context(), name)
		r.LookupTXT(t.Context(), strings.ToUpper(name))
		if n := d.Asked(name, "TXT"); n != want {
			t.Errorf("%s was asked %d times, want %d", name, n, want)
		}
	}
	asks("a.test.", 1)
	asks("alias.test.", 1)
	asks("zero.test.", 2)
	asks("none.test.", 1)
	now = now.Add(11 * time.Second)
	asks("alias.test.", 2)
	asks("a.test.", 1)
	now = now.Add(20 * time.Second)
	asks("a.test.", 2)
	asks("none.test.", 1)
	now = now.Add(30 * time.Second)
	asks("none.test.", 2)
}

func TestCacheIsBounded(t *testing.T) {
	d, r := open(t, Options{CacheSize: 20})
	d.Set("*.test. 300 TXT x\n")
	for i := range 100 {
		r.LookupTXT(t.Context(), fmt.Sprintf("n%d.test.", i))
	}
	if n := len(r.cache.entries); n != 20 || r.cache.used.Len() != 20 {
		t.Errorf("%d answers are kept, want 20", n)
	}
	d.Set("$TTL 300\n*.large.test. TXT " + strings.Repeat("\""+strings.Repeat("x", 250)+"\" ", 4))
	for i := range 100 {
		r.LookupTXT(t.Context(), fmt.Sprintf("n%d.large.test.", i))
	}
	if r.cache.bytes > 20*1024 || len(r.cache.entries) == 0 {
		t.Errorf("%d bytes in %d answers", r.cache.bytes, len(r.cache.entries))
	}
}

func TestOneFlight(t *testing.T) {
	d, r := open(t, Options{Timeout: 300 * time.Millisecond})
	d.Set("a.test. TXT x")
	d.Silent("a.test.")
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() { r.LookupTXT(t.Context(), "a.test.") })
	}
	wait.Wait()
	if n := d.Asked("a.test.", "TXT"); n > 2*rounds { // a straggler may begin another flight
		t.Errorf("20 at a time asked %d times", n)
	}
}

// Who gives up takes nobody else with it.
func TestFlightGoesOn(t *testing.T) {
	d, r := open(t, Options{Timeout: time.Second})
	d.Set("a.test. TXT x")
	d.Silent("a.test.")
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { r.LookupTXT(ctx, "a.test.") })
	for d.Asked("a.test.", "TXT") == 0 {
		time.Sleep(time.Millisecond)
	}
	var err error
	wait.Go(func() { _, _, err = r.LookupTXT(t.Context(), "a.test.") })
	d.Heal("a.test.")
	cancel()
	wait.Wait()
	if err != nil {
		t.Error(err)
	}
}

func TestAuthentic(t *testing.T) {
	for _, c := range []struct {
		o    Options
		says bool
		want bool
	}{
		{Options{}, true, true}, // loopback
		{Options{}, false, false},
		{Options{TrustAD: true}, true, true},
		{Options{IgnoreAD: true}, true, false},
	} {
		d, r := open(t, c.o)
		d.Set("a.test. TXT x")
		d.Authentic(c.says)
		_, result, _ := r.LookupTXT(t.Context(), "a.test.")
		_, missing, err := r.LookupTXT(t.Context(), "none.test.")
		if result.Authentic != c.want || missing.Authentic != c.want || kind(err) != "not found" {
			t.Errorf("%+v, the server says %v: %v, and %v of what is not there (%v)", c.o, c.says, result.Authentic, missing.Authentic, err)
		}
	}
	for _, c := range []struct {
		servers []string
		o       Options
		want    bool
	}{
		{[]string{"127.0.0.1", "::1", "[::1]:5353"}, Options{}, true},
		{[]string{"127.0.0.1", "192.0.2.1"}, Options{}, false},
		{[]string{"192.0.2.1:53"}, Options{TrustAD: true}, true},
	} {
		c.o.Servers = c.servers
		if _, got := New(c.o).Servers(); got != c.want {
			t.Errorf("%v is trusted: %v", c.servers, got)
		}
	}
}

// A server that lies: what is not the answer to the question is not taken.
func TestLies(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	r := New(Options{Servers: []string{pc.LocalAddr().String()}, Timeout: time.Second})
	var wait sync.WaitGroup
	wait.Go(func() { lie(pc) })
	v, _, err := r.LookupTXT(t.Context(), "a.test.")
	if err != nil || len(v) != 1 || v[0] != "truth" {
		t.Errorf("got %q, %v", v, err)
	}
	pc.Close()
	wait.Wait()
}

// TestGlance: with its context nobody is asked, and it tells whether that was enough.
func TestGlance(t *testing.T) {
	d, r := open(t, Options{})
	d.Set("known.test. 300 A 192.0.2.1\nother.test. 300 A 192.0.2.2\nlocalhost.test. 300 A 192.0.2.3")
	if _, _, err := r.LookupIP(t.Context(), "ip4", "known.test."); err != nil {
		t.Fatal(err)
	}
	ctx, enough := Glance(t.Context())
	for _, name := range []string{"known.test.", "localhost.", "a.localhost."} {
		if ips, _, err := r.LookupIP(ctx, "ip4", name); err != nil || len(ips) != 1 || !enough() {
			t.Error(name, ips, err, enough())
		}
	}
	for _, name := range []string{"other.test.", "localhost.test."} {
		ctx, enough := Glance(t.Context())
		if _, _, err := r.LookupIP(ctx, "ip4", name); kind(err) != "temporary" || enough() || d.Asked(name, "A") != 0 {
			t.Error(name, err, enough(), d.Asked(name, "A"))
		}
	}
}
