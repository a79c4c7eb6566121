package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/smtp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/console"
	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/storage"
)

func (p *program) doctorMailVerb() *cobra.Command {
	var to []string
	c := &cobra.Command{
		Use:   "mail [DOMAIN]",
		Short: "Explain whether mail can come and go for a domain (the default one, if none is named)",
		Long: `Look at the resolver, the domain's DNS records, the certificate, and who gets what the domain's reports are sent to. A running
server also connects to itself as other servers do: to port 25, and for the MTA-STS policy.

  packetboat doctor mail example.org
  packetboat doctor mail example.org --to mx.example.net     is port 25 open for outgoing connections? One is made to that host.

What it cannot see is what lies between here and the world: have somebody send a message.

Exit code: 0 when nothing fails, 1 otherwise.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(to) > maxConsulted {
				return usageError{fmt.Errorf("--to: at most %d hosts", maxConsulted)}
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				domain, err := namedOrDefault(cmd.Context(), ctl, args)
				if err != nil {
					return err
				}
				var found []finding
				if err := ctl.call(cmd.Context(), http.MethodGet, "/doctor/mail?"+url.Values{"domain": {domain}, "to": to}.Encode(), nil, &found); err != nil {
					return err
				}
				return p.tell(found, errMailSick)
			})
		},
	}
	c.Flags().StringArrayVar(&to, "to", nil, "connect to the mail server `HOST[:PORT]`, to see whether connections to port 25 get out; repeatable")
	return c
}

var errMailSick = errors.New("mail does not work as it is set up; see FAIL above")

// doctorMail answers packetboat doctor mail.
func (c *control) doctorMail(r *http.Request) (any, error) {
	q := r.URL.Query()
	if len(q["to"]) > maxConsulted {
		return nil, fmt.Errorf("%w: at most %d hosts", errRequest, maxConsulted)
	}
	s, err := c.survey(r.Context(), q.Get("domain"))
	if err != nil {
		return nil, err
	}
	d := &mailDoctor{control: c, survey: s, resolver: c.config.freshResolver(c.logger)}
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	return d.examine(ctx, q["to"]), nil
}

// mailDoctor looks at mail as other servers meet it.
type mailDoctor struct {
	*survey
	control  *control
	resolver *resolve.Resolver
	roots    *x509.CertPool // whom other servers are thought to trust; nil: this machine's
	found    []finding
}

// greetTime is how long one connection of the doctor's may take: some servers greet late on purpose.
const greetTime = 10 * time.Second

func (d *mailDoctor) say(state, check, what string, do ...string) {
	d.found = append(d.found, finding{state, check, what, strings.Join(do, " ")})
}

// examine does all that can be done.
func (d *mailDoctor) examine(ctx context.Context, to []string) []finding {
	d.ports()
	if d.answers(ctx) {
		d.published(ctx)
	}
	d.certificate()
	d.people(ctx)
	d.queue(ctx)
	var tries []func(*mailDoctor)
	if d.control.running {
		for _, at := range d.reachable(25, "mx") {
			tries = append(tries, func(d *mailDoctor) { d.reachMX(ctx, at) })
		}
		for _, at := range d.reachable(443, "https") {
			tries = append(tries, func(d *mailDoctor) { d.reachPolicy(ctx, at) })
		}
	} else {
		d.say(stateInfo, "server", "is not running: nothing was connected to", "Start it (packetboat serve) and ask again.")
	}
	for _, host := range to {
		tries = append(tries, func(d *mailDoctor) { d.getOut(ctx, host) })
	}
	d.tryAll(tries)
	return d.found
}

// tryAll makes all attempts side by side, as one that gets no answer takes seconds, and tells of them in order.
func (d *mailDoctor) tryAll(tries []func(*mailDoctor)) {
	doctors := make([]mailDoctor, len(tries))
	var all sync.WaitGroup
	for i, try := range tries {
		doctors[i] = *d
		doctors[i].found = nil
		all.Go(func() { try(&doctors[i]) })
	}
	all.Wait()
	for i := range doctors {
		d.found = append(d.found, doctors[i].found...)
	}
}

// ports says what the configuration keeps away from the world.
func (d *mailDoctor) ports() {
	for _, n := range d.zone().Notes {
		d.say(stateWarn, "set-up", n)
	}
}

// answers asks whether there is a DNS, and whether it validates; false when there is none.
func (d *mailDoctor) answers(ctx context.Context) bool {
	servers, trusted := d.resolver.Servers()
	if err := d.resolver.Alive(ctx); err != nil {
		d.say(stateFail, "resolver", "none answers of "+strings.Join(servers, ", ")+": "+err.Error(), "Set dns.servers to a recursive resolver, best to one on this machine (unbound).",
			"Without it no mail goes out, and of mail that comes in nobody knows whether it is genuine.")
		return false
	}
	_, result, err := d.resolver.LookupNS(ctx, ".")
	switch {
	case err == nil && result.Authentic:
		d.say(stateOK, "resolver", strings.Join(servers, ", ")+" answers and validates (DNSSEC)")
	case trusted:
		d.say(stateWarn, "resolver", strings.Join(servers, ", ")+" answers and does not validate (DNSSEC)", "Without that, DANE is not used for mail that goes out. unbound validates by default.")
	default:
		d.say(stateInfo, "resolver", strings.Join(servers, ", ")+" answers; what it says of DNSSEC is not believed, as it is not on this machine", "For DANE use a validating resolver on this machine, or dns.trust_ad = \"on\" if the way to it is secure.")
	}
	return true
}

// published compares the DNS records.
func (d *mailDoctor) published(ctx context.Context) {
	z := d.zone()
	z.checkAll(ctx, d.config, d.resolver, d.control.logger)
	ok := 0
	for _, r := range z.Records {
		if r.State == verdictOK && r.Note == "" {
			ok++
			continue
		}
		state := stateFail
		switch {
		case r.State == verdictOK:
			state = stateInfo
		case r.State == verdictMissing && r.Need == optional:
			continue
		case r.Need != needed, r.State == verdictUnknown:
			state = stateWarn
		}
		what := strings.Join(strings.Fields(fmt.Sprintf("%s %s is %s", r.Type, strings.TrimSuffix(r.Name, "."), r.State)), " ") // a PTR may have no name
		if len(r.Found) > 0 {
			what += ": " + strings.Join(r.Found, " | ")
		}
		d.say(state, "dns", what, strings.ToUpper(r.Note[:min(1, len(r.Note))])+r.Note[min(1, len(r.Note)):])
	}
	state := stateOK
	if ok < len(z.Records) {
		state = stateInfo
	}
	d.say(state, "dns", fmt.Sprintf("%d of %d records are as they should be", ok, len(z.Records)), "packetboat domain dns "+d.domain+" --check shows each.")
}

// certificate looks at names, trust and the end.
func (d *mailDoctor) certificate() {
	if len(d.chain) == 0 {
		d.say(stateInfo, "certificate", "there is none yet: the first start makes one")
		return
	}
	leaf := d.chain[0]
	var lacks []string
	for _, name := range []string{d.config.Hostname, "mta-sts." + d.domain, "autoconfig." + d.domain, "autodiscover." + d.domain} {
		if leaf.VerifyHostname(name) != nil {
			lacks = append(lacks, name)
		}
	}
	switch {
	case slices.Contains(lacks, d.config.Hostname), slices.Contains(lacks, "mta-sts."+d.domain) && d.config.STSMode != console.None:
		d.say(stateWarn, "certificate", "lacks the names "+strings.Join(lacks, ", "), "Other servers take no MTA-STS policy without mta-sts."+d.domain+", and clients warn of a wrong name.")
	case len(lacks) > 0:
		d.say(stateInfo, "certificate", "lacks the names "+strings.Join(lacks, ", "), "Mail programs set themselves up with more ease if it has them.")
	default:
		d.say(stateOK, "certificate", "has all the names")
	}
	above := x509.NewCertPool()
	for _, c := range d.chain[1:] {
		above.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: d.roots, Intermediates: above})
	switch left := time.Until(leaf.NotAfter); {
	case left < 0:
		d.say(stateFail, "certificate", "ended on "+leaf.NotAfter.Format(time.DateOnly), "Renew tls.cert and tls.key; they are read anew within a minute.")
	case err != nil && d.config.STSMode == console.Enforce:
		d.say(stateFail, "certificate", "is none that others trust, and the MTA-STS policy says that it must be", "Get one from a CA (tls.cert, tls.key), or set mta_sts.mode = \"testing\".")
	case err != nil:
		d.say(stateWarn, "certificate", "is none that others trust by themselves: "+err.Error(), "Mail arrives all the same; MTA-STS and mail programs want one from a CA (tls.cert, tls.key).")
	case left < 14*24*time.Hour:
		d.say(stateWarn, "certificate", "ends on "+leaf.NotAfter.Format(time.DateOnly), "Renew it.")
	default:
		d.say(stateOK, "certificate", "is trusted, until "+leaf.NotAfter.Format(time.DateOnly))
	}
}

// people looks whether somebody gets what is sent to the domain's own addresses (RFC 5321 section 4.5.1, RFC 2142 section 4).
func (d *mailDoctor) people(ctx context.Context) {
	for _, name := range []string{"postmaster", "abuse"} {
		if _, err := d.control.store.Resolve(ctx, name+"@"+d.domain); err != nil {
			d.say(stateWarn, name, name+"@"+d.domain+" is nobody's: "+words(err), "Reports and complaints go there: packetboat account set NAME --alias "+name+"@"+d.domain)
		} else {
			d.say(stateOK, name, name+"@"+d.domain+" has somebody")
		}
	}
}

// queue tells of mail that waits to leave, and why none leaves if it is so set up.
func (d *mailDoctor) queue(ctx context.Context) {
	held := d.config.outboundHeld()
	switch relay := d.relay(); {
	case relay != "":
		d.say(stateInfo, "sending", "mail goes out through "+relay)
	case held != "":
		d.say(stateWarn, "sending", held)
	default:
		d.say(stateOK, "sending", "mail goes to the servers of its recipients")
	}
	n := d.control.store.QueueSize()
	late, err := d.control.store.Queue(ctx, storage.QueueFilter{Older: lateMail}, 1)
	switch {
	case err != nil:
		d.say(stateFail, "queue", words(err))
	case len(late) > 0:
		d.say(stateWarn, "queue", fmt.Sprintf("%d messages wait, some for more than %s, the oldest for %s", n, ago(lateMail), late[0].Domain), "packetboat queue list shows each, and what its server said.")
	default:
		d.say(stateOK, "queue", fmt.Sprintf("%d messages wait", n))
	}
}

// lateMail is for how long mail may wait before that is remarkable.
const lateMail = 4 * time.Hour

// reachable are the addresses at which a listener is to be tried: the public ones under the port that the world is told of, else this
// machine's own. None where it could not work.
func (d *mailDoctor) reachable(standard int, listener string) (all []string) {
	c := d.config
	for _, a := range c.PublicAddresses {
		if n := c.told(listener); n != 0 {
			all = append(all, net.JoinHostPort(a.String(), strconv.Itoa(n)))
		}
	}
	own := 0
	for _, l := range listenerTable {
		if l.name == listener {
			own = c.port(l)
		}
	}
	switch {
	case len(all) > 0:
		return all
	case own == 0:
		d.say(stateFail, "port "+strconv.Itoa(standard), "ports."+listener+" is off")
	case c.fronts(listener) != nil:
		d.say(stateInfo, "port "+strconv.Itoa(standard), "expects PROXY headers: it was not connected to", "Set public_addresses, so that it is tried through the front end.")
	default:
		address := "127.0.0.1"
		if !c.everywhere() {
			address = c.Listen[0]
		}
		all = append(all, net.JoinHostPort(address, strconv.Itoa(own)))
	}
	return all
}

// hairpin is what to do about an own public address that does not answer.
func hairpin(at string) string {
	a, err := netip.ParseAddrPort(at)
	if err != nil || kind(a.Addr()) != "public" {
		return "See whether a firewall of this machine is in the way."
	}
	return "Open the port in firewalls and forward it behind NAT. Some routers do not let machines behind them connect to their own public address: then try from elsewhere."
}

// reachMX connects as another server would.
func (d *mailDoctor) reachMX(ctx context.Context, at string) {
	cert, err := greet(ctx, at, d.config.Hostname)
	switch {
	case err != nil:
		d.say(stateWarn, "port 25", at+" cannot be reached from here: "+err.Error(), hairpin(at))
	case cert == nil:
		d.say(stateFail, "port 25", at+" offers no STARTTLS: another program answers there, or something on the way takes it out", "Switch off what inspects SMTP in firewalls.")
	case len(d.chain) > 0 && !cert.Equal(d.chain[0]):
		d.say(stateFail, "port 25", at+" shows another certificate ("+cert.Subject.CommonName+"): another server answers there")
	default:
		d.say(stateOK, "port 25", at+" leads here, with STARTTLS")
	}
}

// greet speaks with a mail server up to STARTTLS and returns its certificate; nil without an error when it offers no TLS.
func greet(ctx context.Context, at, name string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, plainNetError(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	host, _, _ := net.SplitHostPort(at)
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return nil, fmt.Errorf("it does not greet: %w", plainNetError(err))
	}
	if err := c.Hello(name); err != nil {
		return nil, fmt.Errorf("EHLO: %w", err)
	}
	defer c.Quit()
	if ok, _ := c.Extension("STARTTLS"); !ok {
		return nil, nil
	}
	// Which certificate it is, is what the caller looks at; nothing is sent to it.
	if err := c.StartTLS(&tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}); err != nil {
		return nil, fmt.Errorf("STARTTLS: %w", err)
	}
	state, _ := c.TLSConnectionState()
	return state.PeerCertificates[0], nil
}

// plainNetError leaves the addresses out, which stand beside it.
func plainNetError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Timeout() {
			return errors.New("no answer in time")
		}
		return op.Err
	}
	return err
}

// maxPolicy is the most of a policy that is read (RFC 8461 section 3.3: 64 KiB are enough).
const maxPolicy = 64 << 10

// reachPolicy asks for the MTA-STS policy as another server would, but for the trust in the certificate.
func (d *mailDoctor) reachPolicy(ctx context.Context, at string) {
	ctx, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	name := "mta-sts." + d.domain
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", at)
		},
		TLSClientConfig: &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
	}
	defer t.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		d.say(stateFail, "port 443", err.Error())
		return
	}
	resp, err := t.RoundTrip(r) // no redirects: RFC 8461 section 3.3
	if err != nil {
		d.say(stateWarn, "port 443", at+" cannot be reached from here: "+plainNetError(err).Error(), hairpin(at))
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPolicy))
	switch {
	case err != nil:
		d.say(stateWarn, "port 443", at+": "+plainNetError(err).Error())
	case resp.StatusCode != http.StatusOK, !bytes.Equal(text, d.config.policy().Text()):
		d.say(stateFail, "port 443", at+" does not serve this server's MTA-STS policy ("+resp.Status+"): another server answers there")
	default:
		d.say(stateOK, "port 443", at+" serves the MTA-STS policy")
	}
}

// getOut sees whether connections to other servers' port 25 get out of here.
func (d *mailDoctor) getOut(ctx context.Context, to string) {
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		host, port = to, "25"
	}
	addresses := []string{host}
	if _, err := netip.ParseAddr(host); err != nil {
		if addresses, _, err = d.resolver.LookupHost(ctx, absoluteName(host)); err != nil {
			d.say(stateFail, "outgoing", to+": "+err.Error(), "Name a mail server that is there.")
			return
		}
	}
	for _, a := range addresses[:min(len(addresses), 4)] {
		at := net.JoinHostPort(a, port)
		if cert, err := greet(ctx, at, d.config.Hostname); err != nil {
			d.say(stateFail, "outgoing", at+" cannot be reached: "+err.Error(), "Many providers close port 25 for outgoing connections: ask yours to open it, or send through a smarthost.")
		} else if cert == nil {
			d.say(stateWarn, "outgoing", at+" answers and offers no STARTTLS", "Something on the way may take it out.")
		} else {
			d.say(stateOK, "outgoing", at+" answers, with STARTTLS")
		}
	}
}
