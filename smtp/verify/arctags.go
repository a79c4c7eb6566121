package verify

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// tags are a tag-list (RFC 6376 section 3.2): values by name, without the white space at their ends.
type tags map[string]string

var errTags = errors.New("bad tag list")

// maxTags bounds a list. Signatures have about ten.
const maxTags = 64

// parseTags reads a tag-list. RFC 6376 section 3.2: a tag that comes twice makes the whole list invalid.
func parseTags(value []byte) (tags, error) {
	all := tags{}
	rest := string(value)
	for rest != "" {
		var spec string
		spec, rest, _ = strings.Cut(rest, ";")
		spec = trimFWS(spec)
		if spec == "" {
			if trimFWS(rest) == "" && len(all) > 0 { // the one semicolon that may stand at the end
				return all, nil
			}
			return nil, fmt.Errorf("%w: empty tag", errTags)
		}
		name, v, ok := strings.Cut(spec, "=")
		name, v = trimFWS(name), trimFWS(v)
		if !ok || !isTagName(name) || !isTagValue(v) {
			return nil, fmt.Errorf("%w: tag %.40q", errTags, name)
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%w: tag %s comes twice", errTags, name)
		}
		if all[name] = v; len(all) > maxTags {
			return nil, fmt.Errorf("%w: too many tags", errTags)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errTags)
	}
	return all, nil
}

func trimFWS(s string) string { return strings.Trim(s, " \t\r\n") }

// isTagName: ALPHA *ALNUMPUNC.
func isTagName(s string) bool {
	for i, c := range []byte(s) {
		alpha := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !alpha && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// isTagValue: VALCHAR with white space between. RFC 8616 section 4: UTF-8 beside it.
func isTagValue(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
			return false
		}
	}
	return true
}

// noFWS is a value without the white space that may stand anywhere in it.
func noFWS(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s)
}

// bytes64 is a base64 value with white space in it.
func (t tags) bytes64(name string) ([]byte, error) {
	v := noFWS(t[name])
	b, err := base64.StdEncoding.DecodeString(v)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("%w: %s= is no base64", errTags, name)
	}
	return b, nil
}

// withoutB is a signature's field with the value of b= removed, white space around it too (RFC 6376 section 3.7).
func (f HeaderField) withoutB() HeaderField {
	colon := bytes.IndexByte(f.Raw, ':') + 1
	out := append([]byte(nil), f.Raw[:colon]...)
	rest := f.Raw[colon:]
	for len(rest) > 0 {
		spec, more := rest, []byte(nil)
		if i := bytes.IndexByte(rest, ';'); i >= 0 {
			spec, more = rest[:i+1], rest[i+1:]
		}
		rest = more
		eq := bytes.IndexByte(spec, '=')
		if eq < 0 || trimFWS(string(spec[:eq])) != "b" {
			out = append(out, spec...)
			continue
		}
		out = append(out, spec[:eq+1]...)
		if spec[len(spec)-1] == ';' {
			out = append(out, ';')
		}
	}
	return HeaderField{f.Name, out}
}
