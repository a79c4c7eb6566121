//go:build !linux

package storage

import "errors"

// diskSpace is not known.
func diskSpace(string) (free, total int64, err error) { return 0, 0, errors.ErrUnsupported }
