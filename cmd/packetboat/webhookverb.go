package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/smtp/webhook"
)

// runWebhook starts the worker that tells of events, if the configuration names somebody to tell.
func (h *house) runWebhook(background context.Context, o webhook.Options) {
	if o.URL == "" {
		return
	}
	o.Logger = h.logger
	w := webhook.New(h.store, o)
	h.spawn("webhook", func() error { return w.Run(background) })
}

func (p *program) webhookVerb() *cobra.Command {
	return group(&cobra.Command{
		Use:   "webhook",
		Short: "Tell another program what happens to mail",
		Long: `With webhook.url and webhook.secret, events of the queue (accepted, delivered, deferred, failed, suppressed)
are posted as signed JSON.

  packetboat webhook test     post an event of the kind "test" now, and show the answer`,
	}, &cobra.Command{
		Use:   "test",
		Short: "Post a test event, and show what came back",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := p.flags.dataDir()
			if err != nil {
				return err
			}
			c, _, err := p.flags.load(dir)
			if err != nil {
				return err
			}
			o, err := c.webhook()
			if err != nil {
				return err
			}
			if o.URL == "" {
				return errors.New("no webhook is configured: set webhook.url")
			}
			code, err := webhook.Test(cmd.Context(), o)
			if p.json {
				text := ""
				if err != nil {
					text = err.Error()
				}
				return errors.Join(p.printJSON(map[string]any{"status": code, "ok": err == nil, "error": text}), err)
			}
			if err != nil {
				return fmt.Errorf("the test event was not taken: %w", err)
			}
			_, err = fmt.Fprintf(p.stdout, "The test event was taken: %d %s\n", code, http.StatusText(code))
			return err
		},
	})
}
