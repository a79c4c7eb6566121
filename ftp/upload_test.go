package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/blob"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// kept is the size of a cut upload, -1 when there is none.
func (h *house) kept(path string) int64 {
	h.t.Helper()
	n, err := h.fs.Tree(h.ann).Partial(context.Background(), path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h *house) quota(n int64) {
	h.t.Helper()
	if _, err := h.store.UpdateAccount(context.Background(), h.ann.ID, storage.AccountChange{Quota: &n}); err != nil {
		h.t.Fatal(err)
	}
}

// TestAnnounced: less than ALLO announced is a cut upload, whatever ended it; RFC 959 section 4.1.3. lftp announces the whole file also when it resumes.
func TestAnnounced(t *testing.T) {
	tests := []struct {
		name  string
		tls   bool
		part  string // that is there before
		say   []string
		store string // command
		send  string
		code  int
		file  string // afterwards; "" is none
		kept  int64
	}{
		{"all", false, "", []string{"ALLO 5"}, "STOR f", "12345", 226, "12345", -1},
		{"less", false, "", []string{"ALLO 6"}, "STOR f", "12345", 426, "", 5},
		{"nothing", false, "", []string{"ALLO 6"}, "STOR f", "", 426, "", -1},
		{"more", false, "", []string{"ALLO 4"}, "STOR f", "12345", 226, "12345", -1},
		{"none", false, "", []string{"ALLO 0"}, "STOR f", "12345", 226, "12345", -1},
		{"record size", false, "", []string{"ALLO 6 R 80"}, "STOR f", "12345", 426, "", 5},
		{"the last counts", false, "", []string{"ALLO 60", "ALLO 5"}, "STOR f", "12345", 226, "12345", -1},
		{"commands between", false, "", []string{"ALLO 6", "TYPE I", "NOOP"}, "STOR f", "12345", 426, "", 5},
		{"less, TLS", true, "", []string{"ALLO 6"}, "STOR f", "12345", 426, "", 5},
		{"all, TLS", true, "", []string{"ALLO 5"}, "STOR f", "12345", 226, "12345", -1},
		{"resumed, whole announced, TLS", true, "12345", []string{"ALLO 10", "REST 5"}, "STOR f", "67890", 226, "1234567890", -1},
		{"resumed, whole announced", false, "12345", []string{"ALLO 10", "REST 5"}, "STOR f", "67890", 226, "1234567890", -1},
		{"resumed, rest announced", false, "12345", []string{"ALLO 5", "REST 5"}, "STOR f", "67890", 226, "1234567890", -1},
		{"resumed, cut again", false, "12345", []string{"ALLO 10", "REST 5"}, "STOR f", "678", 426, "", 8},
		{"appended", false, "12345", []string{"ALLO 10"}, "APPE f", "67890", 226, "1234567890", -1},
		{"appended, cut", false, "12345", []string{"ALLO 10"}, "APPE f", "678", 426, "", 8},
		{"unique", false, "", []string{"ALLO 6"}, "STOU f", "12345", 426, "", 5},
	}
	h := newHouse(t)
	plain, secure := h.login(), h.secureLogin(0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := plain
			if tt.tls {
				p = secure
			}
			if tt.part != "" {
				h.part("/f", tt.part)
			}
			for _, say := range tt.say {
				p.send("%s", say)
				if code, text := p.reply(); code/100 > 3 {
					t.Fatal(text)
				}
			}
			if code := p.stor(tt.send, "%s", tt.store); code != tt.code {
				t.Errorf("got %d", code)
			}
			if got, _ := h.get("/f"); got != tt.file || h.kept("/f") != tt.kept {
				t.Errorf("file %q, part of %d bytes", got, h.kept("/f"))
			}
			// It was for one upload.
			if code := p.stor("1", "STOR f"); code != 226 {
				t.Error(code)
			}
			p.cmd(250, "DELE f")
		})
	}
	// What can never fit is refused before a byte is sent, and what is replaced counts as free.
	h.put("/big", noise(90))
	h.quota(100)
	plain.cmd(552, "ALLO 101")
	plain.cmd(200, "ALLO 95")
	plain.epsv()
	plain.cmd(552, "STOR other")
	plain.cmd(200, "ALLO 95")
	if code := plain.stor(noise(95), "STOR big"); code != 226 {
		t.Error(code)
	}
}

// TestResume: where an upload may go on. RFC 3659 section 5.3.
func TestResume(t *testing.T) {
	tests := []struct {
		name       string
		file, part string // there before
		say        []string
		store      string
		send       string
		code       int
		want       string // the file afterwards
		kept       int64
	}{
		{"part", "", "12345", []string{"REST 5"}, "STOR f", "67", 226, "1234567", -1},
		{"inside of the part", "", "12345", []string{"REST 2"}, "STOR f", "67", 226, "1267", -1},
		{"part before file", "abcdefgh", "12345", []string{"REST 5"}, "STOR f", "67", 226, "1234567", -1},
		{"file", "abc", "", []string{"REST 3"}, "STOR f", "de", 226, "abcde", -1},
		{"inside of the file", "abcdef", "", []string{"REST 3"}, "STOR f", "X", 226, "abcX", -1},
		{"beyond the part", "", "12345", []string{"REST 6"}, "STOR f", "", 554, "", 5},
		{"beyond the part, inside of the file", "abcdefgh", "12345", []string{"REST 8"}, "STOR f", "", 554, "abcdefgh", 5},
		{"beyond the file", "abc", "", []string{"REST 4"}, "STOR f", "", 554, "abc", -1},
		{"nothing there", "", "", []string{"REST 1"}, "STOR f", "", 554, "", -1},
		{"far beyond", "abc", "12345", []string{"REST 4611686018427387904"}, "STOR f", "", 554, "abc", 5},
		{"beyond numbers", "abc", "12345", []string{"REST 99999999999999999999999"}, "APPE f", "", 554, "abc", 5},
		{"from the beginning", "abc", "12345", []string{"REST 0"}, "STOR f", "X", 226, "X", -1},
		{"withdrawn", "abc", "12345", []string{"REST 2", "REST 0"}, "STOR f", "X", 226, "X", -1},
		{"other commands between", "", "12345", []string{"REST 5", "TYPE I", "NOOP"}, "STOR f", "67", 226, "1234567", -1},
		{"append to the part", "", "12345", nil, "APPE f", "67", 226, "1234567", -1},
		{"append to the file", "abc", "", nil, "APPE f", "de", 226, "abcde", -1},
		{"append to nothing", "", "", nil, "APPE f", "de", 226, "de", -1},
		{"append where both are", "abc", "12345", nil, "APPE f", "de", 226, "abcde", -1},
		{"append after SIZE of the part", "", "12345", []string{"SIZE f"}, "APPE f", "67", 226, "1234567", -1},
		// The client thinks that three bytes of what it sends are there: they are, of the part.
		{"append after SIZE where both are", "abc", "12345", []string{"SIZE f"}, "APPE f", "456", 226, "123456", -1},
		{"REST and APPE are as STOR", "", "12345", []string{"REST 3"}, "APPE f", "X", 226, "123X", -1},
		{"a new upload", "abc", "12345", nil, "STOR f", "X", 226, "X", -1},
		{"unique takes no part", "", "12345", []string{"REST 3"}, "STOU f", "X", 226, "X", -1},
	}
	h := newHouse(t)
	p := h.login()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.file != "" {
				h.put("/f", tt.file)
			}
			if tt.part != "" {
				h.part("/f", tt.part)
			}
			for _, say := range tt.say {
				p.send("%s", say)
				if code, text := p.reply(); code/100 > 3 {
					t.Fatal(text)
				}
			}
			if tt.code >= 500 {
				p.epsv()
				p.cmd(tt.code, "%s", tt.store)
			} else if code := p.stor(tt.send, "%s", tt.store); code != tt.code {
				t.Errorf("got %d", code)
			}
			if got, _ := h.get("/f"); got != tt.want || h.kept("/f") != tt.kept {
				t.Errorf("file %q, part of %d bytes", got, h.kept("/f"))
			}
			p.send("DELE f")
			p.reply()
		})
	}
	// To nobody else.
	h.part("/secret", "12345")
	joe := storagetest.Account(t, h.store, "joe@example.test")
	if n, err := h.fs.Tree(joe).Partial(t.Context(), "/secret"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(n, err)
	}
}

// TestProof: what TLS proved whole by close_notify is kept, whatever becomes of the control connection; RFC 8446 section 6.1.
func TestProof(t *testing.T) {
	const whole = "all of it"
	for name, die := range map[string]func(p *peer){
		"close": func(p *peer) { p.raw.Close() },
		"reset": func(p *peer) { p.raw.SetLinger(0); p.raw.Close() },
	} {
		for _, when := range []string{"before", "after"} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				t.Run(fmt.Sprintf("%s %s %x", name, when, version), func(t *testing.T) {
					h := newHouse(t)
					p := h.secureLogin(version)
					conn := p.open("STOR f")
					if when == "before" {
						die(p)
						time.Sleep(20 * time.Millisecond)
					}
					io.WriteString(conn, whole)
					conn.Close()
					if when == "after" {
						die(p)
					}
					eventually(t, "it is there", func() bool { got, _ := h.get("/f"); return got == whole })
				})
			}
		}
	}
	// Without a control connection nobody has minutes.
	h := newHouse(t, func(o *Options) { o.StallTimeout = time.Second })
	p := h.secureLogin(0)
	conn := p.open("STOR f")
	io.WriteString(conn, whole)
	p.raw.Close()
	eventually(t, "it is a part", func() bool { return h.kept("/f") == int64(len(whole)) })
	if _, ok := h.get("/f"); ok {
		t.Error("half of it is there")
	}
}

// TestQuotaPart: what goes beyond the quota while it comes is cut and can be resumed, and half of what was left stays for others.
func TestQuotaPart(t *testing.T) {
	h := newHouse(t)
	h.put("/f", "old")
	h.quota(3_000_003)
	p := h.login()
	conn := p.open("STOR f")
	io.WriteString(conn, noise(4_500_000))
	conn.Close()
	p.expect(552)
	if got, _ := h.get("/f"); got != "old" || h.kept("/f") != 1_500_000 {
		t.Fatalf("file %q, part of %d bytes", got, h.kept("/f"))
	}
	used, limit, err := h.fs.Tree(h.ann).Usage(t.Context())
	if err != nil || used != 1_500_003 || limit != 3_000_003 {
		t.Error(used, limit, err)
	}
	p.cmd(350, "REST 1500000")
	if code := p.stor(noise(2_000_000)[1_500_000:], "STOR f"); code != 226 {
		t.Error(code)
	}
	if got, _ := h.get("/f"); got != noise(2_000_000) {
		t.Errorf("%d bytes", len(got))
	}
}

// small is a disk with room for so many bytes.
type small struct {
	blob.Store
	left atomic.Int64
}

func (s *small) Stage(ctx context.Context) (blob.Staged, error) {
	st, err := s.Store.Stage(ctx)
	return &smallStaged{st, s}, err
}

type smallStaged struct {
	blob.Staged
	s *small
}

func (s *smallStaged) Write(p []byte) (int, error) {
	if n := s.s.left.Add(-int64(len(p))); n < 0 {
		return 0, &fs.PathError{Op: "write", Path: "/srv/secret", Err: syscall.ENOSPC}
	}
	return s.Staged.Write(p)
}

func (s *smallStaged) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, r)
}

// TestDiskFull: an upload for which there is no room on the disk is cut, and half of it kept.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	disk, err := blob.OpenDisk(dir + "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	s := &small{Store: disk}
	s.left.Store(2_000_000)
	h := newHouseOn(t, storagetest.Open(t, dir, storage.Options{Blobs: s}), session.Options{})
	h.put("/f", "old")
	p := h.login()
	conn := p.open("STOR f")
	io.WriteString(conn, noise(3_000_000))
	conn.Close()
	if text := p.expect(451); strings.Contains(text, "secret") || !strings.Contains(text, "space") {
		t.Error(text)
	}
	n := h.kept("/f")
	if got, _ := h.get("/f"); got != "old" || n < 900_000 || n > 1_000_000 {
		t.Fatalf("file %q, part of %d bytes", got, n)
	}
	s.left.Store(1 << 40)
	p.cmd(350, "REST %d", n)
	if code := p.stor(noise(3_000_000)[n:], "STOR f"); code != 226 {
		t.Error(code)
	}
	if got, _ := h.get("/f"); got != noise(3_000_000) {
		t.Errorf("%d bytes", len(got))
	}
}

// TestTwoUploads of one name: each is whole, and the one that ends last stays.
func TestTwoUploads(t *testing.T) {
	h := newHouse(t)
	h.put("/f", "old")
	first, second := h.login(), h.secureLogin(0)
	a, b := first.open("STOR f"), second.open("STOR f")
	one, two := noise(300_000), strings.Repeat("two", 100_000)
	var wg sync.WaitGroup
	for conn, text := range map[net.Conn]string{a: one, b: two} {
		wg.Go(func() { io.WriteString(conn, text) })
	}
	wg.Wait()
	b.Close()
	second.expect(226)
	if got, _ := h.get("/f"); got != two {
		t.Errorf("%d bytes after the first commit", len(got))
	}
	a.Close()
	first.expect(226)
	if got, _ := h.get("/f"); got != one {
		t.Errorf("%d bytes after the second", len(got))
	}
	if code := first.stor("x", "STOR f"); code != 226 || h.kept("/f") != -1 {
		t.Error(code)
	}
}

// TestChangedMeanwhile: what happens to the folder or the file while an upload runs.
func TestChangedMeanwhile(t *testing.T) {
	h := newHouse(t)
	tree, ctx := h.fs.Tree(h.ann), t.Context()
	tests := []struct {
		name   string
		change func(p *peer)
		code   int
		at     string // where it is afterwards, "" nowhere
	}{
		{"folder renamed", func(p *peer) { p.cmd(350, "RNFR d"); p.cmd(250, "RNTO e") }, 226, "/e/f"},
		{"folder removed", func(p *peer) { p.cmd(250, "DELE d/f"); p.cmd(250, "RMD d") }, 451, ""},
		{"file removed", func(p *peer) { p.cmd(250, "DELE d/f") }, 226, "/d/f"},
		{"file renamed", func(p *peer) { p.cmd(350, "RNFR d/f"); p.cmd(250, "RNTO d/g") }, 226, "/d/f"},
		{"a folder takes the name", func(p *peer) { p.cmd(250, "DELE d/f"); p.cmd(257, "MKD d/f") }, 451, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tree.Mkdir(ctx, "/d"); err != nil {
				t.Fatal(err)
			}
			h.put("/d/f", "old")
			p, other := h.login(), h.login()
			conn := p.open("STOR d/f")
			io.WriteString(conn, "new")
			tt.change(other)
			conn.Close()
			p.expect(tt.code)
			for _, path := range []string{"/d/f", "/d/g", "/e/f"} {
				got, _ := h.get(path)
				if path == tt.at != (got == "new") {
					t.Errorf("%s is %q", path, got)
				}
				tree.RemoveFile(ctx, path)
			}
			for _, path := range []string{"/d/f", "/d", "/e"} {
				tree.RemoveDir(ctx, path)
			}
		})
	}
}

// TestNoHandshake: a data connection that comes but does not get through TLS changes nothing.
func TestNoHandshake(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ConnectTimeout = 300 * time.Millisecond })
	h.put("/f", "old")
	p := h.secureLogin(0)
	for _, talk := range []func(net.Conn){
		func(c net.Conn) { io.WriteString(c, "not TLS, but what should be in the file\n") },
		func(c net.Conn) { c.Close() },
		func(net.Conn) {},
	} {
		addr := p.epsv()
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		p.cmd(150, "STOR f")
		talk(conn)
		p.expect(522)
		conn.Close()
		if got, _ := h.get("/f"); got != "old" || h.kept("/f") != -1 {
			t.Errorf("%q", got)
		}
	}
}

// TestUnchangedDownload: who downloads gets the bytes of when it began, whatever happens to the name.
func TestUnchangedDownload(t *testing.T) {
	for _, change := range []string{"STOR", "DELE", "APPE"} {
		for _, size := range []int{50_000, 30_000_000} {
			t.Run(fmt.Sprintf("%s %d", change, size), func(t *testing.T) {
				h := newHouse(t)
				old := noise(size)
				h.put("/f", old)
				p, other := h.login(), h.login()
				conn := p.open("RETR f")
				head := make([]byte, 1000)
				if _, err := io.ReadFull(conn, head); err != nil {
					t.Fatal(err)
				}
				if change == "DELE" {
					other.cmd(250, "DELE f")
				} else if code := other.stor("new", "%s f", change); code != 226 {
					t.Fatal(code)
				}
				h.store.Sweep(t.Context())
				rest, err := io.ReadAll(conn)
				if err != nil || string(head)+string(rest) != old {
					t.Errorf("%d bytes of %d came, %v", len(head)+len(rest), size, err)
				}
				p.expect(226)
			})
		}
	}
}

// TestActivity: a long transfer keeps the session, in both directions, while the control connection is silent.
func TestActivity(t *testing.T) {
	const idle = 400 * time.Millisecond
	h := newHouse(t)
	h.addr = h.listenIdle(idle)
	p := h.login()
	conn := p.open("STOR f")
	for range 16 {
		io.WriteString(conn, "a little,")
		time.Sleep(idle / 8)
	}
	conn.Close()
	p.expect(226)
	eventually(t, "idle", func() bool { return len(h.reg.List()) == 0 })
}

// TestKeepalives: NOOPs sent during a long transfer are answered after it, in their turn, and ABOR behind many of them acts at once.
func TestKeepalives(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	conn := p.open("STOR f")
	io.WriteString(conn, "12345")
	io.WriteString(p.conn, strings.Repeat("NOOP\r\n", 3000)+"ABOR\r\n")
	p.expect(426)
	for range 3000 {
		p.expect(200)
	}
	p.expect(226)
	if _, ok := h.get("/f"); ok {
		t.Error("what was aborted is there")
	}
}

// TestNothingLeft: whatever way a transfer ends, no file and no socket stays open behind it.
func TestNothingLeft(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ConnectTimeout, o.StallTimeout = 100*time.Millisecond, 150*time.Millisecond })
	h.put("/big", noise(8_000_000))
	reset := func(c net.Conn) {
		if tc, ok := c.(*tls.Conn); ok {
			c = tc.NetConn()
		}
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	ends := []func(p *peer, c net.Conn){
		func(p *peer, c net.Conn) { c.Close(); p.reply() },
		func(p *peer, c net.Conn) { reset(c); p.reply() },
		func(p *peer, _ net.Conn) { p.send("ABOR"); p.reply(); p.reply() },
		func(p *peer, _ net.Conn) { p.raw.Close() },
		func(p *peer, _ net.Conn) { p.reply() }, // stalls
		func(p *peer, c net.Conn) { p.raw.Close(); reset(c) },
		func(*peer, net.Conn) { kill(h) },
	}
	round := func() {
		for _, login := range []func() *peer{h.login, func() *peer { return h.secureLogin(0) }} {
			for _, command := range []string{"RETR big", "STOR up", "APPE up"} {
				for _, end := range ends {
					p := login()
					conn := p.open("%s", command)
					if command != "RETR big" {
						io.WriteString(conn, noise(200_000))
					}
					end(p, conn)
					reset(conn)
					p.raw.Close()
				}
				p := login() // nobody comes
				p.epsv()
				p.cmd(150, "%s", command)
				p.expect(425)
				p.raw.Close()
			}
		}
		eventually(t, "the sessions are gone", func() bool { return len(h.reg.List()) == 0 })
	}
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return 0 // not Linux: nothing is compared
		}
		h.pool.mu.Lock()
		defer h.pool.mu.Unlock()
		n := len(fds)
		for _, port := range h.pool.ports {
			n -= len(port.lns) // they stay open
		}
		return n
	}
	round() // opens ports, and connections of the database
	before := open()
	round()
	eventually(t, fmt.Sprintf("no more than %d files are open", before), func() bool { return open() <= before+4 })
}

// TestUniqueTogether: sessions that ask for a unique name at the same time get different ones.
func TestUniqueTogether(t *testing.T) {
	h := newHouse(t)
	a, b := h.login(), h.login()
	for _, command := range []string{"STOU", "STOU name"} {
		for range 3 {
			x, y := a.open("%s", command), b.open("%s", command)
			io.WriteString(x, "x")
			io.WriteString(y, "y")
			x.Close()
			y.Close()
			a.expect(226)
			b.expect(226)
		}
	}
	if got := a.lines("NLST"); len(got) != 13 {
		t.Errorf("%q", got)
	}
}

// TestAborQueued: an ABOR ends the transfer that was asked for before it, also when that waits behind another.
func TestAborQueued(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "12345")
	p := h.login()
	p.epsv()
	io.WriteString(p.conn, "RETR a\r\nABOR\r\nEPSV\r\nRETR a\r\nABOR\r\nEPSV\r\nSTOR b\r\nNOOP\r\nABOR\r\nNOOP\r\n")
	for _, code := range []int{150, 426, 226, 229, 150, 426, 226, 229, 150, 426, 200, 226, 200} {
		p.expect(code)
	}
	if got := p.retr("RETR a"); got != "12345" {
		t.Errorf("then %q", got)
	}
}
