package imap

import (
	"fmt"
	"slices"
	"strings"
)

// Withhold is a rule by which capabilities are not offered: they are not announced, their commands are unknown, and ENABLE passes over
// them. What they add to other commands stays, as nobody asks for what was not announced. It is for clients that announce
// less trouble than they make, and for capabilities that a site does not want (RFC 8437 section 8).
//
// The patterns are matched in any case, "*" stands for anything; "" matches all. A rule holds where all of its patterns match.
type Withhold struct {
	Listener string // the listener's name
	Account  string // the name of who is logged in
	Client   string // what the client told with ID: its name, vendor or os, or name or os and version with a space between

	// Names of capabilities as they are announced, also AUTH=PLAIN; of one with a value the part before "=" will do. Without LITERAL+ there is
	// LITERAL- unless that is withheld too.
	Names []string
}

// MaxWithhold is how many rules there may be.
const MaxWithhold = 64

// nonSyncMax is the limit of non-synchronising literals where LITERAL- is announced (RFC 7888 section 5).
const nonSyncMax = 4096

// ParseWithhold reads a rule as it is written in the configuration: "client Outlook*: UIDONLY",
// "listener imap account joe@example.org: COMPRESS=DEFLATE NOTIFY".
func ParseWithhold(s string) (w Withhold, err error) {
	who, what, ok := strings.Cut(s, ":")
	if w.Names = strings.Fields(what); !ok || len(w.Names) == 0 {
		return w, fmt.Errorf("%q: want WHO: CAPABILITY..., for instance client Outlook*: UIDONLY", s)
	}
	var at *string
	for _, word := range strings.Fields(who) {
		field := map[string]*string{"listener": &w.Listener, "account": &w.Account, "client": &w.Client}[word]
		switch {
		case field != nil && *field == "" && (at == nil || *at != ""):
			at = field
		case at == nil || field != nil:
			return w, fmt.Errorf("%q: want listener, account or client with a pattern before the colon", s)
		case *at == "":
			*at = word
		default:
			*at += " " + word
		}
	}
	if at == nil || *at == "" {
		return w, fmt.Errorf("%q: want listener, account or client with a pattern before the colon", s)
	}
	return w, nil
}

// offers are the commands that a capability brings.
var offers = func() map[string]string {
	m := map[string]string{}
	for capability, names := range commandsOf {
		for _, name := range names {
			m[name] = capability
		}
	}
	return m
}()

// commandsOf are the commands by capability.
var commandsOf = map[string][]string{
	"ACL":              {"SETACL", "DELETEACL", "GETACL", "LISTRIGHTS", "MYRIGHTS"},
	"COMPRESS=DEFLATE": {"COMPRESS"},
	"CONTEXT=SEARCH":   {"CANCELUPDATE"},
	"ENABLE":           {"ENABLE"},
	"ID":               {"ID"},
	"IDLE":             {"IDLE"},
	"METADATA":         {"GETMETADATA", "SETMETADATA"},
	"MOVE":             {"MOVE", "UID MOVE"},
	"MULTISEARCH":      {"ESEARCH"},
	"NAMESPACE":        {"NAMESPACE"},
	"NOTIFY":           {"NOTIFY"},
	"QUOTA":            {"GETQUOTA", "GETQUOTAROOT"},
	"QUOTASET":         {"SETQUOTA"},
	"REPLACE":          {"REPLACE", "UID REPLACE"},
	"SORT":             {"SORT", "UID SORT"},
	"STARTTLS":         {"STARTTLS"},
	"THREAD":           {"THREAD", "UID THREAD"},
	"UIDPLUS":          {"UID EXPUNGE"},
	"UNAUTHENTICATE":   {"UNAUTHENTICATE"},
	"UNSELECT":         {"UNSELECT"},
}

// likes tells whether pattern matches s.
func likes(pattern, s string) bool {
	parts := strings.Split(strings.ToLower(pattern), "*")
	s = strings.ToLower(s)
	rest, ok := strings.CutPrefix(s, parts[0])
	if !ok || len(parts) == 1 {
		return ok && rest == ""
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// identify takes what the client told with ID, and tells whether that changed what is offered.
func (c *client) identify(fields map[string]string) bool {
	told := []string{fields["name"], fields["vendor"], fields["os"], fields["name"] + " " + fields["version"], fields["os"] + " " + fields["os-version"]}
	c.knownBy = 0
	for i, w := range c.srv.o.Withhold {
		if w.Client != "" && slices.ContainsFunc(told, func(s string) bool { return s != "" && s != " " && likes(w.Client, s) }) {
			c.knownBy |= 1 << i
		}
	}
	before := c.withheld
	c.withhold()
	return c.withheld != before
}

// withhold finds the rules that hold for this connection now: at its begin, after ID, login and UNAUTHENTICATE.
func (c *client) withhold() {
	c.withheld = 0
	for i, w := range c.srv.o.Withhold {
		switch {
		case w.Client != "" && c.knownBy&(1<<i) == 0:
		case w.Listener != "" && !likes(w.Listener, c.ses.Listener()):
		case w.Account != "" && (c.account == nil || !likes(w.Account, c.account.Name)):
		default:
			c.withheld |= 1 << i
		}
	}
}

// withholds tells whether a capability is withheld.
func (c *client) withholds(capability string) bool {
	if c.withheld == 0 || capability == "" {
		return false
	}
	family, _, _ := strings.Cut(capability, "=")
	for i, w := range c.srv.o.Withhold {
		if c.withheld&(1<<i) == 0 {
			continue
		}
		for _, name := range w.Names {
			if strings.EqualFold(name, capability) || strings.EqualFold(name, family) || implied(name, capability) {
				return true
			}
		}
	}
	return false
}

// implied: without the one there is no other either.
func implied(name, capability string) bool {
	switch strings.ToUpper(name) {
	case "ACL":
		return strings.HasPrefix(capability, "RIGHTS=") || strings.EqualFold(capability, "LIST-MYRIGHTS") // RFC 4314 section 2, RFC 8440
	case "CONDSTORE":
		return strings.EqualFold(capability, "QRESYNC") // RFC 7162 section 3.2.3
	case "CONTEXT=SEARCH", "ESORT":
		return strings.EqualFold(capability, "CONTEXT=SORT") // CANCELUPDATE is for both
	case "METADATA":
		return strings.EqualFold(capability, "LIST-METADATA")
	case "QUOTA":
		return strings.EqualFold(capability, "QUOTASET")
	case "SORT":
		return strings.EqualFold(capability, "ESORT") || strings.EqualFold(capability, "CONTEXT=SORT") // RFC 5267 sections 3.1 and 4.1
	case "LIST-EXTENDED":
		return strings.HasPrefix(capability, "LIST-")
	}
	return false
}
