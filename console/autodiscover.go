package console

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// The namespaces of Autodiscover's XML (MS-OXDSCLI).
const (
	nsResponse = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
	nsOutlook  = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
)

// The errors of Autodiscover (MS-OXDSCLI section 2.2.4.1.1.1).
const (
	discoverInvalid = 600 // the request makes no sense
	discoverSchema  = 601 // another schema is wanted than there is
)

// autodiscover answers Outlook's POST ("plain old XML").
func (s *Server) autodiscover(r *http.Request) *answer {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return refusal(http.StatusBadRequest, "the request could not be read")
	case len(body) > maxBody:
		return refusal(http.StatusRequestEntityTooLarge, "the request is too long")
	}
	q, err := parseDiscover(body)
	if err != nil {
		s.o.Logger.Debug("autodiscover request refused", "error", err)
		return s.discoverError(discoverInvalid, "Invalid Request")
	}
	if q.schema != "" && !strings.EqualFold(q.schema, nsOutlook) {
		return s.discoverError(discoverSchema, "Provider is not available")
	}
	local, domain, err := storage.ParseAddress(q.address)
	if err != nil {
		return s.discoverError(discoverInvalid, "Invalid Request")
	}
	if domain, err = s.ours(r, domain); err != nil {
		return s.failed(err)
	}
	if !s.o.mail() {
		return s.discoverError(discoverSchema, "Provider is not available")
	}
	return s.xml(s.discovered(local + "@" + domain))
}

// discoverQuestion is what a request says.
type discoverQuestion struct{ address, schema string }

// maxDepth is how deep a request's elements are nested; three is what clients send.
const maxDepth = 8

var errDiscover = errors.New("console: not an Autodiscover request")

// parseDiscover reads a request: elements of at most maxDepth levels in UTF-8, without a document type and so without entities beyond XML's own five.
func parseDiscover(body []byte) (q discoverQuestion, err error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	var path []string
	for {
		t, err := d.Token()
		if err == io.EOF && len(path) == 0 {
			break
		}
		if err != nil {
			return q, fmt.Errorf("%w: %w", errDiscover, err)
		}
		switch t := t.(type) {
		case xml.Directive:
			return q, fmt.Errorf("%w: it declares a document type", errDiscover)
		case xml.StartElement:
			if len(path) == maxDepth {
				return q, fmt.Errorf("%w: it is nested too deep", errDiscover)
			}
			path = append(path, t.Name.Local)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			switch strings.Join(path, "/") {
			case "Autodiscover/Request/EMailAddress":
				q.address += string(t)
			case "Autodiscover/Request/AcceptableResponseSchema":
				q.schema += string(t)
			}
		}
	}
	q.address, q.schema = strings.TrimSpace(q.address), strings.TrimSpace(q.schema)
	if q.address == "" {
		return q, fmt.Errorf("%w: it names no address", errDiscover)
	}
	return q, nil
}

// discovery is the answer with the settings.
type discovery struct {
	XMLName  xml.Name `xml:"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006 Autodiscover"`
	Response struct {
		XMLName   xml.Name           `xml:"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a Response"`
		Type      string             `xml:"Account>AccountType"`
		Action    string             `xml:"Account>Action"`
		Protocols []discoverProtocol `xml:"Account>Protocol"`
	}
}

type discoverProtocol struct {
	Type       string `xml:"Type"`
	Server     string `xml:"Server"`
	Port       int    `xml:"Port"`
	Domain     string `xml:"DomainRequired"`
	Login      string `xml:"LoginName"`
	SPA        string `xml:"SPA"`
	SSL        string `xml:"SSL"`
	Encryption string `xml:"Encryption"`
	Auth       string `xml:"AuthRequired"`
	POPAuth    string `xml:"UsePOPAuth,omitempty"`
	Last       string `xml:"SMTPLast,omitempty"`
}

func (s *Server) discovered(address string) *discovery {
	d := &discovery{}
	d.Response.Type, d.Response.Action = "email", "settings"
	for _, protocol := range []string{"imap", "smtp"} {
		v := s.o.of(protocol)[0] // one of each: of several, Outlook takes which it likes
		p := discoverProtocol{Type: strings.ToUpper(protocol), Server: s.o.Name, Port: v.Port, Domain: "off", Login: address, SPA: "off", SSL: "on", Encryption: "TLS", Auth: "on"}
		if v.TLS {
			p.Encryption = "SSL"
		}
		if protocol == "smtp" {
			p.POPAuth, p.Last = "off", "off"
		}
		d.Response.Protocols = append(d.Response.Protocols, p)
	}
	return d
}

// discoverFault is the answer with an error. HTTP's status is 200 all the same.
type discoverFault struct {
	XMLName  xml.Name `xml:"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006 Autodiscover"`
	Response struct {
		Error struct {
			Time    string `xml:"Time,attr"`
			ID      string `xml:"Id,attr"`
			Code    int    `xml:"ErrorCode"`
			Message string `xml:"Message"`
			Data    string `xml:"DebugData"`
		}
	}
}

func (s *Server) discoverError(code int, message string) *answer {
	f := &discoverFault{}
	e := &f.Response.Error
	e.Time, e.ID, e.Code, e.Message = time.Now().UTC().Format("15:04:05.0000000"), "0", code, message
	return s.xml(f)
}

// discoverer tells newer Outlooks where the XML is: /autodiscover/autodiscover.json?Protocol=AutodiscoverV1 (version 2 of the protocol).
func (s *Server) discoverer(r *http.Request) *answer {
	say := func(status int, v any) *answer {
		body, err := json.Marshal(v)
		if err != nil {
			return s.failed(err)
		}
		return &answer{status: status, kind: kindJSON, body: append(body, '\n')}
	}
	q := map[string]string{}
	for k, v := range r.URL.Query() {
		q[strings.ToLower(k)] = v[0]
	}
	address := q["email"]
	if address == "" { // /autodiscover/autodiscover.json/v1.0/ADDRESS
		if _, last, _ := cutLast(r.URL.Path, "/"); strings.Contains(last, "@") {
			address = last
		}
	}
	if _, err := s.asked(r, address, "autodiscover"); err != nil {
		return s.failed(err)
	}
	if !strings.EqualFold(q["protocol"], "AutodiscoverV1") {
		return say(http.StatusBadRequest, map[string]string{"ErrorCode": "InvalidProtocol", "ErrorMessage": "The given protocol value is invalid. Supported values are \"AutodiscoverV1\"."})
	}
	return say(0, map[string]string{"Protocol": "AutodiscoverV1", "Url": s.origin() + "/autodiscover/autodiscover.xml"})
}
