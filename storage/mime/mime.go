// Package mime indexes an RFC 5322 message in one pass, once, when it is stored:
// where each part begins and ends, its size and lines, the envelope and the body
// structure. From then on ENVELOPE and BODYSTRUCTURE are bytes that lie ready and
// BODY[2.1]<a.b> is a read at an offset; no message is ever parsed on FETCH.
//
// Time is linear and memory bounded whatever comes in: beyond Limits the rest of
// the message is one opaque part. Index never fails; what is no valid
// MIME is text/plain, as RFC 2045 section 5.2 says.
package mime

import "time"

// Limits of one message. Zero values mean the defaults.
type Limits struct {
	Depth       int // nested multiparts and message/rfc822; 100
	Parts       int // in all; 10,000
	HeaderBytes int // of one header block that is looked at; 256 KiB. What lies beyond is stored and served but not looked at
}

// Indexer takes the bytes of a message in pieces of any size.
type Indexer struct{}

// NewIndexer returns an Indexer.
func NewIndexer(l Limits) *Indexer { panic("stub") }

// Write never fails.
func (x *Indexer) Write(p []byte) (int, error) { panic("stub") }

// Finish ends the message and returns its index. The Indexer is not used afterwards.
func (x *Indexer) Finish() *Index { panic("stub") }

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

// Param is a parameter with RFC 2231 continuations and charsets resolved to UTF-8, in order.
type Param struct{ Name, Value string }

// Envelope holds the raw (still encoded, unfolded) header fields as RFC 9051 section 7.5.2 wants them.
type Envelope struct {
	Date, Subject                      string
	From, Sender, ReplyTo, To, Cc, Bcc []Address // Sender and ReplyTo fall back to From
	InReplyTo, MessageID               string
	SentDate                           time.Time // Date parsed; zero when it cannot be
}

// Address is an RFC 5322 mailbox; a group start has Host "" and Mailbox its name, a group end both "".
type Address struct{ Name, Mailbox, Host string }

// Find returns the part of an IMAP section path (RFC 9051 section 6.4.5.1): 1-based numbers; "1" of a
// message that is no multipart is the message's own body; message/rfc822 is passed through.
func (x *Index) Find(path []int) (*Part, bool) { panic("stub") }

// AppendEnvelope appends the ENVELOPE of the message as IMAP writes it, parentheses included. 8-bit data is a literal, so that
// it suits every client whatever it enabled.
func (x *Index) AppendEnvelope(dst []byte) []byte { panic("stub") }

// AppendStructure appends BODYSTRUCTURE (extended) or BODY (not extended) likewise.
func (x *Index) AppendStructure(dst []byte, extended bool) []byte { panic("stub") }

// AppendBinary and UnmarshalBinary are the compact form that is kept beside the message: offsets, types, encodings and what Find
// and decoding need; the Envelope is not in it.
func (x *Index) AppendBinary(dst []byte) ([]byte, error) { panic("stub") }
func (x *Index) UnmarshalBinary(b []byte) error          { panic("stub") }
