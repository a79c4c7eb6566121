package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

const (
	stagingDir = "staging"
	copyBuffer = 256 << 10 // bytes read at a time where a copy goes through user space
	walkBatch  = 512       // folder entries read at a time
	flushStep  = 8 << 20   // bytes after which the kernel is asked to begin writing them to disk
)

// copyBuffers are shared by all: a transfer takes one while it copies.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

// Disk is a Store in a folder:
//
//	DIR/staging/KEY   being written, or left by a crash
//	DIR/ab/KEY        committed; ab are the key's last two characters, lowercase (1,024 folders)
//
// Everything goes through an os.Root, so that not even a link that somebody put there leads out of DIR.
type Disk struct {
	root *os.Root

	mu      sync.Mutex
	folders map[string]bool // made and durable in DIR: no mkdir and no fsync of DIR again
	held    map[Key]bool    // staged by this process and neither committed nor aborted
}

var _ Store = (*Disk)(nil)

// OpenDisk opens (or makes) the store in dir. Everything goes through an os.Root. One process at a time: the caller holds a lock.
func OpenDisk(dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob: open: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("blob: open: %w", err)
	}
	d := &Disk{root: root, folders: make(map[string]bool), held: make(map[Key]bool)}
	if err := d.prepare(); err != nil {
		root.Close()
		return nil, fmt.Errorf("blob: open: %w", err)
	}
	return d, nil
}

// prepare makes the staging folder and notes the folders that are there. One fsync
// makes all of them durable, also one whose mkdir a crash overtook.
func (d *Disk) prepare() error {
	if err := d.root.Mkdir(stagingDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for name, err := range d.names(".") {
		if err != nil {
			return err
		}
		if isFolder(name.Name()) && name.IsDir() {
			d.folders[name.Name()] = true
		}
	}
	return d.syncFolder(".")
}

// Close gives the folder's handle back. Readers and staged blobs that are open go on.
func (d *Disk) Close() error { return d.root.Close() }

// Stage begins a blob.
func (d *Disk) Stage(ctx context.Context) (Staged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("blob: stage: %w", err)
	}
	k := Key(id.String())
	d.hold(k, true)
	f, err := d.root.OpenFile(stagingDir+"/"+string(k), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		d.hold(k, false)
		return nil, fmt.Errorf("blob: stage: %w", err)
	}
	return newStaged(d, k, f), nil
}

// Open gives a committed blob.
func (d *Disk) Open(ctx context.Context, k Key) (Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !k.valid() {
		return nil, fmt.Errorf("blob: open: key %q: %w", k, fs.ErrNotExist)
	}
	f, err := d.root.Open(k.path())
	if err != nil {
		return nil, fmt.Errorf("blob: open: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("blob: open: %w", err)
	}
	return &reader{f: f, size: st.Size()}, nil
}

// Delete removes a blob. It is not fsynced: if a crash brings the blob back, the sweeper finds it again.
func (d *Disk) Delete(ctx context.Context, k Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !k.valid() {
		return nil
	}
	if err := d.root.Remove(k.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob: delete: %w", err)
	}
	return nil
}

// Walk calls fn for each committed blob.
func (d *Disk) Walk(ctx context.Context, fn func(k Key, size int64, modified time.Time) error) error {
	for folder, err := range d.names(".") {
		if err != nil {
			return fmt.Errorf("blob: walk: %w", err)
		}
		if !folder.IsDir() || !isFolder(folder.Name()) {
			continue
		}
		if err := d.walkFolder(ctx, folder.Name(), fn); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) walkFolder(ctx context.Context, folder string, fn func(Key, int64, time.Time) error) error {
	for e, err := range d.names(folder) {
		if err != nil {
			return fmt.Errorf("blob: walk: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		k := Key(e.Name())
		if !k.valid() || k.folder() != folder || !e.Type().IsRegular() {
			continue // not ours
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return fmt.Errorf("blob: walk: %w", err)
		}
		if err := fn(k, info.Size(), info.ModTime()); err != nil {
			return err
		}
	}
	return nil
}

// SweepStaging removes what a crash left. What this process still writes is kept, however old.
func (d *Disk) SweepStaging(ctx context.Context, age time.Duration) (int, error) {
	n, limit := 0, time.Now().Add(-age)
	for e, err := range d.names(stagingDir) {
		if err != nil {
			return n, fmt.Errorf("blob: sweep: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return n, err
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.ModTime().After(limit) || d.holds(Key(e.Name())) {
			continue
		}
		err = d.root.Remove(stagingDir + "/" + e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // committed or aborted since
		}
		if err != nil {
			return n, fmt.Errorf("blob: sweep: %w", err)
		}
		n++
	}
	return n, nil
}

// place moves a staged file to where Open finds it and, when its bytes are on disk, makes the name durable. The folder it came from need not be fsynced: should a
// crash bring the old name back, it is swept.
func (d *Disk) place(k Key, durable bool) error {
	folder := k.folder()
	d.mu.Lock()
	known := d.folders[folder]
	d.mu.Unlock()
	if !known {
		if err := d.root.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Also when another made it: its fsync may not be over yet.
		if err := d.syncFolder("."); err != nil {
			return err
		}
		d.mu.Lock()
		d.folders[folder] = true
		d.mu.Unlock()
	}
	if err := d.root.Rename(stagingDir+"/"+string(k), k.path()); err != nil {
		return err
	}
	if !durable {
		return nil
	}
	return d.syncFolder(folder)
}

func (d *Disk) syncFolder(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d *Disk) hold(k Key, on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if on {
		d.held[k] = true
	} else {
		delete(d.held, k)
	}
}

func (d *Disk) holds(k Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held[k]
}

// names streams the entries of a folder in batches.
func (d *Disk) names(folder string) func(yield func(fs.DirEntry, error) bool) {
	return func(yield func(fs.DirEntry, error) bool) {
		f, err := d.root.Open(folder)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		for {
			entries, err := f.ReadDir(walkBatch)
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// valid tells whether k can be a key; everything else is not looked for on the disk.
func (k Key) valid() bool {
	if len(k) != ulid.EncodedSize {
		return false
	}
	for i := range len(k) {
		if strings.IndexByte(crockford, k[i]) < 0 {
			return false
		}
	}
	return true
}

func (k Key) folder() string { return strings.ToLower(string(k[len(k)-2:])) }
func (k Key) path() string   { return k.folder() + "/" + string(k) }

func isFolder(name string) bool {
	return len(name) == 2 && name == strings.ToLower(name) && strings.Trim(strings.ToUpper(name), crockford) == ""
}
