package ftp

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/packetboat/packetboat/storage/vfs"
)

// siteCommand is a row of the commands behind SITE.
type siteCommand struct {
	name   string
	flags  flags  // preAuth, needArg
	syntax string // of the argument, for HELP
	run    func(c *client, arg string)
}

// siteTable is every command behind SITE, in the order in which SITE HELP shows them.
func siteTable() []siteCommand {
	return []siteCommand{
		{name: "CHMOD", flags: needArg, syntax: "mode path", run: (*client).siteChmod},
		{name: "UTIME", flags: needArg, syntax: "YYYYMMDDhhmm[ss] path", run: (*client).siteUtime},
		{name: "MKDIR", flags: needArg, syntax: "path", run: (*client).siteMkdir},
		{name: "RMDIR", flags: needArg, syntax: "path", run: (*client).cmdRmd},
		{name: "CPFR", flags: needArg, syntax: "path", run: (*client).siteCpfr},
		{name: "CPTO", flags: needArg, syntax: "path", run: (*client).siteCpto},
		{name: "RESUME", syntax: "[CWD | DROP path | FORGET]", run: (*client).siteResume},
		{name: "QUOTA", run: (*client).siteQuota},
		{name: "HELP", flags: preAuth, syntax: "[command]", run: (*client).siteHelp},
	}
}

func (s *Server) siteCommand(name string) *siteCommand {
	for i := range s.site {
		if strings.EqualFold(s.site[i].name, name) {
			return &s.site[i]
		}
	}
	return nil
}

func (c *client) cmdSite(arg string) {
	name, rest, _ := strings.Cut(strings.TrimLeft(arg, " "), " ")
	switch cmd := c.srv.siteCommand(name); {
	case cmd == nil:
		if c.account == nil {
			c.reply(530, notLoggedIn)
			return
		}
		// RFC 959 section 5.4 has 500 for it.
		c.reply(500, "No such SITE command. See SITE HELP.")
	case cmd.flags&preAuth == 0 && c.account == nil:
		c.reply(530, notLoggedIn)
	case cmd.flags&needArg != 0 && rest == "":
		c.reply(501, "Usage: SITE "+cmd.name+" "+cmd.syntax)
	default:
		cmd.run(c, rest)
	}
}

// siteHelp is SITE HELP and HELP SITE.
func (c *client) siteHelp(arg string) {
	if arg = strings.TrimSpace(arg); arg != "" {
		cmd := c.srv.siteCommand(arg)
		if cmd == nil {
			c.reply(501, "No such SITE command.")
			return
		}
		c.reply(214, strings.TrimSpace("Usage: SITE "+cmd.name+" "+cmd.syntax))
		return
	}
	var lines []string
	for _, cmd := range c.srv.site {
		lines = append(lines, strings.TrimSpace(cmd.name+" "+cmd.syntax))
	}
	c.replyLines(214, "SITE commands:", lines, "End of help")
}

// siteMkdir makes a folder and those above it that are missing. As in ProFTPD, that there is one already is no error.
func (c *client) siteMkdir(arg string) {
	p, err := c.resolve(arg)
	for i := 1; err == nil && i < len(p); i++ {
		n := strings.IndexByte(p[i:], '/')
		if n < 0 {
			n = len(p) - i
		}
		i += n
		var info vfs.Info
		if info, err = c.tree.Stat(c.ctx, p[:i]); errors.Is(err, fs.ErrNotExist) {
			err = c.call("MKD", p[:i])
		} else if err == nil && !info.IsDir() {
			err = errNotFolder
		}
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.reply(200, quote(p)+" is there.")
}

// siteCpfr names the file that SITE CPTO copies. What lies between the two does not matter, unless it is a new login.
func (c *client) siteCpfr(arg string) {
	p, info, err := c.stat(arg)
	if err == nil && info.IsDir() {
		err = refuse(550, "That is a folder.")
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.copyFrom = p
	c.reply(350, "Send SITE CPTO with the name of the copy.")
}

func (c *client) siteCpto(arg string) {
	from := c.copyFrom
	c.copyFrom = ""
	if from == "" {
		c.reply(503, "Send SITE CPFR first.")
		return
	}
	to, err := c.resolve(arg)
	if err == nil {
		err = c.tree.Copy(c.ctx, from, to)
	}
	if err != nil {
		c.fail(err, to, true)
		return
	}
	c.reply(250, "Copied to "+to+".")
}

// siteQuota tells what is used and what may be.
func (c *client) siteQuota(string) {
	used, limit, err := c.tree.Usage(c.ctx)
	if err != nil {
		c.fail(err, "", false)
		return
	}
	lines := []string{fmt.Sprintf("Used: %d bytes", used)}
	if limit > 0 {
		lines = append(lines, fmt.Sprintf("Limit: %d bytes", limit), fmt.Sprintf("Left: %d bytes", max(limit-used, 0)))
	} else {
		lines = append(lines, "Limit: none")
	}
	c.replyLines(200, "Quota of mail and files together:", lines, "End of quota")
}
