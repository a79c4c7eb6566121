package vfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/packetboat/packetboat/storage/vfs"
)

// While somebody on the host swaps folders and files for links that lead out, and renames them, whatever is asked of the tree stays inside of the mount.
func TestMountRaces(t *testing.T) {
	p := newPort(t)
	c := newCanary(t)
	outside := filepath.Join(c.dir, "sub")
	relative, err := filepath.Rel(p.dir, outside)
	if err != nil {
		t.Fatal(err)
	}
	spare := t.TempDir()
	var made atomic.Int64
	// set puts something new in the place of a name, in one step.
	set := func(name string, build func(path string) error) {
		fresh := filepath.Join(spare, fmt.Sprint(made.Add(1)))
		if err := build(fresh); err != nil {
			t.Error(err)
			return
		}
		if unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, p.host(name), unix.RENAME_EXCHANGE) != nil {
			os.Rename(fresh, p.host(name))
		}
	}
	folder := func(path string) error {
		return errors.Join(os.MkdirAll(filepath.Join(path, "empty"), 0o755), os.WriteFile(filepath.Join(path, "file"), []byte("inside"), 0o644))
	}
	file := func(path string) error { return os.WriteFile(path, []byte("inside"), 0o644) }
	link := func(to string) func(path string) error {
		return func(path string) error { return os.Symlink(to, path) }
	}
	p.ok(os.Mkdir(p.host("fixed"), 0o755))
	ctx, stop := context.WithTimeout(p.ctx(), 2*time.Second)
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	var swaps, calls, done atomic.Int64
	// exchange swaps two names in one step. None is below another that is swapped, as that would lead the test itself out.
	exchange := func(a, b string) {
		if unix.Renameat2(unix.AT_FDCWD, p.host(a), unix.AT_FDCWD, p.host(b), unix.RENAME_EXCHANGE) == nil {
			swaps.Add(1)
		}
	}
	for _, pair := range []struct {
		name, link string
		build      func(string) error
		to         string
	}{
		{"plain", "file.abs", file, filepath.Join(outside, "file")},
		{"plain", "file.rel", file, filepath.Join(relative, "file")},
		{"swap", "abs", folder, outside},
		{"swap", "rel", folder, relative},
		{"real", "root", folder, "/"},
		{"fixed/inner", "fixed/abs", folder, outside},
	} {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				// What the others removed or replaced is made again.
				if i%16 == 0 {
					set(pair.name, pair.build)
					set(pair.link, link(pair.to))
				}
				exchange(pair.name, pair.link)
			}
		})
	}
	look := func(what, text string) {
		if strings.Contains(text, "canary") || strings.Contains(text, "root:") {
			t.Errorf("%s: %q", what, text)
		}
	}
	paths := []string{"swap/file", "real/file", "abs/file", "rel/file", "swap/new", "real/new", "swap/empty", "real/empty", "file.abs", "file.rel", "plain", "swap", "real", "fixed/inner/file", "fixed/inner", "fixed/inner/new", "fixed/abs/empty", "root/etc/passwd", "swap/etc/passwd"}
	for worker := range 4 {
		all.Go(func() {
			tree := vfs.New(p.store, vfs.Options{}).Tree(p.account)
			for i := worker; ctx.Err() == nil; i++ {
				at, to := "/m/"+paths[i%len(paths)], "/m/"+paths[(i*7+3)%len(paths)]
				calls.Add(1)
				err := stir(tree, i/len(paths), at, to, look)
				if err == nil {
					done.Add(1)
				}
				var path *fs.PathError
				if err != nil && (!errors.As(err, &path) || strings.Contains(err.Error(), p.dir)) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	<-ctx.Done()
	all.Wait()
	c.check(t)
	t.Logf("%d swaps, %d calls, %d done", swaps.Load(), calls.Load(), done.Load())
	if swaps.Load() < 100 || calls.Load() < 100 || done.Load() < 20 {
		t.Fatalf("%d swaps, %d calls, %d of them done: that is no race", swaps.Load(), calls.Load(), done.Load())
	}
}

// stir makes the i-th kind of call.
func stir(tree *vfs.Tree, i int, at, to string, look func(what, text string)) error {
	ctx := context.Background()
	upload := func(o vfs.CreateOptions, keep bool) error {
		o.Expect = -1
		w, err := tree.Create(ctx, at, o)
		if err != nil {
			return err
		}
		defer w.Abort(ctx, keep)
		if _, err := io.WriteString(w, "mine"); err != nil || keep {
			return err
		}
		_, err = w.Commit(ctx)
		return err
	}
	switch i % 14 {
	case 0, 1, 2:
		f, err := tree.Open(ctx, at)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		look("read "+at, string(b))
		return err
	case 3:
		_, err := tree.Stat(ctx, at)
		return err
	case 4:
		for e, err := range tree.ReadDir(ctx, at) {
			if err != nil {
				return err
			}
			if n := e.Name(); n == "etc" || n == "proc" || e.Size() == int64(len(secret)) {
				look("list "+at, "canary "+n)
			}
		}
		return nil
	case 5:
		return upload(vfs.CreateOptions{}, false)
	case 6:
		return upload(vfs.CreateOptions{Append: true}, false)
	case 7:
		return upload(vfs.CreateOptions{Exclusive: true}, true)
	case 8:
		return tree.Mkdir(ctx, at)
	case 9:
		return tree.RemoveFile(ctx, at)
	case 10:
		return tree.RemoveDir(ctx, at)
	case 11:
		return tree.SetMode(ctx, at, 0o711)
	case 12:
		return tree.SetModified(ctx, at, time.Unix(1_234_567_890, 0))
	}
	return tree.Rename(ctx, at, to)
}
