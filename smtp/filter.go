package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Filter is somebody who is asked about a message that is complete: rspamd, a milter.
type Filter interface {
	// Name is for the log and for who asks why.
	Name() string
	// FailClosed tells what an error of Examine means: true refuses the message for now, false takes it as if nobody had been asked.
	FailClosed() bool
	// Examine asks. It has a deadline of its own and reads no more of an answer than it must.
	Examine(ctx context.Context, m *Examined) (Finding, error)
}

// Examined is a message as a filter sees it.
type Examined struct {
	Queue, Session string
	Server         string // our name
	Remote         netip.AddrPort
	Helo           string
	Host           string // the peer's name as the DNS has it, "" for none
	User           string // who logged in, "" for nobody
	From           string
	Recipients     []string
	TLS            string // cipher suite, "" without TLS
	TLSVersion     string
	Header         []HeaderField
	Body           io.ReaderAt // what is behind the empty line
	Size           int64       // of Body
}

// HeaderField is a field with its name as it was written and its value as it stands behind the colon: folded with CRLF, without the last one.
type HeaderField struct{ Name, Value string }

// raw is the header with the empty line behind it.
func (m *Examined) raw() []byte {
	var b []byte
	for _, f := range m.Header {
		b = append(append(append(append(b, f.Name...), ':'), f.Value...), crlf...)
	}
	return append(b, crlf...)
}

// Action is what a filter wants to be done with a message.
type Action uint8

// The actions, the stronger ones later.
const (
	Take    Action = iota // nothing speaks against it
	ToJunk                // take it, for Junk
	Defer                 // 451
	Refuse                // 550
	Discard               // say that it was taken, and throw it away
)

// Finding is what a filter found.
type Finding struct {
	Action Action
	Text   string // of the reply; "" for a usual one
	Code   int    // of the reply; 0 for the usual one
	Reason string // in words
	Edits  []Edit
	Body   []byte // takes the body's place, if not nil
	// Add and Remove are recipients. Who is added must be one whom the sender could have named; LMTP, which owes each recipient a reply, does neither.
	Add, Remove []string
}

// Edit changes the header.
type Edit struct {
	Kind  EditKind
	Name  string
	Index int    // Insert: before which field, from 0; Change: which of that name, from 1, 0 for all
	Value string // Change: "" removes
}

// EditKind is how.
type EditKind uint8

// The kinds.
const (
	Append EditKind = iota // behind the last field
	Insert
	Change
)

const (
	// maxEdits and maxEdited bound what filters may do to a header: its edits, and how long it may become.
	maxEdits  = 1000
	maxEdited = 2 * maxHeader
)

var errEdit = errors.New("the filter's change of the header is none that can be made")

// apply changes the header. An edit that would break it (a name or value that is none) is an error, and h is left as it was.
func (h *header) apply(edits []Edit) error {
	if len(edits) > maxEdits {
		return errEdit
	}
	fields := append([]field(nil), h.fields...)
	for i, f := range fields {
		if !bytes.HasSuffix(f.raw, crlf) {
			fields[i].raw = append(bytes.Clone(f.raw), crlf...)
		}
	}
	for _, e := range edits {
		f, err := e.field()
		if err != nil {
			return err
		}
		switch e.Kind {
		case Append:
			fields = append(fields, f)
		case Insert:
			at := min(max(e.Index, 0), len(fields))
			fields = slices.Insert(fields, at, f)
		case Change:
			fields = change(fields, f, e.Index)
		}
	}
	total := 0
	for _, f := range fields {
		total += len(f.raw)
	}
	if total > maxEdited {
		return errEdit
	}
	h.fields = fields
	return nil
}

// change puts f in the place of the index-th field of its name, of all for index 0; one without a value removes. Where there is none, one with a value is added.
func change(fields []field, f field, index int) []field {
	n, found := 0, false
	kept := fields[:0]
	for _, old := range fields {
		if old.name == f.name {
			n++
			if n == index || index == 0 {
				if !found && f.raw != nil {
					kept = append(kept, f)
				}
				found = true
				continue
			}
		}
		kept = append(kept, old)
	}
	if !found && f.raw != nil {
		kept = append(kept, f)
	}
	return kept
}

// field makes a field of an edit: its raw is nil when it removes.
func (e Edit) field() (field, error) {
	name, ok := fieldName([]byte(e.Name + ":"))
	if !ok || len(e.Name) > 200 || len(name) != len(e.Name) {
		return field{}, fmt.Errorf("%w: name %q", errEdit, clean(e.Name, 80))
	}
	f := field{name: name}
	if e.Value == "" && e.Kind == Change {
		return f, nil
	}
	value, ok := foldedValue(e.Value)
	if !ok {
		return f, fmt.Errorf("%w: value of %s", errEdit, e.Name)
	}
	f.raw = []byte(e.Name + ": " + value + "\r\n")
	return f, nil
}

// foldedValue makes a field's body of what a filter sent: its lines end with CRLF and those behind the first begin with a blank, so that nothing
// of it can become another field or the end of the header (RFC 5322 section 2.2).
func foldedValue(s string) (string, bool) {
	if len(s) > maxHeader || strings.IndexByte(s, 0) >= 0 {
		return "", false
	}
	lines := strings.Split(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n"), "\n")
	kept := lines[:0]
	for i, l := range lines {
		if strings.Trim(l, " \t") == "" {
			continue // an empty line would end the header, and one of blanks is obsolete (section 4.2)
		}
		if i > 0 && l[0] != ' ' && l[0] != '\t' {
			l = "\t" + l
		}
		kept = append(kept, l)
	}
	if len(kept) == 0 {
		return "", true
	}
	return strings.TrimLeft(strings.Join(kept, "\r\n"), " \t"), true
}

// headerFields are the fields for a filter.
func (h *header) headerFields() []HeaderField {
	all := make([]HeaderField, len(h.fields))
	for i, f := range h.fields {
		name, value, _ := bytes.Cut(f.raw, []byte(":"))
		all[i] = HeaderField{string(bytes.TrimRight(name, " \t")), string(bytes.TrimSuffix(value, crlf))}
	}
	return all
}

// filter asks one filter and does what it found; the spool is another one when it gave the message a new body.
func (t *transaction) filter(ctx context.Context, f Filter, m *Examined, h *header, s *spool) (*spool, *reply) {
	v := t.verdict
	found, err := f.Examine(ctx, m)
	if err == nil {
		err = h.apply(found.Edits)
	}
	if err != nil {
		if cause := t.c.context().Err(); cause != nil {
			return s, replyTo(cause) // the session ends, and the filter is not to blame
		}
		t.c.log.Warn("a filter failed", "filter", f.Name(), "queue", t.queue, "closed", f.FailClosed(), "error", err)
		v.because("filter " + f.Name() + " did not answer as it should")
		if f.FailClosed() {
			return s, say(451, "4.7.1", "content filter is not available, try again later")
		}
		return s, nil
	}
	if found.Reason != "" {
		v.because(f.Name() + ": " + clean(found.Reason, 300))
	}
	switch found.Action {
	case ToJunk:
		v.Junk = true
	case Discard:
		v.Discard = true
	case Defer:
		return s, verdictReply(found, 451, "4.7.1", "message deferred by policy, try again later")
	case Refuse:
		return s, verdictReply(found, 550, "5.7.1", "message refused by policy")
	}
	t.readdress(ctx, f, found)
	if found.Body == nil {
		return s, nil
	}
	changed := &spool{store: s.store}
	if _, err := changed.Write(found.Body); err != nil {
		changed.close()
		return s, t.c.failure("changed body", err)
	}
	s.close()
	return changed, nil
}

// readdress changes the recipients. A message that is left without any is thrown away, as the filter wanted.
func (t *transaction) readdress(ctx context.Context, f Filter, found Finding) {
	if len(found.Add)+len(found.Remove) == 0 {
		return
	}
	if t.c.srv.o.Mode == LMTP {
		t.c.log.Warn("recipients stay as they are in LMTP", "filter", f.Name(), "queue", t.queue)
		return
	}
	t.recipients = slices.DeleteFunc(t.recipients, func(r recipient) bool {
		gone := slices.ContainsFunc(found.Remove, func(s string) bool { return strings.EqualFold(s, r.path) })
		if gone {
			t.verdict.because(f.Name() + ": without recipient <" + clean(r.path, 200) + ">")
		}
		return gone
	})
	for _, to := range found.Add {
		refusal := say(550, "5.1.3", "no address")
		if validMailbox(to) && len(t.recipients) < t.c.srv.o.MaxRecipients {
			refusal = t.rcpt(ctx, recipient{envelope: envelope{path: to}})
		}
		if refusal.failed() {
			t.c.log.Warn("a filter's recipient is not taken", "filter", f.Name(), "queue", t.queue, "recipient", clean(to, 200), "reply", refusal.Error())
			continue
		}
		t.verdict.because(f.Name() + ": with recipient <" + clean(to, 200) + ">")
	}
	if len(t.recipients) == 0 {
		t.verdict.Discard = true
	}
}

// verdictReply is the reply of a finding, of the class that its action says whatever the filter wrote.
func verdictReply(f Finding, code int, enhanced, text string) *reply {
	if f.Code/100 == code/100 {
		code = f.Code
	}
	if f.Text != "" {
		text = f.Text
	}
	// A filter may bring an enhanced code of its own.
	if first, rest, ok := strings.Cut(text, " "); ok && enhancedCode(first) && first[0] == enhanced[0] {
		enhanced, text = first, rest
	}
	return say(code, enhanced, "%s", clean(text, 300))
}

// enhancedCode tells whether s is a code of RFC 3463 section 2.
func enhancedCode(s string) bool {
	pieces := strings.Split(s, ".")
	if len(pieces) != 3 || len(pieces[0]) != 1 {
		return false
	}
	for _, p := range pieces {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}
