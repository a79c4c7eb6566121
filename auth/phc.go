package auth

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// phc is an argon2id hash (RFC 9106) with the parameters that made it, as it stands in a PHC string:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>     (base64 without padding)
type phc struct {
	cost
	salt []byte
	hash []byte
}

// cost is what a hash takes to compute.
type cost struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

// usualCost is that of new hashes: 19 MiB and two passes take 23 ms alone and 52 ms for two
// at a time on the two cores this was measured on. RFC 9106 section 4 leaves the choice to such a measurement.
var usualCost = cost{memory: 19 * 1024, passes: 2, threads: 1}

// The sizes of a new hash, in bytes.
const (
	phcSalt = 16
	phcHash = 32
)

// The most that a stored string may ask for: a row written by something else must
// not take the machine down.
const (
	phcMaxMemory  = 256 * 1024
	phcMaxPasses  = 16
	phcMaxThreads = 8
	phcMaxWork    = 1024 * 1024 // memory times passes
	phcMaxString  = 512
	phcMinSalt    = 8
	phcMinHash    = 16
	phcMaxBytes   = 64 // of salt and of hash
)

var errPHC = errors.New("not an argon2id hash this program takes")

// newPHC hashes a prepared password with a fresh salt.
func newPHC(password string, c cost) *phc {
	h := &phc{cost: c, salt: randomBytes(phcSalt)}
	h.hash = h.derive(password, phcHash)
	return h
}

func (h *phc) derive(password string, n int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(n))
}

// verify tells in constant time whether password made the hash.
func (h *phc) verify(password string) bool {
	return subtle.ConstantTimeCompare(h.derive(password, len(h.hash)), h.hash) == 1
}

// stale tells whether the hash was made at another cost than that of today.
func (h *phc) stale(today cost) bool {
	return h.cost != today || len(h.salt) < phcSalt || len(h.hash) < phcHash
}

func (h *phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.hash))
}

// parsePHC reads a PHC string and refuses what would cost too much to verify.
func parsePHC(s string) (*phc, error) {
	part := strings.Split(s, "$")
	if len(s) > phcMaxString || len(part) != 6 || part[0] != "" || part[1] != "argon2id" ||
		part[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, errPHC
	}
	h := &phc{}
	if err := h.parameters(part[3]); err != nil {
		return nil, err
	}
	var err error
	if h.salt, err = phcBytes(part[4], phcMinSalt); err != nil {
		return nil, err
	}
	if h.hash, err = phcBytes(part[5], phcMinHash); err != nil {
		return nil, err
	}
	return h, nil
}

// parameters reads "m=19456,t=2,p=1".
func (h *phc) parameters(s string) error {
	field := strings.Split(s, ",")
	if len(field) != 3 {
		return errPHC
	}
	var value [3]uint32
	for i, f := range [3]struct {
		prefix   string
		min, max uint64
	}{{"m=", 8, phcMaxMemory}, {"t=", 1, phcMaxPasses}, {"p=", 1, phcMaxThreads}} {
		digits, ok := strings.CutPrefix(field[i], f.prefix)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || n < f.min || n > f.max || digits[0] == '0' {
			return errPHC
		}
		value[i] = uint32(n)
	}
	h.memory, h.passes, h.threads = value[0], value[1], uint8(value[2])
	// RFC 9106 section 3.1: at least 8 KiB for each lane.
	if h.memory < 8*value[2] || h.memory*h.passes > phcMaxWork {
		return errPHC
	}
	return nil
}

func phcBytes(s string, least int) ([]byte, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") || len(b) < least || len(b) > phcMaxBytes {
		return nil, errPHC
	}
	return b, nil
}
