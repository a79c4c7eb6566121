package storage

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/packetboat/packetboat/storage/blob"
	"github.com/packetboat/packetboat/storage/sqldb"
)

// putBlob adds the rows of an upload's bytes, with one reference to them. 0 for a file without any.
func (t *tx) putBlob(u *Upload) (int64, error) {
	if !u.prepared || u.ended {
		return 0, errEnded
	}
	if u.size == 0 && !u.mail {
		return 0, nil
	}
	if u.parked != nil {
		// The rows are what is in memory while they are written.
		var err error
		if u, err = u.fetched(); err != nil {
			return 0, err
		}
	}
	id, err := t.newID()
	if err != nil {
		return 0, err
	}
	var key, head, data any
	if u.key != "" {
		key = string(u.key)
		if u.head != nil {
			head = u.head
		}
	} else {
		if u.mail {
			head = u.head
		}
		data = u.mem[len(u.head):]
	}
	// hash: 4 bytes are a blob.Sum, big-endian; older rows have 32 bytes, SHA-256.
	sum := binary.BigEndian.AppendUint32(nil, uint32(u.sum))
	if err := t.exec(`INSERT INTO blob (id, key, size, hash, head, data) VALUES (?, ?, ?, ?, ?, ?)`, id, key, u.size, sum, head, data); err != nil {
		return 0, err
	}
	if u.mail && !u.bare {
		t.mails++
		t.mailBytes += min(u.size, textPart)
		err = t.exec(`INSERT INTO mail (blob, envelope, structure, parts, keys, preview, verdict) VALUES (?, ?, ?, ?, ?, ?, ?)`, id, u.envelope, u.struc, u.parts, u.keys, u.preview, u.verdict)
	}
	return id, err
}

// share adds n references to a blob.
func (t *tx) share(blob, n int64) error {
	return t.exec(`INSERT INTO blob_shared (blob, more) VALUES (?, ?) ON CONFLICT (blob) DO UPDATE SET more = blob_shared.more + excluded.more`, blob, n)
}

// release gives one reference back. A blob with none left is the sweeper's.
func (t *tx) release(blob int64) error {
	if blob == 0 {
		return nil
	}
	var more int64
	err := t.db.Row(`SELECT more FROM blob_shared WHERE blob = ?`, blob).Scan(&more)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return t.exec(`INSERT INTO garbage (blob, since) VALUES (?, ?)`, blob, t.now())
	case err != nil:
		return err
	case more <= 1:
		return t.exec(`DELETE FROM blob_shared WHERE blob = ?`, blob)
	}
	return t.exec(`UPDATE blob_shared SET more = more - 1 WHERE blob = ?`, blob)
}

// Body is an open blob, of a row or of a file. WriteTo and WriteRange use sendfile where they can.
type Body interface {
	io.ReaderAt
	io.ReadSeeker
	io.WriterTo
	io.Closer
	Size() int64
	WriteRange(w io.Writer, off, n int64) (int64, error)
}

// OpenBlob opens the bytes of a file (Node.Blob) or message (Entry.Blob). Blob 0 is empty. fs.ErrNotExist; ErrTemporary when its file is damaged.
func (s *Store) OpenBlob(ctx context.Context, id int64) (Body, error) {
	b, err := s.openBlob(ctx, id)
	if err != nil {
		return nil, fail("open blob", err)
	}
	return b, nil
}

func (s *Store) openBlob(ctx context.Context, id int64) (Body, error) {
	if id == 0 {
		return newMemory(nil), nil
	}
	var size int64
	var key, all []byte
	there := false
	err := s.db.Scan(`SELECT key, size, head, data FROM blob WHERE id = ?`, []int64{id}, func(r *sqldb.Row) bool {
		there, size = true, r.Int(1)
		if key = bytes.Clone(r.Bytes(0)); key == nil {
			head, data := r.Bytes(2), r.Bytes(3)
			all = append(append(rowBuffer(len(head)+len(data)), head...), data...)
		}
		return true
	})
	switch {
	case err != nil:
		return nil, err
	case !there:
		return nil, fs.ErrNotExist
	case key != nil:
		return s.openFile(ctx, id, blob.Key(key), size)
	}
	return newMemory(all), nil
}

// openFile opens the file of a blob. One that is missing while its row is there is damage that an administrator may repair from a backup:
// a temporary failure, and never fs.ErrNotExist, on which clients would forget their own copies.
func (s *Store) openFile(ctx context.Context, id int64, key blob.Key, size int64) (Body, error) {
	r, err := s.blobs.Open(ctx, key)
	switch {
	case err == nil && r.Size() == size:
		return r, nil
	case err == nil:
		err = fmt.Errorf("it has %d bytes, not %d", r.Size(), size)
		r.Close()
	case !isNotExist(err):
		return nil, err
	}
	// The sweeper removes the row first.
	var there bool
	if err := s.db.Row(`SELECT EXISTS (SELECT 1 FROM blob WHERE id = ?)`, id).Scan(&there); err != nil {
		return nil, err
	}
	if !there {
		return nil, fs.ErrNotExist
	}
	s.log.Error("the file of a blob is damaged or missing; restore it from a backup", "blob", id, "key", string(key), "error", err)
	// Temporary too: a backup has it.
	return nil, fmt.Errorf("%w: %w: the file of blob %d: %v", ErrTemporary, ErrDamaged, id, err)
}

// memory is the Body of a blob that is a row.
type memory struct {
	bytes.Reader
	all []byte
}

func newMemory(b []byte) *memory {
	m := &memory{all: b}
	m.Reset(b)
	return m
}

// Buffers for blobs that are rows, which otherwise are most of the garbage of who reads many of them. A Body that nobody closes keeps its own.
const (
	rowBufferMin  = 32 << 10 // what is smaller is as soon made anew, and would hold too much
	rowBufferSize = 128 << 10
)

var rowBuffers = sync.Pool{New: func() any { return new([rowBufferSize]byte) }}

// rowBuffer is an empty buffer with room for n bytes.
func rowBuffer(n int) []byte {
	if n < rowBufferMin || n > rowBufferSize {
		return make([]byte, 0, n)
	}
	return rowBuffers.Get().(*[rowBufferSize]byte)[:0]
}

// Close gives the buffer back: nothing can be read any more.
func (m *memory) Close() error {
	if cap(m.all) == rowBufferSize {
		rowBuffers.Put((*[rowBufferSize]byte)(m.all[:rowBufferSize]))
	}
	m.all = nil
	m.Reset(nil)
	return nil
}

// WriteRange writes n bytes from off to w.
func (m *memory) WriteRange(w io.Writer, off, n int64) (int64, error) {
	if off < 0 || n < 0 || off > int64(len(m.all)) || n > int64(len(m.all))-off {
		return 0, fmt.Errorf("%w: range outside of the blob", ErrInvalid)
	}
	k, err := w.Write(m.all[off : off+n])
	return int64(k), err
}
