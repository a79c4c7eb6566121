package imap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// splitFlags sorts flags into system flags and keywords. \Recent, which nobody can set, is passed over.
func splitFlags(l []imap.Flag) (storage.Flags, []string, error) {
	var flags storage.Flags
	var keywords []string
	for _, f := range l {
		if !strings.HasPrefix(string(f), `\`) {
			if len(f) > maxKeyword {
				return 0, nil, &wire.Error{No: true, Code: "LIMIT", Text: "Keyword too long"}
			}
			if !slices.ContainsFunc(keywords, func(k string) bool { return strings.EqualFold(k, string(f)) }) {
				keywords = append(keywords, string(f))
			}
			continue
		}
		bit, ok := systemFlags[strings.ToLower(string(f))]
		if !ok && !strings.EqualFold(string(f), `\Recent`) {
			return 0, nil, &wire.Error{Code: "CLIENTBUG", Text: "Unknown system flag"}
		}
		flags |= bit
	}
	return flags, keywords, nil
}

var storeOps = map[imap.StoreFlagsOp]storage.FlagOp{
	imap.StoreFlagsSet: storage.FlagsSet,
	imap.StoreFlagsAdd: storage.FlagsAdd,
	imap.StoreFlagsDel: storage.FlagsRemove,
}

// store is STORE and UID STORE (RFC 9051 section 6.4.6).
func (c *client) store(t *task) error {
	c.d.SP()
	set := c.d.NumSet()
	c.d.SP()
	o := c.d.Store()
	if !c.d.EOL() {
		return nil
	}
	v := c.view
	before := v.snap
	spans, err := c.named(t, set)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(o.Flags, func(f imap.Flag) bool { return strings.EqualFold(string(f), `\Recent`) }) {
		return &wire.Error{Code: "CLIENTBUG", Text: `\Recent cannot be changed`} // RFC 3501 section 2.3.2
	}
	flags, keywords, err := splitFlags(o.Flags)
	if err != nil || len(spans) == 0 {
		return err
	}
	c.ses.SetActivity(fmt.Sprintf("%s %d messages", t.name, count(spans)))
	uids, mid := v.uids(spans), v.snap
	own := &change{uids: uids, told: !o.Silent, op: storeOps[o.Op], flags: flags, keywords: keywords}
	if err := own.limit(v.rights()); err != nil {
		return err
	}
	_, _, err = c.srv.store.SetFlags(c.ctx(), v.account, v.id, uids, storage.FlagChange{Op: own.op, Flags: own.flags, Keywords: own.keywords, Keep: own.keep, KeepKeywords: own.keepKeys})
	if err != nil {
		return err
	}
	if err := c.syncBut(false, t.uid(), own); err != nil {
		return err
	}
	return c.tellStored(t, spans, uids, func(uid uint32) bool { return !o.Silent || updated(before, mid, uid) })
}

// updated tells whether the client was told flags of a message when before gave way to now.
func updated(before, now *storage.Snapshot, uid uint32) bool {
	if before == now {
		return false
	}
	i, was := before.Find(uid)
	j, is := now.Find(uid)
	return was && is && (before.At(i).Flags != now.At(j).Flags || before.At(i).Keywords != now.At(j).Keywords)
}

// tellStored tells the flags of those messages of a STORE that are to be told. Numbers are those that the client knows, flags those of now.
// Of a message whose older flags were told at the beginning of the command, the new ones are told even when it is silent: else
// the client would take the older ones for the last word.
func (c *client) tellStored(t *task, spans []span, uids []uint32, tell func(uid uint32) bool) error {
	p, err := c.newest()
	if err != nil {
		return err
	}
	k := 0
	for i := range each(spans) {
		j, ok := p.Find(uids[k])
		k++
		if !ok {
			t.code = "EXPUNGEISSUED" // RFC 2180 section 4.2.1
		} else if tell(uids[k-1]) {
			m := p.At(j)
			c.tellMessage(p, i, m, t.uid())
		}
	}
	return nil
}
