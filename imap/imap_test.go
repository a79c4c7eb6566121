package imap_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// house is a server with accounts ann (a quota of 1 MiB) and joe, password "secret".
type house struct {
	store    *storage.Store
	dir      string // the store's
	registry *session.Registry
	accounts map[string]*storage.Account
	plain    string // address of the listener with STARTTLS
	tls      string // of the one with implicit TLS
}

var secret = sync.OnceValues(func() ([]storage.Credential, error) { return auth.Credentials("secret") })

func open(t testing.TB, o imap.Options, policy auth.Plaintext) *house {
	t.Helper()
	h := &house{registry: sessiontest.New(t, session.Options{Grace: time.Second}), accounts: map[string]*storage.Account{}}
	h.dir = t.TempDir()
	h.store = storagetest.Open(t, h.dir, storage.Options{})
	credentials, err := secret()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "joe"} {
		h.accounts[name] = storagetest.Account(t, h.store, name+"@example.test", credentials...)
	}
	if o.Recents == nil {
		o.Recents = imap.NothingRecent()
	}
	door := auth.New(h.store, h.registry, auth.Options{Plaintext: policy, NoThrottle: true})
	if o.TLS == nil {
		o.TLS, _ = sessiontest.TLS(t)
	}
	listen := func(name string, o imap.Options) string {
		return sessiontest.Serve(t, h.registry, session.ListenerOptions{Name: name, Protocol: session.IMAP, Refusal: imap.Refusal}, imap.New(h.store, door, o).Serve)
	}
	h.plain = listen("imap", o)
	o.ImplicitTLS = true
	h.tls = listen("imaps", o)
	return h
}

// env is a house for a script.
func (h *house) env(t testing.TB) sessiontest.Env {
	_, client := sessiontest.TLS(t)
	return sessiontest.Env{
		Dial:     map[string]func(context.Context) (net.Conn, error){"imap": sessiontest.TCP(h.plain), "imaps": sessiontest.OverTLS(h.tls, client)},
		TLS:      client,
		Registry: h.registry,
		Do: map[string]func(testing.TB, ...string){
			"mail":    h.mail,
			"many":    h.many,
			"letter":  h.letter,
			"quota":   h.quota,
			"admin":   h.admin,
			"flag":    h.flag,
			"expunge": h.expunge,
			"delete":  h.remove,
			"gone":    h.gone,
		},
	}
}

func (h *house) box(t testing.TB, account, name string) storage.Mailbox {
	t.Helper()
	b, err := h.store.Mailbox(t.Context(), h.accounts[account].ID, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put delivers a message.
func (h *house) put(t testing.TB, account, mailbox, text string) {
	t.Helper()
	h.putAt(t, account, mailbox, text, time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC))
}

func (h *house) putAt(t testing.TB, account, mailbox, text string, arrived time.Time) {
	t.Helper()
	u, err := h.store.NewMail(t.Context(), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	if _, err := u.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	to := storage.Target{Account: h.accounts[account].ID, Mailbox: h.box(t, account, mailbox).ID, InternalDate: arrived}
	done, err := h.store.Deliver(t.Context(), u, []storage.Target{to})
	if err != nil || done[0].Err != nil {
		t.Fatal(err, done)
	}
}

// mail ACCOUNT MAILBOX NAME delivers one of the messages of messages.
func (h *house) mail(t testing.TB, args ...string) {
	t.Helper()
	text, ok := messages[args[2]]
	if !ok {
		t.Fatal("no message", args[2])
	}
	h.put(t, args[0], args[1], text)
}

// many ACCOUNT MAILBOX N delivers N small ones with numbered subjects.
func (h *house) many(t testing.TB, args ...string) {
	t.Helper()
	n, _ := strconv.Atoi(args[2])
	for i := range n {
		h.put(t, args[0], args[1], "From: joe@example.test\r\nSubject: number "+strconv.Itoa(i+1)+"\r\n\r\nbody "+strconv.Itoa(i+1)+"\r\n")
	}
}

// letter ACCOUNT MAILBOX TIME LINE... delivers a message that arrived at that time (RFC 3339) and has these lines; "" begins the body.
func (h *house) letter(t testing.TB, args ...string) {
	t.Helper()
	arrived, err := time.Parse(time.RFC3339, args[2])
	if err != nil {
		t.Fatal(err)
	}
	h.putAt(t, args[0], args[1], strings.Join(args[3:], "\r\n")+"\r\n", arrived)
}

// quota ACCOUNT BYTES
func (h *house) quota(t testing.TB, args ...string) {
	t.Helper()
	n, _ := strconv.ParseInt(args[1], 10, 64)
	if _, err := h.store.UpdateAccount(t.Context(), h.accounts[args[0]].ID, storage.AccountChange{Quota: &n}); err != nil {
		t.Fatal(err)
	}
}

// admin ACCOUNT makes it an administrator's.
func (h *house) admin(t testing.TB, args ...string) {
	t.Helper()
	yes := true
	if _, err := h.store.UpdateAccount(t.Context(), h.accounts[args[0]].ID, storage.AccountChange{Admin: &yes}); err != nil {
		t.Fatal(err)
	}
}

func numbers(t testing.TB, list string) (uids []uint32) {
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, uint32(n))
	}
	return uids
}

// flag ACCOUNT MAILBOX UIDS sets \Flagged, behind the sessions' backs.
func (h *house) flag(t testing.TB, args ...string) {
	t.Helper()
	_, _, err := h.store.SetFlags(t.Context(), h.accounts[args[0]].ID, h.box(t, args[0], args[1]).ID, numbers(t, args[2]), storage.FlagChange{Op: storage.FlagsAdd, Flags: storage.Flagged})
	if err != nil {
		t.Fatal(err)
	}
}

// expunge ACCOUNT MAILBOX UIDS removes messages, behind the sessions' backs.
func (h *house) expunge(t testing.TB, args ...string) {
	t.Helper()
	_, err := h.store.Expunge(t.Context(), h.accounts[args[0]].ID, h.box(t, args[0], args[1]).ID, numbers(t, args[2]), true)
	if err != nil {
		t.Fatal(err)
	}
}

// delete ACCOUNT MAILBOX removes a mailbox, behind the sessions' backs.
func (h *house) remove(t testing.TB, args ...string) {
	t.Helper()
	if err := h.store.DeleteMailbox(t.Context(), h.accounts[args[0]].ID, args[1], false); err != nil {
		t.Fatal(err)
	}
}

// gone ACCOUNT removes an account.
func (h *house) gone(t testing.TB, args ...string) {
	t.Helper()
	if err := h.store.RemoveAccount(t.Context(), h.accounts[args[0]].ID); err != nil {
		t.Fatal(err)
	}
}

func TestScripts(t *testing.T) {
	sessiontest.PlayFiles(t, "testdata/*.txt", func(t *testing.T) sessiontest.Env {
		return open(t, imap.Options{MaxAppend: 1 << 20}, auth.PlaintextLoopback).env(t)
	})
}

// A client in IDLE is given signs of life (RFC 2177 section 3), which end nothing.
func TestKeepalive(t *testing.T) {
	h := open(t, imap.Options{IdleKeepalive: 20 * time.Millisecond}, auth.PlaintextLoopback)
	sessiontest.Play(t, `
		ann = imap
		ann> a1 LOGIN ann@example.test secret
		ann<< a1 OK *
		ann> a2 SELECT INBOX
		ann<< a2 OK *
		ann> a3 IDLE
		ann< + idling
		ann< \* OK Still here
		ann< \* OK Still here
		! many ann INBOX 1
		ann<< \* 1 EXISTS
		ann<< \* OK Still here
		ann> DONE
		ann<< a3 OK IDLE terminated
	`, h.env(t))
}

// Recent messages (RFC 3501 sections 2.3.2 and 6.4.4): one session only that may change the mailbox is told of each.
func TestRecent(t *testing.T) {
	h := open(t, imap.Options{Recents: imap.NewRecents()}, auth.PlaintextLoopback)
	sessiontest.Play(t, `
		! many ann INBOX 2
		ann = imap
		ann> a1 LOGIN ann@example.test secret
		ann<< a1 OK *
		ann> a2 EXAMINE INBOX
		ann<< \* 2 RECENT
		ann<< a2 OK *
		ann> a3 UNSELECT
		ann< a3 OK *
		ann> a4 STATUS INBOX (MESSAGES RECENT)
		ann< \* STATUS INBOX (MESSAGES 2 RECENT 2)
		ann< a4 OK *
		ann> a5 SELECT INBOX
		ann<< \* 2 RECENT
		ann<< a5 OK *
		ann> a6 FETCH 1:2 FLAGS
		ann< \* 1 FETCH (FLAGS (\\Recent))
		ann< \* 2 FETCH (FLAGS (\\Recent))
		ann< a6 OK *
		joe = imaps
		joe<< \* OK *
		joe> b1 LOGIN ann@example.test secret
		joe<< b1 OK *
		joe> b2 SELECT INBOX
		joe<< \* 0 RECENT
		joe<< b2 OK *
		! many ann INBOX 1
		joe> b3 NOOP
		joe< \* 3 EXISTS
		joe< \* 1 RECENT
		joe< b3 OK *
		ann> a7 NOOP
		ann< \* 3 EXISTS
		ann< \* 2 RECENT
		ann< a7 OK *
		ann> a8 STORE 1 +FLAGS (\Seen)
		ann< \* 1 FETCH (FLAGS (\\Seen \\Recent))
		ann< a8 OK *
		ann> a9 SEARCH NEW
		ann< \* SEARCH 2
		ann< a9 OK *
		ann> c1 SEARCH OLD
		ann< \* SEARCH 3
		ann< c1 OK *
		ann> c2 SEARCH NOT OLD
		ann< \* SEARCH 1 2
		ann< c2 OK *
		ann> c3 EXPUNGE
		ann< c3 OK *
		ann> c4 STATUS INBOX (RECENT)
		ann< \* STATUS INBOX (RECENT 0)
		ann< c4 OK *
	`, h.env(t))
}

// Without TLS no password is taken where the policy forbids it.
func TestPlaintextForbidden(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextNever)
	sessiontest.Play(t, `
		ann = imap
		ann< \* OK [CAPABILITY * STARTTLS LOGINDISABLED] *
		ann> a1 LOGIN ann@example.test secret
		ann< a1 NO [PRIVACYREQUIRED] *
		ann> a2 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=
		ann< a2 NO [PRIVACYREQUIRED] *
		ann> a3 STARTTLS
		ann< a3 OK *
		ann starttls
		ann> a4 CAPABILITY
		ann< \* CAPABILITY IMAP4rev1 * SASL-IR * AUTH=PLAIN*
		ann< a4 OK *
		ann> a5 LOGIN ann@example.test secret
		ann< a5 OK [CAPABILITY IMAP4rev1 *] *
	`, h.env(t))
}

// messages for scripts, by name.
var messages = map[string]string{
	"simple": crlf(`From: Joe <joe@example.test>
To: ann@example.test
Subject: hello
Date: Mon, 2 Feb 2026 23:30:00 -0500
Message-ID: <1@example.test>

line one
line two
`),
	"encoded": crlf(`From: =?UTF-8?Q?J=C3=B6rg?= <joerg@example.test>
To: ann@example.test
Subject: =?UTF-8?B?R3LDvMOfZSBhdXM=?= =?UTF-8?Q?_K=C3=B6ln?=
X-Long: one
 two
Date: Tue, 3 Feb 2026 10:00:00 +0100
MIME-Version: 1.0
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Stra=DFe nach K=F6ln, schnee=
weiss
`),
	"parts": crlf(`From: joe@example.test
To: ann@example.test
Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain

first part
--b
Content-Type: application/octet-stream; name="x.bin"
Content-Transfer-Encoding: base64

AAECAwQF
--b
Content-Type: message/rfc822

From: inner@example.test
Subject: inside

inner body
--b
Content-Type: text/plain
Content-Transfer-Encoding: x-odd

odd
--b--
`),
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
