package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/mail"
	"net/url"
	"strconv"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// The bodies of requests and replies about the queue.
type (
	queueItemJSON struct {
		Recipient int64         `json:"recipient"` // its number
		Queue     string        `json:"queue"`
		State     string        `json:"state"`
		Account   string        `json:"account,omitempty"`
		From      string        `json:"from"`
		To        string        `json:"to"`
		Domain    string        `json:"domain"`
		Size      int64         `json:"size"`
		Created   time.Time     `json:"created"`
		Due       time.Time     `json:"due"`
		Attempts  int           `json:"attempts"`
		Tried     time.Time     `json:"tried,omitzero"`
		Status    string        `json:"status,omitempty"`
		Reply     string        `json:"reply,omitempty"`
		Remote    string        `json:"remote,omitempty"`
		Told      bool          `json:"delay_told,omitempty"` // the sender knows that it is late
		Priority  int           `json:"priority,omitempty"`
		TLS       bool          `json:"require_tls,omitempty"`
		Worker    string        `json:"worker,omitempty"`  // of leased
		Verdict   string        `json:"verdict,omitempty"` // it fails as soon as the server runs: why
		History   []attemptJSON `json:"attempts_made,omitempty"`
	}
	attemptJSON struct {
		At     time.Time `json:"at"`
		Status string    `json:"status,omitempty"`
		Remote string    `json:"remote,omitempty"`
		Reply  string    `json:"reply,omitempty"`
	}
	queueListJSON struct {
		Messages int             `json:"messages"` // in the whole queue
		Items    []queueItemJSON `json:"recipients"`
		More     bool            `json:"more"` // there are more than were asked for
	}
	queueEntryJSON struct {
		Header map[string]string `json:"header"`
		Items  []queueItemJSON   `json:"recipients"`
	}
	queueActJSON struct {
		Changed int  `json:"changed"`
		Running bool `json:"running"`
	}
	suppressionJSON struct {
		Address string    `json:"address"`
		Manual  bool      `json:"manual"`
		Bounces int       `json:"bounces"`
		Since   time.Time `json:"since"`
		Last    time.Time `json:"last,omitzero"`
		Reason  string    `json:"reason"`
	}
	suppressJSON struct {
		Address string `json:"address"`
		Reason  string `json:"reason"`
	}
)

// queueFilter reads what is asked for. Without anything it must say all, unless it is for looking only.
func (c *control) queueFilter(r *http.Request, looks bool) (f storage.QueueFilter, err error) {
	q := r.URL.Query()
	f = storage.QueueFilter{ID: q.Get("id"), From: q.Get("from"), To: q.Get("to"), Domain: q.Get("domain"), State: q.Get("state")}
	if v := q.Get("older"); v != "" {
		if f.Older, err = time.ParseDuration(v); err != nil || f.Older <= 0 {
			return f, fmt.Errorf("%w: older: want a time such as 90s, 5m or 48h", errRequest)
		}
	}
	if v := q.Get("after"); v != "" {
		if f.After, err = strconv.ParseInt(v, 10, 64); err != nil {
			return f, fmt.Errorf("%w: after: want a number", errRequest)
		}
	}
	if v := q.Get("account"); v != "" {
		a, err := c.store.AccountByLogin(r.Context(), v)
		if err != nil {
			return f, fmt.Errorf("account %q: %w", v, fs.ErrNotExist)
		}
		f.Account = a.ID
	}
	if !looks && f == (storage.QueueFilter{}) && q.Get("all") != "true" {
		return f, fmt.Errorf("%w: say which, or all", errRequest)
	}
	return f, nil
}

// showQueued tells of recipients.
func (c *control) showQueued(ctx context.Context, all []storage.QueueItem) []queueItemJSON {
	names := map[int64]string{0: ""}
	list := []queueItemJSON{}
	for _, i := range all {
		name, known := names[i.Account]
		if !known {
			name = "#" + strconv.FormatInt(i.Account, 10) // one that was removed
			if a, err := c.store.Account(ctx, i.Account); err == nil {
				name = a.Name
			}
			names[i.Account] = name
		}
		j := queueItemJSON{Recipient: i.ID, Queue: i.Queue, State: i.State, Account: name, From: i.From, To: i.Address, Domain: i.Domain, Size: i.Size, Created: i.Created,
			Due: i.Due, Attempts: i.Attempts, Tried: i.Tried, Status: i.LastStatus, Reply: i.LastReply, Remote: i.LastRemote, Told: i.Delayed, Priority: i.Priority,
			TLS: i.RequireTLS, Worker: i.Owner, Verdict: i.Verdict}
		for _, h := range i.History {
			j.History = append(j.History, attemptJSON{h.At, h.Status, h.Remote, h.Reply})
		}
		list = append(list, j)
	}
	return list
}

func (c *control) queueList(r *http.Request) (any, error) {
	f, err := c.queueFilter(r, true)
	if err != nil {
		return nil, err
	}
	limit := 100
	if v := r.URL.Query().Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > 100_000 {
			return nil, fmt.Errorf("%w: limit: want 1 to 100000", errRequest)
		}
	}
	all, err := c.store.Queue(r.Context(), f, limit+1)
	if err != nil {
		return nil, err
	}
	more := len(all) > limit
	if more {
		all = all[:limit]
	}
	return queueListJSON{c.store.QueueSize(), c.showQueued(r.Context(), all), more}, nil
}

// queueShow is all of a message: what its header says, and each recipient with its attempts.
func (c *control) queueShow(r *http.Request) (any, error) {
	all, err := c.store.QueueEntry(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return queueEntryJSON{c.headerOf(r.Context(), all[0].Outbox), c.showQueued(r.Context(), all)}, nil
}

// headerOf are some fields of a message in the outbox, decoded; nil when they cannot be read.
func (c *control) headerOf(ctx context.Context, outbox int64) map[string]string {
	b, err := c.store.OpenOutgoing(ctx, outbox)
	if err != nil {
		return nil
	}
	defer b.Close()
	m, err := mail.ReadMessage(io.LimitReader(b, 256<<10))
	if err != nil {
		return nil
	}
	header := map[string]string{}
	words := mime.WordDecoder{CharsetReader: func(string, io.Reader) (io.Reader, error) { return nil, errors.ErrUnsupported }}
	for _, name := range []string{"Date", "From", "To", "Cc", "Subject", "Message-ID", "Auto-Submitted"} {
		v := m.Header.Get(name)
		if v == "" {
			continue
		}
		if decoded, err := words.DecodeHeader(v); err == nil {
			v = decoded
		}
		header[name] = v[:min(len(v), 1000)]
	}
	return header
}

// queueAct does one of the acts to what is asked for.
func (c *control) queueAct(r *http.Request) (any, error) {
	f, err := c.queueFilter(r, false)
	if err != nil {
		return nil, err
	}
	ctx, s := r.Context(), c.store
	n := 0
	switch r.PathValue("act") {
	case "retry":
		if c.retried != nil {
			c.retried()
		}
		n, err = s.RetryNow(ctx, f)
	case "hold":
		n, err = s.Hold(ctx, f)
	case "release":
		n, err = s.Release(ctx, f)
	case "fail":
		n, err = s.Fail(ctx, f, r.URL.Query().Get("reason"))
	case "drop":
		n, err = s.Drop(ctx, f)
	default:
		err = fmt.Errorf("%w: the queue knows no such act", errRequest)
	}
	if n > 0 && r.PathValue("act") != "retry" {
		s.Journal(storage.Record{Kind: "queue", Subject: r.PathValue("act"), Detail: []byte(fmt.Sprintf(`{"changed":%d,"filter":%q}`, n, redacted(r.URL.Query())))})
	}
	return queueActJSON{n, c.running}, err
}

// redacted is a query as it may be kept.
func redacted(q url.Values) string {
	q.Del("reason")
	return q.Encode()
}

func (c *control) suppressions(r *http.Request) (any, error) {
	list := []suppressionJSON{}
	for after := ""; ; {
		some, err := c.store.ListSuppressed(r.Context(), after, 1000)
		if err != nil {
			return nil, err
		}
		for _, x := range some {
			list = append(list, suppressionJSON{x.Address, x.Manual, x.Bounces, x.Since, x.Last, x.Reason})
		}
		if len(some) < 1000 || len(list) >= 100_000 {
			return list, nil
		}
		after = some[len(some)-1].Address
	}
}

func (c *control) suppress(r *http.Request) (any, error) {
	n, err := body[suppressJSON](r)
	if err != nil {
		return nil, err
	}
	if _, err := c.store.Suppress(r.Context(), n.Address, n.Reason); err != nil {
		return nil, err
	}
	return n, nil
}

func (c *control) unsuppress(r *http.Request) (any, error) {
	address := r.URL.Query().Get("address")
	return suppressJSON{Address: address}, c.store.Unsuppress(r.Context(), address)
}
