package storage

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/packetboat/packetboat/storage/mime"
)

// KeysRow is what sorting, threading and searching by the usual fields ask of a message, or why it could not be had: fs.ErrNotExist when the
// message went and was swept.
type KeysRow struct {
	mime.Keys
	Blob int64
	Err  error
}

// Thread stands for the thread that the message belongs to, for ever and in every mailbox (RFC 8474 section 5.2): the first reference of
// References, or else the one of In-Reply-To, or else the message's own Message-ID, or else its bytes. It is never 0.
func (r *KeysRow) Thread() uint64 { return threadOf(r.Keys, r.Blob) }

func threadOf(k mime.Keys, blob int64) uint64 {
	if t := k.Thread(); t != 0 {
		return t
	}
	return uint64(blob)
}

// Thread is KeysRow.Thread of a row that was read with WantKeys.
func (s *Store) Thread(ctx context.Context, m *Mail) (uint64, error) {
	k := m.Keys
	if k == nil {
		var err error
		if k, err = s.makeKeys(ctx, m.Blob); err != nil {
			return 0, fail("thread", err)
		}
	}
	return threadOf(k, m.Blob), nil
}

// keysHead is how much of a header is looked at for Keys.
const keysHead = 256 << 10

// Keys gives the Keys of the entries of p at the indexes (ascending), in that order: from memory, or in few queries. i is the index in p. A row
// lives until the next turn of the iterator only. No message is opened but those from before Keys were kept, as long as theirs are not worked out.
func (s *Store) Keys(ctx context.Context, p *Snapshot, indexes []int) iter.Seq2[int, KeysRow] {
	return func(yield func(int, KeysRow) bool) {
		keep := len(indexes) >= mailCached
		for len(indexes) > 0 {
			key := keysKey{p.mailbox.ID, p.at(indexes[0]).uid / keysBatch}
			n := 1
			for n < len(indexes) && p.at(indexes[n]).uid/keysBatch == key.run {
				n++
			}
			if !s.keysOf(ctx, p, key, indexes[:n], keep, yield) {
				return
			}
			indexes = indexes[n:]
		}
	}
}

// keysOf gives the rows of one batch.
func (s *Store) keysOf(ctx context.Context, p *Snapshot, key keysKey, indexes []int, keep bool, yield func(int, KeysRow) bool) bool {
	b := s.keys.get(key)
	var missing []int
	for k, i := range indexes {
		if b.find(k, p.at(i).uid) == nil {
			missing = append(missing, i)
		}
	}
	if len(missing) > 0 && !keep {
		return s.readKeys(ctx, p, indexes, yield)
	}
	var failed map[int]error
	if len(missing) > 0 {
		uids, rows := make([]uint32, 0, len(missing)), make([]mime.Keys, 0, len(missing))
		failed = map[int]error{}
		s.readKeys(ctx, p, missing, func(i int, r KeysRow) bool {
			if r.Err != nil {
				failed[i] = r.Err
				return true
			}
			uids, rows = append(uids, p.at(i).uid), append(rows, append(mime.Keys(nil), r.Keys...))
			return true
		})
		if len(uids) > 0 {
			b = b.with(key, uids, rows)
			s.keys.put(b)
		}
	}
	for k, i := range indexes {
		e := p.at(i)
		row := KeysRow{Keys: b.find(k, e.uid), Blob: e.blob}
		if row.Keys == nil {
			row.Err = failed[i]
		}
		if !yield(i, row) {
			return false
		}
	}
	return true
}

// readKeys reads rows.
func (s *Store) readKeys(ctx context.Context, p *Snapshot, indexes []int, yield func(int, KeysRow) bool) bool {
	for i, m := range s.Mail(ctx, p, indexes, WantKeys) {
		row := KeysRow{Keys: m.Keys, Blob: p.at(i).blob, Err: m.Err}
		if m.Err == nil && m.Keys == nil {
			row.Keys, row.Err = s.makeKeys(ctx, row.Blob)
			row.Err = fail("keys", row.Err)
		}
		if !yield(i, row) {
			return false
		}
	}
	return true
}

// makeKeys works the Keys of a message out that was stored before they were kept: from its header, which mostly lies in its row.
func (s *Store) makeKeys(ctx context.Context, blob int64) (mime.Keys, error) {
	var head []byte
	if err := s.db.Row(`SELECT head FROM blob WHERE id = ?`, blob).Scan(&head); err != nil {
		return nil, noRows(err)
	}
	if head != nil {
		return keysFrom(head[:min(len(head), keysHead)], len(head) <= keysHead), nil
	}
	b, err := s.openBlob(ctx, blob)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	head = make([]byte, min(b.Size(), keysHead))
	if _, err := b.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	n := 0
	for _, raw := range mime.HeaderFields(head) {
		n += len(raw)
	}
	return keysFrom(head, n < len(head) || int64(n) == b.Size()), nil
}

func keysFrom(head []byte, whole bool) mime.Keys {
	x := mime.NewIndexer(mime.Limits{})
	x.Write(head)
	return mime.AppendKeys(nil, head, whole, x.Finish().Root.Envelope)
}

// previewVersion is the first byte of what is kept of a preview.
const previewVersion = 1

// Preview is the beginning of a message's text (RFC 8970), in at most 200 characters; empty when it has none. It opens the message, which
// Mail.Preview spares for all but those that were stored before previews were kept.
func (s *Store) Preview(ctx context.Context, blob int64) ([]byte, error) {
	p, err := s.makePreview(ctx, blob)
	if err != nil {
		return nil, fail("preview", err)
	}
	return p[1:], nil
}

// makePreview works out what is kept of a preview.
func (s *Store) makePreview(ctx context.Context, blob int64) ([]byte, error) {
	var m Mail
	if err := s.db.Row(`SELECT parts FROM mail WHERE blob = ?`, blob).Scan(&m.index); err != nil {
		return nil, noRows(err)
	}
	x, err := m.Index()
	if err != nil {
		return nil, err
	}
	b, err := s.openBlob(ctx, blob)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	x.ReadDispositions(b)
	return mime.AppendPreview([]byte{previewVersion}, b, x), nil
}
