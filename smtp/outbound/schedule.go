package outbound

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// Schedule says when what did not work is tried again. The zero value is the default.
type Schedule struct {
	Retry  []time.Duration // after the first attempt, the second and so on; the last one for all others. Default: 5m, 15m, 30m, 1h, 2h, 4h, 8h
	Expire time.Duration   // since the message was taken; then it has failed. Default: 5 days
	Delay  time.Duration   // after which its sender is told that it waits; default 4 h, below 0: never
}

var defaultRetry = []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour}

func (s Schedule) withDefaults() Schedule {
	if len(s.Retry) == 0 {
		s.Retry = defaultRetry
	}
	def(&s.Expire, 5*24*time.Hour)
	def(&s.Delay, 4*time.Hour)
	return s
}

// jitter is the share by which a wait may be longer, so that what failed together does not come again together.
const jitter = 8

// next is when a recipient is tried again after an attempt at now, and false when its time is over.
func (s Schedule) next(l *storage.Leased, now time.Time) (time.Time, bool) {
	end := l.Created.Add(s.Expire)
	if by := deadline(l); !by.IsZero() && by.Before(end) {
		end = by
	}
	// What was meant to leave later (FUTURERELEASE) has one more try.
	if !now.Before(end) && (l.Attempts > 0 || l.LastReply != "" || !deadline(l).IsZero()) {
		return time.Time{}, false
	}
	wait := s.Retry[min(l.Attempts, len(s.Retry)-1)]
	wait += rand.N(wait/jitter + 1)
	due := now.Add(wait)
	if due.After(end) && now.Before(end) {
		due = end // the last attempt
	}
	return due, true
}

// deadline is when a message must be there or come back (RFC 2852 section 4.1.2: mode R); zero: no such time.
func deadline(l *storage.Leased) time.Time {
	if strings.HasPrefix(l.ByMode, "R") {
		return l.By
	}
	return time.Time{}
}

// delayed tells whether the sender is to be told now that the message waits.
//
// RFC 3461 section 4.1: NOTIFY without DELAY wants none, and what says nothing may be told. RFC 2852 section 4.1.2: mode N asks for it when its time is over.
func (s Schedule) delayed(l *storage.Leased, now time.Time) bool {
	if l.Delayed || l.From == "" || l.Notify != "" && !asks(l.Notify, "DELAY") {
		return false
	}
	if strings.HasPrefix(l.ByMode, "N") && !now.Before(l.By) {
		return true
	}
	return s.Delay > 0 && now.Sub(l.Created) >= s.Delay
}

// asks tells whether a NOTIFY parameter has a word.
func asks(notify, word string) bool {
	for w := range strings.SplitSeq(notify, ",") {
		if strings.EqualFold(strings.TrimSpace(w), word) {
			return true
		}
	}
	return false
}
