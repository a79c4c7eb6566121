package vfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// mounts are the host folders in all trees, as they were at an epoch of the store.
type mounts struct {
	epoch     uint64
	byAccount map[int64][]*mount
}

// mount is a host folder in an account's tree, shared by all sessions.
type mount struct {
	storage.Mount
	fs     *FS
	names  []string    // of its path
	claims *sync.Mutex // of who takes a part that a cut upload left, or gives it up; one for all mounts of an account, as two may be of one folder

	mu    sync.Mutex
	root  *hostRoot       // nil: not open
	gone  bool            // it is mounted no more
	noted map[string]bool // folders that the store knows to hold hidden files; see mark
}

// hostRoot is an open host folder. All of a mount's calls go through it: no path of the host is looked up after it was opened, but to see from time to
// time whether another folder has taken its place.
type hostRoot struct {
	*os.Root
	users   int       // calls and uploads that use it
	checked time.Time // that it still is the folder at the mount's path
	used    time.Time
	stale   bool // another has taken its place: closed by the last user
}

const (
	rootCheck = time.Second      // between two looks at whether a host folder is still the same
	rootIdle  = 30 * time.Second // after which it is closed, so that the host can unmount what is behind it
)

// mountsOf are the mounts of an account. An account without any, as most are, costs two atomic loads.
func (f *FS) mountsOf(ctx context.Context, account int64) ([]*mount, error) {
	m := f.mounts.Load()
	if m == nil || m.epoch != f.store.MountEpoch() {
		var err error
		if m, err = f.readMounts(ctx); err != nil {
			return nil, err
		}
	}
	return m.byAccount[account], nil
}

// readMounts asks the store. A mount that is as it was keeps its root.
func (f *FS) readMounts(ctx context.Context) (*mounts, error) {
	f.mountsMu.Lock()
	defer f.mountsMu.Unlock()
	epoch := f.store.MountEpoch() // before the rows: what changes meanwhile is read again
	old := f.mounts.Load()
	if old != nil && old.epoch == epoch {
		return old, nil
	}
	rows, err := f.store.Mounts(ctx, 0)
	if err != nil {
		return nil, err
	}
	known, claims := map[int64]*mount{}, map[int64]*sync.Mutex{}
	if old != nil {
		for _, all := range old.byAccount {
			for _, m := range all {
				known[m.ID], claims[m.Account] = m, m.claims
			}
		}
	}
	now := &mounts{epoch: epoch, byAccount: map[int64][]*mount{}}
	for _, r := range rows {
		m := known[r.ID]
		if claims[r.Account] == nil {
			claims[r.Account] = new(sync.Mutex)
		}
		if m == nil {
			m = &mount{Mount: r, fs: f, names: strings.Split(r.Path[1:], "/"), claims: claims[r.Account], noted: map[string]bool{}}
		}
		delete(known, r.ID)
		now.byAccount[r.Account] = append(now.byAccount[r.Account], m)
	}
	f.mounts.Store(now)
	for _, m := range known {
		m.end()
	}
	return now, nil
}

// end is called when the mount was removed: who still writes there must not make anything visible.
func (m *mount) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = true
	m.dropRoot()
}

// dropRoot closes the root, or has its last user close it. m.mu is held.
func (m *mount) dropRoot() {
	r := m.root
	if r == nil {
		return
	}
	m.root, r.stale = nil, true
	if r.users == 0 {
		r.Close()
	}
}

// open gives the root for a call, which ends with close. It is opened anew when another folder has taken its place: a disk that was mounted there on the
// host, or that is gone. The host is asked without the lock, as one that does not answer must keep nobody else waiting.
func (m *mount) open() (*hostRoot, error) {
	r, due, err := m.take()
	if err != nil || r != nil && !due {
		return r, err
	}
	if r != nil {
		if sameAs(r.Root, m.Host) {
			return r, nil
		}
		m.mu.Lock()
		if m.root == r {
			m.dropRoot()
		}
		m.mu.Unlock()
		m.close(r)
	}
	fresh, err := m.openRoot()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errUnavailable, err) // whatever is missing there, no file of the tree is known to be
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.gone:
		fresh.Close()
		return nil, fs.ErrNotExist
	case m.root == nil:
		m.root = &hostRoot{Root: fresh, checked: time.Now()}
	default:
		fresh.Close() // another call was faster
	}
	m.root.users++
	return m.root, nil
}

// take gives the root if it is open. due: the caller shall look whether it still is what is at the mount's path.
func (m *mount) take() (r *hostRoot, due bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return nil, false, fs.ErrNotExist
	}
	if r = m.root; r == nil {
		return nil, false, nil
	}
	r.users++
	now := time.Now()
	if due = now.Sub(r.checked) > rootCheck; due {
		r.checked = now
	}
	return r, due, nil
}

func (m *mount) close(r *hostRoot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.users--
	r.used = time.Now()
	if r.users == 0 && r.stale {
		r.Close()
	}
}

// openRoot opens the host folder. Its path was without links when it was mounted; one that has crept in could lead anywhere, and is not followed.
func (m *mount) openRoot() (*os.Root, error) {
	now, err := m.fs.store.HostFolder(m.Host)
	if err != nil {
		return nil, err
	}
	if now != m.Host {
		return nil, fmt.Errorf("%s is not where it was: a link leads to %s", m.Host, now)
	}
	r, err := os.OpenRoot(m.Host)
	if err != nil {
		return nil, err
	}
	// A link may have been put there since it was looked at.
	if !sameAs(r, m.Host) {
		r.Close()
		return nil, fmt.Errorf("%s changed while it was opened", m.Host)
	}
	return r, nil
}

// sameAs tells whether a root is the folder at a path, without following a link in its last element.
func sameAs(r *os.Root, path string) bool {
	is, err := r.Stat(".")
	if err != nil {
		return false
	}
	at, err := os.Lstat(path)
	return err == nil && os.SameFile(is, at)
}

// closeIdle closes the root when nobody has used it for a while.
func (m *mount) closeIdle(before time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.root != nil && m.root.users == 0 && m.root.used.Before(before) {
		m.dropRoot()
	}
}

// hosted is a path on a mount, for the time of one call.
type hosted struct {
	m     *mount
	base  *hostRoot // of the mount, to be given back
	r     *hostRoot // base, or the folder of the jail when that is on the mount: links do not lead out of it either
	jail  string    // that folder, below the mount
	names []string  // of the whole path, from home
	rel   string    // on the host, below r; "." is the mount point, or the jail
	exact bool      // no link is followed, and names are spelled as they are on the host: rights below the mount are by path
}

// mountOf is the mount on which names lead; nil when there is none.
func (t *Tree) mountOf(ctx context.Context, names []string) (*mount, error) {
	all, err := t.fs.mountsOf(ctx, t.account)
	// Names are compared as they are: a host that does not tell the case of letters apart begins below.
	i := slices.IndexFunc(all, func(m *mount) bool { return under(m.names, names) })
	if err != nil || i < 0 {
		return nil, err
	}
	return all[i], nil
}

// hosted tells whether names lead onto a mount; nil when they do not. Who gets one closes it.
func (t *Tree) hosted(ctx context.Context, names []string) (*hosted, error) {
	m, err := t.mountOf(ctx, names)
	if err != nil || m == nil {
		return nil, err
	}
	v, err := t.view(ctx)
	if err != nil {
		return nil, err
	}
	h, err := m.at(names)
	if err != nil {
		return nil, err
	}
	h.exact = len(v.access.Below(m.Path)) > 0
	below := names[len(m.names):]
	if jail := len(v.root) - len(m.names); jail > 0 && len(names) >= len(v.root) {
		below, err = h.enter(below, jail)
	}
	if err == nil {
		err = h.find(below)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// at is a path on the mount that is not looked up yet: the mount point.
func (m *mount) at(names []string) (*hosted, error) {
	r, err := m.open()
	if err != nil {
		return nil, err
	}
	return &hosted{m: m, base: r, r: r, names: names, rel: "."}, nil
}

// enter makes the first n names, which lead to the jail, the root of what follows.
func (h *hosted) enter(names []string, n int) ([]string, error) {
	if err := h.find(names[:n]); err != nil {
		return nil, err
	}
	st, err := h.look()
	if errors.Is(err, fs.ErrNotExist) && len(names) == n {
		return names, nil // to be made
	}
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, fs.ErrNotExist
	}
	r, err := h.r.OpenRoot(h.rel + "/")
	if err != nil {
		return nil, hostError(err)
	}
	h.r, h.jail = &hostRoot{Root: r}, h.rel
	return names[n:], nil
}

func (h *hosted) close() {
	if h.r != h.base {
		h.r.Close()
	}
	h.m.close(h.base)
}

// point tells whether it is the mount point itself, or the jail.
func (h *hosted) point() bool { return h.rel == "." }

// changeable refuses what may not be changed.
func (h *hosted) changeable() error {
	switch {
	case h.m.ReadOnly:
		return errReadOnlyMount
	case h.point():
		return errMountPoint
	}
	return nil
}

// on makes a call on a path that hosted gave, and closes it.
func on[T any](h *hosted, err error, call func(*hosted) (T, error)) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	defer h.close()
	return call(h)
}

// change is on for calls that give nothing back.
func change(h *hosted, err error, call func(*hosted) error) error {
	_, err = on(h, err, func(h *hosted) (struct{}, error) { return struct{}{}, call(h) })
	return err
}

// mounted tells whether names lead to a folder on which a mount lies, or above it.
func (t *Tree) mounted(ctx context.Context, names []string) (bool, error) {
	all, err := t.fs.mountsOf(ctx, t.account)
	return slices.ContainsFunc(all, func(m *mount) bool {
		return under(names, m.names)
	}), err
}

// points are the mounts by the nodes that they lie on.
func (t *Tree) points(ctx context.Context) (map[int64]*mount, error) {
	all, err := t.fs.mountsOf(ctx, t.account)
	if len(all) == 0 {
		return nil, err
	}
	points := make(map[int64]*mount, len(all))
	for _, m := range all {
		points[m.Node] = m
	}
	return points, err
}

// isFolder tells whether names lead to a folder: fs.ErrNotExist.
func (t *Tree) isFolder(ctx context.Context, names []string) (bool, error) {
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		st, err := on(h, err, (*hosted).look)
		return err == nil && st.IsDir(), err
	}
	p, err := t.find(ctx, names)
	return err == nil && p.folder(), err
}

// renameHosted is Rename where one of the paths is on a mount, or above one; false when none is.
func (t *Tree) renameHosted(ctx context.Context, v *view, a, b []string) (bool, error) {
	above, err := t.mounted(ctx, a)
	if err != nil || above {
		return true, errors.Join(err, unless(err, errMountPoint))
	}
	from, err := t.hosted(ctx, a)
	if err != nil {
		return true, err
	}
	if from != nil {
		defer from.close()
	}
	to, err := t.hosted(ctx, b)
	if err != nil {
		return true, err
	}
	if to != nil {
		defer to.close()
	}
	switch {
	case from == nil && to == nil:
		return false, nil
	case from == nil || to == nil || from.m != to.m:
		return true, errAcrossMounts
	}
	if err := from.changeable(); err != nil {
		return true, err
	}
	st, err := from.look()
	if err != nil {
		return true, err
	}
	p := &place{names: a, node: storage.Node{Kind: storage.KindFile}}
	if st.IsDir() {
		p.node.Kind = storage.KindFolder
	}
	replace, err := v.mayMove(p, b)
	if err == nil {
		err = from.rename(to, replace)
	}
	return true, err
}

// pointInfo is the Info of a mount point in the listing of the folder above it. A host folder that cannot be reached is listed too, as a folder that can only
// be entered: a client that mirrors must not take it for removed.
func (t *Tree) pointInfo(m *mount, n storage.Node) Info {
	i := t.nodeInfo(n, len(m.names), false, "")
	i.perm = permPointRO
	h, err := m.at(m.names)
	host, err := on(h, err, (*hosted).stat)
	if err != nil {
		return i
	}
	return host
}

// Available is how many bytes can still be stored at a path: what the quota leaves, or on a mount what its file system has. Where neither
// tells a number: fs.ErrInvalid.
func (t *Tree) Available(ctx context.Context, path string) (int64, error) {
	n, err := t.available(ctx, path)
	return n, fail("available", path, err)
}

// OnMount tells whether a path leads onto a mount, where no quota counts.
func (t *Tree) OnMount(ctx context.Context, path string) bool {
	_, names, err := t.allowed(ctx, path, 0)
	if err != nil {
		return false
	}
	m, err := t.mountOf(ctx, names)
	return m != nil && err == nil
}

func (t *Tree) available(ctx context.Context, path string) (int64, error) {
	if t.guest {
		return 0, errGuest
	}
	_, names, err := t.allowed(ctx, path, 0)
	if err != nil {
		return 0, err
	}
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		return on(h, err, (*hosted).available)
	}
	used, limit, err := t.Usage(ctx)
	if err == nil && limit == 0 {
		err = fs.ErrInvalid
	}
	return max(limit-used, 0), err
}

// Run keeps house on the mounts until ctx ends: it closes folders that nobody uses, and removes hidden files that cut uploads left and that are
// too old (storage.Options.PartialAge). An FS without it works, and leaves them.
func (f *FS) Run(ctx context.Context) error {
	every := min(sweepEvery, max(time.Second, f.store.PartialAge()/2)) // parts that are kept for seconds go within seconds
	tick := time.NewTicker(min(rootIdle, every))
	defer tick.Stop()
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			f.closeIdle(time.Now().Add(time.Hour))
			return ctx.Err()
		case <-tick.C:
		}
		f.closeIdle(time.Now().Add(-rootIdle))
		if time.Since(swept) >= every {
			swept = time.Now()
			// What could not be swept now will be the next time.
			if err := f.SweepMounts(ctx); err != nil && !errors.Is(err, context.Canceled) {
				f.log.Warn("sweeping mounts failed", "error", err)
			}
		}
	}
}

func (f *FS) closeIdle(before time.Time) {
	if all := f.mounts.Load(); all != nil {
		for _, list := range all.byAccount {
			for _, m := range list {
				m.closeIdle(before)
			}
		}
	}
}
