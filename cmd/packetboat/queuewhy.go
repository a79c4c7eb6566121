package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// leaving adds what became of a queue id on its way to other servers.
func (c *control) leaving(ctx context.Context, id string, w *whyJSON) (err error) {
	if w.Sent, err = c.store.SentOf(ctx, id, whyMost); err != nil {
		return err
	}
	all, err := c.store.QueueEntry(ctx, id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w.Queued = c.showQueued(ctx, all)
	return nil
}

// explainSent tells of it in words.
func (w *whyJSON) explainSent(b *strings.Builder) {
	for _, s := range w.Sent {
		for _, r := range s.Recipients {
			fmt.Fprintf(b, "%s  <%s> %s (attempt %d)\n", s.At.Local().Format(time.DateTime), printable(r.Address), r.State, r.Attempts)
			if text := said(r.Status, r.Remote, r.Reply); text != "" {
				fmt.Fprintf(b, "  reply   %s\n", printable(text))
			}
		}
	}
	for _, i := range w.Queued {
		fmt.Fprintf(b, "in the queue: <%s> %s, next attempt %s\n", printable(i.To), stateOf(i), next(i))
		for _, a := range i.History {
			fmt.Fprintf(b, "  %s  %s\n", a.At.Local().Format(time.DateTime), printable(said(a.Status, a.Remote, a.Reply)))
		}
	}
}
