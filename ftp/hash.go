package ftp

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io/fs"
	"strconv"
	"strings"
)

// algorithm is one that digests can be asked for.
type algorithm struct {
	name string // IANA's "Hash Function Textual Names", in capitals; CRC32 is not among them
	make func() hash.Hash
}

// algorithms: the first is HASH's own choice.
var algorithms = [...]algorithm{
	{"SHA-256", sha256.New},
	{"SHA-512", sha512.New},
	{"SHA-1", sha1.New},
	{"MD5", md5.New},
	{"CRC32", func() hash.Hash { return crc32.NewIEEE() }},
}

func algorithmNamed(name string) *algorithm {
	for i := range algorithms {
		if strings.EqualFold(algorithms[i].name, name) {
			return &algorithms[i]
		}
	}
	return nil
}

// hashFeature is HASH's line of FEAT, with a star at the one that is chosen: draft-bryan-ftpext-hash-03 section 3.1.
func (c *client) hashFeature() string {
	var b strings.Builder
	b.WriteString("HASH ")
	for i := range algorithms {
		b.WriteString(algorithms[i].name)
		if &algorithms[i] == c.hash {
			b.WriteByte('*')
		}
		b.WriteByte(';')
	}
	return b.String()
}

// optsHash: draft-bryan-ftpext-hash-03 section 3.2.
func (c *client) optsHash(arg string) {
	if arg != "" {
		a := algorithmNamed(arg)
		if a == nil {
			c.reply(501, "Unknown algorithm, current selection not changed.")
			return
		}
		c.hash = a
	}
	c.reply(200, c.hash.name)
}

// span is a part of a file.
type span struct {
	from, to int64 // to is one past the last byte
	whole    bool
}

// cmdHash: draft-bryan-ftpext-hash-03 section 3. A RANG before it counts, as for RETR.
func (c *client) cmdHash(arg string) (*transfer, error) {
	if c.converts() {
		return nil, refuse(551, "HASH is of bytes: send TYPE I first.")
	}
	alg := c.hash
	s := span{from: c.rest, to: c.until, whole: c.until == 0}
	return c.digest("HASH", arg, alg, s, 553, func(sum []byte, s span) {
		c.reply(213, fmt.Sprintf("%s %d-%d %x %s", alg.name, s.from, max(s.to-1, s.from), sum, arg))
	})
}

// cmdX makes the command that older clients know for one algorithm: name, or "name" with quotes doubled, then if wanted the first byte and one past the last.
func cmdX(verb, algorithm string) func(*client, string) (*transfer, error) {
	alg := algorithmNamed(algorithm)
	return func(c *client, arg string) (*transfer, error) {
		name, s, err := c.splitSpan(arg)
		if err != nil {
			return nil, err
		}
		return c.digest(verb, name, alg, s, 550, func(sum []byte, _ span) {
			c.reply(250, strings.ToUpper(hex.EncodeToString(sum)))
		})
	}
}

// cmdMd5: draft-twine-ftpmd5-00.
func (c *client) cmdMd5(arg string) (*transfer, error) {
	return c.digest("MD5", arg, algorithmNamed("MD5"), span{whole: true}, 504, func(sum []byte, _ span) {
		c.reply(251, arg+" "+strings.ToUpper(hex.EncodeToString(sum)))
	})
}

// splitSpan takes the argument of XCRC and its like apart. Without quotes, two numbers at the end are a span unless they are part of the name of a file.
func (c *client) splitSpan(arg string) (string, span, error) {
	if name, rest, ok := unquote(arg); ok {
		s, err := parseSpan(strings.Fields(rest))
		return name, s, err
	}
	f := strings.Fields(arg)
	if n := len(f); n > 2 && digits(f[n-1]) && digits(f[n-2]) {
		if _, _, err := c.stat(arg); errors.Is(err, fs.ErrNotExist) {
			name := strings.TrimSuffix(strings.TrimRight(arg, " "), f[n-1])
			name = strings.TrimSuffix(strings.TrimRight(name, " "), f[n-2])
			s, err := parseSpan(f[n-2:])
			return strings.TrimSuffix(name, " "), s, err
		}
	}
	return arg, span{whole: true}, nil
}

// unquote takes a name in quotes, in which "" is a quote, from the front.
func unquote(arg string) (name, rest string, ok bool) {
	if !strings.HasPrefix(arg, `"`) {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(arg); i++ {
		switch {
		case arg[i] != '"':
			b.WriteByte(arg[i])
		case strings.HasPrefix(arg[i:], `""`):
			b.WriteByte('"')
			i++
		default:
			rest = arg[i+1:]
			return b.String(), rest, b.Len() > 0 && (rest == "" || rest[0] == ' ')
		}
	}
	return "", "", false
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func parseSpan(f []string) (span, error) {
	if len(f) == 0 {
		return span{whole: true}, nil
	}
	if len(f) == 2 {
		from, err := strconv.ParseInt(f[0], 10, 64)
		to, err2 := strconv.ParseInt(f[1], 10, 64)
		if err == nil && err2 == nil && from >= 0 && to >= from && to <= maxOffset {
			return span{from: from, to: to}, nil
		}
	}
	return span{}, refuse(501, "Not a range: first byte, one past the last byte.")
}
