//go:build bench

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// The servers to compare with are Debian's, unpacked by .ci/ftp-peers. Their account stands in a passwd and shadow of the benchmark's own, which only they
// see (a mount namespace); its password is hashed with yescrypt, as Debian does it.
const (
	ftpPeerPort     = 20121
	ftpPeerID       = 54321
	ftpPeerPassword = "bench-password"
	ftpPeerHash     = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$rotP9QNLdahfHxfvTPFW6tezVl/jHH0QxweXpS6H7s6"
)

// ftpPeerRoot is where the packages are unpacked.
func ftpPeerRoot() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "packetboat-tests", "ftp-peers")
}

// makePeer makes the files that a server needs.
func (v *ftpRival) makePeer() error {
	if _, err := os.Stat(filepath.Join(ftpPeerRoot(), "usr/sbin/vsftpd")); err != nil {
		return fmt.Errorf("run make bench-ftp: %w", err)
	}
	home := v.at("home")
	for name, text := range map[string]string{
		"etc/passwd":     fmt.Sprintf("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n%s:x:%d:%d::%s:/bin/sh\n", ftpPeerUser, ftpPeerID, ftpPeerID, home),
		"etc/group":      fmt.Sprintf("root:x:0:\nnogroup:x:65534:\n%s:x:%d:\n", ftpPeerUser, ftpPeerID),
		"etc/shadow":     fmt.Sprintf("root:*:19000:0:99999:7:::\n%s:%s:19000:0:99999:7:::\n", ftpPeerUser, ftpPeerHash),
		"pam.d/vsftpd":   "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_unix.so\n",
		"plain.conf":     v.vsftpd(false),
		"tls.conf":       v.vsftpd(true),
		"proftpd.conf":   v.proftpd(),
		"home/empty.txt": "",
	} {
		if err := os.MkdirAll(filepath.Dir(v.at(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(v.at(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Chown(home, ftpPeerID, ftpPeerID); err != nil {
		return err
	}
	if err := os.Mkdir(v.at("nothing"), 0o755); err != nil {
		return err
	}
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", v.at("key.pem"), "-out", v.at("cert.pem"),
		"-days", "30", "-subj", "/CN=localhost").CombinedOutput()
	if err != nil {
		return fmt.Errorf("openssl: %w: %s", err, out)
	}
	key, err1 := os.ReadFile(v.at("key.pem"))
	cert, err2 := os.ReadFile(v.at("cert.pem"))
	return errors.Join(err1, err2, os.WriteFile(v.at("both.pem"), append(key, cert...), 0o600))
}

func (v *ftpRival) at(name string) string { return filepath.Join(v.Dir, name) }

// fillPeer makes a folder of n empty files.
func (v *ftpRival) fillPeer(folder string, n int) error {
	dir := filepath.Join(v.at("home"), folder)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("file-%06d.bin", i))
		if err := errors.Join(os.WriteFile(name, nil, 0o644), os.Chown(name, ftpPeerID, ftpPeerID)); err != nil {
			return err
		}
	}
	return os.Chown(dir, ftpPeerID, ftpPeerID)
}

// peer is the command of a server, in the mount namespace of the calling process, which it changes.
func (v *ftpRival) peer(secure bool) (*exec.Cmd, error) {
	for from, to := range map[string]string{"etc/passwd": "/etc/passwd", "etc/group": "/etc/group", "etc/shadow": "/etc/shadow", "pam.d": "/etc/pam.d"} {
		if err := syscall.Mount(v.at(from), to, "", syscall.MS_BIND, ""); err != nil {
			return nil, fmt.Errorf("binding %s: %w", to, err)
		}
	}
	root := ftpPeerRoot()
	switch v.Kind {
	case "vsftpd":
		conf := v.at("plain.conf")
		if secure {
			conf = v.at("tls.conf")
		}
		return exec.Command(filepath.Join(root, "usr/sbin/vsftpd"), conf), nil
	case "pureftpd":
		return exec.Command(filepath.Join(root, "usr/sbin/pure-ftpd"), "-S", fmt.Sprintf("127.0.0.1,%d", ftpPeerPort), "-l", "unix", "-E", "-H", "-c", "5000", "-C", "5000", "-I", "60",
			"-u", "1", "-Y", "1", "-2", v.at("both.pem"), "-g", v.at("pid"), "-O", "clf:"+v.at("transfer.log"), "-L", "200000:5"), nil
	case "proftpd":
		return exec.Command(filepath.Join(root, "usr/sbin/proftpd"), "-n", "-q", "-c", v.at("proftpd.conf")), nil
	}
	return nil, errors.New("no such server: " + v.Kind)
}

func (v *ftpRival) vsftpd(secure bool) string {
	conf := `listen=YES
listen_ipv6=NO
listen_address=127.0.0.1
listen_port=PORT
background=NO
anonymous_enable=NO
local_enable=YES
write_enable=YES
local_umask=022
xferlog_enable=YES
xferlog_file=DIR/transfer.log
connect_from_port_20=NO
secure_chroot_dir=DIR/nothing
pam_service_name=vsftpd
max_clients=0
max_per_ip=0
idle_session_timeout=3600
`
	if secure {
		conf += `ssl_enable=YES
allow_anon_ssl=NO
force_local_data_ssl=YES
force_local_logins_ssl=YES
rsa_cert_file=DIR/cert.pem
rsa_private_key_file=DIR/key.pem
require_ssl_reuse=NO
ssl_ciphers=HIGH
`
	}
	return v.fill(conf)
}

func (v *ftpRival) proftpd() string {
	return v.fill(`ModulePath ROOT/usr/lib/proftpd
LoadModule mod_tls.c
ServerName bench
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port PORT
UseIPv6 off
UseReverseDNS off
User nobody
Group nogroup
AuthOrder mod_auth_unix.c
AuthPAM off
RequireValidShell off
Umask 022
MaxInstances none
TimeoutIdle 3600
TimeoutNoTransfer 3600
ScoreboardFile DIR/score
PidFile DIR/pid
DelayTable none
SystemLog DIR/log
TransferLog DIR/transfer.log
AllowOverwrite on
TLSEngine on
TLSRequired off
TLSECCertificateFile DIR/cert.pem
TLSECCertificateKeyFile DIR/key.pem
TLSOptions NoSessionReuseRequired
`)
}

func (v *ftpRival) fill(conf string) string {
	return strings.NewReplacer("DIR", v.Dir, "PORT", fmt.Sprint(ftpPeerPort), "ROOT", ftpPeerRoot()).Replace(conf)
}
