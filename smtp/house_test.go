package smtp_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// house is the three servers with accounts ann, joe and admin, password "secret".
type house struct {
	store    *storage.Store
	registry *session.Registry
	accounts map[string]*storage.Account
	mx       string // addresses
	sub      string // with STARTTLS
	subs     string // with implicit TLS
	lmtp     string
}

var secret = sync.OnceValues(func() ([]storage.Credential, error) { return auth.Credentials("secret") })

var sessionOptions = session.ListenerOptions{Name: "smtp", Protocol: session.SMTP, Refusal: smtp.Refusal, LoginTimeout: -1}

// limits are small, so that a test reaches them.
var limits = smtp.Options{MaxMessage: 1 << 20, MaxRecipients: 5}

func open(t testing.TB, o smtp.Options, policy auth.Plaintext) *house {
	t.Helper()
	return openWith(t, storage.Options{}, o, policy)
}

func openWith(t testing.TB, s storage.Options, o smtp.Options, policy auth.Plaintext) *house {
	t.Helper()
	h := &house{registry: sessiontest.New(t, session.Options{Grace: time.Second}), accounts: map[string]*storage.Account{}}
	h.store = storagetest.Open(t, t.TempDir(), s)
	credentials, err := secret()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "joe", "bob"} {
		h.accounts[name], err = h.store.CreateAccount(t.Context(), storage.NewAccount{
			Name: name + "@example.test", Credentials: credentials, Admin: name == "bob", Aliases: []string{name + ".alias@example.test"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	door := auth.New(h.store, h.registry, auth.Options{Plaintext: policy, NoThrottle: true})
	o.Name = "mail.example.test"
	o.Logger = slog.New(slog.NewTextHandler(faults{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	if o.TLS == nil {
		o.TLS, _ = sessiontest.TLS(t)
	}
	listen := func(name string, o smtp.Options) string {
		options := sessionOptions
		options.Name = name
		return sessiontest.Serve(t, h.registry, options, smtp.New(h.store, door, o).Serve)
	}
	if o.XClient == nil {
		o.XClient = session.FrontEnds{netip.MustParsePrefix("127.0.0.7/32")}
	}
	h.mx = listen("mx", o)
	o.Mode = smtp.Submission
	h.sub = listen("submission", o)
	o.ImplicitTLS = true
	h.subs = listen("submissions", o)
	o.ImplicitTLS, o.Mode, o.BareNewline = false, smtp.LMTP, ""
	h.lmtp = listen("lmtp", o)
	return h
}

// faults fails a test for what is logged as an error: it is a fault of ours.
type faults struct{ t testing.TB }

func (f faults) Write(p []byte) (int, error) {
	f.t.Errorf("logged: %s", p)
	return len(p), nil
}

func (h *house) env(t testing.TB) sessiontest.Env {
	_, client := sessiontest.TLS(t)
	return sessiontest.Env{
		Dial: map[string]func(context.Context) (net.Conn, error){
			"mx": sessiontest.TCP(h.mx), "sub": sessiontest.TCP(h.sub), "subs": sessiontest.OverTLS(h.subs, client), "lmtp": sessiontest.TCP(h.lmtp),
			"front": from("127.0.0.7", h.mx), "frontsub": from("127.0.0.7", h.sub),
		},
		TLS:      client,
		Registry: h.registry,
		Do: map[string]func(testing.TB, ...string){
			"has": h.has, "lacks": h.lacks, "count": h.count, "quota": h.quota, "messages": h.limit, "use": h.use, "drain": h.drain, "disable": h.disable,
		},
		Vars: map[string]string{"MX": h.mx},
	}
}

// from connects from another address of this machine.
func from(local, addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
		return d.DialContext(ctx, "tcp", addr)
	}
}

// play runs a script in a house of its own.
func play(t *testing.T, script string) {
	t.Helper()
	h := open(t, limits, auth.PlaintextNever)
	sessiontest.Play(t, script, h.env(t))
}

// inbox are the messages of an account's INBOX.
func (h *house) inbox(t testing.TB, account string) []string {
	t.Helper()
	box, err := h.store.Mailbox(t.Context(), h.accounts[account].ID, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	snap, err := h.store.Snapshot(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i := range snap.Len() {
		b, err := h.store.OpenBlob(t.Context(), snap.At(i).Blob)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(b)
		b.Close()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	return all
}

// has ACCOUNT TEXT: the newest message has the text.
func (h *house) has(t testing.TB, args ...string) {
	t.Helper()
	all := h.inbox(t, args[0])
	if len(all) == 0 {
		t.Fatalf("%s has no message", args[0])
	}
	if last := all[len(all)-1]; !strings.Contains(last, args[1]) {
		t.Fatalf("no %q in:\n%s", args[1], last)
	}
}

// lacks ACCOUNT TEXT: no message has the text.
func (h *house) lacks(t testing.TB, args ...string) {
	t.Helper()
	for _, text := range h.inbox(t, args[0]) {
		if strings.Contains(text, args[1]) {
			t.Fatalf("%q is in:\n%s", args[1], text)
		}
	}
}

// count ACCOUNT N
func (h *house) count(t testing.TB, args ...string) {
	t.Helper()
	if n := len(h.inbox(t, args[0])); strconv.Itoa(n) != args[1] {
		t.Fatalf("%s has %d messages, want %s", args[0], n, args[1])
	}
}

// quota ACCOUNT BYTES
func (h *house) quota(t testing.TB, args ...string) {
	t.Helper()
	n, _ := strconv.ParseInt(args[1], 10, 64)
	if _, err := h.store.UpdateAccount(t.Context(), h.accounts[args[0]].ID, storage.AccountChange{Quota: &n}); err != nil {
		t.Fatal(err)
	}
}

// limit ACCOUNT MESSAGES
func (h *house) limit(t testing.TB, args ...string) {
	t.Helper()
	n, _ := strconv.ParseInt(args[1], 10, 64)
	if _, err := h.store.UpdateAccount(t.Context(), h.accounts[args[0]].ID, storage.AccountChange{MessageQuota: &n}); err != nil {
		t.Fatal(err)
	}
}

// disable ACCOUNT
func (h *house) disable(t testing.TB, args ...string) {
	t.Helper()
	yes := true
	if _, err := h.store.UpdateAccount(t.Context(), h.accounts[args[0]].ID, storage.AccountChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
}

// use ACCOUNT BYTES fills a part of the quota with a file.
func (h *house) use(t testing.TB, args ...string) {
	t.Helper()
	n, _ := strconv.Atoi(args[1])
	a := h.accounts[args[0]]
	u, err := h.store.NewUpload(t.Context(), a.ID, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	if _, err := u.Write(slices.Repeat([]byte("x"), n)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.PutFile(t.Context(), a.ID, a.Home, "filler", u, time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// drain begins the end; it does not wait for it.
func (h *house) drain(t testing.TB, _ ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.registry.Drain(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
}
