package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// control is the door of the verbs: a small JSON API. A running server serves it on
// control.sock; on a stopped one the verb itself calls it in process.
type control struct {
	store    *storage.Store
	tree     *vfs.FS // use trees()
	once     sync.Once
	door     *auth.Door
	registry *session.Registry
	running  bool
	started  time.Time
	doctor   func() *ftpDoctor // nil: the server does not run

	domainAdded func(context.Context) // nil: nobody is to know
	retried     func()                // before mail in the queue becomes due; nil: no worker runs
	reporters   []reporter            // who sends reports to other domains; none: no server runs

	config *config
	chain  func() []*x509.Certificate // of the server; nil when there is none yet
	logger *slog.Logger
}

// The bodies of requests and replies.
type (
	accountJSON struct {
		Name     string      `json:"name"`
		Admin    bool        `json:"admin"`
		Disabled bool        `json:"disabled"`
		Quota    int64       `json:"quota"`
		Limit    int64       `json:"message_quota"`
		Used     int64       `json:"used"`
		Messages int64       `json:"messages"`
		Files    int64       `json:"files"`
		Entries  int64       `json:"entries"` // files, folders, mailboxes and cut uploads
		Aliases  []string    `json:"aliases"`
		Sessions int         `json:"sessions"`
		Created  time.Time   `json:"created"`
		Jail     string      `json:"jail"`
		Rights   []ruleJSON  `json:"rights"` // by path; none: full
		Sending  sendingJSON `json:"sending"`
	}
	newAccountJSON struct {
		Name     string   `json:"name"`
		Password string   `json:"password"`
		Admin    bool     `json:"admin"`
		Quota    int64    `json:"quota"`
		Limit    int64    `json:"message_quota"`
		Aliases  []string `json:"aliases"`
	}
	accountChangeJSON struct {
		Disabled      *bool           `json:"disabled,omitempty"`
		Password      *string         `json:"password,omitempty"`
		Admin         *bool           `json:"admin,omitempty"`
		Quota         *int64          `json:"quota,omitempty"`
		Limit         *int64          `json:"message_quota,omitempty"`
		AddAliases    []string        `json:"add_aliases,omitempty"`
		RemoveAliases []string        `json:"remove_aliases,omitempty"`
		Jail          *string         `json:"jail,omitempty"`
		Send          *sendChangeJSON `json:"send,omitempty"`
	}
	domainJSON struct {
		Name    string `json:"name"`
		Default bool   `json:"default"`
	}
	killedJSON struct {
		Killed int `json:"killed"`
	}
	healthJSON struct {
		OK       bool      `json:"ok"`
		Running  bool      `json:"running"`
		Version  string    `json:"version"`
		Started  time.Time `json:"started,omitzero"`
		Sessions int       `json:"sessions"`
	}
	errorJSON struct {
		Error string `json:"error"`
	}
)

// errRequest is the answer to a request that makes no sense.
var errRequest = errors.New("bad request")

// errNotRunning is the answer to what only a running server can do.
var errNotRunning = errors.New("the server is not running")

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
			v, err := f(r)
			w.Header().Set("Content-Type", "application/json")
			if err != nil {
				w.WriteHeader(statusOf(err))
				v = errorJSON{words(err)}
			}
			json.NewEncoder(w).Encode(v)
		})
	}
	handle("GET /health", c.health)
	handle("GET /accounts", c.accounts)
	handle("POST /accounts", c.addAccount)
	handle("GET /accounts/{name}", c.account)
	handle("PATCH /accounts/{name}", c.changeAccount)
	handle("DELETE /accounts/{name}", c.removeAccount)
	for _, kind := range []storage.PassKind{storage.PassToken, storage.PassCertificate} {
		path := "/accounts/{name}/" + string(kind) + "s"
		handle("GET "+path, func(r *http.Request) (any, error) { return c.passes(r, kind) })
		handle("POST "+path, func(r *http.Request) (any, error) { return c.addPass(r, kind) })
		handle("DELETE "+path+"/{pass}", func(r *http.Request) (any, error) { return c.removePass(r, kind) })
	}
	handle("GET /accounts/{name}/uploads", c.uploads)
	handle("DELETE /accounts/{name}/uploads", c.dropUpload)
	handle("GET /accounts/{name}/acl", c.acls)
	handle("PATCH /accounts/{name}/acl", c.changeACL)
	handle("GET /mounts", c.mounts)
	handle("GET /accounts/{name}/mounts", c.mounts)
	handle("POST /accounts/{name}/mounts", c.addMount)
	handle("DELETE /accounts/{name}/mounts", c.removeMount)
	handle("GET /accounts/{name}/rights", c.rights)
	handle("PATCH /accounts/{name}/rights", c.changeRights)
	c.handleRouting(handle)
	handle("GET /domains", c.domains)
	handle("PUT /domains/{name}", c.addDomain)
	handle("DELETE /domains/{name}", c.removeDomain)
	handle("GET /domains/{name}/dns", c.domainDNS)
	handle("GET /domains/{name}/dkim", c.dkimKeys)
	handle("POST /domains/{name}/dkim", c.rotateDKIM)
	handle("POST /domains/{name}/dkim/active", c.activateDKIM)
	handle("DELETE /domains/{name}/dkim/{selector}", c.removeDKIM)
	handle("GET /sessions", c.sessions)
	handle("GET /sessions/{id}", c.session)
	handle("DELETE /sessions/{id}", c.killSession)
	handle("DELETE /accounts/{name}/sessions", c.killAccount)
	handle("GET /history", c.history)
	handle("GET /why/{id}", c.why)
	handle("GET /doctor/ftp", c.doctorFTP)
	handle("GET /doctor/mail", c.doctorMail)
	handle("GET /queue", c.queueList)
	handle("GET /queue/{id}", c.queueShow)
	handle("POST /queue/{act}", c.queueAct)
	handle("GET /suppressions", c.suppressions)
	handle("POST /suppressions", c.suppress)
	handle("DELETE /suppressions", c.unsuppress)
	handle("GET /reports", c.reports)
	handle("POST /reports", c.sendReports)
	handle("GET /mailboxes", c.mailboxes)
	handle("GET /index", c.index)
	handle("POST /index", c.reindex)
	return mux
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, session.ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, fs.ErrExist), errors.Is(err, errNotRunning), errors.Is(err, fs.ErrPermission), errors.Is(err, storage.ErrLimit):
		return http.StatusConflict
	case errors.Is(err, storage.ErrTemporary):
		return http.StatusServiceUnavailable
	case errors.Is(err, errRequest), errors.Is(err, storage.ErrInvalid), errors.Is(err, fs.ErrInvalid), errors.Is(err, storage.ErrNotLocal), errors.Is(err, auth.ErrPassword), errors.Is(err, auth.ErrPass), errors.As(err, new(*json.SyntaxError)):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// plain are the words of errors that mean something else to who types a verb.
var plain = strings.NewReplacer(
	fs.ErrExist.Error(), "exists already",
	fs.ErrNotExist.Error(), "there is none",
	fs.ErrPermission.Error(), "not possible",
	storage.ErrInvalid.Error()+": ", "", // what follows says what is wrong, with a name or otherwise
	": storage: ", ": ",
)

// words are an error as the verbs print it.
func words(err error) string {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "auth: "), "storage: ")
	text = plain.Replace(text)
	if errors.Is(err, storage.ErrNotLocal) {
		text += " (make it one: packetboat domain add NAME)"
	}
	return text
}

func body[T any](r *http.Request) (v T, err error) {
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		return v, fmt.Errorf("%w: %v", errRequest, err)
	}
	return v, nil
}

func (c *control) health(r *http.Request) (any, error) {
	if _, err := c.store.Domains(r.Context()); err != nil {
		return nil, err
	}
	return healthJSON{OK: true, Running: c.running, Version: version, Started: c.started, Sessions: len(c.registry.List())}, nil
}

func (c *control) show(ctx context.Context, a *storage.Account) (accountJSON, error) {
	u, err := c.store.Usage(ctx, a.ID)
	if err != nil {
		return accountJSON{}, err
	}
	addresses, err := c.store.Addresses(ctx, a.ID)
	if err != nil {
		return accountJSON{}, err
	}
	aliases := []string{}
	for _, addr := range addresses {
		if addr != a.Name {
			aliases = append(aliases, addr)
		}
	}
	rights, err := c.showRights(ctx, a)
	if err != nil {
		return accountJSON{}, err
	}
	sending, err := c.showSending(ctx, a)
	if err != nil {
		return accountJSON{}, err
	}
	return accountJSON{
		Name: a.Name, Jail: rights.Jail, Rights: rights.Rights, Admin: a.Admin, Disabled: a.Disabled, Quota: a.Quota, Limit: a.MessageQuota, Used: u.Bytes, Messages: u.Messages, Files: u.Files, Entries: u.Entries,
		Aliases: aliases, Sessions: len(c.registry.Of(a.ID)), Created: a.Created, Sending: sending,
	}, nil
}

func (c *control) accounts(r *http.Request) (any, error) {
	all, err := c.store.Accounts(r.Context())
	if err != nil {
		return nil, err
	}
	list := []accountJSON{}
	for _, a := range all {
		j, err := c.show(r.Context(), a)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, j)
	}
	return list, nil
}

func (c *control) find(r *http.Request) (*storage.Account, error) {
	name := r.PathValue("name")
	a, err := c.store.AccountByLogin(r.Context(), name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrInvalid) || errors.Is(err, storage.ErrNotLocal) {
		return nil, fmt.Errorf("account %q: %w", name, fs.ErrNotExist)
	}
	return a, err
}

func (c *control) account(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	return c.show(r.Context(), a)
}

func (c *control) addAccount(r *http.Request) (any, error) {
	n, err := body[newAccountJSON](r)
	if err != nil {
		return nil, err
	}
	credentials, err := auth.Credentials(n.Password)
	if err != nil {
		return nil, err
	}
	a, err := c.store.CreateAccount(r.Context(), storage.NewAccount{
		Name: n.Name, Admin: n.Admin, Quota: n.Quota, MessageQuota: n.Limit, Aliases: n.Aliases, Credentials: credentials,
	})
	if err != nil {
		return nil, err
	}
	return c.show(r.Context(), a)
}

func (c *control) changeAccount(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	change, err := body[accountChangeJSON](r)
	if err != nil {
		return nil, err
	}
	if change.Password != nil {
		if err := c.door.SetPassword(r.Context(), a.ID, *change.Password); err != nil {
			return nil, err
		}
	}
	if change.Disabled != nil || change.Admin != nil || change.Quota != nil || change.Limit != nil {
		a, err = c.store.UpdateAccount(r.Context(), a.ID, storage.AccountChange{Disabled: change.Disabled, Admin: change.Admin, Quota: change.Quota, MessageQuota: change.Limit})
		if err != nil {
			return nil, err
		}
		if change.Disabled != nil && *change.Disabled {
			c.door.Revoke(a.ID, session.ErrDisabled)
		}
	}
	if change.Send != nil {
		if err := c.setSending(r.Context(), a, *change.Send); err != nil {
			return nil, err
		}
	}
	if change.Jail != nil {
		if err := c.setJail(r.Context(), a, *change.Jail); err != nil {
			return nil, err
		}
	}
	for _, addr := range change.AddAliases {
		if err := c.store.AddAlias(r.Context(), a.ID, addr); err != nil {
			return nil, err
		}
	}
	for _, addr := range change.RemoveAliases {
		if err := c.store.RemoveAlias(r.Context(), a.ID, addr); err != nil {
			return nil, err
		}
	}
	return c.show(r.Context(), a)
}

func (c *control) removeAccount(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	if err := c.store.RemoveAccount(r.Context(), a.ID); err != nil {
		return nil, err
	}
	c.door.Revoke(a.ID, session.ErrRemoved)
	return accountJSON{Name: a.Name}, nil
}

func (c *control) domains(r *http.Request) (any, error) {
	all, err := c.store.Domains(r.Context())
	list := []domainJSON{}
	for _, d := range all {
		list = append(list, domainJSON{d.Name, d.Default})
	}
	return list, err
}

func (c *control) addDomain(r *http.Request) (any, error) {
	name := r.PathValue("name")
	err := c.store.AddDomain(r.Context(), name)
	if err == nil && c.domainAdded != nil {
		c.domainAdded(r.Context())
	}
	return domainJSON{Name: name}, err
}

func (c *control) removeDomain(r *http.Request) (any, error) {
	name := r.PathValue("name")
	return domainJSON{Name: name}, c.store.RemoveDomain(r.Context(), name)
}

func (c *control) sessions(*http.Request) (any, error) { return c.registry.List(), nil }

func (c *control) session(r *http.Request) (any, error) {
	s, err := c.registry.Find(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return s.Info(), nil
}

func (c *control) killSession(r *http.Request) (any, error) {
	if !c.running {
		return nil, errNotRunning
	}
	s, err := c.registry.Find(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	s.Kill(session.ErrKilled)
	return killedJSON{1}, nil
}

func (c *control) killAccount(r *http.Request) (any, error) {
	if !c.running {
		return nil, errNotRunning
	}
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	return killedJSON{c.registry.KillAccount(a.ID, session.ErrKilled)}, nil
}

// history answers finished sessions, the newest first: ?account=NAME&limit=N&before=ID.
func (c *control) history(r *http.Request) (any, error) {
	q := r.URL.Query()
	limit := 50
	if v := q.Get("limit"); v != "" {
		if err := intInto(&limit, v, 1, 10000); err != nil {
			return nil, fmt.Errorf("%w: --limit: %v", errRequest, err)
		}
	}
	before, _ := strconv.ParseInt(q.Get("before"), 10, 64)
	var account int64
	if name := q.Get("account"); name != "" {
		r.SetPathValue("name", name)
		a, err := c.find(r)
		if err != nil {
			return nil, err
		}
		account = a.ID
	}
	records, err := c.store.Records(r.Context(), "session", account, before, limit)
	if err != nil {
		return nil, err
	}
	list := []session.Info{}
	for _, rec := range records {
		var i session.Info
		if err := json.Unmarshal(rec.Detail, &i); err != nil {
			return nil, fmt.Errorf("reading record %d: %w", rec.ID, err)
		}
		list = append(list, i)
	}
	return list, nil
}
