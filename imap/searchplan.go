package imap

import (
	"math/bits"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// plan takes apart what all messages must fulfil: flags, and where they lie. rest are the other keys.
func (s *searcher) plan() (f storage.Filter, domain []span, rest node) {
	domain = []span{{s.from, s.p.Len()}}
	rest = node{kind: wire.KeyAnd}
	for _, k := range s.root.kids {
		negated := k.kind == wire.KeyNot
		one := &k
		if negated {
			one = &k.kids[0]
		}
		switch {
		case k.kind == wire.KeySeq, k.kind == wire.KeyUID:
			domain = intersect(domain, k.spans)
		case one.kind != wire.KeyFlag || bits.OnesCount64(one.bit) > 1:
			rest.kids = append(rest.kids, k)
		case negated:
			f.NotFlags, f.NotKeywords = f.NotFlags|one.flags, f.NotKeywords|one.bit
		case one.flags == 0 && one.bit == 0: // a keyword that nobody has
			domain = nil
		default:
			f.Flags, f.Keywords = f.Flags|one.flags, f.Keywords|one.bit
		}
	}
	if f.Flags&f.NotFlags != 0 || f.Keywords&f.NotKeywords != 0 {
		domain = nil
	}
	return f, domain, rest
}

// intersect gives what is in both; both ascend.
func intersect(a, b []span) (out []span) {
	for len(a) > 0 && len(b) > 0 {
		if s := (span{max(a[0].first, b[0].first), min(a[0].end, b[0].end)}); s.first < s.end {
			out = append(out, s)
		}
		if a[0].end < b[0].end {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// nextSpan takes the first or the last messages of spans, at most n; none are left when it is empty. spans are used up.
func nextSpan(spans []span, n int, last bool) (part span, rest []span) {
	for len(spans) > 0 {
		if last {
			s := &spans[len(spans)-1]
			if part = *s; part.first < part.end {
				part.first = max(s.first, s.end-n)
				s.end = part.first
				return part, spans
			}
			spans = spans[:len(spans)-1]
			continue
		}
		s := &spans[0]
		if part = *s; part.first < part.end {
			part.end = min(s.end, s.first+n)
			s.first = part.end
			return part, spans
		}
		spans = spans[1:]
	}
	return span{}, nil
}
