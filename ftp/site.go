package ftp

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// siteCommands are the commands behind SITE.
func siteCommand(name string) func(c *client, arg string) {
	switch name {
	case "CHMOD":
		return (*client).siteChmod
	case "UTIME":
		return (*client).siteUtime
	case "RESUME":
		return (*client).siteResume
	case "HELP":
		return func(c *client, _ string) { c.siteHelp() }
	}
	return nil
}

func (c *client) cmdSite(arg string) {
	name, rest, _ := strings.Cut(arg, " ")
	run := siteCommand(strings.ToUpper(name))
	if run == nil {
		c.reply(500, "No such SITE command. See SITE HELP.")
		return
	}
	run(c, rest)
}

func (c *client) siteHelp() {
	c.replyLines(214, "SITE commands:", []string{
		"CHMOD mode path", "UTIME YYYYMMDDhhmm[ss] path", "RESUME [CWD | DROP path | FORGET]", "HELP",
	}, "End of help")
}

// siteChmod sets permission bits as clients show them; they are kept, not enforced.
func (c *client) siteChmod(arg string) {
	mode, name, _ := strings.Cut(arg, " ")
	bits, err := strconv.ParseUint(mode, 8, 12)
	if err != nil || name == "" {
		c.reply(501, "Usage: SITE CHMOD mode path")
		return
	}
	path, err := c.resolve(name)
	if err == nil {
		err = c.call("SITE CHMOD", strconv.FormatUint(bits&uint64(fs.ModePerm), 8)+" "+path)
	}
	if err != nil {
		c.fail(err, path, false)
		return
	}
	c.reply(200, "Mode of "+path+" changed.")
}

// siteUtime knows both forms that clients send: "time path" and "path atime mtime ctime UTC".
func (c *client) siteUtime(arg string) {
	first, name, _ := strings.Cut(arg, " ")
	when, ok := parseUtime(first)
	if !ok {
		f := strings.Fields(arg)
		if len(f) < 5 || !strings.EqualFold(f[len(f)-1], "UTC") {
			c.reply(501, "Usage: SITE UTIME YYYYMMDDhhmm[ss] path")
			return
		}
		if when, ok = parseUtime(f[len(f)-3]); !ok {
			c.reply(501, "Not a time.")
			return
		}
		i := strings.LastIndex(arg, " "+f[len(f)-4]+" ")
		name = strings.TrimSpace(arg[:max(i, 0)])
	}
	if name == "" {
		c.reply(501, "Usage: SITE UTIME YYYYMMDDhhmm[ss] path")
		return
	}
	c.setModified(name, when, 200)
}

func parseUtime(s string) (time.Time, bool) {
	for _, layout := range []string{timeLayout, "200601021504"} {
		if len(s) != len(layout) {
			continue
		}
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
