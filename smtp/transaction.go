package smtp

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/packetboat/packetboat/storage"
)

// transaction is one message from MAIL to its end. It knows nothing of the engine: begin (MAIL), rcpt and data give
// the reply; data is called once.
//
// Full mailboxes: SMTP has one reply for a message of several recipients. RCPT refuses an account that is full, or whose
// room is less than SIZE said, so that the sender hears which one it is. At the end of the message its real size
// is compared once more, before anything is delivered: if it does not fit one of them, it is refused for all, with a
// temporary error unless it can never fit. If an account fills up within the delivery itself, what was delivered is taken back before the error is
// told. So the sender's server keeps the message for every recipient: nothing is lost, delivered twice, or bounced to
// somebody who sent nothing.
type transaction struct {
	c          *client
	sender     sender
	recipients []recipient
}

// recipient is what a RCPT said and whom it meant.
type recipient struct {
	path             string
	notify, original string // NOTIFY and ORCPT (RFC 3461)
	detail           string // of user+detail (RFC 5233)
	account          *storage.Account
	inbox            int64
}

// begin is MAIL.
func (c *client) begin(m sender) *reply {
	if !m.utf8 && !ascii(m.path) {
		return errNotUTF8
	}
	if c.srv.o.Mode == Submission {
		if r := c.mayUse(m.path); r != nil {
			return c.refused(r)
		}
	}
	c.mail = &transaction{c: c, sender: m}
	return say(250, "2.1.0", "sender ok")
}

// RFC 6531 section 3.5.
var errNotUTF8 = say(553, "5.6.7", "address needs SMTPUTF8")

// mayUse tells whether the account may send with this envelope sender (RFC 6409 section 6.1). The null sender is for
// notifications (RFC 8098 section 3); its From is checked all the same.
func (c *client) mayUse(path string) *reply {
	if path == "" {
		return nil
	}
	owns, err := c.srv.store.Owns(c.context(), c.account.ID, path)
	if err != nil && !errors.Is(err, storage.ErrInvalid) && !errors.Is(err, storage.ErrNotLocal) && !errors.Is(err, fs.ErrNotExist) {
		return c.failure("sender check", err)
	}
	if !owns {
		return say(553, "5.7.1", "you may not send as <%s>", clean(path, 200))
	}
	return nil
}

// refused notes a refusal that somebody may ask about. Its text ends with the session's id, by which the log tells more.
func (c *client) refused(r *reply) *reply {
	c.log.Info("refused", "reply", r.Error(), "account", c.ses.Account().Name)
	return &reply{r.code, r.enhanced, clean(r.text, maxReply-40) + " (" + c.ses.ID() + ")"}
}

// failure notes an error of ours.
func (c *client) failure(what string, err error) *reply {
	r := replyTo(err)
	if r.code/100 == 4 && r.enhanced != "4.2.2" && c.context().Err() == nil {
		c.log.Error("failed", "doing", what, "error", err)
	}
	return r
}

// rcpt is RCPT.
func (t *transaction) rcpt(ctx context.Context, r recipient) *reply {
	if !t.sender.utf8 && !ascii(r.path) {
		return errNotUTF8
	}
	route, err := t.c.srv.store.Resolve(ctx, r.path)
	if err != nil {
		return t.c.refused(t.unresolved(r.path, err))
	}
	r.account, r.detail = route.Account, route.Detail
	if refusal := t.full(ctx, r.account, t.sender.size); refusal != nil {
		return t.c.refused(refusal)
	}
	box, err := t.c.srv.store.Mailbox(ctx, r.account.ID, "INBOX")
	if err != nil {
		return t.c.refused(t.c.failure("recipient", err))
	}
	r.inbox = box.ID
	t.recipients = append(t.recipients, r)
	return say(250, "2.1.5", "recipient ok")
}

// unresolved is why nobody here has an address.
func (t *transaction) unresolved(path string, err error) *reply {
	switch {
	case errors.Is(err, storage.ErrNotLocal) && t.c.srv.o.Mode == Submission:
		// Mail for other domains is not taken before there is somebody who sends it: nothing is kept in silence.
		return say(451, "4.3.3", "this server cannot send to other domains yet")
	case errors.Is(err, storage.ErrNotLocal):
		return say(550, "5.7.1", "<%s>: relaying denied", clean(path, 200))
	case errors.Is(err, fs.ErrNotExist):
		return say(550, "5.1.1", "<%s>: no such user here", clean(path, 200))
	case errors.Is(err, storage.ErrInvalid):
		return say(550, "5.1.2", "<%s>: no such address here", clean(path, 200)) // an address literal: its syntax was checked
	}
	return t.c.failure("recipient", err)
}

// full tells whether a message of size bytes is too much for an account, or one message too many.
func (t *transaction) full(ctx context.Context, a *storage.Account, size int64) *reply {
	if a.Quota == 0 && a.MessageQuota == 0 {
		return nil
	}
	usage, err := t.c.srv.store.Usage(ctx, a.ID)
	switch {
	case err != nil:
		return t.c.failure("quota", err)
	case a.MessageQuota != 0 && usage.Messages >= a.MessageQuota:
		return say(452, "4.2.2", "mailbox of %s is full", a.Name)
	case a.Quota == 0:
		return nil
	case size > a.Quota:
		return say(552, "5.2.2", "message is larger than the mailbox of %s may become", a.Name)
	case usage.Bytes >= a.Quota || usage.Bytes+size > a.Quota:
		return say(452, "4.2.2", "mailbox of %s is full", a.Name)
	}
	return nil
}

// data takes the message and delivers it.
func (t *transaction) data(ctx context.Context, body io.Reader) *reply {
	t.c.ses.SetActivity(t.activity())
	id := ulid.MustNew(ulid.Timestamp(t.c.srv.o.Now()), ulid.DefaultEntropy()).String()
	// SIZE is not reserved: whoever announces much and sends slowly would fill the mailbox with nothing.
	u, err := t.c.srv.store.NewMail(ctx, t.only(), -1)
	if err != nil {
		return t.c.refused(t.c.failure("new message", err))
	}
	defer u.Abort()
	if err := t.fill(u, id, body); err != nil {
		if errors.Is(err, errLost) {
			t.c.log.Info("message lost on its way in", "error", err)
			return replyTo(err)
		}
		r := t.c.failure("message", err)
		if r.failed() {
			return t.c.refused(r)
		}
		return r // RSET or QUIT between two chunks
	}
	targets := t.targets()
	for _, g := range targets {
		if r := t.full(ctx, t.account(g.Account), u.Size()); r != nil {
			return t.c.refused(r)
		}
	}
	// The message is complete: what ends the session now must not leave in doubt whether it was delivered.
	if r := t.deliver(context.WithoutCancel(ctx), u, targets); r != nil {
		return t.c.refused(r)
	}
	t.c.errors = 0 // a client that gets mail through knows what it does
	t.c.log.Info("message delivered", "queue", id, "from", t.sender.path, "recipients", len(t.recipients), "bytes", u.Size())
	return say(250, "2.0.0", "delivered as %s", id)
}

func (t *transaction) activity() string {
	if len(t.recipients) == 1 {
		return "DATA 1 recipient"
	}
	return "DATA " + itoa(len(t.recipients)) + " recipients"
}

// only is the account of a message that has one, so that its quota is looked at while the bytes come in.
func (t *transaction) only() int64 {
	id := t.recipients[0].account.ID
	for _, r := range t.recipients {
		if r.account.ID != id {
			return 0
		}
	}
	return id
}

func (t *transaction) account(id int64) *storage.Account {
	for _, r := range t.recipients {
		if r.account.ID == id {
			return r.account
		}
	}
	return nil
}

// targets are the mailboxes, one for each account however many of its addresses were named.
func (t *transaction) targets() []storage.Target {
	seen := map[int64]bool{}
	all := make([]storage.Target, 0, len(t.recipients))
	for _, r := range t.recipients {
		if !seen[r.account.ID] {
			seen[r.account.ID] = true
			all = append(all, storage.Target{Account: r.account.ID, Mailbox: r.inbox, InternalDate: t.c.srv.o.Now()})
		}
	}
	return all
}

// deliver puts the message into all targets or none.
func (t *transaction) deliver(ctx context.Context, u *storage.Upload, targets []storage.Target) *reply {
	done, err := t.c.srv.store.Deliver(ctx, u, targets)
	if err != nil {
		return t.c.failure("delivery", err)
	}
	for _, d := range done {
		if d.Err != nil {
			err = d.Err
		}
	}
	if err == nil {
		return nil
	}
	for i, d := range done {
		if d.Err != nil {
			continue
		}
		if _, err := t.c.srv.store.Expunge(ctx, targets[i].Account, targets[i].Mailbox, []uint32{d.UID}, true); err != nil {
			t.c.log.Error("failed", "doing", "taking a delivery back", "account", targets[i].Account, "uid", d.UID, "error", err)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return say(451, "4.2.1", "mailbox went away, try again") // the next RCPT tells whose
	}
	return t.c.failure("delivery", err)
}

// fill writes the message with what we add to it.
func (t *transaction) fill(u *storage.Upload, id string, body io.Reader) error {
	buf := headers.Get().(*[headerBuffer]byte)
	defer headers.Put(buf)
	h, err := readHeader(body, buf[:0])
	if err != nil {
		return err
	}
	if h.count("received") > maxReceived {
		return say(554, "5.4.6", "message goes in circles")
	}
	var added []byte
	if t.c.srv.o.Mode == Submission {
		if added, err = t.submit(id, h); err != nil {
			return err
		}
	}
	if _, err := u.Write(h.appendWithout(append(t.trace(id), added...), "return-path")); err != nil {
		return err
	}
	if _, err := u.Write(h.rest); err != nil {
		return err
	}
	if h.ended {
		return nil
	}
	_, err = u.ReadFrom(body)
	return err
}

// submit checks the header of a message that one of our accounts sends, and gives the fields that it lacks (RFC 6409 sections 6.1, 8).
func (t *transaction) submit(id string, h *header) ([]byte, error) {
	var added []byte
	from := h.first("from")
	switch {
	case h.count("from") == 0 && t.sender.path != "":
		// RFC 6409 section 8: what scripts and devices leave out is added; the envelope sender was found to be the account's.
		from = "<" + t.sender.path + ">"
		added = append(append(append(added, "From: "...), from...), crlf...)
	case h.count("from") != 1:
		return nil, say(550, "5.6.0", "message must have one From field (RFC 5322 section 3.6)")
	}
	authors, err := authors(from)
	if err != nil {
		return nil, say(550, "5.6.0", "From field has no valid address")
	}
	for _, a := range authors {
		if r := t.c.mayUse(a); r != nil {
			if r.code == 553 {
				r = say(550, "5.7.1", "you may not write From <%s>", clean(a, 200))
			}
			return nil, r
		}
	}
	if h.count("date") == 0 {
		added = append(append(append(added, "Date: "...), date(t.c.srv.o.Now())...), crlf...)
	}
	if h.count("message-id") == 0 {
		_, domain, _ := strings.Cut(t.c.account.Name, "@")
		added = append(append(added, "Message-ID: <"+id+"@"+domain+">"...), crlf...)
	}
	return added, nil
}
