package vfs_test

import (
	"io/fs"
	"testing"

	"github.com/packetboat/packetboat/storage"
)

// TestCopy: files are copied by name; folders, mail and what is forbidden are not.
func TestCopy(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "one")
	h.ok(h.Mkdir(h.ctx(), "/d"))
	h.ok(h.Copy(h.ctx(), "/a", "/d/b"))
	h.put("/a", "two")
	if got := h.get("/d/b"); got != "one" {
		t.Errorf("%q", got)
	}
	h.ok(h.Copy(h.ctx(), "/a", "/d/b")) // replaces
	h.ok(h.Copy(h.ctx(), "/a", "/a"))
	if got := h.get("/d/b") + h.get("/a"); got != "twotwo" {
		t.Errorf("%q", got)
	}
	h.put("/Mail/INBOX/x.eml", letter("hello", "Mon, 01 Jan 2024 10:00:00 +0000"))
	for _, tt := range []struct {
		from, to string
		kind     error
	}{
		{"/missing", "/c", fs.ErrNotExist}, {"/a", "/missing/c", fs.ErrNotExist}, {"/d", "/c", fs.ErrInvalid}, {"/a", "/d", fs.ErrExist},
		{"/a", "/", fs.ErrExist}, {"/a", "/Mail/INBOX/c.eml", storage.ErrInvalid}, {"/Mail/INBOX/x.eml", "/c", storage.ErrInvalid}, {"/a", "/Mail", storage.ErrInvalid},
	} {
		h.refused(h.Copy(h.ctx(), tt.from, tt.to), tt.kind, tt.to)
	}
}
