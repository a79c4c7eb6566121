package console

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Service is something that clients can connect to.
type Service struct {
	Listener string // imaps, imap, submissions, submission, ftp, ftps, managesieve
	Protocol string // imap, smtp, ftp, sieve
	Port     int    // as clients see it
	TLS      bool   // from the first byte; otherwise STARTTLS (AUTH TLS in FTP)
}

// Security in words of people.
func (v Service) Security() string {
	switch {
	case v.TLS && v.Protocol == "ftp":
		return "implicit FTP over TLS"
	case v.Protocol == "ftp":
		return "explicit FTP over TLS"
	case v.TLS:
		return "SSL/TLS"
	}
	return "STARTTLS"
}

// of are the services of a protocol, in the order of preference.
func (o *Options) of(protocol string) (all []Service) {
	for _, v := range o.Services {
		if v.Protocol == protocol {
			all = append(all, v)
		}
	}
	return all
}

// mail tells whether mail can be read and sent.
func (o *Options) mail() bool { return len(o.of("imap")) > 0 && len(o.of("smtp")) > 0 }

const noMail = "no mail is served here"

// SRV is an SRV record that leads clients to a service.
type SRV struct {
	Service  string `json:"service"` // _imaps
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`
	Port     int    `json:"port"`   // 0 with target "." : this is not offered
	Target   string `json:"target"` // without the last dot; "." for none
}

// srvNames are the names of services in SRV records. RFC 6186 section 3.1: _submission, _imap, _imaps; RFC 8314 section 5.1:
// _submissions; RFC 5804 section 1.8: _sieve.
var srvNames = []struct{ name, listener string }{
	{"_imaps", "imaps"}, {"_submissions", "submissions"}, {"_imap", "imap"}, {"_submission", "submission"}, {"_sieve", "managesieve"},
}

// Hints are the SRV records of a domain whose services are at name. What has TLS from the first byte comes first (RFC 8314 section 3). POP3, which is not
// offered, is said so as RFC 6186 section 3.4 has it.
func Hints(name string, services []Service, https int) (all []SRV) {
	port := map[string]int{}
	for _, v := range services {
		port[v.Listener] = v.Port
	}
	for _, n := range srvNames {
		p := port[n.listener]
		if p == 0 {
			if n.listener == "imap" || n.listener == "imaps" {
				all = append(all, SRV{Service: n.name, Target: "."})
			}
			continue
		}
		v := SRV{Service: n.name, Weight: 1, Port: p, Target: name}
		if n.listener == "imap" || n.listener == "submission" {
			v.Priority = 10
		}
		all = append(all, v)
	}
	if https != 0 {
		all = append(all, SRV{Service: "_autodiscover", Port: https, Target: name})
	}
	return append(all, SRV{Service: "_pop3", Target: "."}, SRV{Service: "_pop3s", Target: "."})
}

// settings tells programs what the page tells people: /settings.json, with ?email= or ?domain= the SRV records too.
func (s *Server) settings(r *http.Request) *answer {
	type serviceJSON struct {
		Protocol string `json:"protocol"`
		Host     string `json:"host"`
		Port     int    `json:"port"`
		Security string `json:"security"` // tls, starttls
		Username string `json:"username"`
	}
	var out struct {
		Domain   string        `json:"domain,omitempty"`
		Services []serviceJSON `json:"services"`
		SRV      []SRV         `json:"srv,omitempty"`
	}
	q := r.URL.Query()
	address := q.Get("email")
	if d := q.Get("domain"); d != "" {
		address = "@" + d
	}
	if address != "" {
		domain, err := s.asked(r, address)
		if err != nil {
			return s.failed(err)
		}
		out.Domain = domain
		out.SRV = Hints(s.o.Name, s.o.Services, s.o.HTTPS)
	}
	out.Services = []serviceJSON{}
	for _, v := range s.o.Services {
		security := "starttls"
		if v.TLS {
			security = "tls"
		}
		out.Services = append(out.Services, serviceJSON{v.Protocol, s.o.Name, v.Port, security, "%EMAILADDRESS%"})
	}
	body, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return s.failed(fmt.Errorf("console: settings: %w", err))
	}
	return &answer{kind: kindJSON, body: append(body, '\n')}
}
