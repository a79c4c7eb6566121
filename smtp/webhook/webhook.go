package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// Options of a Worker. URL and Secret must be set.
type Options struct {
	URL     string
	Secret  []byte        // ParseSecret
	Agent   string        // User-Agent; "" means packetboat
	Timeout time.Duration // of one POST; 0 means 10 seconds
	GiveUp  time.Duration // how long an event is tried; 0 means 24 hours
	First   time.Duration // the pause after the first failure, doubled by each other up to 10 minutes; 0 means 5 seconds
	Now     func() time.Time
	Logger  *slog.Logger
}

// Batch is how many events one POST carries at most.
const Batch = 100

const pauseMax = 10 * time.Minute

// events is the store, as far as the worker uses it.
type events interface {
	NextEvents(ctx context.Context, max int) (due []storage.Event, next time.Time, err error)
	SettleEvents(ctx context.Context, all []storage.EventOutcome) error
	DropEvents(ctx context.Context, before time.Time) (int, error)
	EventsChanged() <-chan struct{}
	EventCounts() (waiting, dropped int64)
}

// Worker posts events. Run may be called once.
type Worker struct {
	o        Options
	store    events
	client   *http.Client
	failures int   // in a row
	dropped  int64 // that were logged
}

// New makes a Worker.
func New(store events, o Options) *Worker {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.GiveUp <= 0 {
		o.GiveUp = 24 * time.Hour
	}
	if o.First <= 0 {
		o.First = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Agent == "" {
		o.Agent = "packetboat"
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.IdleConnTimeout = 2, 2, 90*time.Second
	t.MaxResponseHeaderBytes = 64 << 10
	return &Worker{o: o, store: store, client: &http.Client{
		Transport: t, Timeout: o.Timeout,
		// What is told is for the one who is named in the configuration.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// CheckURL tells what is wrong with a URL to post to.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("want a URL such as https://app.example.org/hooks/mail")
	case u.User != nil:
		return errors.New("a URL with a password in it would be shown to others: leave it out")
	}
	return nil
}

// ParseSecret reads a secret: "whsec_" and base64, or the bytes themselves.
func ParseSecret(s string) ([]byte, error) {
	b := []byte(s)
	if rest, ok := strings.CutPrefix(s, "whsec_"); ok {
		var err error
		if b, err = base64.StdEncoding.DecodeString(rest); err != nil {
			return nil, errors.New("what follows whsec_ is no base64")
		}
	}
	if len(b) < 16 {
		return nil, errors.New("the secret is too short: want 16 bytes or more")
	}
	return b, nil
}

// Sign is the Webhook-Signature of a body.
func Sign(secret []byte, id string, at time.Time, body []byte) string {
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%s.%d.", id, at.Unix())
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// tick is how often the table is looked at without a hint.
const tick = time.Minute

// Run posts events until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	defer w.client.CloseIdleConnections()
	for ctx.Err() == nil {
		pause, err := w.step(ctx)
		if err != nil && ctx.Err() == nil {
			w.o.Logger.Error("webhook: cannot read or settle events", "error", err)
			pause = w.o.First
		}
		hint := w.store.EventsChanged()
		if err != nil || w.failures > 0 {
			hint = nil // new events do not shorten a pause
		}
		if pause <= 0 {
			continue
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-hint:
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}

// step posts one batch, and says how long to wait then.
func (w *Worker) step(ctx context.Context) (time.Duration, error) {
	if _, dropped := w.store.EventCounts(); dropped > w.dropped {
		w.o.Logger.Error("webhook: events were dropped because too many wait", "events", dropped-w.dropped)
		w.dropped = dropped
	}
	due, next, err := w.store.NextEvents(ctx, Batch)
	if err != nil {
		return 0, err
	}
	if len(due) == 0 {
		if next.IsZero() {
			return tick, nil
		}
		return max(min(next.Sub(w.o.Now()), tick), 10*time.Millisecond), nil
	}
	code, fault := w.post(ctx, due)
	if fault != nil && ctx.Err() != nil {
		return 0, nil // not the other side's fault: told again
	}
	outcomes := make([]storage.EventOutcome, len(due))
	pause := time.Duration(0)
	switch {
	case fault == nil:
		w.failures = 0
	case code == http.StatusGone:
		w.failures = 0
		w.o.Logger.Error("webhook: the other side wants these events no more (410): they are not told again", "events", len(due))
	default:
		w.failures++
		pause = w.pause()
		w.o.Logger.Warn("webhook: events were not taken, and will be told again", "events", len(due), "error", fault, "pause", pause)
	}
	for i, e := range due {
		outcomes[i] = storage.EventOutcome{ID: e.ID, Done: pause == 0}
		if pause == 0 {
			continue
		}
		outcomes[i].Due, outcomes[i].Reply = w.o.Now().Add(pause), fault.Error()
	}
	// What was taken is not told again because the server ends just now.
	if err := w.store.SettleEvents(context.WithoutCancel(ctx), outcomes); err != nil || pause == 0 {
		return pause, err
	}
	n, err := w.store.DropEvents(ctx, w.o.Now().Add(-w.o.GiveUp))
	if n > 0 {
		w.o.Logger.Error("webhook: events are given up", "events", n, "after", w.o.GiveUp)
	}
	return pause, err
}

// pause grows with the failures in a row; the last fifth is left to chance.
func (w *Worker) pause() time.Duration {
	d := w.o.First << min(w.failures-1, 20)
	if d <= 0 || d > pauseMax {
		d = pauseMax
	}
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}

// post tells the events. code is 0 when there was no answer.
func (w *Worker) post(ctx context.Context, all []storage.Event) (code int, err error) {
	bodies := make([]json.RawMessage, len(all))
	for i, e := range all {
		bodies[i] = e.Body
	}
	body, err := json.Marshal(map[string]any{"events": bodies})
	if err != nil {
		return 0, err
	}
	return w.send(ctx, fmt.Sprintf("evt_%d_%d", all[0].ID, all[len(all)-1].ID), body)
}

func (w *Worker) send(ctx context.Context, id string, body []byte) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.o.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	now := w.o.Now()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", w.o.Agent)
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	r.Header.Set("Webhook-Signature", Sign(w.o.Secret, id, now, body))
	resp, err := w.client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL, in which there may be a token
		}
		return 0, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, fmt.Errorf("it answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return resp.StatusCode, nil
}

// Test posts one event of kind "test" and returns the status that came back.
func Test(ctx context.Context, o Options) (int, error) {
	w := New(nil, o)
	defer w.client.CloseIdleConnections()
	now := w.o.Now().UTC()
	body, err := json.Marshal(map[string]any{"events": []any{map[string]any{"id": 0, "event": "test", "at": now.Format("2006-01-02T15:04:05.000Z07:00"), "queue": "", "from": ""}}})
	if err != nil {
		return 0, err
	}
	return w.send(ctx, fmt.Sprintf("test_%d", now.UnixNano()), body)
}
