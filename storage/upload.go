package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"sync"
	"syscall"

	"github.com/packetboat/packetboat/storage/blob"
	"github.com/packetboat/packetboat/storage/mime"
	"github.com/packetboat/packetboat/storage/sqldb"
)

// Upload is bytes on their way in. Small ones are held in memory (at most Options.InlineMax), larger ones spill into a staging
// file. It is used by one goroutine, and ends with one of the methods of Store that take it, or with Abort. A Store method that fails leaves the Upload as it is.
//
//	writing --Index, Prepare--> prepared --taken by a method of Store--> ended
//	   |                           |
//	   +---------- Abort ----------+----> ended
type Upload struct {
	s        *Store
	account  int64 // 0: nobody's yet
	reserved int64 // of the account's quota
	credit   int64 // bytes that the account gets back when this is taken
	checked  int64 // size at the last look at the quota

	size   int64
	mem    []byte      // all of it, while staged is nil
	staged blob.Staged // spilled

	indexer *mime.Indexer // of a message that is being written
	mail    bool
	arrival *Arrival      // Arrived was called
	settles *Outcome      // Settles was called
	sentOn  map[int64]int // SentOn was called
	notices []Notice      // Tells was called
	marks   []SieveMark   // Remembers was called
	bare    bool          // mail that goes into no mailbox: its index is not kept
	index   *mime.Index

	relaxed  bool // Relax was called
	look     *Look
	full     bool // a Write found the disk full
	prepared bool
	ended    bool
	key      blob.Key // of the committed file, "" when the bytes are in mem
	sum      blob.Sum
	head     []byte // of a message: its header block if it has at most headMax bytes
	envelope []byte
	struc    []byte
	parts    []byte
	keys     []byte
	preview  []byte
	verdict  []byte      // SetVerdict
	sent     *sent       // SentBy
	parked   *parked     // set: mem, head, envelope, struc, parts, keys and preview lie elsewhere
	reader   blob.Reader // for ReadAt after Prepare
}

// headMax is how large a header block may be to be kept beside the index.
const headMax = 64 << 10

// checkStep is how many bytes come in between two looks at the quota.
const checkStep = 1 << 20

var errEnded = errors.New("the upload has ended")

// NewUpload begins an upload for an account (0: not known yet, e.g. SMTP DATA for several). expect is the announced size or -1; ErrQuota at once
// when it cannot fit; the reservation lives until the Upload ends. While bytes come in, quota is checked from time to time so that one
// that can never fit is cut early; the exact check is in the transaction.
func (s *Store) NewUpload(ctx context.Context, account int64, expect int64) (*Upload, error) {
	u, err := s.newUpload(account, expect, 0, 0)
	return u, fail("upload", err)
}

// NewMail is NewUpload for a message: it is indexed while it is written.
func (s *Store) NewMail(ctx context.Context, account int64, expect int64) (*Upload, error) {
	return s.NewReplacement(ctx, account, expect, 0)
}

// NewReplacement is NewMail for Replace: credit is how many bytes the message has that will go.
func (s *Store) NewReplacement(ctx context.Context, account, expect, credit int64) (*Upload, error) {
	u, err := s.newUpload(account, expect, credit, 0)
	if err != nil {
		return nil, fail("upload", err)
	}
	u.mail, u.indexer = true, mime.NewIndexer(mime.Limits{})
	return u, nil
}

// NewFile is NewUpload for PutFile of parent/name: what it will replace there, file and partial upload, counts as free. With fresh it is for PutNewFile, which
// replaces a partial upload alone: what else may be there changes nothing. ErrEntries at once when there is nothing to replace and no room for one more.
func (s *Store) NewFile(ctx context.Context, account, parent int64, name string, expect int64, fresh bool) (*Upload, error) {
	credit, there, err := s.replaced(account, parent, name, fresh)
	if err != nil {
		return nil, fail("upload", err)
	}
	adds := 1
	if there {
		adds = 0
	}
	u, err := s.newUpload(account, expect, credit, adds)
	return u, fail("upload", err)
}

// replaced is what the account gets back when parent/name is written, and whether there is anything; fresh: of a partial upload alone.
func (s *Store) replaced(account, parent int64, name string, fresh bool) (n int64, there bool, err error) {
	const part = `SELECT size FROM partial WHERE parent = ?1 AND name = ?3 AND account = ?2`
	const both = part + ` UNION ALL SELECT size FROM node WHERE parent = ?1 AND name = ?3 AND account = ?2 AND kind = 3`
	query := both
	if fresh {
		query = part
	}
	err = s.db.ScanText(query, []int64{parent, account}, []string{name}, func(r *sqldb.Row) bool {
		n += r.Int(0)
		there = true
		return true
	})
	return n, there, err
}

// newUpload begins an upload that takes the place of credit bytes and will add so many entries.
func (s *Store) newUpload(account, expect, credit int64, adds int) (*Upload, error) {
	u := &Upload{s: s, account: account, credit: credit}
	if account == 0 {
		return u, nil
	}
	if err := s.reserve(u, max(expect, 0), adds); err != nil {
		return nil, err
	}
	if expect > 0 {
		u.mem = make([]byte, 0, min(expect, int64(s.o.InlineMax)))
	}
	return u, nil
}

// reserve sets bytes of the account's quota aside, and checks that there is room for entries.
func (s *Store) reserve(u *Upload, n int64, adds int) error {
	quota, usage, err := s.quota(u.account)
	if err == nil {
		err = s.mayAdd(adds, &usage)
	}
	if err != nil {
		return err
	}
	used := usage.Bytes
	s.mu.Lock()
	defer s.mu.Unlock()
	if quota > 0 && (n > 0 || used-u.credit > quota) && n > quota-(used-u.credit)-s.reserved[u.account] {
		return ErrQuota
	}
	// Without a quota what is announced, which may be any number, is not added up.
	if n > 0 && quota > 0 {
		s.reserved[u.account] += n
		u.reserved = n
	}
	return nil
}

// quota is that of an account in bytes, and what it uses.
func (s *Store) quota(account int64) (quota int64, used Usage, err error) {
	there := false
	err = s.db.Scan(`SELECT quota, bytes, messages, files, entries FROM account WHERE id = ?`, []int64{account}, func(r *sqldb.Row) bool {
		quota, used, there = r.Int(0), Usage{r.Int(1), r.Int(2), r.Int(3), r.Int(4)}, true
		return false
	})
	if err == nil && !there {
		err = fs.ErrNotExist
	}
	if err != nil {
		return 0, Usage{}, fmt.Errorf("account: %w", err)
	}
	return quota, used, nil
}

// check cuts an upload that can never fit.
func (u *Upload) check() error {
	if u.size-u.checked < checkStep {
		return nil
	}
	u.checked = u.size
	if err := u.s.room(u.staged == nil); err != nil {
		u.full = true
		return err
	}
	if u.account == 0 {
		return nil
	}
	quota, used, err := u.s.quota(u.account)
	if err != nil {
		return err
	}
	if quota > 0 && u.size > quota-used.Bytes+u.credit {
		return ErrQuota
	}
	return nil
}

// Relax gives durability up for speed: neither Prepare nor PutFile waits for the disk. What was answered survives the end of the process, but not
// always that of the machine, after which the file may be missing or damaged (ErrDamaged); the database itself stays whole. Before Prepare.
func (u *Upload) Relax() {
	u.relaxed = true
	if u.staged != nil {
		u.staged.Relax()
	}
}

// Grow makes room for about so many bytes before the first of them is written: less is as well, and what is too much for memory changes nothing.
func (u *Upload) Grow(n int64) {
	if u.staged == nil && u.mem == nil && n > 0 && n <= int64(u.s.o.InlineMax) {
		u.mem = make([]byte, 0, n)
	}
}

// Write adds bytes. ErrQuota, ErrTemporary (disk full).
func (u *Upload) Write(p []byte) (int, error) {
	n, err := u.write(p)
	return n, fail("upload", err)
}

func (u *Upload) write(p []byte) (int, error) {
	if u.prepared || u.ended || u.index != nil {
		return 0, errEnded
	}
	if u.staged == nil && len(u.mem)+len(p) > u.s.o.InlineMax {
		if err := u.spill(); err != nil {
			return 0, err
		}
	}
	n := len(p)
	if u.staged == nil {
		u.mem = append(u.mem, p...)
	} else if k, err := u.staged.Write(p); err != nil {
		u.size += int64(k)
		u.full = isFull(err)
		return k, err
	}
	if u.indexer != nil {
		u.indexer.Write(p)
	}
	u.size += int64(n)
	return n, u.check()
}

// spill moves what is in memory into a staging file.
func (u *Upload) spill() error {
	st, err := u.s.blobs.Stage(context.Background())
	if err != nil {
		return err
	}
	if u.relaxed {
		st.Relax()
	}
	if _, err := st.Write(u.mem); err != nil {
		st.Abort()
		return err
	}
	u.staged, u.mem = st, nil
	return nil
}

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// ReadFrom reads until the end of r, in the large pieces of the blob store once it is spilled.
func (u *Upload) ReadFrom(r io.Reader) (total int64, err error) {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		if u.staged != nil && !u.mail && !u.prepared && !u.ended {
			n, err := u.readStaged(r)
			return total + n, fail("upload", err)
		}
		n, rerr := r.Read(buf[:])
		if n > 0 {
			k, err := u.write(buf[:n])
			total += int64(k)
			if err != nil {
				return total, fail("upload", err)
			}
		}
		switch {
		case rerr == io.EOF:
			return total, nil
		case rerr != nil:
			return total, rerr
		}
	}
}

// readStaged lets the staging file read, in pieces between which the quota is looked at.
func (u *Upload) readStaged(r io.Reader) (total int64, err error) {
	for {
		n, err := u.staged.ReadFrom(io.LimitReader(r, 4*checkStep))
		total += n
		u.size += n
		if err != nil {
			u.full = isFull(err)
			return total, err
		}
		if n == 0 {
			return total, nil
		}
		if err := u.check(); err != nil {
			return total, err
		}
	}
}

// truncate keeps the first n bytes of what was written, before Prepare.
func (u *Upload) truncate(n int64) error {
	switch {
	case n >= u.size || u.prepared:
		return nil
	case u.mail:
		return fmt.Errorf("%w: a message is not cut", ErrInvalid)
	case u.staged == nil:
		u.mem = u.mem[:n]
	default:
		if err := u.staged.Truncate(n); err != nil {
			return err
		}
	}
	u.size = n
	return nil
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// ReadAt reads what was written so far.
func (u *Upload) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case u.ended:
		return 0, errEnded
	case off < 0:
		return 0, fmt.Errorf("%w: negative offset", ErrInvalid)
	case u.key != "":
		if u.reader == nil {
			r, err := u.s.blobs.Open(context.Background(), u.key)
			if err != nil {
				return 0, fail("upload", err)
			}
			u.reader = r
		}
		return u.reader.ReadAt(p, off)
	case u.staged != nil:
		return u.staged.ReadAt(p, off)
	case off >= int64(len(u.mem)):
		return 0, io.EOF
	}
	n := copy(p, u.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Size is how many bytes were written.
func (u *Upload) Size() int64 { return u.size }

// Index is the index of a NewMail upload; it ends the writing. nil for an upload that is no mail.
func (u *Upload) Index() *mime.Index {
	if u.index == nil && u.indexer != nil {
		u.index = u.indexer.Finish()
		u.indexer = nil
	}
	return u.index
}

// Prepare makes the bytes durable (fsync) without making them visible, so that the transaction that follows is short. Optional; the Store methods call it.
func (u *Upload) Prepare(ctx context.Context) error {
	if u.ended {
		return fail("upload", errEnded)
	}
	if u.prepared {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fail("upload", u.prepare())
}

func (u *Upload) prepare() error {
	if err := u.s.room(u.staged == nil); err != nil {
		return err
	}
	if u.mail {
		if u.size > math.MaxUint32 {
			return fmt.Errorf("%w: a message must be smaller than 4 GiB", ErrLimit)
		}
		if err := u.render(); err != nil {
			return err
		}
	}
	if u.staged == nil {
		u.sum = blob.SumOf(u.mem)
		u.prepared = true
		return nil
	}
	key, sum, err := u.staged.Commit()
	if err != nil {
		return err
	}
	u.key, u.sum, u.prepared = key, sum, true
	u.s.hold(key)
	return nil
}

// render makes what is kept beside the message.
func (u *Upload) render() error {
	x := u.Index()
	n := x.Root.BodyOffset
	var head []byte
	var r io.ReaderAt = u.staged
	if u.staged == nil {
		u.head = u.mem[:n]
		head, r = u.head[:min(n, keysHead)], bytes.NewReader(u.mem)
	} else {
		head = make([]byte, min(n, keysHead))
		if _, err := u.staged.ReadAt(head, 0); err != nil && !(err == io.EOF && int64(len(head)) == u.size) {
			return err
		}
		if n <= headMax {
			u.head = head
		}
	}
	// One allocation for all that is small, as it mostly is.
	b := make([]byte, 0, renderedBytes)
	rendered := func(all []byte) []byte {
		from := len(b)
		b = all
		return all[from:len(all):len(all)]
	}
	u.envelope = rendered(x.AppendEnvelope(b))
	u.struc = rendered(x.AppendStructure(b))
	all, err := x.AppendBinary(b)
	if err != nil {
		return err
	}
	u.parts = rendered(all)
	u.keys = rendered(mime.AppendKeys(b, head, n <= keysHead, x.Root.Envelope))
	u.preview = rendered(mime.AppendPreview(append(b, previewVersion), r, x))
	return nil
}

// renderedBytes is more than most messages need.
const renderedBytes = 1280

// hold keeps a blob without a row from the sweeper.
func (s *Store) hold(k blob.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding[k] = struct{}{}
}

// Abort gives everything back. After the upload was taken it does nothing: defer it.
func (u *Upload) Abort() {
	if u == nil || u.ended {
		return
	}
	switch {
	case u.key != "":
		if err := u.s.blobs.Delete(context.Background(), u.key); err != nil {
			u.s.log.Warn("an aborted upload's blob is left to the sweeper", "error", err)
		}
	case u.staged != nil:
		if err := u.staged.Abort(); err != nil {
			u.s.log.Warn("an aborted upload's staging file is left to the sweeper", "error", err)
		}
	}
	u.end()
}

// taken ends the upload after its rows were committed.
func (u *Upload) taken() { u.end() }

func (u *Upload) end() {
	u.ended = true
	if u.reader != nil {
		u.reader.Close()
	}
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	if u.key != "" {
		delete(u.s.holding, u.key)
	}
	if u.reserved > 0 {
		if u.s.reserved[u.account] -= u.reserved; u.s.reserved[u.account] <= 0 {
			delete(u.s.reserved, u.account)
		}
	}
	u.mem, u.head, u.envelope, u.struc, u.parts, u.keys, u.preview, u.index, u.parked = nil, nil, nil, nil, nil, nil, nil, nil, nil
}
