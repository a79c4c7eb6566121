package mime

// begin opens the next entity, a child of parent (-1: the root), whose header begins at m.
func (x *Indexer) begin(parent int, m mark) {
	x.cur = len(x.nodes)
	x.nodes = append(x.nodes, node{parent: parent, part: Part{HeaderOffset: m.off}})
	if parent >= 0 {
		x.nodes[parent].children++
	}
	x.inHeader = true
	x.header = x.header[:0]
}

// endHeader reads the header of the current entity and opens what it holds. The body begins at m.
func (x *Indexer) endHeader(m mark) {
	n := &x.nodes[x.cur]
	n.part.BodyOffset = m.off
	n.bodyLines = m.lines
	x.inHeader = false
	x.inLine = false
	isMessage, inDigest := n.parent < 0, false
	if n.parent >= 0 {
		p := &x.nodes[n.parent].part
		isMessage = p.Type == "message"
		inDigest = p.Type == "multipart" && p.Subtype == "digest"
	}
	x.parse(&n.part, x.header, isMessage, inDigest)

	p := &n.part
	switch {
	case p.Type == "multipart":
		if len(x.stack) >= x.limits.Depth {
			p.opaque()
			return
		}
		x.openMultipart(p)
	case p.isMessage():
		// RFC 2046 section 5.2.1: no encoding other than 7bit, 8bit, or binary is permitted for message/rfc822.
		if len(x.stack) >= x.limits.Depth || len(x.nodes) >= x.limits.Parts || !identity(p.Encoding) {
			p.opaque()
			return
		}
		x.stack = append(x.stack, frame{node: x.cur, shadowed: -1})
		x.begin(x.cur, m)
	}
}

func (x *Indexer) openMultipart(p *Part) {
	b := p.Param("boundary")
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1] // RFC 2046 section 5.1.1: a boundary does not end with white space
	}
	if len(b) > maxBoundary {
		b = ""
	}
	f := frame{node: x.cur, boundary: b, shadowed: -1}
	if b != "" {
		f.shadowed = x.open.add(b, len(x.stack))
	}
	x.stack = append(x.stack, f)
	x.cur = -1
}

// delimiter ends what is open inside frame k with the delimiter line at m, whose line end before it has eol bytes,
// and opens the next part, which begins at next.
func (x *Indexer) delimiter(k int, closing bool, m mark, eol int, next mark) {
	x.inLine = false
	for x.inHeader {
		x.endHeader(m)
	}
	// RFC 2046 section 5.1.1: the line end before the delimiter belongs to it.
	end := mark{m.off - int64(eol), m.lines - int64(min(eol, 1))}
	x.closeAbove(k, end, m)
	f := &x.stack[k]
	if closing {
		x.open.remove(f.boundary, f.shadowed)
		f.boundary = ""
		return
	}
	if len(x.nodes) >= x.limits.Parts-1 {
		x.beginRest(f.node, next)
		return
	}
	x.begin(f.node, next)
}

// beginRest makes all that follows one opaque part.
func (x *Indexer) beginRest(parent int, m mark) {
	for i := len(x.stack) - 1; i >= 0; i-- {
		x.closeBoundary(i)
	}
	x.begin(parent, m)
	n := &x.nodes[x.cur]
	n.part.BodyOffset, n.bodyLines = m.off, m.lines
	n.part.opaque()
	x.inHeader = false
}

func (x *Indexer) closeBoundary(i int) {
	if f := &x.stack[i]; f.boundary != "" {
		x.open.remove(f.boundary, f.shadowed)
		f.boundary = ""
	}
}

// closeAbove ends all entities inside the frame k: at end, or at m where the delimiter line comes at once behind the header.
func (x *Indexer) closeAbove(k int, end, m mark) {
	if len(x.stack) == 0 {
		return
	}
	// The part itself keeps the empty line of its header, even though it is the line end before the delimiter. What is
	// inside it, a message/rfc822's, does not reach beyond it.
	limit, lines := int64(-1), end.lines
	shut := func(i int) {
		if limit < 0 {
			limit = max(end.off, x.nodes[i].part.BodyOffset)
			if limit > end.off {
				lines = m.lines
			}
		}
		x.close(i, limit, lines)
	}
	for i := k + 1; i < len(x.stack); i++ {
		shut(x.stack[i].node)
	}
	if x.cur >= 0 {
		shut(x.cur)
	}
	for i := len(x.stack) - 1; i > k; i-- {
		x.closeBoundary(i)
	}
	clear(x.stack[k+1:])
	x.stack = x.stack[:k+1]
	x.cur = -1
}

// close ends an entity at off, before which there are that many lines.
func (x *Indexer) close(i int, off, lines int64) {
	n := &x.nodes[i]
	p := &n.part
	p.End = off
	p.HeaderOffset = min(p.HeaderOffset, off)
	p.BodyOffset = min(p.BodyOffset, off)
	if p.BodyOffset < off {
		p.Lines = lines - n.bodyLines
	}
}

// build lays the parts out as a tree, in one piece of memory.
func (x *Indexer) build(idx *Index) {
	for i := range x.nodes {
		n := &x.nodes[i]
		if n.part.Type == "multipart" && n.children == 0 {
			x.fill(i)
		}
	}
	arena := make([]Part, len(x.nodes)-1)
	at := make([]*Part, len(x.nodes))
	at[0] = &idx.Root
	for i := range x.nodes {
		n := &x.nodes[i]
		if n.parent >= 0 {
			parent := at[n.parent]
			parent.Parts = append(parent.Parts, Part{})
			at[i] = &parent.Parts[len(parent.Parts)-1]
		}
		*at[i] = n.part
		if n.children > 0 {
			at[i].Parts, arena = arena[:0:n.children], arena[n.children:]
		}
	}
}

// fill gives a multipart without parts the one that every multipart must have: RFC 2045 section 5.2 lets it be text/plain.
func (x *Indexer) fill(i int) {
	n := &x.nodes[i]
	n.children = 1
	body := n.part
	x.nodes = append(x.nodes, node{parent: i, part: Part{
		HeaderOffset: body.BodyOffset, BodyOffset: body.BodyOffset, End: body.End, Lines: body.Lines,
		Type: "text", Subtype: "plain", Params: defaultParams(), Encoding: "7bit",
	}})
}

func defaultParams() []Param { return []Param{{"charset", "us-ascii"}} }

// opaque makes of a part a leaf that nothing more is said of.
func (p *Part) opaque() {
	p.Type, p.Subtype = "application", "octet-stream"
	if p.Encoding == "" {
		p.Encoding = "binary"
	}
}

func (p *Part) isMessage() bool {
	return p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global")
}

// identity says whether an encoding leaves the bytes as they are.
func identity(encoding string) bool {
	switch encoding {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}
