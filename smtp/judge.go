package smtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// JudgeOptions say what is asked about mail before it is taken; the zero value asks nothing.
type JudgeOptions struct {
	// Trusted are the networks of relays of ours: what comes from them is taken as it is, and their Authentication-Results stand.
	Trusted []netip.Prefix
	// Filters are asked in this order, each about the message as the one before it left it.
	Filters []Filter
	Logger  *slog.Logger
	Now     func() time.Time
}

// Judge decides about mail before it is taken. One Judge serves any number of Servers; it is safe for concurrent use.
type Judge struct {
	store *storage.Store
	o     JudgeOptions
}

// NewJudge returns a Judge.
func NewJudge(store *storage.Store, o JudgeOptions) *Judge {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Judge{store: store, o: o}
}

// judgement is what was found of a message. deliver reads it.
type judgement struct {
	Junk    bool     // into the mailbox with the use \Junk
	Discard bool     // taken and thrown away: a filter said so
	Score   float64  // the sum of what counts against it
	Reasons []string // in words, for who asks why
	Fields  []byte   // what goes in front of the message, behind the trace fields: Authentication-Results
}

func (v *judgement) because(reason string) { v.Reasons = append(v.Reasons, reason) }

// judged tells whether the message is looked at before it is taken.
func (t *transaction) judged() bool {
	j := t.c.srv.o.Judge
	return j != nil && len(j.o.Filters) > 0 && !j.trusts(t.c.remote())
}

// trusts tells whether a peer is a relay of ours.
func (j *Judge) trusts(a netip.Addr) bool {
	for _, p := range j.o.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// remote is the peer's address as networks are compared with.
func (c *client) remote() netip.Addr { return c.ses.Remote().Addr().Unmap().WithZone("") }

// spooled takes the whole message, has it judged and writes it.
func (t *transaction) spooled(ctx context.Context, h *header, added []byte, body io.Reader) (*storage.Upload, error) {
	s := &spool{store: t.c.srv.store}
	defer func() { s.close() }()
	if _, err := s.Write(bytes.TrimPrefix(h.rest, crlf)); err != nil {
		return nil, err
	}
	if !h.ended {
		if _, err := s.ReadFrom(body); err != nil {
			return nil, err
		}
	}
	h.rest = crlf
	var err error
	if s, err = t.judge(ctx, h, s); err != nil {
		return nil, err
	}
	return t.fill(ctx, -1, append(t.top(t.verdict.Fields), added...), h, func(u *storage.Upload) error {
		_, err := s.WriteTo(u)
		return err
	})
}

// judge asks everybody. An error refuses the message; the spool is the message's body from here on.
func (t *transaction) judge(ctx context.Context, h *header, s *spool) (*spool, error) {
	j := t.c.srv.o.Judge
	t.verdict = &judgement{}
	for _, f := range j.o.Filters {
		var r *reply
		if s, r = t.filter(ctx, f, t.examined(h, s), h, s); r != nil {
			return s, r
		}
	}
	return s, nil
}

// examined is the message as a filter sees it. The empty line is none of its body.
func (t *transaction) examined(h *header, s *spool) *Examined {
	c := t.c
	m := &Examined{
		Queue: t.queue, Session: c.ses.ID(), Server: c.srv.o.Name, Remote: c.ses.Remote(), Helo: c.helo, From: t.sender.path,
		Header: h.headerFields(), Body: s, Size: s.Size(),
	}
	if c.account != nil {
		m.User = c.account.Name
	}
	for _, r := range t.recipients {
		m.Recipients = append(m.Recipients, r.path)
	}
	if cs, ok := c.ses.TLS(); ok {
		m.TLS, m.TLSVersion = tls.CipherSuiteName(cs.CipherSuite), tls.VersionName(cs.Version)
	}
	return m
}

// results is the value of the Authentication-Results field, "" without one.
func (v *judgement) results() string { return "" }
