package sqldb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// scans are connections for reading many rows, beside those of database/sql: that one makes an object of each column and looks up the
// columns' names for each query, which costs several times what SQLite does for a small row. They speak to SQLite itself; another
// database would read with Query what is read with Scan.
type scans struct {
	path  string
	slots chan struct{} // one for each Scan under way

	mu     sync.Mutex
	free   []*scanner // the one used last is used next: it has the pages
	closed bool
}

// scanner is a connection and its statements, used by one goroutine at a time.
type scanner struct {
	tls   *libc.TLS
	db    uintptr
	out   uintptr // where SQLite puts a pointer
	stmts map[string]uintptr
}

var errScanClosed = errors.New("the database is closed")

// scanError is what SQLite answered.
type scanError struct {
	code int
	text string
}

func (e *scanError) Error() string { return fmt.Sprintf("%s (%d)", e.text, e.code) }

// Row is a row of a Scan; it is valid until the function that was called with it returns.
type Row struct {
	tls  *libc.TLS
	stmt uintptr
}

// Int is an integer column; 0 when it is NULL.
func (r *Row) Int(col int) int64 { return lib.Xsqlite3_column_int64(r.tls, r.stmt, int32(col)) }

// Bytes are those of a BLOB or TEXT column, nil when it is NULL or empty. They lie in SQLite's memory, must not be changed and are valid as
// long as the Row.
func (r *Row) Bytes(col int) []byte {
	p := lib.Xsqlite3_column_blob(r.tls, r.stmt, int32(col))
	n := lib.Xsqlite3_column_bytes(r.tls, r.stmt, int32(col))
	if p == 0 || n == 0 {
		return nil
	}
	return libc.GoBytes(p, int(n))
}

// Scan calls fn with each row of a query whose arguments are integers, until fn returns false. All rows are of one picture, which is held as
// long as the Scan: fn must not wait for anything. The statement is prepared once and kept, so query must be one of a bounded number of texts.
func (d *DB) Scan(query string, args []int64, fn func(*Row) bool) error {
	return d.scans.use(func(s *scanner) error {
		_, err := s.run(query, args, fn)
		return err
	})
}

// ScanText is Scan of a query whose last arguments are texts.
func (d *DB) ScanText(query string, args []int64, texts []string, fn func(*Row) bool) error {
	return d.scans.use(func(s *scanner) error {
		st, err := s.stmt(query)
		if err != nil {
			return err
		}
		for i, text := range texts {
			p, err := libc.CString(text)
			if err != nil {
				return err
			}
			defer libc.Xfree(s.tls, p)
			if code := lib.Xsqlite3_bind_text(s.tls, st, int32(len(args)+i+1), p, int32(len(text)), 0); code != lib.SQLITE_OK {
				return s.error(code)
			}
		}
		defer lib.Xsqlite3_clear_bindings(s.tls, st) // before they are freed
		_, err = s.run(query, args, fn)
		return err
	})
}

// ScanEach is Scan of a query with one argument, for one argument after the other, all of one picture.
func (d *DB) ScanEach(query string, args []int64, fn func(*Row) bool) error {
	if len(args) == 1 {
		return d.Scan(query, args, fn)
	}
	return d.scans.use(func(s *scanner) error {
		if _, err := s.run("BEGIN", nil, fn); err != nil {
			return err
		}
		more, err := true, error(nil)
		for i := 0; more && err == nil && i < len(args); i++ {
			more, err = s.run(query, args[i:i+1], fn)
		}
		_, end := s.run("ROLLBACK", nil, fn)
		if err == nil {
			err = end
		}
		return err
	})
}

func (s *scans) init(path string, n int) {
	s.path, s.slots = path, make(chan struct{}, n)
}

// use lends a connection to fn. One with which something failed is not used again.
func (s *scans) use(fn func(*scanner) error) error {
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	c, err := s.take()
	if err == nil && c == nil {
		c, err = openScanner(s.path)
	}
	if err != nil {
		return err
	}
	well := false
	defer func() { s.give(c, well) }()
	err = fn(c)
	well = err == nil
	return err
}

// give takes a connection back.
func (s *scans) give(c *scanner, well bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !well {
		c.close()
		return
	}
	s.free = append(s.free, c)
}

// take is a connection that nobody uses, nil when there is none.
func (s *scans) take() (*scanner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errScanClosed
	}
	n := len(s.free)
	if n == 0 {
		return nil, nil
	}
	c := s.free[n-1]
	s.free = s.free[:n-1]
	return c, nil
}

// close waits for those under way.
func (s *scans) close() {
	s.mu.Lock()
	s.closed = true
	free := s.free
	s.free = nil
	s.mu.Unlock()
	for _, c := range free {
		c.close()
	}
	for range cap(s.slots) {
		s.slots <- struct{}{}
	}
	for range cap(s.slots) {
		<-s.slots
	}
}

// openScanner opens a connection that only reads.
func openScanner(path string) (*scanner, error) {
	s := &scanner{tls: libc.NewTLS(), stmts: map[string]uintptr{}}
	if err := s.open(path); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// open needs none of SQLite's mutexes for what one goroutine uses.
func (s *scanner) open(path string) error {
	if s.out = libc.Xmalloc(s.tls, 16); s.out == 0 {
		return s.error(lib.SQLITE_NOMEM)
	}
	name, err := libc.CString(path)
	if err != nil {
		return err
	}
	defer libc.Xfree(s.tls, name)
	code := lib.Xsqlite3_open_v2(s.tls, name, s.out, lib.SQLITE_OPEN_READWRITE|lib.SQLITE_OPEN_NOMUTEX, 0)
	s.db = s.pointer() // also when it failed, but for lack of memory
	if code != lib.SQLITE_OK {
		return s.error(code)
	}
	lib.Xsqlite3_extended_result_codes(s.tls, s.db, 1)
	lib.Xsqlite3_busy_timeout(s.tls, s.db, 5000)
	for _, pragma := range []string{"PRAGMA query_only=1", "PRAGMA cache_size=-4096"} {
		if _, err := s.run(pragma, nil, func(*Row) bool { return true }); err != nil {
			return err
		}
	}
	return nil
}

// pointer is what SQLite put into out.
func (s *scanner) pointer() uintptr {
	const size = strconv.IntSize / 8
	b := slices.Clone(libc.GoBytes(s.out, size))
	if size == 4 {
		return uintptr(binary.NativeEndian.Uint32(b))
	}
	return uintptr(binary.NativeEndian.Uint64(b))
}

func (s *scanner) error(code int32) error {
	text := libc.GoString(lib.Xsqlite3_errstr(s.tls, code))
	if s.db != 0 {
		text += ": " + libc.GoString(lib.Xsqlite3_errmsg(s.tls, s.db))
	}
	return &scanError{int(code), text}
}

func (s *scanner) stmt(query string) (uintptr, error) {
	if st, ok := s.stmts[query]; ok {
		return st, nil
	}
	text, err := libc.CString(query)
	if err != nil {
		return 0, err
	}
	defer libc.Xfree(s.tls, text)
	if code := lib.Xsqlite3_prepare_v3(s.tls, s.db, text, -1, lib.SQLITE_PREPARE_PERSISTENT, s.out, 0); code != lib.SQLITE_OK {
		return 0, s.error(code)
	}
	st := s.pointer()
	s.stmts[query] = st
	return st, nil
}

// run tells whether fn wants more.
func (s *scanner) run(query string, args []int64, fn func(*Row) bool) (more bool, err error) {
	st, err := s.stmt(query)
	if err != nil {
		return false, err
	}
	for i, arg := range args {
		if code := lib.Xsqlite3_bind_int64(s.tls, st, int32(i+1), arg); code != lib.SQLITE_OK {
			return false, s.error(code)
		}
	}
	defer lib.Xsqlite3_reset(s.tls, st)
	row := &Row{s.tls, st}
	for {
		switch code := lib.Xsqlite3_step(s.tls, st); code {
		case lib.SQLITE_ROW:
			if !fn(row) {
				return false, nil
			}
		case lib.SQLITE_DONE:
			return true, nil
		default:
			return false, s.error(code)
		}
	}
}

func (s *scanner) close() {
	for _, st := range s.stmts {
		lib.Xsqlite3_finalize(s.tls, st)
	}
	if s.db != 0 {
		lib.Xsqlite3_close_v2(s.tls, s.db)
	}
	if s.out != 0 {
		libc.Xfree(s.tls, s.out)
	}
	s.tls.Close()
}
