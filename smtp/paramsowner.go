package smtp

import (
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
