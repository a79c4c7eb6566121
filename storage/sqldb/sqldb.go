package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
)

// Options of a DB; the zero value is usable.
type Options struct {
	PageSize int // bytes of a page of a new database; 0: 4096
	Readers  int // connections that read; 0: 4 or the number of processors

	ShortLog bool // the log is written back after 0.8 MiB rather than 16, which on a small disk matters more than speed
}

// Querier reads: a DB (each query by itself), a View (all of one picture) or a Writer (with what it has not committed yet).
type Querier interface {
	Query(query string, args ...any) (*sql.Rows, error)
	Row(query string, args ...any) *sql.Row
}

// DB is an open database.
type DB struct {
	lock    *os.File
	dialect dialect
	read    *sql.DB
	write   *sql.DB
	writer  *Writer
	scans   scans

	views chan struct{} // a slot for each View under way

	mu    sync.RWMutex
	stmts map[string]*sql.Stmt // of read
}

// Open opens (or makes) packetboat.db in dir and brings it to the newest of the
// migrations, of which number n is migrations[n-1]. ErrLocked when another
// process has it open, ErrNewer when it has seen more migrations than there are.
func Open(ctx context.Context, dir string, migrations []string, o Options) (*DB, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	l, err := lock(dir)
	if err != nil {
		return nil, err
	}
	d := &DB{lock: l, dialect: sqliteDialect, stmts: map[string]*sql.Stmt{}}
	if err := d.open(ctx, filepath.Join(dir, "packetboat.db"), migrations, o); err != nil {
		d.Close()
		return nil, explain(err)
	}
	return d, nil
}

func (d *DB) open(ctx context.Context, path string, migrations []string, o Options) (err error) {
	page := o.PageSize
	if page == 0 {
		page = 4096
	}
	// The mode of the log is that of the database. SQLite would make it as open as the umask allows, and hold everybody's mail.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	// synchronous=FULL: a commit is on disk when it returns. wal_autocheckpoint in pages: the log is
	// written back in few large turns. busy_timeout covers checkpoints only, there being one writer.
	common := []string{"busy_timeout(5000)", "page_size(" + strconv.Itoa(page) + ")", "journal_mode(WAL)", "synchronous(FULL)",
		"temp_store(MEMORY)", "foreign_keys(OFF)"}
	turn := "wal_autocheckpoint(4000)"
	if o.ShortLog {
		turn = "wal_autocheckpoint(200)"
	}
	if d.write, err = openPool(path, append(common, turn, "journal_size_limit(67108864)", "cache_size(-32768)"), 1); err != nil {
		return err
	}
	conn, err := d.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	d.writer = &Writer{conn: conn, dialect: d.dialect, stmts: map[string]*sql.Stmt{}}
	if err := d.writer.migrate(ctx, migrations); err != nil {
		return err
	}
	readers := o.Readers
	if readers == 0 {
		readers = max(4, runtime.GOMAXPROCS(0))
	}
	// One more than there can be views: a view may have to wait until a statement is prepared, which takes a connection. If views
	// could hold all of them, each would wait for the others for ever.
	d.views = make(chan struct{}, readers)
	d.scans.init(path, readers)
	if d.read, err = openPool(path, append(common, "query_only(1)", "cache_size(-8192)"), readers+1); err != nil {
		return err
	}
	// The database and its log are made by now, and a commit syncs only what is in them.
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func openPool(path string, pragmas []string, n int) (*sql.DB, error) {
	q := url.Values{}
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// Writer is the one connection that writes.
func (d *DB) Writer() *Writer { return d.writer }

// Query reads what is committed. The statement is prepared once and kept, so query must be one of a bounded number of texts.
func (d *DB) Query(query string, args ...any) (*sql.Rows, error) {
	st, err := d.stmt(query)
	if err != nil {
		return nil, err
	}
	return st.Query(args...)
}

// Row is Query for one row.
func (d *DB) Row(query string, args ...any) *sql.Row {
	st, err := d.stmt(query)
	if err != nil {
		// Gives a Row that holds the error of preparing.
		return d.read.QueryRow(d.dialect.query(query), args...)
	}
	return st.QueryRow(args...)
}

func (d *DB) stmt(query string) (*sql.Stmt, error) {
	d.mu.RLock()
	st := d.stmts[query]
	d.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if st := d.stmts[query]; st != nil {
		return st, nil
	}
	st, err := d.read.Prepare(d.dialect.query(query))
	if err != nil {
		return nil, err
	}
	d.stmts[query] = st
	return st, nil
}

// View is a picture of the database that does not change.
type View struct {
	d  *DB
	tx *sql.Tx
}

// View calls fn with one picture for all its queries. fn must not begin another view.
func (d *DB) View(ctx context.Context, fn func(v *View) error) error {
	select {
	case d.views <- struct{}{}:
		defer func() { <-d.views }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return fn(&View{d: d, tx: tx})
}

// Query reads of the picture.
func (v *View) Query(query string, args ...any) (*sql.Rows, error) {
	st, err := v.d.stmt(query)
	if err != nil {
		return nil, err
	}
	return v.tx.Stmt(st).Query(args...)
}

// Row is Query for one row.
func (v *View) Row(query string, args ...any) *sql.Row {
	st, err := v.d.stmt(query)
	if err != nil {
		return v.tx.QueryRow(v.d.dialect.query(query), args...)
	}
	return v.tx.Stmt(st).QueryRow(args...)
}

// Close closes all connections; the last one writes the log back. Then it gives the lock back.
func (d *DB) Close() error {
	var errs []error
	for _, st := range d.stmts {
		errs = append(errs, st.Close())
	}
	d.scans.close()
	if d.read != nil {
		errs = append(errs, d.read.Close())
	}
	if d.writer != nil {
		errs = append(errs, d.writer.close())
	}
	if d.write != nil {
		errs = append(errs, d.write.Close())
	}
	errs = append(errs, d.lock.Close())
	return errors.Join(errs...)
}
