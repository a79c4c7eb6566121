package blob

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// reader of a file of a Disk. Its offset is kept here and not in the file: Read is one pread, and only the
// calls for which the kernel takes the file's own offset (sendfile) set it.
type reader struct {
	f    *os.File
	size int64
	pos  int64
}

func (r *reader) Size() int64 { return r.size }

func (r *reader) Close() error { return r.f.Close() }

func (r *reader) ReadAt(p []byte, off int64) (int, error) { return r.f.ReadAt(p, off) }

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.f.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.size
	default:
		return r.pos, errors.New("blob: seek: bad whence")
	}
	if offset < 0 {
		return r.pos, errors.New("blob: seek: before the beginning")
	}
	r.pos = offset
	return offset, nil
}

func (r *reader) WriteTo(w io.Writer) (int64, error) {
	n, err := r.WriteRange(w, r.pos, max(r.size-r.pos, 0))
	r.pos += n
	return n, err
}

func (r *reader) WriteRange(w io.Writer, off, n int64) (int64, error) {
	if off < 0 || n < 0 {
		return 0, fmt.Errorf("blob: range of %d bytes from %d", n, off)
	}
	if n == 0 {
		return 0, nil
	}
	if _, err := r.f.Seek(off, io.SeekStart); err != nil {
		return 0, fmt.Errorf("blob: read: %w", err)
	}
	written, err := copyFile(w, &io.LimitedReader{R: r.f, N: n})
	if err == nil && written < n {
		err = io.ErrUnexpectedEOF
	}
	return written, err
}

// copyFile gives w the file itself, in a LimitedReader, which is what net.TCPConn.ReadFrom and everything that passes it on
// makes a sendfile of. A w that cannot (TLS) gets larger pieces than io.Copy's.
func copyFile(w io.Writer, f *io.LimitedReader) (int64, error) {
	if rf, ok := w.(io.ReaderFrom); ok {
		return rf.ReadFrom(f)
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(w, f, *buf)
}

// FileReader is a Reader of a file that is in no Store: of its first size bytes, as long as it has them. It takes the file over.
func FileReader(f *os.File, size int64) Reader { return &reader{f: f, size: size} }
