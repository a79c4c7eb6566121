package mime

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
	"unicode/utf8"
)

// keyMaker gathers the parts of Keys.
type keyMaker struct {
	texts   [texts][]byte
	cut     [texts]bool
	values  [sortValues][]byte
	refs    []uint64
	more    int // references that were passed over
	id      uint64
	sent    time.Time
	flags   byte
	scratch []byte
	line    []byte
}

var keyMakers = sync.Pool{New: func() any { return new(keyMaker) }}

// AppendKeys appends the Keys of a message with this envelope and this header block, or when not whole with this beginning of one. It takes linear
// time, and what it appends has at most 15 KiB.
func AppendKeys(dst, header []byte, whole bool, e *Envelope) Keys {
	m := keyMakers.Get().(*keyMaker)
	m.reset()
	for name, raw := range HeaderFields(header) {
		m.field(name, raw)
	}
	for i := range m.cut {
		m.cut[i] = m.cut[i] || !whole
	}
	m.envelope(e)
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
		m.values[i] = m.values[i][:0]
	}
	m.refs, m.more, m.id = m.refs[:0], 0, 0
	m.sent, m.flags = time.Time{}, 0
}

// field takes what is wanted of one field: SEARCH looks through all of a name, ENVELOPE has the first ones only.
func (m *keyMaker) field(name, raw []byte) {
	switch len(name) {
	case 2:
		switch {
		case equalFold(name, "to"):
			m.search(TextTo, raw, true)
		case equalFold(name, "cc"):
			m.search(TextCc, raw, true)
		}
	case 3:
		if equalFold(name, "bcc") {
			m.search(TextBcc, raw, true)
		}
	case 4:
		if equalFold(name, "from") {
			m.search(TextFrom, raw, true)
		}
	case 7:
		if equalFold(name, "subject") {
			m.search(TextSubject, raw, false)
		}
	case 10:
		if equalFold(name, "references") {
			m.references(m.value(raw))
		}
	}
}

// value is the field's value as one line, until the next call.
func (m *keyMaker) value(raw []byte) []byte {
	m.line = Unfold(m.line[:0], FieldValue(raw))
	return m.line
}

// envelope takes what the envelope has.
func (m *keyMaker) envelope(e *Envelope) {
	base, reply := BaseSubject(DecodeHeader(e.Subject))
	if reply {
		m.flags |= isReply
	}
	m.set(SortSubject, base)
	m.address(e.From, SortFrom, SortDisplayFrom)
	m.address(e.To, SortTo, SortDisplayTo)
	m.address(e.Cc, SortCc, sortValues)
	m.id = m.firstID(e.MessageID)
	if len(m.refs) == 0 {
		if parent := m.firstID(e.InReplyTo); parent != 0 {
			m.refs = append(m.refs, parent)
		}
	}
	m.sent = e.SentDate
	known := !m.sent.IsZero()
	if !known && e.Date != "" {
		m.sent, known = SentDate(e.Date)
	}
	if known {
		m.flags |= hasSent
	}
}

// address sets the sort values that the first address of a field gives.
func (m *keyMaker) address(list []Address, mailbox, display SortValue) {
	if len(list) == 0 {
		return
	}
	a := &list[0]
	m.set(mailbox, a.Mailbox)
	if display == sortValues {
		return
	}
	// RFC 5957 section 3
	name := DecodeHeader(a.Name)
	if name == "" {
		if name = a.Mailbox; name != "" && a.Host != "" {
			name += "@" + a.Host
		}
	}
	m.set(display, name)
}

// set makes a sort value of a text.
func (m *keyMaker) set(v SortValue, text string) {
	m.scratch = append(m.scratch[:0], cutText(text, 2*maxKeyText)...)
	m.values[v] = cutText(AppendCasemap(m.values[v][:0], m.scratch), maxKeyText)
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

// search adds to a text what SEARCH looks through in a field.
func (m *keyMaker) search(t KeyText, raw []byte, address bool) {
	if m.cut[t] {
		return
	}
	value := m.value(raw)
	if bytes.Contains(value, encodedBegin) || !utf8.Valid(value) {
		m.scratch = append(m.scratch[:0], DecodeHeader(string(value))...)
		m.add(t, m.scratch)
	} else {
		m.add(t, value)
	}
	if address && bytes.IndexByte(value, '(') >= 0 {
		m.add(t, []byte(DecodeHeader(WithoutComments(string(value)))))
	}
}

var encodedBegin = []byte("=?")

func (m *keyMaker) add(t KeyText, s []byte) {
	if m.cut[t] {
		return
	}
	room := maxKeyText - len(m.texts[t])
	m.texts[t] = AppendCasemap(m.texts[t], cutText(s, room))
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

// hashID is what stands for a Message-ID; never 0.
func hashID(id []byte) uint64 {
	sum := sha256.Sum256(id)
	return max(binary.BigEndian.Uint64(sum[:]), 1)
}

func (m *keyMaker) firstID(value string) uint64 {
	for id := range msgIDs([]byte(value), &m.scratch) {
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
