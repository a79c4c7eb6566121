package sessiontest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// statement is one step of a script.
type statement struct {
	line  int    // where it stands, from 1
	text  string // as it stands there, for messages
	who   string // the connection; "" for what concerns none
	verb  string // = > >- < << <- <~ ! sleep timeout starttls close closewrite kill session
	arg   string
	lines []string // of a <<END block; nil when there is none
}

var (
	wire  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_]*)( =|>-|>|<<|<-|<~|<)(?: (.*))?$`)
	word  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_]*) (starttls|close|closewrite|kill|session)(?: (.*))?$`)
	plain = regexp.MustCompile(`^(sleep|timeout) ([0-9]+)$`)
	block = regexp.MustCompile(`^<<([A-Z]+)$`)
)

// parse makes statements of a script.
func parse(script string) ([]statement, error) {
	var all []statement
	lines := strings.Split(strings.ReplaceAll(script, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		text := strings.TrimLeft(lines[i], " \t")
		if text == "" || text[0] == '#' {
			continue
		}
		s, err := parseLine(text)
		if err != nil {
			return nil, fmt.Errorf("script line %d: %w", i+1, err)
		}
		s.line, s.text = i+1, text
		if end := block.FindStringSubmatch(s.arg); end != nil && (s.verb == ">" || s.verb == "<") {
			indent := lines[i][:len(lines[i])-len(text)]
			s.arg, s.lines = "", []string{}
			for i++; ; i++ {
				if i == len(lines) {
					return nil, fmt.Errorf("script line %d: no %s ends the block", s.line, end[1])
				}
				if strings.TrimSpace(lines[i]) == end[1] {
					break
				}
				s.lines = append(s.lines, strings.TrimPrefix(lines[i], indent))
			}
		}
		all = append(all, s)
	}
	return all, nil
}

func parseLine(text string) (statement, error) {
	if rest, ok := strings.CutPrefix(text, "!"); ok {
		return statement{verb: "!", arg: strings.TrimSpace(rest)}, nil
	}
	if m := plain.FindStringSubmatch(text); m != nil {
		return statement{verb: m[1], arg: m[2]}, nil
	}
	if m := word.FindStringSubmatch(text); m != nil {
		return statement{who: m[1], verb: m[2], arg: m[3]}, nil
	}
	if m := wire.FindStringSubmatch(text); m != nil {
		return statement{who: m[1], verb: strings.TrimSpace(m[2]), arg: m[3]}, nil
	}
	return statement{}, fmt.Errorf("not a statement: %q", text)
}

// fields splits at spaces; a piece may be quoted as in Go, also behind a "name=".
func fields(text string) ([]string, error) {
	var all []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimLeft(text, " ") {
		end := strings.IndexAny(text, ` "`)
		switch {
		case end < 0:
			return append(all, text), nil
		case text[end] == ' ':
			all = append(all, text[:end])
			text = text[end:]
		default:
			quoted, err := strconv.QuotedPrefix(text[end:])
			if err != nil {
				return nil, fmt.Errorf("bad quotes in %q", text)
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("bad quotes in %q", text)
			}
			all = append(all, text[:end]+value)
			text = text[end+len(quoted):]
		}
	}
	return all, nil
}

var variable = regexp.MustCompile(`\$(?:\{([a-z][a-z0-9_]*)\}|([a-z][a-z0-9_]*))`)

// expand puts in the variables that exist and leaves everything else as it is.
func expand(text string, vars map[string]string) string {
	return variable.ReplaceAllStringFunc(text, func(found string) string {
		if value, ok := vars[strings.Trim(found, "${}")]; ok {
			return value
		}
		return found
	})
}

var hole = regexp.MustCompile(`^\{([a-z][a-z0-9_]*)\}`)

// pattern translates a pattern, with the variables put in, to a regular expression whose named groups are the holes.
// It is for lines as wide makes them.
func pattern(text string, vars map[string]string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("(?s)^")
	for text != "" {
		if m := hole.FindStringSubmatch(text); m != nil {
			fmt.Fprintf(&b, "(?P<%s>.+?)", m[1])
			text = text[len(m[0]):]
			continue
		}
		if at := variable.FindStringIndex(text); at != nil && at[0] == 0 {
			b.WriteString(regexp.QuoteMeta(wide(expand(text[:at[1]], vars))))
			text = text[at[1]:]
			continue
		}
		size := 1
		switch {
		case text[0] == '*':
			b.WriteString(".*")
		case text[0] == '\\' && len(text) > 1 && strings.IndexByte(`*{$\`, text[1]) >= 0:
			size = 2
			b.WriteString(regexp.QuoteMeta(text[1:2]))
		default:
			b.WriteString(regexp.QuoteMeta(wide(text[:1])))
		}
		text = text[size:]
	}
	b.WriteString("$")
	return regexp.Compile(b.String())
}

// wide makes a rune of each byte, as regular expressions know no bytes that are not UTF-8.
func wide(text string) string {
	runes := make([]rune, len(text))
	for i := range len(text) {
		runes[i] = rune(text[i])
	}
	return string(runes)
}

// narrow is the way back.
func narrow(text string) string {
	b := make([]byte, 0, len(text))
	for _, r := range text {
		b = append(b, byte(r))
	}
	return string(b)
}
