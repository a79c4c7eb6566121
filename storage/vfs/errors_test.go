package vfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/packetboat/packetboat/storage"
)

// Each kind stays what it is, and nothing of the host shows.
func TestFail(t *testing.T) {
	host := &fs.PathError{Op: "open", Path: "/var/lib/secret/blobs/ab/X", Err: syscall.EACCES}
	tests := []struct {
		err, kind error
		text      string
	}{
		{fs.ErrNotExist, fs.ErrNotExist, "op /p: file does not exist"},
		{fmt.Errorf("storage: walk: %w", fs.ErrNotExist), fs.ErrNotExist, "op /p: file does not exist"},
		{&fs.PathError{Op: "open", Path: "/var/lib/secret", Err: syscall.ENOENT}, fs.ErrNotExist, "op /p: file does not exist"},
		{fmt.Errorf("storage: put: %w", fs.ErrExist), fs.ErrExist, "op /p: file already exists"},
		{fmt.Errorf("storage: upload: %w", storage.ErrQuota), storage.ErrQuota, "op /p: over quota"},
		{fmt.Errorf("storage: flags: %w", storage.ErrConflict), storage.ErrConflict, "op /p: " + storage.ErrConflict.Error()},
		{fmt.Errorf("%w: %w", storage.ErrTemporary, host), storage.ErrTemporary, "op /p: temporary failure"},
		{fmt.Errorf("%w: %w", storage.ErrTemporary, syscall.ENOSPC), syscall.ENOSPC, "op /p: temporary failure"},
		{fmt.Errorf("storage: remove: %w: not empty", fs.ErrPermission), fs.ErrPermission, "op /p: storage: remove: permission denied: not empty"},
		{fmt.Errorf("%w: too long", storage.ErrInvalid), storage.ErrInvalid, "op /p: invalid name: too long"},
		{storage.ErrLimit, storage.ErrLimit, "op /p: limit reached"},
		{context.Canceled, context.Canceled, "op /p: context canceled"},
		{errMoveOut, fs.ErrPermission, "op /p: " + errMoveOut.text},
		{fmt.Errorf("wrapped: %w", errMoveOut), fs.ErrPermission, "op /p: " + errMoveOut.text},
		{host, syscall.EACCES, "op /p: internal failure"},
		{&os.LinkError{Op: "rename", Old: "/var/lib/secret", New: "x", Err: syscall.EROFS}, syscall.EROFS, "op /p: internal failure"},
		{os.NewSyscallError("fsync /var/lib/secret", syscall.EIO), syscall.EIO, "op /p: internal failure"},
		{errors.New("no such table: secret"), nil, "op /p: internal failure"},
		{&fault{host}, syscall.EACCES, "op /p: internal failure"},
	}
	for _, tt := range tests {
		got := fail("op", "/p", tt.err)
		if got.Error() != tt.text || tt.kind != nil && !errors.Is(got, tt.kind) || strings.Contains(got.Error(), "secret") {
			t.Errorf("%v became %v", tt.err, got)
		}
	}
	if fail("op", "/p", nil) != nil {
		t.Error("an error of nothing")
	}
	got := fail("op", "/a\r\n250 ok\x00\xff\u2028"+strings.Repeat("x", 5000), fs.ErrNotExist).Error()
	if len(got) > 4200 || strings.ContainsAny(got, "\r\n\x00\u2028") {
		t.Errorf("%.60q", got)
	}
}
