package smtp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RspamdOptions say where an rspamd is.
type RspamdOptions struct {
	URL      string        // of its normal worker, e.g. http://127.0.0.1:11333, or unix:/run/rspamd/worker.sock
	Password string        // "" for none
	Timeout  time.Duration // for all of it; 0 means 10 s
	Closed   bool          // refuse for now what it does not answer about
}

// maxRspamdAnswer is how long an answer may be.
const maxRspamdAnswer = 1 << 20

// rspamd is a Filter over HTTP.
type rspamd struct {
	o      RspamdOptions
	url    string
	client *http.Client
}

// NewRspamd returns a Filter that asks rspamd (/checkv2). Close it when nobody asks any more.
func NewRspamd(o RspamdOptions) (Filter, error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	t := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, DisableCompression: true, ResponseHeaderTimeout: o.Timeout, Proxy: nil}
	base := o.URL
	if path, ok := strings.CutPrefix(o.URL, "unix:"); ok {
		if path == "" {
			return nil, fmt.Errorf("%q names no socket", o.URL)
		}
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
		base = "http://rspamd"
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL such as http://127.0.0.1:11333 or unix:/run/rspamd.sock", o.URL)
	}
	return &rspamd{o: o, url: u.JoinPath("checkv2").String(), client: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("rspamd does not redirect") },
	}}, nil
}

func (r *rspamd) Name() string     { return "rspamd" }
func (r *rspamd) FailClosed() bool { return r.o.Closed }

// Close gives idle connections up.
func (r *rspamd) Close() { r.client.CloseIdleConnections() }

// Examine sends the message and reads the verdict.
func (r *rspamd) Examine(ctx context.Context, m *Examined) (Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	head := m.raw()
	body := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(head), io.NewSectionReader(m.Body, 0, m.Size))), nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, nil)
	if err != nil {
		return Finding{}, err
	}
	req.Body, _ = body()
	req.GetBody = body // a connection that was kept may have been closed meanwhile: the request is sent on another one
	req.ContentLength = int64(len(head)) + m.Size
	r.describe(req.Header, m)
	res, err := r.client.Do(req)
	if err != nil {
		return Finding{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxRspamdAnswer+1))
	switch {
	case err != nil:
		return Finding{}, err
	case res.StatusCode != http.StatusOK:
		return Finding{}, fmt.Errorf("rspamd answers %s", res.Status)
	case len(text) > maxRspamdAnswer:
		return Finding{}, errors.New("rspamd answers too much")
	}
	return readRspamd(text)
}

// describe tells what rspamd cannot see in the message.
func (r *rspamd) describe(h http.Header, m *Examined) {
	set := func(name, value string) {
		if value != "" {
			h.Set(name, clean(value, 1000))
		}
	}
	h.Set("Content-Type", "application/octet-stream")
	if a := m.Remote.Addr(); a.IsValid() { // a front end need not know its client
		set("IP", a.Unmap().WithZone("").String())
	}
	set("Helo", m.Helo)
	set("Hostname", m.Host)
	set("From", "<"+m.From+">")
	set("Queue-Id", m.Queue)
	set("User", m.User)
	set("MTA-Name", m.Server)
	set("TLS-Cipher", m.TLS)
	set("TLS-Version", m.TLSVersion)
	set("Password", r.o.Password)
	for _, to := range m.Recipients {
		h.Add("Rcpt", clean(to, 1000))
	}
	if len(m.Recipients) == 1 {
		set("Deliver-To", m.Recipients[0])
	}
}

// rspamdAnswer is what /checkv2 says, as far as it concerns us.
type rspamdAnswer struct {
	Action   string  `json:"action"`
	Skipped  bool    `json:"is_skipped"`
	Score    float64 `json:"score"`
	Required float64 `json:"required_score"`
	Subject  string  `json:"subject"`
	Error    string  `json:"error"`
	Messages struct {
		SMTP string `json:"smtp_message"`
	} `json:"messages"`
	Symbols map[string]struct {
		Score float64 `json:"score"`
	} `json:"symbols"`
	Milter struct {
		Add        map[string]json.RawMessage `json:"add_headers"`
		Remove     map[string]json.RawMessage `json:"remove_headers"`
		Reject     string                     `json:"reject"`
		SpamHeader string                     `json:"spam_header"`
	} `json:"milter"`
	DKIM json.RawMessage `json:"dkim-signature"`
}

// readRspamd makes a Finding of an answer.
func readRspamd(text []byte) (Finding, error) {
	var a rspamdAnswer
	if err := json.Unmarshal(text, &a); err != nil {
		return Finding{}, fmt.Errorf("rspamd's answer: %w", err)
	}
	f := Finding{Reason: a.reason()}
	switch a.Action {
	case "no action":
	case "add header", "rewrite subject":
		f.Action = ToJunk
		if a.Action == "rewrite subject" && a.Subject != "" {
			f.Edits = append(f.Edits, Edit{Change, "Subject", 1, a.Subject})
		}
	case "greylist", "soft reject":
		f.Action, f.Text = Defer, a.Messages.SMTP
	case "reject":
		f.Action, f.Text = Refuse, a.Messages.SMTP
		switch a.Milter.Reject {
		case "discard":
			f.Action = Discard
		case "quarantine":
			f.Action = ToJunk
		}
	case "discard":
		f.Action = Discard
	case "quarantine":
		f.Action = ToJunk
	default:
		if a.Error != "" {
			return Finding{}, fmt.Errorf("rspamd says %q", clean(a.Error, 200))
		}
		return Finding{}, fmt.Errorf("rspamd's action %q is none", clean(a.Action, 40))
	}
	edits, err := a.edits()
	f.Edits = append(f.Edits, edits...)
	// What the message itself says of these is somebody else's opinion.
	f.Edits = append(f.Edits, Edit{Change, "X-Spam-Flag", 0, ""}, Edit{Change, "X-Spam-Status", 0, ""})
	if f.Action == ToJunk {
		f.Edits = append(f.Edits, Edit{Append, "X-Spam-Flag", 0, "YES"})
	}
	if f.Action == ToJunk || f.Action == Take {
		f.Edits = append(f.Edits, Edit{Append, "X-Spam-Status", 0, a.status()})
	}
	return f, err
}

// status is the value of X-Spam-Status.
func (a *rspamdAnswer) status() string {
	word := "No"
	if a.Action == "add header" || a.Action == "rewrite subject" {
		word = "Yes"
	}
	return fmt.Sprintf("%s, score=%.2f required=%.2f", word, a.Score, a.Required)
}

// reason names the action and the symbols that weighed most.
func (a *rspamdAnswer) reason() string {
	names := make([]string, 0, len(a.Symbols))
	for n, s := range a.Symbols {
		if s.Score != 0 {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, func(x, y string) int {
		if a.Symbols[x].Score != a.Symbols[y].Score {
			if a.Symbols[x].Score > a.Symbols[y].Score {
				return -1
			}
			return 1
		}
		return strings.Compare(x, y)
	})
	names = names[:min(len(names), 8)]
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %.1f", n, a.Symbols[n].Score)
	}
	return fmt.Sprintf("%s, score %.2f of %.2f (%s)", a.Action, a.Score, a.Required, strings.Join(names, ", "))
}

// edits are the fields that rspamd removes and adds, by name, so that they come in one order always.
func (a *rspamdAnswer) edits() (edits []Edit, err error) {
	for _, name := range sortedKeys(a.Milter.Remove) {
		index := 0
		if n, err := strconv.Atoi(string(a.Milter.Remove[name])); err == nil && n > 0 {
			index = n
		}
		edits = append(edits, Edit{Change, name, index, ""})
	}
	for _, name := range sortedKeys(a.Milter.Add) {
		values, err := rspamdValues(a.Milter.Add[name])
		if err != nil {
			return nil, fmt.Errorf("rspamd's header %q: %w", clean(name, 80), err)
		}
		for _, v := range values {
			kind := Append
			if v.Order != nil && *v.Order >= 0 {
				kind = Insert
			}
			e := Edit{Kind: kind, Name: name, Value: v.Value}
			if v.Order != nil {
				e.Index = max(*v.Order-1, 0)
			}
			edits = append(edits, e)
		}
	}
	if len(a.DKIM) > 0 {
		values, err := rspamdValues(a.DKIM)
		if err != nil {
			return nil, fmt.Errorf("rspamd's dkim-signature: %w", err)
		}
		for _, v := range values {
			edits = append(edits, Edit{Insert, "DKIM-Signature", 0, v.Value})
		}
	}
	return edits, nil
}

// rspamdValue is a field's value and where it goes: before the how-manieth field.
type rspamdValue struct {
	Value string `json:"value"`
	Order *int   `json:"order"`
}

// rspamdValues reads a string, an object or a list of them.
func rspamdValues(raw json.RawMessage) (all []rspamdValue, err error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	for _, one := range list {
		var v rspamdValue
		if err = json.Unmarshal(one, &v.Value); err != nil {
			if err = json.Unmarshal(one, &v); err != nil {
				return nil, err
			}
		}
		all = append(all, v)
	}
	return all, nil
}

func sortedKeys[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
