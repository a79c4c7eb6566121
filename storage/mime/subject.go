package mime

import (
	"bytes"
	"strings"
)

// BaseSubject takes from a decoded subject what replying and forwarding added (RFC 5256 section 2.1), and tells whether
// any of that was there: the message is a reply or forward. Time is linear.
func BaseSubject(subject string) (base string, reply bool) {
	s := collapse(subject)
	for {
		var again bool
		if s, again = trimTrailers(s); again {
			reply = true
		}
		if s, again = trimLeaders(s); again {
			reply = true
		}
		// RFC 5256 section 2.1 (6)
		inner, ok := cutFold(s, "[fwd:")
		if !ok || !strings.HasSuffix(inner, "]") {
			return s, reply
		}
		s, reply = inner[:len(inner)-1], true
	}
}

// collapse makes of each run of white space one space: RFC 5256 section 2.1 (1).
func collapse(s string) string {
	if !strings.ContainsAny(s, "\t\r\n") && !strings.Contains(s, "  ") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if isSpace(c) {
			if len(b) > 0 && b[len(b)-1] == ' ' {
				continue
			}
			c = ' '
		}
		b = append(b, c)
	}
	return string(b)
}

// trimTrailers is RFC 5256 section 2.1 (2): subj-trailer = "(fwd)" / WSP.
func trimTrailers(s string) (rest string, forward bool) {
	const fwd = "(fwd)"
	for {
		s = strings.TrimRight(s, " ")
		if len(s) < len(fwd) || !strings.EqualFold(s[len(s)-len(fwd):], fwd) {
			return s, forward
		}
		s, forward = s[:len(s)-len(fwd)], true
	}
}

// trimLeaders is RFC 5256 section 2.1 (3) to (5). Once no "re:" follows the blobs at the beginning none will when some of them are gone,
// so that it is looked for once.
func trimLeaders(s string) (rest string, reply bool) {
	for {
		s = strings.TrimLeft(s, " ")
		last, after := "", s // the last blob with what follows it, and what follows it
		for {
			next, ok := cutBlob(after)
			if !ok {
				break
			}
			last, after = after, next
		}
		next, ok := cutRefwd(after)
		switch {
		case ok:
			s, reply = next, true
		case after != "":
			return after, reply
		default:
			return last, reply // a blob is the base when there is nothing else
		}
	}
}

// cutRefwd takes off subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":".
func cutRefwd(s string) (rest string, ok bool) {
	for _, word := range [...]string{"re", "fwd", "fw"} {
		after, ok := cutFold(s, word)
		if !ok {
			continue
		}
		after = strings.TrimLeft(after, " ")
		if next, ok := cutBlob(after); ok {
			after = next
		}
		if strings.HasPrefix(after, ":") {
			return after[1:], true
		}
	}
	return s, false
}

// cutBlob takes off subj-blob = "[" *BLOBCHAR "]" *WSP.
func cutBlob(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	n := strings.IndexAny(s[1:], "[]")
	if n < 0 || s[1+n] == '[' {
		return s, false
	}
	return strings.TrimLeft(s[n+2:], " "), true
}

// cutFold takes off a prefix without regard to ASCII case; it is in lowercase.
func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !equalFold([]byte(s[:len(prefix)]), prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// msgIDs yields the Message-IDs in a field value without their brackets and with their quoting undone (RFC 5256 section 3, REFERENCES: quoted and
// unquoted forms are the same). What is no id (RFC 5322 section 3.6.4: something on both sides of an at sign) is passed over. The slice is
// valid until the next turn.
func msgIDs(value []byte, scratch *[]byte) func(yield func(id []byte) bool) {
	return func(yield func(id []byte) bool) {
		for {
			n := bytes.IndexByte(value, '<')
			if n < 0 {
				return
			}
			var ok bool
			*scratch, value, ok = msgID((*scratch)[:0], value[n+1:])
			if ok && !yield(*scratch) {
				return
			}
		}
	}
}

// msgID appends the id that begins behind "<". An id that is not closed ends where the next one begins.
func msgID(dst, v []byte) (id, rest []byte, ok bool) {
	at, quoted := -1, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\' && i+1 < len(v):
			i++
			dst = append(dst, v[i])
		case c == '"':
			quoted = !quoted
		case quoted:
			dst = append(dst, c)
		case c == '>':
			return dst, v[i+1:], at > 0 && at < len(dst)-1
		case c == '<':
			return dst, v[i:], false
		case isSpace(c):
		default:
			if c == '@' {
				at = len(dst)
			}
			dst = append(dst, c)
		}
	}
	return dst, nil, false
}
