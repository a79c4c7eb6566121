package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// vanishedLine is about how many bytes of UIDs go into one VANISHED response. RFC 7162 section 4 has clients read 8,192.
const vanishedLine = 8000

// tellVanished tells expunges by UID (RFC 7162 section 3.2.10.2). gone are descending indexes in old, so every UID is one that the client knew.
func (c *client) tellVanished(old *storage.Snapshot, gone []int) {
	c.vanished("* VANISHED ", func(yield func(a, b uint32) bool) {
		for k := len(gone) - 1; k >= 0; {
			first := old.UID(gone[k])
			last := first
			for k--; k >= 0 && old.UID(gone[k]) == last+1; k-- {
				last++
			}
			if !yield(first, last) {
				return
			}
		}
	})
}

// vanished gives as many responses as the ranges need.
func (c *client) vanished(word string, ranges func(yield func(a, b uint32) bool)) {
	start, line := 0, 0 // of the UIDs and of the line in the buffer; 0: no line is begun
	for a, b := range ranges {
		if line == 0 {
			c.e.Raw(word)
			start = len(c.e.Buf())
			line = start
		}
		c.e.Set(wire.AppendRange(c.e.Buf(), start, a, b))
		if len(c.e.Buf())-start > vanishedLine {
			c.e.CRLF()
			line = 0
		}
	}
	if line != 0 {
		c.e.CRLF()
	}
}

// uidRanges are the UIDs that a set names, ascending and merged, whether there are such messages or not. "*" is the greatest UID that was ever given:
// a client that says 1:* wants to hear of the last messages too when they are gone.
func (c *client) uidRanges(s wire.NumSet) []storage.UIDRange {
	largest := c.view.snap.UIDNext() - 1
	if s.Saved {
		return nil // RFC 9051 section 6.4.4.1: what went is no more in it
	}
	return mergeUIDs(s.Ranges, largest)
}

// mergeUIDs sorts ranges, joins those that touch and cuts them at largest, which "*" stands for.
func mergeUIDs(set imap.SeqSet, largest uint32) []storage.UIDRange {
	all := make([]storage.UIDRange, 0, len(set))
	for _, r := range set {
		a, b := star(r.Start, largest), star(r.Stop, largest)
		if a, b = min(a, b), min(max(a, b), largest); a <= b && b > 0 {
			all = append(all, storage.UIDRange{First: a, Last: b})
		}
	}
	slices.SortFunc(all, func(x, y storage.UIDRange) int {
		if x.First < y.First {
			return -1
		}
		return 1
	})
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 && r.First-1 <= out[n-1].Last {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// tellEarlier tells which UIDs of known went since a mod-sequence, those above from only (RFC 7162 section 3.2.10.1). When that is not
// remembered any more it is all that are not there.
func (c *client) tellEarlier(known []storage.UIDRange, since uint64, from uint32) error {
	p := c.view.snap
	gone, remembered, err := c.srv.store.Expunged(c.ctx(), p, since)
	if err != nil {
		return err
	}
	if !remembered {
		gone = missingUIDs(p)
	}
	c.vanished("* VANISHED (EARLIER) ", func(yield func(a, b uint32) bool) {
		i, j := 0, 0
		for i < len(known) && j < len(gone) {
			a, b := max(known[i].First, gone[j].First, from+1), min(known[i].Last, gone[j].Last)
			if a <= b && !yield(a, b) {
				return
			}
			if known[i].Last < gone[j].Last {
				i++
			} else {
				j++
			}
		}
	})
	return c.e.Err()
}

// missingUIDs are all UIDs below UIDNEXT that are not there.
func missingUIDs(p *storage.Snapshot) []storage.UIDRange {
	var gone []storage.UIDRange
	next := uint32(1)
	for i := range p.Len() {
		uid := p.UID(i)
		if uid > next {
			gone = append(gone, storage.UIDRange{First: next, Last: uid - 1})
		}
		next = uid + 1
	}
	if next < p.UIDNext() {
		gone = append(gone, storage.UIDRange{First: next, Last: p.UIDNext() - 1})
	}
	return gone
}

// resync tells what happened to the mailbox that was just opened since the client knew it (RFC 7162 section 3.2.5). When its UIDVALIDITY is another,
// nothing: the client sees that.
func (c *client) resync(q *wire.QResync) error {
	v := c.view
	if q.UIDValidity != v.snap.Mailbox().UIDValidity {
		return nil
	}
	set := q.Known
	if set == nil {
		set = imap.SeqSet{{Start: 1, Stop: 0}}
	}
	known := mergeUIDs(set, v.snap.UIDNext()-1)
	if err := c.tellEarlier(known, q.ModSeq, matched(v.snap, q)); err != nil {
		return err
	}
	if q.ModSeq >= v.highest() {
		return nil
	}
	for _, r := range known {
		s := uidSpan(v.snap, r.First, r.Last)
		for i := s.first; i < s.end; i++ {
			if m := v.snap.At(i); m.ModSeq > q.ModSeq {
				c.tellMessage(v.snap, i, m, true)
			}
		}
		if err := c.broken(); err != nil {
			return err
		}
	}
	return nil
}

// matched is the greatest UID up to which the client knows what went: that of the last pair of its message sequence match data which is as in the mailbox
// (RFC 7162 section 3.2.5.2). Both sets ascend and hold as many numbers, so that no number is looked at twice.
func matched(p *storage.Snapshot, q *wire.QResync) (uid uint32) {
	if len(q.UIDs) == 0 {
		return 0
	}
	k, next := 0, q.UIDs[0].Start
	for _, r := range q.Numbers {
		for n := r.Start; n <= r.Stop && int(n) <= p.Len(); n++ {
			if p.UID(int(n)-1) == next {
				uid = next
			}
			if next < q.UIDs[k].Stop {
				next++
			} else if k++; k < len(q.UIDs) {
				next = q.UIDs[k].Start
			} else {
				return uid
			}
		}
	}
	return uid
}
