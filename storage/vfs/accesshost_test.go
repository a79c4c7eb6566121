package vfs_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// On a mount, links lead round neither rights nor a jail; where all of it has the same rights they do no harm and work.
func TestRightsOnMount(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	p.write("secret/deep/x", "secret")
	p.write("secret.txt", "secret")
	p.write("open/y", "open")
	for link, to := range map[string]string{"link": "secret", "deeper": "secret/deep", "file": "secret/deep/x", "open/up": "../secret", "open/self": "."} {
		if err := os.Symlink(to, p.host(link)); err != nil {
			t.Fatal(err)
		}
	}
	ways := []string{"/m/link/deep/x", "/m/deeper/x", "/m/file", "/m/open/up/deep/x", "/m/open/self/up/deep/x"}
	for _, at := range ways {
		p.same(p.get(at), "secret")
	}
	for path, r := range map[string]storage.PathRights{"/m/secret": 0, "/m/secret.txt": 0} {
		p.ok(p.store.SetPathRights(ctx, p.account.ID, path, r))
	}
	fails := func(err error, at string) {
		t.Helper()
		if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", at, err)
		}
	}
	refuse := func(at string) {
		t.Helper()
		_, err := p.Open(ctx, at)
		fails(err, at)
		_, err = p.Stat(ctx, at)
		fails(err, at)
		_, err = p.tryPut(at, "x", vfs.CreateOptions{Expect: -1})
		fails(err, at)
		fails(p.RemoveFile(ctx, at), at)
		fails(p.Rename(ctx, at, "/m/open/z"), at)
		fails(p.SetMode(ctx, at, 0o600), at)
	}
	for _, at := range append(ways, "/m/secret/deep/x", "/m/secret.txt") {
		refuse(at)
	}
	fails(p.Rename(ctx, "/m/open/y", "/m/link/y"), "/m/open/y")
	for _, at := range []string{"/m/link", "/m/deeper", "/m/open/up"} {
		for _, err := range p.ReadDir(ctx, at) {
			fails(err, at)
		}
	}
	p.same(p.get("/m/open/y"), "open")
	p.same(p.read("secret/deep/x"), "secret")
	p.same(p.read("secret.txt"), "secret")

	p.ok(p.store.DropPathRights(ctx, p.account.ID, "/m/secret"))
	p.ok(p.store.DropPathRights(ctx, p.account.ID, "/m/secret.txt"))
	p.ok(p.store.SetJail(ctx, p.account.ID, "/m/open"))
	p.same(p.get("/y"), "open")
	for _, at := range []string{"/up/deep/x", "/self/up/deep/x"} {
		if f, err := p.Open(ctx, at); err == nil {
			f.Close()
			t.Errorf("%s leads out of the jail", at)
		}
	}
	p.put("/new", "new")
	p.same(p.read("open/new"), "new")
}

// The folder of a jail is made on a mount too, and what the mount loses is an error and no way out.
func TestJailOnMount(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	p.write("out", "out")
	p.ok(p.store.SetJail(ctx, p.account.ID, "/m/a/b"))
	p.ok(p.Arrive(ctx))
	p.put("/x", "text")
	p.same(p.read("a/b/x"), "text")
	if err := os.RemoveAll(p.host("a/b")); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"/", "/x", "/../out", "/../../out"} {
		if _, err := p.Stat(ctx, at); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// A drop box and an archive to which is only added, on a mount.
func TestNewNamesOnMount(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	p.write("x.txt", "old")
	p.ok(p.store.SetPathRights(ctx, p.account.ID, "/m", storage.CanUpload))
	p.put("/m/x.txt", "new")
	p.put("/m/y.txt", "new")
	p.same(p.read("x.txt"), "old")
	p.same(p.read("y.txt"), "new")
	if n := len(p.entries(".")); n != 3 {
		t.Errorf("%d files", n)
	}
	p.ok(p.store.SetPathRights(ctx, p.account.ID, "/m", storage.CanAll&^storage.CanOverwrite))
	_, err := p.tryPut("/m/x.txt", "again", vfs.CreateOptions{Expect: -1})
	p.refused(err, fs.ErrExist, "/m/x.txt")
	p.refused(p.Rename(ctx, "/m/y.txt", "/m/x.txt"), fs.ErrExist, "/m/y.txt")
	p.same(p.read("x.txt"), "old")
}
