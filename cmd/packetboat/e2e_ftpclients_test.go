//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// ncftp has no TLS in Debian. It puts and gets a tree, and goes on where a download broke off.
func (f *fileClient) ncftp() {
	writeTree(f.t, f.local("tree"))
	data := f.noise("tree/big", 3<<20)
	write(f.t, f.local("cfg"), fmt.Appendf(nil, "host 127.0.0.1\nuser ann@example.test\npass %s\n", annPassword))
	login := []string{"-f", f.local("cfg"), "-P", f.port(21), "-V"}
	run := func(name string, args ...string) string {
		f.t.Helper()
		return f.clean("", name, append(login, args...)...)
	}
	run("ncftpput", "-m", "-R", "/ncftp", f.local("tree"))
	if out := f.clean("", "ncftpls", "-f", f.local("cfg"), "-P", f.port(21), "-l", "ftp://127.0.0.1/ncftp/tree/d1/"); !strings.Contains(out, "file 4 ä.bin") {
		f.t.Errorf("not listed:\n%s", out)
	}
	if err := os.MkdirAll(f.local("back"), 0o700); err != nil {
		f.t.Fatal(err)
	}
	run("ncftpget", "-T", "-R", f.local("back"), "/ncftp/tree")
	sameTree(f.t, f.local("tree"), f.local("back/tree"))
	write(f.t, f.local("resumed/big"), data[:1<<20])
	run("ncftpget", "-z", f.local("resumed"), "/ncftp/tree/big")
	f.holds("resumed/big", data)
	// Its way of going on with an upload (REST and STOR) sends the file from its beginning, to any server.
	write(f.t, f.local("part/up"), data[:1<<20])
	run("ncftpput", "/ncftp", f.local("part/up"))
	write(f.t, f.local("part/up"), data[1<<20:])
	run("ncftpput", "-A", "/ncftp", f.local("part/up"))
	run("ncftpget", f.dir, "/ncftp/up")
	f.holds("up", data)
}

// dialogue is what tnftp and inetutils-ftp can both do, with wildcards among it.
func (f *fileClient) dialogue(dir, name string, args ...string) {
	f.t.Helper()
	data := f.noise("a.bin", 70_000)
	for _, n := range []string{"one.txt", "two.txt"} {
		write(f.t, f.local(n), []byte(n))
		os.Remove(f.local("back/" + n))
	}
	if err := os.MkdirAll(f.local("back"), 0o700); err != nil {
		f.t.Fatal(err)
	}
	os.Remove(f.local("b.bin"))
	out := f.clean(fmt.Sprintf("user ann@example.test \"%s\"\nbinary\nmkdir %[2]s\ncd %[2]s\nlcd %[3]s\npwd\nput a.bin\nrename a.bin b.bin\nmput one.txt two.txt\nls\ndir\nls *.txt\n"+
		"get b.bin\nsize b.bin\nmodtime b.bin\nsystem\nstatus\nlcd back\nmget *.txt\nmdelete *.txt\ndelete b.bin\ncd ..\nrmdir %[2]s\nbye\n", annPassword, dir, f.dir),
		name, append(args, "127.0.0.1", f.port(21))...)
	f.holds("b.bin", data)
	for _, n := range []string{"one.txt", "two.txt"} {
		f.holds("back/"+n, []byte(n))
	}
	if !strings.Contains(out, "215 UNIX Type: L8") || !strings.Contains(out, "b.bin") || !strings.Contains(out, "221 ") {
		f.t.Errorf("%s %q:\n%s", name, args, out)
	}
}

func (f *fileClient) tnftp() {
	f.dialogue("tnftp-passive", "tnftp", "-n", "-v", "-i", "-p")
	f.dialogue("tnftp-active", "tnftp", "-n", "-v", "-i", "-A")
}

func (f *fileClient) inetutils() {
	f.dialogue("inetutils-passive", "inetutils-ftp", "-n", "-v", "-i", "-p")
	f.dialogue("inetutils-active", "inetutils-ftp", "-n", "-v", "-i", "-A")
}

// wget takes a tree over explicit and implicit TLS and in the clear, and goes on with a file.
func (f *fileClient) wget() {
	writeTree(f.t, f.local("tree"))
	data := f.noise("tree/big", 3<<20)
	f.lftpRun("mirror -R --parallel=4 tree /wget")
	run := func(args ...string) {
		f.t.Helper()
		f.clean("", "wget", append([]string{"-nv", "--ca-certificate=" + f.ca(), "--ftp-user=ann@example.test", "--ftp-password=" + annPassword, "-T", "20", "-t", "2", "-nH", "--cut-dirs=1"}, args...)...)
	}
	for name, args := range map[string][]string{
		"explicit": {"ftps://localhost:" + f.port(21) + "/wget/"},
		"implicit": {"--ftps-implicit", "ftps://localhost:" + f.port(990) + "/wget/"},
		"plain":    {"ftp://localhost:" + f.port(21) + "/wget/"},
		"active":   {"--no-passive-ftp", "ftp://127.0.0.1:" + f.port(21) + "/wget/"},
	} {
		run(append([]string{"-r", "-P", f.local(name)}, args...)...)
		os.Remove(f.local(name + "/empty")) // which wget does not make
		if err := os.MkdirAll(f.local(name+"/empty"), 0o700); err != nil {
			f.t.Fatal(err)
		}
		sameTree(f.t, f.local("tree"), f.local(name))
	}
	write(f.t, f.local("big"), data[:1<<20])
	run("-c", "-P", f.dir, "ftps://localhost:"+f.port(21)+"/wget/big")
	f.holds("big", data)
}

// rclone copies and syncs a tree with four transfers at a time; the second sync has nothing to do.
func (f *fileClient) rclone() {
	writeTree(f.t, f.local("tree"))
	secret := strings.TrimSpace(f.must("", "rclone", "obscure", annPassword))
	write(f.t, f.local("conf"), fmt.Appendf(nil, "[e]\ntype = ftp\nhost = localhost\nport = %s\nuser = ann@example.test\npass = %s\nconcurrency = 6\nexplicit_tls = true\n"+
		"[i]\ntype = ftp\nhost = localhost\nport = %s\nuser = ann@example.test\npass = %[2]s\nconcurrency = 6\ntls = true\n", f.port(21), secret, f.port(990)))
	run := func(args ...string) string {
		f.t.Helper()
		out := f.must("", "rclone", append([]string{"--config", f.local("conf"), "--ca-cert", f.ca(), "--transfers", "4", "--checkers", "4", "--low-level-retries", "1", "--retries", "1", "-v"}, args...)...)
		if bad := regexp.MustCompile(`(?m)^.* (ERROR|CRITICAL|WARNING)\b.*$`).FindString(out); bad != "" {
			f.t.Errorf("rclone %q: %s", args, bad)
		}
		return out
	}
	none := func(out string) {
		f.t.Helper()
		if strings.Contains(out, ": Copied") || strings.Contains(out, ": Deleted") {
			f.t.Errorf("there was nothing to do, but:\n%s", out)
		}
	}
	run("copy", "--create-empty-src-dirs", f.local("tree"), "e:/rclone")
	none(run("sync", f.local("tree"), "e:/rclone"))
	run("check", "--download", f.local("tree"), "i:/rclone")
	write(f.t, f.local("tree/d0/new"), []byte("new"))
	os.Remove(f.local("tree/d1/file 1 ä.bin"))
	out := run("sync", f.local("tree"), "i:/rclone")
	if strings.Count(out, ": Copied") != 1 || strings.Count(out, ": Deleted") != 1 {
		f.t.Errorf("one new and one gone:\n%s", out)
	}
	run("sync", "--create-empty-src-dirs", "e:/rclone", f.local("back"))
	sameTree(f.t, f.local("tree"), f.local("back"))
	none(run("sync", "e:/rclone", f.local("back")))
	run("moveto", "e:/rclone/d0/new", "e:/rclone/in here/it is")
	if out := run("cat", "i:/rclone/in here/it is"); !strings.Contains(out, "new") {
		f.t.Errorf("moved: %q", out)
	}
	run("purge", "e:/rclone")
}

// ftplib never resumes TLS on data connections by itself; with a line of code it does.
func (f *fileClient) ftplib() {
	f.python(f.t, `
import ftplib, io, socket, warnings
warnings.simplefilter("error", UserWarning)
class Reuse(ftplib.FTP_TLS):
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
            resumed.append(conn.session_reused)
        return conn, size
class Implicit(ftplib.FTP_TLS):
    def connect(self, host, port):
        raw = socket.create_connection((host, port)); self.host, self.af = host, raw.family
        self.sock = self.context.wrap_socket(raw, server_hostname=host)
        self.file = self.sock.makefile("r", encoding=self.encoding); self.welcome = self.getresp()
    def login(self, user, password): return ftplib.FTP.login(self, user, password)
resumed = []
data = bytes(range(256)) * 4000
def tour(f, d):
    f.login("ann@example.test", ANN)
    if isinstance(f, ftplib.FTP_TLS): f.prot_p()
    f.mkd(d); f.cwd(d); assert f.pwd() == "/" + d
    f.storbinary("STOR a.bin", io.BytesIO(data))
    out = io.BytesIO(); f.retrbinary("RETR a.bin", out.write); assert out.getvalue() == data
    out = io.BytesIO(); f.retrbinary("RETR a.bin", out.write, rest=1000); assert out.getvalue() == data[1000:]
    f.storbinary("STOR a.bin", io.BytesIO(b"tail"), rest=500); assert f.size("a.bin") == 504
    f.storbinary("APPE a.bin", io.BytesIO(b"more")); assert f.size("a.bin") == 508
    f.storlines("STOR t.txt", io.BytesIO(b"one\r\ntwo\n")); lines = []
    f.retrlines("RETR t.txt", lines.append); assert lines == ["one", "two"], lines
    facts = {n: x for n, x in f.mlsd(facts=["type", "size"])}
    assert facts["a.bin"] == {"type": "file", "size": "508"} and facts["t.txt"]["size"] == "10", facts
    assert sorted(f.nlst()) == ["a.bin", "t.txt"]; assert f.nlst("*.txt") == ["t.txt"]
    lines = []; f.dir(lines.append); assert len(lines) == 2, lines
    f.rename("a.bin", "ü.bin"); assert f.nlst("ü*") == ["ü.bin"]
    f.set_pasv(False); f.storbinary("STOR active", io.BytesIO(data)); out = io.BytesIO(); f.retrbinary("RETR active", out.write); assert out.getvalue() == data
    for n in f.nlst(): f.delete(n)
    f.cwd("/"); f.rmd(d); f.sendcmd("NOOP"); f.quit()
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    for kind in (ftplib.FTP_TLS, Reuse, Implicit):
        ctx = ssl.create_default_context(cafile=CA); ctx.minimum_version = ctx.maximum_version = version
        f = kind(context=ctx, encoding="utf-8"); f.connect("localhost", PORT + (990 if kind is Implicit else 21))
        tour(f, "py-%s-%s" % (kind.__name__, version.name))
assert len(resumed) > 20 and all(resumed), resumed
f = ftplib.FTP(encoding="utf-8"); f.connect("127.0.0.1", PORT+21); tour(f, "py-plain")
`)
}

// nodeModules is where make tools puts the libraries for Node.
func nodeModules() string {
	if dir := os.Getenv("PACKETBOAT_NODE_MODULES"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "packetboat-tests", "node_modules")
}

// basicFTP is the library that Node programs use.
func (f *fileClient) basicFTP() {
	module := filepath.Join(nodeModules(), "basic-ftp")
	if _, err := os.Stat(module); err != nil {
		f.t.Fatal("basic-ftp is not installed: run make tools")
	}
	writeTree(f.t, f.local("tree"))
	// Node ends a connection on which nothing is to be written before its own handshake is over, sometimes.
	if err := os.Remove(f.local("tree/d0/file 0 ä.bin")); err != nil {
		f.t.Fatal(err)
	}
	f.noise("whole", 5<<20)
	f.clean("", "node", "-e", fmt.Sprintf(`
const { Client, enterPassiveModeIPv4 } = require(%q), fs = require('fs'), dir = %q;
process.on('warning', w => { throw w; });
const must = (v, why) => { if (!v) throw new Error(why); };
const same = (a, b) => must(fs.readFileSync(dir + a).equals(fs.readFileSync(dir + b)), a + ' is not ' + b);
(async () => {
  for (const [i, how] of [%s, %s].entries()) {
    const c = new Client(20000);
    await c.access({host: 'localhost', port: how[1], secure: how[0], user: 'ann@example.test', password: %q, secureOptions: {ca: fs.readFileSync(%q)}});
    must((await c.features()).has('MLST'), 'features');
    const home = '/basic' + i, whole = dir + '/whole', size = fs.statSync(whole).size;
    await c.ensureDir(home); await c.uploadFromDir(dir + '/tree');
    await c.downloadToDir(dir + '/back' + i, home);
    await c.uploadFrom(whole, 'whole', {localEndInclusive: 2000000 - 1}); must(await c.size('whole') == 2000000, 'part');
    await c.appendFrom(whole, 'whole', {localStart: 2000000}); must(await c.size('whole') == size, 'append');
    await c.downloadTo(dir + '/got' + i, 'whole'); same('/whole', '/got' + i);
    fs.writeFileSync(dir + '/cut' + i, fs.readFileSync(whole).subarray(0, 3000000));
    await c.downloadTo(dir + '/cut' + i, 'whole', 3000000); same('/whole', '/cut' + i);
    const list = await c.list(); const w = list.find(x => x.name == 'whole');
    must(w && w.size == size && w.isFile && w.modifiedAt && list.find(x => x.name == 'd1').isDirectory, 'list');
    must(await c.lastMod('whole'), 'lastMod');
    await c.rename('whole', 'other ü'); must((await c.list()).some(x => x.name == 'other ü'), 'rename');
    c.prepareTransfer = enterPassiveModeIPv4; await c.downloadTo(dir + '/v4' + i, 'other ü'); same('/whole', '/v4' + i);
    await c.remove('other ü'); must(await c.pwd() == home, 'pwd'); await c.cd('/'); await c.removeDir(home);
    must(!(await c.list()).some(x => x.name == 'basic' + i), 'removeDir'); c.close();
  }
})().then(() => process.exit(0), e => { console.error(e && e.stack || e); process.exit(1); });
`, module, f.dir, fmt.Sprintf("[true, %s]", f.port(21)), fmt.Sprintf("['implicit', %s]", f.port(990)), annPassword, f.ca()))
	sameTree(f.t, f.local("tree"), f.local("back0"))
	sameTree(f.t, f.local("tree"), f.local("back1"))
}
