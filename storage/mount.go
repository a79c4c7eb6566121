package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage/blob"
	"github.com/packetboat/packetboat/storage/sqldb"
)

// Mount is a folder of the host that lies in an account's tree. What is in it is the host's: no row tells of it and no quota counts it.
type Mount struct {
	ID       int64 // never given twice
	Account  int64
	Owner    string // its name
	Node     int64  // the empty folder at Path that it lies on
	Path     string // in the tree: absolute, clean
	Host     string // absolute, without links. For administrators only.
	ReadOnly bool
	Created  time.Time
}

// MaxMounts is how many mounts an account may have.
const MaxMounts = 100

const mountColumns = `SELECT m.id, m.account, a.name, m.node, m.path, m.host, m.readonly, m.created FROM mount m JOIN account a ON a.id = m.account`

func scanMount(r scanner) (m Mount, err error) {
	var created int64
	err = r.Scan(&m.ID, &m.Account, &m.Owner, &m.Node, &m.Path, &m.Host, &m.ReadOnly, &created)
	m.Created = unix(created)
	return m, err
}

func readMounts(q sqldb.Querier, where string, args ...any) ([]Mount, error) {
	rows, err := q.Query(mountColumns+where+` ORDER BY a.name, m.path`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Mount
	for rows.Next() {
		m, err := scanMount(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, rows.Err()
}

// Mounts are the mounts of an account (0: of all) by path.
func (s *Store) Mounts(ctx context.Context, account int64) ([]Mount, error) {
	all, err := readMounts(s.db, ` WHERE m.account = ? OR ? = 0`, account, account)
	return all, fail("mounts", err)
}

// MountEpoch grows whenever a mount comes or goes. Who keeps mounts asks for them again when it did.
func (s *Store) MountEpoch() uint64 { return s.mountEpoch.Load() }

// AddMount puts the host folder host (see HostFolder) into an account's tree at path, and makes the folders of path that are missing. It holds from its
// return on. What is at path already must be an empty folder: else fs.ErrExist. No mount lies in another, nor in /Mail: fs.ErrPermission. ErrLimit beyond MaxMounts.
func (s *Store) AddMount(ctx context.Context, account int64, path, host string, readOnly bool) (Mount, error) {
	var m Mount
	names, err := mountNames(path)
	if err == nil {
		host, err = s.HostFolder(host)
	}
	if err == nil {
		err = s.do(ctx, func(t *tx) error {
			m, err = t.addMount(account, names, host, readOnly)
			return err
		})
	}
	return m, fail("add mount", err)
}

// mountNames are the names of the path of a mount.
func mountNames(path string) ([]string, error) {
	path, err := CleanPath(path)
	if err != nil {
		return nil, err
	}
	names := strings.Split(path[1:], "/")
	switch {
	case path == "/":
		return nil, fmt.Errorf("%w: a host folder cannot take the place of the whole tree; mount it below /", ErrInvalid)
	case names[0] == "Mail":
		return nil, fmt.Errorf("%w: /Mail holds mailboxes only", fs.ErrPermission)
	case len(names) >= MaxDepth:
		return nil, fmt.Errorf("%w: more than %d levels", ErrInvalid, MaxDepth-1)
	}
	return names, nil
}

func (t *tx) addMount(account int64, names []string, host string, readOnly bool) (m Mount, err error) {
	a, err := t.account(account)
	if err != nil {
		return m, err
	}
	m = Mount{Account: account, Owner: a.Name, Path: "/" + strings.Join(names, "/"), Host: host, ReadOnly: readOnly, Created: unix(t.now())}
	others, err := readMounts(t.db, ` WHERE m.account = ?`, account)
	if err != nil {
		return m, err
	}
	for _, o := range others {
		switch {
		case o.Path == m.Path:
			return m, fmt.Errorf("a mount at %s: %w", m.Path, fs.ErrExist)
		case strings.HasPrefix(o.Path, m.Path+"/"), strings.HasPrefix(m.Path, o.Path+"/"):
			return m, fmt.Errorf("%w: a mount inside a mount (there is one at %s)", fs.ErrPermission, o.Path)
		}
	}
	if len(others) >= MaxMounts {
		return m, fmt.Errorf("%w: %d mounts in one account", ErrLimit, MaxMounts)
	}
	if m.Node, err = t.mountPoint(a, names); err != nil {
		return m, err
	}
	if m.ID, err = t.newID(); err != nil {
		return m, err
	}
	if err := t.exec(`INSERT INTO mount (id, account, node, path, host, readonly, created) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		m.ID, account, m.Node, m.Path, host, truth(readOnly), t.now()); err != nil {
		return m, err
	}
	return m, t.mountChanged(m, "mount added")
}

// mountPoint is the empty folder to which names lead, made when it is missing.
func (t *tx) mountPoint(a *accountRow, names []string) (int64, error) {
	at := a.Home
	for i, name := range names {
		n, err := readChild(t.db, a.ID, at, name)
		if isNotExist(err) {
			n, err = t.makeFolder(a.ID, at, name)
		}
		if err != nil {
			return 0, err
		}
		if n.Kind != KindFolder {
			return 0, fmt.Errorf("a file at /%s: %w", strings.Join(names[:i+1], "/"), fs.ErrExist)
		}
		at = n.ID
	}
	if err := t.emptyFolder(at); err != nil {
		return 0, fmt.Errorf("files at /%s, which a mount would hide: %w", strings.Join(names, "/"), fs.ErrExist)
	}
	return at, nil
}

// mountChanged tells those who keep mounts, and the journal.
func (t *tx) mountChanged(m Mount, what string) error {
	t.after = append(t.after, func() { t.s.mountEpoch.Add(1) })
	detail, err := json.Marshal(map[string]any{"path": m.Path, "host": m.Host, "read_only": m.ReadOnly})
	if err != nil {
		return err
	}
	return t.addRecords([]Record{{At: t.s.o.Now(), Kind: "account", Account: m.Account, Subject: what, Detail: detail}})
}

// RemoveMount takes a mount away, and the empty folder that it lay on. The host's files stay. fs.ErrNotExist.
func (s *Store) RemoveMount(ctx context.Context, account int64, path string) (Mount, error) {
	var m Mount
	names, err := mountNames(path)
	if err != nil {
		return m, fail("remove mount", err)
	}
	path = "/" + strings.Join(names, "/")
	err = s.do(ctx, func(t *tx) error {
		a, err := t.account(account)
		if err != nil {
			return err
		}
		if m, err = scanMount(t.db.Row(mountColumns+` WHERE m.account = ? AND m.path = ?`, account, path)); err != nil {
			return fmt.Errorf("a mount at %s: %w", path, noRows(err))
		}
		if err := t.dropMounts(`id = ?`, m.ID); err != nil {
			return err
		}
		n, err := readNode(t.db, account, m.Node)
		if err != nil {
			return err
		}
		// An upload that began before the mount came may have ended below it since.
		if err := t.emptyFolder(n.ID); errors.Is(err, fs.ErrPermission) {
			return t.mountChanged(m, "mount removed")
		} else if err != nil {
			return err
		}
		if err := t.removeNode(a, n); err != nil {
			return err
		}
		return t.mountChanged(m, "mount removed")
	})
	return m, fail("remove mount", err)
}

// dropMounts removes rows.
func (t *tx) dropMounts(where string, arg int64) error {
	for _, q := range []string{
		`DELETE FROM mount_folder WHERE mount IN (SELECT id FROM mount WHERE ` + where + `)`,
		`DELETE FROM mount_part WHERE mount IN (SELECT id FROM mount WHERE ` + where + `)`,
		`DELETE FROM mount WHERE ` + where,
	} {
		if err := t.exec(q, arg); err != nil {
			return err
		}
	}
	return nil
}

// dropAccountMounts removes those of an account that goes.
func (t *tx) dropAccountMounts(account int64) error {
	t.after = append(t.after, func() { t.s.mountEpoch.Add(1) })
	return t.dropMounts(`account = ?`, account)
}

// notMounted checks that no mount lies on a folder or below it, so that it can be moved or removed.
func (t *tx) notMounted(a *accountRow, folder int64) error {
	points, err := readAll[int64](t.db, `SELECT node FROM mount WHERE account = ?`, a.ID)
	if err != nil {
		return err
	}
	for _, id := range points {
		if _, err := t.depth(id, folder); err != nil {
			return fmt.Errorf("%w: a host folder is mounted there", fs.ErrPermission)
		}
	}
	return nil
}

// NoteMountFolder remembers that hidden files may be in a folder of a mount, for the sweep: see MountFolders. path is the folder's on the host, below the mount.
func (s *Store) NoteMountFolder(ctx context.Context, mount int64, path string) error {
	return fail("note a folder of a mount", s.do(ctx, func(t *tx) error {
		return t.exec(`INSERT INTO mount_folder (mount, path) SELECT id, ? FROM mount WHERE id = ? ON CONFLICT (mount, path) DO NOTHING`, []byte(path), mount)
	}))
}

// MountFolders are the folders of a mount that were noted, up to limit behind after.
func (s *Store) MountFolders(ctx context.Context, mount int64, after string, limit int) ([]string, error) {
	all, err := readAll[string](s.db, `SELECT path FROM mount_folder WHERE mount = ? AND path > ? ORDER BY path LIMIT ?`, mount, []byte(after), limit)
	return all, fail("folders of a mount", err)
}

// ForgetMountFolder is the contrary of NoteMountFolder.
func (s *Store) ForgetMountFolder(ctx context.Context, mount int64, path string) error {
	return fail("forget a folder of a mount", s.do(ctx, func(t *tx) error {
		return t.exec(`DELETE FROM mount_folder WHERE mount = ? AND path = ?`, mount, []byte(path))
	}))
}

// NoteMountPart remembers that a cut upload left a part of the file at path, below a mount, for MountParts.
func (s *Store) NoteMountPart(ctx context.Context, mount int64, path string) error {
	return fail("note a part on a mount", s.do(ctx, func(t *tx) error {
		return t.exec(`INSERT INTO mount_part (mount, path) SELECT id, ? FROM mount WHERE id = ? ON CONFLICT (mount, path) DO NOTHING`, path, mount)
	}))
}

// MountParts are the paths that were noted, up to limit behind after. Nothing says that the parts are still there.
func (s *Store) MountParts(ctx context.Context, mount int64, after string, limit int) ([]string, error) {
	all, err := readAll[string](s.db, `SELECT path FROM mount_part WHERE mount = ? AND path > ? ORDER BY path LIMIT ?`, mount, after, limit)
	return all, fail("parts on a mount", err)
}

// ForgetMountPart is the contrary of NoteMountPart.
func (s *Store) ForgetMountPart(ctx context.Context, mount int64, path string) error {
	return fail("forget a part on a mount", s.do(ctx, func(t *tx) error {
		return t.exec(`DELETE FROM mount_part WHERE mount = ? AND path = ?`, mount, path)
	}))
}

// kernelFolders hold what looks like files and is none.
var kernelFolders = []string{"/proc", "/sys", "/dev"}

// HostFolder is the path without links of a host folder that may be mounted: an absolute path of a folder outside of the store's own, which it does not hold
// either. ErrInvalid says what is wrong; fs.ErrNotExist.
func (s *Store) HostFolder(host string) (string, error) {
	if !filepath.IsAbs(host) || !utf8.ValidString(host) {
		return "", fmt.Errorf("%w: a host folder is named by its absolute path", ErrInvalid)
	}
	host, err := filepath.EvalSymlinks(host)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(host)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return "", fmt.Errorf("%w: %s is no folder", ErrInvalid, host)
	}
	for _, k := range kernelFolders {
		if host == k || strings.HasPrefix(host, k+"/") {
			return "", fmt.Errorf("%w: %s is the kernel's and holds no files", ErrInvalid, k)
		}
	}
	own, err := filepath.EvalSymlinks(s.dir)
	if err != nil {
		return "", err
	}
	if holds(host, own) || holds(own, host) {
		return "", fmt.Errorf("%w: %s holds the server's own data, or is in it", ErrInvalid, host)
	}
	return host, nil
}

// holds tells whether a folder is another, or is above it: by what they are and not by their names, of which a folder has several where it is mounted twice.
func holds(folder, in string) bool {
	want, err := os.Stat(folder)
	if err != nil {
		return true // in doubt
	}
	for ; ; in = filepath.Dir(in) {
		st, err := os.Stat(in)
		if err != nil || os.SameFile(st, want) {
			return true
		}
		if in == filepath.Dir(in) {
			return false
		}
	}
}

// FileBody is a file of the host as a Body of size bytes. Where the file has become shorter, reading it ends with io.ErrUnexpectedEOF. Close closes the file.
func FileBody(f *os.File, size int64) Body { return blob.FileReader(f, size) }
