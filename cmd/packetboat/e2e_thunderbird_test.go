//go:build e2e

package main

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "embed"
)

//go:embed testdata/thunderbird.js
var thunderbirdScript string

// thunderbird is a Thunderbird with a fresh profile in which ann has an account, on a screen of its own.
type thunderbird struct {
	*marionette
	t    *testing.T
	log  string // what its IMAP part logs; the names of the files begin so
	shot string // folder for screenshots
}

// startThunderbird starts it under Xvfb. Whatever is not the packetboat under test goes to a proxy that is not there.
func startThunderbird(t *testing.T) *thunderbird {
	t.Helper()
	shots := artifacts(t)
	home := t.TempDir()
	port := freePort(t)
	writeOwn(t, filepath.Join(home, "profile", "user.js"), preferences(map[string]any{
		"marionette.port": port, "app.update.enabled": false, "extensions.update.enabled": false,
		"datareporting.policy.dataSubmissionEnabled": false, "toolkit.telemetry.enabled": false,
		"mail.provider.suppress_dialog_on_startup": true, "mail.spotlight.firstRunDone": true, "mail.rights.version": 1,
		"mail.shell.checkDefaultClient": false, "mailnews.start_page.enabled": false, "mail.winsearch.firstRunDone": true,
		"mail.inappnotifications.enabled": false, "app.donation.eoy.version.viewed": 999, "mail.chat.enabled": false,
		"mail.biff.show_alert": false, "mail.biff.play_sound": false, "mailnews.database.global.indexer.enabled": false,
		"network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 1, "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 1,
		"network.proxy.no_proxies_on": "localhost", "network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false,
		"services.settings.server": "data:,#none", "security.dialog_enable_delay": 0,
		// no look for mail but at the beginning: what comes later came by IDLE
		"mail.server.default.check_new_mail": false,
	}))
	screen := startXvfb(t)
	b := &thunderbird{t: t, log: filepath.Join(home, "imap.log"), shot: shots}
	c := exec.Command("thunderbird", "--profile", filepath.Join(home, "profile"), "--no-remote", "--marionette", "--remote-allow-system-access")
	c.Env = append(os.Environ(), "HOME="+home, "DISPLAY="+screen, "NO_AT_BRIDGE=1", "GDK_BACKEND=x11", "MOZ_ENABLE_WAYLAND=0", "MOZ_CRASHREPORTER_DISABLE=1",
		"LC_ALL=C.UTF-8", "TZ=UTC", "MOZ_LOG=timestamp,sync,IMAP:4", "MOZ_LOG_FILE="+b.log)
	out := &output{wake: make(chan struct{}, 1)}
	c.Stdout, c.Stderr = out, out
	exited := startGroup(t, c)
	var err error
	if b.marionette, err = dialMarionette(port, 90*time.Second, exited); err != nil {
		t.Fatalf("thunderbird: %v\n%s", err, out)
	}
	t.Cleanup(func() { b.conn.Close() })
	b.do(60, `await wait("the main window", () => mainWindow()?.document.getElementById("tabmail")?.currentAbout3Pane, 50000);`)
	return b
}

// artifacts is the folder for pictures.
func artifacts(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PACKETBOAT_ARTIFACTS")
	if dir == "" {
		dir = "../../bin/artifacts"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// preferences writes a user.js.
func preferences(p map[string]any) string {
	var text strings.Builder
	for k, v := range p {
		value, _ := json.Marshal(v)
		fmt.Fprintf(&text, "user_pref(%q, %s);\n", k, value)
	}
	return text.String()
}

// startXvfb starts an X server without a monitor and returns its DISPLAY.
func startXvfb(t *testing.T, args ...string) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "1280x900x24", "-nolisten", "tcp", "-noreset")
	c.Args = append(c.Args, args...)
	c.ExtraFiles = []*os.File{w}
	startGroup(t, c)
	w.Close()
	r.SetReadDeadline(time.Now().Add(30 * time.Second))
	display, err := bufio.NewReader(r).ReadString('\n') // whole: closing the pipe before that would kill it
	if err != nil {
		t.Fatalf("Xvfb did not start: %v", err)
	}
	return ":" + strings.TrimSpace(display)
}

// startGroup starts a program with those it starts itself as one group, which ends with the test.
func startGroup(t *testing.T, c *exec.Cmd) <-chan struct{} {
	t.Helper()
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatalf("%v: run make tools", err)
	}
	exited := make(chan struct{})
	go func() {
		c.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
			<-exited
		}
	})
	return exited
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// do runs a step that takes at most so many seconds.
func (b *thunderbird) do(seconds int, body string, args ...any) {
	b.t.Helper()
	b.get(nil, seconds, body, args...)
}

// get is do for a step that returns something.
func (b *thunderbird) get(result any, seconds int, body string, args ...any) {
	b.t.Helper()
	if err := b.run(result, time.Duration(seconds)*time.Second, thunderbirdScript+body, args...); err != nil {
		b.screenshot(filepath.Join(b.shot, "thunderbird-failed.png"))
		b.t.Fatal(err)
	}
}

// dialogue is what Thunderbird's IMAP log says so far.
func (b *thunderbird) dialogue() string {
	names, _ := filepath.Glob(b.log + "*")
	var all strings.Builder
	for _, n := range names {
		text, err := os.ReadFile(n)
		if err != nil {
			b.t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// makeAccount trusts the CA and gives ann an account as the wizard does.
func (b *thunderbird) makeAccount(boat *boat) {
	b.t.Helper()
	text, err := os.ReadFile(boat.ca())
	if err != nil {
		b.t.Fatal(err)
	}
	der, _ := pem.Decode(text)
	if der == nil {
		b.t.Fatal("ca.pem holds no certificate")
	}
	imaps, _ := strconv.Atoi(boat.port(993))
	submission, _ := strconv.Atoi(boat.port(587))
	b.do(60, `
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(A[0], "CTu,,");
const {AccountConfig} = ChromeUtils.importESModule("resource:///modules/accountcreation/AccountConfig.sys.mjs");
const {CreateInBackend} = ChromeUtils.importESModule("resource:///modules/accountcreation/CreateInBackend.sys.mjs");
const c = new AccountConfig(), name = "ann@example.test", auth = Ci.nsMsgAuthMethod.passwordCleartext;
c.identity.realname = "Ann"; c.identity.emailAddress = c.displayName = name; c.rememberPassword = true;
Object.assign(c.incoming, {type: "imap", hostname: "localhost", port: A[1], socketType: 3, auth, username: name, password: A[3]});
Object.assign(c.outgoing, {type: "smtp", hostname: "localhost", port: A[2], socketType: 2, auth, username: name, password: A[3], addThisServer: true});
const made = await CreateInBackend.createAccountInBackend(c);
made.defaultIdentity.composeHtml = false; made.defaultIdentity.doFcc = true;
server().doBiff = false;
server().getNewMessages(root(), messageWindow(), null);
await wait("INBOX", () => folder("INBOX"));`, jsonBase64(der.Bytes), imaps, submission, annPassword)
}

// jsonBase64 is base64 as encoding/json writes it.
func jsonBase64(b []byte) string {
	text, _ := json.Marshal(b)
	return strings.Trim(string(text), `"`)
}

// TestEndToEndThunderbird does in Thunderbird, under Xvfb, what people do with their mail.
func TestEndToEndThunderbird(t *testing.T) {
	boat := launch(t)
	boat.run("", "account", "set", "ann@example.test", "--quota", "1GiB")
	tb := startThunderbird(t)
	tb.makeAccount(boat)
	step := func(name string, f func(t *testing.T)) {
		t.Helper()
		ok := t.Run(name, func(t *testing.T) {
			tb.t = t
			defer func() { tb.t = nil }()
			f(t)
		})
		if !ok {
			t.Logf("the end of Thunderbird's IMAP log:\n%s", tail(tb.dialogue(), 6000))
			t.FailNow()
		}
	}
	step("folder list", tb.folders)
	step("read", func(t *testing.T) { tb.read(boat) })
	step("IDLE push", func(t *testing.T) { tb.push(boat) })
	step("send and copy to Sent", func(t *testing.T) { tb.send(boat) })
	step("flag and tag", func(t *testing.T) { tb.flags(boat) })
	step("move and delete", func(t *testing.T) { tb.move(boat) })
	step("folder create, rename, delete", func(t *testing.T) { tb.folderNames(boat) })
	step("search on the server", func(t *testing.T) { tb.search(boat) })
	step("offline sync of 500 messages", func(t *testing.T) { tb.offline(boat) })
	step("reconnect", func(t *testing.T) { tb.reconnect(boat) })
	step("quota", tb.quota)
	step("extensions in use", tb.extensions)
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func (b *thunderbird) folders(t *testing.T) {
	var list map[string]uint32
	b.get(&list, 30, `await discover(); return Object.fromEntries(root().descendants.map(f => [f.name, f.flags]));`)
	for name, flag := range map[string]uint32{"Inbox": 0x1000, "Sent": 0x200, "Drafts": 0x400, "Trash": 0x100, "Junk": 0x40000000, "Archive": 0x4000} {
		found := false
		for n, flags := range list {
			found = found || strings.EqualFold(n, name) && flags&flag != 0
		}
		if !found {
			t.Errorf("no %s with its special use in %v", name, list)
		}
	}
}

// picture keeps what the window shows.
func (b *thunderbird) picture(name string) {
	b.t.Helper()
	if err := b.screenshot(filepath.Join(b.shot, "thunderbird-"+name+".png")); err != nil {
		b.t.Fatal(err)
	}
}

func (b *thunderbird) read(boat *boat) {
	l := boat.annSession(b.t)
	defer l.Close()
	text := "From: Joe <joe@example.test>\r\nTo: ann@example.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= to read\r\nDate: Mon, 1 Jun 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nA body with ünïcode.\r\n" +
		"--b\r\nContent-Type: application/octet-stream; name=\"data.bin\"\r\nContent-Disposition: attachment; filename=\"data.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgc=\r\n--b--\r\n"
	if _, err := l.until(fmt.Sprintf("b APPEND INBOX {%d+}\r\n%s", len(text), text), "b OK"); err != nil {
		b.t.Fatal(err)
	}
	file := filepath.Join(b.t.TempDir(), "data.bin")
	var shown struct{ Subject, Body, Attachment string }
	b.get(&shown, 60, `
await refresh(folder("INBOX"));
const m = await open(folder("INBOX"), "to read");
const a = await wait("the attachment", () => m.currentAttachments?.[0]);
await a.saveToFile(A[0]);
const body = await wait("the body", () => m.getMessagePaneBrowser().contentDocument?.body?.textContent);
return {subject: m.document.getElementById("expandedsubjectBox").textContent, body, attachment: a.name};`, file)
	b.picture("message")
	data, err := os.ReadFile(file)
	if !strings.Contains(shown.Subject, "Grüße to read") || !strings.Contains(shown.Body, "ünïcode") || shown.Attachment != "data.bin" || err != nil || string(data) != "\x00\x01\x02\x03\x04\x05\x06\x07" {
		b.t.Errorf("shown: %+v, attachment %q, %v", shown, data, err)
	}
	b.server(boat, "INBOX", "SUBJECT \"to read\" SEEN", 1)
}

// server waits until a search in a mailbox of ann finds n messages.
func (b *thunderbird) server(boat *boat, box, keys string, n int) {
	b.t.Helper()
	l := boat.annSession(b.t)
	defer l.Close()
	var out string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if _, err := l.until("a EXAMINE "+box, "a OK"); err != nil {
			continue // not made yet
		}
		var err error
		if out, err = l.until("b SEARCH "+keys, "b OK"); err != nil {
			b.t.Fatal(err)
		}
		for _, row := range strings.Split(out, "\r\n") {
			if strings.HasPrefix(row, "* SEARCH") && len(strings.Fields(row)) == 2+n {
				return
			}
		}
	}
	b.t.Fatalf("%s: SEARCH %s does not find %d messages:\n%s", box, keys, n, out)
}

// push: a message that comes by SMTP shows while nobody looks for mail.
func (b *thunderbird) push(boat *boat) {
	b.do(30, `pane().displayFolder(folder("INBOX").URI); await refresh(folder("INBOX")); await pause(1500);`)
	boat.must("", "swaks", "--server", "127.0.0.1", "--port", boat.port(25), "--from", "joe@example.net", "--to", "ann@example.test", "--header", "Subject: pushed to you", "--silent", "2")
	b.do(30, `await wait("mail by IDLE", () => bySubject(folder("INBOX"), "pushed to you"));`)
}

func (b *thunderbird) send(boat *boat) {
	b.do(60, `
const id = ann().defaultIdentity, f = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
f.to = "joe@example.test"; f.from = id.email; f.subject = "sent by Thunderbird"; f.body = "one\n.two\nthree\n";
const p = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
Object.assign(p, {composeFields: f, identity: id, type: Ci.nsIMsgCompType.New, format: Ci.nsIMsgCompFormat.PlainText});
MailServices.compose.OpenComposeWindowWithParams(null, p);
const w = await wait("the compose window", () => Services.wm.getMostRecentWindow("msgcompose"));
await wait("its editor", () => w.document.readyState == "complete" && w.composeEditorReady !== false && w.gMsgCompose?.editor);
await pause(700);
w.goDoCommand("cmd_sendNow");
await wait("the compose window to close", () => !Services.wm.getMostRecentWindow("msgcompose"), 40000);`)
	b.server(boat, "Sent", `SUBJECT "sent by Thunderbird" SEEN`, 1)
	var found bool
	for end := time.Now().Add(10 * time.Second); !found && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		out := boat.must("", "curl", "-sS", "--cacert", boat.ca(), "--user", "joe@example.test:"+joePassword, "imaps://localhost:"+boat.port(993)+"/INBOX?SUBJECT%20Thunderbird")
		found = strings.TrimSpace(out) == "* SEARCH 1"
	}
	if !found {
		b.t.Fatal("joe got no mail")
	}
	out := boat.must("", "curl", "-sS", "--cacert", boat.ca(), "--user", "joe@example.test:"+joePassword, "imaps://localhost:"+boat.port(993)+"/INBOX;MAILINDEX=1;SECTION=TEXT")
	if out != "one\r\n.two\r\nthree\r\n" {
		b.t.Errorf("joe got %q", out)
	}
}

func (b *thunderbird) flags(boat *boat) {
	boat.appendMail(b.t, "INBOX", "flagged", 1)
	b.do(30, `
const f = folder("INBOX"); await refresh(f); const h = await wait("the message", () => bySubject(f, "flagged"));
MailServices.tags.addTagForKey("mine", "My tag", "#ff0000", "");
f.markMessagesFlagged([h], true); f.addKeywordsToMessages([h], "$label1"); f.addKeywordsToMessages([h], "mine"); f.markMessagesRead([h], true);
f.addMessageDispositionState(h, f.nsMsgDispositionState_Replied);`)
	b.server(boat, "INBOX", "SUBJECT flagged FLAGGED SEEN ANSWERED KEYWORD $label1 KEYWORD mine", 1)
	l := boat.annSession(b.t)
	defer l.Close()
	l.until("a SELECT INBOX", "a OK")
	out, err := l.until("b SEARCH SUBJECT flagged", "b OK")
	if err != nil {
		b.t.Fatal(err)
	}
	n := strings.Fields(strings.SplitN(out, "\r\n", 2)[0])[2]
	if _, err := l.until(`c STORE `+n+` FLAGS ($label3)`, "c OK"); err != nil {
		b.t.Fatal(err)
	}
	b.do(30, `await wait("the change made elsewhere", () => { const h = bySubject(folder("INBOX"), "flagged"); return h && !h.isFlagged && !h.isRead && h.getStringProperty("keywords").includes("$label3"); });`)
}

func (b *thunderbird) move(boat *boat) {
	boat.appendMail(b.t, "INBOX", "moving", 2)
	b.do(60, `
const f = folder("INBOX"), to = folder("Archive"); await refresh(f);
await wait("the messages", () => bySubject(f, "moving 0") && bySubject(f, "moving 1"));
const l = copyListener(); MailServices.copy.copyMessages(f, [bySubject(f, "moving 0")], to, true, l, messageWindow(), false); await l.done;
await refresh(to); await wait("the message in Archive", () => bySubject(to, "moving 0"));
f.deleteMessages([bySubject(f, "moving 1")], messageWindow(), false, false, null, false);
await wait("it to go from INBOX", () => !bySubject(f, "moving"));`)
	b.server(boat, "Archive", "SUBJECT moving", 1)
	b.server(boat, "Trash", "SUBJECT moving", 1)
	b.server(boat, "INBOX", "SUBJECT moving UNDELETED", 0)
}

func (b *thunderbird) folderNames(boat *boat) {
	b.do(60, `
root().createSubfolder("Ordner Grüße", messageWindow()); const f = await wait("the folder", () => folder("Ordner Grüße"));
f.createSubfolder("inner", messageWindow()); await wait("the folder in it", () => folder("Ordner Grüße/inner"));
f.rename("Renamed", messageWindow()); await wait("the new name", () => folder("Renamed/inner") && !folder("Ordner Grüße"));`)
	b.server(boat, "Renamed/inner", "ALL", 0)
	for _, path := range []string{"Renamed/inner", "Renamed"} {
		err := b.run(nil, 20*time.Second, thunderbirdScript+`
const f = folder(A[0]); setTimeout(() => f.deleteSelf(messageWindow()), 0);
await wait("the folder to go", () => !folder(A[0]) || dialog()); if (dialog()) await pause(15000);`, path)
		var asked *dialogError
		if errors.As(err, &asked) {
			time.Sleep(500 * time.Millisecond) // a dialog that has just opened takes no answer
			err = b.accept()
		}
		if err != nil {
			b.t.Fatal(err)
		}
		b.do(30, `await wait("the folder to go", () => !folder(A[0]));`, path)
	}
	l := boat.annSession(b.t)
	defer l.Close()
	if out, err := l.until(`a LIST "" "Renamed*"`, "a OK"); err != nil || strings.Contains(out, "* LIST") {
		b.t.Errorf("%v: %s", err, out)
	}
}

func (b *thunderbird) search(boat *boat) {
	boat.appendMail(b.t, "INBOX", "needle", 1)
	var hits [3][]string
	b.get(&hits, 60, `
const f = folder("INBOX"); await refresh(f); await wait("the message", () => bySubject(f, "needle"));
const look = async (attribute, text) => {
  const s = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession), t = s.createTerm(), v = t.value, hits = [];
  s.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, f);
  v.attrib = attribute; v.str = text; Object.assign(t, {attrib: attribute, op: Ci.nsMsgSearchOp.Contains, value: v, booleanAnd: true}); s.appendTerm(t);
  await new Promise(done => { s.registerListener({QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]), onSearchHit: h => hits.push(h.mime2DecodedSubject), onSearchDone: done, onNewSearch() {}}); s.search(messageWindow()); });
  return hits;
};
return [await look(Ci.nsMsgSearchAttrib.Body, "line of needle"), await look(Ci.nsMsgSearchAttrib.Subject, "Grüße"), await look(Ci.nsMsgSearchAttrib.Body, "not in any")];`)
	if len(hits[0]) != 1 || len(hits[1]) != 1 || !strings.Contains(hits[1][0], "Grüße") || len(hits[2]) != 0 {
		b.t.Errorf("found %q", hits)
	}
}

func (b *thunderbird) offline(boat *boat) {
	boat.appendMail(b.t, "Offline", "kept", 500)
	l := boat.annSession(b.t)
	defer l.Close()
	l.until("a SUBSCRIBE Offline", "a OK")
	var body string
	b.get(&body, 150, `
await discover(); const f = await wait("the folder", () => folder("Offline"));
f.setFlag(flag.Offline); await refresh(f); await wait("500 headers", () => messages(f).length == 500, 40000);
const l = urlListener(); f.downloadAllForOffline(l, messageWindow()); await l.done;
await wait("500 bodies", () => messages(f).filter(h => h.flags & Ci.nsMsgMessageFlags.Offline).length == 500, 60000);
Services.io.offline = true;
try { const m = await open(f, "kept 321"); return await wait("the body", () => m.getMessagePaneBrowser().contentDocument?.body?.textContent); }
finally { Services.io.offline = false; await pause(500); pane().displayFolder(folder("INBOX").URI); }`)
	if !strings.Contains(body, "line of kept") {
		b.t.Errorf("offline it shows %q", body)
	}
}

// reconnect: flags, an expunge and a message of the time without a connection show when there is one again.
func (b *thunderbird) reconnect(boat *boat) {
	boat.appendMail(b.t, "INBOX", "meanwhile", 3)
	b.do(30, `const f = folder("INBOX"); await refresh(f); await wait("the messages", () => bySubject(f, "meanwhile 2")); server().closeCachedConnections(); await pause(500);`)
	l := boat.annSession(b.t)
	defer l.Close()
	l.until("a SELECT INBOX", "a OK")
	for i, flags := range []string{`\Flagged`, `\Deleted`} {
		out, err := l.until(fmt.Sprintf(`b SEARCH SUBJECT "meanwhile %d"`, i), "b OK")
		if err != nil {
			b.t.Fatal(err)
		}
		n := strings.Fields(strings.SplitN(out, "\r\n", 2)[0])[2]
		if _, err := l.until("c STORE "+n+" +FLAGS ("+flags+")", "c OK"); err != nil {
			b.t.Fatal(err)
		}
	}
	l.until("d EXPUNGE", "d OK")
	boat.appendMail(b.t, "INBOX", "afterwards", 1)
	b.do(40, `const f = folder("INBOX");
await wait("what happened meanwhile", async () => { await refresh(f); return bySubject(f, "afterwards") && !bySubject(f, "meanwhile 1") && bySubject(f, "meanwhile 0").isFlagged; }, 30000);`)
	// The server ends every session: the next look connects again by itself.
	boat.run("", "session", "kill", "--account", "ann@example.test")
	boat.appendMail(b.t, "INBOX", "killed", 1)
	b.do(40, `const f = folder("INBOX"); await wait("mail after a kill", async () => { await refresh(f); return bySubject(f, "killed"); }, 30000);`)
}

func (b *thunderbird) quota(t *testing.T) {
	var q [][]any
	b.get(&q, 30, `const f = folder("INBOX"); await refresh(f);
const q = await wait("the quota", () => { const l = f.getQuota(); return l.length && l; }); return q.map(x => [x.name, Number(x.usage), Number(x.limit)]);`)
	for _, row := range q {
		if strings.Contains(strings.ToLower(fmt.Sprint(row[0])), "storage") && row[2] == float64(1<<20) {
			return
		}
	}
	t.Errorf("quota %v, want a limit of 1048576 KiB", q)
}

// extensions are those that Thunderbird uses by itself.
func (b *thunderbird) extensions(t *testing.T) {
	b.do(20, `pane().displayFolder(folder("INBOX").URI); await pause(500);`)
	b.picture("inbox")
	log := b.dialogue()
	for _, want := range []string{"COMPRESS DEFLATE", "ENABLE UTF8=ACCEPT", " IDLE", "GETQUOTAROOT", "UID MOVE", "LIST (SUBSCRIBED)"} {
		if !strings.Contains(strings.ToUpper(log), strings.ToUpper(want)) {
			t.Errorf("Thunderbird did not say %q", want)
		}
	}
}
