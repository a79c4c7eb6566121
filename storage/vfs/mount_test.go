package vfs_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

// port is a house with a host folder at /m.
type port struct {
	*house
	dir string // of the host
}

func newPort(t testing.TB) *port { return newPortOf(t, newHouse(t), false) }

func newPortOf(t testing.TB, h *house, readOnly bool) *port {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.AddMount(h.ctx(), h.account.ID, "/m", dir, readOnly); err != nil {
		t.Fatal(err)
	}
	return &port{h, dir}
}

// host is a path below the mounted folder.
func (p *port) host(name string) string { return filepath.Join(p.dir, name) }

func (p *port) write(name, text string) {
	p.Helper()
	if err := os.MkdirAll(filepath.Dir(p.host(name)), 0o755); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(p.host(name), []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
}

// read is a file of the host; "(none)" when there is none.
func (p *port) read(name string) string {
	b, err := os.ReadFile(p.host(name))
	if err != nil {
		return "(none)"
	}
	return string(b)
}

// entries are all names in a folder of the host, hidden ones too.
func (p *port) entries(name string) (names []string) {
	p.Helper()
	all, err := os.ReadDir(p.host(name))
	if err != nil {
		p.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func (p *port) sorted(path string) []string {
	p.Helper()
	names := p.list(path)
	slices.Sort(names)
	return names
}

func (p *port) same(got, want any) {
	p.Helper()
	if d := cmp.Diff(want, got); d != "" {
		p.Errorf("-want +got:\n%s", d)
	}
}

func TestMount(t *testing.T) {
	p := newPort(t)
	p.write("a.txt", "alpha")
	p.write("d/b.txt", "beta")
	ctx := p.ctx()
	p.same(p.list("/"), []string{"Mail/", "m/"})
	p.same(p.sorted("/m"), []string{"a.txt", "d/"})
	p.same(p.get("/m/d/b.txt"), "beta")
	i, err := p.Stat(ctx, "/m/a.txt")
	if err != nil || i.Size() != 5 || i.Perm() != "adfrw" || i.IsMessage() || i.IsDir() || !strings.HasPrefix(i.Unique(), "h") {
		t.Errorf("%+v, %v", i, err)
	}
	p.ok(p.Mkdir(ctx, "/m/new"))
	p.put("/m/new/x", "hello")
	p.same(p.read("new/x"), "hello")
	p.put("/m/new/x", "other")
	p.same(p.read("new/x"), "other")
	p.ok(p.Rename(ctx, "/m/new/x", "/m/y"))
	p.ok(p.RemoveDir(ctx, "/m/new"))
	p.ok(p.RemoveFile(ctx, "/m/y"))
	p.same(p.entries("."), []string{"a.txt", "d"})
	when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	p.ok(p.SetModified(ctx, "/m/a.txt", when))
	p.ok(p.SetMode(ctx, "/m/a.txt", 0o600))
	if st, err := os.Stat(p.host("a.txt")); err != nil || !st.ModTime().Equal(when) || st.Mode() != 0o600 {
		t.Error(st, err)
	}
	// What package os cannot set becomes the nearest that it can: the file system may know less, but 1901 is not near 9999.
	for _, tt := range []struct{ year, first, last int }{{9999, 2038, 2262}, {1, 1677, 1970}} {
		p.ok(p.SetModified(ctx, "/m/a.txt", time.Date(tt.year, 1, 1, 0, 0, 0, 0, time.UTC)))
		if st, err := os.Stat(p.host("a.txt")); err != nil || st.ModTime().UTC().Year() < tt.first || st.ModTime().UTC().Year() > tt.last {
			t.Error(tt.year, st.ModTime(), err)
		}
	}
	if used, _, err := p.Usage(ctx); err != nil || used != 0 {
		t.Errorf("the quota counts %d bytes of a mount, %v", used, err)
	}
	if n, err := p.Available(ctx, "/m"); err != nil || n <= 0 {
		t.Errorf("%d bytes free, %v", n, err)
	}
}

// Whatever is done below a mount, it is what a naive tree would be, as with nodes.
func TestModelOnMount(t *testing.T) {
	s := storagetest.New(t)
	views := vfs.New(s, vfs.Options{})
	a := storagetest.Account(t, s, "ann@example.test")
	top := t.TempDir()
	rounds := 0
	outer := t
	name := rapid.SampledFrom([]string{"a", "b", "c"})
	rapid.Check(t, func(t *rapid.T) {
		rounds++
		mount := fmt.Sprintf("/m%d", rounds)
		dir := filepath.Join(top, mount)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AddMount(outer.Context(), a.ID, mount, dir, false); err != nil {
			t.Fatal(err)
		}
		defer s.RemoveMount(outer.Context(), a.ID, mount)
		anyPath := rapid.Custom(func(t *rapid.T) string {
			return mount + "/" + strings.Join(rapid.SliceOfN(name, 1, 3).Draw(t, "names"), "/")
		})
		h := &house{TB: outer, Tree: views.Tree(a), store: s, account: a}
		m := &model{Folders: map[string]bool{mount: true}, Files: map[string]string{}}
		ctx := h.ctx()
		check := func(what string, want bool, err error) {
			if (err == nil) != want {
				t.Fatalf("%s: %v, the model says %v", what, err, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"mkdir": func(t *rapid.T) {
				p := anyPath.Draw(t, "path")
				check("mkdir "+p, m.mkdir(p), h.Mkdir(ctx, p))
			},
			"put": func(t *rapid.T) {
				p, text := anyPath.Draw(t, "path"), rapid.SampledFrom([]string{"", "text", "longer text"}).Draw(t, "text")
				_, err := h.tryPut(p, text, vfs.CreateOptions{Expect: -1})
				check("put "+p, m.put(p, text), err)
			},
			"append": func(t *rapid.T) {
				p := anyPath.Draw(t, "path")
				_, err := h.tryPut(p, "+", vfs.CreateOptions{Expect: -1, Append: true})
				check("append "+p, m.put(p, m.Files[p]+"+"), err)
			},
			"remove": func(t *rapid.T) {
				p := anyPath.Draw(t, "path")
				check("remove "+p, m.removeFile(p), h.RemoveFile(ctx, p))
			},
			"rmdir": func(t *rapid.T) {
				p := anyPath.Draw(t, "path")
				check("rmdir "+p, m.rmdir(p), h.RemoveDir(ctx, p))
			},
			"rename": func(t *rapid.T) {
				from, to := anyPath.Draw(t, "from"), anyPath.Draw(t, "to")
				check("rename "+from+" "+to, m.rename(from, to), h.Rename(ctx, from, to))
			},
			"": func(t *rapid.T) {
				got := &model{Folders: map[string]bool{mount: true}, Files: map[string]string{}}
				var walk func(p string)
				walk = func(p string) {
					for i, err := range h.ReadDir(ctx, p) {
						q := path.Join(p, i.Name())
						switch {
						case err != nil:
							t.Fatal(err)
						case i.IsDir():
							got.Folders[q] = true
							walk(q)
						default:
							got.Files[q] = h.get(q)
						}
					}
				}
				walk(mount)
				if diff := cmp.Diff(m, got); diff != "" {
					t.Fatalf("the tree is another (-model +tree):\n%s", diff)
				}
			},
		})
	})
}

// The tree keeps what a mount lies on, and nothing goes over its border.
func TestMountPoint(t *testing.T) {
	h := newHouse(t)
	dir := t.TempDir()
	ctx := h.ctx()
	if _, err := h.store.AddMount(ctx, h.account.ID, "/in/here/m", dir, false); err != nil {
		t.Fatal(err)
	}
	h.put("/f", "text")
	p := &port{h, dir}
	p.write("x", "x")
	p.write("d/y", "y")
	p.same(p.list("/in/here"), []string{"m/"})
	for _, at := range []string{"/in/here/m", "/in/here", "/in"} {
		h.refused(h.Rename(ctx, at, "/else"), fs.ErrPermission, at)
		h.refused(h.RemoveDir(ctx, at), fs.ErrPermission, at)
	}
	h.refused(h.Mkdir(ctx, "/in/here/m"), fs.ErrExist, "/in/here/m")
	h.refused(h.SetMode(ctx, "/in/here/m", 0o700), fs.ErrPermission, "/in/here/m")
	h.refused(h.SetModified(ctx, "/in/here/m", time.Now()), fs.ErrPermission, "/in/here/m")
	h.refused(h.RemoveFile(ctx, "/in/here/m"), fs.ErrPermission, "/in/here/m")
	h.refused(h.Rename(ctx, "/f", "/in/here/m/f"), fs.ErrPermission, "/f")
	h.refused(h.Rename(ctx, "/in/here/m/x", "/x"), fs.ErrPermission, "/in/here/m/x")
	h.refused(h.Rename(ctx, "/in/here/m/x", "/Mail/INBOX/x.eml"), fs.ErrPermission, "/in/here/m/x")
	h.refused(h.Rename(ctx, "/in/here/m/d", "/in/here/m/d/e"), fs.ErrInvalid, "/in/here/m/d")
	_, err := h.tryPut("/in/here/m", "text", vfs.CreateOptions{Expect: -1})
	h.refused(err, fs.ErrExist, "/in/here/m")
	if _, err := h.store.RemoveMount(ctx, h.account.ID, "/in/here/m/"); err != nil {
		t.Fatal(err)
	}
	p.same(h.list("/in/here"), []string(nil))
	p.same(p.read("d/y"), "y")
	_, err = h.Stat(ctx, "/in/here/m/x")
	h.refused(err, fs.ErrNotExist, "/in/here/m/x")
}

func TestMountReadOnly(t *testing.T) {
	p := newPortOf(t, newHouse(t), true)
	p.write("a", "a")
	p.write("d/b", "b")
	ctx := p.ctx()
	p.same(p.get("/m/d/b"), "b")
	for at, perm := range map[string]string{"/m": "el", "/m/d": "el", "/m/a": "r"} {
		if i, err := p.Stat(ctx, at); err != nil || i.Perm() != perm {
			t.Errorf("%s: %q, %v", at, i.Perm(), err)
		}
	}
	for _, at := range []string{"/m/new", "/m/a", "/m/A", "/m/d/new"} {
		_, err := p.tryPut(at, "x", vfs.CreateOptions{Expect: -1})
		p.refused(err, fs.ErrPermission, at)
		p.refused(p.Mkdir(ctx, at), fs.ErrPermission, at)
		p.refused(p.RemoveFile(ctx, at), fs.ErrPermission, at)
		p.refused(p.RemoveDir(ctx, at), fs.ErrPermission, at)
		p.refused(p.Rename(ctx, at, "/m/z"), fs.ErrPermission, at)
		p.refused(p.SetMode(ctx, at, 0o600), fs.ErrPermission, at)
		p.refused(p.SetModified(ctx, at, time.Now()), fs.ErrPermission, at)
	}
	p.same(p.entries("."), []string{"a", "d"})
}

// A file is invisible until it is whole, and what it replaces stays as it was; the part of a cut upload is the account's alone.
func TestMountUpload(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	p.write("x", "old")
	if err := os.Chmod(p.host("x"), 0o604); err != nil {
		t.Fatal(err)
	}
	begin := func(o vfs.CreateOptions, text string) *vfs.Writer {
		t.Helper()
		o.Expect = -1
		w, err := p.Create(ctx, "/m/x", o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		return w
	}
	only := func() {
		t.Helper()
		p.same(p.list("/m"), []string{"x"})
		p.same(p.get("/m/x"), "old")
	}
	w := begin(vfs.CreateOptions{}, "0123456789")
	only()
	p.ok(w.Prepare(ctx))
	only()
	for _, e := range p.entries(".") {
		if e == "x" {
			continue
		}
		for _, at := range []string{"/m/" + e, "/m/" + strings.ToUpper(e), "/m/\u200c" + e, "/m/.pac\u212aet" + e[7:]} {
			_, err := p.Stat(ctx, at)
			p.refused(err, fs.ErrNotExist, at)
			p.refused(p.RemoveFile(ctx, at), fs.ErrNotExist, at)
			_, err = p.tryPut(at, "x", vfs.CreateOptions{Expect: -1})
			p.refused(err, fs.ErrNotExist, at)
			p.refused(p.Rename(ctx, "/m/x", at), fs.ErrNotExist, "/m/x")
		}
	}
	p.ok(w.Abort(ctx, true))
	only()
	if n, err := p.Partial(ctx, "/m/x"); err != nil || n != 10 {
		t.Fatal(n, err)
	}
	parts, _, more, err := p.Parts(ctx, 10)
	if err != nil || more || len(parts) != 1 || parts[0].Path != "/m/x" || parts[0].Size != 10 || !parts[0].Old || time.Since(parts[0].Cut) > time.Minute {
		t.Errorf("%+v, %v", parts, err)
	}
	// Another account with the same folder has no part.
	joe := storagetest.Account(t, p.store, "joe@example.test")
	if _, err := p.store.AddMount(ctx, joe.ID, "/m", p.dir, false); err != nil {
		t.Fatal(err)
	}
	_, err = vfs.New(p.store, vfs.Options{}).Tree(joe).Partial(ctx, "/m/x")
	p.refused(err, fs.ErrNotExist, "/m/x")
	_, err = p.Create(ctx, "/m/x", vfs.CreateOptions{Offset: 11, Expect: -1})
	p.refused(err, storage.ErrInvalid, "/m/x")
	// Resumed, and cut again: longer. Meanwhile it is nobody else's.
	w = begin(vfs.CreateOptions{Offset: 8}, "abcd")
	only()
	_, err = p.Partial(ctx, "/m/x")
	p.refused(err, fs.ErrNotExist, "/m/x")
	p.ok(w.Abort(ctx, false))
	if n, err := p.Partial(ctx, "/m/x"); err != nil || n != 12 {
		t.Fatal(n, err)
	}
	w = begin(vfs.CreateOptions{Offset: 12}, "!")
	i, err := w.Commit(ctx)
	if err != nil || i.Size() != 13 || i.Name() != "x" || i.Mode() != 0o604 {
		t.Errorf("%+v, %v", i, err)
	}
	p.ok(w.Abort(ctx, true))
	p.same(p.read("x"), "01234567abcd!")
	p.same(p.entries("."), []string{"x"})
	// Appended to a copy.
	w = begin(vfs.CreateOptions{Append: true}, "+")
	p.same(p.read("x"), "01234567abcd!")
	if _, err := w.Commit(ctx); err != nil {
		t.Error(err)
	}
	p.same(p.read("x"), "01234567abcd!+")
	// From the file where there is no part.
	w = begin(vfs.CreateOptions{Offset: 3}, "-")
	p.ok(w.Abort(ctx, false))
	p.same(p.entries("."), []string{"x"})
	// Nothing may be there.
	_, err = p.Create(ctx, "/m/x", vfs.CreateOptions{Exclusive: true, Expect: -1})
	p.refused(err, fs.ErrExist, "/m/x")
	w, err = p.Create(ctx, "/m/n", vfs.CreateOptions{Exclusive: true, Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	p.write("n", "faster")
	_, err = w.Commit(ctx)
	p.refused(err, fs.ErrExist, "/m/n")
	p.ok(w.Abort(ctx, false))
	p.same(p.read("n"), "faster")
	p.same(p.entries("."), []string{"n", "x"})
	if parts, _, _, err := p.Parts(ctx, 10); err != nil || len(parts) != 0 {
		t.Errorf("%+v, %v", parts, err)
	}
	p.ok(begin(vfs.CreateOptions{}, "xyz").Abort(ctx, true))
	p.ok(p.DropPart(ctx, "/m/x"))
	p.refused(p.DropPart(ctx, "/m/x"), fs.ErrNotExist, "/m/x")
	p.same(p.entries("."), []string{"n", "x"})
	_, err = p.Create(ctx, "/m/n", vfs.CreateOptions{Expect: 1 << 60})
	p.refused(err, syscall.ENOSPC, "/m/n")
}

// Hidden files are found again after a crash and removed when they are old; a folder that holds nothing else is empty.
func TestMountLeftovers(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	views := vfs.New(p.store, vfs.Options{})
	tree := views.Tree(p.account)
	p.ok(tree.Mkdir(ctx, "/m/d"))
	cut := func(name string) *vfs.Writer {
		w, err := tree.Create(ctx, name, vfs.CreateOptions{Expect: -1})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "0123456789")
		return w
	}
	p.ok(cut("/m/d/kept").Abort(ctx, true))
	w, err := tree.Create(ctx, "/m/d/kept", vfs.CreateOptions{Offset: 10, Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "abc")
	crashed := cut("/m/d/new")
	if n := len(p.entries("d")); n != 2 {
		t.Fatalf("%d hidden files", n)
	}
	p.refused(tree.RemoveDir(ctx, "/m/d"), fs.ErrPermission, "/m/d") // uploads are under way
	// A crash: another server comes up and knows nothing of them.
	after := vfs.New(p.store, vfs.Options{})
	if n, err := after.Tree(p.account).Partial(ctx, "/m/d/kept"); err != nil || n != 13 {
		t.Error(n, err)
	}
	old := time.Now().Add(-8 * 24 * time.Hour)
	for _, e := range p.entries("d") {
		if err := os.Chtimes(p.host("d/"+e), old, old); err != nil {
			t.Fatal(err)
		}
	}
	p.write("d/visible", "text")
	os.Chtimes(p.host("d/visible"), old, old)
	p.ok(views.SweepMounts(ctx))
	if n := len(p.entries("d")); n != 3 {
		t.Errorf("the sweep took uploads that are under way: %v", p.entries("d"))
	}
	p.ok(after.SweepMounts(ctx))
	p.same(p.entries("d"), []string{"visible"})
	mounts, err := p.store.Mounts(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := p.store.MountParts(ctx, mounts[0].ID, "", 10); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if all, err := p.store.MountFolders(ctx, mounts[0].ID, "", 10); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	w.Abort(ctx, false) // what it wrote is gone
	crashed.Abort(ctx, false)
	// Parts that are not old go with their folder.
	p.ok(tree.RemoveFile(ctx, "/m/d/visible"))
	p.ok(cut("/m/d/x").Abort(ctx, true))
	p.ok(tree.RemoveDir(ctx, "/m/d"))
	p.same(p.entries("."), []string(nil))
	// DELE of a name that has only a part.
	p.ok(cut("/m/x").Abort(ctx, true))
	p.ok(tree.RemoveFile(ctx, "/m/x"))
	p.same(p.entries("."), []string(nil))
}
