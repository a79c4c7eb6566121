package textindex

import (
	"errors"
	"fmt"
)

// ErrNoRoom is that the disk is so full that what is left belongs to others. The index is as it was.
var ErrNoRoom = errors.New("the disk is nearly full")

// What of a disk the index leaves to others: a share, within bounds.
const (
	leftShare = 20
	leftMin   = 16 << 20
	leftMax   = 1 << 30
)

// Room tells whether need more bytes may be written: ErrNoRoom if not. An index can be built again and mail cannot be sent again, so the index is
// never what fills the disk.
func (x *Index) Room(need int64) error {
	free, total, ok := x.space(x.dir)
	if left := min(max(total/leftShare, leftMin), leftMax); ok && free-need < left {
		return fmt.Errorf("text index: %w: %d MiB are free, %d MiB of them are left to others", ErrNoRoom, free>>20, left>>20)
	}
	return nil
}
