package sqldb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lock takes the store's lock, which ends with the process however it ends. The
// file stays: removing it would let two processes lock two files of one name.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "packetboat.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, fmt.Errorf("locking the store: %w", err)
}
