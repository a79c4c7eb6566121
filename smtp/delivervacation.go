package smtp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/packetboat/packetboat/smtp/sieve"
	"github.com/packetboat/packetboat/storage"
	mailmime "github.com/packetboat/packetboat/storage/mime"
)

// vacation makes a reply a part of the delivery, unless the message is one that gets none (RFC 5230 sections 4.5 and 4.6, RFC 3834 section 2).
func (l *letter) vacation(d *delivery, b storage.Box, v *sieve.Vacation, id string, u *storage.Upload) {
	sender := l.sender.path
	if sender == "" || l.disowned() || robot(sender) {
		return
	}
	head := make([]byte, min(u.Index().Root.BodyOffset, maxHeader))
	n, err := u.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return
	}
	h := &header{}
	_ = h.parse(head[:n]) // those behind the ten thousandth would tell nothing new
	if automatic(h) {
		return
	}
	d.answers = append(d.answers, func(ctx context.Context) {
		if err := l.answer(ctx, d, b, v, h); err != nil {
			l.log.Warn("no vacation reply was sent", "queue", id, "account", b.Account.Name, "error", err)
		}
	})
}

// robot tells whether an address is one that no human reads.
func robot(addr string) bool {
	local, _, _ := strings.Cut(strings.ToLower(addr), "@")
	switch local {
	case "mailer-daemon", "listserv", "majordomo", "noreply", "no-reply", "bounce", "bounces":
		return true
	}
	return strings.HasPrefix(local, "owner-") || strings.HasSuffix(local, "-request") || strings.HasSuffix(local, "-owner") || strings.HasSuffix(local, "-bounces") ||
		strings.HasPrefix(local, "srs0=") || strings.HasPrefix(local, "srs1=")
}

// automatic tells whether a message was not written to us by a human.
func automatic(h *header) bool {
	for _, f := range h.fields {
		value := func() string { return strings.ToLower(strings.TrimSpace(string(mailmime.FieldValue(f.raw)))) }
		switch {
		case strings.HasPrefix(f.name, "list-"):
			return true
		case f.name == "auto-submitted" && !strings.HasPrefix(value(), "no"):
			return true
		case f.name == "precedence" && (value() == "bulk" || value() == "junk" || value() == "list"):
			return true
		case f.name == "x-auto-response-suppress" && value() != "none":
			return true
		}
	}
	return false
}

// answer writes the reply, if the message names the account and its sender has had none for long enough; the transaction of the delivery, which enters it, decides that once more.
func (l *letter) answer(ctx context.Context, d *delivery, b storage.Box, v *sieve.Vacation, h *header) error {
	s := l.srv.store
	mine, err := s.Addresses(ctx, b.Account.ID)
	if err != nil {
		return err
	}
	mine = append(mine, v.Addresses...)
	to := named(h, append(mine, b.Address))
	if to == "" || contains(mine, l.sender.path) {
		return nil // section 4.6: not to oneself, and not for what was sent to others
	}
	from := v.From
	if parsed, err := netmail.ParseAddress(from); err != nil {
		from = ""
	} else if owns, err := s.Owns(ctx, b.Account.ID, parsed.Address); err != nil || !owns {
		from = ""
	} else if ascii(parsed.Address) {
		from = parsed.String() // a name in other letters must not need SMTPUTF8 of whoever gets it (RFC 2047 section 5)
	}
	if from == "" {
		from = to
		if !contains(mine[:len(mine)-len(v.Addresses)], to) {
			from = b.Account.Name // :addresses may name what is not the account's
		}
	}
	mark := storage.SieveMark{Account: b.Account.ID, Mark: v.Mark + "\x00" + strings.ToLower(l.sender.path), For: v.Every}
	if had, err := s.SieveSeen(ctx, mark.Account, mark.Mark); err != nil || had {
		return err
	}
	if n, err := s.SentOn(ctx, b.Account.ID); err != nil || n+int64(d.sentOn[b.Account.ID]) >= int64(l.srv.o.Filters.o.PerDay) {
		return cmp.Or(err, errors.New("the account's filter sent too much today"))
	}
	text, err := l.vacationText(b, v, h, from)
	if err != nil {
		return err
	}
	return l.post(ctx, d, storage.Notice{Once: &mark, Spare: true}, b.Account.ID, text)
}

// named is which of the addresses To, Cc, Bcc or their Resent- forms name.
func named(h *header, mine []string) string {
	for _, f := range h.fields {
		switch f.name {
		case "to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc":
		default:
			continue
		}
		list, err := netmail.ParseAddressList(strings.ReplaceAll(string(mailmime.FieldValue(f.raw)), "\r\n", ""))
		if err != nil {
			// Undecodable names and the like: the address may stand there all the same.
			for _, m := range mine {
				if strings.Contains(strings.ToLower(string(f.raw)), strings.ToLower(m)) {
					return m
				}
			}
		}
		for _, a := range list {
			if contains(mine, a.Address) {
				return a.Address
			}
		}
	}
	return ""
}

func contains(all []string, addr string) bool {
	local, domain, _ := strings.Cut(addr, "@")
	user, _, _ := strings.Cut(local, "+")
	for _, a := range all {
		if strings.EqualFold(a, addr) || strings.EqualFold(a, user+"@"+domain) {
			return true
		}
	}
	return false
}

// vacationText is the reply (RFC 5230 section 5, RFC 3834 section 3).
func (l *letter) vacationText(b storage.Box, v *sieve.Vacation, h *header, from string) ([]byte, error) {
	var out bytes.Buffer
	now := l.srv.o.Now()
	subject := v.Subject
	if subject == "" {
		subject = "Auto: " + mailmime.DecodeHeader(h.first("subject")) // section 5.2
	}
	_, domain, _ := strings.Cut(b.Account.Name, "@")
	fmt.Fprintf(&out, "From: %s\r\nTo: <%s>\r\nSubject: %s\r\n", clean(from, 500), l.sender.path, mime.QEncoding.Encode("utf-8", clean(subject, 500)))
	fmt.Fprintf(&out, "Date: %s\r\nMessage-ID: <%s@%s>\r\n", date(now), ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()), domain)
	if was := strings.Fields(h.first("message-id")); len(was) == 1 && len(was[0]) < 500 && ascii(was[0]) {
		fmt.Fprintf(&out, "In-Reply-To: %s\r\nReferences: %s\r\n", was[0], was[0])
	}
	out.WriteString("Auto-Submitted: auto-replied (vacation)\r\nMIME-Version: 1.0\r\n")
	if v.MIME {
		// Of the reply's own fields those of the content alone are taken: the others are ours to say.
		r := &header{}
		r.parse([]byte(strings.ReplaceAll(strings.ReplaceAll(v.Reason, "\r\n", "\n"), "\n", "\r\n")))
		for _, f := range r.fields {
			if strings.HasPrefix(f.name, "content-") {
				out.Write(f.raw)
			}
		}
		out.Write(r.rest)
		return out.Bytes(), nil
	}
	out.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(&out)
	_, err := w.Write([]byte(strings.ReplaceAll(strings.ReplaceAll(v.Reason, "\r\n", "\n"), "\n", "\r\n")))
	err = errors.Join(err, w.Close()) // which writes the last line
	return out.Bytes(), err
}

// post makes n, a message of ours with the null sender, a part of the delivery: to the mailboxes of the sender here, or into the outbox.
func (l *letter) post(ctx context.Context, d *delivery, n storage.Notice, account int64, text []byte) (err error) {
	s, to := l.srv.store, l.sender.path
	out := storage.Outgoing{Account: account}
	leaves := func(addr string) {
		out.UTF8 = out.UTF8 || !ascii(addr)
		out.Recipients = append(out.Recipients, storage.OutgoingRecipient{Address: addr, Notify: "NEVER"})
	}
	route, err := s.Resolve(ctx, to)
	switch {
	case errors.Is(err, storage.ErrNotLocal):
		leaves(to)
	case err != nil:
		return err
	}
	for _, f := range route.Forwards {
		leaves(f.Address)
	}
	for _, r := range out.Recipients {
		if _, _, err := storage.ParseAddress(r.Address); err != nil {
			return err // that it cannot be told must not keep the message from who gets it
		}
	}
	for _, b := range route.Boxes {
		m, err := s.Mailbox(ctx, b.Account.ID, "INBOX")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		n.Targets = append(n.Targets, storage.Target{Account: b.Account.ID, Mailbox: m.ID, InternalDate: l.srv.o.Now()})
	}
	if len(out.Recipients) > 0 {
		n.Outgoing = &out
	}
	if n.Outgoing == nil && len(n.Targets) == 0 {
		return nil
	}
	if n.Upload, err = s.NewMail(ctx, 0, -1); err != nil {
		return err
	}
	d.told = append(d.told, n)
	if account != 0 {
		n.Upload.SentOn(map[int64]int{account: 1})
	}
	if _, err = n.Upload.Write(append([]byte("Return-Path: <>\r\n"), text...)); err != nil {
		n.Upload.Abort()
		d.told = d.told[:len(d.told)-1]
	}
	return err
}
