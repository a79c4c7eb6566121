package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/console"
	"github.com/packetboat/packetboat/ftp"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/smtp/managesieve"
	"github.com/packetboat/packetboat/smtp/outbound"
	"github.com/packetboat/packetboat/smtp/report"
	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// house is a running packetboat. It is the only place that knows all parts; the closing order is written in run and close.
type house struct {
	config   *config
	settings settings
	dir      string
	logger   *slog.Logger
	started  time.Time

	certs    *certificates
	clients  *clientCAs // nil: clients are asked for no certificates
	bound    map[string][]net.Listener
	store    *storage.Store
	tree     *vfs.FS
	registry *session.Registry
	door     *auth.Door
	ports    *ftp.PortPool
	resolver *resolve.Resolver // the one that asks the DNS
	judges   judges
	policies *outbound.Policies // what connections to other servers must prove
	signer   *outbound.Signer
	dmarc    *report.DMARC // nil: nothing is counted
	socket   net.Listener
	servers  []served

	api    *http.Server
	work   sync.WaitGroup // Serve of each listener, the store's Run, the control API
	failed chan error     // the first fault that ends the house

	worker       *outbound.Worker
	outboundDone chan struct{} // closed when the worker that sends mail has ended; nil: there is none
	local        *smtp.Server  // delivers what waited in the outbox and is for us

	stopAccepting  context.CancelFunc
	stopBackground context.CancelFunc
}

// server is what the protocols have in common.
type server interface {
	Serve(ctx context.Context, ln net.Listener) error
}

// served is a listener with who serves it.
type served struct {
	name   string
	ln     net.Listener
	server server
}

// open takes the ports, the certificates and the store, in this order: a port in use is found before anything is made.
func (h *house) open(ctx context.Context) (err error) {
	if h.bound, err = bind(h.config, h.settings, h.logger); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			closeAll(h.bound)
		}
	}()
	if err = h.bindLMTPSocket(); err != nil {
		return err
	}
	if h.certs, err = openCertificates(h.dir, h.config, h.logger); err != nil {
		return err
	}
	if h.config.TLSClientCA != "" {
		if h.clients, err = openClientCAs(h.config.TLSClientCA, h.logger); err != nil {
			return err
		}
	}
	err = patiently(ctx, func() (err error) {
		h.store, err = storage.Open(ctx, h.dir, h.config.store(h.logger))
		return err
	})
	if err != nil {
		return err
	}
	h.failed = make(chan error, 1)
	return nil
}

// store is what the configuration says of the account store.
func (c *config) store(logger *slog.Logger) storage.Options {
	o := storage.Options{Logger: logger, MaxEntries: c.LimitEntries, PartialAge: c.FTPPartialTTL, JournalMax: c.HistoryMax, JournalAge: c.HistoryKeep, NoTextIndex: !c.SearchIndex}
	if o.MaxEntries == 0 {
		o.MaxEntries = -1
	}
	o.Reserve = 8 << 20
	c.queueInto(&o)
	return o
}

// start makes the servers and sets everything going.
func (h *house) start() (err error) {
	c := h.config
	h.registry = session.New(session.Options{
		Limits: session.Limits{Total: c.LimitTotal, PerAddress: c.LimitPerAddress, PerAccount: c.LimitPerAccount,
			PerProtocol: map[session.Protocol]int{session.SMTP: c.LimitSMTP, session.IMAP: c.LimitIMAP, session.FTP: c.LimitFTP, session.HTTP: c.LimitHTTP},
			Outgoing:    c.LimitOutgoing},
		Logger:  h.logger,
		History: h.record,
	})
	secret, err := openSecret(h.dir)
	if err != nil {
		return err
	}
	h.store.SetSecret(secret)
	hook, err := c.webhook()
	if err != nil {
		return err
	}
	var issuer *auth.OIDC
	if c.OIDC.Issuer != "" {
		issuer = &c.OIDC
	}
	h.door = auth.New(h.store, h.registry, auth.Options{
		Plaintext: c.Plaintext, NoThrottle: !c.Throttle, Logger: h.logger, Secret: secret, Certificate: h.certs.shown,
		Mechanisms: c.Mechanisms, PinnedOnly: c.PinnedOnly, OIDC: issuer,
	})
	if err := h.recall(); err != nil {
		return err
	}
	if h.socket, err = h.listenControl(); err != nil {
		return err
	}
	h.ports = ftp.NewPortPool(c.addresses(), c.passive().First, c.passive().Last)
	h.ports.FrontEnds, h.ports.Logger = c.fronts(passivePorts), h.logger
	h.tree = vfs.New(h.store, vfs.Options{MaxMessage: c.MaxMessage, Logger: h.logger})
	h.checkAnonymous()
	h.openResolver()
	h.coverDomains(context.Background())
	if h.judges, err = h.openJudges(); err != nil {
		return err
	}
	h.makeServers()

	var background, accepting context.Context
	background, h.stopBackground = context.WithCancel(context.Background())
	accepting, h.stopAccepting = context.WithCancel(context.Background())
	h.spawn("store", func() error { return h.store.Run(background) })
	h.spawn("tree", func() error { return h.tree.Run(background) })
	h.spawn("certificate", func() error { return h.certs.renew(background, h.dir, h.config) })
	h.spawn("dns", func() error { return h.watchDNS(background, dnsSilent, dnsWell) })
	if err := h.openTrust(background); err != nil {
		return err
	}
	if err := h.startOutbound(accepting); err != nil {
		return err
	}
	h.runWebhook(background, hook)
	h.spawn("stacks", func() error { return trimStacks(background) })
	h.api = &http.Server{
		Handler: (&control{store: h.store, tree: h.tree, door: h.door, registry: h.registry, running: true, started: h.started, doctor: h.ftpDoctor, domainAdded: h.coverDomains, retried: h.worker.Afresh, reporters: h.reporters(),
			config: h.config, chain: h.certs.chain, logger: h.logger}).handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
	}
	h.spawn("control", func() error {
		if err := h.api.Serve(h.socket); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	for _, s := range h.servers {
		h.spawn(s.name, func() error { return s.server.Serve(accepting, s.ln) })
	}
	return nil
}

// spawn runs f as one of the house's goroutines; a fault of one ends the house.
func (h *house) spawn(name string, f func() error) {
	h.work.Go(func() {
		if err := f(); err != nil && !errors.Is(err, context.Canceled) {
			select {
			case h.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	})
}

// checkAnonymous warns of a name in the configuration that is nobody's: it may be made later.
func (h *house) checkAnonymous() {
	if h.config.FTPAnonymous == "" {
		return
	}
	if _, err := h.store.AccountByLogin(context.Background(), h.config.FTPAnonymous); err != nil {
		h.logger.Warn("nobody can log in as anonymous: ftp.anonymous names no account", "name", h.config.FTPAnonymous, "error", err)
	}
}

// makeServers builds the table of who serves which listener.
func (h *house) makeServers() {
	c := h.config
	tree := h.tree
	tls := h.certs.config()
	users := tls // who logs in may do so by certificate; other servers' certificates are none of ours to judge
	if h.clients != nil {
		users = h.clients.config(tls)
	}
	filters := h.filters()
	mail := func(mode smtp.Mode, implicit bool) server {
		bare := smtp.BareNewline(c.SMTPBareNewline)
		if bare == "auto" {
			bare = ""
		}
		conf := users
		if mode != smtp.Submission {
			conf = tls
		}
		return smtp.New(h.store, h.door, smtp.Options{Name: c.Hostname, Mode: mode, TLS: conf, ImplicitTLS: implicit, Judge: h.judges.of(mode, c.JudgeLMTP),
			MaxMessage: c.MaxMessage, MaxRecipients: c.SMTPMaxRecipients, BareNewline: bare, Trusted: c.LMTPTrusted, XClient: c.SMTPXClient, Send: c.SendLimits, Stays: !c.leaves(), Filters: filters, Logger: h.logger})
	}
	h.local = smtp.New(h.store, h.door, smtp.Options{Name: c.Hostname, Filters: filters, Logger: h.logger})
	recents := imap.NewRecents()
	boxes := func(implicit bool) server {
		return imap.New(h.store, h.door, imap.Options{Name: c.Hostname, TLS: users, ImplicitTLS: implicit,
			MaxAppend: c.MaxMessage, IdleKeepalive: c.IMAPKeepalive, SearchTimeout: c.IMAPSearch, Logger: h.logger, Recents: recents,
			MessageLimit: c.IMAPMessageLimit, SaveLimit: c.IMAPSaveLimit, Withhold: c.IMAPWithhold})
	}
	files := func(implicit bool) server {
		return ftp.New(tree, h.door, ftp.Options{
			Name: c.Hostname, TLS: users, ImplicitTLS: implicit, Logger: h.logger,
			PassivePorts: h.ports, PublicAddresses: c.publicAddresses(), NoActiveMode: !c.FTPActive, OwnPorts: c.ownPorts(),
			DataTLSReuse: c.FTPTLSReuse, ReuseRules: c.FTPReuseRules, RequireDataTLS: c.FTPDataTLS == "required",
			StallTimeout: c.FTPStall, Relaxed: !c.FTPDurable, Rates: &c.FTPRates, RestoreFolder: c.FTPRestoreFolder,
			ConvertASCII: c.FTPASCII == "convert", Domains: h.domains,
			Anonymous: c.FTPAnonymous, AnonymousSessions: c.FTPGuests,
		})
	}
	type row struct {
		protocol session.Protocol
		idle     time.Duration
		login    time.Duration
		refusal  func(string) []byte // nil under implicit TLS: closed without a word
		server   server
	}
	rows := map[string]row{
		"mx":          {session.SMTP, c.SMTPIdle, -1, smtp.Refusal, mail(smtp.MX, false)},
		"submission":  {session.SMTP, c.SMTPIdle, c.LoginTimeout, smtp.Refusal, mail(smtp.Submission, false)},
		"submissions": {session.SMTP, c.SMTPIdle, c.LoginTimeout, nil, mail(smtp.Submission, true)},
		"lmtp":        {session.SMTP, c.SMTPIdle, -1, smtp.Refusal, mail(smtp.LMTP, false)},
		"imap":        {session.IMAP, c.IMAPIdle, c.LoginTimeout, imap.Refusal, boxes(false)},
		"imaps":       {session.IMAP, c.IMAPIdle, c.LoginTimeout, nil, boxes(true)},
		"managesieve": {session.Sieve, c.IMAPIdle, c.LoginTimeout, managesieve.Refusal, h.scripts()},
		"ftp":         {session.FTP, c.FTPIdle, c.LoginTimeout, ftp.Refusal, files(false)},
		"ftps":        {session.FTP, c.FTPIdle, c.LoginTimeout, nil, files(true)},
		"http":        {session.HTTP, consoleIdle, -1, console.Refusal, h.console(false)},
		"https":       {session.HTTP, consoleIdle, -1, nil, h.console(true)},
	}
	for _, l := range listenerTable {
		r := rows[l.name]
		for _, ln := range h.bound[l.name] {
			if fronts := c.fronts(l.name); fronts != nil && ln.Addr().Network() == "tcp" {
				ln = session.Fronted(ln, fronts, h.logger.With("listener", l.name))
			}
			h.servers = append(h.servers, served{l.name, h.registry.Listen(ln, session.ListenerOptions{
				Name: l.name, Protocol: r.protocol, Refusal: r.refusal, LoginTimeout: r.login, IdleTimeout: r.idle, MaxDuration: c.MaxDuration,
			}), r.server})
		}
	}
}

// listenControl opens control.sock, for the owner only; the data folder lets nobody else in anyway.
func (h *house) listenControl() (net.Listener, error) {
	path, done, err := socketPath(h.dir)
	if err != nil {
		return nil, err
	}
	defer done()
	os.Remove(path) // left by a crash: the store's lock says that nobody serves it
	// Closed to others from its first moment, whatever the umask. That of the process is changed for this call alone.
	old := syscall.Umask(0o177)
	ln, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // its path may be one through a descriptor that is closed by then
	return ln, nil
}

// recalled is how many finished sessions are looked at after a start for who logged in from where.
const recalled = 2000

// recall tells the door what the last run knew: from where accounts were logged in to. Their owners are not locked out there by others' guesses.
func (h *house) recall() error {
	list, err := h.store.Records(context.Background(), "session", 0, 0, recalled)
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(list) {
		var i session.Info
		if json.Unmarshal(r.Detail, &i) != nil || i.AccountID == 0 || i.Direction != "" || i.Via == auth.AnonymousName { // other servers and guests proved nothing
			continue
		}
		if from, err := netip.ParseAddrPort(i.Remote); err == nil {
			h.door.Known(i.AccountID, from.Addr())
		}
	}
	return nil
}

// record puts a finished session into the history. Strangers who only asked for settings would push everybody else out of it.
func (h *house) record(i session.Info) {
	if i.Protocol == session.HTTP && i.AccountID == 0 {
		return
	}
	detail, err := json.Marshal(i)
	if err != nil {
		h.logger.Error("cannot write down a finished session", "session", i.ID, "error", err)
		return
	}
	h.store.Journal(storage.Record{At: i.Ended, Kind: "session", Account: i.AccountID, Subject: i.ID, Detail: detail})
}

// run waits until ctx ends or a part fails, then ends everything.
func (h *house) run(ctx context.Context) error {
	var fault error
	select {
	case <-ctx.Done():
		h.logger.Info("ending: saying goodbye to the sessions", "sessions", len(h.registry.List()))
	case fault = <-h.failed:
		h.logger.Error("ending: a part failed", "error", fault)
	}
	notifyService("STOPPING=1")
	return errors.Join(fault, h.close())
}

// close is the closing order: no new sessions, the old ones end what they do, the control API, the background work, the store last.
func (h *house) close() error {
	if h.stopAccepting != nil {
		h.stopAccepting()
	}
	closeAll(h.bound)
	if h.registry != nil {
		ctx, cancel := context.WithTimeout(context.Background(), h.config.DrainTimeout)
		if err := h.registry.Drain(ctx); err != nil {
			h.logger.Warn("some sessions were cut", "error", err)
		}
		cancel()
	}
	h.endOutbound()
	if h.ports != nil {
		h.ports.Close()
	}
	if h.api != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		h.api.Shutdown(ctx)
		cancel()
	}
	if h.socket != nil {
		h.socket.Close()
		os.Remove(filepath.Join(h.dir, socketName))
	}
	if h.stopBackground != nil {
		h.stopBackground()
	}
	h.work.Wait()
	h.judges.close()
	return h.store.Close()
}

// domains are the names of ours, for FTP's HOST.
func (h *house) domains(ctx context.Context) ([]string, error) {
	all, err := h.store.Domains(ctx)
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = d.Name
	}
	return names, err
}
