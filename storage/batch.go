package storage

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/packetboat/packetboat/storage/blob"
)

// BatchMessages is how many messages a Batch takes.
const BatchMessages = 2000

// batchHeld is how many bytes of its messages a Batch keeps in memory. What is more waits in one staging file.
const batchHeld = 256 << 10

// Batch is messages on their way into one mailbox, all or none (RFC 3502). Its memory is bounded however many they are: small messages wait in
// one staging file, a large one is a file already when the next one comes. It is used by one goroutine and ends with DeliverBatch or Abort.
type Batch struct {
	s        *Store
	mails    []*Upload
	targets  []Target
	keywords []string // of all, each once
	held     int64    // bytes of messages in memory
	size     int64    // of all messages
	park     blob.Staged
}

// NewBatch begins a Batch.
func (s *Store) NewBatch() *Batch { return &Batch{s: s} }

// Len is how many messages were added.
func (b *Batch) Len() int { return len(b.mails) }

// Add takes over a message that was written to its end. All targets name the same mailbox. ErrLimit when there are BatchMessages messages, more
// keywords than a mailbox can have, or a message of 4 GiB; then the Upload is still the caller's.
func (b *Batch) Add(ctx context.Context, u *Upload, to Target) error {
	switch {
	case len(b.mails) == BatchMessages:
		return fail("append", fmt.Errorf("%w: %d messages at a time", ErrLimit, BatchMessages))
	case len(b.mails) > 0 && (to.Mailbox != b.targets[0].Mailbox || to.Account != b.targets[0].Account):
		return fail("append", fmt.Errorf("%w: one mailbox for all messages", ErrInvalid))
	}
	var err error
	if to.Keywords, err = b.intern(to.Keywords); err != nil {
		return fail("append", err)
	}
	if err := u.Prepare(ctx); err != nil {
		return err
	}
	if n := u.inMemory(); b.held+n > batchHeld && len(b.mails) > 0 {
		if err := b.parkOne(u); err != nil {
			return fail("append", err)
		}
	} else {
		b.held += n
	}
	b.mails = append(b.mails, u)
	b.targets = append(b.targets, to)
	b.size += u.size
	return nil
}

// intern gives keywords as they were written first in the batch, so that they are held once.
func (b *Batch) intern(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	all := make([]string, len(names))
	for i, n := range names {
		k := keywordBit(b.keywords, n)
		if k < 0 {
			if k = len(b.keywords); k == maxKeywords {
				return nil, fmt.Errorf("%w: %d keywords in a mailbox", ErrLimit, maxKeywords)
			}
			b.keywords = append(b.keywords, n)
		}
		all[i] = b.keywords[k]
	}
	return all, nil
}

func (b *Batch) parkOne(u *Upload) error {
	if b.park == nil {
		p, err := b.s.blobs.Stage(context.Background())
		if err != nil {
			return err
		}
		b.park = p
	}
	return u.moveTo(b.park)
}

// Abort gives everything back. After the Batch was delivered it does nothing: defer it.
func (b *Batch) Abort() {
	for _, u := range b.mails {
		u.Abort()
	}
	b.end()
}

func (b *Batch) end() {
	b.mails, b.targets = nil, nil
	if b.park == nil {
		return
	}
	if err := b.park.Abort(); err != nil {
		b.s.log.Warn("the staging file of a batch is left to the sweeper", "error", err)
	}
	b.park = nil
}

// DeliverBatch puts the messages into their mailbox in one transaction, in their order: their UIDs follow one another. After an error none is there and the Batch is
// as it was. ErrQuota, fs.ErrNotExist (mailbox gone), ErrLimit (keywords, UIDs).
func (s *Store) DeliverBatch(ctx context.Context, b *Batch) ([]Appended, error) {
	if len(b.mails) == 0 {
		return nil, nil
	}
	res := make([]Appended, len(b.mails))
	err := s.do(ctx, func(t *tx) error {
		if err := t.admitBatch(b); err != nil {
			return err
		}
		for i, u := range b.mails {
			// Keywords that the one before added count.
			d, err := t.admit(&b.targets[i], u.size, 1)
			if err != nil {
				return err
			}
			blob, err := t.putBlob(u)
			if err != nil {
				return err
			}
			if res[i], err = t.append(d, &b.targets[i], u.size, blob); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fail("append", err)
	}
	for _, u := range b.mails {
		u.taken()
	}
	b.end()
	return res, nil
}

// admitBatch finds out what would refuse one of the messages before the first is written.
func (t *tx) admitBatch(b *Batch) error {
	if len(b.mails) == 1 {
		return nil
	}
	all := b.targets[0]
	all.Keywords = b.keywords
	d, err := t.admit(&all, b.size, int64(len(b.mails)))
	if err == nil && int64(d.m.UIDNext)+int64(len(b.mails)) > math.MaxUint32 {
		err = fmt.Errorf("%w: the mailbox has no UIDs left", ErrLimit)
	}
	return err
}

// parked tells where the bytes of a prepared message wait for its transaction: one behind the other, in the order of Upload.memory.
type parked struct {
	at    io.ReaderAt
	off   int64
	sizes [7]int // -1: nil
	whole bool   // the head is the beginning of mem
}

// memory are the pieces of a prepared message that are rows.
func (u *Upload) memory() [7]*[]byte {
	return [...]*[]byte{&u.mem, &u.head, &u.envelope, &u.struc, &u.parts, &u.keys, &u.preview}
}

func (u *Upload) inMemory() (n int64) {
	for _, p := range u.memory() {
		n += int64(len(*p))
	}
	return n
}

// moveTo empties the memory of a prepared message into a file.
func (u *Upload) moveTo(f blob.Staged) error {
	p := &parked{at: f, off: f.Size(), whole: u.key == ""}
	for i, piece := range u.memory() {
		p.sizes[i] = len(*piece)
		if *piece == nil {
			p.sizes[i] = -1
		}
		if i == 1 && p.whole {
			continue
		}
		if _, err := f.Write(*piece); err != nil {
			return err
		}
	}
	for _, piece := range u.memory() {
		*piece = nil
	}
	u.index = nil
	u.parked = p
	return nil
}

// fetched is the message as it was before moveTo.
func (u *Upload) fetched() (*Upload, error) {
	was := *u
	was.parked = nil
	off := u.parked.off
	for i, piece := range was.memory() {
		n := u.parked.sizes[i]
		switch {
		case i == 1 && u.parked.whole:
			was.head = was.mem[:n]
			continue
		case n < 0:
			continue
		}
		b := make([]byte, n)
		if k, err := u.parked.at.ReadAt(b, off); k < n {
			return nil, fmt.Errorf("%w: a message that waited for its transaction: %w", ErrTemporary, err)
		}
		*piece = b
		off += int64(n)
	}
	return &was, nil
}
