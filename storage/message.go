package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/watch"
)

// Flags are the system flags (RFC 9051 section 2.3.2).
type Flags uint8

// The system flags. There is no \Recent: it is always 0, as RFC 9051 appendix D allows.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

// Entry is a message in a mailbox. Keywords are bits; Snapshot.Keywords names them.
type Entry struct {
	UID          uint32
	Flags        Flags
	Keywords     uint64
	Size         uint32 // messages are limited to below 4 GiB
	ModSeq       uint64
	InternalDate int64 // Unix seconds
	Zone         int16 // of InternalDate as it was given: minutes east of UTC. RFC 9051 section 6.4.4 compares days in it
	SaveDate     int64 // Unix seconds: when it came into this mailbox
	Blob         int64 // its bytes; shared by copies
	ID           int64 // unique and for ever; a copy has another, a move keeps it (RFC 8474 EMAILID is the blob's id)
}

// Target is a mailbox that a message goes into.
type Target struct {
	Account      int64
	Mailbox      int64
	Flags        Flags
	Keywords     []string
	InternalDate time.Time // zero: now
}

// Appended is what became of one Target. Err is ErrQuota, fs.ErrNotExist (mailbox gone), ErrLimit (keywords) or nil.
type Appended struct {
	UIDValidity, UID uint32
	ID               int64
	Err              error
}

// ascending are the UIDs sorted and each once, as the callers should have them.
func ascending(uids []uint32) []uint32 {
	for i := 1; i < len(uids); i++ {
		if uids[i] <= uids[i-1] {
			uids = slices.Clone(uids)
			slices.Sort(uids)
			return slices.Compact(uids)
		}
	}
	return uids
}

// maxKeywords is how many a mailbox has at most, and maxKeyword how many bytes one has.
const (
	maxKeywords = 64
	maxKeyword  = 255
)

// keywordBits finds the bits of keywords in the mailbox and tells which are not there yet: those get the next bits when addKeywords is called.
// ErrLimit when there is no room, ErrInvalid for what is no atom.
func (t *tx) keywordBits(m *mailboxRow, names []string) (bits uint64, add []string, err error) {
	if len(names) == 0 {
		return 0, nil, nil
	}
	if err := t.knowKeywords(m); err != nil {
		return 0, nil, err
	}
	all := slices.Clone(m.keywords)
	for _, n := range names {
		i := keywordBit(all, n)
		if i < 0 {
			if !isKeyword(n) {
				return 0, nil, fmt.Errorf("%w: keyword", ErrInvalid)
			}
			i = len(all)
			all, add = append(all, n), append(add, n)
		}
		if i >= maxKeywords {
			return 0, nil, fmt.Errorf("%w: %d keywords in a mailbox", ErrLimit, maxKeywords)
		}
		bits |= 1 << i
	}
	return bits, add, nil
}

func keywordBit(all []string, name string) int {
	return slices.IndexFunc(all, func(k string) bool { return strings.EqualFold(k, name) })
}

// isKeyword tells whether n is an atom (RFC 9051 section 9, flag-keyword).
func isKeyword(n string) bool {
	if n == "" || len(n) > maxKeyword {
		return false
	}
	for i := range len(n) {
		if n[i] <= ' ' || n[i] >= 0x7f || strings.IndexByte(`(){%*"\]`, n[i]) >= 0 {
			return false
		}
	}
	return true
}

func (t *tx) knowKeywords(m *mailboxRow) error {
	if m.known {
		return nil
	}
	names, err := readKeywords(t.db, m.ID)
	if err != nil {
		return err
	}
	m.keywords, m.known = names, true
	return nil
}

func (t *tx) addKeywords(m *mailboxRow, add []string) error {
	for _, n := range add {
		if err := t.exec(`INSERT INTO keyword (mailbox, bit, name) VALUES (?, ?, ?)`, m.ID, len(m.keywords), n); err != nil {
			return err
		}
		// Pictures hold the old slice.
		m.keywords = append(slices.Clip(m.keywords), n)
	}
	return nil
}

// Deliver puts one message into several mailboxes: one blob, one transaction. A target that is refused does not harm the others. It
// returns when all that succeeded is durable and published. err is for faults that concern all; then, and when every target
// was refused, the Upload is as it was.
func (s *Store) Deliver(ctx context.Context, u *Upload, targets []Target) ([]Appended, error) {
	if err := u.Prepare(ctx); err != nil {
		return nil, fail("deliver", err)
	}
	var res []Appended
	var took bool
	err := s.done(&job{ctx: ctx, look: u.look, run: func(t *tx) (err error) {
		res, took, err = t.deliver(u, targets)
		return err
	}})
	if err != nil {
		return nil, fail("deliver", err)
	}
	if took {
		u.taken()
	}
	return res, nil
}

func (t *tx) deliver(u *Upload, targets []Target) (res []Appended, took bool, err error) {
	// Without a target that takes it there is nothing to write.
	willing := false
	for i := range targets {
		_, err := t.admit(&targets[i], u.size, 1)
		if err != nil && !isRefusal(err) {
			return nil, false, err
		}
		willing = willing || err == nil
	}
	var blob int64
	if willing {
		if blob, err = t.putBlob(u); err != nil {
			return nil, false, err
		}
	}
	res, err = t.appendAll(u.size, blob, 0, targets)
	return res, willing, err
}

// appendAll puts a message into all targets that take it. refs is how many references its blob has already.
func (t *tx) appendAll(size, blob, refs int64, targets []Target) ([]Appended, error) {
	res := make([]Appended, len(targets))
	for i := range targets {
		d, err := t.admit(&targets[i], size, 1)
		if err != nil {
			if !isRefusal(err) {
				return nil, err
			}
			res[i].Err = err
			continue
		}
		refs++
		if res[i], err = t.append(d, &targets[i], size, blob); err != nil {
			return nil, err
		}
	}
	if refs > 1 {
		return res, t.share(blob, refs-1)
	}
	return res, nil
}

// isRefusal tells whether err concerns one target alone.
func isRefusal(err error) bool {
	return errors.Is(err, ErrQuota) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLimit) || errors.Is(err, ErrInvalid)
}

// admitted is a target that a message of the size can go into.
type admitted struct {
	a    *accountRow
	m    *mailboxRow
	bits uint64
	add  []string
}

// admit checks a target for so many messages of so many bytes together, and changes nothing.
func (t *tx) admit(g *Target, size, messages int64) (d admitted, err error) {
	if d.a, err = t.account(g.Account); err != nil {
		return d, err
	}
	if d.m, err = t.mailbox(g.Account, g.Mailbox); err != nil {
		return d, err
	}
	if d.m.UIDNext == 1<<32-1 {
		return d, fmt.Errorf("%w: the mailbox has no UIDs left", ErrLimit)
	}
	if err := d.a.fits(size, messages); err != nil {
		return d, err
	}
	d.bits, d.add, err = t.keywordBits(d.m, g.Keywords)
	return d, err
}

// append adds the message's row.
func (t *tx) append(d admitted, g *Target, size, blob int64) (Appended, error) {
	if err := t.addKeywords(d.m, d.add); err != nil {
		return Appended{}, err
	}
	if err := t.charge(d.a, size, 1, 0); err != nil {
		return Appended{}, err
	}
	now := t.now()
	e := packed{keywords: d.bits, date: now, saved: uint32(now), size: uint32(size), blob: blob, flags: g.Flags}
	if !g.InternalDate.IsZero() {
		_, east := g.InternalDate.Zone()
		e.date, e.zone = g.InternalDate.Unix(), int16(east/60)
	}
	var err error
	if e.id, err = t.newID(); err != nil {
		return Appended{}, err
	}
	if err := t.insert(d.a, d.m, &e, t.nextModSeq(d.a)); err != nil {
		return Appended{}, err
	}
	return Appended{UIDValidity: d.m.UIDValidity, UID: e.uid, ID: e.id}, nil
}

// insert gives the message its UID and puts it at the mailbox's end.
func (t *tx) insert(a *accountRow, m *mailboxRow, e *packed, modseq uint64) error {
	e.uid, e.modseq = m.UIDNext, modseq
	if err := t.exec(`INSERT INTO message (mailbox, uid, flags, keywords, size, internal_date, zone, save_date, modseq, blob, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		m.ID, int64(e.uid), int64(e.flags), int64(e.keywords), int64(e.size), e.date, int64(e.zone), int64(e.saved), int64(modseq), e.blob, e.id); err != nil {
		return err
	}
	m.UIDNext++
	m.count(e, 1)
	t.touchMailbox(m, modseq)
	ed := t.edits(m)
	ed.steps = append(ed.steps, edit{put: *e})
	t.change(watch.Change{Account: a.ID, Mailbox: m.ID, Kind: watch.Appended, ModSeq: modseq, UIDs: []uint32{e.uid}})
	return nil
}
