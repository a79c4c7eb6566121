package smtp

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/packetboat/packetboat/storage"
)

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

// mayWrite tells whether the account may put these addresses into a field that says who sends a message.
func (c *client) mayWrite(field, value string) *reply {
	all, err := authors(value)
	if err != nil {
		return say(550, "5.6.0", "%s field has no valid address", field)
	}
	for _, a := range all {
		if r := c.mayUse(a); r != nil {
			if r.code == 553 {
				r = say(550, "5.7.1", "you may not write %s <%s>", field, clean(a, 200))
			}
			return r
		}
	}
	return nil
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
	if r := t.c.mayWrite("From", from); r != nil {
		return nil, r
	}
	if h.count("sender") > 1 {
		return nil, say(550, "5.6.0", "message must not have two Sender fields (RFC 5322 section 3.6)")
	}
	// Of fields for sending again (RFC 5322 section 3.6.6) the first ones are the newest, and those of whoever sends it now.
	for _, name := range []string{"Sender", "Resent-From", "Resent-Sender"} {
		if h.count(strings.ToLower(name)) == 0 {
			continue
		}
		if r := t.c.mayWrite(name, h.first(strings.ToLower(name))); r != nil {
			return nil, r
		}
	}
	// RFC 5322 section 3.6.3: who is in Bcc is nobody's business. The rest is what others would take for the word of who delivers.
	h.drop("bcc", "resent-bcc", "return-path")
	if h.count("date") == 0 {
		added = append(append(append(added, "Date: "...), date(t.c.srv.o.Now())...), crlf...)
	}
	if h.count("message-id") == 0 {
		_, domain, _ := strings.Cut(t.c.account.Name, "@")
		added = append(append(added, "Message-ID: <"+id+"@"+domain+">"...), crlf...)
	}
	return added, nil
}
