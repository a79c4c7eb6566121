package mime

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Keys is what sorting, threading and searching by the usual fields ask of a message, worked out once when it is stored: one
// compact value. All texts are prepared for the collation i;unicode-casemap (AppendCasemap).
//
//	version, flags, sent date (8), its zone (2), Message-ID (8), number of references (1)
//	references, 8 bytes each
//	five texts: length*2 + whether it was cut, bytes
//	six sort values: 0 for an empty one; length*2 and bytes; or offset*2+1 and length when it is a part of a text
//
// Numbers without a size are uvarints, the others big-endian. Check what was read from somewhere before it is used.
type Keys []byte

// KeyText names a text of Keys.
type KeyText uint8

// The texts: what SEARCH of that name looks through.
const (
	TextSubject KeyText = iota
	TextFrom
	TextTo
	TextCc
	TextBcc
	texts
)

// SortValue names a value of Keys.
type SortValue uint8

// The values. The first address is the one that ENVELOPE gives first; of a group that is its name.
const (
	SortSubject     SortValue = iota // base subject (RFC 5256 section 2.1)
	SortFrom                         // addr-mailbox of the first address (RFC 5256 section 3)
	SortTo                           //
	SortCc                           //
	SortDisplayFrom                  // of the first address its name, or mailbox@host (RFC 5957 section 3)
	SortDisplayTo                    //
	sortValues
)

const (
	keysVersion = 2

	hasSent  = 1 << 0
	isReply  = 1 << 2
	keysHead = 21 // bytes before the references

	maxKeyText = 1 << 10 // bytes of a text that are kept, and of a sort value
	firstRefs  = 8       // of many references the first ones and the last ones are kept, as mailers do that shorten the list
	lastRefs   = 119
)

var errKeys = errors.New("mime: damaged keys")

// Current tells whether k is of the version that this program makes.
func (k Keys) Current() bool { return len(k) >= keysHead && k[0] == keysVersion }

// Check tells whether k is whole; the other methods may be called then.
func (k Keys) Check() error {
	if !k.Current() {
		return errKeys
	}
	at := k.textsAt()
	for range texts {
		if at > len(k) {
			return errKeys
		}
		var size uint64
		if size, at = k.number(at); at == 0 || size>>1 > uint64(len(k)-at) {
			return errKeys
		}
		at += int(size >> 1)
	}
	for range sortValues {
		var v, size uint64
		if v, at = k.number(at); at == 0 {
			return errKeys
		}
		switch {
		case v&1 == 0:
			if v>>1 > uint64(len(k)-at) {
				return errKeys
			}
			at += int(v >> 1)
		default:
			if size, at = k.number(at); at == 0 || v>>1 > uint64(len(k)) || size > uint64(len(k))-v>>1 {
				return errKeys
			}
		}
	}
	return nil
}

// number reads the uvarint at an offset; the second result is where the next thing begins, 0 if there is none.
func (k Keys) number(at int) (uint64, int) {
	if at < len(k) && k[at] < 0x80 {
		return uint64(k[at]), at + 1
	}
	if at > len(k) {
		return 0, 0
	}
	n, size := binary.Uvarint(k[at:])
	if size <= 0 || n > 1<<40 {
		return 0, 0
	}
	return n, at + size
}

// Sent is the time of the Date field (RFC 5256 section 2.2) as Unix seconds; false when it has none that can be read: then the internal date counts.
func (k Keys) Sent() (int64, bool) {
	return int64(binary.BigEndian.Uint64(k[2:])), k[1]&hasSent != 0
}

// SentDay is the day of the Date field as written, as Unix seconds of its midnight in UTC (RFC 9051 section 6.4.4: SENTBEFORE and the like disregard
// time and zone); false when it is no date.
func (k Keys) SentDay() (int64, bool) {
	sent := int64(binary.BigEndian.Uint64(k[2:])) + int64(int16(binary.BigEndian.Uint16(k[10:])))*60
	return sent - ((sent%86400)+86400)%86400, k[1]&hasSent != 0
}

// Reply tells whether the subject is that of a reply or forward (RFC 5256 section 3, REFERENCES).
func (k Keys) Reply() bool { return k[1]&isReply != 0 }

// ID stands for the Message-ID: two messages have the same if their ids are the same; 0 when there is no valid one.
func (k Keys) ID() uint64 { return binary.BigEndian.Uint64(k[12:]) }

// Refs is how many references there are: of References, or one of In-Reply-To when that has no valid one (RFC 5256 section 3). Of more than 127 those in the
// middle are missing.
func (k Keys) Refs() int { return int(k[keysHead-1]) }

// Ref stands for a reference as ID does for a Message-ID; the first is the oldest.
func (k Keys) Ref(i int) uint64 { return binary.BigEndian.Uint64(k[keysHead+8*i:]) }

// Thread stands for the thread: the first reference, or else the message's own id; 0 when it has neither.
func (k Keys) Thread() uint64 {
	if k.Refs() > 0 {
		return k.Ref(0)
	}
	return k.ID()
}

func (k Keys) textsAt() int { return keysHead + 8*k.Refs() }

// Has tells whether a field of that name contains a needle prepared with AppendCasemap, as SEARCH has it; not known when more of the
// header must be seen. The empty needle is in every field.
func (k Keys) Has(t KeyText, needle []byte) (has, known bool) {
	text, whole := k.Text(t)
	if bytes.IndexByte(needle, 0) >= 0 {
		return false, true
	}
	has = len(text) > 0 && bytes.Contains(text, needle)
	return has, has || whole
}

// Text is what SEARCH looks through: the values of all fields of that name with a NUL behind each: decoded; as they stand, if that differs; and
// addresses without comments, if there are any. not whole: there is more in the header.
func (k Keys) Text(t KeyText) (text []byte, whole bool) {
	at := k.textsAt()
	for {
		size, from := k.number(at)
		at = from + int(size>>1)
		if t == 0 {
			return k[from:at:at], size&1 == 0
		}
		t--
	}
}

// Value is what is compared in sorting, at most 1 KiB of it.
func (k Keys) Value(v SortValue) []byte {
	at := k.textsAt()
	for range texts {
		size, from := k.number(at)
		at = from + int(size>>1)
	}
	for {
		n, from := k.number(at)
		first, end := from, from+int(n>>1)
		at = end
		if n&1 != 0 {
			var size uint64
			size, at = k.number(from)
			first = int(n >> 1)
			end = first + int(size)
		}
		if v == 0 {
			return k[first:end:end]
		}
		v--
	}
}
