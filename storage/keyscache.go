package storage

import (
	"container/list"
	"slices"
	"sync"

	"github.com/packetboat/packetboat/storage/mime"
)

// keysCache keeps the Keys of messages. They lie together in batches, one for each run of keysBatch UIDs of a mailbox, without a pointer for
// each message. Neither a message's Keys nor which message has a UID ever changes, so nothing in it goes stale; messages that went are
// not asked for.
type keysCache struct {
	mu    sync.Mutex
	max   int // bytes
	bytes int
	order *list.List // of *keysKept, the latest used first
	at    map[keysKey]*list.Element
}

// keysBatch is how many UIDs a batch stands for.
const keysBatch = 1024

type keysKey struct {
	mailbox int64
	run     uint32 // UID / keysBatch
}

// keysKept is a batch; it is never changed. UIDs ascend; the Keys of uids[i] lie in arena from at[i] to at[i+1].
type keysKept struct {
	key   keysKey
	uids  []uint32
	at    []uint32
	arena []byte
}

func (b *keysKept) bytes() int { return cap(b.arena) + 4*(cap(b.uids)+cap(b.at)) + 200 }

// find is the Keys of a UID, nil if they are not there. It is likely the k-th.
func (b *keysKept) find(k int, uid uint32) mime.Keys {
	if b == nil {
		return nil
	}
	if k >= len(b.uids) || b.uids[k] != uid {
		var ok bool
		if k, ok = slices.BinarySearch(b.uids, uid); !ok {
			return nil
		}
	}
	return mime.Keys(b.arena[b.at[k]:b.at[k+1]:b.at[k+1]])
}

// with is the batch and the rows of more UIDs, which ascend too. What is in both is taken from the batch.
func (b *keysKept) with(key keysKey, uids []uint32, rows []mime.Keys) *keysKept {
	n, size := len(uids), 0
	for _, r := range rows {
		size += len(r)
	}
	if b != nil {
		n, size = n+len(b.uids), size+len(b.arena)
	} else {
		b = &keysKept{}
	}
	c := &keysKept{key: key, uids: make([]uint32, 0, n), at: make([]uint32, 0, n+1), arena: make([]byte, 0, size)}
	add := func(uid uint32, k mime.Keys) {
		c.uids, c.at = append(c.uids, uid), append(c.at, uint32(len(c.arena)))
		c.arena = append(c.arena, k...)
	}
	i := 0
	for k, uid := range uids {
		for ; i < len(b.uids) && b.uids[i] <= uid; i++ {
			add(b.uids[i], b.find(i, b.uids[i]))
		}
		if len(c.uids) == 0 || c.uids[len(c.uids)-1] != uid {
			add(uid, rows[k])
		}
	}
	for ; i < len(b.uids); i++ {
		add(b.uids[i], b.find(i, b.uids[i]))
	}
	c.at = append(c.at, uint32(len(c.arena)))
	return c
}

func (c *keysCache) init(max int) {
	c.max, c.bytes = max, 0
	c.order, c.at = list.New(), map[keysKey]*list.Element{}
}

// get is a batch, nil if it is not there.
func (c *keysCache) get(key keysKey) *keysKept {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.at[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*keysKept)
}

// put keeps a batch instead of the one with its key. Other mailboxes give way to it; but a mailbox does not push out itself, for
// who walks over one that does not fit would find nothing of it the next time.
func (c *keysCache) put(b *keysKept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.at[b.key]
	room := c.max - c.bytes
	if old != nil {
		room += old.Value.(*keysKept).bytes()
	}
	var out []*list.Element
	for e := c.order.Back(); room < b.bytes(); e = e.Prev() {
		if e == nil || e.Value.(*keysKept).key.mailbox == b.key.mailbox {
			return
		}
		room += e.Value.(*keysKept).bytes()
		out = append(out, e)
	}
	if old != nil {
		out = append(out, old)
	}
	for _, e := range out {
		k := c.order.Remove(e).(*keysKept)
		delete(c.at, k.key)
		c.bytes -= k.bytes()
	}
	c.at[b.key] = c.order.PushFront(b)
	c.bytes += b.bytes()
}
