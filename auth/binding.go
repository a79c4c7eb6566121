package auth

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/xdg-go/scram"

	"github.com/packetboat/packetboat/auth/session"
)

var errBinding = errors.New("channel binding not possible")

// canBind tells whether any channel binding can be had on s, so that -PLUS is offered.
func (d *Door) canBind(s *session.Session) bool {
	for _, name := range []scram.ChannelBindingType{
		scram.ChannelBindingTLSExporter, scram.ChannelBindingTLSServerEndpoint,
	} {
		if _, err := d.binding(s, name); err == nil {
			return true
		}
	}
	return false
}

// binding is the data of channel binding name on s, which must have TLS.
//
//	tls-exporter          RFC 9266: TLS 1.3, and TLS 1.2 with extended master secret
//	tls-unique            RFC 5929 section 3: TLS 1.2 with extended master secret (without: RFC 7627 section 1)
//	tls-server-end-point  RFC 5929 section 4: where Options.Certificate tells the certificate
func (d *Door) binding(s *session.Session, name scram.ChannelBindingType) (scram.ChannelBinding, error) {
	cs, ok := s.TLS()
	if !ok || !cs.HandshakeComplete { // a state without a handshake has no keys to export
		return scram.ChannelBinding{}, errBinding
	}
	var data []byte
	switch name {
	case scram.ChannelBindingTLSExporter:
		data = exporter(&cs)
	case scram.ChannelBindingTLSUnique:
		if cs.Version == tls.VersionTLS12 && exporter(&cs) != nil {
			data = cs.TLSUnique
		}
	case scram.ChannelBindingTLSServerEndpoint:
		if d.opt.Certificate != nil {
			data = endPoint(d.opt.Certificate(cs))
		}
	}
	if len(data) == 0 {
		return scram.ChannelBinding{}, errBinding
	}
	return scram.ChannelBinding{Type: name, Data: data}, nil
}

// bindings is what binding gives, and all else that clients understand by that name.
//
// RFC 9266 section 2: the context of the exporter is the zero-length string, which TLS 1.2 tells from none (RFC 5705 section 4). The client
// libraries in use differ in which they take; either is bound to this connection.
func (d *Door) bindings(s *session.Session, name scram.ChannelBindingType) ([]scram.ChannelBinding, error) {
	b, err := d.binding(s, name)
	if err != nil {
		return nil, err
	}
	all := []scram.ChannelBinding{b}
	if cs, _ := s.TLS(); name == scram.ChannelBindingTLSExporter && cs.Version == tls.VersionTLS12 {
		if data, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32); err == nil {
			all = append(all, scram.ChannelBinding{Type: name, Data: data})
		}
	}
	return all, nil
}

// exporter is the binding data of RFC 9266 section 2, nil where the connection has none. The tls package
// gives none to TLS 1.2 without extended master secret.
func exporter(cs *tls.ConnectionState) []byte {
	b, err := scram.NewTLSExporterBinding(cs)
	if err != nil {
		return nil
	}
	return b.Data
}

// endPoint hashes a certificate.
//
// RFC 5929 section 4.1: with the hash of its signature, SHA-256 in the place of MD5 and SHA-1. Signatures with
// no single hash (Ed25519) have no such binding.
func endPoint(der []byte) []byte {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		h := sha256.Sum256(cert.Raw)
		return h[:]
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h := sha512.Sum384(cert.Raw)
		return h[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h := sha512.Sum512(cert.Raw)
		return h[:]
	default:
		return nil
	}
}
