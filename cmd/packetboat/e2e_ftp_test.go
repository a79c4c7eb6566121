//go:build e2e

package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEndToEndFiles(t *testing.T) {
	b := launch(t)
	lftp := func(t *testing.T, script string) string {
		t.Helper()
		head := fmt.Sprintf("set ssl:ca-file %s; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set net:max-retries 2; set net:timeout 10; set cmd:fail-exit yes; "+
			"open -u ann@example.test,\"%s\" ftp://localhost:%s; ", b.ca(), annPassword, b.port(21))
		return b.must("", "lftp", "-c", head+script)
	}
	t.Run("lftp mirror both ways", func(t *testing.T) {
		up, down := filepath.Join(t.TempDir(), "up"), filepath.Join(t.TempDir(), "down")
		writeTree(t, up)
		lftp(t, fmt.Sprintf("mirror -R --parallel=4 %s /tree", up))
		out := lftp(t, fmt.Sprintf("mirror -R -v %s /tree", up))
		if strings.Contains(out, "Transferring") {
			t.Errorf("the second mirror transferred something:\n%s", out)
		}
		lftp(t, fmt.Sprintf("mirror --parallel=4 /tree %s", down))
		sameTree(t, up, down)
	})
	t.Run("lftp resumes", func(t *testing.T) {
		dir := t.TempDir()
		data := make([]byte, 3<<20)
		rand.Read(data)
		write(t, filepath.Join(dir, "whole"), data)
		write(t, filepath.Join(dir, "part"), data[:1<<20])
		lftp(t, fmt.Sprintf("put %s/whole -o /r.bin; get -c /r.bin -o %s/part", dir, dir))
		if got, _ := os.ReadFile(filepath.Join(dir, "part")); !bytes.Equal(got, data) {
			t.Error("the resumed download has other bytes")
		}
	})
	t.Run("curl ftp and ftps", func(t *testing.T) {
		dir := t.TempDir()
		data := make([]byte, 300_000)
		rand.Read(data)
		write(t, filepath.Join(dir, "f"), data)
		common := []string{"-sS", "--cacert", b.ca(), "--user", "ann@example.test:" + annPassword}
		for i, url := range []string{"ftp://localhost:" + b.port(21), "ftps://localhost:" + b.port(990)} {
			name := fmt.Sprintf("%s/curl%d/f.bin", url, i)
			args := append(common, "--ssl-reqd")
			b.must("", "curl", append(args, "--ftp-create-dirs", "-T", filepath.Join(dir, "f"), name)...)
			b.must("", "curl", append(args, "-o", filepath.Join(dir, "back"), name)...)
			if got, _ := os.ReadFile(filepath.Join(dir, "back")); !bytes.Equal(got, data) {
				t.Errorf("%s came back with other bytes", name)
			}
			if out := b.must("", "curl", append(args, "-r", "10-19", name)...); out != string(data[10:20]) {
				t.Errorf("%s: the range is wrong", name)
			}
			if out := b.must("", "curl", append(args, fmt.Sprintf("%s/curl%d/", url, i))...); !strings.Contains(out, "f.bin") {
				t.Errorf("%s: not listed:\n%s", name, out)
			}
		}
		b.must("", "curl", append(common, "-P", "127.0.0.1", "-T", filepath.Join(dir, "f"), "ftp://127.0.0.1:"+b.port(21)+"/active.bin")...)
		out, err := b.client("", "curl", "-sS", "--cacert", b.ca(), "--ssl-reqd", "--user", "ann@example.test:wrong", "ftp://localhost:"+b.port(21)+"/")
		if err == nil || !strings.Contains(out, "530") && !strings.Contains(out, "denied") {
			t.Errorf("a wrong password was taken: %v\n%s", err, out)
		}
	})
	t.Run("ncftp", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "n.txt"), []byte("by ncftp\n"))
		cfg := filepath.Join(dir, "cfg")
		write(t, cfg, fmt.Appendf(nil, "host 127.0.0.1\nuser ann@example.test\npass %s\n", annPassword))
		b.must("", "ncftpput", "-f", cfg, "-P", b.port(21), "/", filepath.Join(dir, "n.txt"))
		if out := b.must("", "ncftpls", "-f", cfg, "-P", b.port(21), "ftp://127.0.0.1/"); !strings.Contains(out, "n.txt") {
			t.Errorf("not listed:\n%s", out)
		}
		back := filepath.Join(dir, "back")
		if err := os.Mkdir(back, 0o700); err != nil {
			t.Fatal(err)
		}
		b.must("", "ncftpget", "-f", cfg, "-P", b.port(21), back, "/n.txt")
		if got, _ := os.ReadFile(filepath.Join(back, "n.txt")); string(got) != "by ncftp\n" {
			t.Errorf("came back as %q", got)
		}
	})
	t.Run("tnftp", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "t.txt"), []byte("by tnftp\n"))
		out := b.must(fmt.Sprintf("user ann@example.test \"%s\"\nbinary\nmkdir tn\ncd tn\nlcd %s\nput t.txt\nrename t.txt u.txt\nls\nget u.txt back.txt\nsize u.txt\nmodtime u.txt\ndelete u.txt\ncd ..\nrmdir tn\nquit\n",
			annPassword, dir), "tnftp", "-n", "-v", "127.0.0.1", b.port(21))
		if got, _ := os.ReadFile(filepath.Join(dir, "back.txt")); string(got) != "by tnftp\n" {
			t.Errorf("came back as %q\n%s", got, out)
		}
	})
	t.Run("python ftplib", func(t *testing.T) {
		b.python(t, `
import ftplib, io
class Reuse(ftplib.FTP_TLS):
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
        return conn, size
for kind in (ftplib.FTP_TLS, Reuse):
    f = kind(context=ctx); f.connect("localhost", PORT+21); f.login("ann@example.test", ANN); f.prot_p()
    data = bytes(range(256)) * 4000
    f.mkd("py"); f.cwd("py"); assert f.pwd() == "/py"
    f.storbinary("STOR a.bin", io.BytesIO(data))
    out = io.BytesIO(); f.retrbinary("RETR a.bin", out.write); assert out.getvalue() == data
    out = io.BytesIO(); f.retrbinary("RETR a.bin", out.write, rest=1000); assert out.getvalue() == data[1000:]
    assert f.size("a.bin") == len(data)
    assert [n for n, facts in f.mlsd() if facts["type"] == "file"] == ["a.bin"]
    f.storbinary("APPE a.bin", io.BytesIO(b"more")); assert f.size("a.bin") == len(data) + 4
    f.rename("a.bin", "b.bin"); assert f.nlst() == ["b.bin"], f.nlst()
    f.delete("b.bin"); f.cwd("/"); f.rmd("py"); f.quit()
f = ftplib.FTP(); f.connect("127.0.0.1", PORT+21); f.login("ann@example.test", ANN); f.set_pasv(False)
f.storbinary("STOR active.bin", io.BytesIO(b"x" * 10)); assert f.size("active.bin") == 10; f.quit()
`)
	})
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeTree makes a tree with odd names, an empty file and an empty folder.
func writeTree(t *testing.T, dir string) {
	for i := range 20 {
		data := make([]byte, i*i*1000)
		rand.Read(data)
		write(t, filepath.Join(dir, fmt.Sprintf("d%d/file %d ä.bin", i%3, i)), data)
	}
	write(t, filepath.Join(dir, "quo\"te & #1;%.txt"), []byte("x"))
	if err := os.MkdirAll(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func sameTree(t *testing.T, a, b string) {
	t.Helper()
	n := 0
	err := filepath.Walk(a, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(a, path)
		n++
		if info.IsDir() {
			_, err := os.Stat(filepath.Join(b, rel))
			return err
		}
		x, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		y, err := os.ReadFile(filepath.Join(b, rel))
		if err == nil && !bytes.Equal(x, y) {
			err = fmt.Errorf("%s differs", rel)
		}
		return err
	})
	if err != nil || n < 20 {
		t.Errorf("the trees differ (%d entries): %v", n, err)
	}
}
