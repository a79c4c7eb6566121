//go:build !linux

package vfs

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// renameNoReplace is not one step here.
func renameNoReplace(int, string, int, string) error { return unix.ENOSYS }

func startFlush(int, int64, int64) {}

// freeSpace is not known.
func freeSpace(int) (int64, error) { return 0, fs.ErrInvalid }
