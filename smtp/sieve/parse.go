package sieve

// command is a command or a test as it is written (RFC 5228 section 8.2).
type command struct {
	name  string
	line  int
	args  []argument
	tests []command
	block []command
	ended byte // ';' or '{'; of a test 0
}

// argument is a tag, a number or a list of strings.
type argument struct {
	kind byte // 't', 'n', 's'
	tag  string
	num  int64
	strs []string
	list bool // it was written in brackets
	line int
}

// maxNesting is how deep blocks and tests may lie in one another. RFC 5228 section 2.10.5 asks for 15.
const maxNesting = 30

// parser reads tokens.
type parser struct {
	lexer
	tok   token
	depth int
}

func parse(src string) ([]command, error) {
	p := &parser{lexer: lexer{src: src, line: 1}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	all, err := p.commands()
	if err == nil && p.tok.kind != 0 {
		err = p.unexpected()
	}
	return all, err
}

func (p *parser) advance() (err error) {
	p.tok, err = p.next()
	return err
}

func (p *parser) unexpected() error {
	switch p.tok.kind {
	case 0:
		return wrong(p.tok.line, "the script ends too early")
	case 'i', 't', 's':
		return wrong(p.tok.line, "unexpected %q", p.tok.text)
	case 'n':
		return wrong(p.tok.line, "unexpected number")
	}
	return wrong(p.tok.line, "unexpected %q", rune(p.tok.kind))
}

func (p *parser) deeper() error {
	if p.depth++; p.depth > maxNesting {
		return wrong(p.tok.line, "nested too deeply")
	}
	return nil
}

// commands reads up to what begins none.
func (p *parser) commands() (all []command, err error) {
	for p.tok.kind == 'i' {
		c, err := p.command(false)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// command reads a command, or a test, which has no end of its own.
func (p *parser) command(test bool) (c command, err error) {
	if p.tok.kind != 'i' {
		return c, p.unexpected()
	}
	if err := p.deeper(); err != nil {
		return c, err
	}
	defer func() { p.depth-- }()
	c.name, c.line = p.tok.text, p.tok.line
	if err := p.advance(); err != nil {
		return c, err
	}
	if err := p.arguments(&c); err != nil {
		return c, err
	}
	if err := p.tests(&c); err != nil || test {
		return c, err
	}
	c.ended = p.tok.kind
	switch p.tok.kind {
	case ';':
		return c, p.advance()
	case '{':
		if err := p.advance(); err != nil {
			return c, err
		}
		if c.block, err = p.commands(); err != nil {
			return c, err
		}
		if p.tok.kind != '}' {
			return c, p.unexpected()
		}
		return c, p.advance()
	}
	return c, p.unexpected()
}

func (p *parser) arguments(c *command) error {
	for {
		a := argument{kind: p.tok.kind, line: p.tok.line}
		switch p.tok.kind {
		case 't':
			a.tag = p.tok.text
		case 'n':
			a.num = p.tok.num
		case 's':
			a.strs = []string{p.tok.text}
		case '[':
			a.kind, a.list = 's', true
			for {
				if err := p.advance(); err != nil {
					return err
				}
				if p.tok.kind != 's' {
					return p.unexpected()
				}
				a.strs = append(a.strs, p.tok.text)
				if err := p.advance(); err != nil {
					return err
				}
				if p.tok.kind == ']' {
					break
				}
				if p.tok.kind != ',' {
					return p.unexpected()
				}
			}
		default:
			return nil
		}
		c.args = append(c.args, a)
		if err := p.advance(); err != nil {
			return err
		}
	}
}

// tests reads one test, or several in parentheses.
func (p *parser) tests(c *command) error {
	if p.tok.kind == 'i' {
		t, err := p.command(true)
		c.tests = []command{t}
		return err
	}
	if p.tok.kind != '(' {
		return nil
	}
	for {
		if err := p.advance(); err != nil {
			return err
		}
		t, err := p.command(true)
		if err != nil {
			return err
		}
		c.tests = append(c.tests, t)
		if p.tok.kind == ')' {
			return p.advance()
		}
		if p.tok.kind != ',' {
			return p.unexpected()
		}
	}
}
