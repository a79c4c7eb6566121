package storage

import (
	"errors"
	"testing"
	"time"
)

func TestSendingRefuses(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration, messages, recipients int64) SendWindow {
		return SendWindow{now.Add(-d), messages, recipients}
	}
	for name, test := range map[string]struct {
		s        Sending
		defaults SendLimits
		n        int64
		want     string
	}{
		"nothing is limited":    {Sending{Hour: ago(0, 1e6, 1e6)}, SendLimits{}, 1000, ""},
		"the first":             {Sending{}, SendLimits{1, 1, 1, 1}, 1, ""},
		"a message too many":    {Sending{Hour: ago(20*time.Minute, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, "this account may send 5 messages per hour (send_messages_per_hour), again from 2026-11-23T12:40:00Z"},
		"the last one":          {Sending{Hour: ago(20*time.Minute, 4, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
		"an hour later":         {Sending{Hour: ago(time.Hour, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
		"a recipient too many":  {Sending{Day: ago(time.Hour, 5, 8)}, SendLimits{RecipientsPerDay: 10}, 3, "this account may send 10 recipients per day (send_recipients_per_day), again from 2026-11-24T11:00:00Z"},
		"the day is told first": {Sending{Hour: ago(0, 5, 5), Day: ago(0, 5, 5)}, SendLimits{MessagesPerHour: 5, MessagesPerDay: 5}, 1, "this account may send 5 messages per day (send_messages_per_day), again from 2026-11-24T12:00:00Z"},
		"never":                 {Sending{}, SendLimits{RecipientsPerHour: 2}, 3, "this account may send 2 recipients per hour (send_recipients_per_hour)"},
		"more by itself":        {Sending{Limits: SendLimits{MessagesPerHour: 9}, Hour: ago(0, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
		"any by itself":         {Sending{Limits: SendLimits{MessagesPerHour: SendAny}, Hour: ago(0, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
		"nothing by itself":     {Sending{Limits: SendLimits{MessagesPerDay: SendNothing}}, SendLimits{}, 1, "this account may not send (send_messages_per_day)"},
		"a clock put back":      {Sending{Hour: ago(-2*time.Hour, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
	} {
		err := test.s.Refuses(test.defaults, now, test.n)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want || err != nil && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What is counted is what was taken, and it is there after a restart.
func TestSentIsCounted(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	limits := SendLimits{MessagesPerDay: 2}
	send := func(s *Store, mailbox int64) error {
		u := newMessage(t, s, 0, "Subject: x\r\n\r\nbody\r\n")
		u.SentBy(a.ID, 3, limits)
		_, err := s.Enqueue(t.Context(), u, nil, []Target{{Account: a.ID, Mailbox: mailbox}})
		if err != nil {
			u.Abort()
		}
		return err
	}
	if err := send(s, in); err != nil {
		t.Fatal(err)
	}
	if err := send(s, in+1_000_000); err == nil {
		t.Fatal("a message into no mailbox was taken")
	}
	if x, err := s.Sending(t.Context(), a.ID); err != nil || x.Hour.Messages != 1 || x.Day.Recipients != 3 {
		t.Fatalf("%+v, %v", x, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{})
	if err := send(s, in); err != nil {
		t.Fatal(err)
	}
	var over *SendLimitError
	if err := send(s, in); !errors.As(err, &over) || over.What != "messages" || over.Per != "day" || over.Limit != 2 {
		t.Fatalf("the third: %v", err)
	}
	if err := s.SetSendLimits(t.Context(), a.ID, SendLimits{MessagesPerDay: 3, RecipientsPerDay: SendAny}); err != nil {
		t.Fatal(err)
	}
	if err := send(s, in); err != nil {
		t.Fatal("with a limit of its own:", err)
	}
	x, err := s.Sending(t.Context(), a.ID)
	if err != nil || x.Day.Messages != 3 || x.Day.Recipients != 9 || x.Limits.MessagesPerDay != 3 {
		t.Fatalf("%+v, %v", x, err)
	}
	if err := s.SetSendLimits(t.Context(), a.ID, SendLimits{MessagesPerDay: -3}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := s.RemoveAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if x, err := s.Sending(t.Context(), a.ID); err != nil || x != (Sending{}) {
		t.Errorf("of an account that is gone: %+v, %v", x, err)
	}
}
