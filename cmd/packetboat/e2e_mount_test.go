//go:build e2e

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostFolder is a folder of the host without links in its path.
func hostFolder(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// The verbs put folders of the host into the tree of somebody who is connected, and take them away; clients mirror them to and fro.
func TestEndToEndMount(t *testing.T) {
	b := launch(t)
	dir, ro := hostFolder(t), hostFolder(t)
	write(t, filepath.Join(ro, "read.txt"), []byte("to be read"))
	l, _ := b.files(t)
	l.say(t, "CWD /shared", "550 ")
	b.run("", "mount", "add", "ann", "/shared/rw", dir)
	b.run("", "mount", "add", "ann", "/shared/ro", ro, "--ro")
	l.say(t, "CWD /shared/ro", "250 ")
	l.say(t, "SIZE read.txt", "213 10")
	l.say(t, "DELE read.txt", "550 ")
	if out := b.run("", "mount", "list"); !strings.Contains(out, dir) || !strings.Contains(out, "read-only") {
		t.Error(out)
	}
	if out, err := b.try("", "mount", "add", "ann", "/data", b.data); err == nil || !strings.Contains(out, "own data") {
		t.Errorf("the data folder was mounted: %s", out)
	}

	f := &fileClient{boat: b.as(t), dir: t.TempDir()}
	if err := os.MkdirAll(f.local("up/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	large, small := f.noise("up/large", 5<<20), f.noise("up/sub/small", 1000)
	f.lftpRun("mirror -R up /shared/rw/up; mirror /shared/rw/up down; mirror /shared/ro ro")
	if out := f.lftpRun("mirror -R -v up /shared/rw/up; mirror -v /shared/rw/up down"); strings.Contains(out, "Transferring") {
		t.Errorf("times are not kept: the second mirror transferred something:\n%s", out)
	}
	for name, want := range map[string][]byte{"down/large": large, "down/sub/small": small, "ro/read.txt": []byte("to be read")} {
		f.holds(name, want)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "up/sub/small")); string(got) != string(small) {
		t.Errorf("%d bytes on the host, %v", len(got), err)
	}
	f.lftpRun("mv /shared/rw/up/large /shared/rw/large; rm -r /shared/rw/up")
	if all, err := os.ReadDir(dir); len(all) != 1 || all[0].Name() != "large" {
		t.Error(all, err)
	}
	var acc accountJSON
	if b.json(&acc, "account", "show", "ann@example.test"); acc.Used != 0 {
		t.Errorf("the quota counts %d bytes of mounts", acc.Used)
	}

	b.run("", "mount", "remove", "ann", "/shared/ro")
	l.say(t, "SIZE read.txt", "550 ")
	if got, err := os.ReadFile(filepath.Join(ro, "read.txt")); err != nil || string(got) != "to be read" {
		t.Error(string(got), err)
	}
	if strings.Contains(b.stderr.String(), dir) {
		t.Errorf("the log tells of the host's folder:\n%s", b.stderr)
	}
	b.run("", "account", "remove", "ann@example.test")
	if _, err := os.Stat(filepath.Join(dir, "large")); err != nil {
		t.Error(err)
	}
	var all []mountJSON
	if b.json(&all, "mount", "list"); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// The server is killed while files are written onto a mount: what was acknowledged is there, and no file is half.
func TestEndToEndMountCrash(t *testing.T) {
	b := launch(t)
	dir := hostFolder(t)
	b.run("", "mount", "add", "ann", "/m", dir)
	acked := map[string]bool{}
	var mu sync.Mutex
	for round := range 3 {
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				l, err := b.ftp()
				if err != nil {
					return
				}
				defer l.Close()
				for n := 0; ; n++ {
					name := fmt.Sprintf("%d-%d.bin", w, n%20)
					d, err := l.data()
					if err != nil {
						return
					}
					if _, err = l.until("STOR /m/"+name, "150 "); err == nil {
						_, err = io.WriteString(d, crashText(fmt.Sprint(round, w), n))
					}
					d.Close()
					if err != nil {
						return
					}
					if _, err := l.until("", "226 "); err != nil {
						return
					}
					mu.Lock()
					acked[name] = true
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Second)
		b.kill()
		all.Wait()
		for name := range acked {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !whole(string(got)) {
				t.Errorf("%s has %d bytes, %v", name, len(got), err)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if got, err := os.ReadFile(filepath.Join(dir, e.Name())); !strings.HasPrefix(e.Name(), ".packetboat-") && (err != nil || !whole(string(got))) {
				t.Errorf("%s has %d bytes, %v", e.Name(), len(got), err)
			}
		}
		b.start()
	}
	if len(acked) < 10 {
		t.Fatalf("%d files were acknowledged", len(acked))
	}
	l, _ := b.files(t)
	d, err := l.data()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l.say(t, "NLST /m", "150 ")
	if list, err := io.ReadAll(d); err != nil || strings.Contains(string(list), "packetboat") || strings.Count(string(list), "\r\n") < len(acked) {
		t.Errorf("%s, %v", list, err)
	}
}
