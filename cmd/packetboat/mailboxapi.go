package main

import (
	"fmt"
	"net/http"

	"github.com/packetboat/packetboat/storage"
)

// The bodies of requests about mailboxes and the text index.
type (
	mailboxesJSON struct {
		Mailboxes []mailboxJSON `json:"mailboxes"`
		Index     indexJSON     `json:"index"`
	}
	// mailboxJSON is a mailbox, or with an empty name all of an account; those have neither UIDs nor what is told of the index.
	mailboxJSON struct {
		Account       string `json:"account"`
		Name          string `json:"name,omitempty"`
		Mailboxes     int    `json:"mailboxes,omitempty"`
		Messages      int64  `json:"messages"`
		Unseen        int64  `json:"unseen"`
		Deleted       int64  `json:"deleted"`
		Bytes         int64  `json:"bytes"`
		UIDValidity   uint32 `json:"uidvalidity,omitempty"`
		UIDNext       uint32 `json:"uidnext,omitempty"`
		HighestModSeq uint64 `json:"highestmodseq,omitempty"`
		Indexed       *int64 `json:"indexed,omitempty"`
		Unindexed     *int64 `json:"unindexed,omitempty"`
	}
	indexJSON struct {
		On        bool   `json:"on"`
		Running   bool   `json:"running"` // the server runs, which builds it
		Indexed   int64  `json:"indexed"`
		Unindexed int64  `json:"unindexed"`
		Dead      int64  `json:"dead"`
		Segments  int    `json:"segments"`
		Bytes     int64  `json:"bytes"`
		Text      int64  `json:"text"`
		Building  bool   `json:"building"`
		Error     string `json:"error,omitempty"`
	}
)

// mailboxes answers counters: of all accounts, or ?account=NAME of each of its mailboxes, or &mailbox=NAME of one.
func (c *control) mailboxes(r *http.Request) (any, error) {
	index, err := c.indexNow(r)
	if err != nil {
		return nil, err
	}
	out := mailboxesJSON{Mailboxes: []mailboxJSON{}, Index: index}
	q := r.URL.Query()
	if q.Get("account") == "" {
		out.Mailboxes, err = c.totals(r)
		return out, err
	}
	r.SetPathValue("name", q.Get("account"))
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	var boxes []storage.Mailbox
	if name := q.Get("mailbox"); name != "" {
		box, err := c.mailbox(r, a, name)
		if err != nil {
			return nil, err
		}
		boxes = append(boxes, box)
	} else if boxes, err = c.store.Mailboxes(r.Context(), a.ID); err != nil {
		return nil, err
	}
	for _, b := range boxes {
		if b.NoSelect {
			continue
		}
		j := mailboxJSON{Account: a.Name, Name: b.Name, Messages: int64(b.Messages), Unseen: int64(b.Unseen), Deleted: int64(b.Deleted), Bytes: b.Size,
			UIDValidity: b.UIDValidity, UIDNext: b.UIDNext, HighestModSeq: b.HighestModSeq}
		if index.On {
			un, err := c.store.Unindexed(r.Context(), b.ID)
			if err != nil {
				return nil, err
			}
			in := max(0, j.Messages-un)
			j.Indexed, j.Unindexed = &in, &un
		}
		out.Mailboxes = append(out.Mailboxes, j)
	}
	return out, nil
}

// mailbox is the one of an account that a request names.
func (c *control) mailbox(r *http.Request, a *storage.Account, name string) (storage.Mailbox, error) {
	box, err := c.store.Mailbox(r.Context(), a.ID, name)
	if err != nil {
		return box, fmt.Errorf("mailbox %q: %w", name, err)
	}
	return box, nil
}

// totals adds up the mailboxes of each account.
func (c *control) totals(r *http.Request) ([]mailboxJSON, error) {
	all, err := c.store.Accounts(r.Context())
	if err != nil {
		return nil, err
	}
	out := []mailboxJSON{}
	for _, a := range all {
		boxes, err := c.store.Mailboxes(r.Context(), a.ID)
		if err != nil {
			return nil, err
		}
		j := mailboxJSON{Account: a.Name}
		for _, b := range boxes {
			if !b.NoSelect {
				j.Mailboxes++
				j.Messages += int64(b.Messages)
				j.Unseen += int64(b.Unseen)
				j.Deleted += int64(b.Deleted)
				j.Bytes += b.Size
			}
		}
		out = append(out, j)
	}
	return out, nil
}

func (c *control) index(r *http.Request) (any, error) { return c.indexNow(r) }

func (c *control) indexNow(r *http.Request) (indexJSON, error) {
	s, err := c.store.TextStats(r.Context())
	if err != nil {
		return indexJSON{}, err
	}
	j := indexJSON{On: s.On, Running: c.running, Indexed: s.Indexed, Unindexed: s.Unindexed, Dead: s.Dead, Segments: s.Segments, Bytes: s.Bytes, Text: s.Text, Building: s.Building}
	if s.Err != nil {
		j.Error = s.Err.Error()
	}
	return j, nil
}

// reindex throws the text index away. A running server then builds it by itself; on a stopped one it is built here.
func (c *control) reindex(r *http.Request) (any, error) {
	s, err := c.store.TextStats(r.Context())
	if err == nil && !s.On {
		err = fmt.Errorf("%w: there is no search index (search.index is off)", errRequest)
	}
	if err != nil {
		return nil, err
	}
	if err := c.store.Reindex(r.Context()); err != nil {
		return nil, err
	}
	if !c.running {
		if err := c.store.BuildIndex(r.Context()); err != nil {
			return nil, err
		}
	}
	return c.indexNow(r)
}
