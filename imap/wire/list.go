package wire

import "github.com/emersion/go-imap/v2"

// Limits of a LIST.
const (
	maxPatterns = 64
	maxPattern  = 1024 // bytes of all patterns
)

// ListOptions are the arguments of LIST (RFC 9051 section 6.3.9, RFC 5258).
type ListOptions struct {
	imap.ListOptions
	Extended  bool // selection options, several patterns or RETURN were given
	Reference string
	Patterns  []string
	Status    *StatusOptions // of RETURN STATUS
	MyRights  bool           // RETURN MYRIGHTS (RFC 8440)
	Metadata  []string       // entries of RETURN METADATA (RFC 9590)
	bytes     int            // of the patterns
}

// ListCommand reads the arguments of LIST.
func (d *Decoder) ListCommand() *ListOptions {
	o := new(ListOptions)
	if d.Peek('(') {
		o.Extended = true
		d.List(func() { d.listSelect(o) })
		if d.err == nil && o.SelectRecursiveMatch && !o.SelectSubscribed {
			d.Fail("RECURSIVEMATCH needs SUBSCRIBED") // RFC 5258 section 3.1; SPECIAL-USE alone has no children to look at
		}
		d.SP()
	}
	o.Reference = d.Mailbox()
	d.SP()
	if d.Peek('(') {
		o.Extended = true
		d.List(func() { o.addPattern(d, d.ListMailbox()) })
		if d.err == nil && len(o.Patterns) == 0 {
			d.Fail("No pattern")
		}
	} else {
		o.addPattern(d, d.ListMailbox())
	}
	if !d.AtEnd() {
		d.SP()
		if d.Label() != "RETURN" {
			d.Fail("Expected RETURN")
		}
		d.SP()
		o.Extended = true
		d.List(func() { d.listReturn(o) })
	}
	return o
}

func (o *ListOptions) addPattern(d *Decoder, p string) {
	if o.bytes += len(p); len(o.Patterns) == maxPatterns || o.bytes > maxPattern {
		d.fail(&Error{Code: "LIMIT", Text: "Too many or too long patterns"})
		return
	}
	o.Patterns = append(o.Patterns, p)
}

func (d *Decoder) listSelect(o *ListOptions) {
	switch d.Label() {
	case "SUBSCRIBED":
		o.SelectSubscribed = true
		o.ReturnSubscribed = true // RFC 5258 section 3.1: implied
	case "REMOTE":
		o.SelectRemote = true
	case "RECURSIVEMATCH":
		o.SelectRecursiveMatch = true
	case "SPECIAL-USE":
		o.SelectSpecialUse = true
		o.ReturnSpecialUse = true // RFC 6154 section 2: implied
	default:
		d.Fail("Unknown selection option")
	}
}

func (d *Decoder) listReturn(o *ListOptions) {
	switch d.Label() {
	case "SUBSCRIBED":
		o.ReturnSubscribed = true
	case "CHILDREN":
		o.ReturnChildren = true
	case "SPECIAL-USE":
		o.ReturnSpecialUse = true
	case "METADATA": // RFC 9590
		d.SP()
		o.Metadata = d.Entries()
	case "MYRIGHTS":
		o.MyRights = true
	case "STATUS":
		d.SP()
		o.Status = d.StatusItems()
	default:
		d.Fail("Unknown RETURN option")
	}
}

// StatusOptions are the items of STATUS (RFC 9051 section 6.3.11).
type StatusOptions struct {
	imap.StatusOptions
	MailboxID bool // RFC 8474 section 4.3
}

// StatusItems reads the list of items of STATUS.
func (d *Decoder) StatusItems() *StatusOptions {
	o, n := new(StatusOptions), 0
	d.List(func() {
		n++
		switch d.Label() {
		case "MESSAGES":
			o.NumMessages = true
		case "RECENT":
			o.NumRecent = true
		case "UIDNEXT":
			o.UIDNext = true
		case "UIDVALIDITY":
			o.UIDValidity = true
		case "UNSEEN":
			o.NumUnseen = true
		case "DELETED":
			o.NumDeleted = true
		case "SIZE":
			o.Size = true
		case "APPENDLIMIT":
			o.AppendLimit = true
		case "DELETED-STORAGE":
			o.DeletedStorage = true
		case "HIGHESTMODSEQ":
			o.HighestModSeq = true
		case "MAILBOXID":
			o.MailboxID = true
		default:
			d.Fail("Unknown STATUS item")
		}
	})
	if d.err == nil && n == 0 {
		d.Fail("No STATUS items")
	}
	return o
}

// CreateUse reads (USE (\Sent ...)) of CREATE (RFC 6154 section 3): the attributes.
func (d *Decoder) CreateUse() []imap.MailboxAttr {
	var l []imap.MailboxAttr
	d.List(func() {
		if d.Label() != "USE" {
			d.Fail("Unknown CREATE parameter")
			return
		}
		d.SP()
		d.List(func() { l = append(l, imap.MailboxAttr(d.Flag())) })
	})
	return l
}
