package storage

import (
	"context"
	"fmt"
	"iter"
	"math/bits"

	"github.com/packetboat/packetboat/storage/watch"
)

// Copied pairs source and new UIDs, both ascending.
type Copied struct {
	UIDValidity uint32
	From, To    []uint32
}

// Destination is the mailbox that Copy and Move put messages into, which may be another account's. Flags that the rights of who does it
// do not cover are not set there (RFC 4314 section 4).
type Destination struct {
	Account, Mailbox int64
	Rights           Rights
}

// Destination is the mailbox as one.
func (m *Mailbox) Destination() Destination { return Destination{m.Account, m.ID, m.Rights} }

// Copy copies messages; all or nothing. Flags, keywords and internal date go along; the blob is shared. Messages gone meanwhile are left out. It is the
// account of the destination that is charged. ErrQuota, ErrLimit (keywords), fs.ErrNotExist.
func (s *Store) Copy(ctx context.Context, account, from int64, uids []uint32, to Destination) (Copied, error) {
	c, err := s.transfer(ctx, account, from, uids, to, (*tx).copy)
	return c, fail("copy", err)
}

// moveStep is how many messages one transaction moves, so that others get their turn.
const moveStep = 4000

// Move moves messages; otherwise like Copy, but that it needs no quota within one account and the messages keep their ids. Each message is in
// one mailbox or the other at any time (RFC 6851 section 3.3), but many go in several transactions: an error ends it, and those moved until then are returned with it.
func (s *Store) Move(ctx context.Context, account, from int64, uids []uint32, to Destination) (Copied, error) {
	var all Copied
	// Also without any: the mailboxes must be there.
	for uids, first := ascending(uids), true; first || len(uids) > 0; first = false {
		n := min(len(uids), moveStep)
		part := uids[:n]
		uids = uids[n:]
		c, err := s.transfer(ctx, account, from, part, to, (*tx).move)
		if err != nil {
			return all, fail("move", err)
		}
		all.UIDValidity = c.UIDValidity
		all.From, all.To = append(all.From, c.From...), append(all.To, c.To...)
	}
	return all, nil
}

// side is one end of a Copy or Move.
type side struct {
	a *accountRow
	m *mailboxRow
}

func (t *tx) side(account, mailbox int64) (s side, err error) {
	if s.a, err = t.account(account); err == nil {
		s.m, err = t.mailbox(account, mailbox)
	}
	return s, err
}

type transferFunc func(t *tx, src, dst side, list []packed, r Rights) (Copied, error)

func (s *Store) transfer(ctx context.Context, account, from int64, uids []uint32, to Destination, fn transferFunc) (c Copied, err error) {
	if uids == nil {
		uids = []uint32{}
	}
	uids = ascending(uids)
	if _, err := s.loadWarm(ctx, from); err != nil {
		return Copied{}, err
	}
	err = s.do(ctx, func(t *tx) error {
		src, err := t.side(account, from)
		if err != nil {
			return err
		}
		dst, err := t.side(to.Account, to.Mailbox)
		if err != nil {
			return err
		}
		p, err := t.view(src.m)
		if err != nil {
			return err
		}
		c, err = fn(t, src, dst, slicesOf(p, uids), to.Rights)
		return err
	})
	if err != nil {
		return Copied{}, err
	}
	return c, nil
}

// loadWarm is Snapshot without its wrapping of errors.
func (s *Store) loadWarm(ctx context.Context, mailbox int64) (*Snapshot, error) {
	if p := s.snaps.warm(mailbox); p != nil {
		return p, nil
	}
	return s.loadSnapshot(ctx, mailbox)
}

// slicesOf are the messages of uids (ascending) that are there; nil: all.
func slicesOf(p *Snapshot, uids []uint32) []packed {
	if uids == nil {
		all := make([]packed, 0, p.n)
		for _, c := range p.chunks {
			all = append(all, c...)
		}
		return all
	}
	list := make([]packed, 0, len(uids))
	for _, uid := range uids {
		if i, ok := p.Find(uid); ok {
			list = append(list, *p.at(i))
		}
	}
	return list
}

// spans cuts the list into pieces with UIDs that follow one another and the same keywords: one statement for each.
func spans(list []packed) iter.Seq[[]packed] {
	return func(yield func([]packed) bool) {
		for i := 0; i < len(list); {
			j := i + 1
			for j < len(list) && list[j].uid == list[j-1].uid+1 && list[j].keywords == list[i].keywords {
				j++
			}
			if !yield(list[i:j]) {
				return
			}
			i = j
		}
	}
}

// admission is how messages are written in the mailbox that they come to.
type admission struct {
	flags Flags               // those that may be set there
	words func(uint64) uint64 // of their keywords
	add   []string            // keywords that are not there yet
}

// admitAll checks that dst can take the messages.
func (t *tx) admitAll(src, dst *mailboxRow, list []packed, r Rights) (d admission, err error) {
	d.flags = r.Flags(^Flags(0))
	if uint64(dst.UIDNext)+uint64(len(list)) >= 1<<32 {
		return d, fmt.Errorf("%w: the mailbox has no UIDs left", ErrLimit)
	}
	var used uint64
	for i := range list {
		used |= list[i].keywords
	}
	switch {
	case !r.Has(MayWrite):
		d.words = func(uint64) uint64 { return 0 }
	case used == 0 || src == dst:
		d.words = func(w uint64) uint64 { return w }
	default:
		d.words, d.add, err = t.admitWords(src, dst, used)
	}
	return d, err
}

// admitWords tells how keywords of src are written in dst and which must be made there.
func (t *tx) admitWords(src, dst *mailboxRow, used uint64) (words func(uint64) uint64, add []string, err error) {
	if err := t.knowKeywords(src); err != nil {
		return nil, nil, err
	}
	var to [maxKeywords]uint64
	for w := used; w != 0; w &= w - 1 {
		bit := bits.TrailingZeros64(w)
		add = append(add, src.keywords[bit])
	}
	_, missing, err := t.keywordBits(dst, add)
	if err != nil {
		return nil, nil, err
	}
	all := append(dst.keywords[:len(dst.keywords):len(dst.keywords)], missing...)
	for w := used; w != 0; w &= w - 1 {
		bit := bits.TrailingZeros64(w)
		to[bit] = 1 << keywordBit(all, src.keywords[bit])
	}
	return func(w uint64) (v uint64) {
		for ; w != 0; w &= w - 1 {
			v |= to[bits.TrailingZeros64(w)]
		}
		return v
	}, missing, nil
}

func (t *tx) copy(from, to side, list []packed, r Rights) (Copied, error) {
	src, dst := from.m, to.m
	d, err := t.admitAll(src, dst, list, r)
	if err != nil {
		return Copied{}, err
	}
	var size int64
	for i := range list {
		size += int64(list[i].size)
	}
	c := Copied{UIDValidity: dst.UIDValidity}
	if len(list) == 0 {
		return c, nil
	}
	if err := t.charge(to.a, size, int64(len(list)), 0); err != nil {
		return Copied{}, err
	}
	if err := t.addKeywords(dst, d.add); err != nil {
		return Copied{}, err
	}
	seq, now := t.nextModSeq(to.a), t.now()
	for part := range spans(list) {
		first, last := int64(part[0].uid), int64(part[len(part)-1].uid)
		id, err := t.newIDs(len(part))
		if err != nil {
			return Copied{}, err
		}
		if err := t.exec(`INSERT INTO blob_shared (blob, more) SELECT blob, COUNT(*) FROM message WHERE mailbox = ? AND uid BETWEEN ? AND ? GROUP BY blob
			ON CONFLICT (blob) DO UPDATE SET more = blob_shared.more + excluded.more`, src.ID, first, last); err != nil {
			return Copied{}, err
		}
		if err := t.exec(`INSERT INTO message (mailbox, uid, flags, keywords, size, internal_date, zone, save_date, modseq, blob, id)
			SELECT ?, uid + ?, flags & ?, ?, size, internal_date, zone, ?, ?, blob, uid + ? FROM message WHERE mailbox = ? AND uid BETWEEN ? AND ?`,
			dst.ID, int64(dst.UIDNext)-first, int64(d.flags), int64(d.words(part[0].keywords)), now, int64(seq), id-first, src.ID, first, last); err != nil {
			return Copied{}, err
		}
		t.arrive(dst, part, &d, seq, now, id, &c)
	}
	t.change(watch.Change{Account: to.a.ID, Mailbox: dst.ID, Kind: watch.Appended, ModSeq: seq, UIDs: named(c.To), More: len(c.To) > maxNamed})
	return c, nil
}

// arrive keeps dst's counters and picture for messages that the database has there already. id is the first new one, 0: they keep theirs.
func (t *tx) arrive(dst *mailboxRow, part []packed, d *admission, modseq uint64, now, id int64, c *Copied) {
	ed := t.edits(dst)
	for i := range part {
		e := part[i]
		c.From = append(c.From, e.uid)
		e.uid, e.modseq, e.saved, e.flags, e.keywords = dst.UIDNext, modseq, uint32(now), e.flags&d.flags, d.words(e.keywords)
		if id != 0 {
			e.id = id + int64(i)
		}
		c.To = append(c.To, e.uid)
		dst.UIDNext++
		dst.count(&e, 1)
		ed.steps = append(ed.steps, edit{put: e})
	}
	t.touchMailbox(dst, modseq)
}

func named(uids []uint32) []uint32 { return uids[:min(len(uids), maxNamed)] }

// move renumbers the rows. src and dst may be the same mailbox.
func (t *tx) move(from, to side, list []packed, r Rights) (Copied, error) {
	src, dst := from.m, to.m
	d, err := t.admitAll(src, dst, list, r)
	if err != nil {
		return Copied{}, err
	}
	c := Copied{UIDValidity: dst.UIDValidity}
	if len(list) == 0 {
		return c, nil
	}
	if err := t.chargeMove(from.a, to.a, list); err != nil {
		return Copied{}, err
	}
	if err := t.addKeywords(dst, d.add); err != nil {
		return Copied{}, err
	}
	seq, now := t.nextModSeq(to.a), t.now()
	left := seq
	if from.a != to.a {
		left = t.nextModSeq(from.a)
	}
	if err := t.leave(src, list, left); err != nil {
		return Copied{}, err
	}
	for part := range spans(list) {
		first, last := int64(part[0].uid), int64(part[len(part)-1].uid)
		if err := t.exec(`UPDATE message SET mailbox = ?, uid = uid + ?, flags = flags & ?, keywords = ?, save_date = ?, modseq = ? WHERE mailbox = ? AND uid BETWEEN ? AND ?`,
			dst.ID, int64(dst.UIDNext)-first, int64(d.flags), int64(d.words(part[0].keywords)), now, int64(seq), src.ID, first, last); err != nil {
			return Copied{}, err
		}
		t.arrive(dst, part, &d, seq, now, 0, &c)
	}
	t.change(watch.Change{Account: to.a.ID, Mailbox: dst.ID, Kind: watch.Appended, ModSeq: seq, UIDs: named(c.To), More: len(c.To) > maxNamed})
	return c, nil
}

// chargeMove charges the new owner of messages and relieves the old one.
func (t *tx) chargeMove(from, to *accountRow, list []packed) error {
	if from == to {
		return nil
	}
	var size int64
	for i := range list {
		size += int64(list[i].size)
	}
	if err := t.charge(to, size, int64(len(list)), 0); err != nil {
		return err
	}
	return t.charge(from, -size, -int64(len(list)), 0)
}
