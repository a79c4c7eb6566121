package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/mjl-/adns"

	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// scripted is a server whose answers the test writes.
func scripted(t *testing.T, f func(network string, q, m *dns.Msg)) string {
	t.Helper()
	var pc net.PacketConn
	var ln net.Listener
	for tries := 0; ln == nil; tries++ { // the port that UDP got may be taken for TCP
		var err error
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if ln, err = net.Listen("tcp", pc.LocalAddr().String()); err != nil {
			if pc.Close(); tries == 20 {
				t.Fatal(err)
			}
			ln = nil
		}
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := &dns.Msg{}
		m.SetReply(q)
		m.RecursionAvailable = true
		f(w.RemoteAddr().Network(), q, m)
		w.WriteMsg(m)
	})
	var started sync.WaitGroup
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: ln, Handler: handler}} {
		started.Add(1)
		s.NotifyStartedFunc = started.Done
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	started.Wait()
	return pc.LocalAddr().String()
}

func answerTXT(m *dns.Msg, text string) {
	m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}}}
}

// What servers do, and what is made of it; the second server of each knows the truth.
func TestServersThatFail(t *testing.T) {
	good := scripted(t, func(_ string, q, m *dns.Msg) { answerTXT(m, "good") })
	for _, c := range []struct {
		what string
		f    func(network string, q, m *dns.Msg)
		want string // text, or the kind of the error, when it is the only one
		both string // with the good one behind it
	}{
		{"knows no EDNS", func(_ string, q, m *dns.Msg) {
			if q.IsEdns0() != nil {
				m.Rcode = dns.RcodeFormatError
				return
			}
			answerTXT(m, "plain")
		}, "plain", "plain"},
		{"knows no EDNS and repeats no question", func(_ string, q, m *dns.Msg) {
			if q.IsEdns0() != nil {
				m.Rcode, m.Question = dns.RcodeNotImplemented, nil
				return
			}
			answerTXT(m, "plain")
		}, "plain", "plain"},
		{"understands nothing", func(_ string, q, m *dns.Msg) { m.Rcode = dns.RcodeFormatError }, "temporary", "good"},
		{"refuses", func(_ string, q, m *dns.Msg) { m.Rcode = dns.RcodeRefused }, "temporary", "good"},
		{"fails", func(_ string, q, m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, "temporary", "good"},
		{"is lame", func(_ string, q, m *dns.Msg) { m.RecursionAvailable = false }, "temporary", "good"},
		{"says no name", func(_ string, q, m *dns.Msg) { m.Rcode = dns.RcodeNameError }, "not found", "not found"},
		{"says no data", func(_ string, q, m *dns.Msg) {}, "not found", "not found"},
		{"cuts over TCP too", func(_ string, q, m *dns.Msg) { m.Truncated = true }, "temporary", "good"},
		{"answers something else over TCP", func(network string, q, m *dns.Msg) {
			if m.Truncated = network == "udp"; network == "tcp" {
				m.Question[0].Name = "other.test."
				answerTXT(m, "lie")
			}
		}, "temporary", "good"},
		{"has a chain without end", func(_ string, q, m *dns.Msg) {
			m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "x." + q.Question[0].Name}}
		}, "temporary", "temporary"},
	} {
		for i, servers := range [][]string{{scripted(t, c.f)}, {scripted(t, c.f), good}} {
			r := New(Options{Servers: servers, Timeout: time.Second})
			v, _, err := r.LookupTXT(t.Context(), "a.test.")
			got := kind(err)
			if err == nil {
				got = strings.Join(v, " ")
			}
			if want := []string{c.want, c.both}[i]; got != want {
				t.Errorf("a server that %s, of %d: %s (%v), want %s", c.what, len(servers), got, err, want)
			}
		}
	}
}

// A host one of whose families cannot be told is reached by the other; what is known of neither is not concluded to be nothing.
func TestOneFamily(t *testing.T) {
	r := New(Options{Servers: []string{scripted(t, func(_ string, q, m *dns.Msg) {
		m.AuthenticatedData = true
		name, kind := q.Question[0].Name, q.Question[0].Qtype
		h := dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET}
		switch {
		case name == "four.test." && kind == dns.TypeA:
			m.Answer = []dns.RR{&dns.A{Hdr: h, A: net.IPv4(192, 0, 2, 1)}}
		case name == "six.test." && kind == dns.TypeAAAA:
			m.Answer = []dns.RR{&dns.AAAA{Hdr: h, AAAA: net.ParseIP("2001:db8::1")}}
		case name == "none4.test." && kind == dns.TypeA, name == "none6.test." && kind == dns.TypeAAAA: // no data
		default:
			m.Rcode, m.AuthenticatedData = dns.RcodeServerFailure, false
		}
	})}})
	for name, want := range map[string]string{"four.test.": "[192.0.2.1] true", "six.test.": "[2001:db8::1] true", "none4.test.": "temporary", "none6.test.": "temporary", "neither.test.": "temporary"} {
		ips, result, err := r.LookupIP(t.Context(), "ip", name)
		got := fmt.Sprint(ips, " ", result.Authentic)
		if err != nil {
			got = kind(err)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// RFC 8914: why a validating resolver fails is handed on.
func TestExtendedError(t *testing.T) {
	r := New(Options{Servers: []string{scripted(t, func(_ string, q, m *dns.Msg) {
		m.Rcode = dns.RcodeServerFailure
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "x"})
	})}})
	_, _, err := r.LookupTXT(t.Context(), "a.test.")
	var ede adns.ExtendedError
	if !errors.As(err, &ede) || ede.InfoCode != adns.ErrDNSSECBogus || kind(err) != "temporary" {
		t.Errorf("%+v", err)
	}
}

// What is asked: recursion, AD, EDNS without DO, another id and another port each time.
func TestQuestions(t *testing.T) {
	var mu sync.Mutex
	ids := map[uint16]bool{}
	r := New(Options{Servers: []string{scripted(t, func(_ string, q, m *dns.Msg) {
		mu.Lock()
		defer mu.Unlock()
		ids[q.Id] = true
		if o := q.IsEdns0(); !q.RecursionDesired || !q.AuthenticatedData || q.CheckingDisabled || o == nil || o.Do() || o.UDPSize() != payload {
			m.Rcode = dns.RcodeRefused
		}
	})}})
	for range 20 {
		if _, _, err := r.LookupTXT(t.Context(), "a.test."); kind(err) != "not found" {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 18 {
		t.Errorf("20 questions had %d ids", len(ids))
	}
}

func TestResolvConf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string]string{
		"nameserver 127.0.0.1\n": "127.0.0.1:53 trusted",
		"nameserver 127.0.0.1\nnameserver 192.0.2.1\nsearch example.org\n": "127.0.0.1:53 192.0.2.1:53",
		"nameserver 192.0.2.1\noptions edns0 trust-ad\n":                   "192.0.2.1:53 trusted",
		"# nothing\n":              "127.0.0.1:53 [::1]:53 trusted",
		"nameserver 2001:db8::1\n": "[2001:db8::1]:53",
		"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n": "192.0.2.1:53 192.0.2.2:53 192.0.2.3:53",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := New(Options{})
		r.servers = &servers{file: file}
		servers, trusted := r.Servers()
		got := strings.Join(servers, " ")
		if trusted {
			got += " trusted"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	r := New(Options{})
	r.servers = &servers{file: file}
	r.Servers()
	if err := os.WriteFile(file, []byte("nameserver 192.0.2.77\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(file, time.Now().Add(time.Hour), time.Now().Add(time.Hour))
	r.servers.looked = time.Time{}
	if got, _ := r.Servers(); got[0] != "192.0.2.77:53" {
		t.Errorf("a changed file is not read again: %v", got)
	}
	os.Remove(file)
	r.servers.looked = time.Time{}
	if got, _ := r.Servers(); len(got) != 2 {
		t.Errorf("without the file: %v", got)
	}
}

// No more than so many questions are on the wire; who waits too long is told that nobody answered.
func TestConcurrency(t *testing.T) {
	d := resolvetest.New(t)
	d.Silent("slow.test.")
	d.Set("a.test. TXT x")
	r := New(Options{Servers: []string{d.Addr()}, Concurrency: 1, Timeout: 400 * time.Millisecond})
	var wait sync.WaitGroup
	wait.Go(func() { r.LookupTXT(t.Context(), "slow.test.") })
	for d.Asked("slow.test.", "TXT") == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, _, err := r.LookupTXT(t.Context(), "a.test."); err != nil {
		t.Error(err)
	}
	wait.Wait()
	if len(r.wire) != 0 || len(r.flights) != 0 {
		t.Errorf("%d questions and %d flights are left", len(r.wire), len(r.flights))
	}
}

// Names whose servers do not answer leave the wire to others.
func TestSlowNames(t *testing.T) {
	d := resolvetest.New(t)
	d.Silent("slow1.test.")
	d.Silent("slow2.test.")
	d.Silent("slow3.test.")
	d.Set("a.test. TXT x")
	r := New(Options{Servers: []string{d.Addr()}, Concurrency: 1, Timeout: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	var wait sync.WaitGroup
	for _, name := range []string{"slow1.test.", "slow2.test.", "slow3.test."} {
		wait.Go(func() { r.LookupTXT(ctx, name) })
	}
	for d.Asked("slow1.test.", "TXT")+d.Asked("slow2.test.", "TXT")+d.Asked("slow3.test.", "TXT") < 3 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if _, _, err := r.LookupTXT(ctx, "a.test."); err != nil {
		t.Error(err)
	}
	cancel()
	wait.Wait()
	if len(r.wire) != 0 || len(r.slow) != 0 {
		t.Errorf("%d and %d questions are left", len(r.wire), len(r.slow))
	}
}

// Whoever has us ask any number of names of a domain whose servers do not answer gets some places, and then none: its questions are given up at once.
func TestCrowd(t *testing.T) {
	d := resolvetest.New(t)
	name := func(n int) string { return fmt.Sprintf("n%d.slow.test.", n) }
	for i := range maxSilent + 1 {
		d.Silent(name(i))
	}
	d.Set("a.test. TXT x")
	r := New(Options{Servers: []string{d.Addr()}, Concurrency: 8, Timeout: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	var wait sync.WaitGroup
	for i := range maxSilent {
		wait.Go(func() { r.LookupTXT(ctx, name(i)) })
	}
	for r.crowds.full("slow.test", question{}) == nil && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	_, _, err := r.LookupTXT(ctx, name(maxSilent))
	if e, ok := errors.AsType[*adns.DNSError](err); !ok || !e.IsTemporary || e.IsNotFound || d.Asked(name(maxSilent), "TXT") != 0 {
		t.Errorf("one more: %v, asked %d times", err, d.Asked(name(maxSilent), "TXT"))
	}
	if _, _, err := r.LookupTXT(ctx, "a.test."); err != nil {
		t.Error(err)
	}
	cancel()
	wait.Wait()
	if len(r.wire) != 0 || len(r.slow) != 0 || len(r.crowds.all) != 0 {
		t.Errorf("%d, %d and %d questions are left", len(r.wire), len(r.slow), len(r.crowds.all))
	}
}

// Servers that are far away and answer are not taken for silent ones; what they may have is bounded too.
func TestCrowdOfTheLiving(t *testing.T) {
	c := crowds{all: map[string]*crowd{}}
	room := func() bool { return c.full("a.test", question{}) == nil }
	for range maxSilent {
		c.enter("a.test")
	}
	if room() {
		t.Error("there is room where nothing was answered")
	}
	c.leave("a.test", false, true)
	for range maxCrowd - maxSilent {
		if !room() {
			t.Fatal("there is no room though there was an answer")
		}
		c.enter("a.test")
	}
	if room() {
		t.Error("there is room without an end")
	}
	for range maxCrowd {
		c.leave("a.test", true, false)
	}
	c.leave("a.test", false, true)
	if !room() || len(c.all) != 0 {
		t.Errorf("%d are left", len(c.all))
	}
}

func TestZoneOf(t *testing.T) {
	for name, want := range map[string]string{
		".": "", "com.": "com", "a.example.com.": "example.com", "x.y.example.co.uk.": "example.co.uk", "a.b.test.": "b.test",
		"2.0.0.127.zen.example.org.": "example.org", "4.3.2.1.in-addr.arpa.": "2.1.in-addr.arpa", "1.in-addr.arpa.": "1.in-addr.arpa",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.": "8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := zoneOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"a.test", "A..b", `a\.b.c.`, "bücher.test", "a b\x00.c", "_x._tcp.y."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := absolute(s)
		if err != nil {
			return
		}
		again, err := absolute(strings.TrimSuffix(name, "."))
		var wire [256]byte
		if _, perr := dns.PackDomainName(name, wire[:], 0, nil, false); perr != nil || !strings.HasSuffix(name, ".") || strings.ToLower(name) != name {
			t.Errorf("%q became %q (%v)", s, name, perr)
		}
		if plain := !strings.Contains(name, `\`); plain && name != "." && (err != nil || again != name) {
			t.Errorf("%q became %q, and that %q", s, name, again)
		}
		octets(name)
	})
}
