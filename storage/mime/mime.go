// Package mime indexes an RFC 5322 message in one pass, once, when it is stored:
// where each part begins and ends, its size and lines, the envelope and the body
// structure. From then on ENVELOPE and BODYSTRUCTURE are bytes that lie ready and
// BODY[2.1]<a.b> is a read at an offset; no message is ever parsed on FETCH.
//
// Time is linear and memory bounded whatever comes in: beyond Limits the rest of
// the message is one opaque part. Index never fails; what is no valid
// MIME is text/plain, as RFC 2045 section 5.2 says.
//
// A line ends with LF, with or without a CR before it, and offsets are true to the bytes. What
// broken mail means:
//
//   - A header ends with the first empty line, or with the message, or with a boundary of an enclosing multipart. A line in it that
//     is no field ("From " of an mbox, garbage) is passed over. Of a field that may come once the first counts; address fields add up.
//   - A boundary delimiter is a line that begins with "--" and the boundary, followed by the line's end or white space
//     (RFC 2046 section 5.1.1), so "--b2" is none of "b". Innermost first, longest first. An outer one ends all that is inside.
//   - A multipart without boundary parameter, or whose boundary never comes, has one part: text/plain, its whole body.
//   - A message/rfc822 in base64 or quoted-printable (RFC 2046 section 5.2.1 forbids it) is application/octet-stream;
//     a multipart's encoding is ignored (RFC 2045 section 6.4 forbids all but 7bit, 8bit and binary).
//   - What is nested deeper than Limits.Depth is application/octet-stream, and so is the rest of a message from the part on that
//     reaches Limits.Parts.
//   - Of one address field 1,000 addresses are kept, of one field 100 parameters (RFC 2231: pieces of them), of all
//     fields of one message 2 MiB. What comes after is as if it were absent.
package mime

import "time"

// Limits of one message. Zero values mean the defaults.
type Limits struct {
	Depth       int // nested multiparts and message/rfc822; 100
	Parts       int // in all; 10,000
	HeaderBytes int // of one header block that is looked at; 256 KiB. What lies beyond is stored and served but not looked at
}

// Index of a message. Offsets count bytes from the beginning of the message.
type Index struct {
	Size  int64
	Lines int64
	Root  Part // the message itself: HeaderOffset 0
}

// Part is an entity (RFC 2045 section 2.4).
type Part struct {
	HeaderOffset int64 // where its header begins
	BodyOffset   int64 // behind the empty line; = End when there is no body
	End          int64 // behind the body's last byte; the CRLF before a boundary belongs to the boundary (RFC 2046 section 5.1.1)
	Lines        int64 // of the body

	Type, Subtype string // lowercase; multipart/..., message/rfc822 and message/global have Parts
	Params        []Param
	ID            string // Content-ID
	Description   string
	Encoding      string // Content-Transfer-Encoding, lowercase; "7bit" when absent
	MD5           string
	Disposition   string // lowercase, "" when absent
	DispParams    []Param
	Language      []string
	Location      string

	Envelope *Envelope // of the root and of message/rfc822's inner message: set on the part whose header holds it
	Parts    []Part    // of a multipart: its parts; of message/rfc822: exactly one, the inner message
}

// Param is a parameter with RFC 2231 continuations and charsets resolved to UTF-8, in order. The name is lowercase.
type Param struct{ Name, Value string }

// Envelope holds the raw (still encoded, unfolded) header fields as RFC 9051 section 7.5.2 wants them.
type Envelope struct {
	Date, Subject                      string
	From, Sender, ReplyTo, To, Cc, Bcc []Address // Sender and ReplyTo fall back to From
	InReplyTo, MessageID               string
	SentDate                           time.Time // Date parsed; zero when it cannot be
	Present                            Present   // of Date, Subject, InReplyTo and MessageID, which fields are there, empty or not
}

// Present tells an empty header field ("") from one that is absent (NIL).
type Present uint8

// The fields that Present tells of.
const (
	PresentDate Present = 1 << iota
	PresentSubject
	PresentInReplyTo
	PresentMessageID
)

// Address is an RFC 5322 mailbox; a group start has Host "" and Mailbox its name, a group end both "".
// A mailbox that lacks its domain has Host MissingDomain: left empty it would read as a group. Route is an obsolete
// one (RFC 5322 section 4.4): "@a,@b".
type Address struct {
	Name, Route, Mailbox, Host string
}

// MissingDomain stands in Address.Host for what is not there.
const MissingDomain = "MISSING_DOMAIN"

// Find returns the part of an IMAP section path (RFC 9051 section 6.4.5.1): 1-based numbers. "1" of a
// message that is no multipart is the message's own body; a message/rfc822 is passed through.
func (x *Index) Find(path []int) (*Part, bool) {
	p := &x.Root
	own := false // p is meant as its message's part 1, which has no parts
	for depth, n := range path {
		if depth > 0 && p.isMessage() && len(p.Parts) == 1 {
			p, own = &p.Parts[0], false
		}
		switch {
		case p.Type == "multipart" && n >= 1 && n <= len(p.Parts):
			p = &p.Parts[n-1]
		case p.Type != "multipart" && n == 1 && !own && (depth == 0 || p.Envelope != nil):
			own = true
		default:
			return nil, false
		}
	}
	return p, len(path) > 0
}
