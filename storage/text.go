package storage

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/packetboat/packetboat/storage/blob"
	"github.com/packetboat/packetboat/storage/mime"
	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/textindex"
)

// textFolder holds the text index. It may be removed while the store is closed: it is built again.
const textFolder = "search"

// texts is the store's text index and what builds it, by the id of a message's blob. It follows the rows of mail, which are the truth: what lies
// in a range that no segment of the index covers is read and added. Notes of commits only tell that it is time to look.
type texts struct {
	index *textindex.Index // nil: there is none

	fresh atomic.Int64 // messages committed since the rows were looked at last
	bytes atomic.Int64 // and their bytes, at most textPart of each
	hint  chan struct{}

	build    sync.Mutex  // held by who builds
	again    atomic.Bool // who builds shall stop, as all is built again
	building atomic.Bool
	fault    atomic.Pointer[error] // of the last attempt; nil when it went well
}

// When the index is brought up to date: as soon as so much is new, or after textWait when anything is or when a part of it could not be read, and in any case after
// textSafety. Until then a search reads itself what the index does not have.
const (
	textFresh  = 128
	textBytes  = 8 << 20
	textPart   = 1 << 20
	textTick   = time.Second
	textWait   = time.Minute
	textSafety = 10 * time.Minute
	textBatch  = 32              // rows read in one go
	textUnused = 5 * time.Minute // after which its tables leave the memory
)

// openTexts opens the index. Without one searches read messages, so trouble with it is no trouble of the store.
func (s *Store) openTexts(ctx context.Context, dir string) {
	s.texts.hint = make(chan struct{}, 1)
	if s.o.NoTextIndex {
		return
	}
	identity, generation, err := s.textState(ctx)
	if err == nil {
		s.texts.index, err = textindex.Open(filepath.Join(dir, textFolder), textindex.Options{
			Identity: identity, Generation: generation, Logger: s.log, Version: mime.SearchVersion + " " + norm.Version,
			Lost:   s.texts.wake,
			Commit: func(g uint64) error { return s.setCounter(context.Background(), "text generation", int64(g)) },
		})
	}
	if err != nil {
		s.texts.fault.Store(&err)
		s.log.Error("there is no text index: searches read every message", "error", err)
	}
}

// textState reads, and at first makes, what ties the index to this database.
func (s *Store) textState(ctx context.Context) (identity, generation uint64, err error) {
	get := func(name string) (v int64, err error) {
		err = s.db.Row(`SELECT value FROM counter WHERE name = ?`, name).Scan(&v)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return v, err
	}
	id, err := get("text identity")
	if err == nil && id == 0 {
		var b [8]byte
		rand.Read(b[:])
		id = int64(binary.LittleEndian.Uint64(b[:])>>1 | 1)
		err = s.setCounter(ctx, "text identity", id)
	}
	if err != nil {
		return 0, 0, err
	}
	g, err := get("text generation")
	return uint64(id), uint64(g), err
}

func (s *Store) setCounter(ctx context.Context, name string, value int64) error {
	return s.do(ctx, func(t *tx) error {
		return t.exec(`INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	})
}

// note is called after a commit that added messages.
func (x *texts) note(n int, bytes int64) {
	if x.index == nil {
		return
	}
	if fresh, size := x.fresh.Add(int64(n)), x.bytes.Add(bytes); fresh >= textFresh || size >= textBytes {
		x.wake()
	}
}

func (x *texts) wake() {
	select {
	case x.hint <- struct{}{}:
	default:
	}
}

// runTexts keeps the index up to date until ctx ends.
func (s *Store) runTexts(ctx context.Context) {
	x := &s.texts
	if x.index == nil {
		return
	}
	tick := time.NewTicker(textTick)
	defer tick.Stop()
	var looked time.Time
	var lost int // parts that could not be read, when it was looked
	for {
		hinted := false
		select {
		case <-ctx.Done():
			return
		case <-s.stop:
			return
		case <-x.hint:
			hinted = true
		case <-tick.C:
			x.index.Rest(textUnused)
		}
		if !hinted && !x.due(time.Since(looked), lost) {
			continue
		}
		lost = x.index.Stats().Lost
		p := &pacer{s: s, ctx: ctx, gentle: true}
		if err := s.buildTexts(p); err != nil && !errors.Is(err, errAgain) && !p.over() {
			s.log.Warn("building the text index", "error", err)
			// Whatever it is, not at once again.
			select {
			case <-ctx.Done():
			case <-s.stop:
			case <-time.After(textWait):
			}
		}
		looked = time.Now()
	}
}

// due tells whether to look again, that long after it was looked last, when so many parts had been lost.
func (x *texts) due(since time.Duration, lost int) bool {
	return since >= textSafety || since >= textWait && (x.fresh.Load() > 0 || x.index.Stats().Lost != lost)
}

// errAgain ends a build because another is to begin.
var errAgain = errors.New("the index is built anew")

// pacer keeps the build from taking the machine from others: it rests as long as it worked, and nineteen times as long while somebody writes.
type pacer struct {
	s       *Store
	ctx     context.Context
	gentle  bool
	began   time.Time
	commits uint64
}

const paceWork = 5 * time.Millisecond

func (p *pacer) over() bool {
	select {
	case <-p.ctx.Done():
	case <-p.s.stop:
	default:
		return false
	}
	return true
}

func (p *pacer) wait() error {
	switch {
	case p.ctx.Err() != nil:
		return p.ctx.Err()
	case p.over():
		return errClosed
	case p.s.texts.again.Load():
		return errAgain
	case !p.gentle:
		return nil
	}
	worked := time.Since(p.began)
	if !p.began.IsZero() && worked < paceWork {
		return nil
	}
	if !p.began.IsZero() {
		rest := worked
		if c := p.s.commits.Load(); c != p.commits {
			rest *= 19
		}
		select {
		case <-p.ctx.Done():
		case <-p.s.stop:
		case <-time.After(min(rest, time.Second)):
		}
	}
	p.began, p.commits = time.Now(), p.s.commits.Load()
	return nil
}

// BuildIndex brings the text index up to date and returns when it is. Run does so by itself over time.
func (s *Store) BuildIndex(ctx context.Context) error {
	if s.texts.index == nil {
		return nil
	}
	return fail("text index", s.buildTexts(&pacer{s: s, ctx: ctx}))
}

// Reindex throws the text index away; Run or BuildIndex make it anew. Searches find the same meanwhile, but take longer.
func (s *Store) Reindex(ctx context.Context) error {
	x := &s.texts
	if x.index == nil {
		return fail("text index", fmt.Errorf("%w: it is switched off", ErrInvalid))
	}
	x.again.Store(true)
	x.build.Lock()
	err := x.index.Drop()
	x.again.Store(false)
	x.build.Unlock()
	x.wake()
	return fail("text index", err)
}

// buildTexts fills the gaps of the index and merges its segments.
func (s *Store) buildTexts(p *pacer) error {
	x := &s.texts
	x.build.Lock()
	defer x.build.Unlock()
	x.building.Store(true)
	defer x.building.Store(false)
	x.fresh.Store(0)
	x.bytes.Store(0)
	err := x.index.Room(0)
	if err == nil {
		err = s.fillTexts(p)
	}
	for more := err == nil; more; {
		more, err = x.index.Merge(s.liveMail, p.wait)
	}
	if p.over() || errors.Is(err, errAgain) {
		return err
	}
	x.fault.Store(nil)
	if err != nil {
		x.fault.Store(&err)
	}
	return err
}

func (s *Store) fillTexts(p *pacer) error {
	b := new(textindex.Builder)
	var t mime.SearchText
	for _, gap := range s.texts.index.Gaps() {
		from, last := gap.After, gap.After
		for {
			if err := p.wait(); err != nil {
				return err
			}
			n, upTo, err := s.addTexts(p.ctx, b, &t, textindex.Range{After: last, To: gap.To})
			if err != nil {
				return err
			}
			last = max(last, upTo)
			full := b.Full()
			end := n < textBatch && !full // full: it stopped in the middle
			if !end && !full {
				continue
			}
			r := textindex.Range{After: from, To: last}
			if end && gap.To < math.MaxInt64 {
				r.To = gap.To // ids only grow: nothing comes between any more
				if b.Len() == 0 {
					s.texts.index.Bridge(r)
				}
			}
			if err := s.texts.index.Publish(b, r); err != nil {
				return err
			}
			if from = last; end {
				break
			}
		}
	}
	return nil
}

// addTexts adds the messages of some rows, until the builder is full. It returns how many and the last id.
func (s *Store) addTexts(ctx context.Context, b *textindex.Builder, t *mime.SearchText, r textindex.Range) (n int, last int64, err error) {
	var stopped error
	err = s.db.Scan(`SELECT l.blob, l.parts, b.key, b.size, b.head, b.data FROM mail l JOIN blob b ON b.id = l.blob WHERE l.blob > ? AND l.blob <= ? ORDER BY l.blob LIMIT ?`,
		[]int64{r.After, r.To, textBatch}, func(row *sqldb.Row) bool {
			if stopped = ctx.Err(); stopped != nil {
				return false
			}
			d := textindex.Doc{ID: row.Int(0)}
			if s.readText(ctx, t, row) {
				d.Fields, d.Forms, d.Inner, d.Body, d.More, d.Opaque = t.Fields, t.Forms, t.Inner, t.Body, t.More, t.Opaque
			} else {
				d.Opaque = true
			}
			b.Add(&d)
			n, last = n+1, d.ID
			return !b.Full() // texts are up to 1 MiB each, and a batch of them is more than should be held
		})
	return n, last, cmp.Or(err, stopped)
}

// readText reads the text of a message, of a row of addTexts; false when it cannot, and a search must try itself.
func (s *Store) readText(ctx context.Context, t *mime.SearchText, row *sqldb.Row) (ok bool) {
	id := row.Int(0)
	defer func() {
		if r := recover(); r != nil { // mail that breaks a decoder shall not end the program
			s.log.Error("panic while reading a message for the text index", "blob", id, "panic", fmt.Sprint(r))
			ok = false
		}
	}()
	var x mime.Index
	if err := x.UnmarshalBinary(row.Bytes(1)); err != nil {
		return false
	}
	var body Body
	if key := row.Bytes(2); key != nil {
		var err error
		if body, err = s.openFile(ctx, id, blob.Key(key), row.Int(3)); err != nil {
			return false
		}
	} else {
		head, data := row.Bytes(4), row.Bytes(5)
		body = newMemory(append(append(rowBuffer(len(head)+len(data)), head...), data...))
	}
	defer body.Close()
	return t.Read(body, &x) == nil
}

// liveMail are the ids of messages of a range, ascending.
func (s *Store) liveMail(r textindex.Range) ([]int64, error) {
	return readAll[int64](s.db, `SELECT blob FROM mail WHERE blob > ? AND blob <= ? ORDER BY blob`, r.After, r.To)
}

// TextNeedle is what a TextSearch looks for: a text prepared with mime.AppendCasemap.
type TextNeedle struct {
	Text    []byte
	Body    bool   // in the texts of the body only
	Field   string // in the header fields of that name only
	Address bool   // with Field: also in their values without comments
}

// TextSearch asks the text index. It is for one goroutine. Close it.
type TextSearch struct {
	r       *textindex.Reader
	queries []*textindex.Query
}

// TextSearch gives the index as it is now; nil when there is none, or nothing in it.
func (s *Store) TextSearch() *TextSearch {
	if x := s.texts.index; x != nil {
		if r := x.Reader(); r != nil {
			return &TextSearch{r: r}
		}
	}
	return nil
}

// Close gives it back.
func (t *TextSearch) Close() { t.r.Close() }

// Look begins to look for a needle and gives its number.
func (t *TextSearch) Look(n TextNeedle) int {
	needle := textindex.Needle{Where: textindex.InText, Text: n.Text}
	switch {
	case n.Body:
		needle.Where = textindex.InBody
	case n.Field != "":
		needle.Where, needle.Name, needle.Loose = textindex.InField, mime.AppendCasemap(nil, []byte(n.Field)), n.Address
	}
	t.queries = append(t.queries, t.r.Query(needle))
	return len(t.queries) - 1
}

// Ask tells whether a message (Entry.Blob) has the needle of that number, if the index knows. What it knows is exact. It is fastest when the
// ids ascend.
func (t *TextSearch) Ask(needle int, id int64) (has, known bool) {
	v := t.queries[needle].Ask(id)
	return v == textindex.Yes, v != textindex.Unknown
}

// TextStats tells of the text index.
type TextStats struct {
	On        bool
	Indexed   int64 // messages that it knows, each once for all its copies
	Unindexed int64 // messages that a search must read
	Dead      int64 // messages in it that are gone
	Segments  int
	Bytes     int64 // on disk
	Text      int64 // bytes of text in it, before compression
	Building  bool
	Err       error // why it is not up to date, if anything went wrong
}

// TextStats counts what the index has and what it lacks.
func (s *Store) TextStats(ctx context.Context) (TextStats, error) {
	x := &s.texts
	var st TextStats
	if f := x.fault.Load(); f != nil {
		st.Err = *f
	}
	if x.index == nil {
		return st, nil
	}
	i := x.index.Stats()
	st.On, st.Building = true, x.building.Load()
	st.Indexed, st.Dead, st.Segments, st.Bytes, st.Text = i.Documents-i.Dead, i.Dead, i.Segments, i.Bytes, i.Text
	if st.Err == nil {
		st.Err = i.Err
	}
	for _, gap := range x.index.Gaps() {
		if err := ctx.Err(); err != nil {
			return st, err
		}
		var n int64
		if err := s.db.Row(`SELECT COUNT(*) FROM mail WHERE blob > ? AND blob <= ?`, gap.After, gap.To).Scan(&n); err != nil {
			return st, fail("text index", err)
		}
		st.Unindexed += n
	}
	return st, nil
}

// Unindexed counts the messages of a mailbox that the text index does not have yet; all when there is none.
func (s *Store) Unindexed(ctx context.Context, mailbox int64) (total int64, err error) {
	gaps := []textindex.Range{{To: math.MaxInt64}}
	if x := s.texts.index; x != nil {
		gaps = x.Gaps()
	}
	for _, gap := range gaps {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		var n int64
		if err := s.db.Row(`SELECT COUNT(*) FROM message WHERE mailbox = ? AND blob > ? AND blob <= ?`, mailbox, gap.After, gap.To).Scan(&n); err != nil {
			return 0, fail("text index", err)
		}
		total += n
	}
	return total, nil
}
