package ftp

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage/vfs"
)

const (
	maxClientName = 64 // bytes of what a client calls itself that tell it from others
	maxShown      = 50 // parts that SITE RESUME lists
	shownTime     = "2006-01-02 15:04 UTC"
)

// clientAddress is what a client is known by: its address without the port, IPv6 as its /64, since privacy addresses change daily
// and the network does not.
func clientAddress(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil || !p.IsValid() {
		return ""
	}
	return p.String()
}

// clientName is what the client called itself (CLNT, CSID), cut to what is kept of it.
func (c *client) clientName() string {
	told := c.sess.Client()
	if told == "" {
		return ""
	}
	name := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(told, ""))
	for len(name) > maxClientName {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return strings.TrimSpace(name)
}

// noteVisit remembers where the client is, for its next session. It is called when a login ends, in whatever way; it does not wait for the store to write.
func (c *client) noteVisit() {
	if c.account == nil || c.forget {
		return
	}
	c.tree.NoteVisit(vfs.Visit{Address: clientAddress(c.sess.Remote().Addr()), Name: c.clientName(), Folder: c.cwd, Type: c.askedType})
}

// lastVisit is what is remembered of this client.
func (c *client) lastVisit() (v vfs.Visit, ok bool) {
	v, ok, err := c.tree.LastVisit(c.ctx, clientAddress(c.sess.Remote().Addr()), c.clientName())
	if err != nil {
		c.log.Warn("what is remembered of the client cannot be read", "error", err)
	}
	if v.Type != "A" && v.Type != "I" {
		v.Type = ""
	}
	return v, ok && len(v.Folder) <= maxPath
}

// restore begins the session in the folder where the client was before, if it still is one that may be entered, and tells whether it did. TYPE begins as
// RFC 959 section 5.1 has it all the same: a client that does not send it relies on that.
func (c *client) restore() bool {
	if !c.srv.o.RestoreFolder {
		return false
	}
	v, ok := c.lastVisit()
	return ok && v.Folder != "/" && c.enter(v.Folder) == nil
}

// enter makes a folder the current one.
func (c *client) enter(folder string) error {
	info, err := c.tree.Stat(c.ctx, folder)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errNotFolder
	}
	c.cwd = folder
	c.sess.Open(folder)
	return nil
}

const siteResumeUsage = "Usage: SITE RESUME [CWD | DROP path | FORGET]"

// siteResume lists what is remembered of this client and the account's cut uploads. CWD goes on where the client was, with its TYPE;
// DROP throws the part of an upload away, FORGET what is remembered of the clients at this address.
func (c *client) siteResume(arg string) {
	verb, rest, _ := strings.Cut(strings.TrimLeft(arg, " "), " ") // a name may end in a blank
	last := strings.TrimSpace(rest) == ""
	switch verb = strings.ToUpper(verb); {
	case verb == "":
		c.resumeList()
	case verb == "CWD" && last:
		c.resumeFolder()
	case verb == "DROP" && !last:
		c.resumeDrop(rest)
	case verb == "FORGET" && last:
		if err := c.tree.ForgetVisits(c.ctx, clientAddress(c.sess.Remote().Addr())); err != nil {
			c.fail(err, "", false)
			return
		}
		c.forget = true
		c.reply(200, "Forgotten; nor will this session be remembered.")
	default:
		c.reply(501, siteResumeUsage)
	}
}

func (c *client) resumeFolder() {
	v, ok := c.lastVisit()
	if !ok {
		c.reply(550, "Nothing is remembered of this client.")
		return
	}
	if err := c.enter(v.Folder); err != nil {
		c.fail(err, v.Folder, false)
		return
	}
	if v.Type == "" {
		c.reply(250, "Now in "+quote(v.Folder)+".")
		return
	}
	// Not by a login: here the client asks for it and is told.
	c.askedType = v.Type
	c.typ.Store(int32(v.Type[0]))
	c.reply(250, "Now in "+quote(v.Folder)+", TYPE "+v.Type+".")
}

func (c *client) resumeDrop(name string) {
	p, err := c.resolve(name)
	if err == nil {
		err = c.tree.DropPart(c.ctx, p)
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.told = told{}
	c.reply(250, "The part of "+p+" is thrown away.")
}

func (c *client) resumeList() {
	parts, others, more, err := c.tree.Parts(c.ctx, maxShown)
	if err != nil {
		c.fail(err, "", false)
		return
	}
	var lines []string
	if v, ok := c.lastVisit(); ok {
		lines = append(lines, "Last here: "+v.At.UTC().Format(shownTime), "Folder: "+quote(v.Folder), "Type: "+cmp.Or(v.Type, "not asked for"))
	} else {
		lines = append(lines, "Nothing is remembered of this client.")
	}
	if len(parts) == 0 {
		lines = append(lines, "No interrupted uploads.")
	} else {
		lines = append(lines, "Interrupted uploads:")
	}
	for _, p := range parts {
		lines = append(lines, partLine(p, c.srv.o.ConvertASCII))
	}
	switch {
	case more && others == 0:
		lines = append(lines, "... and perhaps older ones")
	case more:
		lines = append(lines, fmt.Sprintf("... and at least %d more", others))
	case others > 0:
		lines = append(lines, fmt.Sprintf("... and %d more", others))
	}
	c.replyLines(200, "What can be resumed:", lines, "End")
}

// partLine: where a file of that name is, APPE goes to its end and not to that of the part. Where TYPE A changes bytes, an offset means something in TYPE I alone.
func partLine(p vfs.Part, converted bool) string {
	how := fmt.Sprintf("resume with REST %d and STOR", p.Size)
	if !p.Old {
		how += ", or with APPE"
	}
	if converted {
		how += ", in TYPE I"
	}
	return fmt.Sprintf("%d %s; cut %s, kept until %s; %s", p.Size, p.Path, stamp(p.Cut), stamp(p.Expires), how)
}

func stamp(t time.Time) string { return t.UTC().Format(shownTime) }
