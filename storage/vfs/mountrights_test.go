package vfs_test

import (
	"io/fs"
	"os"
	"testing"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

func (p *port) link(to, name string) {
	p.Helper()
	if err := os.Symlink(to, p.host(name)); err != nil {
		p.Fatal(err)
	}
}

// A jail on a mount is left neither by ".." nor by a link that stays on the mount.
func TestMountJail(t *testing.T) {
	p := newPort(t)
	p.write("other/secret", "canary")
	p.write("in/dir/file", "mine")
	p.link("../other", "in/out")
	p.link("../other/secret", "in/file.out")
	p.link("dir", "in/inside")
	ctx := p.ctx()
	p.ok(p.store.SetJail(ctx, p.account.ID, "/m/in"))
	p.same(p.sorted("/"), []string{"dir/", "inside/"})
	p.same(p.get("/inside/file"), "mine")
	for _, at := range []string{"/out/secret", "/file.out", "/../other/secret", "/out", "/m/other/secret"} {
		clean, _ := vfs.Clean("/", at)
		_, err := p.Open(ctx, clean)
		p.refused(err, fs.ErrNotExist, clean)
		if _, err := p.tryPut(clean+"/x", "x", vfs.CreateOptions{Expect: -1}); err == nil {
			t.Errorf("%s/x was written", clean)
		}
	}
	p.put("/file.out", "replaces the link")
	p.same(p.read("other/secret"), "canary")
	p.put("/dir/new", "text")
	p.ok(p.Rename(ctx, "/dir/new", "/moved"))
	p.ok(p.Mkdir(ctx, "/made"))
	p.ok(p.RemoveDir(ctx, "/made"))
	p.refused(p.RemoveDir(ctx, "/"), fs.ErrPermission, "/")
	p.refused(p.Mkdir(ctx, "/"), fs.ErrExist, "/")
	if i, err := p.Stat(ctx, "/"); err != nil || i.Name() != "/" || !i.IsDir() {
		t.Errorf("%+v, %v", i, err)
	}
	p.same(p.entries("."), []string{"in", "other"})
	// A jail that is missing is made.
	p.ok(p.store.SetJail(ctx, p.account.ID, "/m/new/deep"))
	p.ok(p.Arrive(ctx))
	p.put("/x", "text")
	p.same(p.read("new/deep/x"), "text")
	// One on a link that leads out of the mount is nowhere.
	p.link("/etc", "etc")
	p.ok(p.store.SetJail(ctx, p.account.ID, "/m/etc"))
	_, err := p.Open(ctx, "/passwd")
	p.refused(err, fs.ErrNotExist, "/passwd")
}

// Rights on a path below a mount hold whatever leads there on the host.
func TestMountRights(t *testing.T) {
	p := newPort(t)
	p.write("secret/file", "canary")
	p.write("drop/file", "theirs")
	p.write("open/file", "mine")
	p.link("../secret", "open/link")
	p.link("secret/file", "file")
	ctx := p.ctx()
	p.same(p.get("/m/open/link/file"), "canary") // without rules links are followed
	rule := func(path string, r storage.PathRights) {
		t.Helper()
		p.ok(p.store.SetPathRights(ctx, p.account.ID, path, r))
	}
	rule("/m/secret", 0)
	rule("/m/drop", storage.CanUpload)
	p.same(p.get("/m/open/file"), "mine")
	p.same(p.sorted("/m/open"), []string{"file"})
	for _, at := range []string{"/m/open/link/file", "/m/open/link", "/m/file"} {
		_, err := p.Open(ctx, at)
		p.refused(err, fs.ErrNotExist, at)
		if _, err := p.tryPut(at, "x", vfs.CreateOptions{Expect: -1}); err == nil {
			t.Errorf("%s was written", at)
		}
	}
	_, err := p.Open(ctx, "/m/secret/file")
	p.refused(err, fs.ErrPermission, "/m/secret/file")
	p.refused(p.Rename(ctx, "/m/secret", "/m/open/x"), fs.ErrPermission, "/m/secret")
	// A drop box: what is there is not replaced, not read, not gone on with, and not told of.
	i, err := p.tryPut("/m/drop/file", "mine", vfs.CreateOptions{Expect: -1})
	if err != nil || i.Name() != "file" {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := p.tryPut("/m/drop/file", "+", vfs.CreateOptions{Append: true, Expect: -1}); err != nil {
		t.Error(err)
	}
	if w, err := p.Create(ctx, "/m/drop/file", vfs.CreateOptions{Offset: 3, Expect: -1}); err == nil {
		w.Abort(ctx, false)
		t.Error("an upload into a drop box begins with what is there")
	}
	p.same(p.read("drop/file"), "theirs")
	if n := len(p.entries("drop")); n != 3 {
		t.Errorf("%v", p.entries("drop"))
	}
	p.refused(p.RemoveFile(ctx, "/m/drop/file"), fs.ErrPermission, "/m/drop/file")
}
