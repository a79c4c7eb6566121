package outbound

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// exchange hands the message to one server, in as many transactions as it needs, and notes what it said of each
// recipient. The error is a *failure of the whole, or what is wrong with the message.
func (d *delivery) exchange(c *client, t *target) error {
	if d.m.RequireTLS && !(c.secure && c.ext.requireTLS) {
		// RFC 8689 section 4.2.1: the next server has to promise the same, a relay of ours too.
		return &failure{status: "5.7.30", permanent: true, text: "the server does not offer REQUIRETLS", remote: c.remote, stage: atTLS}
	}
	d.announce(c)
	if err := d.prepare(c); err != nil {
		return err
	}
	body := d.mail.body
	if c.ext.size > 0 && body.total() > c.ext.size {
		// RFC 1870 section 6.1: what the server says it does not take is not sent.
		d.all(&failure{status: "5.3.4", permanent: true, text: fmt.Sprintf("the message has %d bytes, and the server takes %d", body.total(), c.ext.size), remote: c.remote, stage: atMail})
		return nil
	}
	p := &parcel{body: body}
	international, err := d.sender(c, p)
	if err != nil {
		return err
	}
	todo := d.addresses(c, international)
	for len(todo) > 0 {
		n := min(len(todo), maxBatch)
		if c.ext.rcptMax > 0 {
			n = min(n, c.ext.rcptMax)
		}
		if c.ext.mailMax > 0 && c.messages >= c.ext.mailMax || c.broken {
			return &failure{status: "4.4.2", text: "the server takes no more on this connection", remote: c.remote, stage: atMail, err: errLocal}
		}
		p.to = p.to[:0]
		for _, k := range todo[:n] {
			k.attempt = attempt{path: k.path, args: k.args}
			p.to = append(p.to, &k.attempt)
		}
		if err := c.send(p); err != nil {
			d.took(c, todo[:n])
			return err
		}
		again := d.took(c, todo[:n])
		if len(again) == n {
			break // none was taken: it would go on like this
		}
		todo = append(again, todo[n:]...)
	}
	return nil
}

// announce tells the session what happens on it.
func (d *delivery) announce(c *client) {
	n := len(d.open())
	what := "to " + d.open()[0].Address
	if n > 1 {
		what = fmt.Sprintf("to %d recipients at %s", n, d.m.Domain)
	}
	c.doing = "sending " + d.m.Queue + " " + what
	c.ses.Park(c.doing) // send makes it busy
	c.ses.OnBehalf(session.Account{ID: d.m.Account, Name: d.account()})
}

// took notes what was taken and returns those that another transaction may take.
func (d *delivery) took(c *client, some []*task) (again []*task) {
	for _, k := range some {
		switch {
		case k.again:
			again = append(again, k)
			k.again = false
		case k.attempt.reply.ok():
			k.state, k.dsn, k.by, k.remote = storage.Delivered, c.ext.dsn, c.ext.deliverBy >= 0, c.remote
			k.reply = k.attempt.reply.String()
			if k.status = k.attempt.reply.Enhanced; k.status == "" {
				k.status = "2.0.0"
			}
		}
	}
	return again
}

// prepare makes the message fit for what the server takes, and signs it in that form.
func (d *delivery) prepare(c *client) error {
	m := d.mail
	seven := m.eightBody && !c.ext.eightBit
	long := m.longBody && !m.foreign
	if seven || long {
		err := m.recode(seven, long)
		if err == errFixed && !seven { // it is sent with its long lines
			err = nil
		}
		if err != nil {
			return err
		}
		if d.form = "7"; !seven {
			d.form = "long"
		}
		m.longBody = false // what is left cannot be helped
	}
	if d.made == d.form && d.made != "" || d.made == "as it is" && d.form == "" {
		return nil
	}
	d.made = d.form
	if d.form == "" {
		d.made = "as it is"
	}
	key := strconv.FormatInt(d.m.Outbox, 10) + " " + d.form
	m.body.header = nil
	if d.m.Seal {
		return d.sign(d.w.signer.Seal, key)
	}
	return d.sign(d.w.signer.Sign, key)
}

// sender makes the command MAIL, as far as it depends on the message. international is why SMTPUTF8 is needed, "" when it is not.
func (d *delivery) sender(c *client, p *parcel) (international string, err error) {
	from, ok := wirePath(d.m.From)
	if !ok {
		d.all(&failure{status: "5.1.7", permanent: true, text: "the sender's address cannot be sent", stage: atMail})
		return "", nil
	}
	switch {
	case !ascii(from):
		international = "the sender's address"
	case d.mail.eightHeader && d.m.UTF8:
		international = "the message's header"
	}
	if international != "" && !c.ext.utf8 {
		// RFC 6531 section 3.2: without SMTPUTF8 at the next server the message comes back. Nothing of it can be rewritten.
		d.all(&failure{status: "5.6.7", permanent: true, text: "the receiving server does not take internationalised mail (SMTPUTF8), which " + international + " needs", remote: c.remote, stage: atMail})
	}
	p.from = from
	var a strings.Builder
	if c.ext.size >= 0 {
		fmt.Fprintf(&a, " SIZE=%d", p.body.total()) // RFC 1870 section 6.1
	}
	if p.body.eight && c.ext.eightBit {
		a.WriteString(" BODY=8BITMIME") // RFC 6152 section 2
	}
	if c.ext.utf8 && (international != "" || d.anyInternational()) {
		a.WriteString(" SMTPUTF8")
	}
	if c.ext.dsn { // RFC 3461 sections 4.3 and 4.4
		if d.m.Return != "" {
			a.WriteString(" RET=" + d.m.Return)
		}
		if d.m.EnvelopeID != "" {
			a.WriteString(" ENVID=" + xtext(d.m.EnvelopeID))
		}
	}
	if d.m.RequireTLS && c.ext.requireTLS {
		a.WriteString(" REQUIRETLS") // RFC 8689 section 2
	}
	if c.ext.priority && d.m.Priority != 0 {
		fmt.Fprintf(&a, " MT-PRIORITY=%d", d.m.Priority) // RFC 6710 section 4
	}
	if err := d.deliverBy(c, &a); err != nil {
		return "", err
	}
	p.args = a.String()
	return international, nil
}

// deliverBy passes on how much time is left (RFC 2852 section 4.1.3).
func (d *delivery) deliverBy(c *client, a *strings.Builder) error {
	if d.m.ByMode == "" {
		return nil
	}
	left := int(time.Until(d.m.By) / time.Second)
	must := strings.HasPrefix(d.m.ByMode, "R")
	switch {
	case c.ext.deliverBy < 0:
		if must {
			return &failure{status: "5.4.7", permanent: true, text: "the server does not know DELIVERBY, and the message must be delivered in time or returned", remote: c.remote, stage: atHello}
		}
	case must && (left < c.ext.deliverBy || left < 1):
		return &failure{status: "5.4.7", permanent: true, text: "the time that is left is less than the server promises to need", remote: c.remote, stage: atHello}
	default:
		fmt.Fprintf(a, " BY=%d;%s", left, d.m.ByMode)
	}
	return nil
}

// anyInternational tells whether a recipient's address needs SMTPUTF8.
func (d *delivery) anyInternational() bool {
	for _, k := range d.open() {
		if path, ok := wirePath(k.Address); ok && !ascii(path) {
			return true
		}
	}
	return false
}

// addresses makes the commands RCPT, and fails the recipients to which there is no way here.
func (d *delivery) addresses(c *client, international string) (todo []*task) {
	for _, k := range d.open() {
		path, ok := wirePath(k.Address)
		switch {
		case !ok:
			k.fail = &failure{status: "5.1.3", permanent: true, text: "the address cannot be sent"}
			continue
		case !ascii(path) && !c.ext.utf8:
			k.fail = &failure{status: "5.6.7", permanent: true, text: "the receiving server does not take internationalised addresses (SMTPUTF8)", remote: c.remote, stage: atRcpt}
			continue
		}
		k.path, k.args = path, ""
		if c.ext.dsn { // RFC 3461 sections 4.1 and 4.2
			if k.Notify != "" {
				k.args += " NOTIFY=" + k.Notify
			}
			if k.Original != "" {
				k.args += " ORCPT=" + orcpt(k.Original)
			}
		}
		todo = append(todo, k)
	}
	return todo
}

// wirePath is an address as it stands between the brackets of a path: in ASCII where only its domain is not (RFC 6531 section 3.2). It is
// false for what cannot be sent.
func wirePath(address string) (string, bool) {
	if address == "" {
		return "", true
	}
	local, domain, ok := cutLast(address, '@')
	if !ok || local == "" || domain == "" || len(address) > 1000 || !utf8.ValidString(address) {
		return "", false
	}
	quoted, escaped := false, false
	for i := range len(local) {
		ch := local[i]
		switch {
		case ch < ' ' || ch == 0x7f:
			return "", false
		case escaped: // RFC 5321 section 4.1.2: a quoted-pairSMTP
			escaped = false
		case quoted && ch == '\\':
			escaped = true
		case ch == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(` <>()[]:;@,\`, ch) >= 0:
			return "", false
		}
	}
	if quoted || escaped || strings.ContainsAny(domain, " <>\"\r\n\t\x00") {
		return "", false
	}
	if !ascii(domain) {
		a, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return "", false
		}
		domain = a
	}
	return local + "@" + domain, true
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// xtext encodes a parameter's value (RFC 3461 section 4).
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}

// orcpt encodes an original recipient, "rfc822;address" or "utf-8;address" (RFC 3461 section 4.2, RFC 6533 section 3).
func orcpt(s string) string {
	kind, address, _ := strings.Cut(s, ";")
	if ascii(address) {
		return kind + ";" + xtext(address)
	}
	var b strings.Builder
	for _, r := range address {
		if r > ' ' && r < 0x7f && r != '+' && r != '=' && r != '\\' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\x{%X}", r)
		}
	}
	return "utf-8;" + b.String()
}

// sign puts fields in front. message is as it will be sent.
func (d *delivery) sign(make signing, key string) error {
	at := d.mail.body.reader()
	fields, err := make(d.w.ctx, key, d.m.From, at, d.mail.body.size)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	if len(fields) > 0 && !bytes.HasSuffix(fields, []byte("\r\n")) {
		return fmt.Errorf("signing: %w", io.ErrShortWrite)
	}
	d.mail.body.header = fields
	return nil
}

// signing is Signer.Sign or Signer.Seal.
type signing func(ctx context.Context, key, sender string, message io.ReaderAt, size int64) ([]byte, error)
