package storage

import (
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func visitsOf(t testing.TB, s *Store, a *Account, address string) []Visit {
	t.Helper()
	all, err := s.Visits(t.Context(), a.ID, a.Epoch, address)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantVisits(t testing.TB, s *Store, a *Account, address string, want ...string) {
	t.Helper()
	var got []string
	for _, v := range visitsOf(t, s, a, address) {
		got = append(got, strings.TrimSpace(v.Name+" "+v.Folder+" "+v.Type))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%q is remembered, want %q", got, want)
	}
}

func visitRows(t testing.TB, s *Store) (n int) {
	t.Helper()
	if err := s.db.Row(`SELECT COUNT(*) FROM visit`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// flush1 has the writer do a transaction, with which what waits is written.
func (s *Store) flush1(t testing.TB) {
	t.Helper()
	if err := s.do(t.Context(), func(*tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestVisits: what NoteVisit says is seen at once, after the transaction, and by the next process; others do not see it.
func TestVisits(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_700_000_000, 0)
	o := Options{Now: func() time.Time { return now }}
	s := openTest(t, dir, o)
	a, b := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	note := func(who *Account, address, name, folder, kind string) {
		s.NoteVisit(Visit{Account: who.ID, Epoch: who.Epoch, Address: address, Name: name, Folder: folder, Type: kind})
	}
	note(a, "192.0.2.1", "x", "/", "")
	if s.marked(a.ID) {
		t.Fatal("who has nothing to say costs something")
	}
	note(a, "192.0.2.1", "", "/a", "I")
	now = now.Add(time.Second)
	note(a, "192.0.2.1", "lftp", "/b", "")
	note(b, "192.0.2.1", "lftp", "/joe", "")
	note(a, "192.0.2.2", "lftp", "/elsewhere", "")
	for range 2 {
		wantVisits(t, s, a, "192.0.2.1", "lftp /b", "/a I")
		wantVisits(t, s, b, "192.0.2.1", "lftp /joe")
		wantVisits(t, s, b, "192.0.2.2")
		s.flush1(t)
	}
	// At home again, before and after it was written.
	note(a, "192.0.2.1", "", "/", "")
	wantVisits(t, s, a, "192.0.2.1", "lftp /b")
	s.flush1(t)
	wantVisits(t, s, a, "192.0.2.1", "lftp /b")
	commits := s.commits.Load()
	note(a, "192.0.2.1", "lftp", "/b", "")
	if !s.visits.idle() || s.commits.Load() != commits {
		t.Fatal("what is there already is written once more")
	}
	note(a, "192.0.2.1", "lftp", "/c", "A")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, o)
	wantVisits(t, s, a, "192.0.2.1", "lftp /c A")
	if err := s.ForgetVisits(t.Context(), a.ID, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	wantVisits(t, s, a, "192.0.2.1")
	wantVisits(t, s, a, "192.0.2.2", "lftp /elsewhere")
	if err := s.RemoveAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	note(a, "192.0.2.1", "late", "/c", "A") // of a session that ends after its account
	s.flush1(t)
	if n := visitRows(t, s); n != 1 {
		t.Fatal(n, "rows; one of joe's is right")
	}
}

// TestVisitEpoch: a new password and a revoked token end what is remembered, also of sessions that end later.
func TestVisitEpoch(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	if _, err := s.AddPass(t.Context(), Pass{Account: a.ID, Kind: PassToken, Name: "phone"}); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func() error{
		"password": func() error { return s.SetCredentials(t.Context(), a.ID, nil) },
		"token":    func() error { _, err := s.RemovePass(t.Context(), a.ID, PassToken, "phone"); return err },
	} {
		for _, written := range []bool{true, false} {
			old := *a
			s.NoteVisit(Visit{Account: a.ID, Epoch: a.Epoch, Address: "::/64", Folder: "/x"})
			if written {
				s.flush1(t)
			}
			if what == "token" && !written {
				if _, err := s.AddPass(t.Context(), Pass{Account: a.ID, Kind: PassToken, Name: "phone"}); err != nil {
					t.Fatal(err)
				}
			}
			if err := change(); err != nil {
				t.Fatal(what, err)
			}
			var err error
			if a, err = s.Account(t.Context(), a.ID); err != nil || a.Epoch == old.Epoch {
				t.Fatal(what, a, err)
			}
			wantVisits(t, s, a, "::/64")
			s.NoteVisit(Visit{Account: a.ID, Epoch: old.Epoch, Address: "::/64", Folder: "/late"})
			wantVisits(t, s, a, "::/64")
			s.flush1(t)
			if n := visitRows(t, s); n != 0 {
				t.Fatal(what, n, "rows are left")
			}
		}
	}
}

// TestVisitBounds: the newest 16 of an account stay, 30 days.
func TestVisitBounds(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	a := newAccount(t, s, "ann@example.test", 0)
	for i := range 40 {
		now = now.Add(time.Second)
		s.NoteVisit(Visit{Account: a.ID, Epoch: a.Epoch, Address: "192.0.2.1", Name: fmt.Sprint(i), Folder: "/x"})
		if i%3 == 0 {
			s.flush1(t)
		}
	}
	s.flush1(t)
	if all := visitsOf(t, s, a, "192.0.2.1"); len(all) != maxVisits || all[0].Name != "39" || all[15].Name != "24" || visitRows(t, s) != maxVisits {
		t.Fatal(all)
	}
	for i := range 2 * visitWaiting {
		s.NoteVisit(Visit{Account: a.ID, Epoch: a.Epoch, Address: fmt.Sprint(i), Folder: "/x"})
		if n := len(s.visits.waiting); n > visitWaiting {
			t.Fatal(n, "wait")
		}
	}
	now = now.Add(visitAge - 39*time.Second)
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := visitRows(t, s); n != maxVisits {
		t.Fatal(n)
	}
	now = now.Add(40 * time.Second)
	wantVisits(t, s, a, "192.0.2.1")
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := visitRows(t, s); n != 0 {
		t.Fatal(n)
	}
}

// TestHostileVisits: rows that nobody here could have written are left out, in bounded memory, and what NoteVisit is given that makes no sense is
// not written.
func TestHostileVisits(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	a, b := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	for _, v := range []Visit{
		{Folder: "relative"}, {Folder: ""}, {Folder: "/a\r\nb"}, {Folder: "/a\x00"}, {Folder: "/\x1b[2J"}, {Folder: "/\xff"}, {Folder: "/" + strings.Repeat("x", 1<<20)},
		{Folder: "/x", Name: "a\nb"}, {Folder: "/x", Name: strings.Repeat("n", 65)}, {Folder: "/x", Type: "I\r\n"}, {Folder: "/x", Type: "very long type"},
		{Folder: "/x", Address: "\x00"}, {Folder: "/x", Address: strings.Repeat("1", 65)},
	} {
		s.NoteVisit(Visit{Account: a.ID, Epoch: a.Epoch, Address: "192.0.2.1" + v.Address, Name: v.Name, Folder: v.Folder, Type: v.Type})
		if !s.visits.idle() {
			t.Errorf("%.200s is taken", fmt.Sprintf("%q", v.Folder+v.Name+v.Type))
		}
	}
	s.NoteVisit(Visit{Account: -1, Epoch: 1, Address: "192.0.2.1", Folder: "/x"})
	s.NoteVisit(Visit{Account: 1 << 60, Epoch: 1, Address: "192.0.2.1", Folder: "/x"})
	s.NoteVisit(Visit{Account: a.ID, Epoch: -1, Address: "192.0.2.1", Folder: "/x"})
	s.NoteVisit(Visit{Account: a.ID, Epoch: a.Epoch, Address: "192.0.2.1", Name: "good", Folder: "/x"})
	s.flush1(t)
	at := now.Unix()
	for i, row := range [][]any{
		{a.ID, "192.0.2.1", "1", a.Epoch, "/../../etc\x00", "I", at},
		{a.ID, "192.0.2.1", "2", a.Epoch, "/a\r\n230 x", "I", at},
		{a.ID, "192.0.2.1", "3", a.Epoch, "/" + strings.Repeat("x", 1<<20), "I", at},
		{a.ID, "192.0.2.1", "4", a.Epoch, "/\x00" + strings.Repeat("x", 1<<20), "I", at},
		{a.ID, "192.0.2.1", "5\n", a.Epoch, "/x", "I", at},
		{a.ID, "192.0.2.1", strings.Repeat("n", 1<<20), a.Epoch, "/x", "I", at},
		{a.ID, "192.0.2.1", "7", a.Epoch, "/long", strings.Repeat("I", 1<<20), at},
		{a.ID, "192.0.2.1", "8", a.Epoch, "/x", "I", -1},
		{a.ID, "192.0.2.1", "9", a.Epoch, "/x", "I", math.MinInt64},
		{a.ID, "192.0.2.1", "10", a.Epoch, "/x", "I", at + 1<<32},
		{a.ID, "192.0.2.1", "11", a.Epoch + 1, "/x", "I", at},
		{a.ID, "192.0.2.1", "12", -1, "/x", "I", at},
		{b.ID, "192.0.2.1", "13", b.Epoch, "/joe", "I", at},
		{-7, "192.0.2.1", "14", 1, "/x", "I", at},
		{a.ID, "192.0.2.1", "15", a.Epoch, "", "", at},
	} {
		if err := s.do(t.Context(), func(x *tx) error {
			return x.exec(`INSERT INTO visit (account, address, name, epoch, folder, type, at) VALUES (?, ?, ?, ?, ?, ?, ?)`, row...)
		}); err != nil {
			t.Fatal(i, err)
		}
	}
	wantVisits(t, s, a, "192.0.2.1", "good /x")
	// What is wrong is written over.
	s.NoteVisit(Visit{Account: a.ID, Epoch: a.Epoch, Address: "192.0.2.1", Name: "3", Folder: "/y"})
	s.flush1(t)
	wantVisits(t, s, a, "192.0.2.1", "3 /y", "good /x")
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wrong int
	if err := s.db.Row(`SELECT COUNT(*) FROM visit WHERE account = -7 OR at < 0 OR at > ? OR epoch <> 1`, at+1<<31).Scan(&wrong); err != nil || wrong != 0 {
		t.Fatal(wrong, err)
	}
}

// FuzzVisits: whatever is in a row, what comes out of the store could have gone in, and nobody else is told of it.
func FuzzVisits(f *testing.F) {
	f.Add("192.0.2.1", "lftp", "/a/b", "I", int64(1), int64(1_700_000_000))
	f.Add("192.0.2.1", "\r\n", "/../\x00", "\xff", int64(-1), int64(-1))
	now := time.Unix(1_700_000_000, 0)
	s := openTest(f, f.TempDir(), Options{Now: func() time.Time { return now }})
	a, b := newAccount(f, s, "ann@example.test", 0), newAccount(f, s, "joe@example.test", 0)
	s.marked(a.ID)
	s.visits.mark(a.ID)
	s.visits.mark(b.ID)
	f.Fuzz(func(t *testing.T, address, name, folder, kind string, epoch, at int64) {
		if err := s.do(t.Context(), func(x *tx) error {
			if err := x.exec(`DELETE FROM visit`); err != nil {
				return err
			}
			return x.exec(`INSERT INTO visit (account, address, name, epoch, folder, type, at) VALUES (?, ?, ?, ?, ?, ?, ?)`, a.ID, address, name, epoch, folder, kind, at)
		}); err != nil {
			t.Fatal(err)
		}
		if all := visitsOf(t, s, b, address); len(all) != 0 {
			t.Fatal(all)
		}
		for _, v := range visitsOf(t, s, a, address) {
			if !v.valid() || v.Epoch != a.Epoch || v.Account != a.ID || v.Folder != folder || v.At.After(now.Add(visitSkew)) || v.At.Before(now.Add(-visitAge)) {
				t.Fatalf("%q", v.Folder)
			}
		}
	})
}

// TestVisitMigration: a store from before has its cut uploads and remembers from now on.
func TestVisitMigration(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	savePart(t, s, a, "cut", "12345")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 5, 7} {
		s := openTest(t, downgraded(t, dir, n), Options{})
		if all, err := s.Partials(t.Context(), a.ID, 10); err != nil || len(all) != 1 || all[0].Name != "cut" || all[0].Size != 5 {
			t.Fatal(n, all, err)
		}
		s.NoteVisit(Visit{Account: a.ID, Epoch: a.Epoch, Address: "192.0.2.1", Folder: "/x"})
		s.flush1(t)
		wantVisits(t, s, a, "192.0.2.1", "/x")
		if err := s.Close(); err != nil {
			t.Fatal(n, err)
		}
	}
}

func savePart(t testing.TB, s *Store, a *Account, name, text string) {
	t.Helper()
	u, err := s.NewUpload(t.Context(), a.ID, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, text); err != nil {
		t.Fatal(err)
	}
	if err := s.SavePartial(t.Context(), a.ID, a.Home, name, u); err != nil {
		t.Fatal(err)
	}
}

// TestPartials: the latest first, those of the account alone, no more than asked for.
func TestPartials(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	a, b := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	for i := range 5 {
		now = now.Add(time.Second)
		savePart(t, s, a, fmt.Sprint("f", i), strings.Repeat("x", i+1))
	}
	savePart(t, s, b, "joe", "1")
	all, err := s.Partials(t.Context(), a.ID, 3)
	if err != nil || len(all) != 3 || all[0].Name != "f4" || all[2].Name != "f2" || all[0].Size != 5 || !all[0].Modified.Equal(now) {
		t.Fatal(all, err)
	}
	if all, err = s.Partials(t.Context(), b.ID, 3); err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
}

// BenchmarkNoteVisit is what the end of a session costs.
func BenchmarkNoteVisit(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	a, joe := newAccount(b, s, "ann@example.test", 0), newAccount(b, s, "joe@example.test", 0)
	for name, v := range map[string]Visit{
		"nothing": {Account: joe.ID, Epoch: joe.Epoch, Address: "192.0.2.1", Folder: "/"},
		"same":    {Account: a.ID, Epoch: a.Epoch, Address: "192.0.2.1", Folder: "/x"},
		"other":   {Account: a.ID, Epoch: a.Epoch, Address: "192.0.2.1", Name: "n", Folder: "/x"},
	} {
		s.NoteVisit(v)
		s.flush1(b)

		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if name == "other" {
					v.Folder = "/" + fmt.Sprint(i)
				}
				s.NoteVisit(v)
			}
		})
	}
}
