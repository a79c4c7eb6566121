package ftp

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

func (c *client) cmdSyst(string) { c.reply(215, "UNIX Type: L8") }

// resetParameters gives the parameters that a client can choose their defaults (RFC 959 section 5.1).
func (c *client) resetParameters() {
	c.typ.Store(typeASCII)
	c.rest, c.until, c.announced = 0, 0, 0
	c.facts, c.hash, c.copyFrom = usualFacts, &algorithms[0], ""
}

// featureLines is what FEAT says of every session (RFC 2389), but for MLST and HASH, where something can be chosen.
func (s *Server) featureLines() []string {
	f := []string{"UTF8", "SIZE", "MDTM", "MFMT", "MFF Modify;UNIX.mode;", "REST STREAM", "RANG STREAM", "TVFS", "EPSV"}
	if !s.o.NoActiveMode {
		f = append(f, "EPRT")
	}
	f = append(f, "HOST", "LANG EN*", "CLNT", "CSID", "AVBL", "XCRC", "XMD5", "XSHA", "XSHA1", "XSHA256", "XSHA512", "MD5")
	if s.o.TLS != nil {
		f = append(f, "AUTH TLS", "PBSZ", "PROT")
	}
	return f
}

func (c *client) cmdFeat(string) {
	lines := append(c.srv.features[:len(c.srv.features):len(c.srv.features)], c.hashFeature(), "MLST "+c.facts.feature())
	c.replyLines(211, "Features:", lines, "End")
}

// cmdOpts: RFC 2389 section 4 has 200, 501 and 451 for it.
func (c *client) cmdOpts(arg string) {
	name, rest, _ := strings.Cut(strings.TrimSpace(arg), " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToUpper(name) {
	case "UTF8", "UTF-8":
		// RFC 2640: names are UTF-8 here, whatever a client asks for.
		if strings.EqualFold(rest, "OFF") {
			c.reply(501, "Names are always UTF-8.")
			return
		}
		c.reply(200, "Names are UTF-8.")
	case "MLST": // RFC 3659 section 7.9
		f, ok := parseFacts(rest)
		if !ok {
			c.reply(501, "Not a list of facts: fact;fact;")
			return
		}
		c.facts = f
		c.reply(200, strings.TrimSpace("MLST OPTS "+f.String()))
	case "HASH":
		c.optsHash(rest)
	default:
		c.reply(501, "No such option.")
	}
}

func (c *client) cmdClnt(arg string) {
	c.sess.SetClient(arg)
	c.reply(200, "Noted.")
}

// cmdCsid: the client says who it is as name=value;..., and the server answers likewise.
func (c *client) cmdCsid(arg string) {
	var name, version string
	for pair := range strings.SplitSeq(arg, ";") {
		switch key, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.ToLower(key) {
		case "name":
			name = value
		case "version":
			version = value
		}
	}
	if who := strings.TrimSpace(name + " " + version); who != "" {
		c.sess.SetClient(who)
	}
	c.reply(200, "Name=packetboat;CaseSensitive=1;DirSep=/;")
}

func (c *client) cmdHelp(arg string) {
	arg = strings.ToUpper(strings.TrimSpace(arg))
	if site, ok := strings.CutPrefix(arg+" ", "SITE "); ok {
		c.siteHelp(site)
		return
	}
	if arg != "" {
		cmd := c.srv.byName[arg]
		if cmd == nil {
			c.reply(501, "No such command.")
			return
		}
		c.reply(214, strings.TrimSpace("Usage: "+cmd.name+" "+cmd.syntax))
		return
	}
	var lines []string
	var line strings.Builder
	for _, cmd := range c.srv.commands {
		if cmd.flags&alias != 0 {
			continue
		}
		fmt.Fprintf(&line, "%-8s", cmd.name)
		if line.Len() >= 8*8 {
			lines = append(lines, line.String())
			line.Reset()
		}
	}
	if line.Len() > 0 {
		lines = append(lines, line.String())
	}
	c.replyLines(214, "Commands:", lines, "HELP NAME shows the arguments of one.")
}

// cmdType: TYPE A is accepted because clients choose it by themselves (FileZilla for .txt); it changes no bytes unless ConvertASCII is set.
func (c *client) cmdType(arg string) {
	fields := strings.Fields(strings.ToUpper(arg))
	switch strings.Join(fields, " ") {
	case "I", "L 8", "L8":
		c.askedType = "I"
		c.typ.Store(typeImage)
		c.reply(200, "Type I.")
	case "A", "A N", "AN":
		c.askedType = "A"
		c.typ.Store(typeASCII)
		if c.srv.o.ConvertASCII {
			c.reply(200, "Type A: lines end in CR LF.")
			return
		}
		c.reply(200, "Type A: files are sent as they are.")
	case "A T", "A C", "E", "E N", "E T", "E C", "L":
		c.reply(504, "Types are I, A N and L 8.")
	default:
		if len(fields) == 2 && fields[0] == "L" && digits(fields[1]) {
			c.reply(504, "The only byte size is 8.")
			return
		}
		c.reply(501, "No such type.")
	}
}

func (c *client) cmdStru(arg string) {
	c.only(arg, "F", "RP", "Structure F.", "Only structure F is served.")
}

func (c *client) cmdMode(arg string) {
	c.only(arg, "S", "BCZ", "Mode S.", "Only mode S is served: data is neither compressed nor cut into blocks.")
}

// only answers a parameter of which one value is served and some are known.
func (c *client) only(arg, served, known, done, refused string) {
	switch arg = strings.ToUpper(strings.TrimSpace(arg)); {
	case arg == served:
		c.reply(200, done)
	case len(arg) == 1 && strings.Contains(known, arg):
		c.reply(504, refused)
	default:
		c.reply(501, "Unknown parameter.")
	}
}

// cmdAllo announces the size of the next upload, which then counts as cut when less comes. RFC 959: "bytes [R record size]".
func (c *client) cmdAllo(arg string) {
	fields := strings.Fields(arg)
	n, err := strconv.ParseInt(fields0(fields), 10, 64)
	if err != nil || n < 0 || len(fields) == 2 || len(fields) > 3 || len(fields) == 3 && !strings.EqualFold(fields[1], "R") {
		c.reply(501, "Not a size.")
		return
	}
	used, limit, err := c.tree.Usage(c.ctx)
	if c.tree.OnMount(c.ctx, c.cwd) {
		limit = 0 // it does not count there; where the upload goes nobody has said
	}
	switch {
	case err != nil:
		c.fail(err, "", true)
	case limit > 0 && n > limit:
		c.reply(552, fmt.Sprintf("Over quota: %d bytes are left.", max(limit-used, 0)))
	default:
		// What is left matters only when it is known what will be replaced: STOR looks, before it sends 150.
		c.announced = n
		c.reply(200, "Noted.")
	}
}

func fields0(f []string) string {
	if len(f) == 0 {
		return ""
	}
	return f[0]
}

func (c *client) cmdAvbl(arg string) {
	at := c.cwd
	if arg != "" {
		var err error
		if at, _, err = c.stat(arg); err != nil {
			c.fail(err, "", false)
			return
		}
	}
	left, err := c.tree.Available(c.ctx, at)
	switch {
	case errors.Is(err, fs.ErrInvalid):
		c.reply(550, "There is no limit.")
	case err != nil:
		c.fail(err, "", false)
	default:
		c.reply(213, strconv.FormatInt(left, 10))
	}
}

// cmdRest: RFC 3659 section 5.
func (c *client) cmdRest(arg string) {
	arg = strings.TrimSpace(arg)
	n, err := strconv.ParseUint(arg, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		n, err = maxOffset, nil // RFC 3659 section 5.3: whether there is so much is for the transfer to tell
	}
	if err != nil {
		c.reply(501, "Not an offset.")
		return
	}
	if n > 0 && c.converts() {
		c.reply(501, "Offsets are of bytes: send TYPE I first.")
		return
	}
	c.rest, c.until = int64(min(n, maxOffset)), 0
	c.reply(350, "Restarting there. Send STOR or RETR.")
}

// maxOffset is beyond any file and far from overflow.
const maxOffset = 1 << 60

// replyStatus answers STAT without an argument, t being the transfer that runs (or nil). It may be called by the reader while the
// transfer's goroutine is the executor, so it looks at nothing of the executor's.
func (c *client) replyStatus(t *transfer) {
	info := c.sess.Info()
	lines := []string{
		"Connected from " + info.Remote + " for " + time.Since(info.Started).Truncate(time.Second).String(),
	}
	if info.Account != "" {
		lines = append(lines, "Logged in as "+info.Account)
	} else {
		lines = append(lines, "Not logged in")
	}
	if info.TLS != "" {
		lines = append(lines, "Protected by "+info.TLS)
	}
	lines = append(lines, fmt.Sprintf("TYPE %c, STRU F, MODE S", c.typ.Load()))
	if t != nil {
		lines = append(lines, fmt.Sprintf("%s: %d bytes so far", t.what(), t.bytes.Load()))
	} else {
		lines = append(lines, "No transfer")
	}
	c.replyLines(211, c.srv.o.Name+" FTP server", lines, "End of status")
}
