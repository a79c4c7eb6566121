package wire

import "github.com/emersion/go-imap/v2"

// ParseSection reads a section-spec as it stands between the brackets of BODY[...]: of an IMAP URL (RFC 5092 section 6). "" is the whole message.
func ParseSection(text string) (*imap.FetchItemBodySection, bool) {
	d := Decoder{line: []byte("[" + text + "]")}
	s := d.section(true)
	if d.err != nil || d.pos != len(d.line) {
		return nil, false
	}
	return s, true
}
