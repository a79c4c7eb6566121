package storage

import (
	"fmt"
	"syscall"
)

// spareMax is how much of a disk uploads leave free, an eighth of a small one. The database's log grows by what is removed, too: on a disk that is full to the last byte
// nothing could be deleted any more, and no bytes be swept. It is more than twice what the log holds before it is written back.
const spareMax = 40 << 20

// smallDisk has no room to spare for a long log.
const smallDisk = 1 << 30

// room is an error when what is left of the disk is for the database alone: ENOSPC, which is ErrTemporary. What goes into the database (inline) may use what was removed
// there, which the disk does not get back.
func (s *Store) room(inline bool) error {
	free, total, err := s.disk(s.dir)
	spare := min(spareMax, total/8)
	if err != nil || free >= spare {
		return nil // where it is not known, the disk tells itself
	}
	if inline {
		var pages, size int64
		err := s.db.Row(`SELECT f.freelist_count, p.page_size FROM pragma_freelist_count AS f, pragma_page_size AS p`).Scan(&pages, &size)
		if err != nil {
			return err
		}
		if free+pages*size >= spare {
			return nil
		}
	}
	return fmt.Errorf("what is left of the disk is kept for the database: %w", syscall.ENOSPC)
}
