package storage

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// PutFile makes or atomically replaces the file parent/name with the upload; a partial upload of that name is forgotten. A folder of
// that name: fs.ErrExist. ErrQuota, ErrEntries. modified zero means now. A file that is replaced keeps its id.
func (s *Store) PutFile(ctx context.Context, account, parent int64, name string, u *Upload, modified time.Time) (Node, error) {
	n, err := s.putFile(ctx, account, parent, name, u, modified, false)
	return n, fail("put file", err)
}

// PutNewFile is PutFile where nothing may be there: else fs.ErrExist, decided in the transaction.
func (s *Store) PutNewFile(ctx context.Context, account, parent int64, name string, u *Upload, modified time.Time) (Node, error) {
	n, err := s.putFile(ctx, account, parent, name, u, modified, true)
	return n, fail("put new file", err)
}

func (s *Store) putFile(ctx context.Context, account, parent int64, name string, u *Upload, modified time.Time, exclusive bool) (n Node, err error) {
	if name, err = CleanName(name); err != nil {
		return Node{}, err
	}
	if err := u.Prepare(ctx); err != nil {
		return Node{}, err
	}
	err = s.done(&job{ctx: ctx, relaxed: u.relaxed, look: u.look, run: func(t *tx) (err error) {
		n, err = t.putFile(account, parent, name, u, modified, exclusive)
		return err
	}})
	if err != nil {
		return Node{}, err
	}
	u.taken()
	return n, nil
}

func (t *tx) putFile(account, parent int64, name string, u *Upload, modified time.Time, exclusive bool) (Node, error) {
	a, old, part, err := t.placeFor(account, parent, name, u.size, exclusive)
	if err != nil {
		return Node{}, err
	}
	if err := t.dropPartial(a, part); err != nil {
		return Node{}, err
	}
	blob, err := t.putBlob(u)
	if err != nil {
		return Node{}, err
	}
	if modified.IsZero() {
		modified = unix(t.now())
	}
	seq := t.nextModSeq(a)
	if old.ID != 0 {
		if err := t.replaceFile(a, old, u.size, blob, modified, seq); err != nil {
			return Node{}, err
		}
		t.change(watch.Change{Account: account, Node: old.ID, Kind: watch.NodePut, ModSeq: seq})
		old.Size, old.Blob, old.Modified, old.ModSeq = u.size, blob, unix(modified.Unix()), seq
		return old, nil
	}
	if err := t.charge(a, u.size, 0, 1); err != nil {
		return Node{}, err
	}
	id, err := t.putNode(Node{Account: account, Parent: parent, Kind: KindFile, Name: name, Size: u.size, Modified: modified, Mode: 0o644, Blob: blob, ModSeq: seq}, 0)
	if err != nil {
		return Node{}, err
	}
	t.change(watch.Change{Account: account, Node: id, Kind: watch.NodePut, ModSeq: seq})
	return readNode(t.db, account, id)
}

// placeFor checks that a file of size bytes can be put at parent/name, and finds what it takes the place of: a file and a partial upload, each zero when it is not there.
func (t *tx) placeFor(account, parent int64, name string, size int64, exclusive bool) (a *accountRow, old Node, part Partial, err error) {
	if a, err = t.account(account); err != nil {
		return a, old, part, err
	}
	if err = t.fileGoes(a, parent); err != nil {
		return a, old, part, err
	}
	old, err = readChild(t.db, account, parent, name)
	switch {
	case err == nil && (exclusive || old.Kind != KindFile):
		return a, old, part, fs.ErrExist
	case err != nil && !isNotExist(err):
		return a, old, part, err
	}
	if part, err = t.partial(account, parent, name); err == nil {
		err = t.fileFits(a, size, old, part)
	}
	return a, old, part, err
}

// fileFits checks that a file of size bytes may come in place of the file old and the partial upload part, each zero when it is not there.
func (t *tx) fileFits(a *accountRow, size int64, old Node, part Partial) error {
	if old.ID == 0 && part.account == 0 {
		if err := t.s.mayAdd(1, &a.Usage); err != nil {
			return err
		}
	}
	return a.fits(size-old.Size-part.Size, 0)
}

func (t *tx) replaceFile(a *accountRow, old Node, size, blob int64, modified time.Time, seq uint64) error {
	if err := t.charge(a, size-old.Size, 0, 0); err != nil {
		return err
	}
	if err := t.release(old.Blob); err != nil {
		return err
	}
	return t.exec(`UPDATE node SET size = ?, blob = ?, modified = ?, modseq = ? WHERE id = ?`, size, blob, modified.Unix(), int64(seq), old.ID)
}

// fileGoes checks that a folder can hold a file.
func (t *tx) fileGoes(a *accountRow, parent int64) error {
	if _, err := t.folder(a, parent); err != nil {
		return err
	}
	if parent == a.Home {
		return nil
	}
	d, err := t.depth(parent, 0)
	if err == nil && d >= MaxDepth {
		err = fmt.Errorf("%w: the tree is %d deep", ErrLimit, MaxDepth)
	}
	return err
}

// ResumeUpload begins an upload that starts with the first n bytes of the partial upload of parent/name, or when there is none of the file there.
// n = -1: with all of the file, or when there is none of the partial upload: to append to a file is not to go on with what was
// to replace it. ErrInvalid when there are fewer than n bytes, fs.ErrNotExist when there is neither.
// With fresh it is for PutNewFile: the file counts as not there.
func (s *Store) ResumeUpload(ctx context.Context, account, parent int64, name string, n int64, fresh bool) (*Upload, error) {
	u, err := s.resume(ctx, account, parent, name, n, fresh)
	return u, fail("resume upload", err)
}

func (s *Store) resume(ctx context.Context, account, parent int64, name string, n int64, fresh bool) (*Upload, error) {
	var blob, size int64
	sources := []string{
		`SELECT blob, size FROM partial WHERE parent = ? AND name = ? AND account = ?`,
		`SELECT blob, size FROM node WHERE parent = ? AND name = ? AND account = ? AND kind = 3`,
	}
	switch {
	case fresh:
		sources = sources[:1]
	case n < 0:
		slices.Reverse(sources)
	}
	err := s.db.Row(sources[0], parent, name, account).Scan(&blob, &size)
	if err != nil && !fresh {
		err = s.db.Row(sources[1], parent, name, account).Scan(&blob, &size)
	}
	if err != nil {
		return nil, noRows(err)
	}
	switch {
	case n < 0:
		n = size
	case n > size:
		return nil, fmt.Errorf("%w: there are %d bytes, not %d", ErrInvalid, size, n)
	}
	credit, _, err := s.replaced(account, parent, name, fresh)
	if err != nil {
		return nil, err
	}
	b, err := s.openBlob(ctx, blob)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	u, err := s.newUpload(account, n, credit, 0)
	if err != nil {
		return nil, err
	}
	// Copied: a blob is immutable, and what was kept stays until the upload is whole.
	if err := copyRange(u, b, n); err != nil {
		u.Abort()
		return nil, err
	}
	return u, nil
}

// copyRange writes the first n bytes of b.
func copyRange(u *Upload, b Body, n int64) error {
	k, err := io.Copy(u, io.NewSectionReader(b, 0, n))
	if err == nil && k < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Partial is a cut upload that can be resumed.
type Partial struct {
	Parent   int64
	Name     string
	Size     int64
	Modified time.Time

	account, blob int64
}

// SavePartial keeps a cut upload under its name, invisible in listings, the old file untouched; counted in the quota; it is swept after
// Options.PartialAge, or when DropPartials says so. One that was kept before is replaced. What was cut because it was too much for the quota or the disk is
// kept as far as it takes half of what is left, so that there is room for the account's mail and everybody's.
func (s *Store) SavePartial(ctx context.Context, account, parent int64, name string, u *Upload) error {
	name, err := CleanName(name)
	if err == nil {
		err = s.trim(account, parent, name, u)
	}
	if err == nil {
		err = u.Prepare(ctx)
	}
	if err != nil {
		return fail("save partial upload", err)
	}
	err = s.do(ctx, func(t *tx) error {
		a, err := t.account(account)
		if err != nil {
			return err
		}
		if err := t.fileGoes(a, parent); err != nil {
			return err
		}
		old, err := t.partial(account, parent, name)
		if err != nil {
			return err
		}
		if err := t.fileFits(a, u.size, Node{}, old); err != nil {
			return err
		}
		if err := t.dropPartial(a, old); err != nil {
			return err
		}
		if err := t.charge(a, u.size, 0, 0); err != nil {
			return err
		}
		blob, err := t.putBlob(u)
		if err != nil {
			return err
		}
		t.enter(a, 1)
		return t.exec(`INSERT INTO partial (parent, name, account, blob, size, modified) VALUES (?, ?, ?, ?, ?, ?)`, parent, name, account, blob, u.size, t.now())
	})
	if err != nil {
		return fail("save partial upload", err)
	}
	u.taken()
	return nil
}

// trim cuts an upload that cannot be kept whole.
func (s *Store) trim(account, parent int64, name string, u *Upload) error {
	quota, used, err := s.quota(account)
	if err != nil {
		return err
	}
	p, err := s.Partial(context.Background(), account, parent, name)
	if err != nil && !isNotExist(err) {
		return err
	}
	most := u.size
	if u.full {
		most = u.size / 2
	}
	if left := quota - used.Bytes + p.Size; quota > 0 && u.size > left {
		most = min(most, max(left, 0)/2)
	}
	if most == 0 && u.size > 0 {
		return ErrQuota
	}
	return u.truncate(most)
}

const partialColumns = `SELECT parent, name, account, blob, size, modified FROM partial`

func scanPartial(r scanner) (p Partial, err error) {
	var modified int64
	err = r.Scan(&p.Parent, &p.Name, &p.account, &p.blob, &p.Size, &modified)
	p.Modified = unix(modified)
	return p, err
}

// Partial finds one; fs.ErrNotExist.
func (s *Store) Partial(ctx context.Context, account, parent int64, name string) (Partial, error) {
	var p Partial
	err := s.db.ScanText(partialColumns+` WHERE parent = ? AND account = ? AND name = ?`, []int64{parent, account}, []string{name}, func(r *sqldb.Row) bool {
		p = Partial{Parent: r.Int(0), Name: string(r.Bytes(1)), account: r.Int(2), blob: r.Int(3), Size: r.Int(4), Modified: unix(r.Int(5))}
		return false
	})
	if err == nil && p.Name == "" {
		err = fs.ErrNotExist
	}
	return p, fail("partial upload", err)
}

// DropPartial removes one; fs.ErrNotExist.
func (s *Store) DropPartial(ctx context.Context, account, parent int64, name string) error {
	return fail("drop partial upload", s.do(ctx, func(t *tx) error {
		a, err := t.account(account)
		if err != nil {
			return err
		}
		p, err := t.partial(account, parent, name)
		if err == nil && p.account == 0 {
			err = fs.ErrNotExist
		}
		if err != nil {
			return err
		}
		return t.dropPartial(a, p)
	}))
}

// partial finds one; the zero Partial when there is none.
func (t *tx) partial(account, parent int64, name string) (Partial, error) {
	p, err := scanPartial(t.db.Row(partialColumns+` WHERE parent = ? AND name = ? AND account = ?`, parent, name, account))
	if err = noRows(err); err != nil && isNotExist(err) {
		return Partial{}, nil
	}
	return p, err
}

func (t *tx) dropPartial(a *accountRow, p Partial) error {
	if p.account == 0 {
		return nil
	}
	if err := t.exec(`DELETE FROM partial WHERE parent = ? AND name = ?`, p.Parent, p.Name); err != nil {
		return err
	}
	t.enter(a, -1)
	if err := t.charge(a, -p.Size, 0, 0); err != nil {
		return err
	}
	return t.release(p.blob)
}

// DropPartials removes those of an account (0: all) that are older than t, and tells how many there were.
func (s *Store) DropPartials(ctx context.Context, account int64, olderThan time.Time) (int, error) {
	total := 0
	for {
		n := 0
		err := s.do(ctx, func(t *tx) error {
			list, err := t.partials(` WHERE (account = ? OR ? = 0) AND modified < ? LIMIT 500`, account, account, olderThan.Unix())
			n = len(list)
			if err != nil {
				return err
			}
			return t.dropAll(list)
		})
		if err != nil {
			return total, fail("drop partial uploads", err)
		}
		if total += n; n == 0 {
			return total, nil
		}
	}
}

// partials reads some.
func (t *tx) partials(where string, args ...any) ([]Partial, error) {
	rows, err := t.db.Query(partialColumns+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Partial
	for rows.Next() {
		p, err := scanPartial(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

func (t *tx) dropAll(list []Partial) error {
	for _, p := range list {
		a, err := t.account(p.account)
		if isNotExist(err) {
			// The account is being removed: nobody is charged any more.
			a, err = &accountRow{}, nil
			a.dirty = true
		}
		if err != nil {
			return err
		}
		if err := t.dropPartial(a, p); err != nil {
			return err
		}
	}
	return nil
}

// dropPartialsIn removes those of a folder that goes.
func (t *tx) dropPartialsIn(folder int64) error {
	list, err := t.partials(` WHERE parent = ?`, folder)
	if err != nil {
		return err
	}
	return t.dropAll(list)
}
