package report

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// Period is the time that a report tells of: a day (UTC), or a part of it.
type Period struct {
	Day        int64     // since 1970
	Begin, End time.Time // both are in it
}

// PeriodOf is the period of a day's report that is made at now, when the last one of the day, if any, reached until.
func PeriodOf(day int64, until, now time.Time) Period {
	p := Period{Day: day, Begin: time.Unix(day*86400, 0).UTC(), End: time.Unix(day*86400+86399, 0).UTC()}
	if until.After(p.Begin) {
		p.Begin = until.UTC()
	}
	if now.Before(p.End) {
		p.End = now.UTC().Truncate(time.Second)
	}
	if p.End.Before(p.Begin) {
		p.End = p.Begin
	}
	return p
}

// Whole tells whether it is a whole day.
func (p Period) Whole() bool {
	return p.Begin.Unix() == p.Day*86400 && p.End.Unix() == p.Day*86400+86399
}

// Over tells whether the day is over, so that no report of it follows.
func (p Period) Over() bool { return p.End.Unix() == p.Day*86400+86399 }

// Rest is what Store.Reported is told: how far the day is reported, or nothing when it is over.
func (p Period) Rest() time.Time {
	if p.Over() {
		return time.Time{}
	}
	return p.End.Add(time.Second)
}

// ID names the report about a domain by us. It is the same for the same period: a report that a crash sends twice can be told (RFC 9990: what is sent again has the same identifiers).
func (p Period) ID(domain, us string) string {
	day := p.Begin.Format("2006-01-02")
	if !p.Whole() {
		day += fmt.Sprintf(".%d-%d", p.Begin.Unix(), p.End.Unix())
	}
	return fmt.Sprintf("%s.%s@%s", day, domain, us)
}

// Filename is that of the attachment (RFC 7489 section 7.2.1.1, RFC 8460 section 5.1), for an extension such as "xml.gz".
func (p Period) Filename(domain, us, extension string) string {
	return fmt.Sprintf("%s!%s!%d!%d.%s", us, domain, p.Begin.Unix(), p.End.Unix(), extension)
}

// Sent tells of a report that was made.
type Sent struct {
	Kind       storage.ReportKind
	Domain, ID string
	Begin, End time.Time
	To         []string // addresses and sites; none: nobody wants it, and it is forgotten
	Problem    string   // what went wrong, or why nobody gets it
}

// Sender is in whose name reports are sent.
type Sender struct{ Address, Domain string }

// SenderOf is the sender for a configured address, "" for postmaster of the first domain of ours. An address of a domain that is not ours could not be signed (RFC 7489
// section 7.2.1.1: reports must pass DMARC themselves) and is as none. ok is false when there is no domain.
func SenderOf(ctx context.Context, store *storage.Store, address string) (s Sender, ok bool, err error) {
	us, err := store.Domains(ctx)
	if err != nil || len(us) == 0 {
		return s, false, err
	}
	if local, domain, err := storage.ParseAddress(address); err == nil {
		for _, d := range us {
			if d.Name == domain {
				return Sender{local + "@" + domain, domain}, true, nil
			}
		}
	}
	return Sender{"postmaster@" + us[0].Name, us[0].Name}, true, nil
}

// Mail is a report as a message.
type Mail struct {
	From       Sender
	Name       string // shown with From
	To         []string
	Domain, ID string   // whom it is about
	Subject    string   // "" for that of reports
	Fields     []string // further header fields
	Kind       string   // of the message, with its parameters: "multipart/mixed"
	Text       string   // for people: ASCII, lines end in CRLF

	Attached, Filename string // the type and name of Data; "": there is no attachment, and Kind is not used
	Data               []byte
}

// Bytes is the message.
func (m *Mail) Bytes(now time.Time) []byte {
	boundary := "=_" + rand.Text()
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %q <%s>\r\nTo: <%s>\r\n", m.Name, m.From.Address, strings.Join(m.To, ">,\r\n\t<"))
	if m.Subject != "" {
		fmt.Fprintf(&b, "Subject: %s\r\n", m.Subject)
	} else {
		// RFC 7489 section 7.2.1.1, RFC 8460 section 5.3.
		fmt.Fprintf(&b, "Subject: Report Domain: %s\r\n\tSubmitter: %s\r\n\tReport-ID: <%s>\r\n", m.Domain, m.From.Domain, m.ID)
	}
	fmt.Fprintf(&b, "Date: %s\r\nMessage-ID: <%s.%s>\r\n", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"), strings.ToLower(rand.Text()), m.ID)
	for _, f := range m.Fields {
		b.WriteString(f + "\r\n")
	}
	b.WriteString("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n") // RFC 3834 section 5
	if m.Attached == "" {
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=us-ascii\r\n\r\n%s", m.Text)
		return b.Bytes()
	}
	fmt.Fprintf(&b, "Content-Type: %s;\r\n\tboundary=\"%s\"\r\n\r\n", m.Kind, boundary)
	fmt.Fprintf(&b, "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n%s\r\n", boundary, m.Text)
	fmt.Fprintf(&b, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n\tfilename=\"%s\"\r\n\r\n", boundary, m.Attached, m.Filename)
	text := base64.StdEncoding.EncodeToString(m.Data)
	for len(text) > 0 {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes()
}

// Send puts a message into the outbox, from where it goes signed as all that is ours. RFC 5321 section 4.5.5: it has a return address, as nothing asks for the null one; nobody need be
// told when it gets nowhere, though, which NOTIFY=NEVER asks for.
func Send(ctx context.Context, store *storage.Store, message []byte, from string, to []string) error {
	u, err := store.NewMail(ctx, 0, -1)
	if err != nil {
		return err
	}
	if _, err := u.Write(message); err != nil {
		u.Abort()
		return err
	}
	out := storage.Outgoing{From: from, UTF8: !ascii(from)}
	for _, addr := range to {
		out.UTF8 = out.UTF8 || !ascii(addr)
		out.Recipients = append(out.Recipients, storage.OutgoingRecipient{Address: addr, Notify: "NEVER"})
	}
	if _, err := store.Enqueue(ctx, u, []storage.Outgoing{out}, nil); err != nil {
		u.Abort()
		return err
	}
	return nil
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}
