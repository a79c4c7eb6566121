package console

import (
	"encoding/xml"
	"net/http"
)

// autoconfig is what Thunderbird and its like read: config-v1.1.xml, https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat.
// They ask http(s)://autoconfig.DOMAIN/mail/config-v1.1.xml?emailaddress=... and DOMAIN/.well-known/autoconfig/mail/config-v1.1.xml.
// The client puts the address in, so that the answer is one for all of a domain.
func (s *Server) autoconfig(r *http.Request) *answer {
	domain, err := s.asked(r, r.URL.Query().Get("emailaddress"), "autoconfig")
	if err != nil {
		return s.failed(err)
	}
	if !s.o.mail() {
		return refusal(http.StatusNotFound, noMail)
	}
	c := clientConfig{Version: "1.1"}
	p := &c.Provider
	p.ID, p.Domain, p.Name, p.Short = domain, domain, domain, domain
	for _, v := range s.o.of("imap") {
		p.Incoming = append(p.Incoming, s.configServer(v))
	}
	for _, v := range s.o.of("smtp") {
		p.Outgoing = append(p.Outgoing, s.configServer(v))
	}
	if s.o.HTTPS != 0 {
		p.Documentation = &documentation{URL: s.origin() + "/", Text: description{"en", "What to type into mail and file clients"}}
	}
	return s.xml(c)
}

func (s *Server) configServer(v Service) configServer {
	socket := "STARTTLS"
	if v.TLS {
		socket = "SSL"
	}
	// A password in clear over TLS; what else Thunderbird calls password-encrypted is CRAM-MD5, which is not offered.
	return configServer{Type: v.Protocol, Host: s.o.Name, Port: v.Port, Socket: socket, Auth: "password-cleartext", User: "%EMAILADDRESS%"}
}

// clientConfig is config-v1.1.xml.
type clientConfig struct {
	XMLName  xml.Name `xml:"clientConfig"`
	Version  string   `xml:"version,attr"`
	Provider struct {
		ID            string         `xml:"id,attr"`
		Domain        string         `xml:"domain"`
		Name          string         `xml:"displayName"`
		Short         string         `xml:"displayShortName"`
		Incoming      []configServer `xml:"incomingServer"`
		Outgoing      []configServer `xml:"outgoingServer"`
		Documentation *documentation `xml:"documentation,omitempty"`
	} `xml:"emailProvider"`
}

type configServer struct {
	Type   string `xml:"type,attr"`
	Host   string `xml:"hostname"`
	Port   int    `xml:"port"`
	Socket string `xml:"socketType"`
	Auth   string `xml:"authentication"`
	User   string `xml:"username"`
}

type documentation struct {
	URL  string      `xml:"url,attr"`
	Text description `xml:"descr"`
}

type description struct {
	Lang string `xml:"lang,attr"`
	Text string `xml:",chardata"`
}

// xml is a document of v.
func (s *Server) xml(v any) *answer {
	body, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		s.o.Logger.Error("cannot write XML", "error", err)
		return refusal(http.StatusInternalServerError, "try again later")
	}
	return &answer{kind: kindXML, body: append(append([]byte(xml.Header), body...), '\n')}
}
