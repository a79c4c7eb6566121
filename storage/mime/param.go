package mime

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// Param returns the value of a parameter of the type, "" when there is none. The name is lowercase.
func (p *Part) Param(name string) string { return paramOf(p.Params, name) }

func paramOf(ps []Param, name string) string {
	for i := range ps {
		if ps[i].Name == name {
			return ps[i].Value
		}
	}
	return ""
}

// piece is a parameter as it stands, perhaps one of several that make up a value (RFC 2231 sections 3 and 4).
type piece struct {
	name    string
	value   []byte
	section int // -1: not a continuation
	encoded bool
}

// params reads ;name=value lists. Continuations are put together in the order of their numbers, and extended
// values become UTF-8; a plain value of the same name wins only if there is no extended one.
func (x *fields) params(v []byte) []Param {
	pieces := x.pieces(v)
	if len(pieces) == 0 {
		return nil
	}
	params := make([]Param, 0, len(pieces))
	for i := range pieces {
		q := &pieces[i]
		if slices.ContainsFunc(params, func(p Param) bool { return p.Name == q.name }) {
			continue
		}
		params = append(params, Param{q.name, x.keep(join(pieces[i:], q.name))})
	}
	return params
}

// pieces are at most maxParams parameters in the order in which they stand.
func (x *fields) pieces(v []byte) []piece {
	var pieces []piece
	for len(pieces) < maxParams {
		n := bytes.IndexByte(v, ';')
		if n < 0 {
			break
		}
		var name, value []byte
		name, v = token(v[n+1:])
		v = skipComments(v)
		if len(name) == 0 || len(v) == 0 || v[0] != '=' {
			continue
		}
		v = skipComments(v[1:])
		if len(v) > 0 && v[0] == '"' {
			value, v = quoted(v)
		} else {
			value, v = loose(v)
		}
		pieces = append(pieces, x.piece(name, value))
	}
	return pieces
}

// loose takes a value that should be a token but may hold what a token must not (blanks in file names, "/", "=").
func loose(v []byte) (value, rest []byte) {
	n := bytes.IndexAny(v, ";(")
	if n < 0 {
		n = len(v)
	}
	return bytes.TrimRight(v[:n], " \t"), v[n:]
}

func (x *fields) piece(name, value []byte) piece {
	q := piece{value: value, section: -1}
	base, star, ok := strings.Cut(strings.ToLower(string(name)), "*")
	if ok {
		if number, extended := strings.CutSuffix(star, "*"); extended || star == "" {
			q.encoded = true
			star = number
		}
		if n, err := strconv.ParseUint(star, 10, 16); err == nil {
			q.section = int(n)
		} else if star != "" {
			base = strings.ToLower(string(name)) // no form of RFC 2231
		}
	}
	q.name = x.keep([]byte(base))
	return q
}

// join makes the value of a name out of its pieces.
func join(pieces []piece, name string) []byte {
	var parts []*piece
	var whole *piece
	for i := range pieces {
		q := &pieces[i]
		switch {
		case q.name != name:
		case q.section >= 0:
			parts = append(parts, q)
		case whole == nil || q.encoded && !whole.encoded:
			whole = q
		}
	}
	if whole != nil && (whole.encoded || len(parts) == 0) {
		return decodeExtended(whole)
	}
	slices.SortStableFunc(parts, func(a, b *piece) int { return a.section - b.section })
	var b []byte
	charset := ""
	for i, q := range parts {
		if i > 0 && q.section != parts[i-1].section+1 {
			break // a missing piece: what follows cannot be put in its place
		}
		value := q.value
		if q.encoded {
			if i == 0 {
				charset, value = splitCharset(value)
			}
			value = percent(value)
		}
		b = append(b, value...)
	}
	return []byte(toUTF8(charset, b))
}

func decodeExtended(q *piece) []byte {
	if !q.encoded {
		return q.value
	}
	charset, value := splitCharset(q.value)
	return []byte(toUTF8(charset, percent(value)))
}

// splitCharset takes charset'language' from an extended value (RFC 2231 section 4).
func splitCharset(v []byte) (charset string, value []byte) {
	one := bytes.IndexByte(v, '\'')
	if one < 0 {
		return "", v
	}
	two := bytes.IndexByte(v[one+1:], '\'')
	if two < 0 {
		return "", v
	}
	return string(v[:min(one, 40)]), v[one+1+two+1:]
}

func percent(v []byte) []byte {
	if !bytes.Contains(v, []byte{'%'}) {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if n, err := strconv.ParseUint(string(v[i+1:i+3]), 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, v[i])
	}
	return b
}
