package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// sick makes a doctor for a configuration, on a machine with these addresses, whose /proc and the like are as given.
func sick(t *testing.T, toml string, addresses []string, files map[string]string) *ftpDoctor {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	c, all, err := (&configFlags{}).load(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := &ftpDoctor{config: c, settings: all, root: t.TempDir()}
	for _, a := range addresses {
		d.interfaces = append(d.interfaces, netip.MustParsePrefix(a))
	}
	for name, text := range files {
		file := filepath.Join(d.root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestDoctorFTP(t *testing.T) {
	lan := []string{"127.0.0.1/8", "192.168.0.5/24", "::1/128"}
	for _, test := range []struct {
		name      string
		toml      string
		addresses []string
		files     map[string]string
		q         consultation
		want      []string // "STATE check: words"
		not       []string
	}{
		{"first run", "", lan, nil, consultation{}, []string{"FAIL server: is not running", "WARN listen: only clients on this machine", "OK PASV: a client at 127.0.0.1"}, []string{"198.51.100.1"}},
		{"behind NAT", `listen = "all"`, lan, nil, consultation{},
			[]string{"WARN PASV: a client at 198.51.100.1 that reaches 192.168.0.5 is told 192.168.0.5 (a private address), which it cannot reach", "OK PASV: a client at 192.168.0.1 that reaches 192.168.0.5"}, nil},
		{"provider's NAT", `listen = "all"`, []string{"100.64.3.4/10"}, nil, consultation{}, []string{"(a provider's NAT address), which it cannot reach"}, nil},
		{"NAT with an address", "listen = \"all\"\n[ftp]\npublic_addresses = \"*=203.0.113.7,192.168.0.0/24=local\"", lan, nil, consultation{},
			[]string{"OK PASV: a client at 198.51.100.1 that reaches 192.168.0.5 is told 203.0.113.7 (public)", "OK PASV: a client at 192.168.0.1 that reaches 192.168.0.5 is told 192.168.0.5"}, nil},
		{"client named", "listen = \"all\"\n[ftp]\npublic_addresses = \"10.0.0.0/8=10.0.0.5\"", lan, nil, consultation{clients: []string{"10.7.7.7", "2001:db8::7"}},
			[]string{"OK PASV: a client at 10.7.7.7 that reaches 192.168.0.5 is told 10.0.0.5"}, []string{"198.51.100.1"}},
		{"client beyond loopback", "", lan, nil, consultation{clients: []string{"198.51.100.9"}}, []string{"WARN PASV: a client at 198.51.100.9 reaches no address that is listened on"}, nil},
		{"IPv6 client", `listen = "all"`, []string{"fd00::5/64"}, nil, consultation{clients: []string{"fd00::7"}}, []string{"OK PASV: a client at fd00::7 has EPSV"}, nil},
		{"container", `listen = "all"`, []string{"127.0.0.1/8", "172.17.0.2/16"}, map[string]string{".dockerenv": ""}, consultation{clients: []string{"198.51.100.1", "192.168.1.7", "172.17.0.1"}},
			[]string{"INFO container: this is one (Docker)", "FAIL PASV: a client at 198.51.100.1", "WARN PASV: a client at 192.168.1.7 that reaches 172.17.0.2 is told 172.17.0.2 (a private address), the container's own", "OK PASV: a client at 172.17.0.1"}, nil},
		{"container for its machine alone", "listen = \"all\"\n[ftp]\npublic_address = \"127.0.0.1\"", []string{"172.17.0.2/16"}, map[string]string{".dockerenv": ""}, consultation{},
			[]string{"WARN PASV: a client at 172.17.0.1 that reaches 172.17.0.2 is told 127.0.0.1 (this machine's own), which leads here only from the machine that the container runs on"}, []string{"FAIL PASV"}},
		{"loopback for everybody", "listen = \"all\"\n[ftp]\npublic_address = \"127.0.0.1\"", lan, nil, consultation{}, []string{"FAIL PASV: a client at 198.51.100.1 that reaches 192.168.0.5 is told 127.0.0.1"}, nil},
		{"container by cgroup", "", lan, map[string]string{"proc/1/cgroup": "0::/kubepods/x"}, consultation{}, []string{"INFO container: this is one (kubepods)"}, nil},
		{"no container", "", lan, map[string]string{"proc/1/cgroup": "0::/init.scope"}, consultation{}, []string{"OK container: none"}, nil},
		{"ephemeral ports", "[ftp]\npassive_ports = \"40000-40099\"", lan, map[string]string{"proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n"}, consultation{},
			[]string{"WARN passive ports: overlap the ports that the system gives to outgoing connections (32768 to 60999)"}, nil},
		{"few ports", "[ftp]\npassive_ports = \"23000-23001\"", lan, nil, consultation{}, []string{"WARN passive ports: 23000 to 23001 (2 ports)"}, nil},
		{"all off", "[ports]\nftp = \"off\"\nftps = \"off\"", lan, nil, consultation{}, []string{"FAIL listeners: ports.ftp and ports.ftps are both off"}, []string{"passive ports"}},
		{"address of nobody", `listen = "203.0.113.9"`, lan, nil, consultation{}, []string{"FAIL listen: this machine has none of the addresses 203.0.113.9"}, nil},
		{"policies", "[ftp]\ndata_tls_reuse = \"require, account robot@*: prefer\"\ndata_tls = \"required\"\n[auth]\nplaintext = \"always\"", lan, nil, consultation{},
			[]string{"WARN TLS reuse: data connections must resume", "INFO TLS reuse: account robot@*: prefer", "INFO data TLS: required", "WARN passwords: "}, nil},
		{"reuse off", "[ftp]\ndata_tls_reuse = \"off\"", lan, nil, consultation{}, []string{"WARN TLS reuse: no TLS session is resumed"}, nil},
		{"front end for half", "[proxy]\nlisteners = \"ftp\"", lan, nil, consultation{}, []string{"WARN front ends: ftp expect PROXY headers, the passive ports do not"}, nil},
		{"front end for the other half", "[proxy]\nlisteners = \"passive\"", lan, nil, consultation{}, []string{"WARN front ends: the passive ports expect"}, nil},
		{"front end", "[proxy]\nlisteners = \"ftp, passive\"", lan, nil, consultation{}, []string{"OK front ends: ftp and the passive ports expect PROXY headers from 127.0.0.1, ::1"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var all strings.Builder
			for _, f := range sick(t, test.toml, test.addresses, test.files).examine(t.Context(), test.q) {
				fmt.Fprintf(&all, "%s %s: %s\n", f.State, f.Check, f.What)
			}
			for _, want := range test.want {
				if !strings.Contains(all.String(), want) {
					t.Errorf("no %q in\n%s", want, &all)
				}
			}
			for _, not := range test.not {
				if strings.Contains(all.String(), not) {
					t.Errorf("%q in\n%s", not, &all)
				}
			}
		})
	}
}

// A container whose network hides the clients shows them all at its gateway.
func TestDoctorGateway(t *testing.T) {
	d := sick(t, "", nil, map[string]string{".dockerenv": "", "proc/net/route": "Iface\tDestination\tGateway\nlo\t0000FEA9\t00000000\neth0\t00000000\t010011AC\n"})
	d.list = func() []session.Info {
		return []session.Info{{Protocol: session.FTP, Remote: "172.17.0.1:4000"}, {Protocol: session.FTP, Remote: "172.17.0.1:4001"}, {Protocol: session.IMAP, Remote: "10.0.0.7:1"}}
	}
	d.container()
	if last := d.found[len(d.found)-1]; last.State != stateWarn || !strings.Contains(last.What, "all 2 FTP sessions seem to come from the gateway 172.17.0.1") {
		t.Errorf("%+v", d.found)
	}
}

func TestWrap(t *testing.T) {
	got := wrap("aa bb  cc dddddddd e", 5)
	if strings.Join(got, "|") != "aa bb|cc|dddddddd|e" || wrap("", 5) != nil {
		t.Errorf("%q", got)
	}
}

// serving runs a server in this process until the test ends and returns its data folder.
func serving(t *testing.T, base int, set ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{stdout: in, stderr: os.Stderr, flags: configFlags{data: dir, basePort: fmt.Sprint(base), listen: "127.0.0.1", domain: "example.test", set: append(set, "server.log_level=error")}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.serve(ctx); in.Close() }()
	ready := make(chan struct{})
	go func() {
		var all strings.Builder
		for b := make([]byte, 4096); ; {
			n, err := out.Read(b)
			if all.Write(b[:n]); strings.Contains(all.String(), "packetboat: ready") {
				close(ready)
				all.Reset()
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		out.Close()
	})
	select {
	case <-ready:
	case <-time.After(60 * time.Second):
		t.Fatal("not ready")
	}
	return dir
}

// base finds ports that are free for a server's listeners and passive ports.
func base(t *testing.T) int {
	t.Helper()
	for b := 14000 + os.Getpid()%50*100; b < 25000; b += 1300 {
		free := true
		for _, n := range []int{21, 25, 80, 143, 443, 465, 587, 990, 993, 1100, 1101} {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", b+n))
			if err != nil {
				free = false
				break
			}
			ln.Close()
		}
		if free {
			return b
		}
	}
	t.Fatal("no free ports")
	return 0
}

// doctored runs the verb and returns its findings as lines, and its exit code.
func doctored(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	var out, errs strings.Builder
	code := run(append([]string{"doctor", "ftp", "--data", dir, "--json"}, args...), nil, &out, &errs)
	var found []finding
	if err := json.Unmarshal([]byte(out.String()), &found); err != nil {
		t.Fatalf("%v: %s%s", err, &out, &errs)
	}
	var all strings.Builder
	for _, f := range found {
		fmt.Fprintf(&all, "%s %s: %s\n", f.State, f.Check, f.What)
	}
	return all.String(), code
}

// TestDoctorRunning: the server reaches itself where it can be reached, and says so where another answers or nobody does.
func TestDoctorRunning(t *testing.T) {
	b := base(t)
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.9:%d", b+21))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "220 vsFTPd\r\n")
			c.Close()
		}
	}()
	dir := serving(t, b)
	all, code := doctored(t, dir, "--address", "127.0.0.9", "--address", "localhost")
	for _, want := range []string{
		"OK server: is running", "OK certificate: is for mail.example.test", "WARN certificate: is not for 127.0.0.9", "OK certificate: is for localhost",
		fmt.Sprintf("OK reach 127.0.0.1: control connections and passive port %d", (b+1100)/10), // the two addresses are tried side by side, on the first two ports
		fmt.Sprintf(`WARN reach 127.0.0.9: ftp, port %d: another server answers, or this one refuses: "220 vsFTPd"`, b+21),
		"OK reach localhost: ",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if code != exitOK || strings.Contains(all, "FAIL") {
		t.Errorf("exit code %d\n%s", code, all)
	}
	var table, errs strings.Builder
	if code := run([]string{"doctor", "ftp", "--data", dir}, nil, &table, &errs); code != exitOK || !strings.HasPrefix(table.String(), "STATE  CHECK") {
		t.Errorf("%d\n%s%s", code, &table, &errs)
	}
	if code := run([]string{"doctor", "ftp", "--data", dir, "--client", "lan"}, nil, &table, &errs); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
}

// TestDoctorFronted: a machine that is a front end itself can look, another cannot.
func TestDoctorFronted(t *testing.T) {
	for trusted, want := range map[string]string{"127.0.0.1": "OK reach 127.0.0.1: ", "192.0.2.9": "INFO reach 127.0.0.1: ftp: only front ends may connect"} {
		dir := serving(t, base(t), "proxy.listeners=ftp,ftps,passive", "proxy.trusted="+trusted)
		if all, code := doctored(t, dir); !strings.Contains(all, want) || code != exitOK {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

func TestDoctorStopped(t *testing.T) {
	all, code := doctored(t, t.TempDir())
	if code != exitFailed || !strings.HasPrefix(all, "FAIL server: is not running: this is about the configuration alone\n") {
		t.Errorf("%d\n%s", code, all)
	}
}
