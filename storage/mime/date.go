package mime

import (
	"bytes"
	"strings"
	"time"
)

// Layouts of RFC 5322 section 3.3 and its obsolete forms, without the day of the week and with single spaces.
var dateLayouts = []string{
	"2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04 -0700",
	"2 Jan 06 15:04:05 -0700", "2 Jan 06 15:04 -0700",
	"2 Jan 2006 15:04:05", "2 Jan 2006 15:04",
	"Jan 2 15:04:05 2006",       // asctime
	"Jan 2 15:04:05 2006 -0700", //
	"2006-01-02 15:04:05 -0700", "2006-01-02T15:04:05Z07:00",
}

// zones are the obsolete zones (RFC 5322 section 4.3); every other name is -0000.
var zones = map[string]string{
	"UT": "+0000", "GMT": "+0000", "UTC": "+0000", "Z": "+0000",
	"EST": "-0500", "EDT": "-0400", "CST": "-0600", "CDT": "-0500", "MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700",
}

var months = map[string]bool{"january": true, "february": true, "march": true, "april": true, "june": true, "july": true, "august": true, "september": true, "october": true, "november": true, "december": true}

// ParseDate reads the Date field of a message, the obsolete forms and common mistakes included; false when it is no date.
func ParseDate(s string) (time.Time, bool) {
	if len(s) > 200 {
		return time.Time{}, false
	}
	var plain []byte
	for v := []byte(s); len(v) > 0; {
		n := bytes.IndexByte(v, '(')
		if n < 0 {
			plain = append(plain, v...)
			break
		}
		plain = append(append(plain, v[:n]...), ' ')
		_, v = comment(v[n:])
	}
	words := strings.Fields(string(plain))
	if len(words) > 0 {
		if day := strings.TrimRight(words[0], ",."); len(day) >= 3 && !strings.ContainsAny(day[:1], "0123456789") && (day != words[0] || len(words) > 5) {
			words = words[1:] // the day of the week; it decides nothing
		} else if _, rest, ok := strings.Cut(words[0], ","); ok {
			words[0] = rest // "Mon,1"
		}
	}
	if n := len(words) - 1; n > 2 {
		if zone := words[n]; !strings.ContainsAny(zone, "0123456789:") {
			words[n] = "-0000"
			if z, ok := zones[strings.ToUpper(zone)]; ok {
				words[n] = z
			}
		}
	}
	for i, w := range words {
		if len(w) > 3 && months[strings.ToLower(w)] {
			words[i] = w[:3] // in full
		} else if h, ok := strings.CutSuffix(w, ":60"); ok && strings.Contains(h, ":") {
			words[i] = h + ":59" // RFC 5322 section 3.3: a leap second, which package time does not know
		}
	}
	text := strings.Join(words, " ")
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, t.Year() >= 1 && t.Year() <= 9999
		}
	}
	return time.Time{}, false
}

// SentDate is ParseDate that takes a Date field of which only the day can be read (RFC 5256 section 2.2): an invalid zone is UTC, an invalid time
// midnight.
func SentDate(s string) (time.Time, bool) {
	t, ok := ParseDate(s)
	if ok || len(s) > 200 {
		return t, ok
	}
	words := strings.Fields(s)
	if n := len(words); n > 3 {
		if t, ok = ParseDate(strings.Join(words[:n-1], " ")); ok { // without the zone
			return t, true
		}
	}
	if len(words) > 0 && strings.HasSuffix(words[0], ",") {
		words = words[1:]
	}
	if len(words) < 3 {
		return t, false
	}
	return ParseDate(strings.Join(words[:3], " ") + " 00:00:00 +0000")
}
