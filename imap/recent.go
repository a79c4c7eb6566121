package imap

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// Limits of what is kept of \Recent.
const (
	maxRecentBoxes  = 1 << 16 // mailboxes
	maxRecentRanges = 256     // of one view
)

// Recents knows of each mailbox from which UID on messages are recent: no session that may change it was told of them yet (RFC 3501
// section 2.3.2). It lives in memory: what came before the server started is not recent.
type Recents struct {
	mu    sync.Mutex
	from  map[recentBox]uint32
	since int64 // Unix seconds; of mailboxes that are not in from
}

// never as Recents.since: nothing is recent.
const never = math.MaxInt64

// recentBox is a mailbox in one life: a name that is made again may keep its id.
type recentBox struct {
	id       int64
	validity uint32
}

// NewRecents returns one that takes what is stored from now on for recent.
func NewRecents() *Recents {
	return &Recents{from: map[recentBox]uint32{}, since: time.Now().Unix()}
}

// look gives the range of the recent UIDs of a snapshot, first included, end not. With claim they are nobody else's from now on.
func (r *Recents) look(p *storage.Snapshot, claim bool) uidRange {
	if p.Len() == 0 || r.since == never {
		return uidRange{}
	}
	box := p.Mailbox()
	key, end := recentBox{box.ID, box.UIDValidity}, p.UID(p.Len()-1)+1
	r.mu.Lock()
	defer r.mu.Unlock()
	first, ok := r.from[key]
	if !ok {
		i := p.Len()
		for i > 0 && p.At(i-1).SaveDate >= r.since {
			i--
		}
		if first = end; i < p.Len() {
			first = p.UID(i)
		}
		if len(r.from) >= maxRecentBoxes {
			clear(r.from)
			r.since = time.Now().Unix()
		}
		r.from[key] = first
	}
	if first >= end {
		return uidRange{}
	}
	if claim {
		r.from[key] = end
	}
	return uidRange{first, end}
}

// any tells whether there may be recent messages in a mailbox that is not open. Of one that nobody opened yet it says no: to look would cost.
func (r *Recents) any(b storage.Mailbox) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, ok := r.from[recentBox{b.ID, b.UIDValidity}]
	return ok && first < b.UIDNext
}

// uidRange is a range of UIDs, first included, end not.
type uidRange struct{ first, end uint32 }

// meet looks for recent messages in a snapshot that the client is about to be told of.
func (v *view) meet(r *Recents, p *storage.Snapshot) {
	got := r.look(p, !v.readOnly && v.rights().Any(changeRights))
	n := len(v.recent)
	switch {
	case got.first == got.end:
	case n > 0 && got.first <= v.recent[n-1].end:
		v.recent[n-1].end = max(got.end, v.recent[n-1].end)
	case n == maxRecentRanges:
		v.recent = append(v.recent[:0], v.recent[1:]...)
		fallthrough
	default:
		v.recent = append(v.recent, got)
	}
}

// isRecent tells whether a message is recent to this session.
func (v *view) isRecent(uid uint32) bool {
	if len(v.recent) == 0 {
		return false
	}
	i, _ := slices.BinarySearchFunc(v.recent, uid, func(r uidRange, uid uint32) int {
		if r.end <= uid {
			return -1
		}
		return 1
	})
	return i < len(v.recent) && v.recent[i].first <= uid
}

// recentSpans are the recent messages of what the client was told.
func (v *view) recentSpans() []span {
	var spans []span
	for _, r := range v.recent {
		first, _ := v.snap.Find(r.first)
		if end, _ := v.snap.Find(r.end); first < end {
			spans = append(spans, span{first, end})
		}
	}
	return merge(spans)
}
