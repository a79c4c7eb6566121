package sieve

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/mime"
)

const indexTags = "index:n/index last/index "

// testForms are the tests.
var testForms map[string]struct {
	form
	make func(c *compiler, cmd *command, a *taken) (check, error)
}

func init() { // the table's functions look into it
	testForms = map[string]struct {
		form
		make func(c *compiler, cmd *command, a *taken) (check, error)
	}{
		"true":          {form{}, constant(true)},
		"false":         {form{}, constant(false)},
		"not":           {form{}, (*compiler).not},
		"allof":         {form{}, (*compiler).several},
		"anyof":         {form{}, (*compiler).several},
		"size":          {form{tags: "over under", pos: "n"}, (*compiler).size},
		"exists":        {form{pos: "l"}, (*compiler).exists},
		"header":        {form{tags: matchTags + indexTags, pos: "ll"}, (*compiler).header},
		"address":       {form{tags: matchTags + indexTags + addressTags, pos: "ll"}, (*compiler).address},
		"envelope":      {form{ext: "envelope", tags: matchTags + addressTags, pos: "ll"}, (*compiler).envelope},
		"string":        {form{ext: "variables", tags: matchTags, pos: "ll"}, (*compiler).stringTest},
		"hasflag":       {form{ext: "imap4flags", tags: matchTags, pos: "?ll"}, (*compiler).hasflag},
		"date":          {form{ext: "date", tags: matchTags + indexTags + "zone:s originalzone", pos: "ssl"}, (*compiler).date},
		"currentdate":   {form{ext: "date", tags: matchTags + "zone:s", pos: "sl"}, (*compiler).currentDate},
		"body":          {form{ext: "body", tags: matchTags + "raw content:l text", pos: "l"}, (*compiler).body},
		"mailboxexists": {form{ext: "mailbox", pos: "l"}, (*compiler).mailboxExists},
		"duplicate":     {form{ext: "duplicate", tags: "handle:s header:s uniqueid:s seconds:n last"}, (*compiler).duplicate},
		"environment":   {form{ext: "environment", tags: matchTags, pos: "sl"}, (*compiler).environment},
		"ihave":         {form{ext: "ihave", pos: "l"}, (*compiler).ihave},
	}
}

func (c *compiler) test(cmd *command) (check, error) {
	f, ok := testForms[cmd.name]
	switch {
	case !ok && len(c.absent) > 0:
		return func(*machine) (bool, error) { return false, wrong(cmd.line, "test %q is not known", cmd.name) }, nil
	case !ok:
		return nil, wrong(cmd.line, "test %q is not known", cmd.name)
	case len(cmd.tests) > 0 && cmd.name != "not" && cmd.name != "allof" && cmd.name != "anyof":
		return nil, wrong(cmd.line, "%s takes no tests", cmd.name)
	}
	a, err := c.take(cmd, f.form)
	var t check
	if err == nil {
		t, err = f.make(c, cmd, a)
	}
	if err != nil && len(c.absent) > 0 {
		return func(*machine) (bool, error) { return false, err }, nil
	}
	if err != nil {
		return nil, err
	}
	return func(m *machine) (bool, error) {
		if err := m.spend(16); err != nil {
			return false, err
		}
		return t(m)
	}, nil
}

func constant(v bool) func(*compiler, *command, *taken) (check, error) {
	return func(*compiler, *command, *taken) (check, error) {
		return func(*machine) (bool, error) { return v, nil }, nil
	}
}

func (c *compiler) not(cmd *command, _ *taken) (check, error) {
	if len(cmd.tests) != 1 {
		return nil, wrong(cmd.line, "not needs one test")
	}
	t, err := c.test(&cmd.tests[0])
	return func(m *machine) (bool, error) {
		yes, err := t(m)
		return !yes && err == nil, err
	}, err
}

// several is allof and anyof: left to right, and no further than needed (RFC 5229 section 3.2 counts on it).
func (c *compiler) several(cmd *command, _ *taken) (check, error) {
	if len(cmd.tests) == 0 {
		return nil, wrong(cmd.line, "%s needs tests", cmd.name)
	}
	all := make([]check, len(cmd.tests))
	for i := range cmd.tests {
		var err error
		if all[i], err = c.test(&cmd.tests[i]); err != nil {
			return nil, err
		}
	}
	enough := cmd.name == "anyof"
	return func(m *machine) (bool, error) {
		for _, t := range all {
			if yes, err := t(m); err != nil || yes == enough {
				return yes, err
			}
		}
		return !enough, nil
	}, nil
}

func (c *compiler) size(_ *command, a *taken) (check, error) {
	which, err := a.one("over", "under")
	if err == nil && which == "" {
		err = wrong(a.line, "size needs :over or :under")
	}
	n := a.nums
	return func(m *machine) (bool, error) {
		if which == "over" {
			return m.msg.Size > n[0], nil
		}
		return m.msg.Size < n[0], nil
	}, err
}

func (c *compiler) exists(_ *command, a *taken) (check, error) {
	names, err := c.texts(a.strs[0], a.line)
	return func(m *machine) (bool, error) {
		for _, t := range names {
			n, err := m.get(t)
			if err != nil {
				return false, err
			}
			if v, err := m.fields(n); err != nil || len(v) == 0 {
				return false, err
			}
		}
		return true, nil
	}, err
}

// picker chooses one of several values (RFC 5260 section 6).
type picker struct {
	index int64
	last  bool
}

func newPicker(a *taken) (picker, error) {
	p := picker{last: a.has("last")}
	if n, ok := a.tags["index"]; ok {
		if p.index = n.num; p.index < 1 {
			return p, wrong(a.line, ":index counts from 1")
		}
	} else if p.last {
		return p, wrong(a.line, ":last needs :index")
	}
	return p, nil
}

func (p picker) of(all []string) []string {
	n := int64(len(all))
	switch {
	case p.index == 0:
		return all
	case p.index > n:
		return nil
	case p.last:
		return all[n-p.index : n-p.index+1]
	}
	return all[p.index-1 : p.index]
}

// named are the values of the named fields. RFC 5260 section 6: all of them are counted, in the order of the names.
func (m *machine) named(names []text, pick picker) ([]string, error) {
	var all []string
	for _, t := range names {
		n, err := m.get(t)
		if err != nil {
			return nil, err
		}
		raw, err := m.fields(n)
		if err != nil {
			return nil, err
		}
		all = append(all, raw...)
	}
	return pick.of(all), nil
}

func (c *compiler) header(_ *command, a *taken) (check, error) {
	x, err := c.matcher(a, a.strs[1])
	if err != nil {
		return nil, err
	}
	pick, err := newPicker(a)
	if err != nil {
		return nil, err
	}
	names, err := c.texts(a.strs[0], a.line)
	return func(m *machine) (bool, error) {
		raw, err := m.named(names, pick)
		if err != nil {
			return false, err
		}
		var all []string
		for _, v := range raw {
			if err := m.spend(len(v)/8 + 1); err != nil {
				return false, err
			}
			all = append(all, mime.DecodeHeader(v)) // section 2.7.2: decoded
		}
		return x.any(m, all)
	}, err
}

// part is which part of an address is meant.
func (a *taken) part() (string, error) {
	which, err := a.one("all", "localpart", "domain", "user", "detail")
	if which == "" {
		which = "all"
	}
	return which, err
}

func (c *compiler) address(_ *command, a *taken) (check, error) {
	x, err := c.matcher(a, a.strs[1])
	if err != nil {
		return nil, err
	}
	pick, err := newPicker(a)
	if err != nil {
		return nil, err
	}
	which, err := a.part()
	if err != nil {
		return nil, err
	}
	names, err := c.texts(a.strs[0], a.line)
	return func(m *machine) (bool, error) {
		raw, err := m.named(names, pick)
		if err != nil {
			return false, err
		}
		var all []string
		for _, v := range raw {
			if err := m.spend(len(v)/2 + 1); err != nil {
				return false, err
			}
			for _, addr := range addresses(v) {
				if p, ok := addressPart(which, addr); ok {
					all = append(all, p)
				}
			}
		}
		return x.any(m, all)
	}, err
}

func (c *compiler) envelope(_ *command, a *taken) (check, error) {
	x, err := c.matcher(a, a.strs[1])
	if err != nil {
		return nil, err
	}
	which, err := a.part()
	if err != nil {
		return nil, err
	}
	for _, p := range a.strs[0] {
		if p = strings.ToLower(p); p != "from" && p != "to" && p != "auth" && !strings.Contains(p, "${") {
			return nil, wrong(a.line, "envelope: there is no part %q", p) // RFC 5228 section 5.4
		}
	}
	parts, err := c.texts(a.strs[0], a.line)
	return func(m *machine) (bool, error) {
		names, err := m.all(parts)
		if err != nil {
			return false, err
		}
		var all []string
		for _, p := range names {
			v := ""
			switch strings.ToLower(p) {
			case "from":
				v = m.env.From // section 5.4: the null path is empty, whatever part of it is asked for
			case "to":
				v = m.env.To
			case "auth":
				if v = m.env.Auth; v == "" {
					continue
				}
			default:
				return false, wrong(a.line, "envelope: there is no part %q", cut(p, 40))
			}
			if s, ok := addressPart(which, v); ok {
				all = append(all, s)
			}
		}
		return x.any(m, all)
	}, err
}

func (c *compiler) stringTest(_ *command, a *taken) (check, error) {
	x, err := c.matcher(a, a.strs[1])
	if err != nil {
		return nil, err
	}
	source, err := c.texts(a.strs[0], a.line)
	return func(m *machine) (bool, error) {
		all, err := m.all(source)
		if err != nil {
			return false, err
		}
		if x.how == "count" {
			all = slices.DeleteFunc(all, func(s string) bool { return s == "" }) // RFC 5229 section 5: the null string is not counted
		}
		return x.any(m, all)
	}, err
}

func (c *compiler) hasflag(_ *command, a *taken) (check, error) {
	flags := a.strs[len(a.strs)-1]
	var vars []string
	if len(a.strs) == 2 {
		if !c.uses("variables") {
			return nil, wrong(a.line, "hasflag with a variable needs require \"variables\"")
		}
		for _, v := range a.strs[0] {
			name, err := c.variable(v, a.line)
			if err != nil {
				return nil, err
			}
			vars = append(vars, name)
		}
	}
	if !a.has("count") {
		flags = strings.Fields(strings.Join(flags, " "))
	}
	x, err := c.matcher(a, flags)
	return func(m *machine) (bool, error) {
		have := m.flags
		if vars != nil {
			have = nil
			for _, v := range vars {
				have = addFlags(have, []string{m.vars[v]})
			}
		}
		return x.any(m, have)
	}, err
}

func (c *compiler) mailboxExists(_ *command, a *taken) (check, error) {
	names, err := c.texts(a.strs[0], a.line)
	return func(m *machine) (bool, error) {
		all, err := m.all(names)
		if err != nil || m.env.Exists == nil {
			return false, err
		}
		for _, n := range all {
			if err := m.spend(2000); err != nil {
				return false, err
			}
			if yes, err := m.env.Exists(m.ctx, n); err != nil || !yes {
				return false, err
			}
		}
		return true, nil
	}, err
}

// duplicate is RFC 7352.
func (c *compiler) duplicate(_ *command, a *taken) (check, error) {
	if _, err := a.one("header", "uniqueid"); err != nil {
		return nil, err
	}
	named := func(tag string) string {
		if arg, ok := a.tags[tag]; ok {
			return arg.strs[0]
		}
		return ""
	}
	all, err := c.texts([]string{named("handle"), named("uniqueid")}, a.line)
	field := named("header")
	if field == "" && !a.has("uniqueid") {
		field = "message-id"
	}
	keep := 7 * aDay
	if n, ok := a.tags["seconds"]; ok {
		keep = min(time.Duration(min(n.num, 1<<30))*time.Second, 90*aDay)
	}
	return func(m *machine) (bool, error) {
		v, err := m.all(all)
		if err != nil {
			return false, err
		}
		id := v[1]
		if field != "" {
			values, err := m.fields(field)
			if err != nil || len(values) == 0 {
				return false, err // section 3.1: what has no id is no duplicate
			}
			id = values[0]
		}
		if id == "" {
			return false, nil
		}
		sum := sha256.Sum256([]byte(v[0] + "\x00" + id))
		mark := "duplicate\x00" + hex.EncodeToString(sum[:])
		seen := false
		if m.env.Seen != nil {
			if err := m.spend(2000); err != nil {
				return false, err
			}
			if seen, err = m.env.Seen(m.ctx, mark); err != nil {
				return false, err
			}
		}
		// Section 3: told anew with :last; without it the time runs from the first.
		if (!seen || a.has("last")) && len(m.out.Marks) < 32 {
			m.out.Marks = append(m.out.Marks, Mark{mark, keep})
		}
		return seen, nil
	}, err
}

// environment is RFC 5183.
func (c *compiler) environment(_ *command, a *taken) (check, error) {
	x, err := c.matcher(a, a.strs[1])
	name := strings.ToLower(a.strs[0][0])
	return func(m *machine) (bool, error) {
		v := ""
		switch name {
		case "domain":
			_, v, _ = strings.Cut(m.env.To, "@")
		case "host":
			v = m.env.Host
		case "location":
			v = "MDA"
		case "name":
			v = "packetboat"
		case "phase":
			v = "during"
		case "remote-host":
			v = m.env.Helo
		case "remote-ip":
			if m.env.Remote.IsValid() {
				v = m.env.Remote.String()
			}
		default:
			return false, nil // section 4: an unknown item fails
		}
		if v == "" && name != "remote-ip" && name != "remote-host" {
			return false, nil
		}
		return x.any(m, []string{v})
	}, err
}

// ihave is RFC 5463: it is known when the script is compiled. Where something is missing, what needs it is not run and thus not looked at.
func (c *compiler) ihave(_ *command, a *taken) (check, error) {
	have := true
	for _, e := range a.strs[0] {
		if slices.Contains(extensions, e) {
			c.script.uses[e] = true
			continue
		}
		have = false
		absent := map[string]bool{e: true}
		for k := range c.absent {
			absent[k] = true
		}
		c.absent = absent
	}
	return func(*machine) (bool, error) { return have, nil }, nil
}
