package outbound

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// TestFairToOthers: an account with much mail for domains that hang keeps no other account's mail from leaving.
func TestFairToOthers(t *testing.T) {
	held := make(chan struct{})
	slow, fast := serveTwo(t, func(f *fake) {
		f.say = func(_ int, line string) string {
			if line == "connect" {
				<-held
			}
			return ""
		}
	})
	h := empty(t, storage.Options{})
	ann, bob := storagetest.Account(t, h.store, "ann@example.test"), storagetest.Account(t, h.store, "bob@example.test")
	var outs []storage.Outgoing
	for i := range 1500 {
		outs = append(outs, storage.Outgoing{Account: ann.ID, Recipients: []storage.OutgoingRecipient{{Address: fmt.Sprintf("a@d%d.example.org", i)}}})
	}
	h.sendAll(outs)
	h.run(func(o *Options, r *dns.MockResolver) {
		o.Port, o.PerDomain, o.Concurrency, o.Timeouts = slow.port(), 2, 8, Timeouts{} // who hangs does so for longer than the test
		for i := range 1500 {
			mx(r, fmt.Sprintf("d%d.example.org", i), "127.0.0.1")
		}
		mx(r, "fast.example.org", "127.0.0.2")
	})
	defer close(held)
	h.until("ann has what she may have", func() bool { slow.mu.Lock(); defer slow.mu.Unlock(); return slow.conns == 6 })
	for range 20 {
		h.send(storage.Outgoing{Account: bob.ID}, hello, "b@fast.example.org")
	}
	h.until("bob's mail is through", func() bool { return len(fast.all()) == 20 })
}

// TestFairInDomain: an account with much mail for one domain does not keep another one's mail for it waiting until all of it is through.
func TestFairInDomain(t *testing.T) {
	turn := make(chan struct{})
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.say = func(_ int, line string) string {
			if line == "end" {
				<-turn
			}
			return ""
		}
	})
	h := empty(t, storage.Options{})
	ann, bob := storagetest.Account(t, h.store, "ann@example.test"), storagetest.Account(t, h.store, "bob@example.test")
	var outs []storage.Outgoing
	for range 300 {
		outs = append(outs, storage.Outgoing{Account: ann.ID, Recipients: []storage.OutgoingRecipient{{Address: "a@example.org"}}})
	}
	h.sendAll(append(outs, storage.Outgoing{Account: bob.ID, Recipients: []storage.OutgoingRecipient{{Address: "b@example.org"}}}))
	h.run(func(o *Options, r *dns.MockResolver) {
		o.Port, o.PerDomain = f.port(), 1
		mx(r, "example.org", "127.0.0.1")
	})
	defer close(turn)
	bobs := func() bool {
		return slices.ContainsFunc(f.all(), func(m mail) bool { return strings.HasPrefix(m.to[0], "<b@") })
	}
	n := 0
	for ; n < 100 && !bobs(); n++ {
		turn <- struct{}{}
		h.until("one more is taken", func() bool { return len(f.all()) > n })
	}
	if !bobs() {
		t.Errorf("%d of ann's messages went before the one of bob's", n)
	}
}
