package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/storage"
)

// What lies in the data folder beside packetboat.toml, blobs/ and tls/.
const (
	databaseName = "packetboat.db"
	socketName   = "control.sock"
)

func (p *program) serveVerb() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Start SMTP, IMAP and FTP",
		Long: `Start everything. A first start makes the data folder with its configuration,
a local CA and a certificate, and an administrator's account, and prints what
to type into mail and file clients. SIGTERM ends it with a goodbye to every
session.

For production: packetboat serve --base-port 0 --listen all --domain example.org`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context()) },
	}
	f := c.Flags()
	f.StringVar(&p.flags.basePort, "base-port", "", "added to each standard `port` (default 10000: 10025, 10143, 10021, ...)")
	f.StringVar(&p.flags.listen, "listen", "", "`addresses` to listen on, comma-separated, or all (default 127.0.0.1, ::1)")
	f.StringVar(&p.flags.domain, "domain", "", "mail `domain` of the first start (default packetboat.test)")
	return c
}

func (p *program) serve(ctx context.Context) error {
	started := time.Now()
	collectLess()
	dir, err := p.flags.dataDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	c, all, err := p.flags.load(dir)
	if err != nil {
		return err
	}
	logger := newLogger(p.stderr, c.LogLevel)
	if ctl, err := dialRunning(dir); err == nil {
		ctl.close()
		return fmt.Errorf("a server already runs on %s", dir)
	}
	if err := checkCertificate(c, all); err != nil {
		return err
	}
	h := &house{config: c, settings: all, dir: dir, logger: logger, started: started}
	password, err := h.begin(ctx)
	if err != nil && ctx.Err() != nil {
		logger.Info("ended while starting")
		return nil
	}
	if err != nil {
		return err
	}
	p.printWelcome(h, password)
	debug.FreeOSMemory() // the start needs more than what follows it: reading the configuration, hashing a first password, making keys
	notifyService("READY=1\nSTATUS=serving")
	logger.Info("ready", "version", version, "data", dir, "took", time.Since(started).Round(time.Millisecond))
	fmt.Fprintln(p.stdout, "packetboat: ready")
	return h.run(ctx)
}

// begin opens everything, makes what a first run makes and starts; on error nothing is left open.
func (h *house) begin(ctx context.Context) (password string, err error) {
	if err := h.open(ctx); err != nil {
		return "", err
	}
	if err := writeTemplate(h.dir, h.settings); err != nil {
		return "", errors.Join(err, h.close())
	}
	if password, err = h.firstRun(ctx); err == nil {
		err = h.start()
	}
	if err != nil {
		return "", errors.Join(err, h.close())
	}
	return password, nil
}

func newLogger(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
}

// writeTemplate writes packetboat.toml when there is none.
func writeTemplate(dir string, all settings) error {
	file := filepath.Join(dir, configName)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeFile(file, 0o600, []byte(template(all))); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

// firstRun makes the domain, and an administrator when there is no account at all; it returns the password it made.
func (h *house) firstRun(ctx context.Context) (password string, err error) {
	if err := h.store.AddDomain(ctx, h.config.Domain); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("adding the domain (%s, domain = %q): %w", h.settings["domain"].from, h.config.Domain, err)
	}
	accounts, err := h.store.Accounts(ctx)
	if err != nil || len(accounts) > 0 {
		return "", err
	}
	password = auth.GeneratePassword()
	credentials, err := auth.Credentials(password)
	if err != nil {
		return "", err
	}
	_, err = h.store.CreateAccount(ctx, storage.NewAccount{
		Name: "admin@" + h.config.Domain, Admin: true, Aliases: []string{"postmaster@" + h.config.Domain}, Credentials: credentials,
	})
	if err != nil {
		return "", fmt.Errorf("making the administrator's account: %w", err)
	}
	return password, nil
}

// printWelcome says what to type into the clients.
func (p *program) printWelcome(h *house, password string) {
	c := h.config
	name := c.clientHost()
	user := "admin@" + c.Domain
	if password == "" {
		user = "NAME@" + c.Domain
	}
	port := func(l string) string {
		for _, s := range listenerTable {
			if s.name == l {
				if n := c.port(s); n != 0 {
					return fmt.Sprint(n)
				}
			}
		}
		return "off"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "packetboat %s: mail and files for %s\n\n", version, c.Domain)
	rows := [][4]string{
		{"Mail in, Thunderbird", "IMAP", port("imaps"), "SSL/TLS"},
		{"", "IMAP", port("imap"), "STARTTLS"},
		{"Mail out, Thunderbird", "SMTP", port("submissions"), "SSL/TLS"},
		{"", "SMTP", port("submission"), "STARTTLS"},
		{"Files, FileZilla", "FTP", port("ftp"), "Require explicit FTP over TLS"},
		{"", "FTP", port("ftps"), "Require implicit FTP over TLS"},
		{"Mail from other servers", "SMTP", port("mx"), "STARTTLS offered"},
		{"How to set up clients", "HTTP", port("http"), "by browser"},
	}
	for _, r := range rows {
		fmt.Fprintf(&b, "  %-24s %-5s host %s  port %-6s %s\n", r[0], r[1], name, r[2], r[3])
	}
	fmt.Fprintf(&b, "\n  User       %s (normal password)\n", user)
	if password != "" {
		fmt.Fprintf(&b, "  Password   %s   shown this once; another: packetboat account passwd %s\n", password, user)
	} else {
		fmt.Fprintf(&b, "  Password   as set; another: packetboat account passwd NAME\n")
	}
	if c.TLSCert == "" {
		fmt.Fprintf(&b, "  CA         %s (let the clients trust it)\n", filepath.Join(h.dir, "tls", "ca.pem"))
	}
	fmt.Fprintf(&b, "  Settings   %s\n", filepath.Join(h.dir, configName))
	if held := c.outboundHeld(); held != "" {
		fmt.Fprintf(&b, "  Outside    %s; until then it waits: packetboat queue list\n", held)
	}
	fmt.Fprintf(&b, "  DNS        packetboat domain dns %s   prints the records to publish; --check compares them with what is\n\n", c.Domain)
	io.WriteString(p.stdout, b.String())
}
