//go:build e2e

package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestEndToEndFiles lets the file clients that people use do what they do, over TLS wherever a client can: every byte is compared, and neither a
// client nor the server's log may warn of anything.
func TestEndToEndFiles(t *testing.T) {
	b := launch(t)
	t.Run("clients", func(t *testing.T) {
		for name, run := range map[string]func(*fileClient){
			"lftp": (*fileClient).lftp, "lftp resumes": (*fileClient).lftpResumes, "curl": (*fileClient).curl, "curl resumes": (*fileClient).curlResumes,
			"ncftp": (*fileClient).ncftp, "tnftp": (*fileClient).tnftp, "inetutils-ftp": (*fileClient).inetutils, "wget": (*fileClient).wget,
			"rclone": (*fileClient).rclone, "python ftplib": (*fileClient).ftplib, "basic-ftp": (*fileClient).basicFTP,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(&fileClient{boat: b.as(t), dir: t.TempDir()})
			})
		}
	})
	b.quiet()
}

// as is the boat with another test's failures.
func (b *boat) as(t *testing.T) *boat {
	c := *b
	c.t = t
	return &c
}

// quiet fails the test when the log holds more than information; that there is no DNS here is no news.
func (b *boat) quiet() {
	b.t.Helper()
	for line := range strings.Lines(b.stderr.String()) {
		if !strings.Contains(line, " level=INFO ") && !strings.Contains(line, " level=DEBUG ") && !strings.Contains(line, "no DNS answers") {
			b.t.Errorf("the log warns: %s", line)
		}
	}
}

// fileClient is one client's part: a folder of its own here, and the account ann there.
type fileClient struct {
	*boat
	dir string
}

// local is a name in the client's folder.
func (f *fileClient) local(name string) string { return filepath.Join(f.dir, name) }

// noise writes a file of random bytes.
func (f *fileClient) noise(name string, n int) []byte {
	f.t.Helper()
	data := make([]byte, n)
	rand.Read(data)
	write(f.t, f.local(name), data)
	return data
}

// holds compares a file with what it should hold.
func (f *fileClient) holds(name string, want []byte) {
	f.t.Helper()
	got, err := os.ReadFile(f.local(name))
	if err != nil || !bytes.Equal(got, want) {
		f.t.Errorf("%s has %d bytes that are not the %d expected: %v", name, len(got), len(want), err)
	}
}

// complaint is what clients print when they do not like what they see.
var complaint = regexp.MustCompile(`(?im)^.*\b(warning|error|failed|failure|not resumed|insecure)\b.*$|^[45]\d\d[ -].*$`)

// clean runs a client that must succeed, without a complaint.
func (f *fileClient) clean(stdin, name string, args ...string) string {
	f.t.Helper()
	out := f.must(stdin, name, args...)
	if bad := complaint.FindString(out); bad != "" {
		f.t.Errorf("%s complains: %s\nin\n%s", name, bad, out)
	}
	return out
}

// lftpRun runs a script of lftp with TLS on both connections.
func (f *fileClient) lftpRun(script string) string {
	f.t.Helper()
	head := fmt.Sprintf("set ssl:ca-file %s; set ftp:ssl-force yes; set ftp:ssl-protect-data true; set net:max-retries 2; set net:timeout 10; set cmd:fail-exit yes; "+
		"open -u ann@example.test,\"%s\" ftp://localhost:%s; lcd %s; ", f.ca(), annPassword, f.port(21), f.dir)
	return f.clean("", "lftp", "-c", head+script)
}

// lftp mirrors both ways, with modes and times, and goes through its other commands.
func (f *fileClient) lftp() {
	writeTree(f.t, f.local("up"))
	old := time.Date(2020, 2, 29, 12, 34, 56, 0, time.UTC)
	for name, mode := range map[string]os.FileMode{"d0/file 3 ä.bin": 0o640, "d1/file 4 ä.bin": 0o600} {
		if err := os.Chmod(f.local("up/"+name), mode); err != nil {
			f.t.Fatal(err)
		}
		if err := os.Chtimes(f.local("up/"+name), old, old); err != nil {
			f.t.Fatal(err)
		}
	}
	f.lftpRun("mirror -R --parallel=4 up /lftp")
	if out := f.lftpRun("mirror -R -v up /lftp"); strings.Contains(out, "Transferring") {
		f.t.Errorf("the second mirror transferred something:\n%s", out)
	}
	f.lftpRun("mirror --parallel=4 /lftp down")
	sameTree(f.t, f.local("up"), f.local("down"))
	for name, mode := range map[string]os.FileMode{"d0/file 3 ä.bin": 0o640, "d1/file 4 ä.bin": 0o600} {
		if i, err := os.Stat(f.local("down/" + name)); err != nil || i.Mode() != mode || !i.ModTime().Equal(old) {
			f.t.Errorf("%s: mode and time were not kept: %v, %v", name, i, err)
		}
	}
	if out := f.lftpRun("mirror -v /lftp down"); strings.Contains(out, "Transferring") {
		f.t.Errorf("the second mirror down transferred something:\n%s", out)
	}
	out := f.lftpRun("cd /lftp; cls -1 d0; glob echo GLOB d1/*4*; mkdir -p made/deep; mv d2 made/d2; mrm d0/*.bin; rmdir d0; find .; du -s; " +
		"set ftp:passive-mode off; put up/d1/file\\ 1\\ ä.bin -o active; get active -o active; set ftp:use-mlsd no; cls made/d2; rm -r made; cls -1 -B; echo END")
	for _, want := range []string{"d0/file 3 ä.bin", "GLOB d1/file 4 ä.bin", "./made/d2/file 2 ä.bin", "\nactive\nd1/\nempty/\nquo\"te & #1;%.txt\nEND\n"} {
		if !strings.Contains(out, want) {
			f.t.Errorf("%q is not in\n%s", want, out)
		}
	}
	want, _ := os.ReadFile(f.local("up/d1/file 1 ä.bin"))
	f.holds("active", want)
}

// lftpResumes continues in both directions, and gets one file in four pieces at a time, over implicit TLS too.
func (f *fileClient) lftpResumes() {
	data := f.noise("whole", 3<<20)
	write(f.t, f.local("part"), data[:1<<20])
	write(f.t, f.local("down"), data[:2<<20])
	f.lftpRun("put part -o /lftp-resumed; put -c whole -o /lftp-resumed; get -c /lftp-resumed -o down; pget -n 4 /lftp-resumed -o pieces")
	f.holds("down", data)
	f.holds("pieces", data)
	out := f.lftpRun(fmt.Sprintf("open -u ann@example.test,\"%s\" ftps://localhost:%s; get /lftp-resumed -o implicit; rm /lftp-resumed; cls -1", annPassword, f.port(990)))
	f.holds("implicit", data)
	if strings.Contains(out, "lftp-resumed") {
		f.t.Errorf("still listed:\n%s", out)
	}
}

func (f *fileClient) curlRun(args ...string) string {
	f.t.Helper()
	return f.clean("", "curl", append([]string{"-sS", "--show-error", "--cacert", f.ca(), "--max-time", "60", "--user", "ann@example.test:" + annPassword}, args...)...)
}

// curl goes through its methods and options over explicit and implicit TLS.
func (f *fileClient) curl() {
	data := f.noise("f", 300_000)
	for i, url := range []string{"ftp://localhost:" + f.port(21), "ftps://localhost:" + f.port(990)} {
		run := func(args ...string) string { return f.curlRun(append([]string{"--ssl-reqd"}, args...)...) }
		dir, path := fmt.Sprintf("%s/curl%d/", url, i), fmt.Sprintf("/curl%d/in/", i)
		run("--ftp-create-dirs", "-T", f.local("f"), dir+"in/f.bin")
		for _, method := range []string{"multicwd", "nocwd", "singlecwd"} {
			run("--ftp-method", method, "-o", f.local("back"), dir+"in/f.bin")
			f.holds("back", data)
			run("--ftp-method", method, "-T", f.local("f"), dir+"in/"+method+".txt")
		}
		run("--disable-epsv", "-o", f.local("pasv"), dir+"in/f.bin")
		f.holds("pasv", data)
		if out := run("-r", "10-19", dir+"in/f.bin"); out != string(data[10:20]) {
			f.t.Errorf("%s: the range is wrong: %q", url, out)
		}
		for _, args := range [][]string{{"-l"}, {"-X", "MLSD"}, {"-X", "LIST -a"}, {"-X", "NLST *.txt"}, {"-X", "LIST *cwd.txt"}} {
			if out := run(append(args, dir+"in/")...); !strings.Contains(out, "nocwd.txt") || strings.Contains(out, "f.bin") == strings.Contains(strings.Join(args, ""), "*") {
				f.t.Errorf("%s: %q lists\n%s", url, args, out)
			}
		}
		if out := run("-I", dir+"in/f.bin"); !strings.Contains(out, "Content-Length: 300000") || !strings.Contains(out, "Last-Modified: ") {
			f.t.Errorf("%s: -I says\n%s", url, out)
		}
		run("-Q", "RNFR "+path+"f.bin", "-Q", "RNTO "+path+"g.bin", "-Q", "MFMT 20200229123456 "+path+"g.bin", "-Q", "-DELE nocwd.txt", "-Q", "-PWD", dir+"in/")
		if out := run("-X", "MLSD", dir+"in/"); !strings.Contains(out, " g.bin") || strings.Contains(out, "nocwd") || !strings.Contains(out, "modify=20200229123456;") {
			f.t.Errorf("%s: after the quoted commands\n%s", url, out)
		}
	}
	for _, option := range []string{"--eprt", "--disable-eprt"} {
		plain := "ftp://127.0.0.1:" + f.port(21) + "/active.bin"
		f.curlRun("-P", "-", option, "-T", f.local("f"), plain)
		f.curlRun("-P", "-", option, "-o", f.local("active"), plain)
		f.holds("active", data)
	}
	out, err := f.client("", "curl", "-sS", "--cacert", f.ca(), "--ssl-reqd", "--user", "ann@example.test:wrong", "ftp://localhost:"+f.port(21)+"/")
	if err == nil || !strings.Contains(out, "530") && !strings.Contains(out, "denied") {
		f.t.Errorf("a wrong password was taken: %v\n%s", err, out)
	}
}

// curlResumes continues a download by REST and an upload by SIZE and APPE.
func (f *fileClient) curlResumes() {
	data := f.noise("whole", 5<<20)
	write(f.t, f.local("part"), data[:2<<20])
	for i, url := range []string{"ftp://localhost:" + f.port(21), "ftps://localhost:" + f.port(990)} {
		url = fmt.Sprintf("%s/curl-resumed%d", url, i)
		down := fmt.Sprintf("down%d", i)
		write(f.t, f.local(down), data[:1234567])
		f.curlRun("--ssl-reqd", "-T", f.local("part"), url)
		f.curlRun("--ssl-reqd", "-C", "-", "-T", f.local("whole"), url)
		f.curlRun("--ssl-reqd", "-C", "-", "-o", f.local(down), url)
		f.holds(down, data)
		f.curlRun("--ssl-reqd", "-a", "-T", f.local("part"), url)
		if out := f.curlRun("--ssl-reqd", "-I", url); !strings.Contains(out, fmt.Sprintf("Content-Length: %d", 7<<20)) {
			f.t.Errorf("after appending: %s", out)
		}
	}
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
