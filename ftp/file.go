package ftp

import (
	"errors"
	"io/fs"
	"path"
	"strconv"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// timeLayout is RFC 3659 section 2.3 without fractions.
const timeLayout = "20060102150405"

var errNotFolder = refuse(550, "Not a folder.")

// stat resolves a client's path and looks it up.
func (c *client) stat(name string) (string, vfs.Info, error) {
	p, err := c.resolve(name)
	if err != nil {
		return "", vfs.Info{}, err
	}
	info, err := c.tree.Stat(c.ctx, p)
	return p, info, err
}

func (c *client) cmdPwd(string) { c.reply(257, quote(c.cwd)+" is the current folder.") }

func (c *client) cmdCwd(arg string) {
	p, err := c.resolve(arg)
	if err == nil {
		err = c.call("CWD", p)
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.cwd = p
	c.sess.Open(p)
	c.reply(250, "Now in "+quote(p)+".")
}

func (c *client) cmdCdup(string) {
	up := path.Dir(c.cwd)
	if err := c.call("CWD", up); err != nil {
		c.fail(err, up, false)
		return
	}
	c.cwd = up
	c.sess.Open(up)
	c.reply(250, "Now in "+quote(up)+".") // RFC 959 page 31 has 200 in one place and 250 in another; clients take either
}

func (c *client) cmdMkd(arg string) {
	p, err := c.resolve(arg)
	if err == nil {
		err = c.call("MKD", p)
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.reply(257, quote(p)+" created.")
}

func (c *client) cmdRmd(arg string) {
	p, info, err := c.stat(arg)
	if err == nil && !info.IsDir() {
		err = errNotFolder
	}
	if err == nil {
		err = c.call("RMD", p)
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.reply(250, "Folder removed.")
}

// cmdDele removes a file, or what was kept of an upload that was cut and has no file yet (RFC 959 knows no other command for it).
func (c *client) cmdDele(arg string) {
	p, info, err := c.stat(arg)
	if errors.Is(err, fs.ErrNotExist) {
		if _, perr := c.tree.Partial(c.ctx, p); perr == nil {
			err = nil
		}
	}
	if err == nil && info.IsDir() {
		err = refuse(550, "That is a folder: use RMD.")
	}
	if err == nil {
		err = c.call("DELE", p)
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.reply(250, "File removed.")
}

func (c *client) cmdRnfr(arg string) {
	p, _, err := c.stat(arg)
	if err == nil {
		err = c.tree.May(c.ctx, p, storage.CanRename)
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.renameFrom = p
	c.reply(350, "Send RNTO with the new name.")
}

func (c *client) cmdRnto(arg string) {
	from := c.renameFrom
	c.renameFrom = ""
	if from == "" {
		c.reply(503, "Send RNFR first.")
		return
	}
	to, err := c.resolve(arg)
	if err == nil {
		err = c.call("RNFR", from)
	}
	if err == nil {
		err = c.call("RNTO", to)
	}
	if err != nil {
		c.fail(err, to, true)
		return
	}
	c.reply(250, "Renamed.")
}

// cmdSize tells what RETR would send (RFC 3659 section 4), which TYPE does not change unless ConvertASCII is set: then counting would take reading
// the file, and nobody would have a use for the number. Of an upload that was cut and has no file yet, it tells where to resume.
func (c *client) cmdSize(arg string) {
	if c.converts() {
		c.reply(550, "Not in TYPE A: send TYPE I first.")
		return
	}
	p, info, err := c.stat(arg)
	// In a drop box, which does not tell what is there, the part is the account's own.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		if n, perr := c.tree.Partial(c.ctx, p); perr == nil {
			c.told = told{p, n}
			c.reply(213, strconv.FormatInt(n, 10))
			return
		}
	}
	if err == nil && info.IsDir() {
		err = refuse(550, "That is a folder.")
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.told = told{p, info.Size()}
	c.reply(213, strconv.FormatInt(info.Size(), 10))
}

// told is what SIZE said of a path.
type told struct {
	path string
	size int64
}

func (c *client) cmdMdtm(arg string) {
	p, info, err := c.stat(arg)
	if err == nil && info.IsDir() {
		err = refuse(550, "That is a folder.")
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.reply(213, string(appendStamp(nil, info.ModTime())))
}

func (c *client) dropEngine() {
	if c.eng != nil {
		c.eng.close()
		c.eng = nil
	}
}

// call has the engine run a command.
func (c *client) call(verb, arg string) error {
	err := c.engine().call(verb, arg)
	if errors.Is(err, errEngineClosed) {
		c.dropEngine() // the next command gets a new one
	}
	return err
}
