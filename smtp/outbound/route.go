package outbound

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Route is the way that mail takes: to the hosts of its domain, or to one host that takes it from us whatever its domain.
type Route struct {
	Direct bool // to the hosts of the domain

	Host     string // a name, whose addresses are looked up and no MX, or an address
	Port     int
	LMTP     bool   // RFC 2033, instead of SMTP
	Implicit bool   // TLS from the beginning
	TLS      Need   // Opportunistic, Encrypted or Verified
	User     string // "": no AUTH
	Password string
}

// key names the host for the pool and in the queue.
func (r *Route) key() string {
	if r.Direct {
		return ""
	}
	kind := "smtp"
	if r.LMTP {
		kind = "lmtp"
	}
	return fmt.Sprintf("%s://%s@%s %s %t", kind, r.User, net.JoinHostPort(r.Host, strconv.Itoa(r.Port)), r.TLS, r.Implicit)
}

// Rule says which mail takes a route.
type Rule struct {
	Kind    string // "domain" of the recipient, "sender" (domain of the envelope's sender), "account", or "*"
	Pattern string // lowercase; "*.example.com" is what is below a domain; for an account its name
	Route   Route
}

// Routes are rules of which the first that fits decides.
type Routes []Rule

// direct is the way without rules.
var direct = Route{Direct: true}

// For finds the route of a recipient. sender is the envelope's sender, account the name of the sender's account, "" for the server's own mail.
func (r Routes) For(domain, sender, account string) *Route {
	_, from, _ := cutLast(sender, '@')
	for i := range r {
		fits := false
		switch r[i].Kind {
		case "*":
			fits = true
		case "domain":
			fits = matches(r[i].Pattern, domain)
		case "sender":
			fits = matches(r[i].Pattern, from)
		case "account":
			fits = account != "" && (r[i].Pattern == strings.ToLower(account) || strings.HasPrefix(r[i].Pattern, "*@") && strings.HasSuffix(strings.ToLower(account), r[i].Pattern[1:]))
		}
		if fits {
			return &r[i].Route
		}
	}
	return &direct
}

func matches(pattern, domain string) bool {
	domain = strings.ToLower(domain)
	if below, ok := strings.CutPrefix(pattern, "*."); ok {
		return strings.HasSuffix(domain, "."+below)
	}
	return pattern == domain
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// ParseRoutes reads rules such as
//
//	domain example.com: smtp://[10.0.0.1]:25, sender ourcorp.test: smtps://joe@relay.test:465?password_file=/etc/relay, *: direct
//
// The schemes are smtp (STARTTLS), smtps (TLS from the beginning, RFC 8314) and lmtp. tls=opportunistic|required|verify says what the host must prove: verify is
// what holds for smtps and where there is a user, opportunistic else. The password is in the URL, in password_file or in the environment variable
// password_env; only the URL's is shown to whoever can read the configuration.
func ParseRoutes(text string) (Routes, error) {
	var all Routes
	for _, s := range strings.Split(text, ",") {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		r, err := parseRule(s)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func parseRule(s string) (Rule, error) {
	match, way, ok := strings.Cut(s, ": ")
	if !ok {
		return Rule{}, fmt.Errorf("%q: want WHAT: WAY, such as domain example.com: smtp://10.0.0.1:25", redacted(s))
	}
	r := Rule{Kind: "*"}
	if match = strings.TrimSpace(match); match != "*" {
		kind, pattern, _ := strings.Cut(match, " ")
		r.Kind, r.Pattern = kind, strings.ToLower(strings.TrimSpace(pattern))
		if r.Pattern == "" || kind != "domain" && kind != "sender" && kind != "account" {
			return r, fmt.Errorf("%q: want domain NAME, sender DOMAIN, account NAME or *", match)
		}
	}
	var err error
	r.Route, err = ParseRoute(strings.TrimSpace(way))
	return r, err
}

// redacted is a URL in an error, without its password.
func redacted(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		if scheme := strings.Index(s, "://"); scheme >= 0 && scheme < at {
			return s[:scheme+3] + "..." + s[at:]
		}
	}
	return s
}

// bracketed is an IPv4 address in brackets, as mail servers write them and URLs do not.
var bracketed = regexp.MustCompile(`\[(\d+\.\d+\.\d+\.\d+)\]`)

// ParseRoute reads a way: direct, host:port, or a URL as ParseRoutes says.
func ParseRoute(s string) (Route, error) {
	if s == "direct" {
		return direct, nil
	}
	if !strings.Contains(s, "://") {
		s = "smtp://" + s
	}
	u, err := url.Parse(bracketed.ReplaceAllString(s, "$1"))
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return Route{}, fmt.Errorf("%q is no way for mail; want direct, host:port or smtp://, smtps:// or lmtp:// with user@host:port", redacted(s))
	}
	r := Route{Host: strings.ToLower(u.Hostname()), Port: 25, TLS: Opportunistic, User: u.User.Username()}
	switch u.Scheme {
	case "smtp":
	case "lmtp":
		r.LMTP, r.Port = true, 24
	case "smtps":
		r.Implicit, r.Port, r.TLS = true, 465, Verified
	default:
		return r, fmt.Errorf("%q: want smtp, smtps or lmtp", u.Scheme)
	}
	if r.User != "" {
		r.TLS = Verified // a password is for nobody else
	}
	if p := u.Port(); p != "" {
		if r.Port, err = strconv.Atoi(p); err != nil || r.Port < 1 || r.Port > 65535 {
			return r, fmt.Errorf("%q is no port", p)
		}
	}
	r.Password, _ = u.User.Password()
	return r, r.parameters(u.Query())
}

func (r *Route) parameters(q url.Values) error {
	for name, values := range q {
		v := values[0]
		switch name {
		case "tls":
			needs := map[string]Need{"opportunistic": Opportunistic, "required": Encrypted, "verify": Verified}
			n, ok := needs[v]
			if !ok {
				return fmt.Errorf("tls=%s: want opportunistic, required or verify", v)
			}
			r.TLS = n
		case "password_file":
			b, err := os.ReadFile(v)
			if err != nil {
				return fmt.Errorf("the password of a route: %w", err)
			}
			r.Password = strings.TrimRight(string(b), "\r\n")
		case "password_env":
			if r.Password = os.Getenv(v); r.Password == "" {
				return fmt.Errorf("the password of a route: the environment has no %s", v)
			}
		default:
			return fmt.Errorf("unknown parameter %q; there are tls, password_file and password_env", name)
		}
	}
	if r.User != "" && r.Password == "" {
		return fmt.Errorf("a password for %s is missing: give it in the URL, by password_file or by password_env", r.User)
	}
	return nil
}
