package ftp

import (
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/vfs"
)

// parseStamp reads YYYYMMDDHHMMSS[.sss], in UTC (RFC 3659 section 2.3). The fraction is not kept.
func parseStamp(s string) (time.Time, bool) {
	whole, fraction, dot := strings.Cut(s, ".")
	if dot && (fraction == "" || strings.Trim(fraction, "0123456789") != "") || len(whole) != len(timeLayout) {
		return time.Time{}, false
	}
	if whole[12:] == "60" { // RFC 3659 section 2.3 allows for the leap second
		t, err := time.Parse(timeLayout, whole[:12]+"59")
		return t.Add(time.Second), err == nil
	}
	t, err := time.Parse(timeLayout, whole)
	return t, err == nil
}

// cmdMfmt: draft-somers-ftp-mfxx-03 section 3.
func (c *client) cmdMfmt(arg string) {
	stamp, name, _ := strings.Cut(arg, " ")
	when, ok := parseStamp(stamp)
	if !ok || name == "" {
		c.reply(501, "Usage: MFMT YYYYMMDDHHMMSS path")
		return
	}
	c.modify(name, []change{{fact: "Modify", when: when}})
}

// change is a fact to be set.
type change struct {
	fact string // "Modify" or "UNIX.mode"
	when time.Time
	mode string // as parseMode has it
}

// cmdMff: draft-somers-ftp-mfxx-03 section 5. Nothing is changed unless every fact can be read.
func (c *client) cmdMff(arg string) {
	list, name, _ := strings.Cut(arg, " ")
	if name == "" || !strings.HasSuffix(list, ";") {
		c.reply(501, "Usage: MFF fact=value;... path")
		return
	}
	var changes []change
	var unknown []string
	for pair := range strings.SplitSeq(strings.TrimSuffix(list, ";"), ";") {
		fact, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok || fact == "" || len(changes) > 4:
			c.reply(501, "Not a list of facts.")
			return
		case strings.EqualFold(fact, "Modify"):
			when, ok := parseStamp(value)
			if !ok {
				c.reply(501, "Not a time: YYYYMMDDHHMMSS.")
				return
			}
			changes = append(changes, change{fact: "Modify", when: when})
		case strings.EqualFold(fact, "UNIX.mode"):
			if _, ok := parseMode(value, 0, false); !ok || value[0] < '0' || value[0] > '7' {
				c.reply(501, "Not a mode in octal.")
				return
			}
			changes = append(changes, change{fact: "UNIX.mode", mode: value})
		default:
			unknown = append(unknown, fact)
		}
	}
	if len(unknown) > 0 {
		c.reply(504, "These facts cannot be set: "+strings.Join(unknown, ", ")+".")
		return
	}
	c.modify(name, changes)
}

// modify sets facts and answers with the values that they have now, which of mail are not always those that were asked for.
func (c *client) modify(name string, changes []change) {
	p, err := c.resolve(name)
	for _, ch := range changes {
		if err != nil {
			break
		}
		if ch.fact == "Modify" {
			err = c.call("MFMT", ch.when.UTC().Format(timeLayout)+" "+p)
		} else {
			mode, _ := parseMode(ch.mode, 0, false)
			err = c.chmod(p, mode)
		}
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	info, err := c.tree.Stat(c.ctx, p)
	if err != nil {
		c.fail(err, p, false)
		return
	}
	var b []byte
	for _, ch := range changes {
		if ch.fact == "Modify" {
			b = appendStamp(append(b, "Modify="...), info.ModTime())
		} else {
			b = appendOctal(append(b, "UNIX.mode="...), info.Mode())
		}
		b = append(b, ';')
	}
	c.reply(213, string(b)+" "+p)
}

func (c *client) chmod(p string, mode fs.FileMode) error {
	return c.call("SITE CHMOD", strconv.FormatUint(uint64(mode), 8)+" "+p)
}

// siteChmod sets permission bits as clients show them; they are kept, not enforced. The mode is octal or as of chmod: u+x,go-w.
func (c *client) siteChmod(arg string) {
	spec, name, _ := strings.Cut(strings.TrimLeft(arg, " "), " ")
	if _, ok := parseMode(spec, 0, false); !ok || name == "" {
		c.reply(501, "Usage: SITE CHMOD mode path")
		return
	}
	p, err := c.resolve(name)
	var info vfs.Info
	if err == nil && !digits(spec) { // the new mode depends on the old one
		info, err = c.tree.Stat(c.ctx, p)
	}
	if err == nil {
		mode, _ := parseMode(spec, info.Mode().Perm(), info.IsDir())
		err = c.chmod(p, mode)
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.reply(200, "Mode of "+p+" changed.")
}

// parseMode reads an octal mode, or changes of old as of chmod(1): [ugoa...][+-=][rwxX...], with commas between. Bits beyond the nine are dropped.
func parseMode(spec string, old fs.FileMode, dir bool) (fs.FileMode, bool) {
	if spec == "" || len(spec) > 64 {
		return 0, false
	}
	if spec[0] >= '0' && spec[0] <= '9' {
		bits, err := strconv.ParseUint(spec, 8, 12)
		return fs.FileMode(bits) & fs.ModePerm, err == nil
	}
	mode := old
	for clause := range strings.SplitSeq(spec, ",") {
		i := strings.IndexAny(clause, "+-=")
		if i < 0 {
			return 0, false
		}
		who := fs.FileMode(0)
		for _, r := range clause[:i] {
			j := strings.IndexRune("ugoa", r)
			if j < 0 {
				return 0, false
			}
			who |= [...]fs.FileMode{0o700, 0o070, 0o007, 0o777}[j]
		}
		if i == 0 {
			who = 0o777
		}
		what := fs.FileMode(0)
		for _, r := range clause[i+1:] {
			switch r {
			case 'r':
				what |= 0o444
			case 'w':
				what |= 0o222
			case 'x':
				what |= 0o111
			case 'X':
				if dir || mode&0o111 != 0 {
					what |= 0o111
				}
			default:
				return 0, false
			}
		}
		switch clause[i] {
		case '+':
			mode |= who & what
		case '-':
			mode &^= who & what
		default:
			mode = mode&^who | who&what
		}
	}
	return mode, true
}

// siteUtime knows both forms that clients send: "time path" and "path atime mtime ctime UTC".
func (c *client) siteUtime(arg string) {
	first, name, _ := strings.Cut(strings.TrimLeft(arg, " "), " ")
	when, ok := parseUtime(first)
	if !ok {
		name, when, ok = longUtime(arg)
	}
	if !ok || name == "" {
		c.reply(501, "Usage: SITE UTIME YYYYMMDDhhmm[ss] path")
		return
	}
	p, err := c.resolve(name)
	if err == nil {
		err = c.call("MFMT", when.UTC().Format(timeLayout)+" "+p)
	}
	if err != nil {
		c.fail(err, p, false)
		return
	}
	c.reply(200, "Time of "+p+" set.")
}

// longUtime reads "path atime mtime ctime UTC".
func longUtime(arg string) (name string, modified time.Time, ok bool) {
	name = strings.TrimRight(arg, " ")
	for i := range 4 {
		at := strings.LastIndexByte(name, ' ')
		if at < 0 {
			return "", modified, false
		}
		word := name[at+1:]
		name = strings.TrimRight(name[:at], " ")
		switch i {
		case 0:
			ok = strings.EqualFold(word, "UTC")
		case 2:
			modified, ok = parseUtime(word)
		default:
			_, ok = parseUtime(word)
		}
		if !ok {
			return "", modified, false
		}
	}
	return name, modified, true
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
