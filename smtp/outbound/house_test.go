package outbound

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// patience is for what a test must wait for.
const patience = 20 * time.Second

// house is a store with a worker.
type house struct {
	t        testing.TB
	store    *storage.Store
	registry *session.Registry
	worker   *Worker
	dns      *dns.MockResolver
}

// build makes one; the worker runs until the test ends.
func build(t testing.TB, set func(*Options, *dns.MockResolver)) *house {
	t.Helper()
	h := empty(t, storage.Options{})
	h.run(set)
	return h
}

// empty makes one without a worker.
func empty(t testing.TB, o storage.Options) *house {
	t.Helper()
	h := &house{t: t, registry: sessiontest.New(t, session.Options{}), dns: &dns.MockResolver{A: map[string][]string{}, MX: map[string][]*net.MX{}}}
	h.store = storagetest.Open(t, t.TempDir(), o)
	return h
}

// run sets a worker going.
func (h *house) run(set func(*Options, *dns.MockResolver)) {
	h.t.Helper()
	here := smtp.New(h.store, nil, smtp.Options{Name: "mail.packetboat.test"})
	o := Options{Name: "mail.packetboat.test", Local: here.DeliverStored, Family: IPv4Only, Timeouts: Timeouts{Command: patience, Greeting: patience, End: patience, Data: patience}}
	if set != nil {
		set(&o, h.dns)
	}
	h.worker = NewWorker(h.store, h.registry, h.dns, NewPolicies(h.store, h.dns, PolicyOptions{NoSTS: true}), NewSigner(h.store, SignOptions{}), o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.worker.Run(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				h.t.Errorf("the worker: %v", err)
			}
		case <-time.After(patience):
			h.t.Error("the worker does not end")
		}
	})
}

// mx makes a domain with one host.
func mx(r *dns.MockResolver, domain string, hosts ...string) {
	for i, h := range hosts {
		name := fmt.Sprintf("mx%d.%s.", i+1, domain)
		r.A[name] = []string{h}
		r.MX[domain+"."] = append(r.MX[domain+"."], &net.MX{Host: name, Pref: uint16(10 * (i + 1))})
	}
}

// send puts a message into the outbox.
func (h *house) send(o storage.Outgoing, message string, to ...string) {
	h.t.Helper()
	for _, a := range to {
		o.Recipients = append(o.Recipients, storage.OutgoingRecipient{Address: a})
	}
	u, err := h.store.NewMail(context.Background(), 0, -1)
	if err != nil {
		h.t.Fatal(err)
	}
	defer u.Abort()
	u.Write([]byte(strings.ReplaceAll(message, "\n", "\r\n")))
	if _, err := h.store.Enqueue(context.Background(), u, []storage.Outgoing{o}, nil); err != nil {
		h.t.Fatal(err)
	}
}

// sendAll puts a message with many envelopes into the outbox.
func (h *house) sendAll(outs []storage.Outgoing) {
	h.t.Helper()
	u, err := h.store.NewMail(context.Background(), 0, -1)
	if err != nil {
		h.t.Fatal(err)
	}
	defer u.Abort()
	u.Write([]byte(strings.ReplaceAll(hello, "\n", "\r\n")))
	if _, err := h.store.Enqueue(context.Background(), u, outs, nil); err != nil {
		h.t.Fatal(err)
	}
}

const hello = "From: ann@packetboat.test\nSubject: hello\n\nline\n.dot\n"

// until waits until something holds.
func (h *house) until(what string, holds func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("never: %s; the queue is %s", what, h.queue())
		}
	}
}

// items are what is in the queue.
func (h *house) items() []storage.QueueItem {
	h.t.Helper()
	all, err := h.store.Queue(context.Background(), storage.QueueFilter{}, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

func (h *house) queue() string {
	var b strings.Builder
	for _, i := range h.items() {
		fmt.Fprintf(&b, "%s %s attempts %d: %s %s (%s)\n", i.Address, i.State, i.Attempts, i.LastStatus, i.LastReply, i.LastRemote)
	}
	return b.String()
}

// empty waits until the queue is.
func (h *house) empty() {
	h.t.Helper()
	h.until("an empty queue", func() bool { return h.store.QueueSize() == 0 })
}

// tried waits until each recipient that is left was tried, and returns the queue.
func (h *house) tried() string {
	h.t.Helper()
	h.until("all tried", func() bool {
		for _, i := range h.items() {
			if i.State != storage.QueueWaiting || i.Attempts == 0 {
				return false
			}
		}
		return true
	})
	h.published()
	return h.queue()
}

// published waits until what was committed is in the pictures of mailboxes and the size of the queue too: they are made new right after a commit, before the next one.
func (h *house) published() {
	h.t.Helper()
	if err := h.store.ReleaseLeases(context.Background(), "nobody"); err != nil {
		h.t.Fatal(err)
	}
}

// notices are the messages in an account's INBOX.
func (h *house) notices(a *storage.Account) (all []string) {
	h.t.Helper()
	ctx := context.Background()
	m, err := h.store.Mailbox(ctx, a.ID, "INBOX")
	if err != nil {
		h.t.Fatal(err)
	}
	snap, err := h.store.Snapshot(ctx, m.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := range snap.Len() {
		b, err := h.store.OpenBlob(ctx, snap.At(i).Blob)
		if err != nil {
			h.t.Fatal(err)
		}
		text, _ := io.ReadAll(b)
		b.Close()
		all = append(all, string(text))
	}
	return all
}

// ends waits until a queue of one message is settled once: it is the notice of a failure, behind those before, or the queue.
func (h *house) ends(a *storage.Account, before int) string {
	h.t.Helper()
	h.until("settled", func() bool {
		all := h.items()
		return len(all) == 0 || all[0].State == storage.QueueWaiting && all[0].LastReply != ""
	})
	h.published()
	if q := h.queue(); q != "" {
		return "deferred: " + q
	}
	if n := h.notices(a); len(n) > before {
		return "failed: " + n[len(n)-1]
	}
	return "delivered"
}
