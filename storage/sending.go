package storage

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// SendLimits are how many messages an account may send, and to how many recipients together, within an hour and a day. Local recipients count
// like others.
type SendLimits struct {
	MessagesPerHour   int64 `json:"messages_per_hour"`
	RecipientsPerHour int64 `json:"recipients_per_hour"`
	MessagesPerDay    int64 `json:"messages_per_day"`
	RecipientsPerDay  int64 `json:"recipients_per_day"`
}

// What a limit can be beside a number.
const (
	SendDefault = 0  // of an account: what the configuration says; of the configuration: any number
	SendAny     = -1 // any number
	SendNothing = -2
)

// over gives the limits with those of defaults where they are SendDefault.
func (l SendLimits) over(defaults SendLimits) SendLimits {
	return SendLimits{
		cmp.Or(l.MessagesPerHour, defaults.MessagesPerHour), cmp.Or(l.RecipientsPerHour, defaults.RecipientsPerHour),
		cmp.Or(l.MessagesPerDay, defaults.MessagesPerDay), cmp.Or(l.RecipientsPerDay, defaults.RecipientsPerDay),
	}
}

// none tells whether nothing is limited, so that nothing need be counted.
func (l SendLimits) none() bool {
	free := func(n int64) bool { return n == SendDefault || n == SendAny }
	return free(l.MessagesPerHour) && free(l.RecipientsPerHour) && free(l.MessagesPerDay) && free(l.RecipientsPerDay)
}

// SendWindow is what was sent since it began.
type SendWindow struct {
	Began      time.Time `json:"began"` // zero: never
	Messages   int64     `json:"messages"`
	Recipients int64     `json:"recipients"`
}

// Sending is what an account may send and has sent.
type Sending struct {
	Limits    SendLimits `json:"limits"` // its own
	Hour, Day SendWindow
}

// SendLimitError refuses a message: which limit, and when there is room again. It is an ErrLimit.
type SendLimitError struct {
	What  string // "messages" or "recipients"
	Per   string // "hour" or "day"
	Limit int64
	Until time.Time // zero: not by waiting
}

// Error names the limit and its key in the configuration.
func (e *SendLimitError) Error() string {
	if e.Limit <= 0 {
		return fmt.Sprintf("this account may not send (send_%s_per_%s)", e.What, e.Per)
	}
	text := fmt.Sprintf("this account may send %d %s per %s (send_%s_per_%s)", e.Limit, e.What, e.Per, e.What, e.Per)
	if !e.Until.IsZero() {
		text += ", again from " + e.Until.UTC().Format(time.RFC3339)
	}
	return text
}

// Is makes it an ErrLimit.
func (e *SendLimitError) Is(target error) bool { return target == ErrLimit }

// The lengths of the windows.
const (
	sendHour = time.Hour
	sendDay  = 24 * time.Hour
)

// current is the window at now: a new one when it is over.
func (w SendWindow) current(now time.Time, length time.Duration) SendWindow {
	if w.Began.IsZero() || !now.Before(w.Began.Add(length)) || w.Began.After(now.Add(time.Minute)) { // the clock was put back
		return SendWindow{Began: now}
	}
	return w
}

// At is s with the windows of that time.
func (s Sending) At(now time.Time) Sending {
	s.Hour, s.Day = s.Hour.current(now, sendHour), s.Day.current(now, sendDay)
	return s
}

// Refuses tells why one more message to so many recipients would be too much at now; nil when it would not. What waits longest is told.
func (s Sending) Refuses(defaults SendLimits, now time.Time, recipients int64) error {
	l := s.Limits.over(defaults)
	s = s.At(now)
	hour, day := s.Hour, s.Day
	for _, x := range []struct {
		what, per   string
		limit, have int64
		adds        int64
		until       time.Time
	}{
		{"messages", "day", l.MessagesPerDay, day.Messages, 1, day.Began.Add(sendDay)},
		{"recipients", "day", l.RecipientsPerDay, day.Recipients, recipients, day.Began.Add(sendDay)},
		{"messages", "hour", l.MessagesPerHour, hour.Messages, 1, hour.Began.Add(sendHour)},
		{"recipients", "hour", l.RecipientsPerHour, hour.Recipients, recipients, hour.Began.Add(sendHour)},
	} {
		switch {
		case x.limit == SendDefault, x.limit == SendAny, x.limit > 0 && x.have+x.adds <= x.limit:
			continue
		case x.limit < 0:
			return &SendLimitError{x.what, x.per, 0, time.Time{}}
		case x.adds > x.limit:
			x.until = time.Time{} // one message to more than there may be
		}
		return &SendLimitError{x.what, x.per, x.limit, x.until}
	}
	return nil
}

const sendingColumns = `messages_per_hour, recipients_per_hour, messages_per_day, recipients_per_day,
	hour_began, hour_messages, hour_recipients, day_began, day_messages, day_recipients`

func readSending(q sqldb.Querier, account int64) (x Sending, err error) {
	var hour, day int64
	l := &x.Limits
	err = q.Row(`SELECT `+sendingColumns+` FROM sending WHERE account = ?`, account).Scan(
		&l.MessagesPerHour, &l.RecipientsPerHour, &l.MessagesPerDay, &l.RecipientsPerDay,
		&hour, &x.Hour.Messages, &x.Hour.Recipients, &day, &x.Day.Messages, &x.Day.Recipients)
	if errors.Is(err, sql.ErrNoRows) {
		return Sending{}, nil
	}
	if hour != 0 {
		x.Hour.Began = unix(hour)
	}
	if day != 0 {
		x.Day.Began = unix(day)
	}
	return x, err
}

// Sending is what an account has sent; the windows may be over. The zero value for one of which nothing is known.
func (s *Store) Sending(ctx context.Context, account int64) (Sending, error) {
	x, err := readSending(s.db, account)
	return x, fail("sending", err)
}

// SetSendLimits gives an account limits of its own. fs.ErrNotExist, ErrInvalid.
func (s *Store) SetSendLimits(ctx context.Context, account int64, l SendLimits) error {
	if min(l.MessagesPerHour, l.RecipientsPerHour, l.MessagesPerDay, l.RecipientsPerDay) < SendNothing {
		return fail("sending limits", fmt.Errorf("%w: a negative limit", ErrInvalid))
	}
	return fail("sending limits", s.do(ctx, func(t *tx) error {
		if _, err := t.account(account); err != nil {
			return err
		}
		return t.exec(`INSERT INTO sending (account, messages_per_hour, recipients_per_hour, messages_per_day, recipients_per_day) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (account) DO UPDATE SET messages_per_hour = excluded.messages_per_hour, recipients_per_hour = excluded.recipients_per_hour,
			messages_per_day = excluded.messages_per_day, recipients_per_day = excluded.recipients_per_day`,
			account, l.MessagesPerHour, l.RecipientsPerHour, l.MessagesPerDay, l.RecipientsPerDay)
	}))
}

// sent is who sends an upload, and to how many.
type sent struct {
	account, recipients int64
	defaults            SendLimits
}

// SentBy makes Enqueue count the message as one that the account sends to so many recipients, in its own transaction: what was not taken does not count,
// and what was taken does, whatever happens next. Over a limit of the account's, or of defaults where it has none, Enqueue fails with a *SendLimitError.
func (u *Upload) SentBy(account int64, recipients int, defaults SendLimits) {
	u.sent = &sent{account, int64(recipients), defaults}
}

// countSent counts an upload that is enqueued.
func (t *tx) countSent(u *Upload) error {
	if u.sent == nil {
		return nil
	}
	x, err := readSending(t.db, u.sent.account)
	if err != nil || x.Limits.over(u.sent.defaults).none() {
		return err
	}
	now := t.s.o.Now()
	if err := x.Refuses(u.sent.defaults, now, u.sent.recipients); err != nil {
		return err
	}
	x = x.At(now)
	hour, day := x.Hour, x.Day
	return t.exec(`INSERT INTO sending (account, hour_began, hour_messages, hour_recipients, day_began, day_messages, day_recipients) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (account) DO UPDATE SET hour_began = excluded.hour_began, hour_messages = excluded.hour_messages, hour_recipients = excluded.hour_recipients,
		day_began = excluded.day_began, day_messages = excluded.day_messages, day_recipients = excluded.day_recipients`, u.sent.account,
		hour.Began.Unix(), hour.Messages+1, hour.Recipients+u.sent.recipients, day.Began.Unix(), day.Messages+1, day.Recipients+u.sent.recipients)
}
