package smtp_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
)

// OAUTHBEARER (RFC 7628 section 4) and XOAUTH2 by AUTH (RFC 4954), and a token as the password.
func TestBearer(t *testing.T) {
	h := open(t, limits, auth.PlaintextNever)
	token := "pbt_" + strings.Repeat("a2", 26)
	_, err := h.store.AddPass(t.Context(), storage.Pass{
		Account: h.accounts["ann"].ID, Kind: storage.PassToken, Name: "phone", Hash: sha256.Sum256([]byte(token)), Scopes: []string{"smtp"},
	})
	if err != nil {
		t.Fatal(err)
	}
	env := h.env(t)
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, text := range map[string]string{
		"bearer": "n,a=ann@example.test,\x01host=localhost\x01port=587\x01auth=Bearer " + token + "\x01\x01",
		"wrong":  "n,a=ann@example.test,\x01auth=Bearer x\x01\x01",
		"other":  "n,a=joe@example.test,\x01auth=Bearer " + token + "\x01\x01",
		"long":   "n,,\x01auth=Bearer " + strings.Repeat("x", 8000) + "\x01\x01",
		"xoauth": "user=ann@example.test\x01auth=Bearer " + token + "\x01\x01",
		"xwrong": "user=ann@example.test\x01auth=Bearer x\x01\x01",
		"plain":  "\x00ann\x00" + token,
		"fault":  `{"status":"invalid_token","scope":"smtp"}`,
		"xfault": `{"status":"400","schemes":"Bearer","scope":"smtp"}`,
	} {
		env.Vars[name] = b64(text)
	}
	sessiontest.Play(t, `
		a = sub
		a< 220 *
		a> EHLO x
		a<< 250 LIMITS *
		a> AUTH OAUTHBEARER $bearer
		a< 530 5.7.0 *STARTTLS*

		a = subs
		a< 220 *
		a> EHLO x
		a<< 250-AUTH SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN
		a<< 250 LIMITS *
		a> AUTH OAUTHBEARER $wrong
		a< 334 $fault
		a> AQ==
		a< 535 5.7.8 *
		a> AUTH OAUTHBEARER $other
		a< 334 $fault
		a> *
		a< 501 *
		a> AUTH OAUTHBEARER $bearer
		a< 235 2.7.0 *
		a session account=ann@example.test

		# A token of 8,000 bytes, as some issuers make them, fits into the line (RFC 4954 section 4: 12,288).
		a = subs
		a< 220 *
		a> EHLO x
		a<< 250 LIMITS *
		a> AUTH OAUTHBEARER
		a< 334 
		a> $long
		a< 334 $fault
		a> AQ==
		a< 535 5.7.8 *
		a> AUTH XOAUTH2 $xwrong
		a< 334 $xfault
		a>
		a< 535 5.7.8 *
		a> AUTH XOAUTH2 $xoauth
		a< 235 2.7.0 *

		a = subs
		a< 220 *
		a> EHLO x
		a<< 250 LIMITS *
		a> AUTH EXTERNAL =
		a< 504 5.5.4 *
		a> AUTH PLAIN $plain
		a< 235 2.7.0 *
		`, env)
}
