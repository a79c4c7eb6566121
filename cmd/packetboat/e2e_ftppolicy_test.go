//go:build e2e

package main

import (
	"strings"
	"testing"
)

// TestEndToEndFilesReuse: with ftp.data_tls_reuse = require those clients that resume TLS sessions work as before, those that do not are refused, or are let in by an
// exception.
func TestEndToEndFilesReuse(t *testing.T) {
	b := launch(t, "--set", `ftp.data_tls_reuse=require, account joe@*: prefer`)
	t.Run("clients", func(t *testing.T) {
		for name, run := range map[string]func(*fileClient){
			"lftp": (*fileClient).lftp, "lftp resumes": (*fileClient).lftpResumes, "curl": (*fileClient).curl, "curl resumes": (*fileClient).curlResumes,
			"wget": (*fileClient).wget, "ftplib": (*fileClient).ftplibRequired,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(&fileClient{boat: b.as(t), dir: t.TempDir()})
			})
		}
	})
	t.Run("FileZilla", func(t *testing.T) {
		s := startScreen(t)
		t.Run("upload", func(t *testing.T) { newFileZilla(b, t, s).upload() })
		t.Run("download", func(t *testing.T) { newFileZilla(b, t, s).download() })
	})
	b.quiet()
}

// ftplibRequired: without reuse ann is refused and joe is not; with it ann is served.
func (f *fileClient) ftplibRequired() {
	f.python(f.t, `
import ftplib, io
class Reuse(ftplib.FTP_TLS):
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        return self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session), size
def stor(kind, user, password):
    f = kind(context=ctx); f.connect("localhost", PORT+21); f.login(user, password); f.prot_p()
    try: f.storbinary("STOR by-" + kind.__name__, io.BytesIO(b"x" * 100000)); f.delete("by-" + kind.__name__)
    finally: f.sendcmd("NOOP"); f.quit()
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    ctx = ssl.create_default_context(cafile=CA); ctx.minimum_version = ctx.maximum_version = version
    stor(Reuse, "ann@example.test", ANN); stor(Reuse, "joe@example.test", JOE); stor(ftplib.FTP_TLS, "joe@example.test", JOE)
    try: stor(ftplib.FTP_TLS, "ann@example.test", ANN)
    except (ftplib.Error, OSError) as e: print("refused:", e)
    else: raise SystemExit("ann was served without reuse")
`)
}

// TestEndToEndFilesAnonymous: who has no account reads what is offered, over IPv4 and IPv6, and changes nothing.
func TestEndToEndFilesAnonymous(t *testing.T) {
	b := launch(t)
	b.stop()
	b.args = append(b.args, "--set", "ftp.anonymous=joe@example.test") // whom there is only now
	b.start()
	f := &fileClient{boat: b, dir: t.TempDir()}
	writeTree(t, f.local("tree"))
	joe := "open -u joe@example.test,\"" + joePassword + "\" ftp://localhost:" + b.port(21) + "; "
	f.lftpRun(joe + "mirror -R --parallel=4 " + f.local("tree") + " /pub")
	for i, host := range []string{"127.0.0.1", "[::1]"} {
		url := "ftp://" + host + ":" + b.port(21) + "/pub/"
		if out := f.clean("", "curl", "-sS", "-l", url); !strings.Contains(out, "d1") {
			t.Errorf("%s lists\n%s", url, out)
		}
		f.clean("", "wget", "-nv", "-r", "-nH", "--cut-dirs=1", "-T", "20", "-t", "2", "-P", f.local(host), url)
		back := f.local([]string{"four", "six"}[i])
		f.clean("", "lftp", "-c", "set ssl:ca-file "+b.ca()+"; set ssl:check-hostname no; set net:max-retries 2; set net:timeout 10; set cmd:fail-exit yes; open ftp://"+host+":"+b.port(21)+"; mirror --parallel=4 /pub "+back)
		sameTree(t, f.local("tree"), back)
		for _, args := range [][]string{{"-T", f.local("tree/d0/file 3 ä.bin"), url + "new"}, {"-Q", "DELE /pub/d0/file 3 ä.bin", url}, {"-Q", "MKD /pub/made", url}, {"-Q", "RNFR /pub/d0", url}, {"-Q", "SITE CHMOD 777 /pub", url}} {
			if out, err := f.client("", "curl", append([]string{"-sS"}, args...)...); err == nil {
				t.Errorf("anonymous: %q was let through: %s", args, out)
			}
		}
		if out, err := f.client("", "curl", "-sS", "-l", "ftp://"+host+":"+b.port(21)+"/Mail/"); err == nil {
			t.Errorf("anonymous sees the mail: %s", out)
		}
	}
	f.lftpRun(joe + "mirror /pub " + f.local("still"))
	sameTree(t, f.local("tree"), f.local("still"))
	b.quiet()
}
