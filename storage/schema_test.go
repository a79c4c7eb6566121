package storage

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// downgraded makes in a folder of its own the database that the program of schema number n would have, with the rows of the closed store in dir. Blobs stay
// where they are.
func downgraded(t *testing.T, dir string, n int) string {
	t.Helper()
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	db, err := sqldb.Open(t.Context(), old, all[:n], sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := db.Writer()
	exec := func(query string, args ...any) {
		t.Helper()
		if err := w.Exec(query, args...); err != nil {
			t.Fatal(query, err)
		}
	}
	list := func(query string) (names []string) {
		t.Helper()
		rows, err := w.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			names = append(names, s)
		}
		return names
	}
	exec(`ATTACH ? AS new`, filepath.Join(dir, "packetboat.db"))
	for _, table := range list(`SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name <> 'schema_version'`) {
		columns := ""
		for _, c := range list(`SELECT name FROM pragma_table_info('` + table + `', 'main')`) {
			columns += ", " + c
		}
		where := ""
		if table == "counter" {
			where = ` WHERE name = 'id'`
		}
		exec(`INSERT INTO main.` + table + ` (` + columns[2:] + `) SELECT ` + columns[2:] + ` FROM new.` + table + where)
	}
	exec(`DETACH new`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return old
}

// TestMigrations: a store of each older schema opens with all that was in it.
func TestMigrations(t *testing.T) {
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	for range 3 {
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, "Subject: x\r\n\r\nbody\r\n"), []Target{{Account: a.ID, Mailbox: in, Keywords: []string{"$work"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.SetPathRights(t.Context(), a.ID, "/x", CanList), s.SetJail(t.Context(), a.ID, "/y")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.MakeFolder(t.Context(), a.ID, a.Home, "d"); err != nil {
		t.Fatal(err)
	}
	if err := saveCut(t, s, a, a.Home, "part"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(all); n++ {
		s := openTest(t, downgraded(t, dir, n), Options{})
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(n, err)
		}
		p, err := s.Snapshot(t.Context(), in)
		if err != nil || p.Len() != 3 {
			t.Fatal(n, err)
		}
		if m, err := s.Mailbox(t.Context(), a.ID, "INBOX"); err != nil || m.Messages != 3 || m.UIDNext != 4 {
			t.Fatal(n, m, err)
		}
		if x, err := s.Access(t.Context(), a.ID); err != nil || (n >= 7) != (x.At("/x") == CanList && x.Jail == "/y") {
			t.Fatal(n, x, err)
		}
		if u, err := s.Usage(t.Context(), a.ID); err != nil || u.Entries != beginning+2 {
			t.Fatal(n, u, err)
		}
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, "Subject: y\r\n\r\nbody\r\n"), []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(n, err)
		}
	}
}
