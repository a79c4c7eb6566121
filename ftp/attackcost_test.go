package ftp

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage"
)

// allocated is what the process has asked of its allocator so far.
func allocated() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.TotalAlloc)
}

// TestHugeNumbers: offsets, ranges and sizes beyond reason change nothing and set nothing aside.
func TestHugeNumbers(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "content")
	p := h.login()
	used := func() int64 {
		n, _, err := h.fs.Tree(h.ann).Usage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before, held := used(), allocated()
	for _, n := range []string{"4611686018427387904", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551623", "1152921504606846976", "1000000000000", "8",
		"-1", "-9223372036854775808", "0x10", "1e3", "7 7", "", " ", "٣", "１", "NaN", "../a", strings.Repeat("9", 4000)} {
		for _, verb := range []string{"RETR a", "STOR a", "STOR new", "STOU a"} {
			code, text := p.reply2("REST " + n)
			if code != 350 && code != 501 && code != 554 {
				t.Errorf("REST %.30s: %s", n, text)
			}
			if code != 350 {
				continue
			}
			data := dialFrom(t, "127.0.0.1", int(p.epsv().Port()))
			code, _ = p.reply2(verb) // the plan takes the offset away in no case
			if code == 150 {
				data.Close()
				code, text = p.reply()
			}
			data.Close()
			if code/100 != 5 && !(verb == "STOU a" && code == 226) {
				t.Errorf("REST %.30s, %s: %s", n, verb, text)
			}
		}
		for _, line := range []string{"RANG 0 " + n, "RANG " + n + " " + n, "RANG 1 " + n, "ALLO " + n + " R " + n} {
			if code, text := p.reply2(line); code/100 != 3 && code/100 != 5 && !strings.HasPrefix(line, "ALLO") {
				t.Errorf("%.40s: %s", line, text)
			}
			p.reply2("REST 0")
		}
	}
	for range 5 { // at the same time
		q := h.login()
		q.reply2("ALLO 4611686018427387904")
		conn := q.open("STOR q")
		defer conn.Close()
		io.WriteString(conn, "x")
	}
	if got, _ := h.get("/a"); got != "content" {
		t.Errorf("a holds %q", got)
	}
	if _, ok := h.get("/new"); ok {
		t.Error("a file of nothing came about")
	}
	if now := used(); now != before {
		t.Errorf("%d bytes are used, before %d", now, before)
	}
	if n := allocated() - held; n > 64<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

// TestGlobCost: patterns made to be slow cost no more memory than a listing, and look at one folder only.
func TestGlobCost(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	p.cmd(257, "MKD /many")
	const files = 300
	for i := range files {
		p.cmd(257, "MKD /many/%s%d", strings.Repeat("a", 200), i)
	}
	p.cmd(250, "CWD /many")
	plain := allocated()
	if list := p.retr("NLST"); strings.Count(list, "\n") != files {
		t.Fatalf("%d names", strings.Count(list, "\n"))
	}
	plain = allocated() - plain
	for pattern, found := range map[string]int{
		strings.Repeat("*a", 1500) + "b":             0, // longer than a name may be
		strings.Repeat("*a", 127) + "b":              0,
		strings.Repeat("a*", 120) + "*9":             files / 10,
		strings.Repeat("*", 250):                     files,
		strings.Repeat("?*", 100) + "a*":             files,
		strings.Repeat("[a-z]*", 40) + "1":           files / 10,
		"[" + strings.Repeat("a-z", 80) + "]*":       files,
		strings.Repeat("[", 2000):                    0,
		"*[" + strings.Repeat("!", 2000):             0,
		strings.Repeat("{a,", 1000):                  0,
		strings.Repeat(`\a`, 120) + "*":              files,
		strings.Repeat("a", 200) + "[!0-9][!0-9]*":   0,
		strings.Repeat("**/", 500) + "*":             0,
		"../*/" + strings.Repeat("a", 200) + "1":     0,
		"/*/*/*/*/*/*/*":                             0,
		strings.Repeat("../many/", 300) + "*" + "a1": 1,
	} {
		before := allocated()
		var list string
		data := dialFrom(t, "127.0.0.1", int(p.epsv().Port()))
		if code, _ := p.reply2("NLST " + pattern); code == 150 {
			b, _ := io.ReadAll(data)
			list = string(b)
			p.expect(226)
		}
		data.Close()
		if n := strings.Count(list, "\n"); n != found {
			t.Errorf("%.20s...: %d names, want %d", pattern, n, found)
		}
		if n := allocated() - before; n > 4*plain+2<<20 {
			t.Errorf("%.20s...: %d bytes allocated, a plain listing takes %d", pattern, n, plain)
		}
	}
}

// TestDeepFolders: folders in folders, and trees moved into trees, end where storage says, and so does what walks them.
func TestDeepFolders(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	dig := func(root string) int {
		p.cmd(257, "MKD %s", root)
		p.cmd(250, "CWD %s", root)
		for n := 1; ; n++ {
			code, text := p.reply2("MKD d")
			if code != 257 {
				if code != 550 && code != 553 {
					t.Errorf("the last MKD: %s", text)
				}
				return n
			}
			if n > storage.MaxDepth {
				t.Fatalf("%d levels", n)
			}
			p.cmd(250, "CWD d")
		}
	}
	deep := dig("/one")
	if deep > storage.MaxDepth {
		t.Errorf("%d levels, at most %d", deep, storage.MaxDepth)
	}
	if deep2 := dig("/two"); deep2 != deep {
		t.Errorf("%d and %d levels", deep, deep2)
	}
	p.cmd(257, "PWD")
	p.cmd(250, "CWD /")
	half := "/one" + strings.Repeat("/d", deep/2)
	p.cmd(350, "RNFR /two")
	if code, text := p.reply2("RNTO " + half + "/two"); code/100 != 5 {
		t.Errorf("a tree as deep as can be was moved into another: %s", text)
	}
	p.cmd(350, "RNFR /one")
	if code, text := p.reply2("RNTO " + half + "/one"); code/100 != 5 {
		t.Errorf("a folder was moved into itself: %s", text)
	}
	before := footprint{runtime.NumGoroutine(), allocated()}
	for _, line := range []string{"LIST -R", "NLST -R /one", "LIST -laR /two", "MLSD " + half, "LIST -R *"} {
		data := dialFrom(t, "127.0.0.1", int(p.epsv().Port()))
		if code, _ := p.reply2(line); code == 150 {
			io.Copy(io.Discard, data)
			p.reply()
		}
		data.Close()
	}
	if n := allocated() - before.bytes; n > 64<<20 {
		t.Errorf("%d bytes allocated", n)
	}
	// A name as long as can be at every level meets the limit of paths before that of levels.
	long := strings.Repeat("n", 250)
	path := ""
	for n := 0; ; n++ {
		if code, _ := p.reply2("MKD " + path + "/" + long); code != 257 {
			break
		}
		path += "/" + long
		if len(path) > storage.MaxPath {
			t.Fatalf("a path of %d bytes", len(path))
		}
	}
	if len(path) < 1000 {
		t.Errorf("the longest path has %d bytes", len(path))
	}
	p.reply2("CWD " + path)
	p.cmd(257, "PWD")
}

// TestUnfinishedUploads: parts of cut uploads count in the quota, so that their number and size are bounded by it.
func TestUnfinishedUploads(t *testing.T) {
	h := newHouse(t)
	h.quota(1 << 20)
	most := int64(0)
	for i := range 20 {
		p := h.login()
		conn := p.open("STOR part%d", i)
		io.WriteString(conn, noise(200_000))
		io.WriteString(p.conn, "ABOR\r\n")
		io.Copy(io.Discard, conn)
		conn.Close()
		for code, _ := p.reply(); code != 226; code, _ = p.reply() {
		}
		used, _, err := h.fs.Tree(h.ann).Usage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, used)
	}
	if most > 1<<20 || most == 0 {
		t.Errorf("parts of %d bytes, the quota is %d", most, 1<<20)
	}
}

// TestPipelineCost: thousands of lines that nobody waits for are read as far as they are answered, whatever runs meanwhile.
func TestPipelineCost(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	conn := p.open("STOR a")
	before := measure()
	sent := make(chan int)
	go func() {
		n := 0
		line := []byte("MKD " + strings.Repeat("x", 7000) + "\r\n")
		for range 5000 {
			k, err := p.raw.Write(line)
			if n += k; err != nil {
				break
			}
		}
		sent <- n
	}()
	for range 20 { // while the transfer runs, the queue is full and the rest waits with the client
		io.WriteString(conn, "byte")
		if n := measure().bytes - before.bytes; n > 8<<20 {
			t.Fatalf("%d bytes are held", n)
		}
	}
	conn.Close()
	p.expect(226)
	go io.Copy(io.Discard, p.conn)
	if n := <-sent; n < 5000*7000 {
		t.Errorf("only %d bytes were taken", n)
	}
	p.raw.Close()
	if got, _ := h.get("/a"); got != strings.Repeat("byte", 20) {
		t.Errorf("a holds %q", got)
	}
}
