//go:build e2e

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// postfix is Debian's Postfix with a configuration of its own, as a mail server of somebody else's: it has a domain with Maildirs (any user is
// there), signs and verifies with opendkim if that is asked for, and knows by a table where other domains are.
type postfix struct {
	t         *testing.T
	dir, host string
	port      int
	domain    string
}

// services are the rows of master.cf that every Postfix needs.
const services = `
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
virtual   unix  - n n - - virtual
lmtp      unix  - - n - - lmtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
`

// startPostfix starts one for a domain on host:port; more are further lines of main.cf.
func startPostfix(t *testing.T, domain, host string, port int, more ...string) *postfix {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("Postfix is started with users of its own, which needs root")
	}
	p := &postfix{t: t, dir: openDir(t), host: host, port: port, domain: domain}
	for _, d := range []string{"etc", "queue", "data", "mail"} {
		if err := os.Mkdir(filepath.Join(p.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.chown("data", "postfix")
	p.chown("mail", "mail")
	cert, key := selfSigned(t, p.dir, "mx."+domain)
	uid, gid := ids(t, "mail")
	conf := []string{
		"compatibility_level = 3.6",
		"queue_directory = " + p.dir + "/queue",
		"data_directory = " + p.dir + "/data",
		"command_directory = /usr/sbin",
		"daemon_directory = /usr/lib/postfix/sbin",
		"mail_owner = postfix", "setgid_group = postdrop",
		"inet_interfaces = all", "inet_protocols = ipv4",
		"smtp_bind_address = " + host,
		"myhostname = mx." + domain, "mydestination =", "alias_maps =", "alias_database =",
		"mynetworks = 127.0.0.1/32",
		"virtual_mailbox_domains = " + domain, "virtual_mailbox_base = " + p.dir + "/mail",
		"virtual_mailbox_maps = static:all/", // messages tells them apart by Delivered-To
		fmt.Sprintf("virtual_uid_maps = static:%d", uid), fmt.Sprintf("virtual_gid_maps = static:%d", gid), "virtual_minimum_uid = 1",
		"maillog_file_prefixes = " + p.dir, "maillog_file = " + p.dir + "/log",
		"smtpd_tls_cert_file = " + cert, "smtpd_tls_key_file = " + key, "smtpd_tls_security_level = may",
		"smtpd_client_connection_count_limit = 0", "smtpd_client_connection_rate_limit = 0",
		"disable_dns_lookups = yes", // its resolver would be that of the machine
		"smtputf8_enable = yes",
		"minimal_backoff_time = 2s", "maximal_backoff_time = 2s", "queue_run_delay = 2s",
	}
	writeOwn(t, filepath.Join(p.dir, "etc", "main.cf"), strings.Join(append(conf, more...), "\n")+"\n")
	writeOwn(t, filepath.Join(p.dir, "etc", "master.cf"), fmt.Sprintf("%s:%d inet n - n - - smtpd%s", host, port, services))
	p.run("start")
	t.Cleanup(func() {
		exec.Command("postfix", "-c", filepath.Join(p.dir, "etc"), "stop").Run()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
			t.Logf("log of Postfix:\n%s", log)
		}
	})
	waitForPort(t, net.JoinHostPort(host, strconv.Itoa(port)))
	return p
}

func (p *postfix) chown(name, owner string) {
	uid, gid := ids(p.t, owner)
	if err := os.Chown(filepath.Join(p.dir, name), uid, gid); err != nil {
		p.t.Fatal(err)
	}
}

func (p *postfix) run(verb string) {
	p.t.Helper()
	if out, err := exec.Command("postfix", "-c", filepath.Join(p.dir, "etc"), verb).CombinedOutput(); err != nil {
		p.t.Fatalf("postfix %s: %v\n%s", verb, err, out)
	}
}

// set changes lines of main.cf, for connections that are there already too.
func (p *postfix) set(lines ...string) {
	p.t.Helper()
	if out, err := exec.Command("postconf", append([]string{"-c", filepath.Join(p.dir, "etc"), "-e"}, lines...)...).CombinedOutput(); err != nil {
		p.t.Fatalf("postconf: %v\n%s", err, out)
	}
	p.run("stop")
	p.run("start")
	waitForPort(p.t, net.JoinHostPort(p.host, strconv.Itoa(p.port)))
}

// send hands a message to Postfix as a local program does; the envelope's options are sendmail's.
func (p *postfix) send(message string, args ...string) {
	p.t.Helper()
	c := exec.Command("/usr/sbin/sendmail", append([]string{"-C", filepath.Join(p.dir, "etc")}, args...)...)
	c.Stdin = strings.NewReader(message)
	if out, err := c.CombinedOutput(); err != nil {
		p.t.Fatalf("sendmail %v: %v\n%s", args, err, out)
	}
}

// queue is what Postfix still has to deliver, as JSON lines of its own.
func (p *postfix) queue() string {
	out, err := exec.Command("postqueue", "-c", filepath.Join(p.dir, "etc"), "-j").CombinedOutput()
	if err != nil {
		p.t.Fatalf("postqueue: %v\n%s", err, out)
	}
	return string(out)
}

// message waits until a message whose text contains what came for a user, and returns it.
func (p *postfix) message(user, what string) string {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, m := range p.messages(user) {
			if strings.Contains(m, what) {
				return m
			}
		}
	}
	p.t.Fatalf("no message with %q came to %s at Postfix", what, user)
	return ""
}

// messages are all that came for a user.
func (p *postfix) messages(user string) (all []string) {
	filepath.WalkDir(filepath.Join(p.dir, "mail", "all", "new"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			text, _ := os.ReadFile(path)
			if strings.Contains(string(text), "\nDelivered-To: "+user+"@") {
				all = append(all, string(text))
			}
		}
		return nil
	})
	return all
}

// openDir is a temporary folder that other users get through to.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	return dir
}

func ids(t *testing.T, name string) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid
}

// selfSigned makes a certificate for a name and returns its files.
func selfSigned(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = writeOwn(t, filepath.Join(dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	key = writeOwn(t, filepath.Join(dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return cert, key
}

func waitForPort(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody answers at %s: %v", addr, err)
		}
	}
}

// opendkim is Debian's OpenDKIM as a milter for Postfix: it signs for one domain and verifies what others signed. Keys are no DNS's but a file's.
type opendkim struct {
	t          *testing.T
	dir, addr  string
	domain     string
	publicText string // of its own key, for the DNS
	cmd        *exec.Cmd
	keys       string
}

const opendkimSelector = "odk"

// startOpenDKIM starts one that knows the public keys of others: names such as s1._domainkey.example.test with their records.
func startOpenDKIM(t *testing.T, domain string, known map[string]string) *opendkim {
	t.Helper()
	o := startOpenDKIMAt(t, domain, known, openDir(t), "inet:"+strconv.Itoa(freePort(t))+"@127.0.0.1")
	port, _, _ := strings.Cut(strings.TrimPrefix(o.addr, "inet:"), "@")
	waitForPort(t, "127.0.0.1:"+port)
	return o
}

// startOpenDKIMAt starts one on a socket as its configuration names them, and does not wait for it.
func startOpenDKIMAt(t *testing.T, domain string, known map[string]string, dir, socket string) *opendkim {
	t.Helper()
	o := &opendkim{t: t, dir: dir, domain: domain, addr: socket}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	o.publicText = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
	key := writeOwn(t, filepath.Join(o.dir, "private"), string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})))
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	var keys strings.Builder
	fmt.Fprintf(&keys, "%s._domainkey.%s %s\n", opendkimSelector, domain, o.publicText)
	for name, record := range known {
		fmt.Fprintf(&keys, "%s %s\n", name, record)
	}
	o.keys = writeOwn(t, filepath.Join(o.dir, "keys"), keys.String())
	conf := writeOwn(t, filepath.Join(o.dir, "opendkim.conf"), fmt.Sprintf(`Mode sv
Socket %s
Domain %s
Selector %s
KeyFile %s
TestPublicKeys %s
AlwaysAddARHeader yes
AuthservID mx.%s
InternalHosts 127.0.0.1
RequireSafeKeys no
Canonicalization relaxed/simple
PidFile %s/pid
Background no
Syslog no
`, o.addr, domain, opendkimSelector, key, o.keys, domain, o.dir))
	o.cmd = exec.Command("opendkim", "-f", "-x", conf)
	out := &output{wake: make(chan struct{}, 1)}
	o.cmd.Stdout, o.cmd.Stderr = out, out
	startOwned(t, o.cmd, out)
	return o
}

// milter is its address as Postfix wants it.
func (o *opendkim) milter() string {
	port, host, _ := strings.Cut(strings.TrimPrefix(o.addr, "inet:"), "@")
	return "inet:" + host + ":" + port
}

// startOwned starts a program that ends with the test.
func startOwned(t *testing.T, c *exec.Cmd, out *output) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		done := make(chan struct{})
		go func() { c.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			c.Process.Kill()
			<-done
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(c.Path), out)
		}
	})
}

// startRspamd starts Debian's rspamd, which asks the given DNS server, and returns the address of its worker (HTTP).
func startRspamd(t *testing.T, dns string) string {
	t.Helper()
	dir := openDir(t)
	port, control := freePort(t), freePort(t)
	for _, d := range []string{"local.d", "override.d", "db", "run", "log"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	uid, gid := ids(t, "_rspamd")
	for _, d := range []string{"db", "run", "log"} {
		if err := os.Chown(filepath.Join(dir, d), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	local := func(name, text string) { writeOwn(t, filepath.Join(dir, "local.d", name), text) }
	local("worker-normal.inc", fmt.Sprintf("bind_socket = \"127.0.0.1:%d\";\ncount = 1;\n", port))
	local("worker-controller.inc", fmt.Sprintf("bind_socket = \"127.0.0.1:%d\";\n", control))
	local("worker-proxy.inc", "enabled = false;\n")
	local("worker-fuzzy.inc", "enabled = false;\n")
	local("options.inc", fmt.Sprintf("dns { nameserver = [\"%s\"]; timeout = 1s; retransmits = 1; }\nenable_test_patterns = true;\n", dns))
	local("logging.inc", "type = \"console\";\n")
	for _, m := range []string{"rbl", "surbl", "fuzzy_check", "phishing", "asn", "neural", "greylist", "ratelimit", "bayes_expiry"} {
		local(m+".conf", "enabled = false;\n")
	}
	c := exec.Command("rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", "/etc/rspamd/rspamd.conf",
		"--var=LOCAL_CONFDIR="+dir, "--var=DBDIR="+dir+"/db", "--var=RUNDIR="+dir+"/run", "--var=LOGDIR="+dir+"/log")
	out := &output{wake: make(chan struct{}, 1)}
	c.Stdout, c.Stderr = out, out
	startOwned(t, c, out)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	waitForPort(t, addr)
	return addr
}
