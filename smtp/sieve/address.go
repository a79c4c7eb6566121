package sieve

import (
	"net/mail"
	"strconv"
	"strings"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

func itoa(n int) string { return strconv.Itoa(n) }

func isAddress(s string) bool {
	_, _, err := storage.ParseAddress(s)
	return err == nil
}

// isAddressList tells whether s is what a From field may hold.
func isAddressList(s string) bool {
	all := addresses(s)
	return len(all) > 0 && !strings.ContainsAny(s, "\r\n") && isAddress(all[0])
}

// addresses are those of a field's value, without names. What cannot be read gives what in it looks like some.
func addresses(value string) []string {
	var all []string
	p := mail.AddressParser{}
	list, err := p.ParseList(value)
	if err == nil {
		for _, a := range list {
			all = append(all, a.Address)
		}
		return all
	}
	for piece := range strings.SplitSeq(mime.WithoutComments(value), ",") {
		if _, after, ok := strings.Cut(piece, "<"); ok {
			piece, _, _ = strings.Cut(after, ">")
		}
		if piece = strings.TrimSpace(piece); strings.Contains(piece, "@") && !strings.ContainsAny(piece, " \t<>") {
			all = append(all, piece)
		}
	}
	return all
}

const addressTags = "all localpart domain user/subaddress detail/subaddress "

// part cuts an address (RFC 5228 section 2.7.4, RFC 5233 section 4). ok is false where there is no such part.
func addressPart(which, addr string) (s string, ok bool) {
	at := strings.LastIndexByte(addr, '@')
	local, domain := addr, ""
	if at >= 0 {
		local, domain = addr[:at], addr[at+1:]
	}
	user, detail, tagged := strings.Cut(local, "+")
	switch which {
	case "localpart":
		return local, true
	case "domain":
		return domain, true
	case "user":
		return user, true
	case "detail":
		return detail, tagged
	}
	if at > 0 && local[0] != '"' && strings.ContainsAny(local, "()<>[]:;@\\,\" \t") { // those of the envelope have their quotes
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"` + addr[at:], true
	}
	return addr, true
}
