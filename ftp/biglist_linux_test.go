package ftp

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// bigFolder makes the folder /big with n empty files, by SQL since only its listing matters.
func bigFolder(t *testing.T, n int) *house {
	dir := t.TempDir()
	h := newHouseOn(t, storagetest.Open(t, dir, storage.Options{}), session.Options{Grace: 2 * time.Second})
	tree := h.fs.Tree(h.ann)
	if err := tree.Mkdir(t.Context(), "/big"); err != nil {
		t.Fatal(err)
	}
	folder, err := h.store.Walk(t.Context(), h.ann.ID, []string{"big"})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "packetboat.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Exec(`WITH RECURSIVE i(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM i WHERE x < ?1)
		INSERT INTO node (id, account, parent, kind, name, size, modified, created, mode, blob, modseq)
		SELECT 1000000 + x, ?2, ?3, 3, printf('message-%06d.eml', x), 0, 1700000000, 1700000000, 420, 0, 1 FROM i`, n, h.ann.ID, folder.ID)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// writes is how often this process has written to files or sockets.
func writes(t *testing.T) (n int) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "syscw: ")
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestBigListings: a listing of 100,000 entries is sent in few writes and holds little of itself, also while its client takes nothing.
func TestBigListings(t *testing.T) {
	entries := 100_000
	if raced {
		entries = 20_000
	}
	h := bigFolder(t, entries)
	for name, login := range map[string]func() *peer{"plain": h.login, "tls": func() *peer { return h.secureLogin(0) }} {
		p := login()
		for _, verb := range []string{"MLSD", "LIST", "NLST"} {
			t.Run(name+"/"+verb, func(t *testing.T) {
				p.t = t
				buf := make([]byte, 32<<10)
				p.cmd(250, "CWD /big")
				before := liveHeap()
				conn := p.open("%s", verb)
				time.Sleep(200 * time.Millisecond) // the server has filled the socket, or will soon
				if held := int64(liveHeap()) - int64(before); held > 1<<20 {
					t.Errorf("%d bytes are held while the client takes nothing", held)
				}
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				allocated, wrote := m.TotalAlloc, writes(t)
				lines, size, err := count(conn, buf)
				if err != nil || lines < entries || lines > entries+1 {
					t.Fatal(lines, err)
				}
				conn.Close()
				p.expect(226)
				runtime.ReadMemStats(&m)
				if each := (m.TotalAlloc - allocated) / uint64(entries); each > 300 {
					t.Errorf("%d bytes are allocated for an entry", each)
				}
				// Each piece of 64 KiB may take some turns to fit into the socket.
				if n, most := writes(t)-wrote, 2*size/listBuffer+50; n > most {
					t.Errorf("%d writes for %d bytes, want at most %d", n, size, most)
				}
			})
		}
	}
}

// count reads lines to the end.
func count(conn net.Conn, buf []byte) (lines, size int, err error) {
	for {
		n, err := conn.Read(buf)
		size += n
		lines += bytes.Count(buf[:n], []byte("\n"))
		if err == io.EOF {
			return lines, size, nil
		}
		if err != nil {
			return lines, size, err
		}
	}
}
