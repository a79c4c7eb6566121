package storage

import (
	"fmt"
	"strings"
)

// Rights are what somebody may do with a mailbox (RFC 4314 section 2.1), as a set of bits.
type Rights uint16

// The rights, in the order in which they are written.
const (
	MayLookup     Rights = 1 << iota // l: the mailbox is listed and can be subscribed to
	MayRead                          // r: SELECT, STATUS and all that shows messages
	MaySee                           // s: set and clear \Seen, which all who use the mailbox share
	MayWrite                         // w: set and clear flags other than \Seen and \Deleted
	MayInsert                        // i: put messages into it
	MayPost                          // p: send mail to its address; kept and shown, nothing asks for it
	MayCreate                        // k: make mailboxes below it
	MayDelete                        // x: delete and rename it
	MayMark                          // t: set and clear \Deleted
	MayExpunge                       // e: remove messages for good
	MayAdminister                    // a: see and change who may do what

	AllRights  = MayAdminister<<1 - 1
	FlagRights = MaySee | MayWrite | MayMark // those of which each rules some of the flags
	AnyRight   = MayLookup | MayRead | MayInsert | MayCreate | MayDelete | MayAdminister

	createRights = MayCreate | MayDelete // c of RFC 2086
	deleteRights = MayMark | MayExpunge  // d of RFC 2086
	rightLetters = "lrswipkxtea"         // by bit
	oldLetters   = "cd"                  // for createRights and deleteRights
)

// ParseRights reads the letters of rights. The virtual c and d stand for kx and te (RFC 4314 section 2.1.1). ErrInvalid for a letter that is no right.
func ParseRights(letters string) (Rights, error) {
	var r Rights
	for _, l := range []byte(letters) {
		switch i := strings.IndexByte(rightLetters, l); {
		case i >= 0:
			r |= 1 << i
		case l == 'c':
			r |= createRights
		case l == 'd':
			r |= deleteRights
		default:
			return 0, fmt.Errorf("%w: %q is no right", ErrInvalid, string(rune(l)))
		}
	}
	return r, nil
}

// String is the letters, with c and d where one of their members is there (RFC 4314 section 2.1.1).
func (r Rights) String() string {
	b := make([]byte, 0, len(rightLetters)+len(oldLetters))
	for i := range len(rightLetters) {
		if 1<<i == MayAdminister {
			if r&createRights != 0 {
				b = append(b, 'c')
			}
			if r&deleteRights != 0 {
				b = append(b, 'd')
			}
		}
		if r&(1<<i) != 0 {
			b = append(b, rightLetters[i])
		}
	}
	return string(b)
}

// Has tells whether all of need are among them.
func (r Rights) Has(need Rights) bool { return r&need == need }

// Any tells whether one of some is among them.
func (r Rights) Any(some Rights) bool { return r&some != 0 }

// Flags are those flags of f that may be set and cleared with the rights (RFC 4314 section 4); keywords need MayWrite.
func (r Rights) Flags(f Flags) Flags {
	var mask Flags
	if r&MaySee != 0 {
		mask |= Seen
	}
	if r&MayMark != 0 {
		mask |= Deleted
	}
	if r&MayWrite != 0 {
		mask |= Answered | Flagged | Draft
	}
	return f & mask
}
