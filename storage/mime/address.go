package mime

import "bytes"

// addresses reads an address list (RFC 5322 section 3.4, obsolete forms included) and appends what it finds. It takes what
// it can of what is broken, and keeps at most maxAddresses.
func (x *fields) addresses(list []Address, v []byte) []Address {
	return x.addressList(list, v, maxAddresses)
}

// addressList is addresses that stops when it has max of them.
func (x *fields) addressList(list []Address, v []byte, max int) []Address {
	grouped := false
	for len(list) < max {
		v = skipSeparators(v)
		if len(v) == 0 {
			break
		}
		if v[0] == ';' {
			if grouped {
				list, grouped = append(list, Address{}), false
			}
			v = v[1:]
			continue
		}
		a := phrase(v)
		v = a.rest
		switch {
		case a.stop == ':' && !grouped:
			list, grouped = append(list, Address{Mailbox: x.keep(orSpace(a.text))}), true
			v = v[1:]
		case a.stop == '<':
			var local, domain, route []byte
			local, domain, route, v = angle(v[1:])
			v = untilSeparator(v)
			if len(local) > 0 || len(domain) > 0 || len(a.text) > 0 {
				list = append(list, x.address(a.text, local, domain))
				list[len(list)-1].Route = x.keep(route)
			}
		case a.stop == '@':
			var domain, name []byte
			domain, name, v = bareDomain(v[1:])
			list = append(list, x.address(name, a.text, domain))
		case a.stop == ':':
			v = v[1:]
		default:
			if len(a.text) > 0 {
				list = append(list, x.address(a.comment, a.text, nil))
			}
		}
	}
	if grouped {
		list = append(list, Address{})
	}
	return list
}

func (x *fields) address(name, local, domain []byte) Address {
	a := Address{Name: x.keep(name), Mailbox: x.keep(local), Host: MissingDomain}
	if len(domain) > 0 {
		a.Host = x.keep(domain)
	}
	return a
}

func orSpace(b []byte) []byte {
	if len(b) == 0 {
		return []byte{' '} // a group must have a name
	}
	return b
}

func skipSeparators(v []byte) []byte {
	for {
		v = bytes.TrimLeft(v, " \t,>")
		if len(v) == 0 || v[0] != '(' {
			return v
		}
		_, v = comment(v)
	}
}

func untilSeparator(v []byte) []byte {
	for {
		n := bytes.IndexAny(v, ",;(")
		if n < 0 {
			return nil
		}
		if v[n] != '(' {
			return v[n:]
		}
		_, v = comment(v[n:])
	}
}

// words is what stands before the character that tells what it is.
type words struct {
	text    []byte // words joined by single spaces, quotes and comments taken away
	comment []byte // the last comment
	stop    byte   // < @ : , ; or 0 at the end
	rest    []byte // from stop on
}

func phrase(v []byte) words {
	var w words
	space := false
	add := func(b []byte) {
		if space && len(w.text) > 0 {
			w.text = append(w.text, ' ')
		}
		w.text, space = append(w.text, b...), false
	}
	for len(v) > 0 {
		switch c := v[0]; c {
		case ' ', '\t':
			space, v = true, v[1:]
		case '"':
			var q []byte
			q, v = quoted(v)
			add(q)
		case '(':
			w.comment, v = comment(v)
			space = true
		case '<', '@', ':', ',', ';':
			w.stop, w.rest = c, v
			return w
		case '\\': // a quoted pair where there should be none
			add(v[1:min(2, len(v))])
			v = v[min(2, len(v)):]
		default:
			n := bytes.IndexAny(v, " \t\"(<@:,;\\")
			if n < 0 {
				n = len(v)
			}
			add(v[:n])
			v = v[n:]
		}
	}
	return w
}

// angle reads an angle-addr behind its "<".
func angle(v []byte) (local, domain, route, rest []byte) {
	w := phraseUntil(v)
	if w.stop == '@' && len(w.text) == 0 { // RFC 5322 section 4.4: obs-route
		if n := bytes.IndexByte(w.rest, ':'); n >= 0 {
			route = squeeze(w.rest[:n])
			w = phraseUntil(w.rest[n+1:])
		}
	}
	local = w.text
	if w.stop != '@' {
		return local, nil, route, after(w.rest)
	}
	d := w.rest[1:]
	n := bytes.IndexAny(d, ">,;")
	if n < 0 {
		n = len(d)
	}
	return local, squeeze(d[:n]), route, after(d[n:])
}

// phraseUntil is phrase that looks no further than the next ">" or "<": what is unbalanced must not be read again and again.
func phraseUntil(v []byte) words {
	end := len(v)
	inQuotes := false
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' {
			i++
		} else if v[i] == '"' {
			inQuotes = !inQuotes
		} else if (v[i] == '>' || v[i] == '<') && !inQuotes {
			end = i
			break
		}
	}
	w := phrase(v[:end])
	w.rest = v[len(v[:end])-len(w.rest):]
	return w
}

func after(v []byte) []byte {
	if len(v) > 0 && v[0] == '>' {
		return v[1:]
	}
	return v
}

// bareDomain reads the domain of an address without angle brackets and the name in the comment behind it.
func bareDomain(v []byte) (domain, name, rest []byte) {
	v = skipBlanks(v)
	n := bytes.IndexAny(v, ",;(<")
	if n < 0 {
		return squeeze(v), nil, nil
	}
	domain = squeeze(v[:n])
	if v[n] == '(' {
		name, rest = comment(v[n:])
		return domain, name, untilSeparator(rest)
	}
	return domain, nil, untilSeparator(v[n:])
}

// skipBlanks skips blanks and comments.
func skipBlanks(v []byte) []byte {
	for {
		v = bytes.TrimLeft(v, " \t")
		if len(v) == 0 || v[0] != '(' {
			return v
		}
		_, v = comment(v)
	}
}

// squeeze takes the blanks and comments out of a domain.
func squeeze(v []byte) []byte {
	v = bytes.Trim(v, " \t>")
	if !bytes.ContainsAny(v, " \t(") {
		return v
	}
	var out []byte
	for v = skipBlanks(v); len(v) > 0; v = skipBlanks(v) {
		n := bytes.IndexAny(v, " \t(")
		if n < 0 {
			n = len(v)
		}
		out, v = append(out, v[:n]...), v[n:]
	}
	return out
}
