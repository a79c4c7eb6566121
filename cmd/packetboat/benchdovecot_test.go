//go:build bench

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// procFile is the text of a file, "" when it cannot be read.
func procFile(name string) string {
	b, _ := os.ReadFile(name)
	return string(b)
}

// dovecot is Debian's Dovecot with a configuration of its own: any user, one password.
type dovecot struct {
	dir         string
	plain, tls  int
	cmd         *exec.Cmd
	conf, store string // store: the driver of mail_location
	lmtp        string // its socket
}

const dovecotPassword = "dovecot-bench"

// startDovecot starts one that also takes mail by LMTP. fsync is its mail_fsync.
func startDovecot(t *testing.T, driver, fsync, cert, key string) *dovecot {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("Dovecot is started with users of its own, which needs root")
	}
	mailUser := "mail"
	u, err := user.Lookup(mailUser)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// the mail user must get through to its folder
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	d := &dovecot{dir: dir, plain: freePort(t), tls: freePort(t), store: driver, lmtp: filepath.Join(dir, "run", "lmtp")}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "mail"), uid, gid); err != nil {
		t.Fatal(err)
	}
	d.conf = writeOwn(t, filepath.Join(dir, "dovecot.conf"), fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
protocols = imap lmtp
log_path = %[1]s/log
listen = 127.0.0.1
ssl = yes
ssl_cert = <%[2]s
ssl_key = <%[3]s
disable_plaintext_auth = no
mail_location = %[4]s:%[1]s/mail/%%u
mail_uid = %[5]s
mail_gid = %[5]s
first_valid_uid = 1
first_valid_gid = 1
mail_fsync = %[9]s
default_client_limit = 20000
default_process_limit = 8000
default_vsz_limit = 4G
mail_max_userip_connections = 20000
passdb {
  driver = static
  args = password=%[6]s
}
userdb {
  driver = static
  args = uid=%[5]s gid=%[5]s home=%[1]s/mail/%%u allow_all_users=yes
}
namespace inbox {
  inbox = yes
}
service imap-login {
  inet_listener imap {
    port = %[7]d
  }
  inet_listener imaps {
    port = %[8]d
    ssl = yes
  }
}
service imap {
  process_limit = 8000
}
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
}
`, dir, cert, key, driver, mailUser, dovecotPassword, d.plain, d.tls, fsync))
	d.cmd = exec.Command("dovecot", "-F", "-c", d.conf)
	out := &output{wake: make(chan struct{}, 1)}
	d.cmd.Stdout, d.cmd.Stderr = out, out
	startGroup(t, d.cmd)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := dialIMAP(fmt.Sprintf("127.0.0.1:%d", d.plain), nil)
		if err == nil {
			c.Close()
			return d
		}
		if time.Now().After(end) {
			t.Fatalf("dovecot does not answer: %v\n%s%s", err, out, procFile(filepath.Join(dir, "log")))
		}
	}
}
