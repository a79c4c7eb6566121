package wire

import (
	"math"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Limits of a search.
const (
	maxKeys  = 4096 // in all
	maxTexts = 256  // BODY and TEXT, for each of which all text is gone through
)

// KeyKind is what a Key asks.
type KeyKind uint8

// The kinds of keys. The keys that RFC 9051 section 6.4.4 names beside them are made of them: UNSEEN is NOT SEEN, ON is SINCE and BEFORE.
const (
	KeyAll         KeyKind = iota
	KeySeq                 // Set
	KeyUID                 // Set
	KeyFlag                // Flag, system flag or keyword
	KeyRecent              // \Recent to this session
	KeyBefore              // Date: internal date
	KeySince               // Date
	KeySentBefore          // Date: Date field
	KeySentSince           // Date
	KeyLarger              // Number
	KeySmaller             // Number
	KeyOlder               // Number: seconds (RFC 5032)
	KeyYounger             // Number
	KeySavedBefore         // Date: save date (RFC 8514)
	KeySavedSince          // Date
	KeyModSeq              // Number (RFC 7162 section 3.1.5)
	KeyEmailID             // Text (RFC 8474)
	KeyThreadID            // Text
	KeyHeader              // Field, Text
	KeyAddress             // Field (From, To, Cc, Bcc), Text
	KeySubject             // Text
	KeyBody                // Text
	KeyText                // Text
	KeyNot                 // Keys[0]
	KeyOr                  // any of Keys
	KeyAnd                 // Keys
)

// Key is a search key. imap.SearchCriteria cannot tell all of them apart (LARGER 0, two sizes, later SAVEDATE or
// EMAILID) and has no order to evaluate in; hence a tree.
type Key struct {
	Kind   KeyKind
	Set    NumSet
	Flag   imap.Flag
	Date   time.Time
	Number int64
	Field  string
	Text   string
	Keys   []Key
}

// SearchOptions are the arguments of SEARCH.
type SearchOptions struct {
	Return  ReturnOptions
	Charset string // upper case; "" when not given
	Key     Key    // KeyAnd
}

// Search reads the arguments of SEARCH.
func (d *Decoder) Search() *SearchOptions {
	o := &SearchOptions{Return: d.Return()}
	if d.word("CHARSET") {
		d.SP()
		o.Charset = d.Charset()
		d.SP()
	}
	o.Key = d.SearchKeys()
	return o
}

// SearchKeys reads the keys up to the end of the command: all of them must match.
func (d *Decoder) SearchKeys() Key {
	k := Key{Kind: KeyAnd}
	var n count
	for d.err == nil {
		k.Keys = append(k.Keys, d.searchKey(&n))
		if d.AtEnd() || !d.SP() {
			break
		}
	}
	return k
}

// word consumes the word w if it is next and a space follows.
func (d *Decoder) word(w string) bool {
	if d.err != nil {
		return false
	}
	rest := d.line[d.pos:]
	if len(rest) <= len(w) || rest[len(w)] != ' ' || !strings.EqualFold(string(rest[:len(w)]), w) {
		return false
	}
	d.pos += len(w)
	return true
}

// count is how many keys there were.
type count struct{ keys, texts int }

// one counts another key.
func (n *count) one(d *Decoder) {
	if n.keys++; n.keys > maxKeys {
		d.fail(&Error{Code: "LIMIT", Text: "Too many search keys"})
	}
}

// searchKey reads a key. What clients nest without parentheses, NOT and OR, is read in loops: a long chain is not a deep tree.
func (d *Decoder) searchKey(n *count) Key {
	negated := false
	for d.word("NOT") {
		n.one(d)
		d.SP()
		negated = !negated
	}
	n.one(d)
	if d.err != nil || !d.enter() {
		return Key{}
	}
	defer d.leave()
	k := d.positiveKey(n)
	if negated {
		return not(k)
	}
	return k
}

func (d *Decoder) positiveKey(n *count) Key {
	switch c := d.peek(); {
	case c == '(':
		k := Key{Kind: KeyAnd}
		d.List(func() { k.Keys = append(k.Keys, d.searchKey(n)) })
		if d.err == nil && len(k.Keys) == 0 {
			d.Fail("Empty list of search keys")
		}
		if len(k.Keys) == 1 {
			return k.Keys[0]
		}
		return k
	case isDigit(c) || c == '*' || c == '$':
		return Key{Kind: KeySeq, Set: d.NumSet()}
	}
	if d.word("OR") {
		return d.orKey(n)
	}
	return d.namedKey(d.Label(), n)
}

// orKey reads what follows OR. OR in OR makes one key with as many parts.
func (d *Decoder) orKey(n *count) Key {
	k := Key{Kind: KeyOr}
	for missing := 2; missing > 0 && d.err == nil; {
		d.SP()
		if d.word("OR") {
			n.one(d)
			missing++
			continue
		}
		k.Keys = append(k.Keys, d.searchKey(n))
		missing--
	}
	return k
}

// flagKeys are the keys that ask for a system flag.
var flagKeys = map[string]imap.Flag{
	"ANSWERED": imap.FlagAnswered, "DELETED": imap.FlagDeleted, "DRAFT": imap.FlagDraft,
	"FLAGGED": imap.FlagFlagged, "SEEN": imap.FlagSeen,
}

// textKeys are the keys with one string.
var textKeys = map[string]Key{
	"BCC": {Kind: KeyAddress, Field: "Bcc"}, "CC": {Kind: KeyAddress, Field: "Cc"},
	"FROM": {Kind: KeyAddress, Field: "From"}, "TO": {Kind: KeyAddress, Field: "To"},
	"SUBJECT": {Kind: KeySubject, Field: "Subject"}, "BODY": {Kind: KeyBody}, "TEXT": {Kind: KeyText},
}

// dateKeys are the keys with one date.
var dateKeys = map[string]KeyKind{
	"BEFORE": KeyBefore, "SINCE": KeySince, "SENTBEFORE": KeySentBefore, "SENTSINCE": KeySentSince,
	"SAVEDBEFORE": KeySavedBefore, "SAVEDSINCE": KeySavedSince, // RFC 8514 section 4.3
}

func (d *Decoder) namedKey(name string, n *count) Key {
	if f, ok := flagKeys[name]; ok {
		return Key{Kind: KeyFlag, Flag: f}
	}
	if f, ok := flagKeys[strings.TrimPrefix(name, "UN")]; ok {
		return not(Key{Kind: KeyFlag, Flag: f})
	}
	if k, ok := textKeys[name]; ok {
		d.SP()
		k.Text = d.AString()
		if k.Kind == KeyBody || k.Kind == KeyText {
			if n.texts++; n.texts > maxTexts {
				d.fail(&Error{Code: "LIMIT", Text: "Too many texts to search for"})
			}
		}
		return k
	}
	if kind, ok := dateKeys[name]; ok {
		d.SP()
		return Key{Kind: kind, Date: d.Date()}
	}
	if kinds, ok := days[name]; ok {
		d.SP()
		return day(kinds, d.Date())
	}
	switch name {
	case "ALL":
		return Key{Kind: KeyAll}
	case "RECENT": // RFC 3501 section 6.4.4
		return Key{Kind: KeyRecent}
	case "OLD":
		return not(Key{Kind: KeyRecent})
	case "NEW":
		return Key{Kind: KeyAnd, Keys: []Key{{Kind: KeyRecent}, not(Key{Kind: KeyFlag, Flag: imap.FlagSeen})}}
	case "HEADER":
		d.SP()
		k := Key{Kind: KeyHeader, Field: d.AString()}
		d.SP()
		k.Text = d.AString()
		return k
	case "KEYWORD":
		d.SP()
		return Key{Kind: KeyFlag, Flag: imap.Flag(d.Atom())}
	case "UNKEYWORD":
		d.SP()
		return not(Key{Kind: KeyFlag, Flag: imap.Flag(d.Atom())})
	case "LARGER":
		d.SP()
		return Key{Kind: KeyLarger, Number: d.Number64()}
	case "SMALLER":
		d.SP()
		return Key{Kind: KeySmaller, Number: d.Number64()}
	case "UID":
		d.SP()
		return Key{Kind: KeyUID, Set: d.NumSet()}
	case "UIDAFTER": // RFC 9738 section 3.2
		d.SP()
		return uidKey(uint64(d.nzNumber())+1, math.MaxUint32)
	case "UIDBEFORE":
		d.SP()
		return uidKey(1, uint64(d.nzNumber())-1)
	case "OLDER": // RFC 5032
		d.SP()
		return Key{Kind: KeyOlder, Number: int64(d.nzNumber())}
	case "YOUNGER":
		d.SP()
		return Key{Kind: KeyYounger, Number: int64(d.nzNumber())}
	case "SAVEDATESUPPORTED": // RFC 8514 section 4.3: every mailbox here does
		return Key{Kind: KeyAll}
	case "MODSEQ":
		d.SP()
		return d.modSeqKey()
	case "EMAILID": // RFC 8474 section 6
		d.SP()
		return Key{Kind: KeyEmailID, Text: d.ObjectID()}
	case "THREADID":
		d.SP()
		return Key{Kind: KeyThreadID, Text: d.ObjectID()}
	}
	d.Fail("Unknown search key")
	return Key{}
}

// modSeqKey reads what follows MODSEQ. The metadata item that may be named has no mod-sequence of its own here, so that it is to be
// ignored (RFC 7162 section 3.1.5).
func (d *Decoder) modSeqKey() Key {
	if d.Peek('"') {
		if name, ok := strings.CutPrefix(strings.ToLower(d.quoted()), "/flags/"); d.err == nil && (!ok || name == "") {
			d.Fail("Unknown metadata item")
		}
		d.SP()
		switch d.Label() {
		case "PRIV", "SHARED", "ALL":
		default:
			d.Fail("Expected priv, shared or all")
		}
		d.SP()
	}
	return Key{Kind: KeyModSeq, Number: int64(d.ModSeq())}
}

// ObjectID reads an objectid of RFC 8474 section 7.
func (d *Decoder) ObjectID() string {
	s := d.AString()
	if d.err == nil && (s == "" || len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	})) {
		d.Fail("Bad object identifier")
	}
	return s
}

// uidKey asks for the UIDs from first to last, for none when they are the wrong way round.
func uidKey(first, last uint64) Key {
	k := Key{Kind: KeyUID}
	if first <= last {
		k.Set.Ranges = imap.SeqSet{{Start: uint32(first), Stop: uint32(last)}}
	}
	return k
}

func not(k Key) Key { return Key{Kind: KeyNot, Keys: []Key{k}} }

// days are the keys of one whole day, as those from and before it.
var days = map[string][2]KeyKind{
	"ON": {KeySince, KeyBefore}, "SENTON": {KeySentSince, KeySentBefore}, "SAVEDON": {KeySavedSince, KeySavedBefore},
}

func day(kinds [2]KeyKind, t time.Time) Key {
	return Key{Kind: KeyAnd, Keys: []Key{{Kind: kinds[0], Date: t}, {Kind: kinds[1], Date: t.AddDate(0, 0, 1)}}}
}
