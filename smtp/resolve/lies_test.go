package resolve

import (
	"net"

	"github.com/miekg/dns"
)

// lie answers each question with forgeries first, then with the truth among records of others.
func lie(pc net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		q := &dns.Msg{}
		if q.Unpack(buf[:n]) != nil {
			return
		}
		send := func(f func(m *dns.Msg)) {
			m := &dns.Msg{}
			m.SetReply(q)
			m.RecursionAvailable = true
			f(m)
			if b, err := m.Pack(); err == nil {
				pc.WriteTo(b, from)
			}
		}
		txt := func(name, text string) dns.RR {
			return &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}}
		}
		lies := func(m *dns.Msg) { m.Answer = []dns.RR{txt(m.Question[0].Name, "lie")} }
		send(func(m *dns.Msg) { lies(m); m.Id++ })
		send(func(m *dns.Msg) { m.Question[0].Name = "b.test."; lies(m) })
		send(func(m *dns.Msg) { lies(m); m.Question[0].Qtype = dns.TypeA })
		send(func(m *dns.Msg) { lies(m); m.Question[0].Qclass = dns.ClassCHAOS })
		send(func(m *dns.Msg) { lies(m); m.Question = nil })
		send(func(m *dns.Msg) { lies(m); m.Question = append(m.Question, m.Question[0]) })
		send(func(m *dns.Msg) { lies(m); m.Response = false })
		send(func(m *dns.Msg) { lies(m); m.Opcode = dns.OpcodeNotify })
		pc.WriteTo([]byte("garbage"), from)
		pc.WriteTo(append(append([]byte{}, buf[:2]...), "garbage garbage"...), from)
		send(func(m *dns.Msg) {
			m.Answer = []dns.RR{txt("elsewhere.test.", "lie"), txt("A.test.", "truth"), txt("b.test.", "lie")}
			m.Extra = []dns.RR{txt("a.test.", "lie")}
		})
	}
}
