package storage

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// Kind of a node.
type Kind uint8

// The kinds. A message is a node too, but has its own table and type (Entry), being of another shape and number.
const (
	KindFolder  Kind = iota + 1 // below /Mail: a name that holds mailboxes but no messages (\NoSelect)
	KindMailbox                 // below /Mail only; holds messages and further mailboxes
	KindFile

	kindName // in the table: a KindFolder below /Mail
)

// Node is a folder, mailbox or file.
type Node struct {
	ID       int64
	Account  int64
	Parent   int64 // 0 for home
	Kind     Kind
	Name     string
	Size     int64 // of a file; of a mailbox: its messages
	Modified time.Time
	Created  time.Time
	Mode     fs.FileMode // permission bits, as SITE CHMOD sets them; shown, not enforced
	Blob     int64       // of a file; 0 for the empty file and for others
	ModSeq   uint64

	mail bool // below /Mail
}

// MaxDepth is how deep the tree may be, and MaxPath how long a path in bytes.
const (
	MaxDepth = 64
	MaxPath  = 4096
)

const nodeColumns = `SELECT n.id, n.account, COALESCE(n.parent, 0), n.kind, n.name, CASE WHEN n.kind = 2 THEN COALESCE((SELECT m.size FROM mailbox m WHERE m.id = n.id), 0) ELSE n.size END,
	n.modified, n.created, n.mode, n.blob, n.modseq FROM node n`

func scanNode(r scanner) (Node, error) {
	var v [11]any
	if err := r.Scan(&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10]); err != nil {
		return Node{}, err
	}
	// Values as the driver gives them: Scan into other types goes through text, which takes longer than the query.
	return Node{ID: v[0].(int64), Account: v[1].(int64), Parent: v[2].(int64), Kind: Kind(v[3].(int64)), Name: v[4].(string), Size: v[5].(int64),
		Modified: unix(v[6].(int64)), Created: unix(v[7].(int64)), Mode: fs.FileMode(v[8].(int64)), Blob: v[9].(int64), ModSeq: uint64(v[10].(int64))}.known(), nil
}

// nodeOf is scanNode of a row of a Scan.
func nodeOf(r *sqldb.Row) Node {
	return Node{ID: r.Int(0), Account: r.Int(1), Parent: r.Int(2), Kind: Kind(r.Int(3)), Name: string(r.Bytes(4)), Size: r.Int(5),
		Modified: unix(r.Int(6)), Created: unix(r.Int(7)), Mode: fs.FileMode(r.Int(8)), Blob: r.Int(9), ModSeq: uint64(r.Int(10))}.known()
}

// known makes of the kind in the table that of a Node.
func (n Node) known() Node {
	n.mail = n.Kind == KindMailbox || n.Kind == kindName
	if n.Kind == kindName {
		n.Kind = KindFolder
	}
	return n
}

func readNode(q sqldb.Querier, account, id int64) (Node, error) {
	n, err := scanNode(q.Row(nodeColumns+` WHERE n.id = ? AND n.account = ?`, id, account))
	if err != nil {
		return Node{}, noRows(err)
	}
	return n, nil
}

func readChild(q sqldb.Querier, account, parent int64, name string) (Node, error) {
	n, err := scanNode(q.Row(nodeColumns+` WHERE n.parent = ? AND n.name = ? AND n.account = ?`, parent, name, account))
	if err != nil {
		return Node{}, noRows(err)
	}
	return n, nil
}

// putNode adds a row, for which the caller knows that there is room (mayAdd); kind instead of n.Kind when not 0.
func (t *tx) putNode(n Node, kind Kind) (int64, error) {
	a, err := t.account(n.Account)
	if err != nil {
		return 0, err
	}
	t.enter(a, 1)
	id, err := t.newID()
	if err != nil {
		return 0, err
	}
	if kind == 0 {
		kind = n.Kind
	}
	var parent any
	if n.Parent != 0 {
		parent = n.Parent
	}
	now := t.now()
	modified := now
	if !n.Modified.IsZero() {
		modified = n.Modified.Unix()
	}
	err = t.exec(`INSERT INTO node (id, account, parent, kind, name, size, modified, created, mode, blob, modseq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, n.Account, parent, int64(kind), n.Name, n.Size, modified, now, int64(n.Mode), n.Blob, int64(n.ModSeq))
	return id, err
}

// one reads the node that a query of nodeColumns finds.
func (s *Store) one(query string, args []int64, texts ...string) (Node, error) {
	var n Node
	err := s.db.ScanText(query, args, texts, func(r *sqldb.Row) bool {
		n = nodeOf(r)
		return false
	})
	if err == nil && n.ID == 0 {
		err = fs.ErrNotExist
	}
	return n, err
}

// Node by id; fs.ErrNotExist.
func (s *Store) Node(ctx context.Context, account, id int64) (Node, error) {
	n, err := s.one(nodeColumns+` WHERE n.id = ? AND n.account = ?`, []int64{id, account})
	return n, fail("node", err)
}

// Lookup finds a child by name; fs.ErrNotExist.
func (s *Store) Lookup(ctx context.Context, account, parent int64, name string) (Node, error) {
	n, err := s.one(nodeColumns+` WHERE n.parent = ? AND n.account = ? AND n.name = ?`, []int64{parent, account}, name)
	return n, fail("look up", err)
}

// Walk follows names from home ("Mail" leads to the mailboxes); none is home itself. fs.ErrNotExist.
func (s *Store) Walk(ctx context.Context, account int64, names []string) (Node, error) {
	var n Node
	for first := true; first || len(names) > 0; first = false {
		k, err := min(len(names), walkStep), error(nil)
		if n, err = s.one(walks[k], []int64{account, n.ID}, names[:k]...); err != nil {
			return Node{}, fail("walk", err)
		}
		names = names[k:]
	}
	return n, nil
}

// walkStep is how many names one query follows; SQLite has a limit of how deep queries may be nested.
const walkStep = 8

// walks are the queries of Walk by how many names there are: from a node, or from home when it is 0. Each level is found within the one above it, all in one
// picture of the tree.
var walks = func() (all [walkStep + 1]string) {
	const from = `COALESCE(NULLIF(?2, 0), (SELECT home FROM account WHERE id = ?1))`
	all[0] = nodeColumns + ` WHERE n.id = ` + from + ` AND n.account = ?1`
	above := from
	for i := 1; i < len(all); i++ {
		where := fmt.Sprintf(` n WHERE n.parent = %s AND n.name = ?%d AND n.account = ?1`, above, i+2)
		all[i] = strings.TrimSuffix(nodeColumns, ` n`) + where
		above = `(SELECT n.id FROM node` + where + `)`
	}
	return all
}()

// Children gives up to limit children (not messages) by name, those behind after. Paging keeps memory bounded.
func (s *Store) Children(ctx context.Context, account, parent int64, after string, limit int) ([]Node, error) {
	size := 0
	if after != "" { // the folder is large: this page will be full too
		size = limit
	}
	all := make([]Node, 0, size)
	err := s.db.ScanText(nodeColumns+` WHERE n.parent = ? AND n.account = ? AND n.name > ? ORDER BY n.name`, []int64{parent, account}, []string{after}, func(r *sqldb.Row) bool {
		if len(all) == limit {
			return false
		}
		all = append(all, nodeOf(r))
		return true
	})
	return all, fail("children", err)
}

// folder is the row of a folder of files that something shall be put into.
func (t *tx) folder(a *accountRow, id int64) (Node, error) {
	n, err := readNode(t.db, a.ID, id)
	switch {
	case err != nil:
		return Node{}, fmt.Errorf("folder: %w", err)
	case n.Kind == KindFile:
		return Node{}, fmt.Errorf("%w: it is a file", ErrInvalid)
	case n.mail || n.ID == a.Mail:
		return Node{}, fmt.Errorf("%w: below /Mail there are mailboxes only", fs.ErrPermission)
	}
	return n, nil
}

// depth is how many names lead to a folder. A folder that is below another one named by not gives ErrInvalid.
func (t *tx) depth(id, not int64) (int, error) {
	for d := 0; ; d++ {
		if id == not {
			return 0, fmt.Errorf("%w: a folder cannot go below itself", ErrInvalid)
		}
		var parent int64
		if err := t.db.Row(`SELECT COALESCE(parent, 0) FROM node WHERE id = ?`, id).Scan(&parent); err != nil {
			return 0, noRows(err)
		}
		if parent == 0 {
			return d, nil
		}
		id = parent
	}
}

// MakeFolder makes a folder; below /Mail use CreateMailbox. fs.ErrExist, ErrEntries.
func (s *Store) MakeFolder(ctx context.Context, account, parent int64, name string) (Node, error) {
	var n Node
	name, err := CleanName(name)
	if err == nil {
		err = s.do(ctx, func(t *tx) error {
			n, err = t.makeFolder(account, parent, name)
			return err
		})
	}
	return n, fail("make folder", err)
}

func (t *tx) makeFolder(account, parent int64, name string) (Node, error) {
	a, err := t.account(account)
	if err != nil {
		return Node{}, err
	}
	if _, err := t.folder(a, parent); err != nil {
		return Node{}, err
	}
	d, err := t.depth(parent, 0)
	if err != nil {
		return Node{}, err
	}
	if d+1 > MaxDepth {
		return Node{}, fmt.Errorf("%w: the tree is %d deep", ErrLimit, MaxDepth)
	}
	if _, err := readChild(t.db, account, parent, name); err == nil {
		return Node{}, fs.ErrExist
	} else if !isNotExist(err) {
		return Node{}, err
	}
	if err := t.s.mayAdd(1, &a.Usage); err != nil {
		return Node{}, err
	}
	id, err := t.putNode(Node{Account: account, Parent: parent, Kind: KindFolder, Name: name, Mode: 0o755, ModSeq: t.nextModSeq(a)}, 0)
	if err != nil {
		return Node{}, err
	}
	t.change(watch.Change{Account: account, Node: id, Kind: watch.NodePut, ModSeq: a.modseq})
	return readNode(t.db, account, id)
}

// Remove removes a file or an empty folder; a folder that is not empty, home and /Mail: fs.ErrPermission with a text that says why.
func (s *Store) Remove(ctx context.Context, account, node int64) error {
	return fail("remove", s.remove(ctx, account, node, nil))
}

// RemoveIf is Remove of a node whose ModSeq still is modseq; otherwise ErrConflict.
func (s *Store) RemoveIf(ctx context.Context, account, node int64, modseq uint64) error {
	return fail("remove", s.remove(ctx, account, node, &modseq))
}

func (s *Store) remove(ctx context.Context, account, node int64, modseq *uint64) error {
	return s.do(ctx, func(t *tx) error {
		a, n, err := t.ownNode(account, node)
		if err != nil {
			return err
		}
		if modseq != nil && *modseq != n.ModSeq {
			return ErrConflict
		}
		if n.Kind == KindFolder {
			if err := t.notMounted(a, node); err != nil {
				return err
			}
			if err := t.emptyFolder(node); err != nil {
				return err
			}
		}
		return t.removeNode(a, n)
	})
}

// emptyFolder checks that a folder holds nothing, and forgets cut uploads into it.
func (t *tx) emptyFolder(id int64) error {
	var holds bool
	if err := t.db.Row(`SELECT EXISTS (SELECT 1 FROM node WHERE parent = ?)`, id).Scan(&holds); err != nil {
		return err
	}
	if holds {
		return fmt.Errorf("%w: the folder is not empty", fs.ErrPermission)
	}
	return t.dropPartialsIn(id)
}

// ownNode is a file or folder that may be changed: not home, /Mail or what is below.
func (t *tx) ownNode(account, id int64) (*accountRow, Node, error) {
	a, err := t.account(account)
	if err != nil {
		return nil, Node{}, err
	}
	n, err := readNode(t.db, account, id)
	switch {
	case err != nil:
		return nil, Node{}, err
	case n.ID == a.Home:
		return nil, Node{}, fmt.Errorf("%w: the home folder stays", fs.ErrPermission)
	case n.ID == a.Mail:
		return nil, Node{}, fmt.Errorf("%w: /Mail stays", fs.ErrPermission)
	case n.mail:
		return nil, Node{}, fmt.Errorf("%w: it is a mailbox", fs.ErrPermission)
	}
	return a, n, nil
}

// removeNode removes the row of a file or empty folder, with what it charges.
func (t *tx) removeNode(a *accountRow, n Node) error {
	if err := t.exec(`DELETE FROM node WHERE id = ?`, n.ID); err != nil {
		return err
	}
	t.enter(a, -1)
	if n.Kind == KindFile {
		if err := t.charge(a, -n.Size, 0, -1); err != nil {
			return err
		}
		if err := t.release(n.Blob); err != nil {
			return err
		}
	}
	t.change(watch.Change{Account: a.ID, Node: n.ID, Kind: watch.NodeGone, ModSeq: t.nextModSeq(a)})
	return nil
}

// SetModified changes what FTP's MFMT changes.
func (s *Store) SetModified(ctx context.Context, account, node int64, m time.Time) error {
	return fail("set modified", s.setNode(ctx, account, node, `UPDATE node SET modified = ?, modseq = ? WHERE id = ?`, m.Unix()))
}

// SetMode changes what SITE CHMOD changes.
func (s *Store) SetMode(ctx context.Context, account, node int64, m fs.FileMode) error {
	return fail("set mode", s.setNode(ctx, account, node, `UPDATE node SET mode = ?, modseq = ? WHERE id = ?`, int64(m.Perm())))
}

func (s *Store) setNode(ctx context.Context, account, node int64, query string, value int64) error {
	return s.do(ctx, func(t *tx) error {
		a, n, err := t.ownNode(account, node)
		if err != nil {
			return err
		}
		seq := t.nextModSeq(a)
		t.change(watch.Change{Account: account, Node: n.ID, Kind: watch.NodePut, ModSeq: seq})
		return t.exec(query, value, int64(seq), node)
	})
}
