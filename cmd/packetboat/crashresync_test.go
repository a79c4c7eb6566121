//go:build e2e

package main

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// multi are messages that were appended three at a time and of which one was then replaced.
type multi struct {
	appended map[string]bool // begin of the subjects
	replaced map[string]bool
}

// multiUntilCut appends three messages with one command (RFC 3502) and lets another take the place of the first of them (RFC 8508).
func (b *boat) multiUntilCut(id string, a *acks, m *multi) {
	l, err := b.plain(143)
	if err != nil {
		return
	}
	defer l.Close()
	l.until("", "* OK")
	l.until(`a LOGIN ann@example.test "`+annPassword+`"`, "a OK")
	if _, err := l.until("s SELECT Multi", "s OK"); err != nil {
		return
	}
	uid := regexp.MustCompile(`APPENDUID \d+ (\d+):`)
	literal := func(subject string, n int) string {
		text := "Subject: " + subject + "\r\n\r\n" + crashText(subject, n)
		return fmt.Sprintf("{%d+}\r\n%s", len(text), text)
	}
	for n := 0; ; n++ {
		group := fmt.Sprintf("%sn%d", id, n)
		command := "p APPEND Multi"
		for i := range 3 {
			command += " " + literal(fmt.Sprintf("%s.%d", group, i), n+i)
		}
		out, err := l.until(command, "p OK")
		if err != nil {
			return
		}
		a.note(func() { m.appended[group] = true })
		first := uid.FindStringSubmatch(out)
		if first == nil {
			return
		}
		if _, err := l.until("r UID REPLACE "+first[1]+" Multi "+literal(group+".new", n), "r OK"); err != nil {
			return
		}
		a.note(func() { m.replaced[group] = true })
	}
}

// verify: of three all are there or none, and of the first and what replaces it one.
func (m *multi) verify(t *testing.T, have map[string][]crashMail) {
	t.Helper()
	groups := map[string]string{}
	for subject, all := range have {
		group, which, _ := strings.Cut(subject, ".")
		groups[group] += which
		if len(all) != 1 {
			t.Errorf("%s is there %d times", subject, len(all))
		}
	}
	for group := range m.appended {
		if groups[group] == "" {
			t.Errorf("%s is lost", group)
		}
	}
	for group, which := range groups {
		old, other := strings.Contains(which, "0"), strings.Contains(which, "new")
		if old == other || m.replaced[group] && old || !strings.Contains(which, "1") || !strings.Contains(which, "2") {
			t.Errorf("%s: %q are there (replaced: %v)", group, which, m.replaced[group])
		}
	}
}

// mirror is what a client keeps of a mailbox from one connection to the next.
type mirror struct {
	validity, modseq string
	uids             map[uint64]bool
}

// resync brings it up to date (RFC 7162 section 3.2.5) and compares it with all that is there.
func (m *mirror) resync(t *testing.T, l *line) {
	t.Helper()
	command := "s SELECT Multi"
	if m.modseq != "" {
		command += " (QRESYNC (" + m.validity + " " + m.modseq + "))"
	}
	if _, err := l.until("e ENABLE QRESYNC", "e OK"); err != nil {
		t.Fatal(err)
	}
	out, err := l.until(command, "s OK")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	was := m.modseq
	m.validity = regexp.MustCompile(`UIDVALIDITY (\d+)`).FindStringSubmatch(out)[1]
	m.modseq = regexp.MustCompile(`HIGHESTMODSEQ (\d+)`).FindStringSubmatch(out)[1]
	if a, _ := strconv.Atoi(was); was != "" {
		if b, _ := strconv.Atoi(m.modseq); b < a {
			t.Errorf("HIGHESTMODSEQ went back from %d to %d", a, b)
		}
	}
	if v := regexp.MustCompile(`VANISHED \(EARLIER\) (\S+)`).FindStringSubmatch(out); v != nil {
		for uid := range uidSet(v[1]) {
			delete(m.uids, uid)
		}
	}
	for _, f := range regexp.MustCompile(`FETCH \(UID (\d+)`).FindAllStringSubmatch(out, -1) {
		uid, _ := strconv.ParseUint(f[1], 10, 32)
		m.uids[uid] = true
	}
	out, err = l.until("a UID SEARCH RETURN (ALL) ALL", "a OK")
	if err != nil {
		t.Fatal(err)
	}
	truth := map[uint64]bool{}
	if v := regexp.MustCompile(` ALL (\S+)`).FindStringSubmatch(out); v != nil {
		truth = uidSet(v[1])
	}
	if was != "" && !maps.Equal(m.uids, truth) {
		t.Errorf("after the resynchronisation the client has %d messages of %d", len(m.uids), len(truth))
	}
	m.uids = truth
}

func uidSet(s string) map[uint64]bool {
	all := map[uint64]bool{}
	for r := range strings.SplitSeq(s, ",") {
		a, b, ok := strings.Cut(r, ":")
		if !ok {
			b = a
		}
		first, _ := strconv.ParseUint(a, 10, 32)
		last, _ := strconv.ParseUint(b, 10, 32)
		for ; first <= last; first++ {
			all[first] = true
		}
	}
	return all
}
