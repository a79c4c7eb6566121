package smtp

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage"
)

// sender is what MAIL said.
type sender struct {
	path       string    // "" is the null sender
	size       int64     // SIZE (RFC 1870), 0 when not told
	body       string    // BODY (RFC 6152, RFC 3030): "7BIT", "8BITMIME", "BINARYMIME", or "" when not told
	utf8       bool      // SMTPUTF8 (RFC 6531)
	ret, envid string    // RET ("FULL", "HDRS") and ENVID, which is decoded (RFC 3461)
	requireTLS bool      // REQUIRETLS (RFC 8689)
	byMode     string    // BY (RFC 2852): "R" or "N", with a "T" behind it for a trace; "" when not told
	by         time.Time // until when it is to be delivered, when byMode says so
	priority   int       // MT-PRIORITY (RFC 6710), -9 to 9
	hold       time.Time // HOLDFOR or HOLDUNTIL (RFC 4865): nothing goes out before; zero when not told

	sending *storage.Sending // what the account had sent then; nil where nobody counts
}

// envelope is what RCPT said beside the path.
type envelope struct {
	path             string
	notify, original string    // NOTIFY, and ORCPT as "type;address", which is decoded (RFC 3461, RFC 6533)
	since            time.Time // RRVS (RFC 7293): whose mailbox it was then is meant; zero when not told
	lenient          bool      // and what becomes of it where nobody can tell: ";C", it goes on
}

// The bounds that EHLO tells of.
const (
	maxHold    = 30 * 24 * time.Hour // FUTURERELEASE
	minBy      = time.Minute         // DELIVERBY
	maxEnvid   = 100                 // RFC 3461 section 4.4
	maxORCPT   = 500                 // RFC 3461 section 4.2
	maxSizeLen = 20                  // RFC 1870 section 3
)

// param is a parameter of MAIL or RCPT. offered tells whether this client may use it: what is not announced is not known. read takes
// its value; given is false where there was no "=".
type param[T any] struct {
	name    string
	offered func(c *client) bool
	read    func(c *client, to *T, value string, given bool) *reply
}

var mailParams = []param[sender]{
	{"SIZE", anyone, readSize},
	{"BODY", anyone, readBody},
	{"SMTPUTF8", anyone, readUTF8},
	{"AUTH", anyone, readAuth},
	{"RET", anyone, readRet},
	{"ENVID", anyone, readEnvid},
	{"REQUIRETLS", (*client).mayRequireTLS, readRequireTLS},
	{"BY", (*client).sendsOut, readBy},
	{"MT-PRIORITY", (*client).sendsOut, readPriority},
	{"HOLDFOR", (*client).submits, readHoldFor},
	{"HOLDUNTIL", (*client).submits, readHoldUntil},
}

var rcptParams = []param[envelope]{
	{"NOTIFY", anyone, readNotify},
	{"ORCPT", anyone, readOriginal},
	{"RRVS", (*client).knowsOwners, readSince},
}

func anyone(*client) bool { return true }

// submits: mail that accounts send, which is kept until it may go (RFC 4865): also mail for accounts of ours.
func (c *client) submits() bool { return c.srv.o.Mode == Submission }

// sendsOut: how soon mail leaves (RFC 2852, RFC 6710) means something where any of it leaves; what is for accounts of ours is delivered at once.
func (c *client) sendsOut() bool { return c.submits() && !c.srv.o.Stays }

// knowsOwners: mail for accounts of ours, whose age we know (RFC 7293).
func (c *client) knowsOwners() bool { return c.srv.o.Mode != Submission }

// mayRequireTLS: RFC 8689 section 3: it is for sessions that are encrypted. LMTP is the last hop.
func (c *client) mayRequireTLS() bool {
	_, on := c.ses.TLS()
	return on && c.srv.o.Mode != LMTP
}

// readParams reads what stands behind a path.
func readParams[T any](c *client, to *T, text string, known []param[T]) *reply {
	seen := uint(0)
	for f := range strings.FieldsSeq(text) {
		name, value, given := strings.Cut(f, "=")
		i := 0
		for i < len(known) && !strings.EqualFold(known[i].name, name) {
			i++
		}
		switch {
		case i < len(known) && known[i].name == "REQUIRETLS" && !known[i].offered(c):
			return say(530, "5.7.10", "REQUIRETLS needs TLS")
		case i == len(known) || !known[i].offered(c):
			// RFC 5321 section 4.1.1.11: 555 is for parameters that are not implemented.
			return say(555, "5.5.4", "parameter %s is not known", plainly(name, 40))
		case seen&(1<<i) != 0:
			return say(501, "5.5.4", "parameter %s comes twice", known[i].name)
		}
		seen |= 1 << i
		if refusal := known[i].read(c, to, value, given); refusal != nil {
			return refusal
		}
	}
	return nil
}

// readMail reads the parameters of MAIL and sees that they agree.
func readMail(c *client, m *sender, text string) *reply {
	if refusal := readParams(c, m, text, mailParams); refusal != nil {
		return refusal
	}
	// RFC 4865 section 4.2: what is to be delivered before it may go can never be. The clock went on between the two.
	if strings.HasPrefix(m.byMode, "R") && !m.hold.IsZero() && m.by.Before(m.hold.Add(time.Second)) {
		return say(501, "5.5.4", "BY is over before the message may be released")
	}
	return nil
}

func readSize(c *client, m *sender, value string, _ bool) *reply {
	if !digits(value) || len(value) > maxSizeLen {
		return say(501, "5.5.4", "SIZE is no number")
	}
	for _, d := range []byte(value) {
		if m.size = m.size*10 + int64(d-'0'); m.size > c.srv.o.MaxMessage {
			return errTooLarge
		}
	}
	return nil
}

func readBody(c *client, m *sender, value string, _ bool) *reply {
	switch m.body = strings.ToUpper(value); m.body {
	case "7BIT", "8BITMIME", "BINARYMIME":
		return nil
	}
	return say(501, "5.5.4", "BODY is 7BIT, 8BITMIME or BINARYMIME")
}

func readUTF8(_ *client, m *sender, _ string, given bool) *reply {
	if given {
		return say(501, "5.5.4", "parameter SMTPUTF8 has no value")
	}
	m.utf8 = true
	return nil
}

// readAuth: RFC 4954 section 5: it may be ignored, and nobody is trusted here.
func readAuth(_ *client, _ *sender, value string, _ bool) *reply {
	if !validXtext(value) {
		return say(501, "5.5.4", "AUTH needs a mailbox as xtext or <>")
	}
	return nil
}

func readRet(_ *client, m *sender, value string, _ bool) *reply {
	switch m.ret = strings.ToUpper(value); m.ret {
	case "FULL", "HDRS":
		return nil
	}
	return say(501, "5.5.4", "RET is FULL or HDRS")
}

func readEnvid(_ *client, m *sender, value string, _ bool) *reply {
	if len(value) > maxEnvid || !validXtext(value) || !printable(decodeXtext(value)) {
		return say(501, "5.5.4", "ENVID needs up to %d characters of xtext", maxEnvid)
	}
	m.envid = decodeXtext(value)
	return nil
}

func readRequireTLS(_ *client, m *sender, _ string, given bool) *reply {
	if given {
		return say(501, "5.5.4", "parameter REQUIRETLS has no value")
	}
	m.requireTLS = true
	return nil
}

// readBy is BY=seconds;R or N, with a T for a trace (RFC 2852 section 4).
func readBy(c *client, m *sender, value string, _ bool) *reply {
	number, mode, ok := strings.Cut(value, ";")
	sign, number := cutSign(number)
	mode = strings.ToUpper(mode)
	switch mode {
	case "R", "N", "RT", "NT":
	default:
		ok = false
	}
	if !ok || !digits(number) || len(number) > 9 {
		return say(501, "5.5.4", "syntax: BY=seconds;R, N, RT or NT")
	}
	seconds, _ := strconv.Atoi(number)
	by := time.Duration(sign*seconds) * time.Second
	if mode[0] == 'R' && by <= 0 {
		return say(501, "5.5.4", "BY with mode R needs a time to come")
	}
	if mode[0] == 'R' && by < minBy {
		return say(501, "5.5.4", "BY with mode R needs %d seconds at least", int(minBy.Seconds()))
	}
	m.byMode, m.by = mode, c.srv.o.Now().Add(by)
	return nil
}

func cutSign(s string) (sign int, rest string) {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return -1, rest
	}
	return 1, strings.TrimPrefix(s, "+")
}

func readPriority(_ *client, m *sender, value string, _ bool) *reply {
	sign, number := 1, value
	if rest, ok := strings.CutPrefix(value, "-"); ok {
		sign, number = -1, rest
	}
	if len(number) != 1 || !digits(number) {
		return say(501, "5.5.4", "MT-PRIORITY is a number from -9 to 9")
	}
	m.priority = sign * int(number[0]-'0')
	return nil
}

func readHoldFor(c *client, m *sender, value string, _ bool) *reply {
	if !digits(value) || len(value) > 9 || value[0] == '0' {
		return say(501, "5.5.4", "HOLDFOR needs seconds")
	}
	seconds, _ := strconv.Atoi(value)
	return m.holdUntil(c, c.srv.o.Now().Add(time.Duration(seconds)*time.Second))
}

func readHoldUntil(c *client, m *sender, value string, _ bool) *reply {
	at, err := time.Parse(time.RFC3339, strings.ToUpper(value))
	if err != nil {
		return say(501, "5.5.4", "HOLDUNTIL needs a date and time of RFC 3339")
	}
	return m.holdUntil(c, at)
}

// holdUntil: RFC 4865 section 4: one of the two, and within what EHLO told.
func (m *sender) holdUntil(c *client, at time.Time) *reply {
	now := c.srv.o.Now()
	switch {
	case !m.hold.IsZero():
		return say(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other")
	case at.After(now.Add(maxHold + time.Minute)): // a minute, since what EHLO told is older than now
		return say(554, "5.5.4", "messages are held for %d seconds at most", int(maxHold.Seconds()))
	case !at.After(now):
		return nil // it may go already
	}
	m.hold = at
	return nil
}

// readNotify: RFC 3461 section 4.1.
func readNotify(_ *client, r *envelope, value string, _ bool) *reply {
	seen := map[string]bool{}
	words := strings.Split(strings.ToUpper(value), ",")
	for _, w := range words {
		switch w {
		case "SUCCESS", "FAILURE", "DELAY", "NEVER":
		default:
			return say(501, "5.5.4", "NOTIFY is NEVER, or of SUCCESS, FAILURE and DELAY")
		}
		if seen[w] || w == "NEVER" && len(words) > 1 {
			return say(501, "5.5.4", "NOTIFY is NEVER alone, or each of the others once")
		}
		seen[w] = true
	}
	r.notify = strings.Join(words, ",")
	return nil
}

// readOriginal: RFC 3461 section 4.2; RFC 6533 section 3 for the type utf-8.
func readOriginal(_ *client, r *envelope, value string, _ bool) *reply {
	kind, address, ok := strings.Cut(value, ";")
	kind = strings.ToLower(kind)
	text := ""
	switch {
	case !ok || len(value) > maxORCPT || !validName(kind):
		ok = false
	case kind == "utf-8":
		text, ok = decodeUTF8Address(address)
	default:
		ok = validXtext(address)
		text = decodeXtext(address)
		ok = ok && printable(text)
	}
	if !ok {
		return say(501, "5.5.4", "ORCPT needs a type and an address as xtext, of %d characters at most", maxORCPT)
	}
	r.original = kind + ";" + text
	return nil
}

// readSince is RRVS=date-time[;C or R] (RFC 7293 section 5.1).
func readSince(_ *client, r *envelope, value string, _ bool) *reply {
	stamp, action, _ := strings.Cut(strings.ToUpper(value), ";")
	at, err := time.Parse(time.RFC3339, stamp)
	if err != nil || action != "" && action != "C" && action != "R" || strings.HasSuffix(value, ";") {
		return say(501, "5.5.4", "RRVS needs a date and time of RFC 3339, and perhaps ;C or ;R")
	}
	r.since, r.lenient = at, action == "C"
	return nil
}

// validXtext checks xtext that is not empty: RFC 3461 section 4.
func validXtext(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) || strings.Trim(s[i+1:i+3], "0123456789ABCDEF") != "" {
				return false
			}
			i += 2
		case c <= ' ' || c > '~' || c == '=':
			return false
		}
	}
	return s != ""
}

// decodeXtext decodes xtext; "" for what is none.
func decodeXtext(s string) string {
	if !validXtext(s) {
		return ""
	}
	if !strings.Contains(s, "+") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '+' {
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			b = append(b, byte(n))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// decodeUTF8Address reads utf-8-addr-xtext, utf-8-addr-unitext, or the two mixed (RFC 6533 section 3): a character may be \x{HEX}.
func decodeUTF8Address(s string) (string, bool) {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case strings.HasPrefix(s, `\x{`):
			end := strings.IndexByte(s, '}')
			if end < 5 || end > 9 || strings.Trim(s[3:end], "0123456789ABCDEF") != "" {
				return "", false
			}
			v, _ := strconv.ParseUint(s[3:end], 16, 32)
			if r, n = rune(v), end+1; !utf8.ValidRune(r) || unicode.IsControl(r) {
				return "", false
			}
		case r == utf8.RuneError && n == 1, r <= ' ', r == '+', r == '=', r == '\\', unicode.IsControl(r):
			return "", false
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String(), b.Len() > 0
}

// validName checks an address type: an atom.
func validName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>[]:;@\,".+=`, r)
	})
}

// printable tells whether s is of ASCII's visible characters and blanks.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// offers is what EHLO and LHLO tell, in the order of the lines. A word is there when the whole of it works for this client.
func (c *client) offers() []string {
	o := c.srv.o
	words := []string{"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "BINARYMIME"}
	if _, on := c.ses.TLS(); o.TLS != nil && !on {
		words = append(words, "STARTTLS")
	}
	if o.Mode == Submission {
		if all := c.srv.door.Mechanisms(c.ses); len(all) > 0 {
			words = append(words, "AUTH "+strings.Join(all, " "))
		}
	}
	words = append(words, "SMTPUTF8")
	if c.mayRequireTLS() {
		words = append(words, "REQUIRETLS")
	}
	words = append(words, "DSN")
	if c.fronts() {
		words = append(words, "XCLIENT "+attributes)
	}
	if c.knowsOwners() {
		words = append(words, "RRVS")
	}
	if c.submits() {
		words = append(words, fmt.Sprintf("FUTURERELEASE %d %s", int(maxHold.Seconds()), o.Now().Add(maxHold).UTC().Format(time.RFC3339)))
	}
	if c.sendsOut() {
		words = append(words, fmt.Sprintf("DELIVERBY %d", int(minBy.Seconds())), "MT-PRIORITY MIXER")
	}
	return append(words, fmt.Sprintf("SIZE %d", o.MaxMessage), fmt.Sprintf("LIMITS RCPTMAX=%d", o.MaxRecipients))
}
