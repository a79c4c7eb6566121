package webhook

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

var secret = []byte("0123456789abcdef")

// receiver is another program that is told events.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	answer []int // the next answers; none: 204
	told   []string
	posts  int
	came   chan struct{}
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{came: make(chan struct{}, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		at, err := strconv.ParseInt(q.Header.Get("Webhook-Timestamp"), 10, 64)
		if err != nil || q.Method != http.MethodPost || q.Header.Get("Webhook-Signature") != Sign(secret, q.Header.Get("Webhook-Id"), time.Unix(at, 0), body) || q.Header.Get("Webhook-Id") == "" {
			t.Errorf("%v %v", q.Header, err)
		}
		var b struct {
			Events []struct{ Event, Queue, Recipient string }
		}
		if err := json.Unmarshal(body, &b); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		code := http.StatusNoContent
		if r.posts++; len(r.answer) > 0 {
			code, r.answer = r.answer[0], r.answer[1:]
		}
		if code == http.StatusNoContent {
			for _, e := range b.Events {
				r.told = append(r.told, e.Event+" "+e.Queue+e.Recipient)
			}
		}
		if code/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(code)
		r.came <- struct{}{}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) list() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.told, ", ")
}

// queued puts a message into the outbox.
func queued(t *testing.T, s *storage.Store, queue string) {
	t.Helper()
	u, err := s.NewMail(t.Context(), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, "Subject: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Enqueue(t.Context(), u, []storage.Outgoing{{Queue: queue, From: "ann@example.test", Recipients: []storage.OutgoingRecipient{{Address: "a@far.test"}}}}, nil); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, s *storage.Store, o Options) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	o.Secret = secret
	go func() { done <- New(s, o).Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (r *receiver) wait(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-r.came:
		case <-time.After(20 * time.Second):
			t.Fatal("nothing came")
		}
	}
}

// TestWorker: what happens is told, in order, until it is taken.
func TestWorker(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := storagetest.Open(t, t.TempDir(), storage.Options{Events: []string{storage.EventAccepted, storage.EventDelivered, storage.EventFailed}})
	defer s.Close()
	r := newReceiver(t)
	defer r.Close()
	r.answer = []int{500, http.StatusMovedPermanently, 204, 204, http.StatusGone}
	queued(t, s, "Q1")
	stop := run(t, s, Options{URL: r.URL, First: time.Millisecond})
	defer stop()
	r.wait(t, 3)
	l, err := s.Lease(t.Context(), storage.LeaseRequest{Owner: "w"})
	if err != nil || len(l) != 1 {
		t.Fatal(l, err)
	}
	if err := s.Settle(t.Context(), []storage.Outcome{{Recipient: l[0].ID, State: storage.Delivered}}, nil); err != nil {
		t.Fatal(err)
	}
	r.wait(t, 1)
	queued(t, s, "gone")
	r.wait(t, 1)
	queued(t, s, "Q2")
	r.wait(t, 1)
	if got, want := r.list(), "accepted Q1, delivered Q1a@far.test, accepted Q2"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	for w := int64(1); w > 0; time.Sleep(time.Millisecond) {
		w, _ = s.EventCounts()
	}
	stop()
}

// TestRestart: what was not taken is told by the next run; what is too old is given up; what is too much is dropped.
func TestRestart(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	o := storage.Options{Events: []string{storage.EventAccepted}, EventsMax: 2}
	s := storagetest.Open(t, dir, o)
	for _, q := range []string{"Q1", "Q2", "Q3"} {
		queued(t, s, q)
	}
	if waiting, dropped := s.EventCounts(); waiting != 2 || dropped != 1 {
		t.Error(waiting, dropped)
	}
	r := newReceiver(t)
	defer r.Close()
	r.answer = []int{503}
	stop := run(t, s, Options{URL: r.URL, First: time.Hour})
	r.wait(t, 1)
	stop()
	s.Close()
	clock := func() time.Time { return time.Now().Add(2 * time.Hour) }
	o.Now = clock
	s = storagetest.Open(t, dir, o)
	defer s.Close()
	stop = run(t, s, Options{URL: r.URL, Now: clock, First: time.Millisecond})
	r.wait(t, 1)
	stop()
	if got := r.list(); got != "accepted Q1, accepted Q2" {
		t.Error(got)
	}
	queued(t, s, "old")
	r.answer = []int{500}
	stop = run(t, s, Options{URL: r.URL, Now: func() time.Time { return clock().Add(48 * time.Hour) }, First: time.Millisecond})
	r.wait(t, 1)
	for w := int64(1); w > 0; time.Sleep(time.Millisecond) {
		w, _ = s.EventCounts()
	}
	stop()
	if got := r.list(); strings.Contains(got, "old") {
		t.Error(got)
	}
}

func TestOptions(t *testing.T) {
	for s, ok := range map[string]bool{"http://127.0.0.1/x": true, "https://a.test": true, "ftp://a.test": false, "a.test": false, "https://": false, "https://u:p@a.test": false, "http://\x7f": false} {
		if err := CheckURL(s); (err == nil) != ok {
			t.Errorf("%s: %v", s, err)
		}
	}
	for s, ok := range map[string]bool{"0123456789abcdef": true, "short": false, "whsec_MDEyMzQ1Njc4OWFiY2RlZg==": true, "whsec_MDEy": false, "whsec_!": false} {
		if b, err := ParseSecret(s); (err == nil) != ok || ok && string(b) != string(secret) {
			t.Errorf("%s: %q %v", s, b, err)
		}
	}
	r := newReceiver(t)
	r.answer = []int{204, 401}
	if code, err := Test(t.Context(), Options{URL: r.URL, Secret: secret}); code != 204 || err != nil {
		t.Error(code, err)
	}
	if code, err := Test(t.Context(), Options{URL: r.URL, Secret: secret}); code != 401 || err == nil {
		t.Error(code, err)
	}
	r.Close()
	if code, err := Test(t.Context(), Options{URL: r.URL + "/token", Secret: secret}); code != 0 || err == nil || strings.Contains(err.Error(), "token") {
		t.Error(code, err)
	}
	// The example of docs/operations.md.
	if got := Sign(secret, "evt_1_1", time.Unix(1700000000, 0), []byte(`{"events":[]}`)); got != "v1,x8pgm09szOxW4SHDOhGBZSjt319minBgO1KfVY5JVw0=" {
		t.Error(got)
	}
}
