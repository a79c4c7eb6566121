package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
)

func TestParsePathRights(t *testing.T) {
	for _, c := range []struct {
		in, out string
		want    PathRights
	}{
		{"full", "full", CanAll},
		{"read", "read", CanList | CanDownload},
		{"drop", "drop", CanUpload},
		{"none", "none", 0},
		{"list", "list", CanList},
		{"LIST, download", "read", CanList | CanDownload},
		{"upload", "drop", CanUpload},
		{"drop,mkdir", "upload,mkdir", CanUpload | CanMkdir},
		{"read,none", "read", CanList | CanDownload},
		{"list,download,upload,overwrite,delete,rename,mkdir", "full", CanAll},
		{"mkdir,rename,delete", "delete,rename,mkdir", CanDelete | CanRename | CanMkdir},
	} {
		got, err := ParsePathRights(c.in)
		if err != nil || got != c.want || got.String() != c.out {
			t.Errorf("%q: %v %v, %v", c.in, got, c.want, err)
		}
	}
	for _, bad := range []string{"", "all", "list,", "r", "list download", "full;none", "-1"} {
		if got, err := ParsePathRights(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
	for r := PathRights(0); r <= CanAll; r++ {
		if got, err := ParsePathRights(r.String()); err != nil || got != r {
			t.Errorf("%d is written %q and read %d, %v", r, r, got, err)
		}
	}
}

func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "/a": "/a", "/a/": "/a", "/a/b": "/a/b", "/Mail/inbox/x": "/Mail/INBOX/x", "/x/inbox": "/x/inbox", "/mail/inbox": "/mail/inbox",
		"/e\u0301": "/\u00e9", "/a b": "/a b",
	} {
		if got, err := CleanPath(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "a", "//", "/a//b", "/..", "/a/../b", "/a/.", "/a\n", "/\xff", "/a//", strings.Repeat("/a", MaxDepth+1), "/" + strings.Repeat("a", 256)} {
		if got, err := CleanPath(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}

func TestAccess(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ann := newAccount(t, s, "ann@example.test", 0)
	get := func() *Access {
		t.Helper()
		a, err := s.Access(t.Context(), ann.ID)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := get(); a.Ruled() || a.Jail != "/" || a.At("/x/y") != CanAll || a.Below("/") != nil {
		t.Errorf("%+v", a)
	}
	for path, r := range map[string]PathRights{"/": CanList, "/a": CanUpload, "/a/b": 0, "/a b": CanDelete, "/a0": CanMkdir, "/a/b/c": CanAll} {
		if err := s.SetPathRights(t.Context(), ann.ID, path, r); err != nil {
			t.Fatal(err)
		}
	}
	a := get()
	for path, want := range map[string]PathRights{
		"/": CanList, "/x": CanList, "/a": CanUpload, "/a/x": CanUpload, "/a/b": 0, "/a/b/x": 0, "/a/b/c": CanAll, "/a/b/c/d/e": CanAll, "/a/b/cc": 0,
		"/a b/c": CanDelete, "/a0/1": CanMkdir, "/A": CanList, "/aa": CanList,
	} {
		if got := a.At(path); got != want {
			t.Errorf("rights on %s: %v, want %v", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"/": "/a /a b /a/b /a/b/c /a0", "/a": "/a/b /a/b/c", "/a/b": "/a/b/c", "/a/b/c": "", "/a b": "", "/a0": "", "/zz": "", "/A": "",
	} {
		var got []string
		for _, r := range a.Below(path) {
			got = append(got, r.Path)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("below %s: %q, want %q", path, got, want)
		}
	}
	if !a.Has("/a/b") || a.Has("/a/x") {
		t.Error("Has is wrong")
	}
	if err := s.SetJail(t.Context(), ann.ID, "/a/"); err != nil || get().Jail != "/a" || a.Jail != "/" {
		t.Error(err, get())
	}
	if err := s.DropPathRights(t.Context(), ann.ID, "/a/b"); err != nil || get().At("/a/b") != CanUpload {
		t.Error(err, get())
	}
	if err := s.DropPathRights(t.Context(), ann.ID, "/a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.SetPathRights(t.Context(), ann.ID, "/a/../b", 0); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := s.SetPathRights(t.Context(), ann.ID+1000, "/a", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.SetJail(t.Context(), ann.ID, "/"); err != nil || get().Jail != "/" {
		t.Error(err, get())
	}
}

// The rows outlive a restart and go with their account.
func TestAccessRows(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	ann, joe := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	for _, a := range []*Account{ann, joe} {
		if err := errors.Join(s.SetPathRights(t.Context(), a.ID, "/x", CanList), s.SetJail(t.Context(), a.ID, "/y")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{})
	if a, err := s.Access(t.Context(), ann.ID); err != nil || a.Jail != "/y" || a.At("/x") != CanList {
		t.Fatal(a, err)
	}
	if err := s.RemoveAccount(t.Context(), ann.ID); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{`SELECT COUNT(*) FROM access`, `SELECT COUNT(*) FROM jail`} {
		var n int
		if err := s.db.Row(q).Scan(&n); err != nil || n != 1 {
			t.Error(q, n, err)
		}
	}
	if a, err := s.Access(t.Context(), ann.ID); err != nil || a.Jail != "/" {
		t.Error(a, err)
	}
}

func TestAccessLimit(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ann := newAccount(t, s, "ann@example.test", 0)
	var wg sync.WaitGroup
	for i := range maxAccessRules {
		wg.Go(func() {
			if err := s.SetPathRights(t.Context(), ann.ID, fmt.Sprintf("/d%d", i), CanList); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := s.SetPathRights(t.Context(), ann.ID, "/more", CanList); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	if err := s.SetPathRights(t.Context(), ann.ID, "/d7", CanAll); err != nil {
		t.Error(err)
	}
	if a, err := s.Access(t.Context(), ann.ID); err != nil || len(a.Rules) != maxAccessRules || a.At("/d7/x") != CanAll || a.At("/d8/x") != CanList {
		t.Error(err)
	}
}

// What was read before a change is not kept after it.
func TestAccessCache(t *testing.T) {
	var c accessCache
	_, turn := c.get(1)
	c.forget(1)
	c.put(1, wholeAccess, turn)
	if a, _ := c.get(1); a != nil {
		t.Error("stale rights were kept")
	}
	_, turn = c.get(1)
	c.put(1, wholeAccess, turn)
	if a, _ := c.get(1); a != wholeAccess {
		t.Error("rights were not kept")
	}
	for i := range int64(maxAccess + 10) {
		c.put(i+2, wholeAccess, turn)
	}
	if c.n > maxAccess || len(c.of) != c.n {
		t.Errorf("%d kept, counted as %d", len(c.of), c.n)
	}
}
