package storage

import (
	"errors"
	"testing"
	"time"
)

func TestSendingRefuses(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration, messages, recipients int64) []sendSlot {
		return []sendSlot{{slotOf(now.Add(-d)), messages, recipients}}
	}
	two := append(ago(50*time.Minute, 3, 3), ago(10*time.Minute, 2, 2)...)
	for name, test := range map[string]struct {
		s        Sending
		defaults SendLimits
		n        int64
		want     string
	}{
		"nothing is limited":    {Sending{slots: ago(0, 1e6, 1e6)}, SendLimits{}, 1000, ""},
		"the first":             {Sending{}, SendLimits{1, 1, 1, 1}, 1, ""},
		"a message too many":    {Sending{slots: ago(20*time.Minute, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, "this account may send 5 messages per hour (send_messages_per_hour), again from 2026-11-23T12:45:00Z"},
		"the last one":          {Sending{slots: ago(20*time.Minute, 4, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
		"an hour later":         {Sending{slots: ago(66*time.Minute, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
		"it slides":             {Sending{slots: two}, SendLimits{MessagesPerHour: 5}, 1, "this account may send 5 messages per hour (send_messages_per_hour), again from 2026-11-23T12:15:00Z"},
		"and further":           {Sending{slots: two}, SendLimits{RecipientsPerHour: 5}, 4, "this account may send 5 recipients per hour (send_recipients_per_hour), again from 2026-11-23T12:55:00Z"},
		"a recipient too many":  {Sending{slots: ago(time.Hour, 5, 8)}, SendLimits{RecipientsPerDay: 10}, 3, "this account may send 10 recipients per day (send_recipients_per_day), again from 2026-11-24T11:05:00Z"},
		"the day is told first": {Sending{slots: ago(0, 5, 5)}, SendLimits{MessagesPerHour: 5, MessagesPerDay: 5}, 1, "this account may send 5 messages per day (send_messages_per_day), again from 2026-11-24T12:05:00Z"},
		"never":                 {Sending{}, SendLimits{RecipientsPerHour: 2}, 3, "this account may send 2 recipients per hour (send_recipients_per_hour)"},
		"more by itself":        {Sending{Limits: SendLimits{MessagesPerHour: 9}, slots: ago(0, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
		"any by itself":         {Sending{Limits: SendLimits{MessagesPerHour: SendAny}, slots: ago(0, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
		"nothing by itself":     {Sending{Limits: SendLimits{MessagesPerDay: SendNothing}}, SendLimits{}, 1, "this account may not send (send_messages_per_day)"},
		"a clock put back":      {Sending{slots: ago(-2*time.Hour, 5, 5)}, SendLimits{MessagesPerHour: 5}, 1, ""},
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
	if x, err := s.Sending(t.Context(), a.ID); err != nil || x.Hour(time.Now()).Messages != 1 || x.Day(time.Now()).Recipients != 3 {
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
	if err != nil || x.Day(time.Now()).Messages != 3 || x.Day(time.Now()).Recipients != 9 || x.Limits.MessagesPerDay != 3 {
		t.Fatalf("%+v, %v", x, err)
	}
	if err := s.SetSendLimits(t.Context(), a.ID, SendLimits{MessagesPerDay: -3}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := s.RemoveAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if x, err := s.Sending(t.Context(), a.ID); err != nil || x.Limits != (SendLimits{}) || len(x.slots) > 0 {
		t.Errorf("of an account that is gone: %+v, %v", x, err)
	}
}

// Whenever it is looked at: within no hour more is sent than may be, and all that may be within one and a slot.
func TestSendingSlides(t *testing.T) {
	now := time.Now().Truncate(time.Hour)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	var taken []time.Time
	for range 200 {
		now = now.Add(97 * time.Second)
		u := newMessage(t, s, 0, "Subject: x\r\n\r\nbody\r\n")
		u.SentBy(a.ID, 1, SendLimits{MessagesPerHour: 10})
		if _, err := s.Enqueue(t.Context(), u, nil, []Target{{Account: a.ID, Mailbox: in}}); err == nil {
			taken = append(taken, now)
		} else if u.Abort(); !errors.Is(err, ErrLimit) {
			t.Fatal(err)
		}
	}
	if len(taken) < 45 {
		t.Errorf("%d were taken in 5.4 hours", len(taken))
	}
	for i := 10; i < len(taken); i++ {
		if d := taken[i].Sub(taken[i-10]); d < time.Hour || d > 70*time.Minute {
			t.Errorf("11 messages within %v", d)
		}
	}
	u := newMessage(t, s, 0, "Subject: x\r\n\r\nbody\r\n")
	u.SentOn(map[int64]int{a.ID: 7})
	if _, err := s.Enqueue(t.Context(), u, nil, []Target{{Account: a.ID, Mailbox: in}}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.SentOn(t.Context(), a.ID); n != 7 || err != nil {
		t.Error(n, err)
	}
	now = now.Add(25 * time.Hour)
	if n, err := s.SentOn(t.Context(), a.ID); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// What the windows of the program before this one had counted is counted still.
func TestSendingMigrated(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	if err := s.SetSendLimits(t.Context(), a.ID, SendLimits{MessagesPerDay: 3}); err != nil {
		t.Fatal(err)
	}
	if err := s.do(t.Context(), func(t *tx) error {
		at := t.s.o.Now().Add(-10 * time.Minute).Unix()
		return t.exec(`UPDATE sending SET hour_began = ?, hour_messages = 2, hour_recipients = 4, day_began = ?, day_messages = 5, day_recipients = 9`, at, at-7200)
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, downgraded(t, dir, 14), Options{})
	x, err := s.Sending(t.Context(), a.ID)
	if err != nil || x.Limits.MessagesPerDay != 3 {
		t.Fatal(x, err)
	}
	if h, d := x.Hour(time.Now()), x.Day(time.Now()); h.Messages != 2 || h.Recipients != 4 || d.Messages != 5 || d.Recipients != 9 {
		t.Error(h, d)
	}
}
