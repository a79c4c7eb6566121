package main

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/storage"
)

// The bodies of requests and replies about tokens and certificates.
type (
	passJSON struct {
		Account     string    `json:"account"`
		Name        string    `json:"name"`
		Scopes      []string  `json:"scopes"` // all of them when none was given
		Created     time.Time `json:"created"`
		Expires     time.Time `json:"expires,omitzero"`
		Used        time.Time `json:"used,omitzero"`
		Expired     bool      `json:"expired"`
		Fingerprint string    `json:"fingerprint,omitempty"` // of a certificate
		Token       string    `json:"token,omitempty"`       // in the answer to its making alone
	}
	newPassJSON struct {
		Name        string    `json:"name"`
		Scopes      []string  `json:"scopes,omitempty"`
		Expires     time.Time `json:"expires,omitzero"`
		Fingerprint string    `json:"fingerprint,omitempty"`
	}
)

func showPass(a *storage.Account, p *storage.Pass) passJSON {
	j := passJSON{Account: a.Name, Name: p.Name, Scopes: p.Scopes, Created: p.Created, Expires: p.Expires, Used: p.Used, Expired: p.ExpiredAt(time.Now())}
	if len(j.Scopes) == 0 {
		j.Scopes = auth.Scopes
	}
	if p.Kind == storage.PassCertificate {
		j.Fingerprint = hex.EncodeToString(p.Hash[:])
	}
	return j
}

func (c *control) passes(r *http.Request, kind storage.PassKind) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	all, err := c.store.Passes(r.Context(), a.ID, kind)
	if err != nil {
		return nil, err
	}
	list := []passJSON{}
	for _, p := range all {
		list = append(list, showPass(a, p))
	}
	return list, nil
}

func (c *control) addPass(r *http.Request, kind storage.PassKind) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	n, err := body[newPassJSON](r)
	if err != nil {
		return nil, err
	}
	wanted := auth.NewToken{Name: n.Name, Scopes: n.Scopes, Expires: n.Expires}
	var text string
	var p *storage.Pass
	if kind == storage.PassToken {
		text, p, err = c.door.AddToken(r.Context(), a.ID, wanted)
	} else {
		var f [32]byte
		if f, err = auth.Fingerprint(n.Fingerprint); err == nil {
			p, err = c.door.AddCertificate(r.Context(), a.ID, wanted, f)
		}
	}
	if err != nil {
		return nil, err
	}
	j := showPass(a, p)
	c.note(a, string(kind)+" added", j)
	j.Token = text
	return j, nil
}

func (c *control) removePass(r *http.Request, kind storage.PassKind) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	p, err := c.door.RemovePass(r.Context(), a.ID, kind, r.PathValue("pass"))
	if err != nil {
		return nil, err
	}
	j := showPass(a, p)
	c.note(a, string(kind)+" revoked", j)
	return j, nil
}

// note puts an administrator's act into the journal.
func (c *control) note(a *storage.Account, what string, detail any) {
	text, err := json.Marshal(detail)
	if err != nil {
		return
	}
	c.store.Journal(storage.Record{Kind: "account", Account: a.ID, Subject: what, Detail: text})
}
