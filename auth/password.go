package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"github.com/packetboat/packetboat/storage"
)

// The kinds of storage.Credential that this package makes and reads.
const (
	kindArgon2id = "argon2id"
	kindScram    = "scram-sha-256"
)

// maxPassword is the longest password in bytes, before and after preparation.
const maxPassword = 1024

// ErrPassword is returned (wrapped, the text says why) for a password that cannot be set.
var ErrPassword = errors.New("unusable password")

// prepare brings a password into the form that is hashed, the same one when it is set
// and when it is checked.
func prepare(password string) (string, error) {
	switch {
	case password == "":
		return "", fmt.Errorf("%w: empty", ErrPassword)
	case len(password) > maxPassword:
		return "", fmt.Errorf("%w: longer than %d bytes", ErrPassword, maxPassword)
	case !utf8.ValidString(password):
		return "", fmt.Errorf("%w: not UTF-8", ErrPassword)
	}
	// RFC 8265 section 4.2: OpaqueString makes other spaces an ordinary one and
	// normalises to NFC; control characters and unassigned code points are refused.
	p, err := precis.OpaqueString.String(password)
	if err != nil {
		// The reason of the library may quote the password, so it is not passed on.
		return "", fmt.Errorf("%w: it holds a character that is not allowed", ErrPassword)
	}
	if len(p) > maxPassword {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrPassword, maxPassword)
	}
	return p, nil
}

// Credentials derives what is stored for a password: an argon2id hash (PHC string) and the SCRAM-SHA-256 keys.
// An empty password, one over 1,024 bytes or one with control characters (RFC 8265 section 4.2) is refused
// with ErrPassword. It takes about 30 ms of one CPU and 19 MiB for that time.
func Credentials(password string) ([]storage.Credential, error) {
	return credentials(password, usualCost)
}

func credentials(password string, c cost) ([]storage.Credential, error) {
	p, err := prepare(password)
	if err != nil {
		return nil, err
	}
	keys, err := deriveScram(p)
	if err != nil {
		return nil, err
	}
	return []storage.Credential{
		{Kind: kindArgon2id, Secret: newPHC(p, c).String()},
		{Kind: kindScram, Secret: keys.String()},
	}, nil
}

// The form of a generated password: 20 signs out of 31 are 99 bits.
const (
	generatedAlphabet = "abcdefghjkmnpqrstuvwxyz23456789" // no i, l, o, 0, 1
	generatedGroups   = 4
	generatedGroup    = 5
)

// GeneratePassword makes a random password of 99 bits that can be read aloud and typed:
// four groups of five small letters and digits, "k7mfa-3xw9p-zchbt-4enqv".
func GeneratePassword() string {
	out := make([]byte, 0, generatedGroups*(generatedGroup+1))
	for n := 0; n < generatedGroups*generatedGroup; {
		var b [32]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		for _, c := range b {
			// Bytes beyond the last whole multiple would favour the first letters.
			if int(c) >= 256/len(generatedAlphabet)*len(generatedAlphabet) || n == generatedGroups*generatedGroup {
				continue
			}
			if n > 0 && n%generatedGroup == 0 {
				out = append(out, '-')
			}
			out = append(out, generatedAlphabet[int(c)%len(generatedAlphabet)])
			n++
		}
	}
	return string(out)
}
