package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// What is neither file nor folder, what has no name that a path could have, and links that lead out are not there.
func TestMountOddEntries(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.write("dir/file", "inside")
	for name, to := range map[string]string{
		"in": "dir/file", "indir": "dir", "up": "dir/../dir/file", "out": "../" + filepath.Base(outside) + "/secret", "abs": filepath.Join(outside, "secret"),
		"absdir": outside, "root": "/", "dangling": "nothing", "loop": "loop", "self": p.dir,
	} {
		if err := os.Symlink(to, p.host(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(p.host("fifo"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mknod(p.host("socket"), syscall.S_IFSOCK|0o666, 0); err != nil {
		t.Fatal(err)
	}
	syscall.Mknod(p.host("null"), syscall.S_IFCHR|0o666, 1<<8|3) // needs root
	if err := os.Symlink("fifo", p.host("tofifo")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new\nline", "bell\a", "bad\xff", "\u00e9a\u0301", "sep\u2028", "del\x7f"} {
		p.write(name, "odd")
	}
	p.write("caf\u00e9", "composed")
	p.write("cafe\u0301", "twin")
	p.write("nai\u0308ve/o\u0308", "decomposed")
	p.same(p.sorted("/m"), []string{"caf\u00e9", "dir/", "in", "indir/", "na\u00efve/", "up"})
	p.same(p.get("/m/caf\u00e9"), "composed")
	p.same(p.get("/m/na\u00efve/\u00f6"), "decomposed")
	p.same(p.get("/m/indir/file"), "inside")
	p.put("/m/na\u00efve/\u00f6", "changed")
	p.same(p.read("nai\u0308ve/o\u0308"), "changed")
	for _, name := range []string{"out", "abs", "absdir", "absdir/secret", "root", "root/etc/passwd", "dangling", "loop", "self", "fifo", "socket", "null", "tofifo", "fifo/x"} {
		at := "/m/" + name
		_, err := p.Stat(ctx, at)
		p.refused(err, fs.ErrNotExist, at)
		_, err = p.Open(ctx, at)
		p.refused(err, fs.ErrNotExist, at)
		p.refused(p.RemoveFile(ctx, at), fs.ErrNotExist, at)
		p.refused(p.RemoveDir(ctx, at), fs.ErrNotExist, at)
		p.refused(p.Rename(ctx, at, "/m/z"), fs.ErrNotExist, at)
		p.refused(p.SetMode(ctx, at, 0o777), fs.ErrNotExist, at)
		p.refused(p.SetModified(ctx, at, time.Now()), fs.ErrNotExist, at)
		for _, err := range p.ReadDir(ctx, at) {
			p.refused(err, fs.ErrNotExist, at)
		}
	}
	for _, name := range []string{"absdir/new", "root/tmp/new", "fifo"} {
		if _, err := p.tryPut("/m/"+name, "x", vfs.CreateOptions{Expect: -1}); err == nil {
			t.Errorf("%s was written", name)
		}
		if err := p.Mkdir(ctx, "/m/"+name); err == nil {
			t.Errorf("%s was made", name)
		}
	}
	// A link is replaced and removed itself.
	p.put("/m/in", "mine")
	p.put("/m/out", "mine too")
	p.link("../dir", "dir/back")
	p.ok(p.Afero(ctx).RemoveAll("/m/indir"))
	p.same(p.read("dir/file"), "inside")
	p.ok(p.RemoveDir(ctx, "/m/dir/back"))
	p.same(p.sorted("/m"), []string{"caf\u00e9", "dir/", "in", "na\u00efve/", "out", "up"})
	if b, err := os.ReadFile(filepath.Join(outside, "secret")); string(b) != "canary" {
		t.Errorf("%q, %v", b, err)
	}
}

// A file that becomes shorter while it is sent is an error, not zeros and no wait.
func TestMountShrinks(t *testing.T) {
	p := newPort(t)
	p.write("f", strings.Repeat("x", 1000))
	for what, read := range map[string]func(f *vfs.File) (int64, error){
		"read":  func(f *vfs.File) (int64, error) { b, err := io.ReadAll(f); return int64(len(b)), err },
		"write": func(f *vfs.File) (int64, error) { return f.WriteTo(&bytes.Buffer{}) },
		"range": func(f *vfs.File) (int64, error) { return f.WriteRange(&bytes.Buffer{}, 0, 1000) },
		"at":    func(f *vfs.File) (int64, error) { n, err := f.ReadAt(make([]byte, 1000), 0); return int64(n), err },
	} {
		f, err := p.Open(p.ctx(), "/m/f")
		if err != nil {
			t.Fatal(err)
		}
		os.Truncate(p.host("f"), 10)
		n, err := read(f)
		if n != 10 || !errors.Is(err, storage.ErrTemporary) || strings.Contains(err.Error(), p.dir) {
			t.Errorf("%s: %d, %v", what, n, err)
		}
		// One that grows ends where it did.
		p.write("f", strings.Repeat("x", 2000))
		f.Close()
		p.write("f", strings.Repeat("x", 1000))
		if f, err = p.Open(p.ctx(), "/m/f"); err != nil {
			t.Fatal(err)
		}
		p.write("f", strings.Repeat("x", 2000))
		if n, err := read(f); n != 1000 || err != nil {
			t.Errorf("%s: %d, %v", what, n, err)
		}
		f.Close()
		p.write("f", strings.Repeat("x", 1000))
	}
}

// A host folder that is gone is a failure that passes, and no empty folder; another that takes its place is seen.
func TestMountUnavailable(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	p.write("x", "one")
	p.same(p.get("/m/x"), "one")
	w, err := p.Create(ctx, "/m/late", vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	away := p.dir + ".away"
	if err := os.Rename(p.dir, away); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(away)
	time.Sleep(1100 * time.Millisecond) // so often it is looked at
	_, err = p.Stat(ctx, "/m/x")
	p.refused(err, storage.ErrTemporary, "/m/x")
	if errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), p.dir) {
		t.Error(err)
	}
	for i, err := range p.ReadDir(ctx, "/") {
		if err != nil || i.Name() != "Mail" && (i.Name() != "m" || !i.IsDir()) {
			t.Error(i, err)
		}
	}
	if err := os.Symlink(away, p.dir); err != nil {
		t.Fatal(err)
	}
	_, err = p.Stat(ctx, "/m/x")
	p.refused(err, storage.ErrTemporary, "/m/x")
	_, err = w.Commit(ctx)
	p.refused(err, storage.ErrConflict, "/m/late")
	p.ok(w.Abort(ctx, false))
	if err := errors.Join(os.Remove(p.dir), os.Mkdir(p.dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	p.write("x", "two")
	p.same(p.get("/m/x"), "two")
}

// A folder of 100,000 files is listed in the memory that one page of it takes, and those that go meanwhile do no harm.
func TestMountLargeFolder(t *testing.T) {
	p := newPort(t)
	const files = 100_000
	name := func(i int) string { return p.host(fmt.Sprintf("file-%06d-with-a-name-of-some-length.txt", i)) }
	for i := range files {
		if i%50_000 == 0 { // file systems bound how many names a file has
			p.write(filepath.Base(name(i)), "text")
		} else if err := os.Link(name(i/50_000*50_000), name(i)); err != nil {
			t.Fatal(err)
		}
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most, n := heap(), int64(0), 0
	seen := make([]bool, files)
	for i, err := range p.ReadDir(p.ctx(), "/m") {
		if err != nil {
			t.Fatal(err)
		}
		var at int
		if _, err := fmt.Sscanf(i.Name(), "file-%06d", &at); err != nil || seen[at] {
			t.Fatal(i.Name(), err)
		}
		seen[at] = true
		if n++; n%20_000 == 1 {
			most = max(most, heap()-before)
			os.Remove(name(files - n/2))
		}
	}
	if n < files-10 {
		t.Errorf("%d files were listed", n)
	}
	if most > 2<<20 {
		t.Errorf("listing holds %d bytes", most)
	}
}

// Paths that try to leave lead nowhere on a mount either: ".." is resolved on the text, and all else is a name.
func TestMountTraversal(t *testing.T) {
	p := newPort(t)
	c := newCanary(t)
	p.write("d/inside", "inside")
	ups := []string{"..", "../..", "d/../..", "./..", "d/..//../..", "\u2025", "..\u2215..", "%2e%2e", "..%2f..", "..\\..", "....//....", ".../...", ". .", ".. ", " ..", "..\u200b", "\uff0e\uff0e", "..;", "~", "~root", "$HOME", "C:", "C:\\", "\\\\host\\share", "file:", "/proc/self/root", "/proc/self/cwd", "/dev/fd"}
	tried := 0
	for _, up := range ups {
		for _, target := range []string{c.dir + "/file", filepath.Base(filepath.Dir(c.dir)) + "/" + filepath.Base(c.dir) + "/file", "etc/passwd", "d/../../etc/passwd", "file", "sub/file", "", "."} {
			at, err := vfs.Clean("/m/d", up+"/"+target)
			if err != nil {
				continue
			}
			tried++
			if f, err := p.Open(p.ctx(), at); err == nil {
				b, _ := io.ReadAll(f)
				f.Close()
				if string(b) != "inside" {
					t.Errorf("%q reads %q", at, b)
				}
			}
			p.tryPut(at, "mine", vfs.CreateOptions{Expect: -1})
			p.RemoveFile(p.ctx(), at)
			p.Mkdir(p.ctx(), at)
			p.RemoveDir(p.ctx(), at)
			p.Rename(p.ctx(), at, "/m/moved")
			p.Rename(p.ctx(), "/m/d/inside", at)
			p.SetMode(p.ctx(), at, 0o777)
			p.write("d/inside", "inside")
		}
	}
	c.check(t)
	if tried < 200 {
		t.Errorf("%d paths were tried", tried)
	}
}

// Of uploads of one name at the same time each is whole, and the last one stays; of those that must not replace anything one wins.
func TestMountUploadsRace(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	text := func(i int) string { return strings.Repeat(fmt.Sprintf("%02d", i), 50_000) }
	var won atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			tree := &house{p.TB, vfs.New(p.store, vfs.Options{}).Tree(p.account), p.store, p.account}
			for range 5 {
				if _, err := tree.tryPut("/m/x", text(i), vfs.CreateOptions{Expect: -1}); err != nil {
					t.Error(err)
				}
				if got := p.read("x"); len(got) != 100_000 || strings.Count(got, got[:2]) != 50_000 {
					t.Errorf("a file of %d bytes, mixed of several", len(got))
				}
			}
			_, err := tree.tryPut("/m/once", text(i), vfs.CreateOptions{Expect: -1, Exclusive: true})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d uploads made a file that was to be new", won.Load())
	}
	p.same(p.entries("."), []string{"once", "x"})
	// An upload that ends after the mount was taken away makes nothing visible.
	w, err := p.Create(ctx, "/m/late", vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	moved, err := p.Create(ctx, "/m/once", vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.RemoveMount(ctx, p.account.ID, "/m"); err != nil {
		t.Fatal(err)
	}
	p.list("/")
	for _, w := range []*vfs.Writer{w, moved} {
		if _, err := w.Commit(ctx); !errors.Is(err, storage.ErrConflict) {
			t.Error(err)
		}
		p.ok(w.Abort(ctx, false))
	}
	p.same(p.entries("."), []string{"once", "x"})
}

// A folder that goes elsewhere while something is uploaded into it does not get it.
func TestMountFolderMoves(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	p.ok(p.Mkdir(ctx, "/m/d"))
	w, err := p.Create(ctx, "/m/d/x", vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := os.Rename(p.host("d"), out+"/d"); err != nil {
		t.Fatal(err)
	}
	p.ok(p.Mkdir(ctx, "/m/d"))
	_, err = w.Commit(ctx)
	p.refused(err, storage.ErrConflict, "/m/d/x")
	p.ok(w.Abort(ctx, true))
	for _, dir := range []string{p.host("d"), out + "/d"} {
		if _, err := os.Stat(dir + "/x"); err == nil {
			t.Errorf("%s has the file", dir)
		}
	}
}

// A mount that comes or goes while something is uploaded beside it or onto it: it would not be seen where it was sent.
func TestMountChangesMeanwhile(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	p.ok(p.Mkdir(ctx, "/d"))
	begin := func(at string) *vfs.Writer {
		t.Helper()
		w, err := p.Create(ctx, at, vfs.CreateOptions{Expect: -1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "text"); err != nil {
			t.Fatal(err)
		}
		return w
	}
	beside, on := begin("/d/x"), begin("/m/x")
	if _, err := p.store.AddMount(ctx, p.account.ID, "/d", t.TempDir(), false); err != nil {
		t.Fatal(err)
	}
	remove := func(at string) {
		t.Helper()
		_, err := p.store.RemoveMount(ctx, p.account.ID, at)
		p.ok(err)
	}
	remove("/m")
	for at, w := range map[string]*vfs.Writer{"/d/x": beside, "/m/x": on} {
		_, err := w.Commit(ctx)
		p.refused(err, storage.ErrConflict, at)
		w.Abort(ctx, true)
	}
	p.same(p.entries("."), []string(nil))
	p.same(p.list("/d"), []string(nil))
	remove("/d")
	_, err := p.Stat(ctx, "/d/x")
	p.refused(err, fs.ErrNotExist, "/d/x")
}

// canary is a folder outside of every mount, with what nobody may read or change.
type canary struct {
	dir  string
	want string
}

const secret = "canary: this must never be read"

func newCanary(t testing.TB) *canary {
	t.Helper()
	c := &canary{dir: t.TempDir()}
	for _, d := range []string{"sub", "sub/empty"} {
		if err := os.Mkdir(filepath.Join(c.dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"file", "sub/file"} {
		if err := os.WriteFile(filepath.Join(c.dir, f), []byte(secret), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Unix(1_000_000_000, 0)
	for _, f := range []string{"file", "sub/file", "sub/empty", "sub", "."} {
		if err := os.Chtimes(filepath.Join(c.dir, f), old, old); err != nil {
			t.Fatal(err)
		}
	}
	c.want = c.state(t)
	return c
}

// state is all that can be seen of it.
func (c *canary) state(t testing.TB) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(b)
		}
		lines = append(lines, fmt.Sprint(path[len(c.dir):], st.Mode(), st.ModTime().UnixNano(), text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func (c *canary) check(t testing.TB) {
	t.Helper()
	if got := c.state(t); got != c.want {
		t.Fatalf("outside of the mount something was changed:\n%s\nwas:\n%s", got, c.want)
	}
}
