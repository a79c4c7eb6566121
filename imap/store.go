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

// storing is a STORE being answered.
type storing struct {
	wire.StoreOptions
	own    change
	before *storage.Snapshot // what the client knew when the command came
	mid    *storage.Snapshot // and when it began: a UID STORE tells first what is new
	failed []uint32          // UNCHANGEDSINCE
}

// store is STORE and UID STORE (RFC 9051 section 6.4.6, RFC 7162 section 3.1.3).
func (c *client) store(t *task) error {
	c.d.SP()
	set := c.d.NumSet()
	c.d.SP()
	s := storing{StoreOptions: c.d.Store()}
	if !c.d.EOL() {
		return nil
	}
	v := c.view
	s.before = v.snap
	spans, err := c.named(t, set)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(s.Flags, func(f imap.Flag) bool { return strings.EqualFold(string(f), `\Recent`) }) {
		return &wire.Error{Code: "CLIENTBUG", Text: `\Recent cannot be changed`} // RFC 3501 section 2.3.2
	}
	flags, keywords, err := splitFlags(s.Flags)
	if err != nil {
		return err
	}
	if s.Conditional {
		c.modSeqAware()
	}
	spans = c.bound(t, spans)
	if len(spans) == 0 {
		return nil
	}
	c.ses.SetActivity(fmt.Sprintf("%s %d messages", t.name, count(spans)))
	s.own, s.mid = change{uids: v.uids(spans), op: storeOps[s.Op], flags: flags, keywords: keywords}, v.snap
	if err := s.own.limit(v.rights()); err != nil {
		return err
	}
	_, s.failed, err = c.srv.store.SetFlags(c.ctx(), v.account, v.id, s.own.uids, storage.FlagChange{Op: s.own.op, Flags: s.own.flags, Keywords: s.own.keywords,
		Keep: s.own.keep, KeepKeywords: s.own.keepKeys, Conditional: s.Conditional, UnchangedSince: s.UnchangedSince})
	if err != nil {
		return err
	}
	if err := c.syncBut(false, t.uid(), &s.own); err != nil {
		return err
	}
	return c.tellStored(t, spans, &s)
}

// updated tells whether a message's flags are others now than before, or new altogether.
func updated(before, now *storage.Snapshot, uid uint32) bool {
	if before == now {
		return false
	}
	i, was := before.Find(uid)
	j, is := now.Find(uid)
	return is && (!was || before.At(i).Flags != now.At(j).Flags || before.At(i).Keywords != now.At(j).Keywords)
}

// tellStored tells what became of the messages of a STORE. Numbers are those that the client knows, flags those of now.
func (c *client) tellStored(t *task, spans []span, s *storing) error {
	p, err := c.newest()
	if err != nil {
		return err
	}
	s.own.bits = keywordBits(p, s.own.keywords)
	var modified []uint32
	k := 0
	for i := range each(spans) {
		uid := s.own.uids[k]
		k++
		failed := len(s.failed) > 0 && s.failed[0] == uid
		if failed {
			s.failed = s.failed[1:]
			modified = append(modified, c.number(t, i, uid))
		}
		j, ok := i, true // where it is when nothing before it went
		if j >= p.Len() || p.UID(j) != uid {
			j, ok = p.Find(uid)
		}
		if !ok {
			t.expunged = true // RFC 2180 section 4.2.1
			continue
		}
		switch m, old := p.At(j), s.mid.At(i); {
		case failed, s.tells(old, m):
			c.tellMessage(p, i, m, t.uid())
		case c.condstore && (s.Conditional || old.ModSeq != m.ModSeq):
			c.tellModSeq(i, m, t.uid())
		}
	}
	if len(modified) > 0 {
		t.code = "MODIFIED " + string(wire.AppendSet(nil, modified))
	}
	return c.e.Err()
}

// number is how the command names a message.
func (c *client) number(t *task, i int, uid uint32) uint32 {
	if t.uid() {
		return uid
	}
	return uint32(i + 1)
}

// tells tells whether the flags of a message that was changed are to be told; old is it as the client knew it. Of one whose older flags were told at the
// beginning of the command, the new ones are told even when it is silent: else the client would take the older ones for the last word.
func (s *storing) tells(old, m storage.Entry) bool {
	return !s.Silent || updated(s.before, s.mid, m.UID) || !s.own.known(old, m)
}
