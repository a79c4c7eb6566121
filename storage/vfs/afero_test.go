package vfs_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/spf13/afero"

	"github.com/packetboat/packetboat/storage/vfs"
)

func TestMain(m *testing.M) {
	flag.Set("rapid.checks", "40") // the command line wins
	os.Exit(m.Run())
}

// driver is all that it takes to put ftpserverlib on a Tree.
type driver struct{ *vfs.AferoFs }

func (d driver) GetHandle(name string, flags int, offset int64) (ftpserver.FileTransfer, error) {
	return d.Handle(name, flags, offset)
}

var _ interface {
	ftpserver.ClientDriver
	ftpserver.ClientDriverExtentionFileTransfer
	ftpserver.ClientDriverExtensionFileList
	ftpserver.ClientDriverExtensionRemoveDir
	ftpserver.ClientDriverExtensionAvailableSpace
} = driver{}

func newAfero(t *testing.T) (*house, *vfs.AferoFs) {
	h := newHouse(t)
	return h, h.Afero(t.Context())
}

func TestAferoFiles(t *testing.T) {
	h, a := newAfero(t)
	h.ok(a.MkdirAll("/d/e/f", 0o755))
	h.ok(a.MkdirAll("/d/e/f", 0o755))
	h.ok(a.MkdirAll("/Mail/New/Sub", 0o755))
	h.ok(afero.WriteFile(a, "/d/x", []byte("hello"), 0o644))
	h.refused(a.MkdirAll("/d/x", 0o755), fs.ErrInvalid, "/d/x")
	if b, err := afero.ReadFile(a, "/d/x"); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if ok, err := afero.Exists(a, "/d/none"); ok || err != nil {
		t.Error(ok, err)
	}
	h.ok(a.Chmod("/d/x", 0o600))
	when := time.Unix(1e9, 0)
	h.ok(a.Chtimes("/d/x", when, when))
	h.refused(a.Chown("/d/x", 1, 1), fs.ErrPermission, "/d/x")
	i, err := a.Stat("/d/x")
	if err != nil || !i.ModTime().Equal(when) || i.Mode() != 0o600 || i.Size() != 5 {
		t.Errorf("%v %v", i, err)
	}
	if i, err := a.Stat("/none"); i != nil || !os.IsNotExist(err) {
		t.Error(i, err)
	}
	h.refused(a.Remove("/d/e"), fs.ErrPermission, "/d/e")
	h.refused(a.Rename("/d/x", "/none/x"), fs.ErrNotExist, "/d/x")
	h.ok(a.Rename("/d/x", "/d/e/f/y"))
	var walked []string
	h.ok(afero.Walk(a, "/d", func(p string, i os.FileInfo, err error) error {
		walked = append(walked, p)
		return err
	}))
	if want := []string{"/d", "/d/e", "/d/e/f", "/d/e/f/y"}; !slices.Equal(walked, want) {
		t.Errorf("%q", walked)
	}
	h.ok(a.RemoveAll("/d"))
	h.ok(a.RemoveAll("/d"))
	h.want("/", "Mail/")
	if used, _, err := h.Usage(t.Context()); used != 0 || err != nil {
		t.Error(used, err)
	}
	for _, p := range []string{"/", "/Mail", "/../Mail/"} {
		if err := a.RemoveAll(p); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("RemoveAll(%s): %v", p, err)
		}
	}
	f, err := afero.TempFile(a, "/", "t*")
	if err != nil {
		t.Fatal(err)
	}
	h.ok(f.Close())
	if a.Name() == "" {
		t.Error("no name")
	}
}

// The standard library's own test of a file system, over the tree as an fs.FS.
func TestAsFS(t *testing.T) {
	h, a := newAfero(t)
	h.ok(a.MkdirAll("/d/e", 0o755))
	h.put("/d/e/file", "text")
	h.put("/d/empty", "")
	h.put("/Mail/INBOX/a.eml", letter("a", monday))
	if err := fstest.TestFS(afero.NewIOFS(afero.NewBasePathFs(a, "/d")), "e/file", "empty"); err != nil {
		t.Error(err)
	}
	if err := fstest.TestFS(afero.NewIOFS(afero.NewBasePathFs(a, "/Mail")), "INBOX/2026-11-09 0730 a (1).eml"); err != nil {
		t.Error(err)
	}
}

func TestAferoRead(t *testing.T) {
	h, a := newAfero(t)
	h.put("/f", "0123456789")
	f, err := a.Open("/f")
	if err != nil {
		t.Fatal(err)
	}
	if at, err := f.Seek(-3, io.SeekEnd); at != 7 || err != nil {
		t.Error(at, err)
	}
	if b, err := io.ReadAll(f); string(b) != "789" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	b := make([]byte, 4)
	if n, err := f.ReadAt(b, 8); n != 2 || err != io.EOF {
		t.Error(n, err)
	}
	var buf bytes.Buffer
	f.Seek(5, io.SeekStart)
	if n, err := f.(io.WriterTo).WriteTo(&buf); n != 5 || err != nil || buf.String() != "56789" {
		t.Error(n, err, buf.String())
	}
	if i, err := f.Stat(); err != nil || i.Size() != 10 || f.Name() != "/f" {
		t.Error(i, err)
	}
	for _, err := range []error{second(f.Write(nil)), second(f.WriteAt(nil, 0)), second(f.WriteString("")), f.Truncate(0)} {
		h.refused(err, fs.ErrPermission, "/f")
	}
	_, err = f.Readdir(-1)
	h.refused(err, fs.ErrInvalid, "/f")
	h.ok(f.Sync())
	h.ok(f.Close())
	g, err := a.Handle("/f", os.O_RDONLY, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if b, err := io.ReadAll(g); string(b) != "89" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func second[A any](_ A, err error) error { return err }

func TestAferoWrite(t *testing.T) {
	h, a := newAfero(t)
	h.put("/f", "old")
	f, err := a.OpenFile("/f", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []error{
		second(f.WriteString("new")), second(f.WriteAt([]byte(" text"), 3)), second(f.Seek(0, io.SeekCurrent)), second(f.Seek(8, io.SeekStart)), f.Truncate(8), f.Sync(),
	} {
		h.ok(step)
	}
	for _, err := range []error{second(f.WriteAt(nil, 2)), second(f.Seek(1, io.SeekStart)), second(f.Seek(-1, io.SeekStart)), f.Truncate(1)} {
		h.refused(err, fs.ErrInvalid, "/f")
	}
	for _, err := range []error{second(f.Read(nil)), second(f.ReadAt(nil, 0))} {
		h.refused(err, fs.ErrPermission, "/f")
	}
	if i, err := f.Stat(); err != nil || i.Size() != 8 || i.Name() != "f" {
		t.Error(i, err)
	}
	if got := h.get("/f"); got != "old" {
		t.Errorf("%q before Close", got)
	}
	h.ok(f.Close())
	if i, err := f.Stat(); err != nil || i.Size() != 8 {
		t.Error(i, err)
	}
	h.refused(f.Close(), fs.ErrClosed, "/f")
	if got := h.get("/f"); got != "new text" {
		t.Errorf("%q after it", got)
	}
	// REST as ftpserverlib does it: opened, then Seek.
	f, err = a.OpenFile("/f", os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := f.Seek(4, io.SeekStart); at != 4 || err != nil {
		t.Fatal(at, err)
	}
	f.(io.ReaderFrom).ReadFrom(strings.NewReader("end"))
	h.ok(f.Close())
	if got := h.get("/f"); got != "new end" {
		t.Errorf("%q", got)
	}
	f, _ = a.OpenFile("/f", os.O_WRONLY|os.O_APPEND, 0)
	io.WriteString(f, "!")
	h.ok(f.Close())
	if got := h.get("/f"); got != "new end!" {
		t.Errorf("%q", got)
	}
	_, err = a.OpenFile("/none", os.O_WRONLY, 0)
	h.refused(err, fs.ErrNotExist, "/none")
	_, err = a.OpenFile("/f", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0)
	h.refused(err, fs.ErrExist, "/f")
}

// A cut transfer: the old file stays, what came can be resumed.
func TestAferoTransferError(t *testing.T) {
	h, a := newAfero(t)
	h.put("/f", "old")
	f, err := a.Create("/f")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "half")
	f.(ftpserver.FileTransferError).TransferError(io.ErrUnexpectedEOF)
	h.ok(f.Close())
	if got := h.get("/f"); got != "old" {
		t.Errorf("%q", got)
	}
	if n, err := h.Partial(t.Context(), "/f"); n != 4 || err != nil {
		t.Error(n, err)
	}
	m, err := a.Create("/Mail/INBOX/x.eml")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(m, letter("a", monday))
	m.(ftpserver.FileTransferError).TransferError(io.ErrUnexpectedEOF)
	h.ok(m.Close())
	h.want("/Mail/INBOX")
	m, _ = a.Create("/Mail/INBOX/x.eml")
	io.WriteString(m, "no message")
	h.refused(m.Close(), fs.ErrInvalid, "/Mail/INBOX/x.eml")
	if left, err := a.GetAvailableSpace("/"); !errors.Is(err, fs.ErrInvalid) {
		t.Error(left, err)
	}
}

func TestAferoFolder(t *testing.T) {
	h, a := newAfero(t)
	h.ok(a.Mkdir("/d", 0))
	for i := range 7 {
		h.put(fmt.Sprintf("/d/%d", i), "")
	}
	f, err := a.Open("/d")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		names, err := f.Readdirnames(3)
		got = append(got, names...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"0", "1", "2", "3", "4", "5", "6"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if i, err := f.Stat(); err != nil || !i.IsDir() {
		t.Error(i, err)
	}
	if _, err := f.Read(nil); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	h.ok(f.Close())
	infos, err := a.ReadDir("/d")
	if len(infos) != 7 || err != nil {
		t.Error(len(infos), err)
	}
	if _, err := a.ReadDir("/none"); !os.IsNotExist(err) {
		t.Error(err)
	}
	h.ok(a.Remove("/d/0"))
	h.refused(a.RemoveDir("/d"), fs.ErrPermission, "/d")
}

// Of those who create a file exclusively at once and close it, one wins when they follow one another; and parallel writers of one file
// leave one of the texts whole.
func TestAferoParallel(t *testing.T) {
	h, a := newAfero(t)
	texts := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 8 {
		text := strings.Repeat(fmt.Sprint(i), 50_000) // larger than what is kept in a row
		texts[text] = true
		wg.Go(func() {
			for range 3 {
				if err := afero.WriteFile(a, "/f", []byte(text), 0o644); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := h.get("/f"); !texts[got] {
		t.Errorf("a mixture of %d bytes", len(got))
	}
}
