package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/storage"
)

// sendingJSON is what an account may send (0: what the configuration says; -1: any number; -2: nothing) and what it has sent.
type sendingJSON struct {
	Limits storage.SendLimits `json:"limits"`
	Hour   storage.SendWindow `json:"hour"`
	Day    storage.SendWindow `json:"day"`
}

// sendChangeJSON names what changes.
type sendChangeJSON struct {
	MessagesPerHour   *int64 `json:"messages_per_hour,omitempty"`
	RecipientsPerHour *int64 `json:"recipients_per_hour,omitempty"`
	MessagesPerDay    *int64 `json:"messages_per_day,omitempty"`
	RecipientsPerDay  *int64 `json:"recipients_per_day,omitempty"`
}

func (c *control) showSending(ctx context.Context, a *storage.Account) (sendingJSON, error) {
	s, err := c.store.Sending(ctx, a.ID)
	now := time.Now()
	return sendingJSON{s.Limits, s.Hour(now), s.Day(now)}, err
}

func (c *control) setSending(ctx context.Context, a *storage.Account, change sendChangeJSON) error {
	s, err := c.store.Sending(ctx, a.ID)
	if err != nil {
		return err
	}
	l := s.Limits
	for _, x := range []struct{ to, from *int64 }{
		{&l.MessagesPerHour, change.MessagesPerHour}, {&l.RecipientsPerHour, change.RecipientsPerHour},
		{&l.MessagesPerDay, change.MessagesPerDay}, {&l.RecipientsPerDay, change.RecipientsPerDay},
	} {
		if x.from != nil {
			*x.to = *x.from
		}
	}
	return c.store.SetSendLimits(ctx, a.ID, l)
}

// sendFlags are the flags of account set.
type sendFlags struct{ values [4]string }

var sendNames = [4]string{"send-messages-per-hour", "send-recipients-per-hour", "send-messages-per-day", "send-recipients-per-day"}

func (f *sendFlags) add(c *cobra.Command) {
	for i, name := range sendNames {
		c.Flags().StringVar(&f.values[i], name, "", "how many it may send, 0 for nothing, none for no limit, default for limits."+strings.ReplaceAll(name, "-", "_"))
	}
}

// into notes the flags that were given.
func (f *sendFlags) into(c *cobra.Command, change *accountChangeJSON) error {
	var s sendChangeJSON
	to := [4]**int64{&s.MessagesPerHour, &s.RecipientsPerHour, &s.MessagesPerDay, &s.RecipientsPerDay}
	for i, name := range sendNames {
		if !c.Flags().Changed(name) {
			continue
		}
		n, err := sendNumber(f.values[i])
		if err != nil {
			return usageError{fmt.Errorf("--%s: %w", name, err)}
		}
		*to[i] = &n
		change.Send = &s
	}
	return nil
}

func sendNumber(v string) (int64, error) {
	switch v {
	case "default":
		return storage.SendDefault, nil
	case "none":
		return storage.SendAny, nil
	case "0":
		return storage.SendNothing, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 1 {
		return 0, errors.New("a number, none or default")
	}
	return n, nil
}

// sendingText is a line for account show.
func sendingText(s sendingJSON) string {
	var own []string
	for i, n := range []int64{s.Limits.MessagesPerHour, s.Limits.RecipientsPerHour, s.Limits.MessagesPerDay, s.Limits.RecipientsPerDay} {
		what := strings.ReplaceAll(strings.TrimPrefix(sendNames[i], "send-"), "-", " ")
		switch {
		case n == storage.SendAny:
			own = append(own, "any number of "+what)
		case n == storage.SendNothing:
			own = append(own, "no "+what)
		case n > 0:
			own = append(own, fmt.Sprintf("%d %s", n, what))
		}
	}
	text := "by the configuration"
	if len(own) > 0 {
		text = strings.Join(own, ", ")
	}
	if s.Day.Messages > 0 {
		text += fmt.Sprintf(" (%d to %d in the last hour, %d to %d in the last day)", s.Hour.Messages, s.Hour.Recipients, s.Day.Messages, s.Day.Recipients)
	}
	return text
}
