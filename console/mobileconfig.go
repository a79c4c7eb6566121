package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/storage"
)

// profile is a configuration profile for Apple's devices: /mobileconfig?email=ann@example.org. It is not signed, and holds no password:
// the device asks for it. Asked twice it is the same, so that installing it again replaces it.
func (s *Server) profile(r *http.Request) *answer {
	local, domain, err := storage.ParseAddress(r.URL.Query().Get("email"))
	if err != nil {
		return refusal(http.StatusBadRequest, "want ?email=NAME@DOMAIN")
	}
	if domain, err = s.ours(r, domain); err != nil {
		return s.failed(err)
	}
	if !s.o.mail() {
		return refusal(http.StatusNotFound, noMail)
	}
	in, out := s.o.of("imap"), s.o.of("smtp")
	address := local + "@" + domain
	id := reversed(domain) + ".packetboat." + uuid("id", address) // of one account: those of a family may share a device
	mail := dict{
		{"PayloadType", "com.apple.mail.managed"},
		{"PayloadVersion", 1},
		{"PayloadIdentifier", id + ".account"},
		{"PayloadUUID", uuid("account", s.o.Name, address)},
		{"PayloadDisplayName", address},
		{"EmailAccountType", "EmailTypeIMAP"},
		{"EmailAccountDescription", address},
		{"EmailAddress", address},
		{"IncomingMailServerHostName", s.o.Name},
		{"IncomingMailServerPortNumber", in[0].Port},
		{"IncomingMailServerUseSSL", true},
		{"IncomingMailServerUsername", address},
		{"IncomingMailServerAuthentication", "EmailAuthPassword"},
		{"OutgoingMailServerHostName", s.o.Name},
		{"OutgoingMailServerPortNumber", out[0].Port},
		{"OutgoingMailServerUseSSL", true},
		{"OutgoingMailServerUsername", address},
		{"OutgoingMailServerAuthentication", "EmailAuthPassword"},
		{"OutgoingPasswordSameAsIncomingPassword", true},
		{"SMIMEEnabled", false},
	}
	all := dict{
		{"PayloadType", "Configuration"},
		{"PayloadVersion", 1},
		{"PayloadIdentifier", id},
		{"PayloadUUID", uuid("profile", s.o.Name, address)},
		{"PayloadDisplayName", "Mail of " + domain},
		{"PayloadDescription", "Sets up the mail account " + address},
		{"PayloadOrganization", domain},
		{"PayloadRemovalDisallowed", false},
		{"PayloadContent", []dict{mail}},
	}
	return &answer{kind: kindProfile, body: plist(all), name: domain + ".mobileconfig"}
}

// uuid makes of its parts what looks like a random UUID and is always the same (RFC 9562 section 5.8: version 8).
func uuid(parts ...string) string {
	h := sha256.Sum256([]byte("packetboat\x00" + strings.Join(parts, "\x00")))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16]))
}

// reversed is a domain as identifiers have it: org.example.
func reversed(domain string) string {
	labels := strings.Split(domain, ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".")
}

// dict is a property list's dictionary in a fixed order; its values are strings, ints, bools and lists of dictionaries.
type dict []struct {
	key   string
	value any
}

// plist writes a property list.
func plist(d dict) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	b.WriteString(`<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` + "\n<plist version=\"1.0\">\n")
	d.write(&b)
	b.WriteString("</plist>\n")
	return b.Bytes()
}

func (d dict) write(b *bytes.Buffer) {
	b.WriteString("<dict>\n")
	for _, e := range d {
		element(b, "key", e.key)
		switch v := e.value.(type) {
		case string:
			element(b, "string", v)
		case int:
			element(b, "integer", fmt.Sprint(v))
		case bool:
			fmt.Fprintf(b, "<%t/>\n", v)
		case []dict:
			b.WriteString("<array>\n")
			for _, inner := range v {
				inner.write(b)
			}
			b.WriteString("</array>\n")
		}
	}
	b.WriteString("</dict>\n")
}

// element writes text, in which what XML cannot hold becomes U+FFFD.
func element(b *bytes.Buffer, name, text string) {
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(text)) // a bytes.Buffer takes everything
	b.WriteString("</" + name + ">\n")
}
