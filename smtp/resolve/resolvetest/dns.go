// Package resolvetest is a DNS for tests: an authoritative server of every name there is, on loopback over UDP and TCP, which can be told to be
// slow of wit, silent or dead. Records have the TTL 0 unless the test says otherwise, so that a change is seen at once.
package resolvetest

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// DNS is a running server. Names are given with or without their last dot; all methods may be called at any time.
type DNS struct {
	t    testing.TB
	addr string

	mu        sync.Mutex
	records   map[string]map[uint16][]dns.RR // by name in lower case
	behaviour map[string]behaviour           // by name; "*": all
	authentic bool
	asked     map[asked]int
	servers   []*dns.Server
}

type behaviour uint8

const (
	fail behaviour = 1 << iota
	silent
	big
)

type asked struct {
	name string
	kind uint16
}

// New starts a server that ends with the test. It answers the root, so that it is a DNS that is there, and knows nothing else.
func New(t testing.TB) *DNS {
	t.Helper()
	d := &DNS{t: t, records: map[string]map[uint16][]dns.RR{}, behaviour: map[string]behaviour{}, asked: map[asked]int{}}
	d.addr = "127.0.0.1:0"
	d.Up()
	t.Cleanup(d.Down)
	return d
}

// Addr is where it listens: "127.0.0.1:port".
func (d *DNS) Addr() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addr
}

// Up starts the server again after Down, at the same address.
func (d *DNS) Up() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.servers != nil {
		return
	}
	for tries := 0; ; tries++ { // the port that UDP got may be taken for TCP
		pc, err := net.ListenPacket("udp", d.addr)
		if err != nil {
			d.t.Fatalf("resolvetest: %v", err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil && tries < 20 {
			pc.Close()
			continue
		}
		if err != nil {
			d.t.Fatalf("resolvetest: %v", err)
		}
		d.addr = pc.LocalAddr().String()
		d.servers = []*dns.Server{{PacketConn: pc, Handler: d}, {Listener: ln, Handler: d}}
		break
	}
	var started sync.WaitGroup
	for _, s := range d.servers {
		started.Add(1)
		s.NotifyStartedFunc = started.Done
		go s.ActivateAndServe()
	}
	started.Wait()
}

// Down ends the server: its ports refuse.
func (d *DNS) Down() {
	d.mu.Lock()
	servers := d.servers
	d.servers = nil
	d.mu.Unlock()
	for _, s := range servers {
		s.Shutdown()
	}
}

// Set reads records as in a zone file ($ORIGIN is the root, $TTL is 0) and puts them in place of those of the same name and type. A name
// that begins with "*." stands for all names below that have no records of their own.
func (d *DNS) Set(zone string) {
	d.t.Helper()
	p := dns.NewZoneParser(strings.NewReader("$TTL 0\n"+zone), ".", "")
	p.SetDefaultTTL(0)
	fresh := map[asked][]dns.RR{}
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		k := asked{canonical(rr.Header().Name), rr.Header().Rrtype}
		fresh[k] = append(fresh[k], rr)
	}
	if err := p.Err(); err != nil {
		d.t.Fatalf("resolvetest: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, list := range fresh {
		if d.records[k.name] == nil {
			d.records[k.name] = map[uint16][]dns.RR{}
		}
		d.records[k.name][k.kind] = list
	}
}

// Text sets the one TXT record of a name, cut into strings of 255 octets.
func (d *DNS) Text(name, text string) {
	rr := &dns.TXT{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET}}
	for len(text) > 255 {
		rr.Txt, text = append(rr.Txt, escape(text[:255])), text[255:]
	}
	rr.Txt = append(rr.Txt, escape(text))
	d.mu.Lock()
	defer d.mu.Unlock()
	n := canonical(name)
	if d.records[n] == nil {
		d.records[n] = map[uint16][]dns.RR{}
	}
	d.records[n][dns.TypeTXT] = []dns.RR{rr}
}

func escape(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

// Remove takes away a name's records of a type ("A", "TXT", ...), or all of them when kind is empty.
func (d *DNS) Remove(name, kind string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = canonical(name)
	if kind != "" {
		delete(d.records[name], dns.StringToType[strings.ToUpper(kind)])
	}
	if kind == "" || len(d.records[name]) == 0 {
		delete(d.records, name)
	}
}

// Fail answers SERVFAIL to what is asked of a name; "*" is every name.
func (d *DNS) Fail(name string) { d.behave(name, fail) }

// Silent answers nothing to what is asked of a name; "*" is every name.
func (d *DNS) Silent(name string) { d.behave(name, silent) }

// Big cuts what is answered over UDP for a name, so that it is asked for over TCP; "*" is every name.
func (d *DNS) Big(name string) { d.behave(name, big) }

// Heal takes back Fail, Silent and Big.
func (d *DNS) Heal(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.behaviour, canonical(name))
}

func (d *DNS) behave(name string, b behaviour) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.behaviour[canonical(name)] |= b
}

// Authentic sets whether answers say that they were validated (AD), to those who ask whether (RFC 6840 section 5.7).
func (d *DNS) Authentic(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.authentic = on
}

// Asked tells how often a question came, over UDP and TCP together.
func (d *DNS) Asked(name, kind string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[asked{canonical(name), dns.StringToType[strings.ToUpper(kind)]}]
}

// ServeDNS answers one question.
func (d *DNS) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := &dns.Msg{}
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	if len(q.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		w.WriteMsg(m)
		return
	}
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	d.mu.Lock()
	b := d.answer(m, q)
	d.mu.Unlock()
	if b&silent != 0 {
		return
	}
	size := dns.MinMsgSize
	if o := q.IsEdns0(); o != nil {
		size = max(size, int(o.UDPSize()))
		m.SetEdns0(1232, false)
	}
	if udp && b&big != 0 {
		m.Truncated, m.Answer, m.Ns = true, nil, nil
	}
	if udp {
		m.Truncate(size)
	}
	m.Compress = true
	w.WriteMsg(m)
}

// answer fills m and tells how its name behaves.
func (d *DNS) answer(m, q *dns.Msg) behaviour {
	name, kind := canonical(q.Question[0].Name), q.Question[0].Qtype
	d.asked[asked{name, kind}]++
	b := d.behaviour[name] | d.behaviour["*."]
	if b&fail != 0 {
		m.Rcode = dns.RcodeServerFailure
		return b
	}
	m.AuthenticatedData = d.authentic && (q.AuthenticatedData || q.IsEdns0() != nil && q.IsEdns0().Do())
	for range 20 {
		set, exists := d.at(name)
		if list := set[kind]; len(list) > 0 {
			m.Answer = append(m.Answer, owned(list, name)...)
			return b
		}
		if alias := set[dns.TypeCNAME]; len(alias) > 0 {
			m.Answer = append(m.Answer, owned(alias, name)...)
			name = canonical(alias[0].(*dns.CNAME).Target)
			if d.behaviour[name]&fail != 0 {
				m.Rcode, m.Answer = dns.RcodeServerFailure, nil
				return b
			}
			continue
		}
		if !exists && name != "." {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = []dns.RR{d.soa(name)}
		return b
	}
	return b
}

// at gives the records of a name, and whether it exists: by records of its own, below it, or by a wildcard.
func (d *DNS) at(name string) (map[uint16][]dns.RR, bool) {
	if set, ok := d.records[name]; ok {
		return set, true
	}
	for n := range d.records {
		if dns.IsSubDomain(name, n) {
			return nil, true
		}
	}
	for off, end := dns.NextLabel(name, 0); !end; off, end = dns.NextLabel(name, off) {
		if set, ok := d.records["*."+name[off:]]; ok {
			return set, true
		}
		if _, ok := d.records[name[off:]]; ok {
			break
		}
	}
	return nil, false
}

// soa is what a negative answer carries: the SOA above the name, or one of the root whose answers are not to be kept.
func (d *DNS) soa(name string) dns.RR {
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		if list := d.records[name[off:]][dns.TypeSOA]; len(list) > 0 {
			return list[0]
		}
	}
	return &dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.test.", Mbox: "hostmaster.test.", Serial: 1}
}

// owned gives records the name that was asked for, which is another than theirs below a wildcard.
func owned(list []dns.RR, name string) []dns.RR {
	all := make([]dns.RR, len(list))
	for i, rr := range list {
		all[i] = dns.Copy(rr)
		if strings.HasPrefix(rr.Header().Name, "*.") {
			all[i].Header().Name = name
		}
	}
	return all
}

func canonical(name string) string { return strings.ToLower(dns.Fqdn(name)) }
