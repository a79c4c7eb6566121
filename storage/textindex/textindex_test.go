package textindex

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// plain is what the index must say, by looking.
func plain(d *Doc, n Needle) Verdict {
	if d.Opaque || bytes.IndexByte(n.Text, Separator) >= 0 || n.Where != InField && len(n.Text) == 0 || n.Where == InField && len(n.Name) == 0 {
		return Unknown
	}
	in := func(b []byte) bool { return bytes.Contains(b, n.Text) }
	found := false
	switch n.Where {
	case InBody:
		found = in(d.Body)
	case InText:
		found = in(d.Body) || in(d.Fields) || in(d.Inner)
	case InField:
		for _, line := range bytes.Split(append(slices.Clone(d.Fields), d.Forms...), []byte{Separator}) {
			if n.Loose {
				line = bytes.TrimPrefix(line, []byte{Loose})
			}
			value, ok := bytes.CutPrefix(line, append(slices.Clone(n.Name), ": "...))
			found = found || ok && in(value)
		}
	}
	switch {
	case found:
		return Yes
	case d.More && n.Where != InField:
		return Unknown
	}
	return No
}

// world is an index with what should be in it.
type world struct {
	t    testing.TB
	dir  string
	x    *Index
	docs map[int64]*Doc
	next int64
	gen  uint64
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), docs: map[int64]*Doc{}}
	w.reopen()
	return w
}

func (w *world) reopen() {
	if w.x != nil {
		w.x.Close()
	}
	var err error
	w.x, err = Open(w.dir, Options{Identity: 7, Version: "1", Generation: w.gen, Commit: func(g uint64) error { w.gen = g; return nil }})
	if err != nil {
		w.t.Fatal(err)
	}
}

// fill builds what is missing.
func (w *world) fill() {
	ids := w.ids(Range{0, 1 << 60})
	for _, gap := range w.x.Gaps() {
		var b Builder
		last := int64(0)
		for _, id := range ids {
			if id > gap.After && id <= gap.To {
				b.Add(w.docs[id])
				last = id
			}
		}
		if last == 0 {
			if gap.To < 1<<60 {
				w.x.Bridge(gap)
			}
			continue
		}
		if err := w.x.Publish(&b, Range{gap.After, min(gap.To, max(last, w.next))}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) ids(r Range) (ids []int64) {
	for id := range w.docs {
		if id > r.After && id <= r.To {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (w *world) merge() {
	for {
		did, err := w.x.Merge(func(r Range) ([]int64, error) { return w.ids(r), nil }, func() error { return nil })
		if err != nil {
			w.t.Fatal(err)
		}
		if !did {
			return
		}
	}
}

func words(r *rand.Rand, n int) []byte {
	list := strings.Fields("THE QUICK BROWN FOX E\u0301TE\u0301 ДОБРЫЙ ДЕНЬ 日本語 検索 A I TO <HTML> </P> 12345 \r\n\r\n AAAA ABABAB FOX@EXAMPLE.TEST")
	var b []byte
	for len(b) < n {
		if r.IntN(8) == 0 {
			b = fmt.Appendf(b, "%X", r.IntN(4096))
		} else {
			b = append(b, list[r.IntN(len(list))]...)
		}
		if r.IntN(3) > 0 {
			b = append(b, ' ')
		}
	}
	return b
}

func randomDoc(r *rand.Rand, id int64) *Doc {
	d := &Doc{ID: id, More: r.IntN(20) == 0, Opaque: r.IntN(30) == 0}
	line := func(name string, n int) []byte {
		return append(append([]byte(name+": "), words(r, n)...), Separator)
	}
	for range r.IntN(4) {
		d.Fields = append(d.Fields, line([]string{"SUBJECT", "FROM", "X-LONG"}[r.IntN(3)], r.IntN(60))...)
	}
	if r.IntN(10) == 0 {
		d.Fields = append(d.Fields, line("X-LONG", 9000+r.IntN(9000))...)
	}
	if r.IntN(3) == 0 {
		d.Forms = append(d.Forms, line([]string{"FROM", "\x01FROM"}[r.IntN(2)], r.IntN(40))...)
	}
	if r.IntN(3) == 0 {
		d.Inner = line("CONTENT-TYPE", r.IntN(50))
	}
	for i := range r.IntN(3) {
		if i > 0 {
			d.Body = append(d.Body, Separator)
		}
		size := r.IntN(300)
		if r.IntN(5) == 0 {
			size = r.IntN(3 * unitSize)
		}
		d.Body = append(d.Body, words(r, size)...)
	}
	return d
}

func (w *world) randomNeedle(r *rand.Rand) Needle {
	n := Needle{Where: Where(r.IntN(3)), Loose: r.IntN(2) == 0, Name: []byte([]string{"SUBJECT", "FROM", "X-LONG", "X", "A:B", ""}[r.IntN(6)])}
	var from []byte
	for _, d := range w.docs { // any
		from = [][]byte{d.Body, d.Fields, d.Forms, d.Inner}[r.IntN(4)]
		break
	}
	length := []int{0, 1, 2, 3, 4, 6, 20, 200, needleMax + 10}[r.IntN(9)]
	switch {
	case len(from) > 0 && r.IntN(4) > 0:
		at := r.IntN(len(from))
		n.Text = slices.Clone(from[at:min(at+length, len(from))])
	default:
		n.Text = words(r, length)[:length]
	}
	if len(n.Text) > 0 && r.IntN(6) == 0 {
		n.Text[r.IntN(len(n.Text))] ^= 1
	}
	return n
}

// check asks about every document, and some that there are not.
func (w *world) check(r *rand.Rand, needles int) (unknown int) {
	reader := w.x.Reader()
	if reader == nil {
		return 0
	}
	defer reader.Close()
	for range needles {
		n := w.randomNeedle(r)
		q := reader.Query(n)
		for id := int64(1); id <= w.next+2; id++ {
			got := q.Ask(id)
			d := w.docs[id]
			switch {
			case d == nil: // whatever it says of what died
			case got == Unknown:
				unknown++
			case got != plain(d, n):
				if want := plain(d, n); want != Unknown || got == No {
					w.t.Fatalf("doc %d, needle %d %q %q: got %d, want %d; its texts have %d, %d, %d and %d bytes", id, n.Where, n.Name, n.Text, got, want, len(d.Fields), len(d.Forms), len(d.Inner), len(d.Body))
				}
			}
			if d != nil && got == Unknown && plain(d, n) != Unknown && len(n.Text) <= needleMax && w.x.lost == 0 && w.covered(id) {
				w.t.Fatalf("doc %d, needle %d %q %q: not known", id, n.Where, n.Name, n.Text)
			}
		}
	}
	return unknown
}

func (w *world) covered(id int64) bool {
	for _, g := range w.x.Gaps() {
		if id > g.After && id <= g.To {
			return false
		}
	}
	return true
}

// Whatever happens to the index, what it says is what looking would say.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		w := newWorld(t)
		defer func() { w.x.Close() }()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch r.IntN(10) {
			case 0, 1, 2, 3, 4, 5:
				for range r.IntN(12) {
					w.next += 1 + r.Int64N(3)
					w.docs[w.next] = randomDoc(r, w.next)
				}
				w.fill()
			case 6:
				for id := range w.docs {
					if r.IntN(4) == 0 {
						delete(w.docs, id)
						w.x.Forget([]int64{id})
					}
				}
			case 7:
				w.reopen()
			case 8:
				w.merge()
			case 9:
				w.harm(r)
			}
			if r.IntN(4) == 0 {
				w.check(r, 2)
			}
		}
		w.fill()
		w.check(r, 8)
		w.fill() // what was found damaged
		w.merge()
		w.check(r, 8)
	})
}

// harm does to a file what disks and people do.
func (w *world) harm(r *rand.Rand) {
	files, _ := filepath.Glob(filepath.Join(w.dir, "*"))
	if len(files) == 0 {
		return
	}
	path := files[r.IntN(len(files))]
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	switch r.IntN(4) {
	case 0:
		os.Remove(path)
		w.reopen()
		return
	case 1:
		b = b[:r.IntN(len(b))]
	case 2:
		b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
	case 3:
		at := r.IntN(len(b))
		clear(b[at:min(at+1+r.IntN(4096), len(b))])
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
	if r.IntN(2) == 0 {
		w.reopen()
	}
}

// Many small segments become few, and what died is left out.
func TestMerge(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		w.next++
		w.docs[w.next] = randomDoc(r, w.next)
		w.fill()
		w.merge()
	}
	if s := w.x.Stats(); s.Segments > 30 || s.Documents != 300 {
		t.Errorf("%+v", s)
	}
	w.check(r, 30)
	var ids []int64
	for id := range w.docs {
		if id > 10 {
			ids = append(ids, id)
			delete(w.docs, id)
		}
	}
	w.x.Forget(ids)
	w.merge()
	w.check(r, 10)
	s := w.x.Stats()
	if s.Documents > 10+300/deadShare || s.Dead != s.Documents-10 {
		t.Errorf("after most died: %+v", s)
	}
	w.fill() // the gaps are found to be empty
	for _, g := range w.x.Gaps() {
		if g.To < 1<<60 {
			t.Errorf("a gap is left: %v", g)
		}
	}
}

// A segment of another store, another folding, or of a time after that of the store is not used.
func TestForeign(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		kept int64
	}{
		{"as it was", Options{Identity: 7, Version: "1", Generation: 2}, 20},
		{"another store", Options{Identity: 8, Version: "1", Generation: 2}, 0},
		{"another folding", Options{Identity: 7, Version: "2", Generation: 2}, 0},
		{"the store was set back", Options{Identity: 7, Version: "1", Generation: 1}, 10},
	} {
		w := newWorld(t)
		r := rand.New(rand.NewPCG(3, 4))
		for range 2 {
			for range 10 {
				w.next++
				w.docs[w.next] = randomDoc(r, w.next)
			}
			w.fill()
		}
		w.x.Close()
		x, err := Open(w.dir, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Stats().Documents; got != c.kept {
			t.Errorf("%s: %d documents, want %d", c.name, got, c.kept)
		}
		x.Close()
	}
}

// A store that cannot remember the generation gets no segment.
func TestCommitFails(t *testing.T) {
	broken := errors.New("broken")
	x, err := Open(t.TempDir(), Options{Commit: func(uint64) error { return broken }})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var b Builder
	b.Add(&Doc{ID: 1, Body: []byte("TEXT")})
	if err := x.Publish(&b, Range{0, 1}); !errors.Is(err, broken) {
		t.Error(err)
	}
	if files, _ := os.ReadDir(x.dir); len(files) > 0 || x.Stats().Segments > 0 {
		t.Errorf("left: %v", files)
	}
}

// A disk that is nearly full is left to others: what is there stays and is asked, nothing is added or merged.
func TestNoRoom(t *testing.T) {
	x, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	free := int64(1 << 40)
	x.space = func(string) (int64, int64, bool) { return free, 1 << 40, true }
	publish := func(id int64) error {
		var b Builder
		b.Add(&Doc{ID: id, Body: bytes.Repeat([]byte("TEXT"), 4000)})
		return x.Publish(&b, Range{id - 1, id})
	}
	for id := range int64(fanIn) {
		if err := publish(id + 1); err != nil {
			t.Fatal(err)
		}
	}
	merge := func() error {
		_, err := x.Merge(func(r Range) ([]int64, error) { return []int64{1, 2}, nil }, func() error { return nil })
		return err
	}
	for _, free = range []int64{leftMax - 1, leftMax + 20} {
		if err := publish(fanIn + 1); !errors.Is(err, ErrNoRoom) {
			t.Errorf("%d free: %v", free, err)
		}
		if err := merge(); !errors.Is(err, ErrNoRoom) {
			t.Errorf("%d free: merged, %v", free, err)
		}
	}
	if files, _ := os.ReadDir(x.dir); len(files) != fanIn || x.Stats().Segments != fanIn {
		t.Errorf("%d files", len(files))
	}
	free = leftMax + 1<<20
	if err := errors.Join(publish(fanIn+1), merge()); err != nil || x.Stats().Documents != 3 {
		t.Error(x.Stats(), err)
	}
}

// Needles that begin in one unit and end in the next are found, wherever the cut is and whatever they are beside.
func TestAcrossUnits(t *testing.T) {
	x, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	r := rand.New(rand.NewPCG(9, 9))
	text := make([]byte, 3*unitSize+100)
	for i := range text {
		text[i] = byte(r.IntN(Separator)) // so that hardly any trigram comes twice
	}
	var b Builder
	b.Add(&Doc{ID: 1, Body: text})
	b.Add(&Doc{ID: 2, Fields: append(append([]byte("SUBJECT: "), text...), Separator)})
	if err := x.Publish(&b, Range{0, 2}); err != nil {
		t.Fatal(err)
	}
	reader := x.Reader()
	defer reader.Close()
	for range 2000 {
		n := 1 + r.IntN(300)
		at := unitSize*(1+r.IntN(3)) - r.IntN(n+1)
		needle := text[at:min(at+n, len(text))]
		q := reader.Query(Needle{Text: needle})
		field := reader.Query(Needle{Where: InField, Name: []byte("SUBJECT"), Text: needle})
		if q.Ask(1) != Yes || q.Ask(2) != Yes || field.Ask(2) != Yes {
			t.Fatalf("%d bytes at %d are not found", n, at)
		}
		if other := append(slices.Clone(needle[:len(needle)/2]), byte(r.IntN(Separator)), 'x'); !bytes.Contains(text, other) && reader.Query(Needle{Text: other}).Ask(1) != No {
			t.Fatalf("%q is found", other)
		}
	}
}

func TestFinder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SliceOfN(rapid.SampledFrom([]byte("AB Z\xd0")), 0, 30)
		text, needle := letters.Draw(t, "text"), letters.Draw(t, "needle")
		if rapid.Bool().Draw(t, "part") {
			from := rapid.IntRange(0, len(text)).Draw(t, "from")
			needle = text[from:rapid.IntRange(from, len(text)).Draw(t, "to")]
		}
		f := newFinder(needle)
		if got := f.in(text); got != bytes.Contains(text, needle) {
			t.Fatalf("%q in %q: %v", needle, text, got)
		}
	})
}

func BenchmarkFinder(b *testing.B) {
	text := words(rand.New(rand.NewPCG(1, 1)), unitSize)
	for _, needle := range []string{"NOTHING", "QUICKER", "DAYS", "Д ДЕНЬ?"} {
		f := newFinder([]byte(needle))
		b.Run(needle, func(b *testing.B) {
			b.SetBytes(unitSize)
			for b.Loop() {
				f.in(text)
			}
		})
		b.Run(needle+"/bytes", func(b *testing.B) {
			b.SetBytes(unitSize)
			for b.Loop() {
				bytes.Contains(text, f.needle)
			}
		})
	}
}

// Whatever lies in a segment whose checksums are right by chance or malice, reading it ends with an error at most.
func FuzzDecode(f *testing.F) {
	list, _ := appendList(nil, []uint32{1, 5, 900})
	bitmap, _ := appendList(nil, []uint32{8, 9, 10, 11, 12, 13, 14, 15})
	f.Add(list, false, uint32(1000))
	f.Add(bitmap, true, uint32(16))
	f.Add([]byte{0, 4, 7, 1, 9, 0}, false, uint32(8))
	f.Fuzz(func(t *testing.T, b []byte, bitmap bool, n uint32) {
		n %= 1 << 16
		var one []uint32
		ok := eachUnit(b, bitmap, n, func(u uint32) {
			if u >= n {
				t.Fatalf("unit %d of %d", u, n)
			}
			one = append(one, u)
		})
		bits := make([]uint64, (n+63)/64)
		if setUnits(bits, b, bitmap, n) != ok {
			t.Fatal("setUnits and eachUnit do not agree")
		}
		if ok && len(one) > 0 && slices.IsSorted(one) {
			again, kind := appendList(nil, one)
			var two []uint32
			if !eachUnit(again, kind, n, func(u uint32) { two = append(two, u) }) || !slices.Equal(one, two) {
				t.Fatal("encoding is not undone")
			}
		}
		sp := sparse{lists: headLen}
		_, _ = sp.each(b, int64(n), func(p posting) bool { return len(p.here) <= len(b) })
		var tb table
		tb.unmarshalDocs(b, &head{to: 1 << 40}, &tail{numDocs: int64(n) % 100, numUnits: int64(n) % 1000})
		tb.unmarshalSparse(b, &tail{})
		_, _ = unitText(nil, b)
	})
}
