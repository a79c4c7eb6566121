package storage

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// reserveName is a file that only takes room. When the disk is full to the last byte, which others than this store have filled, it goes, so that the database can write down what
// was sent or removed a while longer: what was sent and is not written down is sent again after a crash. It comes back when there is room again.
const reserveName = "reserve"

// giveReserve removes the file; false when there is none.
func (s *Store) giveReserve() bool {
	err := os.Remove(filepath.Join(s.dir, reserveName))
	if err == nil {
		s.log.Error("the disk is full: the database takes the room that was kept for it", "bytes", s.o.Reserve)
	}
	return err == nil
}

// keepReserve makes the file if there is none, and so much room that it takes none from others: of a small disk less than of a large one.
func (s *Store) keepReserve() error {
	if s.o.Reserve <= 0 {
		return nil
	}
	name := filepath.Join(s.dir, reserveName)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	free, total, err := s.disk(s.dir)
	size := min(s.o.Reserve, total/32)
	if err != nil || free < min(spareMax, total/8)+2*size {
		return nil
	}
	if err := fillFile(name+".new", size); err != nil {
		os.Remove(name + ".new")
		return fmt.Errorf("reserve: %w", err)
	}
	return os.Rename(name+".new", name)
}

// fillFile writes bytes that no file system can make fewer of.
func fillFile(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for size > 0 && err == nil {
		rand.Read(block)
		var n int
		n, err = f.Write(block[:min(size, int64(len(block)))])
		size -= int64(n)
	}
	return errors.Join(err, f.Close())
}
