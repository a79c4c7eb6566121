package smtp

import (
	netmail "net/mail"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// roles are mailboxes that belong to whoever has the office (RFC 2142).
var roles = map[string]bool{
	"postmaster": true, "abuse": true, "hostmaster": true, "webmaster": true, "noc": true, "security": true,
	"info": true, "marketing": true, "sales": true, "support": true, "usenet": true, "news": true, "www": true, "uucp": true, "ftp": true,
}

// owned tells whether a mailbox may be somebody else's than the sender knew (RRVS). RFC 7293 section 5.2: then the message is refused, and
// whoever has it now hears nothing; roles are exempt (section 5.3). An account belongs to one and the same as long as it is there.
func (r *envelope) owned(a *storage.Account) *reply {
	local, _, _ := strings.Cut(r.path, "@")
	if r.since.IsZero() || roles[strings.ToLower(local)] || !a.Created.Truncate(time.Second).After(r.since) {
		return nil
	}
	return say(550, "5.7.17", "<%s>: mailbox owner has changed", clean(r.path, 200))
}

// sinceField is the field that carries RRVS through servers that do not know it (RFC 7293 section 3.2).
const sinceField = "require-recipient-valid-since"

// validSince is RRVS for a message whose header tells it (RFC 7293 section 5.2.2). What RCPT said goes before. The end of a message has one answer, so
// that one recipient who is not the one that was meant refuses it for all; such messages are made for one. The fields go: they are of no use to whoever reads.
func (t *transaction) validSince(h *header) error {
	if !t.c.knowsOwners() || h.count(sinceField) == 0 {
		return nil
	}
	for _, f := range h.fields {
		if f.name != sinceField {
			continue
		}
		_, value, _ := strings.Cut(string(f.raw), ":")
		addr, stamp, _ := strings.Cut(strings.ReplaceAll(value, "\r\n", ""), ";")
		meant, err := authors(addr)
		at, bad := netmail.ParseDate(strings.TrimSpace(stamp))
		if err != nil || len(meant) != 1 || bad != nil {
			continue // section 5.2.2: what is malformed says nothing
		}
		for _, r := range t.recipients {
			if !strings.EqualFold(r.path, meant[0]) || !r.since.IsZero() || r.route.Group {
				continue
			}
			e := envelope{path: r.path, since: at}
			for _, b := range r.route.Boxes {
				if refusal := e.owned(b.Account); refusal != nil {
					return refusal
				}
			}
		}
	}
	h.drop(sinceField)
	return nil
}
