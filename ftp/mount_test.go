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
	"syscall"
	"testing"
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
	before := h.reg.List()[0].BytesIn
	if _, err := io.WriteString(conn, "0123456789"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bytes are there, which the RST would overtake", func() bool { return h.reg.List()[0].BytesIn >= before+10 })
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

// Links that lead out, FIFOs and the server's own files are there for no command, and no reply tells of the host.
func TestOddEntriesOnMount(t *testing.T) {
	h := newHouse(t)
	dir := h.mounted("/m", false)
	outside := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(outside, "f"), []byte("canary"), 0o644), os.Symlink(outside, filepath.Join(dir, "out")),
		os.Symlink(filepath.Join(outside, "f"), filepath.Join(dir, "file")), os.Symlink("/", filepath.Join(dir, "root")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o666), os.WriteFile(filepath.Join(dir, ".packetboat-up-x"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "line\r\n226 done"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	p := h.login()
	p.cmd(250, "CWD /m")
	for _, name := range []string{"out", "out/f", "file", "root", "root/etc/passwd", "fifo", ".packetboat-up-x", "OUT", "out/../out"} {
		for _, verb := range []string{"SIZE", "MDTM", "MLST", "CWD", "DELE", "RMD", "RNFR", "XSHA256", "SITE CHMOD 777", "MFMT 20010203040506"} {
			if text := p.cmd(550, "%s %s", verb, name); strings.Contains(text, dir) || strings.Contains(text, outside) {
				t.Error(text)
			}
		}
		p.cmd(450, "STAT %s", name) // RFC 959 section 5.4
		p.epsv()
		p.cmd(550, "RETR %s", name)
	}
	for _, name := range []string{"out/new", "root/tmp/new", "fifo", "fifo/new"} {
		p.epsv()
		p.cmd(550, "STOR %s", name)
		p.cmd(550, "MKD %s", name)
	}
	for _, verb := range []string{"LIST -la", "NLST", "MLSD"} {
		if list := p.retr("%s", verb); strings.Contains(list, "out") || strings.Contains(list, "fi") || strings.Contains(list, "226") || strings.Contains(list, "packetboat") {
			t.Errorf("%s: %q", verb, list)
		}
	}
	if b, err := os.ReadFile(filepath.Join(outside, "f")); string(b) != "canary" {
		t.Errorf("%q, %v", b, err)
	}
	if all, err := os.ReadDir(outside); len(all) != 1 {
		t.Error(all, err)
	}
}

// LIST -R does not follow links, which may lead in circles; as an entry each is shown for what it leads to.
func TestTreeOfLinks(t *testing.T) {
	h := newHouse(t)
	dir := h.mounted("/m", false)
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "sub"), 0o755), os.WriteFile(filepath.Join(dir, "sub", "file"), nil, 0o644),
		os.Symlink(".", filepath.Join(dir, "sub", "circle")), os.Symlink("sub", filepath.Join(dir, "again"))); err != nil {
		t.Fatal(err)
	}
	p := h.login()
	list := p.retr("LIST -R /m")
	if strings.Count(list, " file\r\n") != 1 || strings.Contains(list, "again:") || strings.Contains(list, "circle:") {
		t.Error(list)
	}
	for _, name := range []string{" again\r\n", " circle\r\n", "sub:\r\n"} {
		if !strings.Contains(list, name) {
			t.Errorf("no %q in %s", name, list)
		}
	}
}
