package smtp

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/packetboat/packetboat/storage"
)

const (
	// spoolBlock is a piece of the memory of spools; spoolBlocks are as many as one may hold. What is larger goes to an
	// upload of the store, which keeps the next Options.InlineMax bytes in memory and then all of its own in a staging file.
	spoolBlock  = 32 << 10
	spoolBlocks = 4
)

var spoolBlockPool = sync.Pool{New: func() any { return new([spoolBlock]byte) }}

// spool is the body of a message that is judged before it is written: what stands in front of it in the mailbox is known
// last. It belongs to one goroutine until it is complete; then any number may ReadAt. close it on every path: a
// staging file that a crash leaves is the store's to sweep.
type spool struct {
	store  *storage.Store
	blocks []*[spoolBlock]byte
	size   int64
	over   *storage.Upload // what comes behind the blocks; nil: nothing
}

// ReadFrom reads all of r.
func (s *spool) ReadFrom(r io.Reader) (total int64, err error) {
	for s.over == nil {
		p, err := s.room()
		if err != nil {
			return total, err
		}
		if p == nil {
			break
		}
		n, err := r.Read(p)
		s.size += int64(n)
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
	n, err := s.over.ReadFrom(r)
	s.size += n
	return total + n, err
}

// Write adds bytes.
func (s *spool) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		p, err := s.room()
		if err != nil {
			return n, err
		}
		var k int
		if p != nil {
			k = copy(p, b)
		} else if k, err = s.over.Write(b); err != nil {
			return n, err
		}
		s.size += int64(k)
		n += k
		b = b[k:]
	}
	return n, nil
}

// room is where the next bytes go; nil: to over.
func (s *spool) room() ([]byte, error) {
	used := int(s.size % spoolBlock)
	switch {
	case s.over != nil:
		return nil, nil
	case used > 0 || s.size < int64(len(s.blocks))*spoolBlock:
		return s.blocks[len(s.blocks)-1][used:], nil
	case len(s.blocks) < spoolBlocks:
		s.blocks = append(s.blocks, spoolBlockPool.Get().(*[spoolBlock]byte))
		return s.blocks[len(s.blocks)-1][:], nil
	}
	var err error
	s.over, err = s.store.NewUpload(context.Background(), 0, -1)
	return nil, err
}

// Size is how many bytes there are.
func (s *spool) Size() int64 { return s.size }

// ReadAt implements io.ReaderAt.
func (s *spool) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= s.size {
			return n, io.EOF
		}
		if i := at / spoolBlock; i < int64(len(s.blocks)) {
			block := s.blocks[i][:min(spoolBlock, s.size-i*spoolBlock)]
			n += copy(p[n:], block[at%spoolBlock:])
			continue
		}
		k, err := s.over.ReadAt(p[n:], at-int64(len(s.blocks))*spoolBlock)
		n += k
		if k == 0 && err == nil {
			err = io.ErrNoProgress
		}
		if err != nil && n < len(p) {
			return n, err
		}
	}
	return n, nil
}

// WriteTo writes all to w.
func (s *spool) WriteTo(w io.Writer) (total int64, err error) {
	for i, b := range s.blocks {
		n, err := w.Write(b[:min(spoolBlock, s.size-int64(i)*spoolBlock)])
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	if s.over == nil {
		return total, nil
	}
	n, err := io.Copy(w, io.NewSectionReader(s.over, 0, s.over.Size()))
	return total + n, err
}

// close gives memory and staging file back. A second call does nothing.
func (s *spool) close() {
	for _, b := range s.blocks {
		spoolBlockPool.Put(b)
	}
	if s.over != nil {
		s.over.Abort()
	}
	s.blocks, s.over, s.size = nil, nil, 0
}
