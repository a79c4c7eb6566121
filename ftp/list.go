package ftp

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/vfs"
)

// listBuffer is how much of a listing is collected before it is sent.
const listBuffer = 64 << 10

// target is what a listing command names.
type target struct {
	path    string // absolute: a folder, or a file
	pattern string // of names in path, when not ""
	prefix  string // before each name in NLST, so that a client can use the names as they are
	only    bool   // path itself, not what is in it
	info    vfs.Info
}

// target finds what arg names. Options as in "-la" are skipped, and never taken for names (clients that mean a name
// write ./-la). Wildcards count in the last element only, and only where there is no such name.
func (c *client) target(arg string) (target, error) {
	name, self := splitOptions(arg)
	p, err := c.resolve(name)
	if err != nil {
		return target{}, err
	}
	info, err := c.tree.Stat(c.ctx, p)
	if errors.Is(err, fs.ErrNotExist) && hasMeta(path.Base(p)) && !hasMeta(path.Dir(p)) {
		dir := path.Dir(p)
		if info, err := c.tree.Stat(c.ctx, dir); err != nil || !info.IsDir() {
			return target{}, fs.ErrNotExist
		}
		prefix, _ := path.Split(name)
		return target{path: dir, pattern: path.Base(p), prefix: prefix}, nil
	}
	if err != nil {
		return target{}, err
	}
	t := target{path: p, info: info, only: self || !info.IsDir()}
	switch {
	case t.only:
		t.prefix, _ = path.Split(name)
	case name != "":
		t.prefix = strings.TrimSuffix(name, "/") + "/"
	}
	return t, nil
}

// splitOptions takes options as of ls from the front, up to "--". self is -d.
func splitOptions(arg string) (name string, self bool) {
	arg = strings.TrimLeft(arg, " ")
	for strings.HasPrefix(arg, "-") {
		option, rest, _ := strings.Cut(arg, " ")
		arg = strings.TrimLeft(rest, " ")
		if option == "--" {
			break
		}
		self = self || strings.Contains(option, "d")
	}
	return arg, self
}

func hasMeta(name string) bool { return strings.ContainsAny(name, "*?[") }

// match is path.Match for a name, with a pattern that is wrong taken literally.
func match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok || err != nil && pattern == name
}

func (c *client) cmdList(arg string) (*transfer, error) {
	now := time.Now()
	return c.listing("LIST", arg, true, func(b []byte, _ string, i vfs.Info) []byte { return appendLs(b, i, now) })
}

func (c *client) cmdNlst(arg string) (*transfer, error) {
	return c.listing("NLST", arg, true, func(b []byte, prefix string, i vfs.Info) []byte {
		return append(appendName(append(b, prefix...), i.Name()), "\r\n"...)
	})
}

// cmdMlsd: RFC 3659 section 7. A file has no listing: 501.
func (c *client) cmdMlsd(arg string) (*transfer, error) {
	chosen := c.facts
	return c.listing("MLSD", arg, false, func(b []byte, _ string, i vfs.Info) []byte {
		b = chosen.append(b, i)
		return append(appendName(b, i.Name()), "\r\n"...)
	})
}

// listing prepares a listing of which line makes the lines. ls options and wildcards count in LIST and NLST alone.
func (c *client) listing(verb, arg string, ls bool, line func(b []byte, prefix string, i vfs.Info) []byte) (*transfer, error) {
	name := arg
	if ls {
		name, _ = splitOptions(arg)
	}
	p, err := c.resolve(name)
	if err != nil {
		return nil, err
	}
	return c.newTransfer(verb, p, func(t *transfer) error {
		var tg target
		var err error
		if ls {
			tg, err = c.target(arg)
		} else {
			tg, err = c.plainTarget(p)
		}
		if err != nil {
			return err
		}
		return c.sendList(t, tg, line)
	})
}

func (c *client) plainTarget(p string) (target, error) {
	info, err := c.tree.Stat(c.ctx, p)
	if err != nil {
		return target{}, err
	}
	if !info.IsDir() {
		return target{}, refuse(501, "MLSD is for folders: use MLST.")
	}
	return target{path: p, info: info}, nil
}

// sendList streams a listing.
func (c *client) sendList(t *transfer, tg target, line func([]byte, string, vfs.Info) []byte) error {
	buf := make([]byte, 0, 4<<10)
	found := tg.pattern == ""
	for info, err := range c.entries(tg) {
		if err != nil {
			return err
		}
		found = true
		t.started()
		buf = line(buf, tg.prefix, info)
		if len(buf) >= listBuffer {
			if _, err := t.d.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	if !found {
		return refuse(550, "No name matches.")
	}
	t.started()
	if len(buf) > 0 {
		if _, err := t.d.Write(buf); err != nil {
			return err
		}
	}
	return t.d.finish()
}

// entries are what a target stands for.
func (c *client) entries(tg target) func(yield func(vfs.Info, error) bool) {
	return func(yield func(vfs.Info, error) bool) {
		if tg.only {
			yield(tg.info, nil)
			return
		}
		for info, err := range c.tree.ReadDir(c.ctx, tg.path) {
			if err == nil && tg.pattern != "" && !match(tg.pattern, info.Name()) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
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
	if strings.TrimSpace(arg) == "" {
		c.replyStatus(nil)
		return
	}
	tg, err := c.target(arg)
	if err != nil {
		c.fail(err, "", false)
		return
	}
	code := "213"
	if tg.pattern != "" || tg.info.IsDir() {
		code = "212"
	}
	c.write([]byte(code + "-Status of " + oneLine(tg.path) + "\r\n"))
	now := time.Now()
	var b []byte
	last := "End of status"
	for info, err := range c.entries(tg) {
		if err != nil {
			last = "Cut short: " + replyOf(err, false).text
			break
		}
		b = appendLs(append(b[:0], ' '), info, now)
		c.write(b)
		if c.isDeaf() {
			break
		}
	}
	c.write([]byte(code + " " + last + "\r\n"))
}

func (c *client) isDeaf() bool {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.deaf
}
