package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Writer writes, in transactions that its one user begins and ends. Its statements are prepared once and kept.
type Writer struct {
	conn    *sql.Conn
	dialect dialect
	stmts   map[string]*sql.Stmt
	open    bool // in a transaction
	relaxed bool // Relax(true) holds
}

// Begin begins a transaction.
func (w *Writer) Begin() error {
	if w.open {
		return errors.New("a transaction is open already")
	}
	if err := w.Exec(w.dialect.begin); err != nil {
		return err
	}
	w.open = true
	return nil
}

// Relax says, between transactions, whether Commit may return before what it did is on disk. If the machine fails then, the last transactions may be
// undone, one that is not relaxed and all before it never are, and the database is whole.
func (w *Writer) Relax(on bool) error {
	if on == w.relaxed {
		return nil
	}
	query := w.dialect.durable
	if on {
		query = w.dialect.relaxed
	}
	// Not by a statement that is kept: SQLite obeys a PRAGMA when it prepares it.
	if _, err := w.conn.ExecContext(context.Background(), query); err != nil {
		return err
	}
	w.relaxed = on
	return nil
}

// Commit ends it; unless it is relaxed, what it did is on disk when Commit returns nil. When it fails the transaction is rolled back.
func (w *Writer) Commit() error {
	err := w.Exec("COMMIT")
	if err != nil {
		w.Rollback()
		return err
	}
	w.open = false
	return nil
}

// Rollback undoes it. SQLite ends a transaction by itself after some errors, so that there may be none left to undo.
func (w *Writer) Rollback() {
	w.open = false
	_ = w.Exec("ROLLBACK")
}

func (w *Writer) stmt(query string) (*sql.Stmt, error) {
	if st := w.stmts[query]; st != nil {
		return st, nil
	}
	st, err := w.conn.PrepareContext(context.Background(), w.dialect.query(query))
	if err != nil {
		return nil, err
	}
	w.stmts[query] = st
	return st, nil
}

// Exec runs a statement.
func (w *Writer) Exec(query string, args ...any) error {
	st, err := w.stmt(query)
	if err != nil {
		return err
	}
	_, err = st.Exec(args...)
	return diskFull(err)
}

// Changed is Exec that tells how many rows there were.
func (w *Writer) Changed(query string, args ...any) (int64, error) {
	st, err := w.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := st.Exec(args...)
	if err != nil {
		return 0, diskFull(err)
	}
	return res.RowsAffected()
}

// Query reads, with what the transaction did so far. Its rows must be closed before the next Exec.
func (w *Writer) Query(query string, args ...any) (*sql.Rows, error) {
	st, err := w.stmt(query)
	if err != nil {
		return nil, err
	}
	return st.Query(args...)
}

// Row is Query for one row.
func (w *Writer) Row(query string, args ...any) *sql.Row {
	st, err := w.stmt(query)
	if err != nil {
		return w.conn.QueryRowContext(context.Background(), w.dialect.query(query), args...)
	}
	return st.QueryRow(args...)
}

func (w *Writer) close() error {
	var errs []error
	for _, st := range w.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

// migrate runs the migrations that the database has not seen, each in a transaction of its own with the number that it leaves.
func (w *Writer) migrate(ctx context.Context, migrations []string) error {
	if _, err := w.conn.ExecContext(ctx, w.dialect.script("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT;")); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	var have int
	if err := w.conn.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&have); err != nil {
		return fmt.Errorf("reading the version of the database: %w", err)
	}
	if have > len(migrations) {
		return fmt.Errorf("%w: its schema is number %d, the newest known here is %d; start the newer program, or restore a backup from before it",
			ErrNewer, have, len(migrations))
	}
	for n := have; n < len(migrations); n++ {
		if err := w.migrateTo(ctx, n+1, migrations[n]); err != nil {
			return fmt.Errorf("migration %d: %w", n+1, err)
		}
	}
	return nil
}

func (w *Writer) migrateTo(ctx context.Context, n int, script string) error {
	if err := w.Begin(); err != nil {
		return err
	}
	_, err := w.conn.ExecContext(ctx, w.dialect.script(script))
	if err == nil {
		_, err = w.conn.ExecContext(ctx, w.dialect.query("DELETE FROM schema_version"))
	}
	if err == nil {
		_, err = w.conn.ExecContext(ctx, w.dialect.query("INSERT INTO schema_version (version) VALUES (?)"), n)
	}
	if err != nil {
		w.Rollback()
		return err
	}
	return w.Commit()
}
