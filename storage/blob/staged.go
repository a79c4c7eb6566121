package blob

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// errEnded is what using a staged blob after its end gives.
var errEnded = errors.New("blob: staged blob was committed or aborted")

// staged is a blob on its way into a Disk:
//
//	writing --Commit--> committed
//	   |  \--Commit fails--> broken --Abort--> aborted
//	   \----Abort----------------------------> aborted
//
// A crash in writing or broken leaves the staging file.
type staged struct {
	d       *Disk
	key     Key
	f       *os.File
	size    int64
	sum     Sum   // of the first summed bytes
	summed  int64 // <= size
	flushed int64 // the kernel was told to write these to disk
	relaxed bool  // Relax was called
	broken  error // why Commit failed
	ended   bool
}

func newStaged(d *Disk, k Key, f *os.File) *staged {
	return &staged{d: d, key: k, f: f}
}

func (s *staged) Size() int64 { return s.size }

// Relax leaves the time of writing to disk to the kernel.
func (s *staged) Relax() { s.relaxed = true }

// Write appends p.
func (s *staged) Write(p []byte) (int, error) {
	if s.ended {
		return 0, errEnded
	}
	n, err := s.f.Write(p)
	if s.summed == s.size {
		s.sum = s.sum.Add(p[:n])
		s.summed += int64(n)
	}
	s.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("blob: write: %w", err)
	}
	if s.size-s.flushed >= flushStep && !s.relaxed {
		startFlush(s.f, s.flushed, s.size-s.flushed)
		s.flushed = s.size
	}
	return n, nil
}

// ReadFrom appends r to its end, through user space and not by splice: the sum needs the bytes here.
func (s *staged) ReadFrom(r io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	var total int64
	for {
		n, err := r.Read(*buf)
		if n > 0 {
			w, werr := s.Write((*buf)[:n])
			total += int64(w)
			if werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// ReadAt reads what was written so far.
func (s *staged) ReadAt(p []byte, off int64) (int, error) {
	if s.ended {
		return 0, errEnded
	}
	return s.f.ReadAt(p, off)
}

// Truncate cuts to n bytes.
func (s *staged) Truncate(n int64) error {
	switch {
	case s.ended:
		return errEnded
	case n < 0 || n > s.size:
		return fmt.Errorf("blob: truncate to %d of %d bytes", n, s.size)
	case n == s.size:
		return nil
	}
	if err := s.f.Truncate(n); err != nil {
		return fmt.Errorf("blob: truncate: %w", err)
	}
	if _, err := s.f.Seek(n, io.SeekStart); err != nil {
		return fmt.Errorf("blob: truncate: %w", err)
	}
	s.size = n
	s.flushed = min(s.flushed, n)
	if s.summed > n {
		// The sum cannot go back: it begins anew at Commit.
		s.sum = 0
		s.summed = 0
	}
	return nil
}

// Commit makes it durable.
func (s *staged) Commit() (Key, Sum, error) {
	if s.ended {
		return "", 0, errEnded
	}
	if s.broken == nil {
		s.broken = s.commit()
	}
	if s.broken != nil {
		return "", 0, fmt.Errorf("blob: commit: %w", s.broken)
	}
	s.end()
	return s.key, s.sum, nil
}

func (s *staged) commit() error {
	if err := s.finishSum(); err != nil {
		return err
	}
	if !s.relaxed {
		if err := s.f.Sync(); err != nil {
			return err
		}
	}
	return s.d.place(s.key, !s.relaxed)
}

// finishSum reads what was not summed while it was written back from the page cache.
func (s *staged) finishSum() error {
	if s.summed == s.size {
		return nil
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(&adder{&s.sum}, io.NewSectionReader(s.f, s.summed, s.size-s.summed), *buf)
	s.summed += n
	if err == nil && s.summed != s.size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Abort throws it away.
func (s *staged) Abort() error {
	if s.ended {
		return nil
	}
	err := s.d.root.Remove(stagingDir + "/" + string(s.key))
	if errors.Is(err, os.ErrNotExist) && s.broken != nil {
		// The rename was done and what came after it failed: the blob is in place, referred to by nobody.
		err = s.d.root.Remove(s.key.path())
	}
	s.end()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("blob: abort: %w", err)
	}
	return nil
}

func (s *staged) end() {
	s.ended = true
	s.f.Close() // the bytes are fsynced or not wanted: its error tells nothing
	s.d.hold(s.key, false)
}

// adder adds what is written to a sum.
type adder struct{ sum *Sum }

func (a *adder) Write(p []byte) (int, error) {
	*a.sum = a.sum.Add(p)
	return len(p), nil
}
