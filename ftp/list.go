package ftp

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/vfs"
)

// listBuffer is how much of a listing is collected before it is sent.
const listBuffer = 64 << 10

// target is what a listing command names.
type target struct {
	path    string // absolute: a folder, or a file
	pattern *glob  // of names in path; nil: all
	prefix  string // before each name in NLST, so that a client can use the names as they are
	only    bool   // path itself, not what is in it
	info    vfs.Info
	flags   lsFlags
}

// target finds what arg names, behind options as of ls. Wildcards count in the last element only, and only where there is no such name.
func (c *client) target(ctx context.Context, arg string) (target, error) {
	name, flags := splitFlags(arg)
	var p string
	var info vfs.Info
	var err error
	// Where there is no such name, a client wrote two blanks for one.
	for _, name = range [...]string{name, strings.TrimLeft(name, " ")} {
		if p, err = c.resolve(name); err != nil {
			return target{}, err
		}
		if info, err = c.tree.Stat(ctx, p); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) && hasMeta(path.Base(p)) && !hasMeta(path.Dir(p)) {
		dir := path.Dir(p)
		if info, err := c.tree.Stat(ctx, dir); err != nil || !info.IsDir() {
			return target{}, errNoName
		}
		prefix, _ := path.Split(name)
		return target{path: dir, pattern: newGlob(path.Base(p)), prefix: prefix, flags: flags}, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return target{}, errNoName
	}
	if err != nil {
		return target{}, err
	}
	t := target{path: p, info: info, only: flags.self || !info.IsDir(), flags: flags}
	switch {
	case t.only:
		t.prefix, _ = path.Split(name)
	case name != "":
		t.prefix = strings.TrimSuffix(name, "/") + "/"
	}
	return t, nil
}

// RFC 959 section 5.4 has 450 for what LIST, NLST and STAT do not find.
var (
	errNoName  = refuse(450, "No such file or folder.")
	errNoMatch = refuse(450, "No name matches.")
)

// lineOf appends the line of an entry to b.
type lineOf func(b []byte, t *target, i vfs.Info) []byte

func (c *client) cmdList(arg string) (*transfer, error) {
	now := time.Now()
	return c.listing("LIST", arg, func(b []byte, t *target, i vfs.Info) []byte { return appendLs(b, i, now, &t.flags) })
}

func (c *client) cmdNlst(arg string) (*transfer, error) {
	return c.listing("NLST", arg, func(b []byte, t *target, i vfs.Info) []byte {
		return append(appendName(append(b, t.prefix...), i.Name()), "\r\n"...)
	})
}

// listing prepares LIST or NLST.
func (c *client) listing(verb, arg string, line lineOf) (*transfer, error) {
	name, _ := splitFlags(arg)
	p, err := c.resolve(name)
	if err != nil {
		return nil, err
	}
	return c.newTransfer(verb, p, func(t *transfer) error {
		tg, err := c.target(t.d.ctx, arg)
		if err != nil {
			return err
		}
		l := &lister{c: c, t: t, line: line}
		if verb == "LIST" && tg.flags.recursive && !tg.only && tg.pattern == nil {
			return l.sendTree(&tg)
		}
		return l.send(&tg)
	})
}

// cmdMlsd: RFC 3659 section 7. A file has no listing: 501.
func (c *client) cmdMlsd(arg string) (*transfer, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return nil, err
	}
	chosen := c.facts
	return c.newTransfer("MLSD", p, func(t *transfer) error {
		info, err := c.tree.Stat(t.d.ctx, p)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return refuse(501, "MLSD is for folders: use MLST.")
		}
		l := &lister{c: c, t: t, line: func(b []byte, _ *target, i vfs.Info) []byte {
			return append(appendName(chosen.append(b, i), i.Name()), "\r\n"...)
		}}
		return l.send(&target{path: p, info: info})
	})
}

// lister streams a listing.
type lister struct {
	c    *client
	t    *transfer
	line lineOf
	buf  []byte
}

func (l *lister) send(tg *target) error {
	found := tg.pattern == nil
	for info, err := range l.c.entries(l.t.d.ctx, tg) {
		if err != nil {
			return l.failed(err)
		}
		found = true
		if err := l.add(tg, info); err != nil {
			return err
		}
	}
	if !found {
		return errNoMatch
	}
	return l.finish()
}

func (l *lister) add(tg *target, info vfs.Info) error {
	l.t.started()
	l.buf = l.line(l.buf, tg, info)
	return l.flush(listBuffer)
}

// flush sends what was collected when it is that much.
func (l *lister) flush(least int) error {
	if len(l.buf) < least {
		return nil
	}
	_, err := l.t.d.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

func (l *lister) finish() error {
	l.t.started()
	if err := l.flush(1); err != nil {
		return err
	}
	return l.t.d.finish()
}

// failed is why a folder could not be read: an abort ends that, too.
func (l *lister) failed(err error) error {
	if why := l.t.d.abortedBy(); why != nil {
		return why
	}
	return err
}

const (
	maxTreeDepth   = 32      // levels below the folder that LIST -R names
	maxTreePending = 1 << 20 // bytes of the names of folders that are still to be listed
	maxTreeEntries = 200_000 // in all
)

// sendTree is LIST -R: each folder with those below it after it. A tree that is too large ends in an error, not in a listing that looks whole.
func (l *lister) sendTree(top *target) error {
	type folder struct {
		rel   string // below top
		depth int
	}
	pending, entries, held := []folder{{}}, 0, 0
	for len(pending) > 0 {
		f := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		held -= len(f.rel)
		if f.rel != "" {
			l.buf = append(appendName(append(append(l.buf, "\r\n"...), top.prefix...), f.rel), ":\r\n"...)
		}
		first := len(pending)
		tg := &target{path: path.Join(top.path, f.rel), flags: top.flags}
		for info, err := range l.c.entries(l.t.d.ctx, tg) {
			if errors.Is(err, fs.ErrNotExist) && f.rel != "" {
				break // removed meanwhile
			}
			if err != nil {
				return l.failed(err)
			}
			if entries++; entries > maxTreeEntries || held > maxTreePending || f.depth > maxTreeDepth {
				return refuse(451, "Cut short: the tree is too large for LIST -R.")
			}
			if info.IsDir() && !info.IsLink() { // as ls does: links may lead in circles
				below := folder{path.Join(f.rel, info.Name()), f.depth + 1}
				pending = append(pending, below)
				held += len(below.rel)
			}
			if err := l.add(tg, info); err != nil {
				return err
			}
		}
		slices.Reverse(pending[first:])
	}
	return l.finish()
}

// entries are what a target stands for.
func (c *client) entries(ctx context.Context, tg *target) iter.Seq2[vfs.Info, error] {
	return tg.flags.ordered(func(yield func(vfs.Info, error) bool) {
		if tg.only {
			yield(tg.info, nil)
			return
		}
		for info, err := range c.tree.ReadDir(ctx, tg.path) {
			if err == nil && tg.pattern != nil && !tg.pattern.match(info.Name(), tg.flags.all) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	})
}

// cmdMlst: RFC 3659 section 7: the facts of one thing, over the control connection.
func (c *client) cmdMlst(arg string) {
	p, info, err := c.stat(arg)
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.replyLines(250, "Facts of "+p, []string{string(c.facts.append(nil, info)) + p}, "End")
}

// cmdStat with a path is LIST over the control connection; without one it tells of the session.
func (c *client) cmdStat(arg string) {
	if strings.Trim(arg, " ") == "" {
		c.replyStatus(nil)
		return
	}
	tg, err := c.target(c.ctx, arg)
	if err != nil {
		c.fail(err, "", false)
		return
	}
	code := "213"
	if tg.pattern != nil || tg.info.IsDir() {
		code = "212"
	}
	head := []byte(code + "-Status of " + oneLine(tg.path) + "\r\n")
	now := time.Now()
	var b []byte
	last := "End of status"
	for info, err := range c.entries(c.ctx, &tg) {
		if err != nil {
			last = "Cut short: " + replyOf(err, false).text
			break
		}
		b = appendLs(append(append(b[:0], head...), ' '), info, now, &tg.flags)
		head = nil
		c.write(b)
		if c.isDeaf() {
			break
		}
	}
	if head != nil && tg.pattern != nil {
		c.fail(errNoMatch, "", false)
		return
	}
	c.write(head)
	c.write([]byte(code + " " + last + "\r\n"))
}

func (c *client) isDeaf() bool {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.deaf
}
