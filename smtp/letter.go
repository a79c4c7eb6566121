package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// letter is a message with its envelope on the way to where it goes. It knows nothing of the session that it came by: it may have waited in the outbox.
type letter struct {
	srv        *Server
	log        *slog.Logger
	account    *storage.Account // of ours who sends it; nil: it came from outside
	remote     netip.Addr       // who brought it; zero: not known
	helo       string
	arrived    time.Time // here, at first
	sender     sender
	recipients []recipient
	queue      string           // the id of the message, from data on
	verdict    *judgement       // what was found of it; nil: it was not judged
	settles    *storage.Outcome // it waited in the outbox, where this ends its row; nil: it comes from a session
	loops      map[string]bool  // who sent the message on already (marks)
	marked     map[string]bool
	budget     budget
}

func (l *letter) failure(ctx context.Context, what string, err error) *reply {
	return noted(ctx, l.log, what, err)
}

// DeliverStored delivers a message that waited in the outbox to a recipient of ours, in the way of what comes in now: by the route of the address, with filters, quotas, loops
// found, and notices. o is its outcome, and is settled in the same transaction, as are the notices of what became of it.
//
// An error may be what a client would hear: then it has the method Refusal. storage.ErrConflict: somebody else has the recipient by now, or nobody; nothing was delivered.
func (s *Server) DeliverStored(ctx context.Context, from *storage.Leased, body storage.Body, o storage.Outcome) error {
	l := &letter{srv: s, log: s.o.Logger, queue: from.Queue, arrived: from.Created, settles: &o, sender: sender{path: from.From, envid: from.EnvelopeID, ret: from.Return, utf8: from.UTF8,
		requireTLS: from.RequireTLS, priority: from.Priority, byMode: from.ByMode, by: from.By, size: from.Size}}
	if from.Account != 0 && !from.Seal {
		var err error
		if l.account, err = s.store.Account(ctx, from.Account); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return l.failure(ctx, "sender", err)
		}
	}
	r := recipient{envelope: envelope{path: from.Address, notify: from.Notify, original: from.Original}}
	var err error
	r.route, err = s.store.Resolve(ctx, from.Address)
	if errors.Is(err, storage.ErrNotLocal) {
		return fmt.Errorf("%w: the domain is none of ours any more", storage.ErrConflict)
	}
	if err != nil {
		return l.unresolved(ctx, from.Address, err)
	}
	if refusal := l.refusesRoute(ctx, &r); refusal != nil {
		return refusal
	}
	l.recipients = []recipient{r}
	u, err := l.copy(ctx, body)
	if err != nil {
		return l.failure(ctx, "stored message", err)
	}
	defer u.Abort()
	switch refusal := l.deliver(ctx, l.queue, u); refusal {
	case nil:
		return nil
	case errTaken:
		return fmt.Errorf("stored message: %w", storage.ErrConflict)
	default:
		return refusal
	}
}

var errTaken = say(451, "4.3.0", "somebody else has it by now")

// copy makes an upload of a message that is stored, with the marks of those who may send it on.
func (l *letter) copy(ctx context.Context, body storage.Body) (*storage.Upload, error) {
	in := io.NewSectionReader(body, 0, body.Size())
	h, err := readHeader(in, make([]byte, 0, headerBuffer))
	if err != nil {
		return nil, err
	}
	top := append([]byte("Return-Path: <"+l.sender.path+">\r\n"), l.marks(ctx, h)...)
	return l.fill(ctx, top, h, in.Size(), func(u *storage.Upload) error {
		if h.ended {
			return nil
		}
		_, err := u.ReadFrom(in)
		return err
	})
}

// Refusal is the reply as who is no SMTP server understands it: its code, its status (RFC 3463) and its text.
func (r *reply) Refusal() (code int, status, text string) { return r.code, r.enhanced, r.text }

// fill writes a message: what is in front, the fields, the first piece of the body, and what more writes, which is about so many bytes.
func (l *letter) fill(ctx context.Context, top []byte, h *header, size int64, more func(u *storage.Upload) error) (*storage.Upload, error) {
	// SIZE is not reserved: whoever announces much and sends slowly would fill the mailbox with nothing.
	u, err := l.srv.store.NewMail(ctx, l.only(), -1)
	if err != nil {
		return nil, err
	}
	u.Grow(int64(len(top)+h.size()+len(h.rest)) + size)
	if _, err = u.Write(top); err == nil {
		err = h.writeWithout(u, "return-path")
	}
	if err == nil {
		_, err = u.Write(h.rest)
	}
	if err == nil {
		err = more(u)
	}
	if err != nil {
		u.Abort()
		return nil, err
	}
	return u, nil
}
