package storage

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/packetboat/packetboat/storage/mime"
	"github.com/packetboat/packetboat/storage/sqldb"
)

// Mail is what was parsed of a message when it was stored; the slices must not be changed and live until the next turn of the iterator only.
type Mail struct {
	Blob      int64
	Envelope  []byte    // as IMAP writes it
	Structure []byte    // BODYSTRUCTURE as IMAP writes it
	Header    []byte    // the header block with the empty line; nil when it is over 64 KiB: read the blob
	Filtered  bool      // Header is what MailFiltered's filter left of it
	Body      []byte    // the whole message; nil when it is a file: OpenBlob
	Keys      mime.Keys // nil when they were not worked out yet: Store.Keys
	Preview   []byte    // nil when it was not worked out yet: Store.Preview
	index     []byte
}

// Open is Body for reading, as OpenBlob gives it; nil when it is a file. It lives as long as Body.
func (m *Mail) Open() Body {
	if m.Body == nil {
		return nil
	}
	return newMemory(m.Body)
}

// Index is the part index.
func (m *Mail) Index() (*mime.Index, error) {
	var x mime.Index
	if err := x.UnmarshalBinary(m.index); err != nil {
		return nil, fail("part index", fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return &x, nil
}

// AppendShort appends BODY as IMAP writes it: Structure without its extension data.
func (m *Mail) AppendShort(dst []byte) ([]byte, error) {
	b, err := mime.AppendBody(dst, m.Structure)
	if err != nil {
		return dst, fail("body structure", fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return b, nil
}

// MailWant says which columns are wanted; what is not wanted is nil.
type MailWant uint8

// The columns.
const (
	WantEnvelope MailWant = 1 << iota
	WantStructure
	WantHeader
	WantIndex
	WantBody
	WantKeys
	WantPreview
)

// columns are what a row of Mail is made of.
const columns = 7

// MailRow is a Mail or why it could not be had: fs.ErrNotExist when the message went and was swept.
type MailRow struct {
	Mail
	Err error
}

// mailBatch is how many rows one query reads, and arenaMax how many bytes of them are held before the query is left: they are held
// in memory, so that a slow consumer keeps no query open. With bodies it is bodiesMax, because there may be many slow consumers. Without
// them a walk holds two batches: the one that is consumed and the next one.
const (
	mailBatch = 128
	arenaMax  = 2 << 20
	bodiesMax = 512 << 10
)

// Mail gives the rows of the entries of p at the indexes (ascending), in that order, in few queries. i is the index in p.
func (s *Store) Mail(ctx context.Context, p *Snapshot, indexes []int, want MailWant) iter.Seq2[int, MailRow] {
	return s.mail(ctx, p, indexes, mailWanted{want, nil})
}

// MailFiltered is Mail with what a filter leaves of each header, which is kept as such for those who ask with the same fields again. Without
// WantHeader, with WantBody and with no filter it is Mail.
func (s *Store) MailFiltered(ctx context.Context, p *Snapshot, indexes []int, want MailWant, f *mime.Filter) iter.Seq2[int, MailRow] {
	if want&WantHeader == 0 || want&WantBody != 0 {
		f = nil
	}
	return s.mail(ctx, p, indexes, mailWanted{want, f})
}

// mailWanted is what is wanted of each row.
type mailWanted struct {
	MailWant
	filter *mime.Filter // of the header; nil: all of it
}

func (s *Store) mail(ctx context.Context, p *Snapshot, indexes []int, want mailWanted) iter.Seq2[int, MailRow] {
	return func(yield func(int, MailRow) bool) {
		w := &mailWalk{s: s, ctx: ctx, p: p, want: want, rest: indexes}
		defer w.close()
		for w.next() {
			for k, i := range w.part.indexes {
				row := MailRow{Err: fail("mail", w.part.err)}
				if w.part.err == nil {
					row = w.part.rows.find(k, p.at(i).blob)
				}
				if !yield(i, row) {
					return
				}
			}
		}
	}
}

// mailRows has the rows from the cache, or reads them into own. They must not be changed.
func (s *Store) mailRows(own *mailRows, p *Snapshot, indexes []int, want mailWanted) (*mailRows, error) {
	if !s.caches(indexes, want) {
		return own, own.read(s, p, indexes, want)
	}
	if b := s.mails.get(p, indexes, want); b != nil {
		return b, nil
	}
	err := own.read(s, p, indexes, want)
	if err == nil {
		s.mails.put(own, p, indexes, want)
	}
	return own, err
}

// caches tells whether a batch is one for the cache.
func (s *Store) caches(indexes []int, want mailWanted) bool {
	return len(indexes) >= mailCached && want.MailWant&WantBody == 0 && want.MailWant != WantKeys
}

// mailRows are the rows of one query. Their bytes follow one another in arena.
type mailRows struct {
	arena []byte
	rows  []mailAt
	byID  map[int64]int // made when the rows do not come in the order in which they are wanted
	args  []int64
	cut   bool // there are more, but they are large
	want  mailWanted
	short bool // headers are filtered
}

// mailRowsPool has those that nobody uses: their arenas grew to what a batch needs.
var mailRowsPool = sync.Pool{New: func() any { return new(mailRows) }}

type mailAt struct {
	blob   int64
	from   int
	len    [columns]int32 // of the columns; -1: NULL
	inline bool           // all of it is in head and data
}

func (b *mailRows) read(s *Store, p *Snapshot, indexes []int, want mailWanted) error {
	b.arena, b.rows, b.byID, b.cut, b.want, b.short = b.arena[:0], b.rows[:0], nil, false, want, want.filter != nil
	first, last := p.at(indexes[0]).blob, p.at(indexes[0]).blob
	b.args = b.args[:0]
	for _, i := range indexes {
		id := p.at(i).blob
		first, last = min(first, id), max(last, id)
		b.args = append(b.args, id)
	}
	// Messages that came one after the other lie one after the other; each has an id beside its blob's. What lies between is read
	// too, so that with bodies there may be nothing.
	apart := int64(4)
	if want.MailWant&WantBody != 0 {
		apart = 2
	}
	if last-first < apart*int64(len(indexes)) && len(indexes) > 1 {
		return s.db.Scan(mailQuery(want.MailWant, true), append(b.args[:0], first, last), b.add)
	}
	return s.db.ScanEach(mailQuery(want.MailWant, false), b.args, b.add)
}

// add takes a row of mailQuery, unless there are so many bytes already that the query is left.
func (b *mailRows) add(row *sqldb.Row) bool {
	want, limit := b.want.MailWant, arenaMax
	if want&WantBody != 0 {
		limit = bodiesMax
	}
	if b.cut = len(b.arena) > limit; b.cut {
		return false
	}
	r := mailAt{blob: row.Int(0), from: len(b.arena), inline: want&WantBody != 0 && row.Int(1) == 1}
	at := 1
	if want&WantBody != 0 {
		at = 2
	}
	for i, c := range &mailColumns {
		r.len[i] = -1
		if want&c.want == 0 {
			continue
		}
		if p := row.Bytes(at); p != nil {
			before := len(b.arena)
			if i == headColumn && b.want.filter != nil {
				b.arena = b.want.filter.Append(b.arena, p)
			} else {
				b.arena = append(b.arena, p...)
			}
			r.len[i] = int32(len(b.arena) - before)
		}
		at++
	}
	b.rows = append(b.rows, r)
	return true
}

// mailColumns are those of a row in the order in which they lie in the arena.
var mailColumns = [columns]struct {
	want MailWant // any of them
	name string
}{
	{WantEnvelope, "l.envelope"}, {WantStructure, "l.structure"}, {WantHeader | WantBody, "b.head"}, {WantBody, "b.data"},
	{WantIndex, "l.parts"}, {WantKeys, "l.keys"}, {WantPreview, "l.preview"},
}

const headColumn = 2

// mailQueries are the texts made so far, by want and whether a range is asked for.
var mailQueries [2][1 << columns]atomic.Pointer[string]

// mailQuery asks for the blob, with bodies whether it is a row, and what is wanted: of a range of blobs, or of one.
func mailQuery(want MailWant, between bool) string {
	kept, where := &mailQueries[0][want], " = ?"
	if between {
		kept, where = &mailQueries[1][want], " BETWEEN ? AND ?"
	}
	if q := kept.Load(); q != nil {
		return *q
	}
	id, from := "l.blob", "mail l"
	if want&(WantHeader|WantBody) != 0 {
		from = "mail l JOIN blob b ON b.id = l.blob"
		if want&^(WantHeader|WantBody) == 0 {
			id, from = "b.id", "blob b"
		}
	}
	query := "SELECT " + id
	if want&WantBody != 0 {
		query += ", CASE WHEN b.key IS NULL THEN 1 ELSE 0 END"
	}
	for _, c := range mailColumns {
		if want&c.want != 0 {
			query += ", " + c.name
		}
	}
	query += " FROM " + from + " WHERE " + id + where
	kept.Store(&query)
	return query
}

// size is how many bytes of the arena are the row's.
func (r *mailAt) size() (n int) {
	for _, l := range r.len {
		n += int(max(l, 0))
	}
	return n
}

// at is where the row of a blob lies, nil if there is none; it is likely the k-th.
func (b *mailRows) at(k int, blob int64) *mailAt {
	if k < len(b.rows) && b.rows[k].blob == blob {
		return &b.rows[k]
	}
	if b.byID == nil {
		b.byID = make(map[int64]int, len(b.rows))
		for i, r := range b.rows {
			b.byID[r.blob] = i
		}
	}
	if k, ok := b.byID[blob]; ok {
		return &b.rows[k]
	}
	return nil
}

// find is the row of a blob; it is likely the k-th.
func (b *mailRows) find(k int, blob int64) MailRow {
	r := b.at(k, blob)
	if r == nil {
		return MailRow{Mail: Mail{Blob: blob}, Err: fail("mail", fs.ErrNotExist)}
	}
	at := r.from
	cut := func(i int) []byte {
		if r.len[i] < 0 {
			return nil
		}
		end := at + int(r.len[i])
		c := b.arena[at:end:end]
		at = end
		return c
	}
	m := Mail{Blob: blob, Envelope: cut(0), Structure: cut(1)}
	head := at
	m.Header, m.Filtered = cut(headColumn), b.short
	// Header and the rest follow one another, as they do in the message.
	if cut(3); b.want.MailWant&WantBody != 0 && r.inline {
		m.Body = b.arena[head:at:at]
	}
	if b.want.MailWant&WantHeader == 0 {
		m.Header = nil
	}
	m.index = cut(4)
	if k := mime.Keys(cut(5)); k.Check() == nil {
		m.Keys = k
	}
	if p := cut(6); len(p) > 0 && p[0] == previewVersion {
		m.Preview = p[1:]
	}
	return MailRow{Mail: m}
}
