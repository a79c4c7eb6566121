//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Programs that send mail through our submission.
func TestEndToEndSenders(t *testing.T) {
	b := launch(t)
	t.Run("git send-email", func(t *testing.T) { b.gitSendEmail(t) })
	t.Run("nodemailer", func(t *testing.T) { b.nodemailer(t) })
}

// gitSendEmail sends a series of two patches, over STARTTLS and over implicit TLS: the second answers the first one.
func (b *boat) gitSendEmail(t *testing.T) {
	dir := t.TempDir()
	script := `set -e
cd ` + dir + `
git init -q -b main .
git config user.name "Ann Ämter"; git config user.email ann@example.test
for i in 1 2 3; do echo "line $i ä" >>file; git add file; git commit -qm "file: line $i, grüße"; done
git config sendemail.smtpServer localhost
git config sendemail.smtpUser ann@example.test
git config sendemail.smtpPass "$ANN"
git config sendemail.smtpSSLCertPath ` + b.ca() + `
git send-email --quiet --confirm=never --suppress-cc=all --smtp-encryption=$HOW --smtp-server-port=$AT --to=joe@example.test --subject-prefix="PATCH $HOW" -2 main
`
	for _, how := range [][2]string{{"tls", b.port(587)}, {"ssl", b.port(465)}} {
		os.RemoveAll(filepath.Join(dir, ".git"))
		b.must("", "env", "ANN="+annPassword, "HOW="+how[0], "AT="+how[1], "sh", "-c", script)
		first := b.message(t, "joe@example.test", joePassword, "PATCH "+how[0]+" 1/2")
		second := b.message(t, "joe@example.test", joePassword, "PATCH "+how[0]+" 2/2")
		id := field(t, first, "Message-Id")
		if id == "" || field(t, second, "In-Reply-To") != id {
			t.Errorf("%s: the second patch answers %q, the first is %q", how[0], field(t, second, "In-Reply-To"), id)
		}
		if !strings.Contains(second, "+line 3 ä") {
			t.Errorf("%s: the patch is not as it was:\n%s", how[0], second)
		}
	}
}

// field is a header field of a message.
func field(t *testing.T, message, name string) string {
	t.Helper()
	head, _, _ := strings.Cut(message, "\r\n\r\n")
	for line := range strings.SplitSeq(strings.ReplaceAll(strings.ReplaceAll(head, "\r\n ", " "), "\r\n\t", " "), "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// nodemailer is the library that Node programs send with: a pool of connections, attachments, names that are not ASCII, and its verdict on a refusal.
func (b *boat) nodemailer(t *testing.T) {
	module := filepath.Join(nodeModules(), "nodemailer")
	if _, err := os.Stat(module); err != nil {
		t.Fatal("nodemailer is not installed: run make tools")
	}
	out := b.must("", "node", "-e", fmt.Sprintf(`
const mailer = require(%q), fs = require('fs'), crypto = require('crypto');
process.on('warning', w => { throw w; });
(async () => {
  const bytes = crypto.randomBytes(300000);
  for (const [secure, port] of [[false, %s], [true, %s]]) {
    const t = mailer.createTransport({pool: true, maxConnections: 3, host: 'localhost', port, secure, requireTLS: !secure,
      auth: {user: 'ann@example.test', pass: %q}, tls: {ca: fs.readFileSync(%q)}});
    await t.verify();
    const all = [];
    for (let i = 0; i < 10; i++) all.push(t.sendMail({
      from: {name: 'Ann Ämter 🚢', address: 'ann@example.test'}, to: 'joe@example.test', cc: 'ann@example.test',
      subject: 'nodemailer ' + secure + ' ' + i + ' grüße', text: 'hallo\n.\n..punkt\n', html: '<p>hallo</p>',
      attachments: [{filename: 'bild ä.bin', content: bytes}], dsn: {id: 'x' + i, return: 'headers', notify: ['failure', 'delay'], recipient: 'ann@example.test'}}));
    for (const r of await Promise.all(all)) if (r.accepted.length != 2 || !/^250 2\.0\.0 /.test(r.response)) throw new Error(JSON.stringify(r));
    const no = await t.sendMail({from: 'joe@example.test', to: 'joe@example.test', subject: 'no'}).then(() => 'sent', e => e.responseCode);
    if (no != 553) throw new Error('somebody else\'s address: ' + no);
    const half = await t.sendMail({from: 'ann@example.test', to: ['joe@example.test', 'nobody@example.test'], subject: 'half', text: 'x'});
    if (half.accepted.join() != 'joe@example.test' || half.rejected.join() != 'nobody@example.test') throw new Error(JSON.stringify(half));
    t.close();
  }
  console.log('sum ' + crypto.createHash('sha256').update(bytes).digest('hex'));
})().catch(e => { console.error(e); process.exit(1); });
`, module, b.port(587), b.port(465), annPassword, b.ca()))
	if !strings.Contains(out, "sum ") {
		t.Fatal(out)
	}
	m := b.message(t, "joe@example.test", joePassword, "nodemailer true 9")
	if got := attachment(t, m); len(got) != 300_000 {
		t.Errorf("an attachment of %d bytes", len(got))
	}
	if !strings.Contains(m, "\r\n.\r\n..punkt\r\n") {
		t.Errorf("lines of dots are not as they were:\n%.2000s", m)
	}
}
