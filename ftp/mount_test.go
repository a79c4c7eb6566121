package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mounted puts a folder of the host into ann's tree.
func (h *house) mounted(path string, readOnly bool) string {
	h.t.Helper()
	dir, err := filepath.EvalSymlinks(h.t.TempDir())
	if err == nil {
		_, err = h.store.AddMount(context.Background(), h.ann.ID, path, dir, readOnly)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return dir
}

// Bytes come and go unchanged between clients and a folder of the host, in the clear and under TLS.
func TestTransferOnMount(t *testing.T) {
	h := newHouse(t)
	dir := h.mounted("/m", false)
	for name, login := range map[string]func() *peer{
		"plain": h.login,
		"tls":   func() *peer { return h.secureLogin(tls.VersionTLS13) },
	} {
		p := login()
		data := noise(3_000_000)
		if code := p.stor(data, "STOR /m/%s", name); code != 226 {
			t.Fatal(name, code)
		}
		if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != data {
			t.Fatalf("%s: %d bytes on the host, %v", name, len(b), err)
		}
		p.cmd(350, "REST 1000000")
		if got := p.retr("RETR /m/%s", name); got != data[1_000_000:] {
			t.Fatalf("%s: %d bytes came back", name, len(got))
		}
		if code := p.stor("+", "APPE /m/%s", name); code != 226 {
			t.Fatal(name, code)
		}
		p.cmd(213, "SIZE /m/%s", name)
		if got := p.retr("RETR /m/%s", name); got != data+"+" {
			t.Fatalf("%s: %d bytes after APPE", name, len(got))
		}
		if list := p.retr("NLST /m"); !strings.Contains(list, "/m/"+name+"\r\n") || strings.Contains(list, "packetboat") {
			t.Error(list)
		}
		p.cmd(250, "DELE /m/%s", name)
	}
}

// An upload onto a mount that is cut leaves the old file, and a part from which it goes on.
func TestCutUploadOnMount(t *testing.T) {
	h := newHouse(t)
	dir := h.mounted("/m", false)
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := h.login()
	conn := p.open("STOR /m/f")
	if _, err := io.WriteString(conn, "0123456789"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // else the RST overtakes the bytes
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	p.expect(426)
	if b, _ := os.ReadFile(file); string(b) != "old" {
		t.Fatalf("the old file is %q", b)
	}
	p.cmd(350, "REST 10")
	if code := p.stor("abc", "STOR /m/f"); code != 226 {
		t.Fatal(code)
	}
	if b, _ := os.ReadFile(file); string(b) != "0123456789abc" {
		t.Fatalf("the file is %q", b)
	}
	if all, err := os.ReadDir(dir); len(all) != 1 {
		t.Error(all, err)
	}
}

// A file of a mount that becomes shorter while it is sent ends the transfer with 451.
func TestShrinkingFileOnMount(t *testing.T) {
	h := newHouse(t)
	dir := h.mounted("/m", false)
	const size = 64 << 20
	for name, login := range map[string]func() *peer{
		"plain": h.login,
		"tls":   func() *peer { return h.secureLogin(tls.VersionTLS13) },
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Truncate(file, size)); err != nil {
			t.Fatal(err)
		}
		p := login()
		conn := p.open("RETR /m/%s", name)
		if _, err := io.ReadFull(conn, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, 2<<20); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, conn)
		if n >= size-1<<20 || err == nil && name == "tls" {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if text := p.expect(451); strings.Contains(text, dir) {
			t.Error(text)
		}
	}
}
