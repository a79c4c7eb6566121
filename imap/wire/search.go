package wire

import (
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
	KeyAll        KeyKind = iota
	KeySeq                // Set
	KeyUID                // Set
	KeyFlag               // Flag, system flag or keyword
	KeyRecent             // \Recent to this session
	KeyBefore             // Date: internal date
	KeySince              // Date
	KeySentBefore         // Date: Date field
	KeySentSince          // Date
	KeyLarger             // Number
	KeySmaller            // Number
	KeyHeader             // Field, Text
	KeyAddress            // Field (From, To, Cc, Bcc), Text
	KeySubject            // Text
	KeyBody               // Text
	KeyText               // Text
	KeyNot                // Keys[0]
	KeyOr                 // Keys[0], Keys[1]
	KeyAnd                // Keys
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

// SearchOptions are the options of a SEARCH with what it asks.
type SearchOptions struct {
	imap.SearchOptions
	Return  bool   // RETURN was given: the answer is ESEARCH
	Charset string // upper case; "" when not given
	Key     Key    // KeyAnd
}

// Search reads the arguments of SEARCH.
func (d *Decoder) Search() *SearchOptions {
	o := &SearchOptions{Key: Key{Kind: KeyAnd}}
	if d.word("RETURN") {
		o.Return = true
		if !d.SP() {
			return o
		}
		d.List(func() { d.searchReturn(o) })
		if !d.SP() {
			return o
		}
		if !o.ReturnMin && !o.ReturnMax && !o.ReturnCount && !o.ReturnSave {
			o.ReturnAll = true // RFC 9051 section 6.4.4: () is ALL
		}
	}
	if d.word("CHARSET") {
		if !d.SP() {
			return o
		}
		o.Charset = strings.ToUpper(d.AString())
		if !d.SP() {
			return o
		}
	}
	var n count
	for d.err == nil {
		o.Key.Keys = append(o.Key.Keys, d.searchKey(&n))
		if d.AtEnd() || !d.SP() {
			break
		}
	}
	return o
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

func (d *Decoder) searchReturn(o *SearchOptions) {
	switch d.Label() {
	case "MIN":
		o.ReturnMin = true
	case "MAX":
		o.ReturnMax = true
	case "ALL":
		o.ReturnAll = true
	case "COUNT":
		o.ReturnCount = true
	case "SAVE":
		o.ReturnSave = true
	default:
		d.Fail("Unknown RETURN option")
	}
}

// count is how many keys there were.
type count struct{ keys, texts int }

func (d *Decoder) searchKey(n *count) Key {
	if n.keys++; n.keys > maxKeys {
		d.fail(&Error{Code: "LIMIT", Text: "Too many search keys"})
	}
	if d.err != nil || !d.enter() {
		return Key{}
	}
	defer d.leave()
	switch c := d.peek(); {
	case c == '(':
		k := Key{Kind: KeyAnd}
		d.List(func() { k.Keys = append(k.Keys, d.searchKey(n)) })
		if d.err == nil && len(k.Keys) == 0 {
			d.Fail("Empty list of search keys")
		}
		return k
	case isDigit(c) || c == '*' || c == '$':
		return Key{Kind: KeySeq, Set: d.NumSet()}
	}
	return d.namedKey(d.Label(), n)
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
	switch name {
	case "ALL":
		return Key{Kind: KeyAll}
	case "RECENT": // RFC 3501 section 6.4.4
		return Key{Kind: KeyRecent}
	case "OLD":
		return not(Key{Kind: KeyRecent})
	case "NEW":
		return Key{Kind: KeyAnd, Keys: []Key{{Kind: KeyRecent}, not(Key{Kind: KeyFlag, Flag: imap.FlagSeen})}}
	case "ON", "SENTON":
		d.SP()
		return day(name, d.Date())
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
	case "NOT":
		d.SP()
		return not(d.searchKey(n))
	case "OR":
		d.SP()
		a := d.searchKey(n)
		d.SP()
		return Key{Kind: KeyOr, Keys: []Key{a, d.searchKey(n)}}
	}
	d.Fail("Unknown search key")
	return Key{}
}

func not(k Key) Key { return Key{Kind: KeyNot, Keys: []Key{k}} }

// day is ON and SENTON.
func day(name string, t time.Time) Key {
	since, before := KeySince, KeyBefore
	if name == "SENTON" {
		since, before = KeySentSince, KeySentBefore
	}
	return Key{Kind: KeyAnd, Keys: []Key{{Kind: since, Date: t}, {Kind: before, Date: t.AddDate(0, 0, 1)}}}
}
