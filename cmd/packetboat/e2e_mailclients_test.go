//go:build e2e

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// appendMail puts n small messages, whose subjects begin with word, into a mailbox of ann, which is made if need be.
func (b *boat) appendMail(t *testing.T, box, word string, n int) {
	t.Helper()
	l := b.annSession(t)
	defer l.Close()
	l.until("c CREATE "+box, "c ")
	for i := range n {
		text := fmt.Sprintf("From: a@example.net\r\nTo: ann@example.test\r\nSubject: %s %d\r\nMessage-ID: <%s.%d@example.net>\r\nDate: Mon, 1 Jun 2026 10:%02d:00 +0200\r\n\r\nline of %s\r\n", word, i, word, i, i%60, word)
		if _, err := l.until(fmt.Sprintf("d APPEND %s {%d+}\r\n%s", box, len(text), text), "d OK"); err != nil {
			t.Fatal(err)
		}
	}
}

// annSession is a connection on which ann has logged in.
func (b *boat) annSession(t *testing.T) *line {
	t.Helper()
	l := b.dialTLS(993)
	if _, err := l.until("", "* OK"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.until(`a LOGIN ann@example.test "`+annPassword+`"`, "a OK"); err != nil {
		t.Fatal(err)
	}
	return l
}

// statusOf is the untagged STATUS of a mailbox of ann.
func (b *boat) statusOf(t *testing.T, box string) string {
	t.Helper()
	l := b.annSession(t)
	defer l.Close()
	out, err := l.until("s STATUS "+box+" (MESSAGES UNSEEN)", "s OK")
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitN(out, "\r\n", 2)[0]
}

// writeOwn makes a file only its owner can read, with the folders above it.
func writeOwn(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// files counts what lies in folders.
func files(t *testing.T, dirs ...string) (n int) {
	t.Helper()
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		n += len(entries)
	}
	return n
}

func TestEndToEndMailClients(t *testing.T) {
	b := launch(t)
	t.Run("offlineimap both ways", func(t *testing.T) { b.offlineimap(t) })
	t.Run("fetchmail", func(t *testing.T) { b.fetchmail(t) })
	t.Run("getmail", func(t *testing.T) { b.getmail(t) })
	t.Run("neomutt in batch", func(t *testing.T) { b.neomutt(t) })
	t.Run("imapflow", func(t *testing.T) { b.imapflow(t) })
	t.Run("go-imap client", func(t *testing.T) { b.goIMAP(t) })
}

// offlineimap pulls 50 messages; a deletion and a flag travel back.
func (b *boat) offlineimap(t *testing.T) {
	b.appendMail(t, "offline", "offline", 50)
	dir := t.TempDir()
	rc := writeOwn(t, filepath.Join(dir, "rc"), fmt.Sprintf(`[general]
accounts = a
metadata = %[1]s/meta
ui = basic
maxsyncaccounts = 1
socktimeout = 20
[Account a]
localrepository = l
remoterepository = r
[Repository l]
type = Maildir
localfolders = %[1]s/mail
[Repository r]
type = IMAP
remotehost = localhost
remoteport = %[2]s
remoteuser = ann@example.test
remotepass = %[3]s
ssl = yes
sslcacertfile = %[4]s
folderfilter = lambda n: n == 'offline'
maxconnections = 2
`, dir, b.port(993), annPassword, b.ca()))
	b.must("", "offlineimap", "-c", rc, "-o")
	cur, fresh := filepath.Join(dir, "mail/offline/cur"), filepath.Join(dir, "mail/offline/new")
	if n := files(t, cur, fresh); n != 50 {
		t.Fatalf("%d messages came, want 50", n)
	}
	entries, err := os.ReadDir(fresh)
	if err != nil || len(entries) < 2 {
		t.Fatalf("%d new messages: %v", len(entries), err)
	}
	if err := os.Remove(filepath.Join(fresh, entries[0].Name())); err != nil {
		t.Fatal(err)
	}
	name := strings.SplitN(entries[1].Name(), ":", 2)[0]
	if err := os.Rename(filepath.Join(fresh, entries[1].Name()), filepath.Join(cur, name+":2,FS")); err != nil {
		t.Fatal(err)
	}
	b.must("", "offlineimap", "-c", rc, "-o")
	if s := b.statusOf(t, "offline"); !strings.Contains(s, "MESSAGES 49") || !strings.Contains(s, "UNSEEN 48") {
		t.Errorf("after the second run: %s", s)
	}
}

// fetchmail takes ten messages out of the INBOX.
func (b *boat) fetchmail(t *testing.T) {
	b.appendMail(t, "INBOX", "fetched", 10)
	dir := t.TempDir()
	rc := writeOwn(t, filepath.Join(dir, "rc"), fmt.Sprintf("poll \"localhost\" service %s protocol imap\n  user \"ann@example.test\" password \"%s\" ssl sslcertck sslcertfile \"%s\"\n"+
		"  no rewrite nokeep fetchall mda \"cat >> %s/mbox\"\n", b.port(993), annPassword, b.ca(), dir))
	b.must("", "fetchmail", "-f", rc, "--pidfile", filepath.Join(dir, "pid"), "-i", filepath.Join(dir, "ids"), "-t", "20", "--nosyslog")
	text, err := os.ReadFile(filepath.Join(dir, "mbox"))
	if n := strings.Count(string(text), "\nSubject: fetched "); err != nil || n != 10 {
		t.Errorf("%d messages fetched, want 10: %v", n, err)
	}
	if s := b.statusOf(t, "INBOX"); !strings.Contains(s, "MESSAGES 0") {
		t.Errorf("after fetchmail: %s", s)
	}
}

// getmail takes ten messages, and none the second time.
func (b *boat) getmail(t *testing.T) {
	b.appendMail(t, "INBOX", "got", 10)
	dir := t.TempDir()
	box := filepath.Join(dir, "mail")
	// getmail does not deliver to a Maildir as root; a program may.
	one := writeOwn(t, filepath.Join(dir, "one"), fmt.Sprintf("mkdir -p %[1]s && cat > %[1]s/$$.$(date +%%N)\n", box))
	rc := writeOwn(t, filepath.Join(dir, "getmailrc"), fmt.Sprintf("[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\nport = %s\nusername = ann@example.test\npassword = %s\nca_certs = %s\n"+
		"mailboxes = (\"INBOX\",)\n[destination]\ntype = MDA_external\npath = /bin/sh\narguments = (\"%s\",)\nallow_root_commands = true\n[options]\nread_all = false\ndelete = false\n",
		b.port(993), annPassword, b.ca(), one))
	for range 2 {
		b.must("", "getmail", "--getmaildir="+dir, "--rcfile="+rc)
		if n := files(t, box); n != 10 {
			t.Fatalf("%d messages, want 10", n)
		}
	}
}

// neomutt copies all of a mailbox into another by a macro, sends nothing to a terminal and quits.
func (b *boat) neomutt(t *testing.T) {
	b.appendMail(t, "batch", "batch", 5)
	rc := writeOwn(t, filepath.Join(t.TempDir(), "rc"), fmt.Sprintf("set folder=imaps://localhost:%s/\nset imap_user=\"ann@example.test\"\nset imap_pass=\"%s\"\nset certificate_file=%s\nset ssl_ca_certificates_file=%s\n"+
		"set spoolfile=+batch\nset confirmappend=no\nset confirmcreate=no\nset delete=yes\nset wait_key=no\nset quit=yes\nset header_cache=\n"+
		"push \"<tag-pattern>~A<enter><tag-prefix><copy-message>=batched<enter><set-flag>!<sync-mailbox><quit>\"\n", b.port(993), annPassword, b.ca(), b.ca()))
	out, err := b.onTerminal("neomutt", "-n", "-F", rc)
	if s := b.statusOf(t, "batched"); !strings.Contains(s, "MESSAGES 5") {
		t.Errorf("%s\n%v\n%q", s, err, out)
	}
}

// imapflow is a library that many Node programs use: what it does from connecting to deleting a mailbox, and IDLE's events.
func (b *boat) imapflow(t *testing.T) {
	modules := nodeModules()
	if _, err := os.Stat(filepath.Join(modules, "imapflow")); err != nil {
		t.Fatal("imapflow is not installed: run make tools")
	}
	script := fmt.Sprintf(`
const { ImapFlow } = require(%q);
const make = () => new ImapFlow({host: 'localhost', port: %s, secure: true, auth: {user: 'ann@example.test', pass: %q}, tls: {ca: require('fs').readFileSync(%q)}, logger: false});
const must = (v, why) => { if (!v) throw new Error(why); };
const until = async (f, why) => { for (let i = 0; i < 100; i++) { if (f()) return; await new Promise(r => setTimeout(r, 100)); } throw new Error(why); };
(async () => {
  const c = make(); await c.connect();
  console.log('compress', !!c.capabilities.get('COMPRESS=DEFLATE'), 'condstore', c.enabled.has('CONDSTORE'));
  const list = await c.list({statusQuery: {messages: true, unseen: true}});
  must(list.some(b => b.path == 'INBOX') && list.some(b => b.specialUse == '\\Sent'), 'list');
  await c.mailboxCreate('Flow'); 
  await c.append('Flow', 'Subject: flows\r\nContent-Type: text/plain\r\n\r\nbody\r\n', ['\\Seen']);
  let lock = await c.getMailboxLock('Flow');
  const uids = await c.search({subject: 'flows'}, {uid: true}); must(uids.length == 1, 'search ' + uids);
  const m = await c.fetchOne(uids[0], {uid: true, flags: true, envelope: true, bodyStructure: true, source: true, threadId: true, labels: true}, {uid: true});
  must(m.envelope.subject == 'flows' && m.flags.has('\\Seen') && m.bodyStructure.type == 'text/plain' && m.source.toString().includes('body'), 'fetch');
  const before = c.mailbox.highestModseq;
  must(await c.messageFlagsAdd(uids, ['\\Flagged', '$mine'], {uid: true}), 'flags');
  if (before) { let n = 0; for await (const x of c.fetch('1:*', {flags: true}, {changedSince: before})) n++; must(n == 1, 'changed since: ' + n); }
  const d = await c.download(uids[0], '1', {uid: true}); let text = ''; for await (const x of d.content) text += x; must(text.includes('body'), 'download');
  const seen = {}; for (const e of ['exists', 'expunge', 'flags']) c.on(e, d => { seen[e] = d; });
  c.idle(); await new Promise(r => setTimeout(r, 300));
  const o = make(); await o.connect(); await o.append('Flow', 'Subject: second\r\n\r\nx\r\n');
  await until(() => seen.exists, 'no exists event');
  const l2 = await o.getMailboxLock('Flow'); await o.messageFlagsAdd('2', ['\\Answered']); await until(() => seen.flags, 'no flags event');
  await o.messageDelete('2'); await until(() => seen.expunge, 'no expunge event'); l2.release(); await o.logout();
  const moved = await c.messageMove(uids, 'Trash', {uid: true}); must(moved.uidMap.size == 1, 'move');
  lock.release();
  await c.mailboxRename('Flow', 'Flowed'); must((await c.getQuota('INBOX')) !== undefined, 'quota');
  await c.mailboxOpen('INBOX'); await c.mailboxDelete('Flowed'); await c.logout();
})().then(() => process.exit(0), e => { console.error(e && e.stack || e, e && e.responseText || ''); process.exit(1); });
`, filepath.Join(modules, "imapflow"), b.port(993), annPassword, b.ca())
	b.must("", "node", "-e", script)
}

// goIMAP goes through what go-imap's client does.
func (b *boat) goIMAP(t *testing.T) {
	exists := make(chan uint32, 16)
	c, err := imapclient.DialTLS("localhost:"+b.port(993), &imapclient.Options{TLSConfig: b.tls(), UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				exists <- *d.NumMessages
			}
		}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("login", c.Login("ann@example.test", annPassword).Wait())
	must("create", c.Create("Go", nil).Wait())
	text := "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nFrom: Ann <ann@example.test>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n"
	put := func() {
		t.Helper()
		a := c.Append("Go", int64(len(text)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagFlagged}, Time: time.Now()})
		_, err := io.WriteString(a, text)
		must("append", err)
		must("append", a.Close())
		d, err := a.Wait()
		must("append", err)
		if d.UID == 0 {
			t.Error("no APPENDUID")
		}
	}
	put()
	sel, err := c.Select("Go", nil).Wait()
	must("select", err)
	if sel.NumMessages != 1 {
		t.Fatalf("%d messages", sel.NumMessages)
	}
	msgs, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	must("fetch", err)
	if len(msgs) != 1 || msgs[0].Envelope.Subject != "grüße" || string(msgs[0].FindBodySection(&imap.FetchItemBodySection{Peek: true})) != text {
		t.Errorf("fetched %+v", msgs)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "GRÜSSE"}}}, &imap.SearchOptions{ReturnCount: true, ReturnAll: true}).Wait()
	must("search", err)
	if found.Count > 1 {
		t.Errorf("found %+v", found)
	}
	idle, err := c.Idle()
	must("idle", err)
	b.appendMail(t, "Go", "while", 1)
	select {
	case n := <-exists:
		if n != 2 {
			t.Errorf("EXISTS %d, want 2", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("IDLE told nothing")
	}
	must("idle", idle.Close())
	must("idle", idle.Wait())
	must("store", c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
	_, err = c.Copy(imap.SeqSetNum(1), "Archive").Wait()
	must("copy", err)
	_, err = c.Move(imap.SeqSetNum(2), "Archive").Wait()
	must("move", err)
	must("expunge", c.Expunge().Close())
	st, err := c.Status("Archive", &imap.StatusOptions{NumMessages: true, Size: true}).Wait()
	must("status", err)
	if st.NumMessages == nil || *st.NumMessages != 2 {
		t.Errorf("status %+v", st)
	}
	must("unselect", c.Unselect().Wait())
	must("rename", c.Rename("Go", "Gone", nil).Wait())
	must("delete", c.Delete("Gone").Wait())
	boxes, err := c.List("", "*", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true}}).Collect()
	must("list", err)
	if len(boxes) < 5 {
		t.Errorf("list %+v", boxes)
	}
	must("logout", c.Logout().Wait())
}
