package textindex

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of an Index.
type Options struct {
	// Identity of the store; segments of another one are removed.
	Identity uint64
	// Generation is the greatest number that Commit was called with, as the store remembers it. A segment with a greater one was written after
	// the time to which the store was set back, so its ids may mean something else now: it is removed.
	Generation uint64
	// Commit makes a generation durable in the store. It is called before a segment with that number is put in place.
	Commit func(generation uint64) error
	// Version of what the caller makes of its documents (folding, extraction): segments of another one are removed.
	Version string
	// Lost, if not nil, is called when a segment was removed because it cannot be read, so that there is a gap to fill. It must not wait.
	Lost   func()
	Logger *slog.Logger
}

// Index is an open folder of segments. Readers may be made from any goroutine; Publish, Merge and Drop are for one at a time.
type Index struct {
	dir     string
	o       Options
	log     *slog.Logger
	version uint64
	space   func(dir string) (free, total int64, ok bool)

	mu         sync.Mutex
	segs       []*segment // in order of ids, no two overlap
	generation uint64
	lost       int   // segments that were removed since they could not be read
	err        error // the last such fault
	closed     bool
}

const suffix = ".seg"

// Open opens the index in dir, making the folder if there is none. Segments that cannot be used are removed; that is no error.
func Open(dir string, o Options) (*Index, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	x := &Index{dir: dir, o: o, log: o.Logger, version: versionOf(magic + o.Version), generation: o.Generation, space: space}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("text index: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("text index: %w", err)
	}
	var all []*segment
	for _, n := range names {
		path := filepath.Join(dir, n.Name())
		switch {
		case strings.HasSuffix(n.Name(), suffix):
			s, err := openSegment(path, x.wants)
			if err == nil {
				all = append(all, s)
				continue
			}
			x.log.Info("removing a segment of the text index, to be built again", "file", n.Name(), "reason", err)
		case !strings.HasSuffix(n.Name(), suffix+".tmp"):
			continue // not ours
		}
		if err := os.Remove(path); err != nil {
			x.log.Warn("removing a segment of the text index", "file", n.Name(), "error", err)
		}
	}
	x.adopt(all)
	return x, nil
}

func (x *Index) wants(h *head) bool {
	return h.identity == x.o.Identity && h.version == x.version && h.generation <= x.o.Generation
}

// adopt takes the segments found, the newest first: one that overlaps with a newer one was merged into it before a crash.
func (x *Index) adopt(all []*segment) {
	slices.SortFunc(all, func(a, b *segment) int { return cmp.Compare(b.generation, a.generation) })
	for _, s := range all {
		if slices.ContainsFunc(x.segs, func(o *segment) bool { return s.after < o.to && o.after < s.to }) {
			s.release()
			os.Remove(s.path)
			continue
		}
		x.segs = append(x.segs, s)
	}
	slices.SortFunc(x.segs, func(a, b *segment) int { return cmp.Compare(a.to, b.to) })
	for i, s := range x.segs {
		s.checked = time.Now().Add(time.Duration(i+1)*time.Minute - recheck) // one after the other
	}
}

// Close closes the index. Readers that are open go on.
func (x *Index) Close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.segs {
		s.release()
	}
	x.segs, x.closed = nil, true
}

// fault removes a segment that cannot be read.
func (x *Index) fault(s *segment, err error) {
	if s.damaged.Swap(true) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.Index(x.segs, s)
	if i < 0 {
		return
	}
	x.segs = slices.Delete(slices.Clone(x.segs), i, i+1)
	x.lost++
	x.err = fmt.Errorf("%s: %w", filepath.Base(s.path), err)
	x.log.Warn("a segment of the text index cannot be read; it is built again", "file", filepath.Base(s.path), "error", err)
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		x.log.Warn("removing a segment of the text index", "error", err)
	}
	s.release()
	if x.o.Lost != nil {
		x.o.Lost()
	}
}

// Range is ids above After, up to To.
type Range struct{ After, To int64 }

// Gaps are the ranges that no segment covers, ascending. The last one has no end.
func (x *Index) Gaps() []Range {
	x.mu.Lock()
	defer x.mu.Unlock()
	var gaps []Range
	last := int64(0)
	for _, s := range x.segs {
		if s.bridge > last {
			gaps = append(gaps, Range{last, s.bridge})
		}
		last = s.to
	}
	return append(gaps, Range{last, math.MaxInt64})
}

// Bridge notes that there is no document in a gap that ends where a segment begins, and never will be.
func (x *Index) Bridge(gap Range) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.segs {
		if s.bridge == gap.To {
			s.bridge = gap.After
		}
	}
}

// Publish makes a segment of what b holds, which is all that there is in the range, and empties b. A range without documents needs none.
// ErrNoRoom.
func (x *Index) Publish(b *Builder, r Range) error {
	defer b.reset()
	if b.Len() == 0 {
		return nil
	}
	return x.put(r, nil, b.estimate(), func(path string, h *head) error { return b.write(path, h) })
}

var errClosed = errors.New("the text index is closed")

// put writes a segment, which will have about need bytes, and puts it in the place of old ones.
func (x *Index) put(r Range, old []*segment, need int64, write func(path string, h *head) error) error {
	x.mu.Lock()
	x.generation++
	h := &head{identity: x.o.Identity, version: x.version, generation: x.generation, after: r.After, to: r.To}
	closed := x.closed
	x.mu.Unlock()
	if closed {
		return errClosed
	}
	if err := x.Room(need); err != nil {
		return err
	}
	path := filepath.Join(x.dir, fmt.Sprintf("%016x%s", h.generation, suffix))
	if err := write(path+".tmp", h); err != nil {
		os.Remove(path + ".tmp")
		return fmt.Errorf("text index: %w", err)
	}
	if x.o.Commit != nil {
		if err := x.o.Commit(h.generation); err != nil {
			os.Remove(path + ".tmp")
			return fmt.Errorf("text index: %w", err)
		}
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("text index: %w", err)
	}
	s, err := openSegment(path, func(o *head) bool { return *o == *h })
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("text index: %w", err)
	}
	s.checked = time.Now()
	return x.replace(s, old)
}

// replace puts s in the place of old. It fails when one of them went meanwhile.
func (x *Index) replace(s *segment, old []*segment) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	segs := slices.Clone(x.segs)
	for _, o := range old {
		i := slices.Index(segs, o)
		if i < 0 || x.closed {
			s.release()
			os.Remove(s.path)
			return fmt.Errorf("text index: %w", errDamaged)
		}
		segs = slices.Delete(segs, i, i+1)
	}
	if x.closed {
		s.release() // complete, and found at the next start
		return nil
	}
	segs = append(segs, s)
	slices.SortFunc(segs, func(a, b *segment) int { return cmp.Compare(a.to, b.to) })
	x.segs = segs
	for _, o := range old {
		os.Remove(o.path)
		o.release()
	}
	return nil
}

// Drop removes all segments.
func (x *Index) Drop() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	for _, s := range x.segs {
		errs = append(errs, os.Remove(s.path))
		s.release()
	}
	x.segs, x.lost, x.err = nil, 0, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("text index: %w", err)
	}
	return nil
}

// Stats of an Index.
type Stats struct {
	Documents int64 // that it has
	Dead      int64 // of them, known to be gone
	Segments  int
	Bytes     int64 // on disk
	Text      int64 // bytes of text in it, before compression
	To        int64 // the greatest id that is covered
	Lost      int   // segments that could not be read since the start
	Err       error // the last fault of that kind
}

// Stats tells how large it is.
func (x *Index) Stats() Stats {
	x.mu.Lock()
	defer x.mu.Unlock()
	st := Stats{Segments: len(x.segs), Lost: x.lost, Err: x.err}
	for _, s := range x.segs {
		st.Documents += s.numDocs
		st.Dead += s.dead.Load()
		st.Bytes += s.size
		st.Text += s.text
		st.To = s.to
	}
	return st
}

// Rest gives back memory of segments that nobody asked for a while.
func (x *Index) Rest(unused time.Duration) {
	x.mu.Lock()
	segs := x.segs
	x.mu.Unlock()
	for _, s := range segs {
		s.mu.Lock()
		if time.Since(s.used) > unused {
			s.table = nil
		}
		s.mu.Unlock()
	}
}

// Forget notes that documents are gone. Their text goes when their segment is written anew.
func (x *Index) Forget(ids []int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		i, _ := slices.BinarySearchFunc(x.segs, id, func(s *segment, id int64) int { return cmp.Compare(s.to, id) })
		if i < len(x.segs) && id > x.segs[i].after {
			x.segs[i].dead.Add(1)
		}
	}
}
