package sqldb

import (
	"slices"
	"sync"
	"testing"
)

func filledDB(t *testing.T) *DB {
	d := open(t, t.TempDir(), append(testMigrations[:2:2], "CREATE TABLE c (id INTEGER PRIMARY KEY, v BLOB) STRICT; INSERT INTO c (id, v) VALUES (1, x'616263'), (2, NULL), (3, x''), (5, zeroblob(100000));"))
	t.Cleanup(func() { d.Close() })
	return d
}

func TestScan(t *testing.T) {
	d := filledDB(t)
	var ids []int64
	var sizes []int
	keep := func(r *Row) bool {
		ids, sizes = append(ids, r.Int(0)), append(sizes, len(r.Bytes(1)))
		if r.Int(0) == 1 && string(r.Bytes(1)) != "abc" || r.Int(0) == 2 && r.Bytes(1) != nil {
			t.Error(r.Bytes(1))
		}
		return true
	}
	if err := d.Scan("SELECT id, v FROM c WHERE id BETWEEN ? AND ?", []int64{1, 9}, keep); err != nil {
		t.Fatal(err)
	}
	if err := d.ScanEach("SELECT id, v FROM c WHERE id = ?", []int64{5, 4, 1}, keep); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ids, []int64{1, 2, 3, 5, 5, 1}) || !slices.Equal(sizes, []int{3, 0, 0, 100000, 100000, 3}) {
		t.Error(ids, sizes)
	}
	// False ends it, and what it held.
	n := 0
	for range 3 {
		if err := d.ScanEach("SELECT id, v FROM c WHERE id = ?", []int64{1, 2, 3}, func(*Row) bool { n++; return false }); err != nil {
			t.Fatal(err)
		}
	}
	if n != 3 {
		t.Error(n, "rows after the end was asked for")
	}
}

// TestScanPicture: a walk sees what was committed when it began, the next one what is since.
func TestScanPicture(t *testing.T) {
	d := filledDB(t)
	w := d.Writer()
	count := 0
	walk := func() {
		count = 0
		err := d.ScanEach("SELECT id, v FROM c WHERE id = ?", []int64{1, 2, 3, 5}, func(r *Row) bool {
			if count++; count == 1 {
				if err := w.Exec("DELETE FROM c WHERE id > ?", 1); err != nil {
					t.Fatal(err)
				}
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if walk(); count != 4 {
		t.Error(count, "rows of the old picture")
	}
	if walk(); count != 1 {
		t.Error(count, "rows of the new one")
	}
}

// TestScanFails: errors are told like those of the other connections, and the connection that had one, or whose user fell over, is not used again.
func TestScanFails(t *testing.T) {
	d := filledDB(t)
	never := func(*Row) bool { t.Error("a row"); return false }
	if err := d.Scan("SELECT nothing FROM nowhere", nil, never); err == nil || Temporary(err) || Damaged(err) {
		t.Error(err)
	}
	if err := d.Scan("DELETE FROM c", nil, never); err == nil || !Temporary(err) {
		t.Error("a reader can write, or it is no temporary error:", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = d.ScanEach("SELECT id FROM c WHERE id = ?", []int64{1, 2}, func(*Row) bool { panic("user") })
	}()
	if len(d.scans.free) != 0 {
		t.Error("a connection in the middle of something is lent again")
	}
	if err := d.Scan("SELECT id FROM c WHERE id = ?", []int64{1}, func(*Row) bool { return true }); err != nil {
		t.Error(err)
	}
	if _, err := openScanner(t.TempDir() + "/none.db"); err == nil || !Temporary(err) {
		t.Error("no such file:", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Scan("SELECT id FROM c WHERE id = ?", []int64{1}, never); err == nil {
		t.Error("a closed database was read")
	}
}

// TestScanMany: more at a time than there are connections, beside a writer.
func TestScanMany(t *testing.T) {
	d := filledDB(t)
	var all sync.WaitGroup
	for range 3 * cap(d.scans.slots) {
		all.Go(func() {
			for range 20 {
				n := 0
				err := d.ScanEach("SELECT id, v FROM c WHERE id = ?", []int64{1, 2, 3, 5}, func(r *Row) bool { n += len(r.Bytes(1)); return true })
				if err != nil || n != 100003 {
					t.Error(n, err)
				}
			}
		})
	}
	for i := range 20 {
		if err := d.Writer().Exec("INSERT INTO c (id, v) VALUES (?, x'00')", 100+i); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	if n := len(d.scans.free); n > cap(d.scans.slots) {
		t.Error(n, "connections")
	}
}

// TestScanText: a text argument is the whole of it, whatever bytes it holds, and is gone with the Scan.
func TestScanText(t *testing.T) {
	d := filledDB(t)
	for _, text := range []string{"", "abc", "a'b", "\xff\xfe", "ü", string(make([]byte, 5000))} {
		for _, n := range []int64{1, 7} {
			var got []string
			err := d.ScanText("SELECT CAST(?2 AS BLOB), ?1, CAST(?3 AS BLOB)", []int64{n}, []string{text, "more"}, func(r *Row) bool {
				got = append(got, string(r.Bytes(0)))
				if r.Int(1) != n || string(r.Bytes(2)) != "more" {
					t.Error(r.Int(1), r.Bytes(2))
				}
				return true
			})
			if err != nil || !slices.Equal(got, []string{text}) {
				t.Errorf("%q: %q %v", text, got, err)
			}
		}
	}
	if err := d.ScanText("SELECT nothing FROM c", nil, []string{"x"}, func(*Row) bool { return true }); err == nil {
		t.Error("no error")
	}
}
