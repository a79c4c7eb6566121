package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/smtp/webhook"
	"github.com/packetboat/packetboat/storage"
)

// queueConfig is what the configuration says about the queue, its webhooks and what is suppressed.
type queueConfig struct {
	LimitQueue, LimitQueueAccount int // messages; 0: no limit
	SuppressAfter                 int // 0: never

	WebhookURL        string
	WebhookSecret     string
	WebhookSecretFile string
	WebhookEvents     []string
	WebhookTimeout    time.Duration
	WebhookGiveUp     time.Duration
}

// allEvents are those that a webhook can be told.
var allEvents = []string{storage.EventAccepted, storage.EventDelivered, storage.EventDeferred, storage.EventFailed, storage.EventSuppressed}

var queueKeys = []key{
	{"limits.queue_messages", "1000000", "Messages that wait to be sent to other servers; more are refused with 452. One with many recipients counts once more for each ten. They count for nobody's quota.", limit(func(c *config) *int { return &c.LimitQueue })},
	{"limits.queue_messages_account", "100000", "Of them those of one account.", limit(func(c *config) *int { return &c.LimitQueueAccount })},
	{"outbound.suppress_after", "0", "Refusals for good of an address (no such mailbox or domain) after which no mail is sent to it any more and senders are told so at once; packetboat suppress shows them. 0 means never; what an administrator suppressed is so in any case.", func(c *config, v string) error {
		return intInto(&c.SuppressAfter, v, 0, 1000)
	}},

	{"webhook.url", "", "Where events of the queue are posted as JSON, signed: http:// or https://. Empty: nowhere.", func(c *config, v string) error {
		if v != "" {
			if err := webhook.CheckURL(v); err != nil {
				return err
			}
		}
		c.WebhookURL = v
		return nil
	}},
	{"webhook.secret", "", "What the events are signed with (HMAC-SHA256): at least 16 characters, or whsec_ and base64. Better in the environment (PACKETBOAT_WEBHOOK_SECRET) or in a file.", func(c *config, v string) error {
		if v != "" {
			if _, err := webhook.ParseSecret(v); err != nil {
				return err
			}
		}
		c.WebhookSecret = v
		return nil
	}},
	{"webhook.secret_file", "", "A file with the secret, instead of webhook.secret.", text(func(c *config) *string { return &c.WebhookSecretFile })},
	{"webhook.events", strings.Join(allEvents, ", "), "The events that are told, comma-separated.", func(c *config, v string) error {
		c.WebhookEvents = list(v)
		for _, e := range c.WebhookEvents {
			if !slices.Contains(allEvents, e) {
				return fmt.Errorf("%q is no event; there are %s", e, strings.Join(allEvents, ", "))
			}
		}
		return nil
	}},
	{"webhook.timeout", "10s", "How long the other side may take to answer.", duration(func(c *config) *time.Duration { return &c.WebhookTimeout })},
	{"webhook.give_up", "24h", "How long an event is tried.", duration(func(c *config) *time.Duration { return &c.WebhookGiveUp })},
}

// queueInto sets what the store must know of the queue.
func (c *config) queueInto(o *storage.Options) {
	o.SuppressAfter = c.SuppressAfter
	o.QueueMax, o.QueueAccountMax = c.LimitQueue, c.LimitQueueAccount
	if o.QueueMax == 0 {
		o.QueueMax = -1
	}
	if o.QueueAccountMax == 0 {
		o.QueueAccountMax = -1
	}
	if c.WebhookURL != "" {
		o.Events = c.WebhookEvents
	}
}

// webhook is what the configuration says of it; Options.URL is "" when there is none.
func (c *config) webhook() (webhook.Options, error) {
	o := webhook.Options{URL: c.WebhookURL, Timeout: c.WebhookTimeout, GiveUp: c.WebhookGiveUp, Agent: "packetboat/" + version}
	secret := c.WebhookSecret
	if c.WebhookSecretFile != "" && c.WebhookURL != "" {
		b, err := os.ReadFile(c.WebhookSecretFile)
		if err != nil {
			return o, fmt.Errorf("webhook.secret_file: %w", err)
		}
		secret = strings.TrimSpace(string(b))
	}
	switch {
	case c.WebhookURL == "":
		return o, nil
	case secret == "":
		return o, fmt.Errorf("webhook.url needs a secret: set webhook.secret or webhook.secret_file")
	}
	var err error
	o.Secret, err = webhook.ParseSecret(secret)
	return o, err
}
