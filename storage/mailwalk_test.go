package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestMailWalks: walks that run beside one another, are left in the middle or cancelled give each message its own rows, whether these come from the
// database, the cache or what was read ahead, and in however many queries.
func TestMailWalks(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{MailCache: 200_000}) // some batches are kept, most are not
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	const n = 700
	for i := range n {
		text := fmt.Sprintf("Subject: number %d\r\nX-Long: %0*d\r\n\r\n%s\r\n", i, i%500, 0, strings.Repeat("body ", i*37%4000))
		if i%3 == 0 { // in another mailbox, so that not all lie together
			sent := []Target{{Account: a.ID, Mailbox: mailboxNamed(t, s, a.ID, "Sent").ID}}
			if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, "Subject: x\r\n\r\n"), sent); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, text), []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Snapshot(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	walk := func(ctx context.Context, want MailWant, leave int) error {
		k := 0
		for i, m := range s.Mail(ctx, p, upTo(n), want) {
			if m.Err != nil {
				return m.Err
			}
			subject := fmt.Sprintf("number %d", i)
			if i != k || want&WantEnvelope != 0 && !strings.Contains(string(m.Envelope), `"`+subject+`"`) ||
				want&(WantHeader|WantBody) != 0 && !strings.HasPrefix(string(m.Header)+string(m.Body), "Subject: "+subject+"\r\n") ||
				want&WantBody != 0 && len(m.Body) != int(p.At(i).Size) {
				return fmt.Errorf("%d came as %d: %s %s", k, i, m.Envelope, m.Header)
			}
			if k++; k == leave {
				return nil
			}
		}
		if k != n {
			return fmt.Errorf("%d messages", k)
		}
		return nil
	}
	var all sync.WaitGroup
	for g := range 6 {
		all.Go(func() {
			for r := range 6 {
				want := []MailWant{WantEnvelope, WantHeader, WantBody, WantEnvelope | WantBody, WantEnvelope | WantStructure | WantHeader}[(g+r)%5]
				if err := walk(t.Context(), want, []int{0, 1, 127, 128, 300}[(g*r)%5]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for _, m := range s.Mail(ctx, p, upTo(n), WantEnvelope|WantIndex) {
		if m.Err == nil {
			seen++
		} else if !errors.Is(m.Err, context.Canceled) {
			t.Fatal(m.Err)
		}
		cancel()
	}
	if seen == 0 || seen > 2*mailBatch {
		t.Error(seen, "messages of a walk that was cancelled at its first")
	}
}

// fallen is a context with which the second batch falls over.
type fallen struct {
	context.Context
	asked int
}

func (f *fallen) Err() error {
	if f.asked++; f.asked > 1 {
		panic("second batch")
	}
	return nil
}

// TestMailWalkFalls: a panic while a batch is read ahead is its consumer's, not the process's.
func TestMailWalkFalls(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	for range mailBatch + 1 {
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, "Subject: x\r\n\r\n"), []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Snapshot(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	func() {
		defer func() {
			if recover() != "second batch" {
				t.Error("it was swallowed")
			}
		}()
		for range s.Mail(&fallen{Context: t.Context()}, p, upTo(mailBatch+1), WantEnvelope) {
			n++
		}
	}()
	if n != mailBatch {
		t.Error(n, "messages before it")
	}
}
