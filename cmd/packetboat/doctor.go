package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// finding is a line of what a doctor says.
type finding struct {
	State string `json:"state"` // OK, INFO, WARN, FAIL
	Check string `json:"check"`
	What  string `json:"what"`
	Do    string `json:"do,omitempty"` // advice
}

// The states of a finding.
const (
	stateOK   = "OK"
	stateInfo = "INFO"
	stateWarn = "WARN" // works for some, or not for what it seems to be meant for
	stateFail = "FAIL" // does not work
)

// consultation is what a doctor is asked.
type consultation struct {
	addresses []string // under which clients reach this machine, beside those that FTP tells them
	clients   []string // who is looked at as a client
}

func (p *program) doctorVerb() *cobra.Command {
	var q consultation
	c := &cobra.Command{
		Use:   "ftp",
		Short: "Explain whether and how FTP clients can reach this server, through NAT and containers too",
		Long: `Look at FTP's listeners, passive ports, the address that PASV tells clients, containers,
front ends, certificates and TLS policies; connect to itself under every address that
clients are told. Works on a running server; of a stopped one only the configuration is looked at.
What it cannot see is what lies between here and the clients: try one from outside as well.

Exit code: 0 when nothing fails, 1 otherwise.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.doctorFTP(cmd.Context(), q) },
	}
	f := c.Flags()
	f.StringArrayVar(&q.addresses, "address", nil, "an `address` or name under which clients reach this machine; repeatable")
	f.StringArrayVar(&q.clients, "client", nil, "what would a client at this `address` be told; repeatable (default: one on the internet, one in each local network)")
	return group(&cobra.Command{Use: "doctor", Short: "Find out what is wrong"}, c, p.doctorMailVerb())
}

func (p *program) doctorFTP(ctx context.Context, q consultation) error {
	for _, a := range q.clients {
		if _, err := netip.ParseAddr(a); err != nil {
			return usageError{fmt.Errorf("--client %s: want an IP address", a)}
		}
	}
	dir, err := p.flags.dataDir()
	if err != nil {
		return err
	}
	var found []finding
	if running, dialErr := dialRunning(dir); dialErr == nil {
		defer running.close()
		err = running.call(ctx, http.MethodGet, "/doctor/ftp?"+url.Values{"address": q.addresses, "client": q.clients}.Encode(), nil, &found)
	} else {
		found, err = p.doctorStopped(ctx, dir, q)
	}
	if err != nil {
		return err
	}
	return p.tell(found, errSick)
}

// doctorStopped looks at the configuration alone.
func (p *program) doctorStopped(ctx context.Context, dir string, q consultation) ([]finding, error) {
	c, all, err := p.flags.load(dir)
	if err != nil {
		return nil, err
	}
	d := &ftpDoctor{config: c, settings: all, interfaces: localNetworks()}
	return d.examine(ctx, q), nil
}

// ftpDoctor is who looks at the running server.
func (h *house) ftpDoctor() *ftpDoctor {
	cert := func() *x509.Certificate {
		c, err := h.certs.get(nil)
		if err != nil || c.Leaf == nil {
			return &x509.Certificate{}
		}
		return c.Leaf
	}
	return &ftpDoctor{config: h.config, settings: h.settings, interfaces: localNetworks(), ports: h.ports, cert: cert, list: h.registry.List}
}

// doctorFTP answers packetboat doctor ftp.
func (c *control) doctorFTP(r *http.Request) (any, error) {
	if c.doctor == nil {
		return nil, errNotRunning
	}
	q := consultation{addresses: r.URL.Query()["address"], clients: r.URL.Query()["client"]}
	if len(q.addresses)+len(q.clients) > maxConsulted {
		return nil, fmt.Errorf("%w: at most %d addresses", errRequest, maxConsulted)
	}
	return c.doctor().examine(r.Context(), q), nil
}

// maxConsulted is how many addresses may be asked about at a time.
const maxConsulted = 16

var errSick = errors.New("FTP does not work as it is set up; see FAIL above")

// tell prints what was found, and returns sick when something fails.
func (p *program) tell(found []finding, sick error) error {
	failed := false
	rows := [][]string{{"STATE", "CHECK", "WHAT"}}
	for _, f := range found {
		failed = failed || f.State == stateFail
		rows = append(rows, []string{f.State, f.Check, f.What})
		for i, line := range wrap(f.Do, 90) {
			mark := "  "
			if i == 0 {
				mark = "->"
			}
			rows = append(rows, []string{"", "", mark + " " + line})
		}
	}
	var err error
	if p.json {
		err = p.printJSON(found)
	} else {
		err = p.table(rows)
	}
	if err == nil && failed {
		return sick
	}
	return err
}

// wrap breaks a text at blanks into lines of at most width characters, where that can be.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
