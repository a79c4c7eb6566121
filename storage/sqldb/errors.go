package sqldb

import (
	"errors"
	"fmt"
	"syscall"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// The errors of Open.
var (
	ErrLocked = errors.New("the store is open in another process")
	ErrNewer  = errors.New("the database was written by a newer version of this program")
)

// errDamaged says what can be done about a database that cannot be read.
var errDamaged = errors.New("the database is damaged; restore packetboat.db from a backup (without packetboat.db-wal and packetboat.db-shm, unless the backup has them)")

// Damaged tells whether err is that the database holds what it should not.
func Damaged(err error) bool {
	switch code(err) & 0xff {
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return true
	}
	return false
}

// explain adds to an error what its reader can do.
func explain(err error) error {
	if Damaged(err) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return diskFull(err)
}

func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	if e, ok := errors.AsType[*scanError](err); ok {
		return e.code
	}
	return 0
}

// Temporary tells whether err is the machine's trouble (disk full or read-only, input or output failed, busy) rather than the statement's.
func Temporary(err error) bool {
	switch code(err) & 0xff {
	case lib.SQLITE_FULL, lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_IOERR, lib.SQLITE_NOMEM, lib.SQLITE_CANTOPEN, lib.SQLITE_PROTOCOL,
		lib.SQLITE_READONLY:
		return true
	}
	return false
}

// diskFull makes an error of a full disk one that is syscall.ENOSPC too, as it is when a file could not be written. The first thing that needs room when a
// database is opened is the log's shared memory.
func diskFull(err error) error {
	if c := code(err); c&0xff == lib.SQLITE_FULL || c == lib.SQLITE_IOERR_SHMSIZE {
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return err
}

// Duplicate tells whether err is a row that is there already.
func Duplicate(err error) bool {
	switch code(err) {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY:
		return true
	}
	return false
}
