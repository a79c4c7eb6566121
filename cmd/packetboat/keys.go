package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/ftp"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

// config is everything that packetboat.toml, the environment and the flags can say.
type config struct {
	Domain   string
	Hostname string
	Listen   []string
	BasePort int
	LogLevel string

	Ports map[string]int // by listener name; 0 means off

	LimitTotal, LimitPerAddress, LimitPerAccount int
	LimitSMTP, LimitIMAP, LimitFTP               int
	LimitEntries                                 int           // of an account; 0: no limit
	MaxDuration                                  time.Duration // of a session; 0: none

	Throttle  bool
	Plaintext auth.Plaintext

	Mechanisms      []string // SASL mechanisms that may be used; nil: all
	OIDC            auth.OIDC
	PinnedOnly      bool // EXTERNAL takes registered certificates alone
	TLSClientCA     string
	TLSCert, TLSKey string

	MaxMessage int64

	Fronted   []string          // listeners behind front ends
	FrontEnds session.FrontEnds // of all of them

	SMTPMaxRecipients  int
	SMTPBareNewline    string
	SMTPIdle           time.Duration
	IMAPIdle           time.Duration
	IMAPKeepalive      time.Duration
	IMAPMessageLimit   int
	IMAPSaveLimit      int
	IMAPSearch         time.Duration
	IMAPWithhold       []imap.Withhold
	FTPIdle            time.Duration
	FTPPassive         portRange
	FTPPublicAddress   string
	FTPPublicAddresses []ftp.PublicAddress // smaller networks first
	FTPActive          bool
	FTPReuseRules      []ftp.ReuseRule
	FTPDataTLS         string
	FTPTLSReuse        ftp.Reuse
	FTPStall           time.Duration
	FTPPartialTTL      time.Duration
	FTPDurable         bool
	FTPASCII           string
	FTPRates           ftp.Rates
	FTPRestoreFolder   bool
	FTPAnonymous       string
	FTPGuests          int // sessions of the anonymous at a time

	LoginTimeout time.Duration
	DrainTimeout time.Duration

	SearchIndex bool

	HistoryKeep time.Duration
	HistoryMax  int

	dnsConfig
	receiveConfig
	submissionConfig
	sieveConfig
	outboundConfig
	trustConfig
	queueConfig
	consoleConfig
}

// portRange is first..last; the zero value means automatic.
type portRange struct{ First, Last int }

// key is one line of packetboat.toml: the table that the file's template, its reading,
// the environment, --set and `config print` are all made of.
type key struct {
	name string // section.key, or key alone
	def  string // as written in the file
	doc  string
	set  func(c *config, v string) error
}

// keys is the whole table, in the order in which the template shows it: a section begins where its first key is.
var keys = bySection(baseKeys, dnsKeys, receiveKeys, submissionKeys, sieveKeys, outboundKeys, trustKeys, queueKeys, consoleKeys)

// bySection puts the keys of a section together.
func bySection(parts ...[]key) []key {
	all := slices.Concat(parts...)
	first := map[string]int{}
	for i, k := range all {
		if _, ok := first[k.section()]; !ok {
			first[k.section()] = i
		}
	}
	slices.SortStableFunc(all, func(a, b key) int { return cmp.Compare(first[a.section()], first[b.section()]) })
	return all
}

// section is what stands before the dot, "" for a key that has none.
func (k key) section() string {
	s, _, ok := strings.Cut(k.name, ".")
	if !ok {
		return ""
	}
	return s
}

var baseKeys = []key{
	{"domain", "packetboat.test", "The mail domain of the first start. Further ones: packetboat domain add.", func(c *config, v string) error {
		return domainInto(&c.Domain, v)
	}},
	{"hostname", "", "The name of this machine in greetings and Received fields. Empty: mail.DOMAIN.", func(c *config, v string) error {
		if v == "" {
			c.Hostname = ""
			return nil
		}
		return domainInto(&c.Hostname, v)
	}},
	{"listen", "127.0.0.1, ::1", "Addresses to listen on, comma-separated; \"all\" for every address.", func(c *config, v string) error {
		c.Listen = nil
		for _, a := range strings.Split(v, ",") {
			a = strings.Trim(strings.TrimSpace(a), "[]")
			if a != "all" {
				if _, err := netip.ParseAddr(a); err != nil {
					return fmt.Errorf("%q is no IP address; give addresses such as 127.0.0.1, or all", a)
				}
			}
			c.Listen = append(c.Listen, a)
		}
		return nil
	}},
	{"base_port", "10000", "Added to each standard port: 10000 gives 10025, 10143, 10021, ... and needs no privileges; 0 gives the standard ports.", func(c *config, v string) error {
		return intInto(&c.BasePort, v, 0, 60000)
	}},

	{"ports.mx", "auto", "Mail from other servers (SMTP, 25). For each port: auto (base_port + standard port), a number, or off.", port("mx")},
	{"ports.submission", "auto", "Mail from users, STARTTLS (587).", port("submission")},
	{"ports.submissions", "auto", "Mail from users, implicit TLS (465).", port("submissions")},
	{"ports.imap", "auto", "Mailboxes, STARTTLS (143).", port("imap")},
	{"ports.imaps", "auto", "Mailboxes, implicit TLS (993).", port("imaps")},
	{"ports.ftp", "auto", "Files, AUTH TLS (21).", port("ftp")},
	{"ports.ftps", "auto", "Files, implicit TLS (990).", port("ftps")},

	{"auth.throttle", "on", "Slow down and refuse those who guess passwords: on or off. Off is for tests only.", func(c *config, v string) error {
		return boolInto(&c.Throttle, v)
	}},
	{"auth.plaintext", "loopback", "Passwords without TLS: never, loopback (only from this machine) or always.", func(c *config, v string) error {
		switch auth.Plaintext(v) {
		case auth.PlaintextNever, auth.PlaintextLoopback, auth.PlaintextAlways:
			c.Plaintext = auth.Plaintext(v)
			return nil
		}
		return fmt.Errorf("want never, loopback or always")
	}},
	{"auth.mechanisms", "all", "SASL mechanisms that clients may use, comma-separated, of " + strings.Join(auth.AllMechanisms, ", ") + "; or all. Without PLAIN and LOGIN, IMAP and SMTP take no passwords (FTP does).", func(c *config, v string) error {
		return mechanismsInto(&c.Mechanisms, v)
	}},
	{"auth.external", "any", "Certificates of clients that log in by EXTERNAL: any (registered ones, and those that name an address of the account) or registered (packetboat account cert add).", func(c *config, v string) error {
		c.PinnedOnly = v == "registered"
		if !c.PinnedOnly && v != "any" {
			return fmt.Errorf("want any or registered")
		}
		return nil
	}},
	{"auth.oidc.issuer", "", "OpenID Connect issuer whose tokens (signed JWTs) OAUTHBEARER and XOAUTH2 take beside packetboat's own; its URL. Empty: none.", text(func(c *config) *string { return &c.OIDC.Issuer })},
	{"auth.oidc.audience", "", "The audience (aud) that a token must have: this server's or the clients' ids there, comma-separated.", func(c *config, v string) error {
		c.OIDC.Audiences = nil
		for a := range strings.SplitSeq(v, ",") {
			if a = strings.TrimSpace(a); a != "" {
				c.OIDC.Audiences = append(c.OIDC.Audiences, a)
			}
		}
		return nil
	}},
	{"auth.oidc.claim", "email", "The claim of a token that names the account, by one of its addresses.", text(func(c *config) *string { return &c.OIDC.Claim })},
	{"auth.oidc.scope", "", "A scope that a token must have. Empty: none.", text(func(c *config) *string { return &c.OIDC.Scope })},

	{"limits.total", "20000", "Sessions at a time, all protocols together; 0 means no limit (for each limit).", limit(func(c *config) *int { return &c.LimitTotal })},
	{"limits.per_address", "200", "Sessions at a time from one address (IPv6: one /64).", limit(func(c *config) *int { return &c.LimitPerAddress })},
	{"limits.per_account", "100", "Sessions at a time of one account.", limit(func(c *config) *int { return &c.LimitPerAccount })},
	{"limits.smtp", "0", "Sessions at a time over SMTP.", limit(func(c *config) *int { return &c.LimitSMTP })},
	{"limits.imap", "0", "Sessions at a time over IMAP.", limit(func(c *config) *int { return &c.LimitIMAP })},
	{"limits.ftp", "0", "Sessions at a time over FTP.", limit(func(c *config) *int { return &c.LimitFTP })},
	{"limits.max_duration", "0", "How long a session may last at all, whatever it does; 0 means no limit.", func(c *config, v string) error {
		if v == "0" {
			c.MaxDuration = 0
			return nil
		}
		return duration(func(c *config) *time.Duration { return &c.MaxDuration })(c, v)
	}},
	{"limits.message_size", "50MiB", "Size of one message, by SMTP, IMAP APPEND or FTP.", func(c *config, v string) error {
		n, err := parseSize(v)
		if err == nil && (n < 1<<16 || n >= 1<<32) {
			err = fmt.Errorf("want 64KiB to 4095MiB")
		}
		c.MaxMessage = n
		return err
	}},
	{"limits.entries", "1000000", "Files, folders, mailboxes and cut uploads of one account together; empty ones count too.", limit(func(c *config) *int { return &c.LimitEntries })},
	{"limits.login_timeout", "1m", "How long a client may take to log in.", duration(func(c *config) *time.Duration { return &c.LoginTimeout })},

	{"tls.cert", "", "Certificate chain (PEM) to use instead of the local CA's; read anew when it changes.", text(func(c *config) *string { return &c.TLSCert })},
	{"tls.key", "", "Its private key (PEM).", text(func(c *config) *string { return &c.TLSKey })},
	{"tls.client_ca", "", "CAs (PEM) of clients' certificates: submission, IMAP and FTP then ask for one; EXTERNAL is offered to who shows one, and USER is enough in FTP. Empty: not asked for. Read anew when it changes.", text(func(c *config) *string { return &c.TLSClientCA })},

	{"proxy.listeners", "", "Listeners behind front ends (HAProxy and the like) that begin each connection with a PROXY header, version 1 or 2; comma-separated: mx, submission, submissions, imap, imaps, ftp, ftps, http, https, and passive for FTP's passive ports. Connections without one are then refused there.", func(c *config, v string) error {
		return frontedInto(c, v)
	}},
	{"proxy.trusted", "127.0.0.1, ::1", "Addresses or networks of those front ends, comma-separated. Whoever is in them can pose as anybody.", func(c *config, v string) error {
		return frontEndsInto(c, v)
	}},

	{"smtp.max_recipients", "1000", "Recipients of one message.", func(c *config, v string) error { return intInto(&c.SMTPMaxRecipients, v, 100, 100000) }},
	{"smtp.bare_newline", "auto", "Bare CR or LF in a message: reject, normalize, or auto (reject on the MX port, normalize from users).", choice(func(c *config) *string { return &c.SMTPBareNewline }, "auto", "reject", "normalize")},
	{"smtp.idle_timeout", "5m", "Silence after which an SMTP session ends (RFC 5321 section 4.5.3.2: at least 5 minutes).", duration(func(c *config) *time.Duration { return &c.SMTPIdle })},
	{"imap.idle_timeout", "30m", "Silence after which an IMAP session ends (RFC 9051 section 5.4: at least 30 minutes).", duration(func(c *config) *time.Duration { return &c.IMAPIdle })},
	{"imap.keepalive", "2m", "How often a client in IDLE is told that the server is still there.", duration(func(c *config) *time.Duration { return &c.IMAPKeepalive })},
	{"imap.search_timeout", "1m", "How long an IMAP search may take before it is given up.", duration(func(c *config) *time.Duration { return &c.IMAPSearch })},
	{"imap.withhold", withheldByDefault, "What IMAP does not offer to whom, comma-separated rules such as: listener imap account joe@* client Mail*: IDLE NOTIFY. " +
		"A client is known by its name, vendor or os in ID; * stands for anything; withholding LITERAL+ leaves LITERAL-.", func(c *config, v string) error {
		c.IMAPWithhold = nil
		for _, rule := range strings.Split(v, ",") {
			if strings.TrimSpace(rule) == "" {
				continue
			}
			w, err := imap.ParseWithhold(rule)
			if err != nil {
				return err
			}
			c.IMAPWithhold = append(c.IMAPWithhold, w)
		}
		if len(c.IMAPWithhold) > imap.MaxWithhold {
			return fmt.Errorf("want at most %d rules", imap.MaxWithhold)
		}
		return nil
	}},
	{"imap.message_limit", "1000000", "Messages that one command looks at or changes (MESSAGELIMIT); the client is told where it stopped. 0 means any number.", func(c *config, v string) error {
		return messagesInto(&c.IMAPMessageLimit, v)
	}},
	{"imap.save_limit", "0", "Messages that one COPY or APPEND saves, when that is to be less (SAVELIMIT). 0 means any number.", func(c *config, v string) error {
		return messagesInto(&c.IMAPSaveLimit, v)
	}},
	{"ftp.idle_timeout", "15m", "Silence on both connections after which an FTP session ends.", duration(func(c *config) *time.Duration { return &c.FTPIdle })},
	{"ftp.passive_ports", "auto", "Ports for passive data connections, FIRST-LAST; auto is base_port+1100 to +1199 (30000-30099 when base_port is 0).", func(c *config, v string) error {
		return c.FTPPassive.parse(v)
	}},
	{"ftp.public_address", "", "IPv4 address that PASV tells clients; empty: the one they connected to. Set it behind NAT or in a container.", func(c *config, v string) error {
		if v != "" {
			if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
				return fmt.Errorf("%q is no IPv4 address", v)
			}
		}
		c.FTPPublicAddress = v
		return nil
	}},
	{"ftp.public_addresses", "", "The same by the client's network, the longest match first: 10.0.0.0/8=10.0.0.5, 192.168.0.0/16=local, *=203.0.113.7, or as a list of {for = \"10.0.0.0/8\", address = \"10.0.0.5\"}. local is the address that the client connected to, * everybody else but clients on this machine.", func(c *config, v string) error {
		return publicAddressesInto(c, v)
	}},
	{"ftp.active", "on", "Active mode (PORT, EPRT), to the client's own address only: on or off.", func(c *config, v string) error { return boolInto(&c.FTPActive, v) }},
	{"ftp.data_tls_reuse", "prefer", "Must a data connection resume the TLS session of its control connection: require, prefer or off, with exceptions, the first that fits: " +
		"prefer, listener ftps: require, account robot@*: prefer. Python's ftplib and some devices cannot.", func(c *config, v string) (err error) {
		c.FTPTLSReuse, c.FTPReuseRules, err = ftp.ParseReuse(v)
		return err
	}},
	{"ftp.data_tls", "allowed", "TLS of data connections: allowed (the client says so with PROT P) or required (nothing is transferred without).", choice(func(c *config) *string { return &c.FTPDataTLS }, "allowed", "required")},
	{"ftp.stall_timeout", "2m", "A transfer in which nothing moves for this long is cut.", duration(func(c *config) *time.Duration { return &c.FTPStall })},
	{"ftp.session_rate_up", "0", "Bytes a second, such as 500KiB, that one session may upload; 0 means any number (for each rate). Listings do not count.", perSecond(func(r *ftp.Rates) *int64 { return &r.SessionUp })},
	{"ftp.session_rate_down", "0", "Bytes a second that one session may download.", perSecond(func(r *ftp.Rates) *int64 { return &r.SessionDown })},
	{"ftp.account_rate_up", "0", "Bytes a second that all sessions of an account together may upload; they get equal shares.", perSecond(func(r *ftp.Rates) *int64 { return &r.AccountUp })},
	{"ftp.account_rate_down", "0", "Bytes a second that all sessions of an account together (all anonymous ones too) may download.", perSecond(func(r *ftp.Rates) *int64 { return &r.AccountDown })},
	{"ftp.durable", "on", "Answer an upload by 226 only when it is on disk: on or off. Off is as other servers do it, faster and not safe: what was uploaded in the last half minute may be gone or damaged after the machine (not the program) failed. Mail is always durable.", func(c *config, v string) error {
		return boolInto(&c.FTPDurable, v)
	}},
	{"ftp.ascii", "exact", "What TYPE A does to files: exact leaves their bytes as they are, convert makes CR LF of line ends on the way out and LF on the way in. With convert, SIZE, REST and RANG are refused in TYPE A.", choice(func(c *config) *string { return &c.FTPASCII }, "exact", "convert")},
	{"ftp.anonymous", "", "The account whose files everybody may list and download who logs in as anonymous or ftp (never its mail; its rights and jail hold too). Empty: nobody may.", text(func(c *config) *string { return &c.FTPAnonymous })},
	{"ftp.anonymous_sessions", "20", "Anonymous sessions at a time; 0 means limits.per_account.", limit(func(c *config) *int { return &c.FTPGuests })},
	{"ftp.partial_ttl", "48h", "How long a cut upload can be resumed.", duration(func(c *config) *time.Duration { return &c.FTPPartialTTL })},
	{"ftp.restore_cwd", "off", "A client (known by account, address and name) begins in the folder where its last session ended: on or off. The login's reply says so. Programs that take it for granted to begin at home and name files from there (curl, wget) then look in that folder. SITE RESUME tells what is remembered either way.", func(c *config, v string) error {
		return boolInto(&c.FTPRestoreFolder, v)
	}},

	{"search.index", "on", "Keep an index of the texts of mail, so that searches need not read every message: on or off. It takes about as much room as the texts themselves, attachments not counted; packetboat mailbox stats tells.", func(c *config, v string) error {
		return boolInto(&c.SearchIndex, v)
	}},

	{"server.drain_timeout", "20s", "On SIGTERM: how long sessions may take to finish what they are doing.", duration(func(c *config) *time.Duration { return &c.DrainTimeout })},
	{"server.log_level", "info", "debug, info, warn or error; to standard error.", choice(func(c *config) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
	{"history.keep", "720h", "How long finished sessions stay in the history.", duration(func(c *config) *time.Duration { return &c.HistoryKeep })},
	{"history.max", "100000", "How many finished sessions the history holds at most.", func(c *config, v string) error { return intInto(&c.HistoryMax, v, 1, 10_000_000) }},
}

// withheldByDefault is for clients that are known to stumble: iOS's mail over COMPRESS, and Outlook, which enables UIDONLY and then
// uses sequence numbers; and for imapsync, which enables nothing and moves old mail in, whatever is in its headers (RFC 6855 section 4).
const withheldByDefault = "client iOS: COMPRESS=DEFLATE, client iPhone Mail: COMPRESS=DEFLATE, client iPad Mail: COMPRESS=DEFLATE, client *Outlook*: UIDONLY, client imapsync: UTF8=ACCEPT"

func keyNamed(name string) (key, bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

// domainInto takes what storage takes for a domain.
func domainInto(s *string, v string) error {
	_, d, err := storage.ParseAddress("postmaster@" + v)
	if err != nil {
		return fmt.Errorf("want a domain name such as example.org")
	}
	*s = d
	return nil
}

// mechanismsInto reads a list of SASL mechanisms.
func mechanismsInto(list *[]string, v string) error {
	*list = nil
	if v == "all" {
		return nil
	}
	for m := range strings.SplitSeq(v, ",") {
		m = strings.ToUpper(strings.TrimSpace(m))
		if !slices.Contains(auth.AllMechanisms, m) {
			return fmt.Errorf("%q is none of %s", m, strings.Join(auth.AllMechanisms, ", "))
		}
		*list = append(*list, m)
	}
	return nil
}

func text(field func(*config) *string) func(*config, string) error {
	return func(c *config, v string) error {
		*field(c) = v
		return nil
	}
}

func choice(field func(*config) *string, of ...string) func(*config, string) error {
	return func(c *config, v string) error {
		for _, o := range of {
			if v == o {
				*field(c) = v
				return nil
			}
		}
		return fmt.Errorf("want one of %s", strings.Join(of, ", "))
	}
}

func duration(field func(*config) *time.Duration) func(*config, string) error {
	return func(c *config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			return fmt.Errorf("want a time such as 90s, 5m or 48h")
		}
		*field(c) = d
		return nil
	}
}

func limit(field func(*config) *int) func(*config, string) error {
	return func(c *config, v string) error { return intInto(field(c), v, 0, 10_000_000) }
}

func port(name string) func(*config, string) error {
	return func(c *config, v string) error {
		if c.Ports == nil {
			c.Ports = map[string]int{}
		}
		switch v {
		case "auto":
			delete(c.Ports, name)
		case "off":
			c.Ports[name] = 0
		default:
			n := 0
			if err := intInto(&n, v, 1, 65535); err != nil {
				return fmt.Errorf("want auto, off or a port number")
			}
			c.Ports[name] = n
		}
		return nil
	}
}

func intInto(n *int, v string, lo, hi int) error {
	i, err := strconv.Atoi(v)
	if err != nil || i < lo || i > hi {
		return fmt.Errorf("want a number from %d to %d", lo, hi)
	}
	*n = i
	return nil
}

func boolInto(b *bool, v string) error {
	switch v {
	case "on", "true":
		*b = true
	case "off", "false":
		*b = false
	default:
		return fmt.Errorf("want on or off")
	}
	return nil
}

func (r *portRange) parse(v string) error {
	if v == "auto" {
		*r = portRange{}
		return nil
	}
	first, last, ok := strings.Cut(v, "-")
	var p portRange
	if !ok || intInto(&p.First, first, 1024, 65535) != nil || intInto(&p.Last, last, p.First, 65535) != nil {
		return fmt.Errorf("want FIRST-LAST, e.g. 30000-30099")
	}
	*r = p
	return nil
}

// perSecond reads a rate.
func perSecond(field func(*ftp.Rates) *int64) func(*config, string) error {
	return func(c *config, v string) error {
		n, err := parseSize(v)
		if err == nil && n != 0 && n < 1<<10 {
			err = fmt.Errorf("want 0 or at least 1KiB")
		}
		*field(&c.FTPRates) = n
		return err
	}
}

// parseSize reads 5GiB, 100MB, 1048576.
func parseSize(v string) (int64, error) {
	units := []struct {
		suffix string
		factor int64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
	}
	v = strings.TrimSpace(v)
	for _, u := range units {
		digits, ok := strings.CutSuffix(v, u.suffix)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || f < 0 || f*float64(u.factor) > 1<<60 {
			continue
		}
		return int64(f * float64(u.factor)), nil
	}
	return 0, fmt.Errorf("%q is no size; give e.g. 500MiB or 5GiB", v)
}

// messagesInto takes a number of messages as a limit. RFC 9738 section 3: it should not be below 1,000.
func messagesInto(n *int, v string) error {
	if v == "0" {
		*n = -1
		return nil
	}
	return intInto(n, v, 1000, 1<<32-1)
}
