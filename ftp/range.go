package ftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// cmdRang: draft-bryan-ftp-range-08 section 3: the first and the last byte of the next transfer, or of the next HASH.
func (c *client) cmdRang(arg string) {
	first, last, ok := strings.Cut(strings.TrimSpace(arg), " ")
	from, err := strconv.ParseUint(first, 10, 63)
	to, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 63)
	c.rest, c.until = 0, 0
	switch {
	case !ok || err != nil || err2 != nil || from > maxOffset || to > maxOffset:
		c.reply(501, "Usage: RANG first last")
	case from == 1 && to == 0:
		c.reply(350, "The whole file.")
	case from > to:
		c.reply(501, "The first byte comes behind the last.")
	case c.converts():
		c.reply(551, "Ranges are of bytes: send TYPE I first.")
	default:
		c.rest, c.until = int64(from), int64(to)+1
		c.reply(350, fmt.Sprintf("Bytes %d to %d. Send RETR, STOR or HASH.", from, to))
	}
}

// section is the beginning of a body, as far as a range goes.
type section struct {
	storage.Body
	size int64
}

func (s section) Size() int64 { return s.size }

// cut is what of a body is to be sent: RANG's bytes, as many as there are of them (draft-bryan-ftp-range-08 section 4.3).
func (t *transfer) cut(body storage.Body) storage.Body {
	if t.end == 0 {
		return body
	}
	t.off = min(t.off, body.Size())
	return section{body, min(t.end, body.Size())}
}

// patch stores into a range of a file: draft-bryan-ftp-range-08 section 4.3. What is in front of it and behind it stays, and
// the range must come whole. The file is made anew of the three, so that nobody ever sees half of it.
func (t *transfer) patch(ctx context.Context, tree *vfs.Tree) error {
	var size int64
	old, err := tree.Open(ctx, t.path)
	switch {
	case err == nil:
		defer old.Close()
		size = old.Size()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err == nil && old.Info.IsMessage() {
		return refuse(553, "A message is never changed.")
	}
	if t.off > size {
		return refuse(554, "The file is shorter than that.")
	}
	w, err := tree.Create(ctx, t.path, vfs.CreateOptions{Expect: max(size, t.end), Relaxed: t.c.srv.o.Relaxed})
	if err != nil {
		return err
	}
	t.size = 0 // the range says how much is to come
	t.opening = fmt.Sprintf("Ready for bytes %d to %d of %s.", t.off, t.end-1, t.path)
	from := []io.Reader{&exactly{r: t.d, left: t.end - t.off}}
	if t.off > 0 {
		from = append([]io.Reader{io.NewSectionReader(old, 0, t.off)}, from...)
	}
	if t.end < size {
		from = append(from, io.NewSectionReader(old, t.end, size-t.end))
	}
	return (&upload{t: t, w: w, ctx: ctx, from: io.MultiReader(from...)}).run()
}

// exactly is a reader that must give so many bytes and no more.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.left -= int64(n); e.left < 0 {
		return n, refuse(551, "More came than the range holds; the file is as it was.")
	}
	if err == io.EOF && e.left > 0 {
		return n, refuse(551, "Less came than the range holds; the file is as it was.")
	}
	return n, err
}
