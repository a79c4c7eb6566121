package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMounts(t *testing.T) {
	data := t.TempDir()
	s := openTest(t, data, Options{})
	ann, joe := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	ctx := t.Context()
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, "dir")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(top, "file"), nil, 0o600), os.Symlink("dir", filepath.Join(top, "link")),
		os.Symlink(data, filepath.Join(top, "data")), os.Mkdir(filepath.Join(data, "sub"), 0o700)); err != nil {
		t.Fatal(err)
	}
	f, err := s.MakeFolder(ctx, ann.ID, ann.Home, "full")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.MakeFolder(ctx, ann.ID, f.ID, "empty"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, host string
		kind       error
	}{
		{"/a/b", filepath.Join(top, "link"), nil},
		{"/a/b", dir, fs.ErrExist},
		{"/a/b/c", dir, fs.ErrPermission},
		{"/a", dir, fs.ErrPermission},
		{"/full", dir, fs.ErrExist},
		{"/full/empty/", dir, nil},
		{"/e\u0301", dir, nil},
		{"/", dir, ErrInvalid},
		{"", dir, ErrInvalid},
		{"x", dir, ErrInvalid},
		{"/x/../y", dir, ErrInvalid},
		{"/x\n", dir, ErrInvalid},
		{"/Mail", dir, fs.ErrPermission},
		{"/Mail/INBOX", dir, fs.ErrPermission},
		{"/mail", dir, nil},
		{"/x", "dir", ErrInvalid},
		{"/x", filepath.Join(top, "none"), fs.ErrNotExist},
		{"/x", filepath.Join(top, "file"), ErrInvalid},
		{"/x", "/", ErrInvalid},
		{"/x", "/proc/self", ErrInvalid},
		{"/x", "/dev", ErrInvalid},
		{"/x", data, ErrInvalid},
		{"/x", filepath.Join(data, "sub"), ErrInvalid},
		{"/x", filepath.Dir(data), ErrInvalid},
		{"/x", filepath.Join(top, "data"), ErrInvalid},
	} {
		m, err := s.AddMount(ctx, ann.ID, c.path, c.host, false)
		if !errors.Is(err, c.kind) {
			t.Errorf("%s %s: %v, want %v", c.path, c.host, err, c.kind)
		}
		if err == nil && (m.Host != dir || m.Owner != ann.Name || strings.HasSuffix(m.Path, "/")) {
			t.Errorf("%+v", m)
		}
	}
	if _, err := s.AddMount(ctx, joe.ID, "/a", dir, true); err != nil {
		t.Error(err)
	}
	if all, err := s.Mounts(ctx, 0); err != nil || len(all) != 5 || all[4].Owner != joe.Name || !all[4].ReadOnly {
		t.Errorf("%+v, %v", all, err)
	}
	// What it lies on stays where it is.
	n, err := s.Walk(ctx, ann.ID, []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rename(ctx, ann.ID, n.ID, ann.Home, "z", false); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if err := s.Remove(ctx, ann.ID, n.ID); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	epoch := s.MountEpoch()
	if m, err := s.RemoveMount(ctx, ann.ID, "/a/b/"); err != nil || m.Path != "/a/b" {
		t.Error(m, err)
	}
	if _, err := s.RemoveMount(ctx, ann.ID, "/a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if s.MountEpoch() == epoch {
		t.Error("nobody is told of a mount that went")
	}
	if err := s.Remove(ctx, ann.ID, n.ID); err != nil {
		t.Error(err)
	}
	if err := s.NoteMountFolder(ctx, 1<<40, "."); err != nil {
		t.Error(err)
	}
	if all, err := s.MountFolders(ctx, 1<<40, "", 1); err != nil || len(all) != 0 {
		t.Error("a mount that is not there has folders", all, err)
	}
	if err := s.RemoveAccount(ctx, ann.ID); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Mounts(ctx, 0); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
	if records, err := s.Records(ctx, "account", ann.ID, 0, 100); err != nil || len(records) != 5 || records[0].Subject != "mount removed" {
		t.Errorf("%+v, %v", records, err)
	}
}

func TestMountLimit(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a, dir := newAccount(t, s, "ann@example.test", 0), t.TempDir()
	for i := range MaxMounts + 1 {
		_, err := s.AddMount(t.Context(), a.ID, "/m"+string(rune('A'+i%26))+strings.Repeat("x", i/26), dir, false)
		if i < MaxMounts && err != nil || i == MaxMounts && !errors.Is(err, ErrLimit) {
			t.Fatal(i, err)
		}
	}
}

// A store of each older schema can have mounts.
func TestMountsInOlderSchemas(t *testing.T) {
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	host := t.TempDir()
	if _, err := s.AddMount(t.Context(), a.ID, "/m", host, true); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(all); n++ {
		s := openTest(t, downgraded(t, dir, n), Options{})
		if list, err := s.Mounts(t.Context(), a.ID); err != nil || len(list) != min(n/6, 1) {
			t.Error(n, list, err)
		}
		if _, err := s.AddMount(t.Context(), a.ID, "/n", host, false); err != nil {
			t.Error(n, err)
		}
	}
}
