package sieve

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// commandForms are the commands but if and require.
var commandForms = map[string]struct {
	form
	make func(c *compiler, cmd *command, a *taken) (action, error)
}{
	"stop":       {form{}, (*compiler).stop},
	"keep":       {form{tags: "flags:l/imap4flags"}, (*compiler).keep},
	"discard":    {form{}, (*compiler).discard},
	"fileinto":   {form{ext: "fileinto", tags: "flags:l/imap4flags copy/copy create/mailbox", pos: "s"}, (*compiler).fileinto},
	"redirect":   {form{tags: "copy/copy", pos: "s"}, (*compiler).redirect},
	"setflag":    {form{ext: "imap4flags", pos: "?sl"}, (*compiler).setflag},
	"addflag":    {form{ext: "imap4flags", pos: "?sl"}, (*compiler).setflag},
	"removeflag": {form{ext: "imap4flags", pos: "?sl"}, (*compiler).setflag},
	"set":        {form{ext: "variables", tags: "lower upper lowerfirst upperfirst quotewildcard quoteregex/regex length", pos: "ss"}, (*compiler).set},
	"vacation":   {form{ext: "vacation", tags: "days:n seconds:n/vacation-seconds subject:s from:s addresses:l mime handle:s", pos: "s"}, (*compiler).vacation},
	"reject":     {form{ext: "reject", pos: "s"}, (*compiler).reject},
	"ereject":    {form{ext: "ereject", pos: "s"}, (*compiler).reject},
	"error":      {form{ext: "ihave", pos: "s"}, (*compiler).fail},
}

func (c *compiler) command(cmd *command) (action, error) {
	f, ok := commandForms[cmd.name]
	switch {
	case cmd.name == "elsif" || cmd.name == "else":
		return nil, wrong(cmd.line, "%s without if", cmd.name)
	case cmd.name == "require":
		return nil, wrong(cmd.line, "require must come first")
	case !ok && len(c.absent) > 0:
		return func(*machine) error { return wrong(cmd.line, "command %q is not known", cmd.name) }, nil // RFC 5463 section 4
	case !ok:
		return nil, wrong(cmd.line, "command %q is not known", cmd.name)
	case cmd.ended != ';' || len(cmd.tests) > 0:
		return nil, wrong(cmd.line, "%s takes neither tests nor a block", cmd.name)
	}
	a, err := c.take(cmd, f.form)
	if err == nil {
		var made action
		if made, err = f.make(c, cmd, a); err == nil {
			return made, nil
		}
	}
	if len(c.absent) > 0 {
		return func(*machine) error { return err }, nil
	}
	return nil, err
}

func (c *compiler) stop(*command, *taken) (action, error) {
	return func(*machine) error { return errStop }, nil
}

func (c *compiler) discard(*command, *taken) (action, error) {
	return func(m *machine) error { m.implicit = false; return nil }, nil
}

func (c *compiler) fail(_ *command, a *taken) (action, error) {
	t, err := c.text(a.strs[0][0], a.line)
	return func(m *machine) error {
		s, err := m.get(t)
		if err != nil {
			return err
		}
		return wrong(a.line, "%s", s)
	}, err
}

// flagsOf compiles :flags; given is false where there are none.
func (c *compiler) flagsOf(a *taken) (flags []text, given bool, err error) {
	arg, given := a.tags["flags"]
	flags, err = c.texts(arg.strs, a.line)
	return flags, given, err
}

// wanted are the flags of an action: its own, or those that were set before (RFC 5232 section 5).
func (m *machine) wanted(flags []text, given bool) ([]string, error) {
	if !given {
		return m.flags, nil
	}
	all, err := m.all(flags)
	return addFlags(nil, all), err
}

func (c *compiler) keep(_ *command, a *taken) (action, error) {
	flags, given, err := c.flagsOf(a)
	return func(m *machine) error {
		f, err := m.wanted(flags, given)
		if err != nil {
			return err
		}
		m.implicit = false
		return m.file(Mailing{Flags: f})
	}, err
}

func (c *compiler) fileinto(_ *command, a *taken) (action, error) {
	flags, given, err := c.flagsOf(a)
	if err != nil {
		return nil, err
	}
	box, err := c.text(a.strs[0][0], a.line)
	return func(m *machine) error {
		f, err := m.wanted(flags, given)
		if err != nil {
			return err
		}
		name, err := m.get(box)
		if err != nil {
			return err
		}
		if name == "" {
			return wrong(a.line, "fileinto without a mailbox")
		}
		if !a.has("copy") {
			m.implicit = false
		}
		return m.file(Mailing{Mailbox: name, Flags: f, Create: a.has("create")})
	}, err
}

func (c *compiler) redirect(_ *command, a *taken) (action, error) {
	c.script.Sends = true
	to, err := c.text(a.strs[0][0], a.line)
	if err == nil && to.parts == nil && !isAddress(to.plain) {
		err = wrong(a.line, "redirect: %q is no address", to.plain)
	}
	return func(m *machine) error {
		addr, err := m.get(to)
		if err != nil {
			return err
		}
		if !isAddress(addr) {
			return wrong(a.line, "redirect: %q is no address", cut(addr, 100))
		}
		if !a.has("copy") {
			m.implicit = false
		}
		return m.redirect(addr)
	}, err
}

func (c *compiler) reject(_ *command, a *taken) (action, error) {
	c.script.Sends = true
	t, err := c.text(a.strs[0][0], a.line)
	return func(m *machine) error {
		reason, err := m.get(t)
		if err != nil {
			return err
		}
		if m.out.Rejects {
			return wrong(a.line, "reject comes twice")
		}
		m.out.Rejects, m.out.Reject, m.implicit = true, cut(reason, 4<<10), false
		return m.count()
	}, err
}

// variable is the lowercase name of a variable that may be set.
func (c *compiler) variable(name string, line int) (string, error) {
	name = strings.ToLower(name)
	if name == "" || len(name) > maxVarName || word(name) != name {
		return "", wrong(line, "%q is no name of a variable", name)
	}
	return name, nil
}

// setflag is setflag, addflag and removeflag (RFC 5232 section 3).
func (c *compiler) setflag(cmd *command, a *taken) (action, error) {
	name := ""
	var err error
	if len(a.strs) == 2 {
		if !c.uses("variables") {
			return nil, wrong(a.line, "%s with a variable needs require \"variables\"", cmd.name)
		}
		if name, err = c.variable(a.strs[0][0], a.line); err != nil {
			return nil, err
		}
	}
	flags, err := c.texts(a.strs[len(a.strs)-1], a.line)
	how := cmd.name
	return func(m *machine) error {
		given, err := m.all(flags)
		if err != nil {
			return err
		}
		have := m.flags
		if name != "" {
			have = strings.Fields(m.vars[name])
		}
		switch how {
		case "setflag":
			have = addFlags(nil, given)
		case "addflag":
			have = addFlags(have, given)
		default:
			have = removeFlags(have, given)
		}
		if err := m.spend(len(have) * 8); err != nil {
			return err
		}
		if name != "" {
			return m.set(name, strings.Join(have, " "))
		}
		m.flags = have
		return nil
	}, err
}

// maxFlags is how many flags a message may get.
const maxFlags = 64

// addFlags adds those that each string holds with spaces between, once each.
func addFlags(have, more []string) []string {
	out := append([]string(nil), have...)
	for _, s := range more {
		for f := range strings.FieldsSeq(s) {
			known := strings.EqualFold(f, `\Recent`) || len(f) > 255 || len(out) >= maxFlags
			for _, h := range out {
				known = known || strings.EqualFold(h, f)
			}
			if !known {
				out = append(out, f)
			}
		}
	}
	return out
}

func removeFlags(have, less []string) (out []string) {
	gone := addFlags(nil, less)
	for _, h := range have {
		keep := true
		for _, g := range gone {
			keep = keep && !strings.EqualFold(h, g)
		}
		if keep {
			out = append(out, h)
		}
	}
	return out
}

// set is RFC 5229 section 4. Modifiers go by their precedence.
func (c *compiler) set(_ *command, a *taken) (action, error) {
	name, err := c.variable(a.strs[0][0], a.line)
	if err != nil {
		return nil, err
	}
	if _, err := a.one("lower", "upper"); err != nil {
		return nil, err
	}
	if _, err := a.one("lowerfirst", "upperfirst"); err != nil {
		return nil, err
	}
	if _, err := a.one("quotewildcard", "quoteregex"); err != nil {
		return nil, err
	}
	value, err := c.text(a.strs[1][0], a.line)
	return func(m *machine) error {
		v, err := m.get(value)
		if err != nil {
			return err
		}
		return m.set(name, modify(v, a))
	}, err
}

func modify(v string, a *taken) string {
	first := func(f func(rune) rune) {
		if r, n := utf8.DecodeRuneInString(v); n > 0 && r != utf8.RuneError {
			v = string(f(r)) + v[n:]
		}
	}
	switch {
	case a.has("lower"):
		v = strings.ToLower(v)
	case a.has("upper"):
		v = strings.ToUpper(v)
	}
	switch {
	case a.has("lowerfirst"):
		first(unicode.ToLower)
	case a.has("upperfirst"):
		first(unicode.ToUpper)
	}
	switch {
	case a.has("quotewildcard"):
		v = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(v)
	case a.has("quoteregex"):
		v = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `.`, `\.`, `+`, `\+`, `(`, `\(`, `)`, `\)`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`, `^`, `\^`, `$`, `\$`, `|`, `\|`).Replace(v)
	}
	if a.has("length") {
		v = itoa(utf8.RuneCountInString(v))
	}
	return v
}

// The bounds of how often a vacation reply may go to the same sender: RFC 5230 section 4.1, RFC 6131 section 2.
const (
	minVacation = time.Minute
	maxVacation = 365 * 24 * time.Hour
	aDay        = 24 * time.Hour
)

func (c *compiler) vacation(_ *command, a *taken) (action, error) {
	c.script.Sends = true
	if _, err := a.one("days", "seconds"); err != nil {
		return nil, err
	}
	every := 7 * aDay
	if n, ok := a.tags["days"]; ok {
		every = min(max(time.Duration(min(n.num, 1000))*aDay, aDay), maxVacation)
	}
	if n, ok := a.tags["seconds"]; ok {
		every = min(max(time.Duration(min(n.num, 1<<30))*time.Second, minVacation), maxVacation)
	}
	named := func(tag string) string {
		if arg, ok := a.tags[tag]; ok {
			return arg.strs[0]
		}
		return ""
	}
	all, err := c.texts([]string{a.strs[0][0], named("subject"), named("from"), named("handle")}, a.line)
	if err != nil {
		return nil, err
	}
	addresses, err := c.texts(a.tags["addresses"].strs, a.line)
	return func(m *machine) error {
		v, err := m.all(all)
		if err != nil {
			return err
		}
		mine, err := m.all(addresses)
		if err != nil {
			return err
		}
		// RFC 5230 section 4.7: more than one is an error at run time.
		if m.vacations++; m.vacations > 1 {
			return wrong(a.line, "vacation comes twice")
		}
		if v[2] != "" && !isAddressList(v[2]) {
			return wrong(a.line, "vacation: %q is no address", cut(v[2], 100))
		}
		handle := v[3]
		if handle == "" {
			// Section 4.2: without a handle, another reply is another one.
			handle = strings.Join([]string{v[0], v[1], v[2], strings.ToLower(itoa(len(v[0])))}, "\x00")
		}
		m.out.Vacation = &Vacation{Reason: v[0], Subject: v[1], From: v[2], MIME: a.has("mime"), Addresses: mine, Mark: "vacation\x00" + handle, Every: every}
		return m.count()
	}, err
}
