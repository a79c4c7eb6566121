package imap

import (
	"slices"

	"github.com/packetboat/packetboat/storage"
)

// placeMax is how many messages are put into a sorted result one by one; when there are more, all of it is sorted again.
const placeMax = 32

func uidsOf(p *storage.Snapshot, indexes []int) []uint32 {
	uids := make([]uint32, len(indexes))
	for k, i := range indexes {
		uids[k] = p.UID(i)
	}
	return uids
}

// without gives the order less the messages at the ascending indexes.
func (x *searchContext) without(p *storage.Snapshot, out []int) []uint32 {
	if len(out) == 0 {
		return x.order
	}
	uids := uidsOf(p, out)
	return slices.DeleteFunc(slices.Clone(x.order), func(uid uint32) bool {
		_, found := slices.BinarySearch(uids, uid)
		return found
	})
}

// place gives the order with in and without out; both ascend. No value that is sorted by ever changes, so the others stay as they are.
func (x *searchContext) place(w *work, p *storage.Snapshot, in, out []int) ([]uint32, error) {
	order := x.without(p, out)
	if len(in) > placeMax {
		indexes := slices.Clone(in)
		for _, uid := range order {
			if i, ok := p.Find(uid); ok {
				indexes = append(indexes, i)
			}
		}
		slices.Sort(indexes)
		sorted, err := w.sorted(&result{p: p, found: indexes}, x.criteria)
		return uidsOf(p, sorted), err
	}
	order = slices.Clone(order)
	for _, i := range in {
		first, end := 0, len(order)
		for first < end {
			middle := (first + end) / 2
			other, _ := p.Find(order[middle])
			pair, err := w.sorted(&result{p: p, found: []int{min(i, other), max(i, other)}}, x.criteria)
			if err != nil {
				return nil, err
			}
			if pair[0] == other {
				first = middle + 1
			} else {
				end = middle
			}
		}
		order = slices.Insert(order, first, p.UID(i))
	}
	return order, nil
}

// tellSorted tells how the order becomes another one, nil for the one without out: what goes, from the end, and what comes, from the beginning. So each
// position is right when its turn comes (RFC 5267 sections 4.3.2 to 4.3.4).
func (x *searchContext) tellSorted(c *client, p *storage.Snapshot, order []uint32, out []int) {
	before, rest := x.order, x.without(p, out)
	if order == nil {
		order = rest
	}
	x.order = order
	if len(before) == len(rest) && len(rest) == len(order) {
		return
	}
	c.correlate(x.tag, x.box)
	if x.uid {
		c.e.Raw(" UID")
	}
	x.tellPlaces(c, p, " REMOVEFROM (", slices.Backward(blocks(before, rest)), before)
	x.tellPlaces(c, p, " ADDTO (", slices.All(blocks(order, rest)), order)
	c.e.CRLF()
}

// blocks are where long has what short has not; short is long without those.
func blocks(long, short []uint32) (out []span) {
	k := 0
	for i, uid := range long {
		if k < len(short) && short[k] == uid {
			k++
			continue
		}
		out = withIndex(out, i)
	}
	return out
}

func (x *searchContext) tellPlaces(c *client, p *storage.Snapshot, word string, blocks func(func(int, span) bool), order []uint32) {
	sep := word
	for _, b := range blocks {
		c.e.Raw(sep).Num(uint64(b.first + 1)).Raw(" ")
		var indexes []int
		for _, uid := range order[b.first:b.end] {
			i, _ := p.Find(uid)
			indexes = append(indexes, i)
		}
		c.tellSet(indexes, x.uid, &result{p: p})
		sep = " "
	}
	if sep != word {
		c.e.Raw(")")
	}
}
