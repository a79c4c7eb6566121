package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

// hand computes a client's side of RFC 5802 by the book, with nothing of the library that the server uses.
type hand struct {
	header   string // the GS2 header
	binding  []byte // channel binding data
	bare     string // client-first-message-bare
	password string
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// final answers server-first and tells what server-final must be.
func (h hand) final(t *testing.T, serverFirst string) (final, serverFinal string) {
	t.Helper()
	field := strings.Split(serverFirst, ",")
	salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(field[1], "s="))
	if err != nil {
		t.Fatal(err)
	}
	rounds, err := strconv.Atoi(strings.TrimPrefix(field[2], "i="))
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, h.password, salt, rounds, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	without := "c=" + base64.StdEncoding.EncodeToString(append([]byte(h.header), h.binding...)) + "," + field[0]
	message := h.bare + "," + serverFirst + "," + without
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	proof := mac(stored[:], message)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	return without + ",p=" + base64.StdEncoding.EncodeToString(proof),
		"v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), message))
}

func TestScramByHand(t *testing.T) {
	sc, _ := sessiontest.TLS(t)
	leaf := sc.Certificates[0].Certificate[0]
	endPoint := sha256.Sum256(leaf) // RFC 5929 section 4.1: its signature is ECDSA with SHA-256
	other := sha256.Sum256([]byte("another certificate"))
	for _, c := range []struct {
		name, mech, header, user string
		binding                  func(tls.ConnectionState) []byte
		want                     error
	}{
		{"plain", "SCRAM-SHA-256", "n,,", "ann", nil, nil},
		{"as oneself", "SCRAM-SHA-256", "n,a=ann@example.test,", "ann", nil, nil},
		{"as somebody", "SCRAM-SHA-256", "n,a=bob@example.test,", "ann", nil, ErrAuthorization},
		{"another way to write ann", "SCRAM-SHA-256", "n,,", "\uff41nn", nil, nil}, // RFC 4013: NFKC
		{"RFC 9266", "SCRAM-SHA-256-PLUS", "p=tls-exporter,,", "ann", func(cs tls.ConnectionState) []byte {
			// RFC 9266 section 2: label, no context (of length zero), 32 bytes
			b, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}, nil},
		{"RFC 5929", "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", "ann", func(tls.ConnectionState) []byte { return endPoint[:] }, nil},
		{"another certificate", "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", "ann", func(tls.ConnectionState) []byte { return other[:] }, ErrCredentials},
		{"the wrong type's data", "SCRAM-SHA-256-PLUS", "p=tls-exporter,,", "ann", func(tls.ConnectionState) []byte { return endPoint[:] }, ErrCredentials},
		{"no data", "SCRAM-SHA-256-PLUS", "p=tls-exporter,,", "ann", nil, ErrCredentials},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name+" "+tls.VersionName(version), func(t *testing.T) {
				r, _ := newRig(t, Options{Certificate: func(tls.ConnectionState) []byte { return leaf }}, session.Limits{})
				s, cs := r.encrypted(version)
				h := hand{header: c.header, bare: "n=" + c.user + ",r=fyko+d2lbbFgONRv9qkxdawL,x=an extension", password: "secret"}
				if c.binding != nil {
					h.binding = c.binding(cs)
				}
				e, err := r.door.SASL(t.Context(), s, c.mech)
				if err != nil {
					t.Fatal(err)
				}
				first, _, err := e.Next([]byte(h.header + h.bare))
				if err != nil {
					t.Fatal(err)
				}
				final, want := h.final(t, string(first))
				last, _, err := e.Next([]byte(final))
				if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && string(last) != want {
					t.Fatalf("%v; the server's last word is %q, want %q", err, last, want)
				}
				if err != nil {
					return
				}
				if _, done, err := e.Next([]byte{}); !done || s.Account().Name != "ann@example.test" {
					t.Error(done, err)
				}
			})
		}
	}
}

// RFC 7677 section 3: the keys of "pencil" lead to the messages of its example.
func TestScramExample(t *testing.T) {
	h := hand{header: "n,,", bare: "n=user,r=rOprNGfwEbeRWgbNEkqO", password: "pencil"}
	first := "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	final, last := h.final(t, first)
	if final != "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=" ||
		last != "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("%q, %q", final, last)
	}
}
