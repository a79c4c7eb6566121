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

// SendWindow is what was sent within an hour or a day.
type SendWindow struct {
	Began      time.Time `json:"began"`
	Messages   int64     `json:"messages"`
	Recipients int64     `json:"recipients"`
}

// Sending is what an account may send and has sent.
type Sending struct {
	Limits SendLimits // its own
	slots  []sendSlot // of the last day, the oldest first
}

// sendSlot is what was sent within five minutes.
type sendSlot struct {
	slot, messages, recipients int64
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

// The lengths of the windows, and of the slots that they are made of. A slot counts as long as a part of it is in the window, so that never more than the limit is sent within any
// hour or day, and at times a little less.
const (
	sendHour = time.Hour
	sendDay  = 24 * time.Hour
	slotTime = 5 * time.Minute
)

func slotOf(t time.Time) int64 { return t.Unix() / int64(slotTime/time.Second) }

// ends is when a slot is no longer in a window.
func (x sendSlot) ends(window time.Duration) time.Time {
	return unix((x.slot + 1) * int64(slotTime/time.Second)).Add(window)
}

// within are the slots of a window that ends at now. Those of a time to come are left out: the clock was put back.
func (s Sending) within(now time.Time, window time.Duration) []sendSlot {
	all := s.slots
	for len(all) > 0 && !all[0].ends(window).After(now) {
		all = all[1:]
	}
	for len(all) > 0 && all[len(all)-1].slot > slotOf(now)+1 {
		all = all[:len(all)-1]
	}
	return all
}

func (s Sending) sum(now time.Time, window time.Duration) SendWindow {
	w := SendWindow{Began: now.Add(-window)}
	for _, x := range s.within(now, window) {
		w.Messages += x.messages
		w.Recipients += x.recipients
	}
	return w
}

// Hour and Day are what was sent in the last hour and day.
func (s Sending) Hour(now time.Time) SendWindow { return s.sum(now, sendHour) }
func (s Sending) Day(now time.Time) SendWindow  { return s.sum(now, sendDay) }

// Refuses tells why one more message to so many recipients would be too much at now; nil when it would not. What waits longest is told.
func (s Sending) Refuses(defaults SendLimits, now time.Time, recipients int64) error {
	l := s.Limits.over(defaults)
	messages := func(x sendSlot) int64 { return x.messages }
	addresses := func(x sendSlot) int64 { return x.recipients }
	for _, x := range []struct {
		what, per string
		window    time.Duration
		limit     int64
		adds      int64
		of        func(sendSlot) int64
	}{
		{"messages", "day", sendDay, l.MessagesPerDay, 1, messages},
		{"recipients", "day", sendDay, l.RecipientsPerDay, recipients, addresses},
		{"messages", "hour", sendHour, l.MessagesPerHour, 1, messages},
		{"recipients", "hour", sendHour, l.RecipientsPerHour, recipients, addresses},
	} {
		if x.limit == SendDefault || x.limit == SendAny {
			continue
		}
		if x.limit < 0 {
			return &SendLimitError{x.what, x.per, 0, time.Time{}}
		}
		have, until := int64(0), time.Time{}
		slots := s.within(now, x.window)
		for _, o := range slots {
			have += x.of(o)
		}
		if have+x.adds <= x.limit {
			continue
		}
		for _, o := range slots {
			if have -= x.of(o); have+x.adds <= x.limit {
				until = o.ends(x.window)
				break
			}
		}
		return &SendLimitError{x.what, x.per, x.limit, until} // zero: one message to more than there may be
	}
	return nil
}

func readSending(q sqldb.Querier, account int64) (x Sending, err error) {
	l := &x.Limits
	err = q.Row(`SELECT messages_per_hour, recipients_per_hour, messages_per_day, recipients_per_day FROM sending WHERE account = ?`, account).Scan(
		&l.MessagesPerHour, &l.RecipientsPerHour, &l.MessagesPerDay, &l.RecipientsPerDay)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return x, err
	}
	rows, err := q.Query(`SELECT slot, messages, recipients FROM sending_slot WHERE account = ? ORDER BY slot`, account)
	if err != nil {
		return x, err
	}
	defer rows.Close()
	for rows.Next() {
		var o sendSlot
		if err := rows.Scan(&o.slot, &o.messages, &o.recipients); err != nil {
			return x, err
		}
		x.slots = append(x.slots, o)
	}
	return x, rows.Err()
}

// Sending is what an account has sent. The zero value for one of which nothing is known.
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
	if err := x.Refuses(u.sent.defaults, t.s.o.Now(), u.sent.recipients); err != nil {
		return err
	}
	return t.addToSlot(u.sent.account, 1, u.sent.recipients, 0)
}

// addToSlot counts, and forgets what is over.
func (t *tx) addToSlot(account, messages, recipients, redirects int64) error {
	now := t.s.o.Now()
	if err := t.exec(`DELETE FROM sending_slot WHERE account = ? AND slot < ?`, account, slotOf(now.Add(-sendDay))); err != nil {
		return err
	}
	return t.exec(`INSERT INTO sending_slot (account, slot, messages, recipients, redirects) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (account, slot) DO UPDATE SET messages = messages + excluded.messages, recipients = recipients + excluded.recipients, redirects = redirects + excluded.redirects`,
		account, slotOf(now), messages, recipients, redirects)
}

// SentOn makes Enqueue count what accounts' filters send on of the message, or answer, with it.
func (u *Upload) SentOn(by map[int64]int) { u.sentOn = by }

func (t *tx) countSentOn(u *Upload) error {
	for account, n := range u.sentOn {
		if err := t.addToSlot(account, 0, 0, int64(n)); err != nil {
			return err
		}
	}
	return nil
}

// SentOn is how much an account's filter has sent on and answered in the last day.
func (s *Store) SentOn(ctx context.Context, account int64) (n int64, err error) {
	now := s.o.Now()
	err = s.db.Row(`SELECT COALESCE(SUM(redirects), 0) FROM sending_slot WHERE account = ? AND slot >= ? AND slot <= ?`, account, slotOf(now.Add(-sendDay)), slotOf(now)+1).Scan(&n)
	return n, fail("sent on", err)
}
