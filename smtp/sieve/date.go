package sieve

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/mime"
)

// zone reads a zone of RFC 5260 section 4.1: "+hhmm" or "-hhmm".
func zone(s string) (*time.Location, bool) {
	if len(s) != 5 || s[0] != '+' && s[0] != '-' {
		return nil, false
	}
	h, err1 := strconv.ParseUint(s[1:3], 10, 8)
	min, err2 := strconv.ParseUint(s[3:], 10, 8)
	if err1 != nil || err2 != nil || h > 23 || min > 59 {
		return nil, false
	}
	east := int(h)*3600 + int(min)*60
	if s[0] == '-' {
		east = -east
	}
	return time.FixedZone("", east), true
}

// zoneOf compiles :zone; without it times are shown in the server's zone.
func (c *compiler) zoneOf(a *taken) (func(m *machine) (*time.Location, error), error) {
	arg, ok := a.tags["zone"]
	if !ok {
		return func(*machine) (*time.Location, error) { return time.Local, nil }, nil
	}
	t, err := c.text(arg.strs[0], a.line)
	return func(m *machine) (*time.Location, error) {
		s, err := m.get(t)
		if err != nil {
			return nil, err
		}
		l, ok := zone(s)
		if !ok {
			return nil, wrong(a.line, "%q is no zone", cut(s, 20))
		}
		return l, nil
	}, err
}

// date is RFC 5260 section 4.
func (c *compiler) date(_ *command, a *taken) (check, error) {
	x, err := c.matcher(a, a.strs[2])
	if err != nil {
		return nil, err
	}
	pick, err := newPicker(a)
	if err != nil {
		return nil, err
	}
	if _, err := a.one("zone", "originalzone"); err != nil {
		return nil, err
	}
	in, err := c.zoneOf(a)
	if err != nil {
		return nil, err
	}
	names, err := c.texts([]string{a.strs[0][0], a.strs[1][0]}, a.line)
	return func(m *machine) (bool, error) {
		v, err := m.all(names)
		if err != nil {
			return false, err
		}
		raw, err := m.fields(v[0])
		if err != nil {
			return false, err
		}
		if pick.index == 0 {
			raw = raw[:min(len(raw), 1)] // section 4: the first one, without :index
		}
		where, err := in(m)
		if err != nil {
			return false, err
		}
		for _, s := range pick.of(raw) {
			if i := strings.LastIndexByte(s, ';'); i >= 0 {
				s = s[i+1:] // Received and its like
			}
			at, ok := mime.ParseDate(strings.TrimSpace(s))
			if !ok {
				continue
			}
			if !a.has("originalzone") {
				at = at.In(where)
			}
			if p, ok := datePart(at, v[1]); ok {
				return x.any(m, []string{p})
			}
		}
		return x.any(m, nil)
	}, err
}

func (c *compiler) currentDate(_ *command, a *taken) (check, error) {
	x, err := c.matcher(a, a.strs[1])
	if err != nil {
		return nil, err
	}
	in, err := c.zoneOf(a)
	if err != nil {
		return nil, err
	}
	part, err := c.text(a.strs[0][0], a.line)
	return func(m *machine) (bool, error) {
		p, err := m.get(part)
		if err != nil {
			return false, err
		}
		where, err := in(m)
		if err != nil {
			return false, err
		}
		v, ok := datePart(m.env.Now.In(where), p)
		if !ok {
			return false, nil
		}
		return x.any(m, []string{v})
	}, err
}

// datePart is one of RFC 5260 section 4.2.
func datePart(t time.Time, part string) (string, bool) {
	switch strings.ToLower(part) {
	case "year":
		return t.Format("2006"), true
	case "month":
		return t.Format("01"), true
	case "day":
		return t.Format("02"), true
	case "date":
		return t.Format("2006-01-02"), true
	case "julian":
		// The modified Julian day of the date as it is shown.
		day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400
		return strconv.FormatInt(day+40587, 10), true
	case "hour":
		return t.Format("15"), true
	case "minute":
		return t.Format("04"), true
	case "second":
		return t.Format("05"), true
	case "time":
		return t.Format("15:04:05"), true
	case "iso8601":
		return t.Format("2006-01-02T15:04:05-07:00"), true
	case "std11":
		return t.Format("Mon, 02 Jan 2006 15:04:05 -0700"), true
	case "zone":
		return t.Format("-0700"), true
	case "weekday":
		return fmt.Sprint(int(t.Weekday())), true
	}
	return "", false
}
