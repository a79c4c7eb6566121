package smtp_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp"
)

// The signatures of a binary message (RFC 3030) are those of what came, and not of what is made of it.
func TestBinarySigned(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := "From: joe@strict.example\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\x01 \r\nbinary\x00"
	var signed bytes.Buffer
	if err := dkim.Sign(&signed, strings.NewReader(text), &dkim.SignOptions{Domain: "strict.example", Selector: "s", Signer: key, HeaderKeys: []string{"From", "Content-Type", "Content-Transfer-Encoding"}}); err != nil {
		t.Fatal(err)
	}
	_, env, d := verifying(t, smtp.JudgeOptions{})
	d.Set("s._domainkey.strict.example. IN TXT \"v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der) + "\"\n")
	play := func(message, end string) {
		sessiontest.Play(t, fmt.Sprintf("%s\n"+`
			a>- "MAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<ann@example.test>\r\n"
			a< 250 *
			a< 250 *
			a>- %q
			%s
		`, greeted, fmt.Sprintf("BDAT %d LAST\r\n", len(message))+message, end), env)
	}
	play(signed.String(), "a< 250 2.0.0 *\n! count ann 1\n! has ann \"dkim=pass\"\n! has ann \"Content-Transfer-Encoding: base64\"")
	play(strings.Replace(signed.String(), "\r\nbinary", "\r\nbinarx", 1), "a< 550 5.7.1 *\n! count ann 1")
}
