package sieve

import (
	"io"
	"strings"

	"github.com/packetboat/packetboat/storage/mime"
)

// What is looked at of a body: of each part its beginning, and of all of them together.
const (
	maxBodyPart  = 256 << 10
	maxBody      = 1 << 20
	maxBodyParts = 200
)

// body is RFC 5173.
func (c *compiler) body(_ *command, a *taken) (check, error) {
	x, err := c.matcher(a, a.strs[0])
	if err != nil {
		return nil, err
	}
	how, err := a.one("raw", "content", "text")
	if err != nil {
		return nil, err
	}
	kinds, err := c.texts(a.tags["content"].strs, a.line)
	return func(m *machine) (bool, error) {
		wanted := []string{"text"} // section 5.3: :text is what is worth reading
		switch how {
		case "raw":
			wanted = nil
		case "content":
			var err error
			if wanted, err = m.all(kinds); err != nil {
				return false, err
			}
		}
		texts, err := m.bodyOf(how == "raw", wanted)
		if err != nil {
			return false, err
		}
		// Section 6: matching of a body sets no match variables.
		kept := m.match
		yes, err := x.any(m, texts)
		m.match = kept
		return yes, err
	}, err
}

// bodyOf are the texts of the parts of some types, or the whole undecoded body.
func (m *machine) bodyOf(raw bool, kinds []string) ([]string, error) {
	if m.msg.Body == nil || m.msg.Index == nil {
		return nil, nil
	}
	key := strings.ToLower(strings.Join(kinds, "\x00"))
	if raw {
		key = "\x00raw"
	}
	if v, ok := m.bodies[key]; ok {
		return v, nil
	}
	var all []string
	root := &m.msg.Index.Root
	if raw {
		s, err := m.read(io.NewSectionReader(m.msg.Body, root.BodyOffset, max(root.End-root.BodyOffset, 0)))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	} else {
		left := maxBodyParts
		if err := m.parts(root, kinds, &left, func(s string) { all = append(all, s) }); err != nil {
			return nil, err
		}
	}
	if m.bodies == nil {
		m.bodies = map[string][]string{}
	}
	m.bodies[key] = all
	return all, nil
}

// parts goes through the parts (section 5.2): of a multipart what stands before the first boundary, of a message its header, of others their decoded text.
func (m *machine) parts(p *mime.Part, kinds []string, left *int, put func(string)) error {
	if *left--; *left < 0 {
		return nil
	}
	if fitsType(p, kinds) {
		var r io.Reader
		switch {
		case p.Type == "multipart" && len(p.Parts) > 0:
			r = io.NewSectionReader(m.msg.Body, p.BodyOffset, max(p.Parts[0].HeaderOffset-p.BodyOffset, 0))
		case p.Type == "message" && len(p.Parts) == 1:
			r = io.NewSectionReader(m.msg.Body, p.Parts[0].HeaderOffset, max(p.Parts[0].BodyOffset-p.Parts[0].HeaderOffset, 0))
		default:
			r = io.NewSectionReader(m.msg.Body, p.BodyOffset, max(p.End-p.BodyOffset, 0))
			if decoded, ok := mime.Decoder(r, p.Encoding); ok {
				r = decoded
			}
			if p.Type == "text" || p.Type == "" {
				r = mime.Text(io.NewSectionReader(m.msg.Body, p.BodyOffset, max(p.End-p.BodyOffset, 0)), p)
			}
		}
		s, err := m.read(r)
		if err != nil {
			return err
		}
		put(s)
	}
	for i := range p.Parts {
		if err := m.parts(&p.Parts[i], kinds, left, put); err != nil {
			return err
		}
	}
	return nil
}

// fitsType: section 5.2: "" is any type, "text" all of text, "text/html" that one; what is neither is none.
func fitsType(p *mime.Part, kinds []string) bool {
	kind, sub := p.Type, p.Subtype
	if kind == "" {
		kind, sub = "text", "plain"
	}
	for _, k := range kinds {
		t, s, ok := strings.Cut(strings.ToLower(k), "/")
		if k == "" || t == kind && t != "" && (!ok || s == sub && s != "") {
			return true
		}
	}
	return false
}

// read takes the beginning.
func (m *machine) read(r io.Reader) (string, error) {
	n := min(maxBodyPart, maxBody-m.bodyRead)
	if n <= 0 {
		return "", nil
	}
	var b strings.Builder
	read, err := io.Copy(&b, io.LimitReader(r, int64(n)))
	m.bodyRead += int(read)
	if serr := m.spend(int(read)/4 + 64); serr != nil {
		return "", serr
	}
	return b.String(), err
}
