package imap

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// defaultMessageLimit is Options.MessageLimit when none is given: more than people keep in a mailbox, less than would hurt others.
const defaultMessageLimit = 1_000_000

// bound keeps the last messages of spans, as many as one command may process, and has the answer say where it stopped (RFC 9738
// section 3.1).
func (c *client) bound(t *task, spans []span) []span {
	over := count(spans) - c.srv.o.MessageLimit
	if c.srv.o.MessageLimit <= 0 || over <= 0 {
		return spans
	}
	spans = cutFront(spans, over)
	t.lowest = c.view.snap.UID(spans[0].first)
	return spans
}

// cutFront takes away the first n messages of spans.
func cutFront(spans []span, n int) []span {
	for len(spans) > 0 && n >= spans[0].end-spans[0].first {
		n -= spans[0].end - spans[0].first
		spans = spans[1:]
	}
	if len(spans) > 0 {
		spans[0].first += n
	}
	return spans
}

// mayCopy refuses to copy more messages than one command may, all or nothing.
func (c *client) mayCopy(spans []span) error {
	limit := c.srv.o.copyLimit()
	n := count(spans)
	if limit <= 0 || n <= limit {
		return nil
	}
	rest := cutFront(slices.Clone(spans), n-limit)
	return &wire.Error{No: true, Code: fmt.Sprintf("MESSAGELIMIT %d %d", limit, c.view.snap.UID(rest[0].first)), Text: "Too many messages to copy, try a smaller subset"}
}

// copyLimit is how many messages one command may save; 0 or less: any number.
func (o *Options) copyLimit() int {
	if o.MessageLimit > 0 && (o.SaveLimit <= 0 || o.MessageLimit < o.SaveLimit) {
		return o.MessageLimit
	}
	return o.SaveLimit
}

// appendMax is how many messages one APPEND may save: as many as one transaction takes, unless the limit is less.
func (o *Options) appendMax() int {
	if limit := o.copyLimit(); limit > 0 {
		return min(limit, storage.BatchMessages)
	}
	return storage.BatchMessages
}

// limitCapability is how the limit is announced (RFC 9738 section 3); "" when there is none.
func (o *Options) limitCapability() string {
	switch {
	case o.MessageLimit > 0:
		return "MESSAGELIMIT=" + strconv.Itoa(o.MessageLimit)
	case o.SaveLimit > 0:
		return "SAVELIMIT=" + strconv.Itoa(o.SaveLimit)
	}
	return ""
}

// bound has a SEARCH look at the last messages only, of those that its sets name, when they are more than one command may process. It is what is
// looked at that counts, not what is found (RFC 9738 section 3.1). SORT and THREAD need no limit: what they go by is kept.
func (s *searcher) bound(t *task) {
	limit := s.srv.o.MessageLimit
	if limit <= 0 || s.p.Len() <= limit || t.flags&bounded == 0 {
		return
	}
	domain := []span{{0, s.p.Len()}}
	for _, k := range s.root.kids {
		if (k.kind == wire.KeySeq || k.kind == wire.KeyUID) && count(k.spans) < count(domain) {
			domain = k.spans
		}
	}
	if over := count(domain) - limit; over > 0 {
		s.from = cutFront(slices.Clone(domain), over)[0].first
		t.lowest = s.p.UID(s.from)
	}
}

// codes are the response codes of a task beside its own. The first becomes its own when it has none; others go in untagged
// responses (RFC 9738 section 3.1: MESSAGELIMIT gives way, with NO).
func (c *client) codes(t *task) {
	add := func(kind, code, text string) {
		if t.code == "" {
			t.code = code
			return
		}
		c.e.Raw("* ", kind, " [", code, "] ", text).CRLF()
	}
	if t.expunged {
		add("OK", "EXPUNGEISSUED", "Some of the messages no longer exist")
	}
	highest := func() {
		if t.highest && c.view != nil {
			add("OK", "HIGHESTMODSEQ "+strconv.FormatUint(c.view.highest(), 10), "Highest mod-sequence")
		}
	}
	if c.qresync {
		highest() // RFC 7162 section 3.2.7: in the tagged response
	}
	if t.lowest != 0 {
		limit := c.srv.o.MessageLimit
		if t.text == "" {
			t.text = fmt.Sprintf("%s completed for the last %d messages", t.name, limit)
		}
		add("NO", fmt.Sprintf("MESSAGELIMIT %d %d", limit, t.lowest), t.text)
	}
	if !c.qresync {
		highest()
	}
}
