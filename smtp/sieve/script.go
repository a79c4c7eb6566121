package sieve

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxScript is how many bytes a script may have.
const MaxScript = 256 << 10

// Script is one that was checked. It may be used by several goroutines at a time.
type Script struct {
	body   []action
	uses   map[string]bool // what it requires
	Sends  bool            // it may send the message on, or answer it
	source int
}

// Size is how many bytes its text has.
func (s *Script) Size() int { return s.source }

type (
	action func(m *machine) error
	check  func(m *machine) (bool, error)
)

// extensions are what a script may require.
var extensions = []string{
	"body", "comparator-i;ascii-casemap", "comparator-i;ascii-numeric", "comparator-i;octet", "comparator-i;unicode-casemap", "copy", "date", "duplicate", "encoded-character",
	"envelope", "environment", "ereject", "fileinto", "ihave", "imap4flags", "index", "mailbox", "regex", "reject", "relational", "subaddress", "vacation", "vacation-seconds", "variables",
}

// Extensions are what a script may require, in order, and what SIEVE of RFC 5804 section 1.7 tells: comparators of the RFC itself are not named.
func Extensions() []string {
	return slices.DeleteFunc(slices.Clone(extensions), func(e string) bool {
		return e == "comparator-i;ascii-casemap" || e == "comparator-i;octet"
	})
}

// Compile checks a script (RFC 5228 section 2.10.5: all of it, before any of it runs). The error is an *Error.
func Compile(src string) (*Script, error) {
	if len(src) > MaxScript {
		return nil, wrong(0, "the script is larger than %d bytes", MaxScript)
	}
	if !utf8.ValidString(src) {
		return nil, wrong(0, "the script is not UTF-8")
	}
	cmds, err := parse(strings.TrimPrefix(src, "\ufeff"))
	if err != nil {
		return nil, err
	}
	c := &compiler{script: &Script{uses: map[string]bool{}, source: len(src)}}
	for len(cmds) > 0 && cmds[0].name == "require" {
		if err := c.require(&cmds[0]); err != nil {
			return nil, err
		}
		cmds = cmds[1:]
	}
	if c.script.body, err = c.block(cmds); err != nil {
		return nil, err
	}
	return c.script, nil
}

// compiler makes closures of commands.
type compiler struct {
	script *Script
	absent map[string]bool // what ihave was asked for and is not there: what needs it is not compiled
}

func (c *compiler) uses(ext string) bool { return c.script.uses[ext] }

func (c *compiler) require(cmd *command) error {
	a, err := c.take(cmd, form{pos: "l"})
	if err != nil {
		return err
	}
	for _, e := range a.strs[0] {
		if !slices.Contains(extensions, e) {
			return wrong(cmd.line, "extension %q is not supported", e)
		}
		c.script.uses[e] = true
	}
	return nil
}

// block compiles commands and joins if, elsif and else.
func (c *compiler) block(cmds []command) ([]action, error) {
	var all []action
	for i := 0; i < len(cmds); {
		cmd := &cmds[i]
		if cmd.name != "if" {
			a, err := c.command(cmd)
			if err != nil {
				return nil, err
			}
			all = append(all, a)
			i++
			continue
		}
		n := 1
		for i+n < len(cmds) && (cmds[i+n].name == "elsif" || cmds[i+n].name == "else" && cmds[i+n-1].name != "else") {
			n++
		}
		if n > 1 && slices.ContainsFunc(cmds[i:i+n-1], func(c command) bool { return c.name == "else" }) {
			return nil, wrong(cmd.line, "elsif behind else")
		}
		a, err := c.branches(cmds[i : i+n])
		if err != nil {
			return nil, err
		}
		all = append(all, a)
		i += n
	}
	return all, nil
}

// branch is one of if, elsif and else, which has no test.
type branch struct {
	test check
	body []action
}

func (c *compiler) branches(cmds []command) (action, error) {
	var all []branch
	for i := range cmds {
		cmd := &cmds[i]
		want := 1
		if cmd.name == "else" {
			want = 0
		}
		if len(cmd.args) > 0 || len(cmd.tests) != want || cmd.ended != '{' {
			return nil, wrong(cmd.line, "%s needs %d test and a block", cmd.name, want)
		}
		var b branch
		var err error
		c2 := *c // what ihave finds missing is so in its block alone
		if want == 1 {
			if b.test, err = c2.test(&cmd.tests[0]); err != nil {
				return nil, err
			}
		}
		if b.body, err = c2.block(cmd.block); err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return func(m *machine) error {
		for _, b := range all {
			if b.test != nil {
				if yes, err := b.test(m); err != nil || !yes {
					if err != nil {
						return err
					}
					continue
				}
			}
			return m.run(b.body)
		}
		return nil
	}, nil
}

// form is what a command takes. tags: its tags by name with the kind of value behind a colon ("n", "s" one string, "l" a list), and behind a slash the extension that each
// needs. pos: the kinds of its positional arguments, "?" before one that may be left out.
type form struct {
	ext  string
	tags string
	pos  string
}

// taken are the arguments by name.
type taken struct {
	line int
	tags map[string]argument // the value, or the tag itself
	nums []int64
	strs [][]string
}

func (a *taken) has(tag string) bool { _, ok := a.tags[tag]; return ok }

// take checks arguments against a form.
func (c *compiler) take(cmd *command, f form) (*taken, error) {
	if f.ext != "" && !c.uses(f.ext) && !c.absent[f.ext] {
		return nil, wrong(cmd.line, "%s needs require %q", cmd.name, f.ext)
	}
	a := &taken{line: cmd.line, tags: map[string]argument{}}
	var pos []argument
	for i := 0; i < len(cmd.args); i++ {
		arg := cmd.args[i]
		if arg.kind != 't' {
			pos = append(pos, arg)
			continue
		}
		if len(pos) > 0 {
			return nil, wrong(arg.line, "%s: tags come first", cmd.name)
		}
		kind, ext, ok := findTag(f.tags, arg.tag)
		switch {
		case !ok:
			return nil, wrong(arg.line, "%s has no :%s", cmd.name, arg.tag)
		case ext != "" && !c.uses(ext) && !c.absent[ext]:
			return nil, wrong(arg.line, ":%s needs require %q", arg.tag, ext)
		case a.has(arg.tag):
			return nil, wrong(arg.line, ":%s comes twice", arg.tag)
		}
		name := arg.tag
		if kind != "" {
			if i++; i == len(cmd.args) || !fits(cmd.args[i], kind[0]) {
				return nil, wrong(arg.line, ":%s needs another value", name)
			}
			arg = cmd.args[i]
		}
		a.tags[name] = arg
	}
	for k := 0; k < len(f.pos); k++ {
		optional := f.pos[k] == '?'
		if optional {
			k++
			if len(pos) < len(f.pos)-k {
				continue
			}
		}
		if len(pos) == 0 || !fits(pos[0], f.pos[k]) {
			return nil, wrong(cmd.line, "%s: an argument is missing or of the wrong kind", cmd.name)
		}
		if pos[0].kind == 'n' {
			a.nums = append(a.nums, pos[0].num)
		} else {
			a.strs = append(a.strs, pos[0].strs)
		}
		pos = pos[1:]
	}
	if len(pos) > 0 {
		return nil, wrong(cmd.line, "%s: too many arguments", cmd.name)
	}
	return a, nil
}

func fits(a argument, kind byte) bool {
	switch kind {
	case 'n':
		return a.kind == 'n'
	case 's':
		return a.kind == 's' && !a.list
	}
	return a.kind == 's'
}

// findTag looks for a tag in the tags of a form.
func findTag(tags, name string) (kind, ext string, ok bool) {
	for t := range strings.FieldsSeq(tags) {
		t, ext, _ = strings.Cut(t, "/")
		t, kind, _ = strings.Cut(t, ":")
		if t == name {
			return kind, ext, true
		}
	}
	return "", "", false
}

// one is which of the tags was given, "" for none; two are an error.
func (a *taken) one(tags ...string) (string, error) {
	found := ""
	for _, t := range tags {
		if a.has(t) {
			if found != "" {
				return "", wrong(a.line, ":%s and :%s exclude one another", found, t)
			}
			found = t
		}
	}
	return found, nil
}
