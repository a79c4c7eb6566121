package storage

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// testRSA is made once: finding one takes a while.
var testRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// openTest opens a store with one domain.
func openTest(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	if o.RSAKey == nil {
		o.RSAKey = testRSA
	}
	s, err := Open(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.AddDomain(context.Background(), "example.test"); err != nil {
		t.Fatal(err)
	}
	return s
}

func newAccount(t testing.TB, s *Store, name string, quota int64) *Account {
	t.Helper()
	a, err := s.CreateAccount(context.Background(), NewAccount{Name: name, Quota: quota})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fataler is what testing.TB and rapid.T have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newMessage(t fataler, s *Store, account int64, text string) *Upload {
	t.Helper()
	u, err := s.NewMail(context.Background(), account, int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, text); err != nil {
		t.Fatal(err)
	}
	return u
}

func mailboxNamed(t fataler, s *Store, account int64, name string) Mailbox {
	t.Helper()
	m, err := s.Mailbox(context.Background(), account, name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// model is what a mailbox should be, told in the simplest way.
type modelMessage struct {
	flags Flags
	words map[string]bool
	text  string
}

type modelBox struct {
	id       int64
	next     uint32
	messages map[uint32]*modelMessage
	gone     map[uint32]uint64 // UID -> modseq of the mailbox before it went
}

type model struct {
	s     *Store
	a     *Account
	boxes []*modelBox
	old   map[int64]*Snapshot // pictures that a session holds
	n     int
}

var modelWords = []string{"$Forwarded", "alpha", "beta"}

func (m *model) box(t *rapid.T, label string) *modelBox {
	return m.boxes[rapid.IntRange(0, len(m.boxes)-1).Draw(t, label)]
}

func (m *model) uids(t *rapid.T, b *modelBox) []uint32 {
	if b.next == 1 {
		return nil
	}
	set := rapid.SliceOfNDistinct(rapid.Uint32Range(1, b.next), 1, min(20, int(b.next)), rapid.ID).Draw(t, "uids")
	slices.Sort(set)
	return set
}

func drawFlags(t *rapid.T) (Flags, []string) {
	f := Flags(rapid.IntRange(0, 31).Draw(t, "flags"))
	return f, rapid.SliceOfNDistinct(rapid.SampledFrom(modelWords), 0, 3, rapid.ID).Draw(t, "words")
}

func wordSet(words []string) map[string]bool {
	set := map[string]bool{}
	for _, w := range words {
		set[w] = true
	}
	return set
}

func (m *model) deliver(t *rapid.T) {
	k := rapid.IntRange(1, 4).Draw(t, "messages")
	for range k {
		m.n++
		text := fmt.Sprintf("Subject: %d\r\n\r\nbody %d\r\n", m.n, m.n)
		flags, words := drawFlags(t)
		var targets []Target
		var to []*modelBox
		for range rapid.IntRange(1, 2).Draw(t, "targets") {
			b := m.box(t, "to")
			to = append(to, b)
			targets = append(targets, Target{Account: m.a.ID, Mailbox: b.id, Flags: flags, Keywords: words})
		}
		res, err := m.s.Deliver(context.Background(), newMessage(t, m.s, m.a.ID, text), targets)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range to {
			if res[i].Err != nil || res[i].UID != b.next {
				t.Fatalf("delivered as %+v, want UID %d", res[i], b.next)
			}
			b.messages[b.next] = &modelMessage{flags: flags, words: wordSet(words), text: text}
			b.next++
		}
	}
}

// batch is what MULTIAPPEND does.
func (m *model) batch(t *rapid.T) {
	b := m.box(t, "to")
	batch := m.s.NewBatch()
	first := b.next
	for range rapid.IntRange(1, 5).Draw(t, "messages") {
		m.n++
		text := fmt.Sprintf("Subject: %d\r\n\r\nbody %d\r\n", m.n, m.n)
		flags, words := drawFlags(t)
		if err := batch.Add(context.Background(), newMessage(t, m.s, m.a.ID, text), Target{Account: m.a.ID, Mailbox: b.id, Flags: flags, Keywords: words}); err != nil {
			t.Fatal(err)
		}
		b.messages[b.next] = &modelMessage{flags: flags, words: wordSet(words), text: text}
		b.next++
	}
	res, err := m.s.DeliverBatch(context.Background(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range res {
		if r.UID != first+uint32(i) {
			t.Fatalf("message %d got UID %d, want %d", i, r.UID, first+uint32(i))
		}
	}
}

// replace is what REPLACE does.
func (m *model) replace(t *rapid.T) {
	from, to := m.box(t, "from"), m.box(t, "to")
	uids, before := m.uids(t, from), m.modseq(t, from)
	if uids == nil {
		return
	}
	m.n++
	text := fmt.Sprintf("Subject: %d\r\n\r\nbody %d\r\n", m.n, m.n)
	flags, words := drawFlags(t)
	u := newMessage(t, m.s, m.a.ID, text)
	defer u.Abort()
	res, err := m.s.Replace(context.Background(), u, Target{Account: m.a.ID, Mailbox: to.id, Flags: flags, Keywords: words}, m.a.ID, from.id, uids[0])
	if from.messages[uids[0]] == nil {
		if !errors.Is(err, ErrConflict) {
			t.Fatal(err)
		}
		return
	}
	if err != nil || res.UID != to.next {
		t.Fatal(res, err)
	}
	m.remove(from, uids[0], before)
	to.messages[to.next] = &modelMessage{flags: flags, words: wordSet(words), text: text}
	to.next++
}

func (m *model) store(t *rapid.T) {
	b := m.box(t, "mailbox")
	flags, words := drawFlags(t)
	c := FlagChange{Op: FlagOp(rapid.IntRange(0, 2).Draw(t, "op")), Flags: flags, Keywords: words}
	uids := m.uids(t, b)
	if _, _, err := m.s.SetFlags(context.Background(), m.a.ID, b.id, uids, c); err != nil {
		t.Fatal(err)
	}
	for _, uid := range uids {
		msg := b.messages[uid]
		if msg == nil {
			continue
		}
		switch c.Op {
		case FlagsSet:
			msg.flags, msg.words = flags, wordSet(words)
		case FlagsAdd:
			msg.flags |= flags
			maps.Copy(msg.words, wordSet(words))
		case FlagsRemove:
			msg.flags &^= flags
			maps.DeleteFunc(msg.words, func(w string, _ bool) bool { return slices.Contains(words, w) })
		}
	}
}

func (m *model) remove(b *modelBox, uid uint32, modseq uint64) {
	delete(b.messages, uid)
	b.gone[uid] = modseq
}

func (m *model) modseq(t *rapid.T, b *modelBox) uint64 {
	p, err := m.s.Snapshot(context.Background(), b.id)
	if err != nil {
		t.Fatal(err)
	}
	return p.Mailbox().HighestModSeq
}

func (m *model) transfer(t *rapid.T, move bool) {
	from, to := m.box(t, "from"), m.box(t, "to")
	uids, before := m.uids(t, from), m.modseq(t, from)
	fn := m.s.Copy
	if move {
		fn = m.s.Move
	}
	if uids == nil {
		return
	}
	c, err := fn(context.Background(), m.a.ID, from.id, uids, Destination{m.a.ID, to.id, AllRights})
	if err != nil {
		t.Fatal(err)
	}
	var want, got []uint32
	there := maps.Clone(from.messages)
	for _, uid := range uids {
		msg := there[uid]
		if msg == nil {
			continue
		}
		want, got = append(want, uid), append(got, to.next)
		to.messages[to.next] = &modelMessage{msg.flags, maps.Clone(msg.words), msg.text}
		to.next++
		if move {
			m.remove(from, uid, before)
		}
	}
	if !slices.Equal(c.From, want) || !slices.Equal(c.To, got) {
		t.Fatalf("copied %v to %v, want %v to %v", c.From, c.To, want, got)
	}
}

func (m *model) expunge(t *rapid.T) {
	b := m.box(t, "mailbox")
	force := rapid.Bool().Draw(t, "force")
	before := m.modseq(t, b)
	var uids []uint32
	if rapid.Bool().Draw(t, "some") || force {
		if uids = m.uids(t, b); uids == nil {
			return
		}
	}
	got, err := m.s.Expunge(context.Background(), m.a.ID, b.id, uids, force)
	if err != nil {
		t.Fatal(err)
	}
	var want []uint32
	for _, uid := range slices.Sorted(maps.Keys(b.messages)) {
		if (uids == nil || slices.Contains(uids, uid)) && (force || b.messages[uid].flags&Deleted != 0) {
			want = append(want, uid)
			m.remove(b, uid, before)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("expunged %v, want %v", got, want)
	}
}

func (m *model) check(t *rapid.T) {
	var size, count int64
	for _, b := range m.boxes {
		p, err := m.s.Snapshot(context.Background(), b.id)
		if err != nil {
			t.Fatal(err)
		}
		checkBox(t, m.s, b, p)
		cold, err := m.s.readSnapshot(context.Background(), b.id)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(flat(cold), flat(p)); d != "" {
			t.Fatalf("rows and picture differ: %s", d)
		}
		for i := range p.Len() {
			size += int64(p.At(i).Size)
			count++
		}
		m.checkDiff(t, b, p)
	}
	u, err := m.s.Usage(context.Background(), m.a.ID)
	if err != nil || u.Bytes != size || u.Messages != count {
		t.Fatalf("usage %+v, %v; want %d bytes, %d messages", u, err, size, count)
	}
}

// picture is all that a Snapshot shows.
type picture struct {
	Mailbox  Mailbox
	Keywords []string
	Entries  []Entry
}

func flat(p *Snapshot) picture {
	f := picture{Mailbox: p.Mailbox(), Keywords: append([]string{}, p.Keywords()...), Entries: []Entry{}}
	for i := range p.Len() {
		f.Entries = append(f.Entries, p.At(i))
	}
	return f
}

func checkBox(t *rapid.T, s *Store, b *modelBox, p *Snapshot) {
	uids := slices.Sorted(maps.Keys(b.messages))
	if p.Len() != len(uids) {
		t.Fatalf("%d messages, want %d", p.Len(), len(uids))
	}
	var unseen, deleted uint32
	first := -1
	for i, uid := range uids {
		e, want := p.At(i), b.messages[uid]
		words := map[string]bool{}
		for bit, w := range p.Keywords() {
			if e.Keywords&(1<<bit) != 0 {
				words[w] = true
			}
		}
		if e.UID != uid || p.UID(i) != uid || e.Flags != want.flags || !maps.Equal(words, want.words) || int(e.Size) != len(want.text) {
			t.Fatalf("message %d is %+v %v, want %d %+v", i, e, words, uid, want)
		}
		if j, ok := p.Find(uid); j != i || !ok {
			t.Fatalf("Find(%d) = %d, %v", uid, j, ok)
		}
		if e.Flags&Seen == 0 {
			if unseen++; first < 0 {
				first = i
			}
		}
		if e.Flags&Deleted != 0 {
			deleted++
		}
	}
	m := p.Mailbox()
	if m.Unseen != unseen || m.Deleted != deleted || int(m.Messages) != len(uids) || m.UIDNext != b.next || p.FirstUnseen() != first {
		t.Fatalf("counters %+v, first unseen %d; want unseen %d deleted %d next %d first %d", m, p.FirstUnseen(), unseen, deleted, b.next, first)
	}
}

// checkDiff brings what a session knows up to date by Diff, and compares; likewise by Expunged.
func (m *model) checkDiff(t *rapid.T, b *modelBox, p *Snapshot) {
	old := m.old[b.id]
	m.old[b.id] = p
	if old == nil {
		return
	}
	have := flat(old).Entries
	gone, changed, added := p.Diff(old)
	for _, i := range gone {
		have = slices.Delete(have, i, i+1)
	}
	for _, i := range changed {
		have[i] = p.At(i)
	}
	for i := p.Len() - added; i < p.Len(); i++ {
		have = append(have, p.At(i))
	}
	if d := cmp.Diff(flat(p).Entries, have); d != "" {
		t.Fatalf("Diff leads elsewhere: %s", d)
	}
	since := old.Mailbox().HighestModSeq
	ranges, known, err := m.s.Expunged(context.Background(), p, since)
	if err != nil || !known {
		t.Fatal(ranges, known, err)
	}
	var got, want []uint32
	for _, r := range ranges {
		for u := r.First; u <= r.Last; u++ {
			got = append(got, u)
		}
	}
	for u, before := range b.gone {
		if before >= since {
			want = append(want, u)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("expunged since %d: %v, want %v", since, got, want)
	}
}

// TestModel does what sessions do, in any order, and compares with the simplest model of mailboxes.
func TestModel(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{SnapshotEntries: 50})
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		a, err := s.CreateAccount(context.Background(), NewAccount{Name: fmt.Sprintf("u%d@example.test", n)})
		if err != nil {
			t.Fatal(err)
		}
		m := &model{s: s, a: a, old: map[int64]*Snapshot{}}
		for _, name := range []string{"INBOX", "Archive", "Trash"} {
			b := mailboxNamed(t, s, a.ID, name)
			m.boxes = append(m.boxes, &modelBox{id: b.ID, next: 1, messages: map[uint32]*modelMessage{}, gone: map[uint32]uint64{}})
		}
		t.Repeat(map[string]func(*rapid.T){
			"deliver": m.deliver,
			"store":   m.store,
			"copy":    func(t *rapid.T) { m.transfer(t, false) },
			"move":    func(t *rapid.T) { m.transfer(t, true) },
			"expunge": m.expunge,
			"batch":   m.batch,
			"replace": m.replace,
			"":        m.check,
		})
		m.bodies(t)
		if err := s.RemoveAccount(context.Background(), a.ID); err != nil {
			t.Fatal(err)
		}
		for _, b := range m.boxes {
			if _, err := s.Snapshot(context.Background(), b.id); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("a mailbox of a removed account: %v", err)
			}
		}
	})
	leaveNothing(t, s)
}

// bodies compares what can be read.
func (m *model) bodies(t *rapid.T) {
	if err := m.s.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, b := range m.boxes {
		p, err := m.s.Snapshot(context.Background(), b.id)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Len() {
			body, err := m.s.OpenBlob(context.Background(), p.At(i).Blob)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			if want := b.messages[p.UID(i)].text; string(got) != want || err != nil {
				t.Fatalf("body %q, %v; want %q", got, err, want)
			}
		}
	}
}

// leaveNothing sweeps a store without accounts and checks that no row is left of them.
func leaveNothing(t *testing.T, s *Store) {
	t.Helper()
	now := s.o.Now
	defer func() { s.o.Now = now }()
	s.o.GarbageAge = -1e9
	if err := s.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"account", "address", "credential", "node", "mailbox", "retired", "subscription", "keyword", "message", "expunged",
		"blob", "blob_shared", "garbage", "mail", "purge", "partial", "visit", "outbox", "outbox_recipient"} {
		var n int
		if err := s.db.Row(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d rows are left in %s, %v", n, table, err)
		}
	}
}
