package mime

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// keyMaker gathers the parts of Keys while it goes through a header.
type keyMaker struct {
	texts   [texts][]byte
	cut     [texts]bool
	values  [sortValues][]byte
	known   [sortValues]bool // values that were set, empty or not
	refs    []uint64
	more    int // references that were passed over
	parent  uint64
	id      uint64
	sent    time.Time
	flags   byte
	dated   bool
	fields  fields
	scratch []byte
	line    []byte
}

var keyMakers = sync.Pool{New: func() any { return new(keyMaker) }}

// AppendKeys appends the Keys of a message with this header block, or when not whole with this beginning of one. It takes linear time, and
// what it appends has at most 15 KiB.
func AppendKeys(dst, header []byte, whole bool) Keys {
	m := keyMakers.Get().(*keyMaker)
	m.reset()
	for name, raw := range HeaderFields(header) {
		m.field(name, raw)
	}
	for i := range m.cut {
		m.cut[i] = m.cut[i] || !whole
	}
	dst = m.append(dst)
	if cap(m.line) <= 1<<16 { // not grown beyond what is usual
		keyMakers.Put(m)
	}
	return dst
}

func (m *keyMaker) reset() {
	for i := range m.texts {
		m.texts[i], m.cut[i] = m.texts[i][:0], false
	}
	for i := range m.values {
		m.values[i], m.known[i] = m.values[i][:0], false
	}
	m.refs, m.more, m.parent, m.id = m.refs[:0], 0, 0, 0
	m.sent, m.flags, m.dated = time.Time{}, 0, false
}

// field takes what is wanted of one field.
func (m *keyMaker) field(name, raw []byte) {
	is := func(s string) bool { return equalFold(name, s) }
	switch len(name) {
	case 2:
		switch {
		case is("to"):
			m.addresses(TextTo, raw)
		case is("cc"):
			m.addresses(TextCc, raw)
		}
	case 3:
		if is("bcc") {
			m.addresses(TextBcc, raw)
		}
	case 4:
		switch {
		case is("from"):
			m.addresses(TextFrom, raw)
		case is("date") && !m.dated:
			m.dated = true
			m.date(string(m.value(raw)))
		}
	case 7:
		if is("subject") {
			m.subject(raw)
		}
	case 10:
		switch {
		case is("message-id") && m.id == 0:
			m.id = m.firstID(m.value(raw))
		case is("references"):
			m.references(m.value(raw))
		}
	case 11:
		if is("in-reply-to") && m.parent == 0 {
			m.parent = m.firstID(m.value(raw))
		}
	}
}

// value is the field's value as one line, until the next call.
func (m *keyMaker) value(raw []byte) []byte {
	m.line = Unfold(m.line[:0], FieldValue(raw))
	return m.line
}

func (m *keyMaker) subject(raw []byte) {
	value := m.value(raw)
	decoded := m.search(TextSubject, value, false)
	if m.known[SortSubject] {
		return // RFC 5322 section 3.6: there is one; of more the first counts, as in ENVELOPE
	}
	base, reply := BaseSubject(decoded)
	if reply {
		m.flags |= isReply
	}
	m.set(SortSubject, base)
}

// set makes a sort value of a text.
func (m *keyMaker) set(v SortValue, text string) {
	m.known[v] = true
	m.values[v] = cutText(AppendCasemap(m.values[v][:0], []byte(cutText(text, 2*maxKeyText))), maxKeyText)
}

// cutText shortens UTF-8 to at most max bytes.
func cutText[S []byte | string](b S, max int) S {
	if len(b) <= max {
		return b
	}
	for max > 0 && !utf8.RuneStart(b[max]) {
		max--
	}
	return b[:max]
}

// search adds to a text what SEARCH looks through in a field, and returns its value decoded.
func (m *keyMaker) search(t KeyText, value []byte, address bool) (decoded string) {
	decoded = DecodeHeader(string(value))
	if m.cut[t] {
		return decoded
	}
	m.add(t, decoded)
	if bytes.Contains(value, encodedBegin) {
		m.add(t, string(value))
	}
	if address && bytes.IndexByte(value, '(') >= 0 {
		m.add(t, WithoutComments(string(value)))
	}
	return decoded
}

var encodedBegin = []byte("=?")

func (m *keyMaker) add(t KeyText, s string) {
	if m.cut[t] {
		return
	}
	room := maxKeyText - len(m.texts[t])
	m.texts[t] = AppendCasemap(m.texts[t], []byte(cutText(s, room)))
	if len(s) >= room || len(m.texts[t]) >= maxKeyText {
		m.texts[t], m.cut[t] = cutText(m.texts[t], maxKeyText-1), true
	}
	m.texts[t] = append(m.texts[t], 0)
}

// WithoutComments is a field of addresses without its comments (RFC 5322 section 3.2.2) and the blanks around "@", as its
// addresses read in the envelope.
func WithoutComments(s string) string {
	b := make([]byte, 0, len(s))
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s):
			if i++; depth == 0 {
				b = append(b, c, s[i])
			}
		case depth == 0 && c == '"':
			quoted = !quoted
			b = append(b, c)
		case quoted:
			b = append(b, c)
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0, c == ' ' && len(b) > 0 && (b[len(b)-1] == '@' || b[len(b)-1] == ' '):
		case c == '@':
			b = append(bytes.TrimRight(b, " "), c)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// sortOf are the sort values that the first address of a field gives.
var sortOf = [texts]struct{ mailbox, display SortValue }{
	TextFrom: {SortFrom, SortDisplayFrom}, TextTo: {SortTo, SortDisplayTo}, TextCc: {SortCc, sortValues}, TextBcc: {sortValues, sortValues},
}

func (m *keyMaker) addresses(t KeyText, raw []byte) {
	value := m.value(raw)
	m.search(t, value, true)
	v := sortOf[t]
	if v.mailbox == sortValues || m.known[v.mailbox] {
		return
	}
	m.fields.budget = maxText
	list := m.fields.addressList(nil, value, 1)
	if len(list) == 0 {
		return // ENVELOPE adds up the fields
	}
	a := &list[0]
	m.set(v.mailbox, a.Mailbox)
	if v.display == sortValues {
		return
	}
	// RFC 5957 section 3
	name := DecodeHeader(a.Name)
	if name == "" {
		if name = a.Mailbox; name != "" && a.Host != "" {
			name += "@" + a.Host
		}
	}
	m.set(v.display, name)
}

// date is the sent date (RFC 5256 section 2.2): an invalid zone is UTC, an invalid time midnight.
func (m *keyMaker) date(s string) {
	var ok bool
	if m.sent, ok = ParseDate(s); ok {
		m.flags |= hasSent | hasDay
		return
	}
	if len(s) > 200 {
		return
	}
	words := strings.Fields(s)
	if n := len(words); n > 3 {
		if m.sent, ok = ParseDate(strings.Join(words[:n-1], " ")); ok { // without the zone
			m.flags |= hasSent
			return
		}
	}
	if len(words) > 0 && strings.HasSuffix(words[0], ",") {
		words = words[1:]
	}
	if len(words) >= 3 {
		if m.sent, ok = ParseDate(strings.Join(words[:3], " ") + " 00:00:00 +0000"); ok {
			m.flags |= hasSent
		}
	}
}

// hashID is what stands for a Message-ID; never 0.
func hashID(id []byte) uint64 {
	sum := sha256.Sum256(id)
	return max(binary.BigEndian.Uint64(sum[:]), 1)
}

func (m *keyMaker) firstID(value []byte) uint64 {
	for id := range msgIDs(value, &m.scratch) {
		return hashID(id)
	}
	return 0
}

// references keeps the first ones and the last ones; between them they are a ring.
func (m *keyMaker) references(value []byte) {
	for id := range msgIDs(value, &m.scratch) {
		h := hashID(id)
		if len(m.refs) < firstRefs+lastRefs {
			m.refs = append(m.refs, h)
			continue
		}
		m.refs[firstRefs+m.more%lastRefs] = h
		m.more++
	}
}

// append writes the Keys.
func (m *keyMaker) append(dst []byte) Keys {
	if len(m.refs) == 0 && m.parent != 0 {
		m.refs = append(m.refs, m.parent)
	}
	start := len(dst)
	var sent int64
	var zone int16
	if m.flags&hasSent != 0 {
		_, east := m.sent.Zone()
		sent, zone = m.sent.Unix(), int16(east/60)
	}
	dst = append(dst, keysVersion, m.flags)
	dst = binary.BigEndian.AppendUint64(dst, uint64(sent))
	dst = binary.BigEndian.AppendUint16(dst, uint16(zone))
	dst = binary.BigEndian.AppendUint64(dst, m.id)
	dst = append(dst, byte(len(m.refs)))
	for i := range m.refs {
		if i >= firstRefs && m.more > 0 {
			i = firstRefs + (i-firstRefs+m.more)%lastRefs
		}
		dst = binary.BigEndian.AppendUint64(dst, m.refs[i])
	}
	var at [texts]int
	for t, text := range m.texts {
		size := uint64(len(text)) << 1
		if m.cut[t] {
			size |= 1
		}
		dst = binary.AppendUvarint(dst, size)
		at[t] = len(dst) - start
		dst = append(dst, text...)
	}
	for v, value := range m.values {
		n := bytes.Index(m.texts[valueIn[v]], value)
		if len(value) == 0 || n < 0 {
			dst = binary.AppendUvarint(dst, uint64(len(value))<<1)
			dst = append(dst, value...)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(at[valueIn[v]]+n)<<1|1)
		dst = binary.AppendUvarint(dst, uint64(len(value)))
	}
	return dst
}

// valueIn is the text that a value most likely is a part of.
var valueIn = [sortValues]KeyText{
	SortSubject: TextSubject, SortFrom: TextFrom, SortTo: TextTo, SortCc: TextCc, SortDisplayFrom: TextFrom, SortDisplayTo: TextTo,
}
