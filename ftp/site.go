package ftp

import (
	"fmt"
	"strings"
)

// siteCommand is a row of the commands behind SITE.
type siteCommand struct {
	name   string
	flags  flags  // needArg, creates
	syntax string // of the argument, for HELP
	run    func(c *client, arg string)
}

// siteTable is every command behind SITE, in the order in which SITE HELP shows them.
func siteTable() []siteCommand {
	return []siteCommand{
		{name: "CHMOD", flags: needArg, syntax: "mode path", run: (*client).siteChmod},
		{name: "UTIME", flags: needArg, syntax: "YYYYMMDDhhmm[ss] path", run: (*client).siteUtime},
		{name: "MKDIR", flags: needArg | creates, syntax: "path", run: (*client).cmdMkd},
		{name: "RMDIR", flags: needArg, syntax: "path", run: (*client).cmdRmd},
		{name: "RESUME", syntax: "[CWD | DROP path | FORGET]", run: (*client).siteResume},
		{name: "QUOTA", run: (*client).siteQuota},
		{name: "HELP", syntax: "[command]", run: (*client).siteHelp},
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
	name, rest, _ := strings.Cut(arg, " ")
	switch cmd := c.srv.siteCommand(name); {
	case cmd == nil:
		// RFC 959 section 5.4 has 500 for it.
		c.reply(500, "No such SITE command. See SITE HELP.")
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
