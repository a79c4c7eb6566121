package blob_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage/blob"
	"github.com/packetboat/packetboat/storage/blob/blobtest"
)

func open(t testing.TB, dir string) *blob.Disk {
	t.Helper()
	s, err := blob.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := s.(*blob.Disk)
	t.Cleanup(func() { d.Close() })
	return d
}

func TestDisk(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, filepath.Join(t.TempDir(), "blobs")) })
}

// The layout is a promise: backups and people look at it.
func TestLayout(t *testing.T) {
	dir := t.TempDir()
	k := blobtest.Put(t, open(t, dir), []byte("hello"))
	got, err := os.ReadFile(filepath.Join(dir, strings.ToLower(string(k[24:])), string(k)))
	if err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	st, _ := os.Stat(filepath.Join(dir, strings.ToLower(string(k[24:])), string(k)))
	if st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", st.Mode())
	}
	left, err := os.ReadDir(filepath.Join(dir, "staging"))
	if err != nil || len(left) != 0 {
		t.Fatal(left, err)
	}
}

// What a killed process left in staging goes, once it is old enough; what it committed stays.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	first, err := blob.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	k := blobtest.Put(t, first, []byte("kept"))
	for range 3 {
		st, err := first.Stage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st.Write([]byte("half"))
	}
	second := open(t, dir) // first is as good as dead: its staged blobs never end
	if n, err := second.SweepStaging(t.Context(), time.Hour); n != 0 || err != nil {
		t.Fatalf("swept %d that are young, %v", n, err)
	}
	own, err := second.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Abort()
	if n, err := second.SweepStaging(t.Context(), -time.Hour); n != 3 || err != nil {
		t.Fatalf("swept %d, want 3; %v", n, err)
	}
	if got := blobtest.Get(t, second, k); string(got) != "kept" {
		t.Fatalf("%q", got)
	}
}

// A Commit that fails leaves nothing in place and says so each time.
func TestCommitFails(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	st, err := d.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st.Write([]byte("x"))
	files, _ := filepath.Glob(filepath.Join(dir, "staging", "*"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	os.Remove(files[0]) // somebody cleaned up too much
	for range 2 {
		if _, _, err := st.Commit(); err == nil {
			t.Fatal("Commit of a file that is gone")
		}
	}
	if err := st.Abort(); err != nil {
		t.Fatal(err)
	}
	d.Walk(t.Context(), func(k blob.Key, _ int64, _ time.Time) error { t.Errorf("%s is there", k); return nil })
}

// Files that are not blobs are neither shown nor do they harm.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	k := blobtest.Put(t, d, []byte("x"))
	for _, name := range []string{"README", "zz/README", "zz/" + string(k), "lost+found/x", ".nfs000"} {
		p := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(p), 0o700)
		os.WriteFile(p, []byte("y"), 0o600)
	}
	n := 0
	if err := d.Walk(t.Context(), func(got blob.Key, _ int64, _ time.Time) error {
		n++
		if got != k {
			t.Errorf("%s", got)
		}
		return nil
	}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}

// A link inside the folder does not lead out of it.
func TestLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	d := open(t, dir)
	const k = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	os.WriteFile(filepath.Join(outside, k), []byte("secret"), 0o600)
	if err := os.Symlink(outside, filepath.Join(dir, "av")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(t.Context(), k); err == nil {
		t.Fatal("opened through a link")
	}
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := blob.OpenDisk(file); err == nil {
		t.Fatal("a file is no store")
	}
	if _, err := blob.OpenDisk(filepath.Join(file, "below")); err == nil {
		t.Fatal("below a file is no store")
	}
}

// A download over TCP: the whole, a range, and a peer that goes away.
func TestTCP(t *testing.T) {
	d := open(t, t.TempDir())
	b := blobtest.Bytes(3<<20+7, 1)
	r, err := d.Open(t.Context(), blobtest.Put(t, d, b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	client, server := pipe(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		r.WriteTo(server)
		r.WriteRange(server, 10, 1000)
		server.Close()
	})
	got, err := io.ReadAll(client)
	wg.Wait()
	if want := append(bytes.Clone(b), b[10:1010]...); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, want %d; %v", len(got), len(want), err)
	}
	client, server = pipe(t)
	client.Close()
	r.Seek(0, io.SeekStart)
	if n, err := r.WriteTo(server); err == nil || n == r.Size() {
		t.Fatalf("%d bytes to nobody", n)
	}
}

func pipe(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestErrors(t *testing.T) {
	d := open(t, t.TempDir())
	_, err := d.Open(t.Context(), "01ARZ3NDEKTSV4RRFFQ69G5FAV")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	d.Close()
	if _, err := d.Stage(t.Context()); err == nil {
		t.Fatal("Stage after Close")
	}
}

// The upload of a large file over TCP, durable at its end.
func BenchmarkUpload(b *testing.B) {
	const size = 1 << 30
	chunk := blobtest.Bytes(1<<20, 1)
	d := open(b, b.TempDir())
	b.SetBytes(size)
	for b.Loop() {
		client, server := pipe(b)
		go func() {
			for range size / len(chunk) {
				client.Write(chunk)
			}
			client.Close()
		}()
		st, err := d.Stage(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if n, err := st.ReadFrom(server); n != size || err != nil {
			b.Fatal(n, err)
		}
		k, _, err := st.Commit()
		if err != nil {
			b.Fatal(err)
		}
		d.Delete(b.Context(), k)
	}
}

func BenchmarkPut(b *testing.B) {
	for name, n := range map[string]int{"40k": 40 << 10, "1M": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			d := open(b, b.TempDir())
			data := blobtest.Bytes(n, 1)
			b.SetBytes(int64(n))
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					blobtest.Put(b, d, data)
				}
			})
		})
	}
}

func BenchmarkDownload(b *testing.B) {
	const size = 256 << 20
	d := open(b, b.TempDir())
	st, err := d.Stage(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for range 256 {
		st.Write(blobtest.Bytes(1<<20, 1))
	}
	k, _, err := st.Commit()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		r, err := d.Open(b.Context(), k)
		if err != nil {
			b.Fatal(err)
		}
		client, server := pipe(b)
		go func() { io.Copy(io.Discard, client) }()
		if _, err := r.WriteTo(server); err != nil {
			b.Fatal(err)
		}
		r.Close()
		server.Close()
	}
}

// sink is a connection as net.TCPConn is one: it makes a sendfile of a file in a LimitedReader.
type sink struct {
	bytes.Buffer
	t *testing.T
}

func (s *sink) ReadFrom(r io.Reader) (int64, error) {
	l, ok := r.(*io.LimitedReader)
	if !ok {
		s.t.Errorf("got a %T", r)
	} else if _, ok := l.R.(*os.File); !ok {
		s.t.Errorf("got a %T in a LimitedReader", l.R)
	}
	return s.Buffer.ReadFrom(r)
}

// What sendfile depends on: the connection gets the file itself.
func TestSendfile(t *testing.T) {
	d := open(t, t.TempDir())
	r, err := d.Open(t.Context(), blobtest.Put(t, d, blobtest.Bytes(1000, 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &sink{t: t}
	r.WriteTo(s)
	r.WriteRange(s, 10, 20)
	if s.Len() != 1020 {
		t.Errorf("%d bytes", s.Len())
	}
}
