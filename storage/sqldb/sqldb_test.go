package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

var testMigrations = []string{
	"CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT NOT NULL) STRICT;",
	"CREATE TABLE b (id INTEGER NOT NULL, PRIMARY KEY (id)) STRICT, WITHOUT ROWID; INSERT INTO b (id) VALUES (7);",
}

func open(t *testing.T, dir string, migrations []string) *DB {
	t.Helper()
	d, err := Open(context.Background(), dir, migrations, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMigrations(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir, testMigrations[:1]).Close(); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir, testMigrations)
	var n int
	if err := d.Row("SELECT id FROM b").Scan(&n); err != nil || n != 7 {
		t.Fatal(n, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), dir, testMigrations[:1], Options{})
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "number 2") {
		t.Fatal(err)
	}
	// One that fails leaves the database as it was.
	bad := append(testMigrations[:2:2], "CREATE TABLE c (id INTEGER) STRICT; CREATE TABLE a (id INTEGER) STRICT;")
	if _, err := Open(t.Context(), dir, bad, Options{}); err == nil {
		t.Fatal("a bad migration was taken")
	}
	d = open(t, dir, testMigrations)
	defer d.Close()
	if err := d.Row("SELECT id FROM c").Scan(&n); err == nil || errors.Is(err, sql.ErrNoRows) {
		t.Fatal("half a migration is left:", err)
	}
}

// TestDamaged: what is no database is said to be none, and nothing is changed.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "packetboat.db")
	text := strings.Repeat("no database ", 1000)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, testMigrations, Options{}); err == nil || !strings.Contains(err.Error(), "restore") {
		t.Error(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != text {
		t.Error("the file was changed", err)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, testMigrations)
	if _, err := Open(t.Context(), dir, testMigrations, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	d.Close()
	open(t, dir, testMigrations).Close()
}

// TestSettings: what the promises of package storage rest on.
func TestSettings(t *testing.T) {
	d := open(t, t.TempDir(), testMigrations)
	defer d.Close()
	for _, q := range []Querier{d, d.Writer()} {
		var mode string
		var sync int
		if err := q.Row("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
			t.Error(mode, err)
		}
		if err := q.Row("PRAGMA synchronous").Scan(&sync); err != nil || sync != 2 {
			t.Error(sync, err)
		}
	}
	w := d.Writer()
	for _, relaxed := range []bool{true, false, false, true, true, false, true, false} {
		if err := w.Relax(relaxed); err != nil {
			t.Fatal(err)
		}
		var sync int
		if err := w.Row("PRAGMA synchronous").Scan(&sync); err != nil || (sync == 1) != relaxed {
			t.Fatal(relaxed, sync, err)
		}
	}
	// What SQLite says of a file system that became read-only is the machine's trouble.
	if _, err := d.Query("INSERT INTO a (id, t) VALUES (1, 'x')"); err == nil || !Temporary(err) {
		t.Error("a reader can write, or it is no temporary error:", err)
	}
}

// TestModes: nobody else can read the database, also in a folder that is open to all.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	defer syscall.Umask(syscall.Umask(0))
	d := open(t, dir, testMigrations)
	defer d.Close()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(f.Name(), info.Mode(), err)
		}
	}
}

func TestTransactions(t *testing.T) {
	d := open(t, t.TempDir(), testMigrations)
	defer d.Close()
	w := d.Writer()
	count := func(q Querier) (n int) {
		t.Helper()
		if err := q.Row("SELECT COUNT(*) FROM a").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.Begin())
	must(w.Exec("INSERT INTO a (id, t) VALUES (?, ?)", 1, "x"))
	if count(d) != 0 || count(w) != 1 {
		t.Error("a reader sees what is not committed, or the writer does not")
	}
	if err := w.Exec("INSERT INTO a (id, t) VALUES (?, ?)", 1, "x"); !Duplicate(err) || Temporary(err) {
		t.Error(err)
	}
	if err := w.Begin(); err == nil {
		t.Error("a transaction in a transaction")
	}
	must(d.View(t.Context(), func(v *View) error {
		if count(v) != 0 {
			t.Error("the view sees what is not committed")
		}
		must(w.Commit())
		if count(v) != 0 || count(d) != 1 {
			t.Error("a view changes, or a reader does not")
		}
		return nil
	}))
	must(w.Begin())
	if n, err := w.Changed("DELETE FROM a WHERE id = ?", 1); n != 1 || err != nil {
		t.Error(n, err)
	}
	w.Rollback()
	w.Rollback()
	if count(d) != 1 {
		t.Error("rolled back, and gone")
	}
}

// TestViewsOfNewStatements: views that take all readers can have statements prepared which nobody used before.
func TestViewsOfNewStatements(t *testing.T) {
	d := open(t, t.TempDir(), testMigrations)
	defer d.Close()
	var all, inside sync.WaitGroup
	inside.Add(cap(d.views))
	for i := range cap(d.views) {
		all.Go(func() {
			err := d.View(t.Context(), func(v *View) error {
				inside.Done()
				inside.Wait()
				var n int
				return v.Row(fmt.Sprintf("SELECT id + %d FROM b", i)).Scan(&n)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestPostgresText(t *testing.T) {
	got := postgresDialect.query(`SELECT '?', "a?" FROM t WHERE x = ? AND y IN (?, ?)`)
	if want := `SELECT '?', "a?" FROM t WHERE x = $1 AND y IN ($2, $3)`; got != want {
		t.Error(got)
	}
	script := postgresDialect.script(testMigrations[0] + testMigrations[1])
	for _, word := range []string{"STRICT", "ROWID", "INTEGER"} {
		if strings.Contains(script, word) {
			t.Errorf("%s is left in %s", word, script)
		}
	}
}
