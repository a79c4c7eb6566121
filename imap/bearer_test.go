package imap_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

// aToken has the form of one of ours.
var aToken = "pbt_" + strings.Repeat("a2", 26)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func oauthBearer(user, token string) string {
	return b64("n,a=" + user + ",\x01host=localhost\x01port=993\x01auth=Bearer " + token + "\x01\x01")
}

func xoauth2(user, token string) string {
	return b64("user=" + user + "\x01auth=Bearer " + token + "\x01\x01")
}

// OAUTHBEARER (RFC 7628), XOAUTH2, and the token as a password.
func TestBearer(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextNever)
	_, err := h.store.AddPass(t.Context(), storage.Pass{
		Account: h.accounts["ann"].ID, Kind: storage.PassToken, Name: "phone", Hash: sha256.Sum256([]byte(aToken)), Scopes: []string{"imap"},
	})
	if err != nil {
		t.Fatal(err)
	}
	env := h.env(t)
	env.Vars = map[string]string{
		"bearer": oauthBearer("ann@example.test", aToken), "wrong": oauthBearer("ann@example.test", "x"), "other": oauthBearer("joe@example.test", aToken),
		"xoauth": xoauth2("ann@example.test", aToken), "xwrong": xoauth2("ann@example.test", "x"), "token": aToken,
		"long": b64("n,,\x01auth=Bearer " + strings.Repeat("x", 11000) + "\x01\x01"), "huge": b64("n,,\x01auth=Bearer " + strings.Repeat("x", 13000) + "\x01\x01"),
		"ask": b64("n,,\x01auth=\x01\x01"), "fault": b64(`{"status":"invalid_token","scope":"imap"}`), "xfault": b64(`{"status":"400","schemes":"Bearer","scope":"imap"}`),
	}
	sessiontest.Play(t, `
		# Without TLS no token may be sent.
		ann = imap
		ann< \* OK [CAPABILITY * LOGINDISABLED*
		ann> a1 AUTHENTICATE OAUTHBEARER $bearer
		ann< a1 NO [PRIVACYREQUIRED] *
		ann> a2 CAPABILITY
		ann<< a2 OK *

		# RFC 7628 section 4.1, RFC 4959: the token in the initial response.
		ann = imaps
		ann< \* OK [CAPABILITY * AUTH=OAUTHBEARER AUTH=XOAUTH2 *
		ann> a1 AUTHENTICATE OAUTHBEARER $bearer
		ann< a1 OK [CAPABILITY *
		ann session account=ann@example.test

		# Without an initial response the server asks for it.
		ann = imaps
		ann< \* OK *
		ann> a1 AUTHENTICATE oauthbearer
		ann<- "+ \r\n"
		ann> $bearer
		ann< a1 OK [CAPABILITY *

		# RFC 7628 section 3.2.3: the error goes as a challenge, and the failure follows the client's dummy response, or its cancelling.
		ann = imaps
		ann< \* OK *
		ann> a1 AUTHENTICATE OAUTHBEARER $wrong
		ann< + $fault
		ann> AQ==
		ann< a1 NO [AUTHENTICATIONFAILED] *
		ann> a2 AUTHENTICATE OAUTHBEARER $ask
		ann< + $fault
		ann> *
		ann< a2 BAD *cancelled
		ann> a3 AUTHENTICATE OAUTHBEARER $bearer
		ann< a3 OK *

		# A good token of another is not authority over this account (RFC 5530 section 3). The third failure ends the connection.
		ann = imaps
		ann< \* OK *
		ann> a1 AUTHENTICATE OAUTHBEARER $other
		ann< + $fault
		ann> AQ==
		ann< a1 NO [AUTHORIZATIONFAILED] *
		ann> a2 AUTHENTICATE OAUTHBEARER =
		ann< a2 NO [AUTHENTICATIONFAILED] *
		ann> a3 AUTHENTICATE OAUTHBEARER AQ==
		ann< a3 NO *
		ann< \* BYE *
		ann< CLOSED

		# XOAUTH2: the answer to an error is empty.
		ann = imaps
		ann< \* OK *
		ann> a1 AUTHENTICATE XOAUTH2 $xwrong
		ann< + $xfault
		ann>
		ann< a1 NO [AUTHENTICATIONFAILED] *
		ann> a2 AUTHENTICATE XOAUTH2
		ann<- "+ \r\n"
		ann> $xoauth
		ann< a2 OK *

		# Tokens of issuers can be long; there is an end to it, and the connection lives on.
		ann = imaps
		ann< \* OK *
		ann> a1 AUTHENTICATE OAUTHBEARER $long
		ann< + $fault
		ann> AQ==
		ann< a1 NO [AUTHENTICATIONFAILED] *
		ann> a2 AUTHENTICATE OAUTHBEARER
		ann<- "+ \r\n"
		ann> $huge
		ann< a2 * [*
		ann> a3 AUTHENTICATE OAUTHBEARER $bearer
		ann< a3 OK *

		# The token as a password; one that is revoked ends its session.
		ann = imaps
		ann< \* OK *
		ann> a1 LOGIN ann $token
		ann< a1 OK *
		ann> a2 SELECT INBOX
		ann<< a2 OK *
		`, env)
}

// EXTERNAL (RFC 4422 appendix A) over implicit TLS and over STARTTLS.
func TestExternal(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), EmailAddresses: []string{"ann@example.test"}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	server, _ := sessiontest.TLS(t)
	server.ClientAuth, server.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
	server.ClientCAs.AddCert(cert)
	h := open(t, imap.Options{TLS: server}, auth.PlaintextLoopback)
	env := h.env(t)
	_, client := sessiontest.TLS(t)
	env.Dial["bare"] = sessiontest.OverTLS(h.tls, client.Clone())
	client.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	env.TLS, env.Dial["imaps"] = client, sessiontest.OverTLS(h.tls, client)
	env.Vars = map[string]string{"ann": b64("ann@example.test"), "joe": b64("joe@example.test")}
	sessiontest.Play(t, `
		ann = imaps
		ann< \* OK [CAPABILITY * AUTH=EXTERNAL AUTH=SCRAM-SHA-256-PLUS *
		ann> a1 AUTHENTICATE EXTERNAL $joe
		ann< a1 NO [AUTHORIZATIONFAILED] *
		ann> a2 AUTHENTICATE EXTERNAL =
		ann< a2 OK *
		ann session account=ann@example.test

		ann = imap
		ann< \* OK *
		ann> a1 AUTHENTICATE EXTERNAL =
		ann< a1 NO [CANNOT] *
		ann> a2 STARTTLS
		ann< a2 OK *
		ann starttls
		ann> a3 CAPABILITY
		ann< \* CAPABILITY * AUTH=EXTERNAL *
		ann< a3 OK *
		ann> a4 AUTHENTICATE EXTERNAL
		ann<- "+ \r\n"
		ann> $ann
		ann< a4 OK *

		ann = imaps
		ann< \* OK *
		ann> a1 AUTHENTICATE EXTERNAL
		ann<- "+ \r\n"
		ann>
		ann< a1 OK *

		joe = bare
		joe< {greeting}
		joe> a1 AUTHENTICATE EXTERNAL =
		joe< a1 NO [CANNOT] *
		`, env)
	for _, i := range h.registry.List() {
		if i.Protocol == session.IMAP && i.Account != "" && i.Via != "issued certificate" {
			t.Errorf("%+v", i)
		}
	}
}
