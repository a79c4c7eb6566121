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
