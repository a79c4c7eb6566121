package storage

import (
	"context"

	"github.com/packetboat/packetboat/storage/watch"
)

// FlagOp is how SetFlags changes flags.
type FlagOp uint8

// The ways of STORE.
const (
	FlagsSet FlagOp = iota
	FlagsAdd
	FlagsRemove
)

// FlagChange is a STORE.
type FlagChange struct {
	Op             FlagOp
	Flags          Flags
	Keywords       []string
	UnchangedSince uint64 // RFC 7162 section 3.1.3; meaningful when Conditional
	Conditional    bool

	// What FlagsSet leaves as it is, because who does it may not change it.
	Keep         Flags
	KeepKeywords bool
}

// apply gives the flags after the change.
func (c *FlagChange) apply(flags Flags, words, bits uint64) (Flags, uint64) {
	switch c.Op {
	case FlagsAdd:
		return flags | c.Flags, words | bits
	case FlagsRemove:
		return flags &^ c.Flags, words &^ bits
	}
	if c.KeepKeywords {
		bits |= words
	}
	return flags&c.Keep | c.Flags, bits
}

// flagStep is how many messages one transaction gives flags, so that others get their turn.
const flagStep = 4000

// SetFlags changes the messages named (ascending UIDs; those gone are left out). failed are those that changed since UnchangedSince.
// A message whose flags are already so keeps its modseq. modseq is that of the change, or the mailbox's when nothing changed. ErrLimit: keywords.
// Many messages go in several transactions, each with a modseq of its own, of which the last is returned; an error leaves what was done until then.
func (s *Store) SetFlags(ctx context.Context, account, mailbox int64, uids []uint32, c FlagChange) (modseq uint64, failed []uint32, err error) {
	uids = ascending(uids)
	// Loaded here if it is cold, so that the writer need not.
	if _, err := s.Snapshot(ctx, mailbox); err != nil {
		return 0, nil, err
	}
	// Also without any: the mailbox must be the account's.
	for first := true; first || len(uids) > 0; first = false {
		n := min(len(uids), flagStep)
		part := uids[:n]
		uids = uids[n:]
		var bad []uint32
		err = s.do(ctx, func(t *tx) (err error) {
			modseq, bad, err = t.setFlags(account, mailbox, part, &c)
			return err
		})
		if err != nil {
			return 0, nil, fail("set flags", err)
		}
		failed = append(failed, bad...)
	}
	return modseq, failed, nil
}

// flagRun are messages that follow one another in the mailbox and get the same flags: one UPDATE.
type flagRun struct {
	first, last uint32
	end         int // index behind the last
	flags       Flags
	keywords    uint64
}

func (t *tx) setFlags(account, mailbox int64, uids []uint32, c *FlagChange) (modseq uint64, failed []uint32, err error) {
	a, err := t.account(account)
	if err != nil {
		return 0, nil, err
	}
	m, err := t.mailbox(account, mailbox)
	if err != nil {
		return 0, nil, err
	}
	p, err := t.view(m)
	if err != nil {
		return 0, nil, err
	}
	bits, add, err := t.flagBits(m, c)
	if err != nil {
		return 0, nil, err
	}
	var runs []flagRun
	var steps []edit
	for _, uid := range uids {
		i, ok := p.Find(uid)
		if !ok {
			continue
		}
		e := *p.at(i)
		if c.Conditional && e.modseq > c.UnchangedSince {
			failed = append(failed, uid)
			continue
		}
		flags, words := c.apply(e.flags, e.keywords, bits)
		if flags == e.flags && words == e.keywords {
			continue
		}
		if n := len(runs) - 1; n >= 0 && runs[n].end == i && runs[n].flags == flags && runs[n].keywords == words {
			runs[n].last, runs[n].end = uid, i+1
		} else {
			runs = append(runs, flagRun{first: uid, last: uid, end: i + 1, flags: flags, keywords: words})
		}
		e.flags, e.keywords = flags, words
		steps = append(steps, edit{put: e})
	}
	if len(steps) == 0 {
		return m.HighestModSeq, failed, nil
	}
	modseq = t.nextModSeq(a)
	if err := t.addKeywords(m, add); err != nil {
		return 0, nil, err
	}
	for _, r := range runs {
		if err := t.exec(`UPDATE message SET flags = ?, keywords = ?, modseq = ? WHERE mailbox = ? AND uid BETWEEN ? AND ?`,
			int64(r.flags), int64(r.keywords), int64(modseq), mailbox, int64(r.first), int64(r.last)); err != nil {
			return 0, nil, err
		}
	}
	t.flagged(m, p, steps, modseq)
	return modseq, failed, nil
}

// flagged keeps the counters and the picture, and tells of it.
func (t *tx) flagged(m *mailboxRow, p *Snapshot, steps []edit, modseq uint64) {
	named := make([]uint32, 0, min(len(steps), maxNamed))
	for k := range steps {
		e := &steps[k].put
		i, _ := p.Find(e.uid)
		m.count(p.at(i), -1)
		m.count(e, 1)
		e.modseq = modseq
		if len(named) < maxNamed {
			named = append(named, e.uid)
		}
	}
	t.touchMailbox(m, modseq)
	ed := t.edits(m)
	ed.steps = append(ed.steps, steps...)
	t.change(watch.Change{Account: m.Account, Mailbox: m.ID, Kind: watch.Flagged, ModSeq: modseq, UIDs: named, More: len(steps) > len(named)})
}

// flagBits are the keywords' bits. One that is taken away need not exist.
func (t *tx) flagBits(m *mailboxRow, c *FlagChange) (bits uint64, add []string, err error) {
	if c.Op != FlagsRemove {
		return t.keywordBits(m, c.Keywords)
	}
	if err := t.knowKeywords(m); err != nil {
		return 0, nil, err
	}
	for _, n := range c.Keywords {
		if i := keywordBit(m.keywords, n); i >= 0 {
			bits |= 1 << i
		}
	}
	return bits, nil, nil
}
