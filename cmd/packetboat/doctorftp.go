package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/ftp"
)

// ftpDoctor looks at FTP as clients meet it.
type ftpDoctor struct {
	config     *config
	settings   settings
	interfaces []netip.Prefix // this machine's addresses with their networks
	root       string         // where /proc and /.dockerenv are; "" but in tests

	// Of a running server; nil otherwise.
	ports *ftp.PortPool
	cert  func() *x509.Certificate
	list  func() []session.Info

	found []finding
}

// localNetworks are the addresses of this machine's interfaces.
func localNetworks() (all []netip.Prefix) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
		}
	}
	return all
}

func (d *ftpDoctor) say(state, check, what string, do ...string) {
	d.found = append(d.found, finding{state, check, what, strings.Join(do, " ")})
}

// examine does all that can be done.
func (d *ftpDoctor) examine(ctx context.Context, q consultation) []finding {
	if d.ports == nil {
		d.say(stateFail, "server", "is not running: this is about the configuration alone", "Start it (packetboat serve) and ask again.")
	} else {
		d.say(stateOK, "server", "is running")
	}
	if !d.listeners() {
		return d.found
	}
	d.passive()
	contained := d.container()
	d.advertised(q, contained)
	d.frontEnds()
	d.policies()
	d.certificate(q)
	d.files()
	if d.ports != nil {
		d.reachAll(ctx, d.targets(q))
	}
	return d.found
}

// reachAll tries all addresses side by side, as one that does not answer takes seconds.
func (d *ftpDoctor) reachAll(ctx context.Context, targets []string) {
	tries := make([]ftpDoctor, len(targets))
	var wg sync.WaitGroup
	for i, address := range targets {
		tries[i] = *d
		tries[i].found = nil
		wg.Go(func() { tries[i].reach(ctx, address) })
	}
	wg.Wait()
	for i := range tries {
		d.found = append(d.found, tries[i].found...)
	}
}

// control are FTP's listeners that are on, by name.
func (d *ftpDoctor) control() (on []listenerSpec) {
	for _, l := range listenerTable {
		if strings.HasPrefix(l.name, "ftp") && d.config.port(l) != 0 {
			on = append(on, l)
		}
	}
	return on
}

// bound are the addresses that are listened on, as far as this machine has them.
func (d *ftpDoctor) bound() (all []netip.Addr) {
	for _, p := range d.interfaces {
		if d.config.everywhere() {
			all = append(all, p.Addr())
			continue
		}
		for _, a := range d.config.Listen {
			if b, err := netip.ParseAddr(a); err == nil && b.Unmap() == p.Addr() {
				all = append(all, p.Addr())
			}
		}
	}
	return all
}

// private tells whether nothing but this machine can connect.
func (d *ftpDoctor) private() bool {
	return !slices.ContainsFunc(d.bound(), func(a netip.Addr) bool { return !a.IsLoopback() })
}

// listeners says where control connections are taken; false when nowhere.
func (d *ftpDoctor) listeners() bool {
	on := d.control()
	if len(on) == 0 {
		d.say(stateFail, "listeners", "ports.ftp and ports.ftps are both off", "Switch one of them on (auto).")
		return false
	}
	where := strings.Join(d.config.Listen, ", ")
	if d.config.everywhere() {
		where = "every address"
	}
	for _, l := range on {
		kind := "AUTH TLS"
		if l.name == "ftps" {
			kind = "TLS from the start"
		}
		d.say(stateOK, "listener "+l.name, fmt.Sprintf("port %d on %s, %s", d.config.port(l), where, kind))
	}
	switch {
	case len(d.bound()) == 0:
		d.say(stateFail, "listen", "this machine has none of the addresses "+where, "Correct listen (now from "+d.settings["listen"].from+").")
	case d.private():
		d.say(stateWarn, "listen", "only clients on this machine can connect", "For others set listen = \"all\", or one of this machine's addresses.")
	}
	return true
}

// fewPorts is below what a few dozen clients with several transfers each may want at one time behind one NAT.
const fewPorts = 20

// passive looks at the range of ports for data connections.
func (d *ftpDoctor) passive() {
	r := d.config.passive()
	n := r.Last - r.First + 1
	what := fmt.Sprintf("%d to %d (%d ports)", r.First, r.Last, n)
	if d.ports != nil {
		open, waiting := d.ports.Usage()
		what += fmt.Sprintf(", %d open, %d transfers wait for their connection", open, waiting)
	}
	if n < fewPorts {
		d.say(stateWarn, "passive ports", what, "A port serves one waiting transfer of each client address, so few of them are soon used up by clients behind one NAT or one front end.",
			"Give ftp.passive_ports a larger range.")
	} else {
		d.say(stateOK, "passive ports", what)
	}
	if first, last, ok := d.ephemeral(); ok && r.First <= last && r.Last >= first {
		d.say(stateWarn, "passive ports", fmt.Sprintf("overlap the ports that the system gives to outgoing connections (%d to %d)", first, last),
			"Some of them will be in use when they are needed: choose a range below.")
	}
	busy := d.busy(r)
	switch {
	case len(busy) == n:
		d.say(stateFail, "passive ports", "none of them can be opened: all are in use by other programs", "Choose another range (ftp.passive_ports).")
	case len(busy) > 0:
		d.say(stateWarn, "passive ports", fmt.Sprintf("%d of them are in use by other programs, the first is %d", len(busy), busy[0]), "They are passed over. Choose another range, or stop that program.")
	}
	d.say(stateInfo, "firewall", fmt.Sprintf("clients need TCP ports %s and %d to %d, under the same numbers outside", d.controlPorts(), r.First, r.Last),
		"Forward and publish them one to one. Firewalls that rewrite PASV cannot do so under TLS, nor need to: switch their FTP helpers off.")
}

func (d *ftpDoctor) controlPorts() string {
	var all []string
	for _, l := range d.control() {
		all = append(all, strconv.Itoa(d.config.port(l)))
	}
	return strings.Join(all, ", ")
}

// ephemeral is the range of ports that the system gives to outgoing connections.
func (d *ftpDoctor) ephemeral() (first, last int, ok bool) {
	text, err := os.ReadFile(filepath.Join(cmp.Or(d.root, "/"), "proc/sys/net/ipv4/ip_local_port_range"))
	if err != nil {
		return 0, 0, false
	}
	n, err := fmt.Sscan(string(text), &first, &last)
	return first, last, n == 2 && err == nil
}

// manyTried is how many ports of a range are tried.
const manyTried = 2000

// busy are the ports of the range that other programs have.
func (d *ftpDoctor) busy(r portRange) (all []int) {
	if d.ports == nil && d.runsElsewhere() {
		return nil
	}
	for n := r.First; n <= min(r.Last, r.First+manyTried-1); n++ {
		if d.ports != nil && d.ports.IsOpen(n) {
			continue
		}
		for _, a := range d.config.addresses() {
			ln, err := plainTCP.Listen(context.Background(), "tcp", net.JoinHostPort(a, strconv.Itoa(n)))
			if err == nil {
				ln.Close()
			} else if errors.Is(err, syscall.EADDRINUSE) {
				all = append(all, n)
				break
			}
		}
	}
	return all
}

// runsElsewhere tells whether what has the ports may be a packetboat of another data folder, as its control port is taken.
func (d *ftpDoctor) runsElsewhere() bool {
	for _, l := range d.control() {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.config.port(l))), time.Second)
		if err == nil {
			conn.Close()
			return true
		}
	}
	return false
}

// frontEnds looks at what proxy.listeners says of FTP.
func (d *ftpDoctor) frontEnds() {
	c := d.config
	var behind []string
	for _, l := range d.control() {
		if c.fronts(l.name) != nil {
			behind = append(behind, l.name)
		}
	}
	data := c.fronts(passivePorts) != nil
	switch {
	case len(behind) > 0 && data:
		d.say(stateOK, "front ends", strings.Join(behind, ", ")+" and the passive ports expect PROXY headers from "+d.settings["proxy.trusted"].value)
	case len(behind) > 0:
		d.say(stateWarn, "front ends", strings.Join(behind, ", ")+" expect PROXY headers, the passive ports do not",
			"Data connections must then come from the clients themselves. If the front end forwards the passive ports too, add passive to proxy.listeners, and have it send the header there.")
	case data:
		d.say(stateWarn, "front ends", "the passive ports expect PROXY headers, ftp and ftps do not", "Add ftp and ftps to proxy.listeners, or take passive out.")
	default:
		d.say(stateOK, "front ends", "none: clients connect directly")
	}
}

// policies are the settings that some clients stumble over.
func (d *ftpDoctor) policies() {
	c := d.config
	hurt := "Python's ftplib, many cameras and scanners never resume; rclone resumes with another connection's session when it runs several transfers."
	switch c.FTPTLSReuse {
	case ftp.ReuseRequire:
		d.say(stateWarn, "TLS reuse", "data connections must resume the control connection's TLS session", hurt,
			"Their accounts can be excepted: ftp.data_tls_reuse = \"require, account robot@*: prefer\".")
	case ftp.ReuseOff:
		d.say(stateWarn, "TLS reuse", "no TLS session is resumed", "FileZilla warns its user of theft then, and each file costs a whole handshake: prefer does neither.")
	default:
		d.say(stateOK, "TLS reuse", "clients that resume are proven, others are served too")
	}
	for _, r := range c.FTPReuseRules {
		d.say(stateInfo, "TLS reuse", strings.TrimSpace(label("listener", r.Listener)+label("account", r.Account))+": "+string(r.Reuse))
	}
	if c.FTPDataTLS == "required" {
		d.say(stateInfo, "data TLS", "required: clients must send PROT P", "Clients in clear (Windows Explorer, old devices) can transfer nothing.")
	} else {
		d.say(stateInfo, "data TLS", "as the client wants (PROT P or C)")
	}
	if c.Plaintext == auth.PlaintextAlways {
		d.say(stateWarn, "passwords", "are taken without TLS from everywhere", "Set auth.plaintext = \"loopback\" unless a device cannot do TLS.")
	}
	if c.FTPActive {
		d.say(stateInfo, "active mode", "on: this server connects to the client's own address", "Clients behind NAT cannot use it; behind a NAT or in a container of ours the connection comes from another address than they expect.")
	}
}

func label(kind, pattern string) string {
	if pattern == "" {
		return ""
	}
	return kind + " " + pattern + " "
}

// certificate compares the names of the server's certificate with what clients call it.
func (d *ftpDoctor) certificate(q consultation) {
	if d.cert == nil {
		return
	}
	cert := d.cert()
	names := []string{d.config.Hostname}
	names = append(names, q.addresses...)
	for _, name := range names {
		if err := cert.VerifyHostname(name); err != nil {
			d.say(stateWarn, "certificate", "is not for "+name+", but for "+strings.Join(cert.DNSNames, ", "), "Clients that connect by that name warn. Give it a certificate with the name (tls.cert), or have clients use one of its names.")
		} else {
			d.say(stateOK, "certificate", "is for "+name)
		}
	}
	switch left := time.Until(cert.NotAfter); {
	case left < 0:
		d.say(stateFail, "certificate", "ended on "+cert.NotAfter.Format(time.DateOnly), "Renew tls.cert and tls.key; they are read anew within a minute.")
	case left < 14*24*time.Hour && d.config.TLSCert != "":
		d.say(stateWarn, "certificate", "ends on "+cert.NotAfter.Format(time.DateOnly), "Renew it.")
	}
	if d.config.TLSCert == "" {
		d.say(stateInfo, "certificate", "is of the local CA", "Clients must trust tls/ca.pem of the data folder, or ask their user.")
	}
}

// files compares the descriptors that the process may have with what the limits allow.
func (d *ftpDoctor) files() {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return
	}
	c := d.config
	ports := (c.passive().Last - c.passive().First + 1) * len(c.addresses())
	files := c.LimitTotal
	if c.LimitFTP > 0 && c.LimitFTP < files {
		files += c.LimitFTP
	} else {
		files += c.LimitTotal
	}
	want := uint64(files + ports + 500)
	if c.LimitTotal > 0 && r.Cur < want {
		d.say(stateWarn, "open files", fmt.Sprintf("%d are allowed; with limits.total = %d sessions, each with a data connection, and %d passive sockets up to %d are wanted", r.Cur, c.LimitTotal, ports, want),
			"Raise LimitNOFILE (systemd) or ulimit -n, or lower limits.total.")
		return
	}
	d.say(stateOK, "open files", fmt.Sprintf("%d are allowed", r.Cur))
}
