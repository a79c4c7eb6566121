package ftp

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Reuse says whether a data connection must resume the TLS session of its control connection, which
// proves that both come from the same client (RFC 4217 section 12).
//
// Tickets are bound to the control connection, so those of another one never do: with require they are refused, with prefer they lead to a full
// handshake. Prefer does not turn into require once a client has resumed, as that would hit the wrong ones: rclone shares a cache of tickets between
// its control connections, so some of its data connections resume and some cannot. Who wants the proof says so, for a listener or an account.
type Reuse string

// The policies.
const (
	ReusePrefer  Reuse = "prefer"  // the default: a data connection that does not is served too
	ReuseRequire Reuse = "require" // 522 for one that does not
	ReuseOff     Reuse = "off"     // no session is ever resumed
)

// ReuseRule is an exception from Options.DataTLSReuse. The patterns are those of path.Match, in any case; "" matches all. A rule
// holds where both match.
type ReuseRule struct {
	Listener string // the listener's name
	Account  string // the name of who is logged in
	Reuse    Reuse  // with an Account it is not ReuseOff, as tickets are given out before anybody logs in
}

// maxReuse is how many rules there may be.
const maxReuse = 64

// ParseReuse reads a policy with its exceptions as they are written in the configuration: "prefer, listener ftps: require, account robot@*: prefer".
// The first part without a name is the policy for everybody else; none means prefer.
func ParseReuse(s string) (all Reuse, rules []ReuseRule, err error) {
	all = ReusePrefer
	named := false
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		who, what, ok := strings.Cut(part, ":")
		if !ok {
			who, what = "", part
		}
		reuse := Reuse(strings.TrimSpace(what))
		if reuse != ReusePrefer && reuse != ReuseRequire && reuse != ReuseOff {
			return all, nil, fmt.Errorf("%q: want require, prefer or off", part)
		}
		if !ok {
			if named {
				return all, nil, fmt.Errorf("%q: the policy for everybody was named before", part)
			}
			all, named = reuse, true
			continue
		}
		r, err := parseReuseRule(who)
		if err != nil {
			return all, nil, fmt.Errorf("%q: %w", part, err)
		}
		if r.Reuse = reuse; reuse == ReuseOff && r.Account != "" {
			return all, nil, fmt.Errorf("%q: off cannot be for an account, as tickets are given out before a login; want require or prefer", part)
		}
		if rules = append(rules, r); len(rules) > maxReuse {
			return all, nil, fmt.Errorf("want at most %d exceptions", maxReuse)
		}
	}
	return all, rules, nil
}

// parseReuseRule reads whom a rule is for: "listener ftp account robot@*".
func parseReuseRule(who string) (r ReuseRule, err error) {
	words := strings.Fields(who)
	for len(words) >= 2 {
		at := map[string]*string{"listener": &r.Listener, "account": &r.Account}[words[0]]
		if at == nil || *at != "" {
			break
		}
		if _, err := path.Match(words[1], ""); err != nil {
			return r, fmt.Errorf("%q is no pattern", words[1])
		}
		*at, words = strings.ToLower(words[1]), words[2:]
	}
	if len(words) > 0 || r == (ReuseRule{}) {
		return r, fmt.Errorf("want listener or account with a pattern before the colon")
	}
	return r, nil
}

// fits tells whether a rule is for a listener and for who is logged in there, "" for nobody.
func (r ReuseRule) fits(listener, account string) bool {
	like := func(pattern, name string) bool {
		ok, err := path.Match(pattern, strings.ToLower(name))
		return pattern == "" || ok && err == nil && name != ""
	}
	return like(r.Listener, listener) && like(r.Account, account)
}

// reuse is the policy for a listener and an account: of the first exception that fits.
func (o *Options) reuse(listener, account string) Reuse {
	for _, r := range o.ReuseRules {
		if r.fits(listener, account) {
			return r.Reuse
		}
	}
	return o.DataTLSReuse
}

// tickets tells whether a listener gives out tickets: unless it is off there, and for no account wanted.
func (o *Options) tickets(listener string) bool {
	return o.reuse(listener, "") != ReuseOff || slices.ContainsFunc(o.ReuseRules, func(r ReuseRule) bool {
		r.Account = ""
		return r.Reuse == ReuseRequire && r.fits(listener, "")
	})
}
