package storage

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// Limits of annotations. RFC 5464 section 4.1: at least 1,024 bytes of one and 10 of a mailbox.
const (
	AnnotationMax      = 64 << 10 // bytes of one value
	maxAnnotations     = 200      // of a mailbox, shared, and as many private to each who looks
	maxAnnotationBytes = 4 << 20  // of names and values that count for an account
	maxAnnotationTombs = 50       // removed ones that are remembered, of a mailbox as one looks at it
)

// Annotation is an entry with its value (RFC 5464 section 3).
type Annotation struct {
	Name  string // lowercase: "/shared/comment"
	Value []byte
}

// AnnotationChange sets an entry or removes it.
type AnnotationChange struct {
	Annotation
	Remove bool
}

// Annotations are the entry of a mailbox (0: of the server) with a name, if it is there, and those below it: depth 0 none, 1 the next level, -1 all; by
// name. viewer is whose private ones they are, 0 for the shared ones.
func (s *Store) Annotations(ctx context.Context, mailbox, viewer int64, name string, depth int) ([]Annotation, error) {
	query := `SELECT name, value FROM annotation WHERE mailbox = ? AND viewer = ? AND value IS NOT NULL AND `
	args := []any{mailbox, viewer, name}
	switch depth {
	case 0:
		query += `name = ?`
	case 1:
		query += `(name = ? OR name > ? AND name < ? AND INSTR(SUBSTR(name, ?), '/') = 0) ORDER BY name`
		args = append(args, name+"/", name+"0", len(name)+2)
	default:
		query += `(name = ? OR name > ? AND name < ?) ORDER BY name`
		args = append(args, name+"/", name+"0")
	}
	rows, err := s.db.Query(query, args...)
	if err != nil {
		return nil, fail("annotations", err)
	}
	defer rows.Close()
	var all []Annotation
	for rows.Next() {
		var a Annotation
		if err := rows.Scan(&a.Name, &a.Value); err != nil {
			return nil, fail("annotations", err)
		}
		a.Value = present(a.Value)
		all = append(all, a)
	}
	return all, fail("annotations", rows.Err())
}

// AnnotationsNamed are the values of entries of a mailbox (0: of the server), in one query; private ones are those of account. At most 100 names.
func (s *Store) AnnotationsNamed(ctx context.Context, mailbox, account int64, names []string) (map[string][]byte, error) {
	if len(names) == 0 {
		return nil, nil
	}
	query := `SELECT name, value FROM annotation WHERE mailbox = ? AND value IS NOT NULL AND (viewer, name) IN (VALUES ` + strings.Repeat("(?, ?), ", len(names)-1) + `(?, ?))`
	args := []any{mailbox}
	for _, n := range names {
		viewer := int64(0)
		if IsPrivate(n) {
			viewer = account
		}
		args = append(args, viewer, n)
	}
	rows, err := s.db.Query(query, args...)
	if err != nil {
		return nil, fail("annotations", err)
	}
	defer rows.Close()
	values := map[string][]byte{}
	for rows.Next() {
		var name string
		var value []byte
		if err := rows.Scan(&name, &value); err != nil {
			return nil, fail("annotations", err)
		}
		values[name] = present(value)
	}
	return values, fail("annotations", rows.Err())
}

// Annotated are the mailboxes of an account on which there are entries that it sees; those of others on which it has private ones may be among them.
func (s *Store) Annotated(ctx context.Context, account int64) (map[int64]bool, error) {
	all, err := readSet[int64](s.db, `SELECT DISTINCT mailbox FROM annotation WHERE account = ? AND value IS NOT NULL`, account)
	return all, fail("annotations", err)
}

// present is a value that is there, and so not nil, also when it is empty.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// IsPrivate tells whether an entry is one that each account has its own value of.
func IsPrivate(name string) bool { return name == "/private" || strings.HasPrefix(name, "/private/") }

// SetAnnotations changes entries of a mailbox of owner's (0 and 0: of the server), all or none. by is who does it, for the private ones. role, if
// not nil, becomes the mailbox's special use and is taken from the mailbox that had it, which is returned. seq is how others will find the
// change. ErrLimit when there would be too many or too large ones, fs.ErrNotExist.
func (s *Store) SetAnnotations(ctx context.Context, by, owner, mailbox int64, list []AnnotationChange, role *string) (seq int64, was Mailbox, err error) {
	err = s.do(ctx, func(t *tx) error {
		var a *accountRow
		var m *mailboxRow
		if mailbox != 0 {
			if m, err = t.mailboxRow(mailbox); err != nil {
				return err
			}
			if m.Account != owner {
				return fmt.Errorf("mailbox: %w", fs.ErrNotExist)
			}
			if a, err = t.account(owner); err != nil {
				return err
			}
		}
		if err := t.admitAnnotations(by, owner, mailbox, list); err != nil {
			return err
		}
		if seq, err = t.newID(); err != nil {
			return err
		}
		if role != nil {
			if was, err = t.setRole(m, *role); err != nil {
				return err
			}
		}
		for i := range list {
			if err := t.putAnnotation(by, owner, mailbox, &list[i], seq); err != nil {
				return err
			}
		}
		if m != nil && len(list) > 0 {
			// RFC 7162 section 3.2: an annotation that changes advances the mailbox's mod-sequence
			t.touchMailbox(m, t.nextModSeq(a))
			t.edits(m)
		}
		t.after = append(t.after, func() { t.s.annotated.Store(seq) })
		return nil
	})
	return seq, was, fail("set annotations", err)
}

// annotationKey is an entry as one looks at it.
type annotationKey struct {
	viewer int64
	name   string
}

// admitAnnotations looks whether the entries fit, before anything is written.
func (t *tx) admitAnnotations(by, owner, mailbox int64, list []AnnotationChange) error {
	sizes, err := annotationSizes(t.db, mailbox, by)
	if err != nil {
		return err
	}
	count, more := map[int64]int{}, map[int64]int64{}
	for k := range sizes {
		count[k.viewer]++
	}
	for i := range list {
		c := &list[i]
		viewer, charged := c.whose(by, owner)
		k := annotationKey{viewer, c.Name}
		old, there := sizes[k]
		n := int64(len(c.Name) + len(c.Value))
		switch {
		case c.Remove && there:
			delete(sizes, k)
			count[viewer]--
			more[charged] -= old
			continue
		case c.Remove:
			continue
		case !there:
			count[viewer]++
		}
		if count[viewer] > maxAnnotations && !there {
			return fmt.Errorf("%w: %d annotations of a mailbox", ErrLimit, maxAnnotations)
		}
		sizes[k] = n
		more[charged] += n - old
	}
	for account, n := range more {
		if n <= 0 {
			continue
		}
		var have int64
		if err := t.db.Row(`SELECT COALESCE(SUM(LENGTH(name) + LENGTH(value)), 0) FROM annotation WHERE account = ? AND value IS NOT NULL`, account).Scan(&have); err != nil {
			return err
		}
		if have+n > maxAnnotationBytes {
			return fmt.Errorf("%w: %d bytes of annotations", ErrLimit, maxAnnotationBytes)
		}
	}
	return nil
}

// whose tells for whom an entry is, and whom its bytes are counted for.
func (c *AnnotationChange) whose(by, owner int64) (viewer, charged int64) {
	if IsPrivate(c.Name) {
		return by, by
	}
	return 0, owner
}

// annotationSizes are the bytes of the entries of a mailbox, shared ones and those of by.
func annotationSizes(q sqldb.Querier, mailbox, by int64) (map[annotationKey]int64, error) {
	rows, err := q.Query(`SELECT viewer, name, LENGTH(name) + LENGTH(value) FROM annotation WHERE mailbox = ? AND viewer IN (0, ?) AND value IS NOT NULL`, mailbox, by)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	sizes := map[annotationKey]int64{}
	for rows.Next() {
		var k annotationKey
		var n int64
		if err := rows.Scan(&k.viewer, &k.name, &n); err != nil {
			return nil, err
		}
		sizes[k] = n
	}
	return sizes, rows.Err()
}

// putAnnotation writes one.
func (t *tx) putAnnotation(by, owner, mailbox int64, c *AnnotationChange, seq int64) error {
	viewer, charged := c.whose(by, owner)
	t.change(watch.Change{Account: charged, Mailbox: mailbox, Kind: watch.Annotated})
	if c.Remove {
		if err := t.exec(`UPDATE annotation SET value = NULL, seq = ? WHERE mailbox = ? AND viewer = ? AND name = ? AND value IS NOT NULL`, seq, mailbox, viewer, c.Name); err != nil {
			return err
		}
		return t.exec(`DELETE FROM annotation WHERE mailbox = ? AND viewer = ? AND value IS NULL AND seq <=
			(SELECT seq FROM annotation WHERE mailbox = ? AND viewer = ? AND value IS NULL ORDER BY seq DESC LIMIT 1 OFFSET ?)`, mailbox, viewer, mailbox, viewer, maxAnnotationTombs)
	}
	return t.exec(`INSERT INTO annotation (mailbox, viewer, name, value, seq, account) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (mailbox, viewer, name) DO UPDATE SET value = excluded.value, seq = excluded.seq, account = excluded.account`, mailbox, viewer, c.Name, present(c.Value), seq, charged)
}

// setRole makes role a mailbox's special use (RFC 6154 section 5.4), "" for none. A mailbox that had it has none from then on and is returned.
func (t *tx) setRole(m *mailboxRow, role string) (was Mailbox, err error) {
	if m == nil || m.Name == "INBOX" || m.NoSelect && role != "" {
		return was, fmt.Errorf("%w: it cannot have a special use", ErrConflict)
	}
	if m.Role == role {
		return was, nil
	}
	give := func(m *mailboxRow, role string) error {
		if err := t.exec(`UPDATE mailbox SET role = ? WHERE id = ?`, role, m.ID); err != nil {
			return err
		}
		m.Role = role
		t.edits(m)
		t.change(watch.Change{Account: m.Account, Mailbox: m.ID, Node: m.ID, Kind: watch.Mailboxes})
		return nil
	}
	if role != "" {
		all, err := t.accountMailboxes(m.Account)
		if err != nil {
			return was, err
		}
		for _, b := range all {
			if b.Role != role {
				continue
			}
			if err := give(b, ""); err != nil {
				return was, err
			}
			was = b.Mailbox
		}
	}
	return was, give(m, role)
}

// copyAnnotations gives a mailbox the entries of another one (RFC 5464 section 4.1: of INBOX, which stays when it is renamed).
func (t *tx) copyAnnotations(from, to int64) error {
	return t.exec(`INSERT INTO annotation (mailbox, viewer, name, value, seq, account) SELECT ?, viewer, name, value, seq, account FROM annotation WHERE mailbox = ? AND value IS NOT NULL`, to, from)
}

// openAnnotations finds the last change of one.
func (s *Store) openAnnotations() error {
	var seq int64
	err := s.db.Row(`SELECT COALESCE(MAX(seq), 0) FROM annotation`).Scan(&seq)
	s.annotated.Store(seq)
	return err
}

// AnnotationSeq is that of the last change of an annotation.
func (s *Store) AnnotationSeq() int64 { return s.annotated.Load() }

// AnnotationNote tells that an entry was set or removed.
type AnnotationNote struct {
	Mailbox string // as the account that asks calls it; "" is the server
	Entry   string
	Seq     int64
}

// annotationNotes is how many AnnotationsSince reads at a time.
const annotationNotes = 500

// AnnotationsSince are the entries that an account can see and that changed after seq, in the order of the changes. last is where to go on: less than
// AnnotationSeq when there are more.
func (s *Store) AnnotationsSince(ctx context.Context, account, seq int64) (notes []AnnotationNote, last int64, err error) {
	last = s.annotated.Load()
	rows, err := s.db.Query(`SELECT a.mailbox, a.name, a.seq, COALESCE(m.account, 0), COALESCE(m.name, ''), COALESCE(o.name, '')
		FROM annotation a LEFT JOIN mailbox m ON m.id = a.mailbox LEFT JOIN account o ON o.id = m.account
		WHERE a.seq > ? AND a.seq <= ? AND a.viewer IN (0, ?) ORDER BY a.seq LIMIT ?`, seq, last, account, annotationNotes)
	if err != nil {
		return nil, seq, fail("annotations", err)
	}
	defer rows.Close()
	type found struct {
		AnnotationNote
		mailbox, owner int64
		path, name     string
	}
	var all []found
	for rows.Next() {
		var f found
		if err := rows.Scan(&f.mailbox, &f.Entry, &f.Seq, &f.owner, &f.path, &f.name); err != nil {
			return nil, seq, fail("annotations", err)
		}
		all = append(all, f)
	}
	if err := rows.Err(); err != nil {
		return nil, seq, fail("annotations", err)
	}
	if len(all) == annotationNotes {
		// The last change may be cut; one change has less entries than are read.
		last = all[len(all)-1].Seq - 1
		all = slices.DeleteFunc(all, func(f found) bool { return f.Seq > last })
	}
	for _, f := range all {
		switch {
		case f.mailbox == 0:
		case f.owner == account:
			f.Mailbox = f.path
		default:
			r, err := readRights(s.db, account, f.mailbox)
			if err != nil {
				return nil, seq, fail("annotations", err)
			}
			if f.owner == 0 || !r.Has(MayLookup) || !r.Any(AnnotationRights) {
				continue
			}
			f.Mailbox = SharedName(f.name, f.path)
		}
		notes = append(notes, f.AnnotationNote)
	}
	return notes, last, nil
}

// AnnotationRights are those of which one is needed beside MayLookup (RFC 5464 section 3.3).
const AnnotationRights = MayRead | MaySee | MayWrite | MayInsert | MayPost
