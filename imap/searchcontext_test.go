package imap_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

// kept is a result as a client of RFC 5267 keeps it: from ALL, ADDTO and REMOVEFROM.
type kept struct {
	t       *testing.T
	command string // UID SEARCH or SORT
	keys    string
	list    []int
}

// setOf writes out a set.
func setOf(t *testing.T, s string) (list []int) {
	for _, r := range strings.Split(s, ",") {
		a, b, ok := strings.Cut(r, ":")
		first, err := strconv.Atoi(a)
		last := first
		if ok {
			last, _ = strconv.Atoi(b)
		}
		if err != nil || last < first {
			t.Fatalf("bad set %q", s)
		}
		for ; first <= last; first++ {
			list = append(list, first)
		}
	}
	return list
}

// take applies the data of one ESEARCH response.
func (k *kept) take(data string) {
	for data != "" {
		word, rest, _ := strings.Cut(strings.TrimSpace(data), " ")
		var pairs string
		if word == "ALL" {
			set, more, _ := strings.Cut(rest, " ")
			k.list, data = setOf(k.t, set), more
			continue
		}
		pairs, data, _ = strings.Cut(strings.TrimPrefix(rest, "("), ")")
		fields := strings.Fields(pairs)
		for ; len(fields) >= 2; fields = fields[2:] {
			at, _ := strconv.Atoi(fields[0])
			k.change(word, at, setOf(k.t, fields[1]))
		}
	}
}

func (k *kept) change(word string, at int, set []int) {
	switch {
	case word == "ADDTO" && at > 0:
		k.list = slices.Insert(k.list, at-1, set...)
	case word == "ADDTO":
		k.list = append(k.list, set...)
		slices.Sort(k.list)
		if len(slices.Compact(slices.Clone(k.list))) != len(k.list) {
			k.t.Fatalf("%s: %v were there already", k.keys, set)
		}
	case word == "REMOVEFROM":
		for _, n := range set {
			i := at - 1
			if at == 0 {
				i = slices.Index(k.list, n)
			}
			if i < 0 || i >= len(k.list) || k.list[i] != n {
				k.t.Fatalf("%s: %d is not at %d of %v", k.keys, n, at, k.list)
			}
			k.list = slices.Delete(k.list, i, i+1)
		}
	default:
		k.t.Fatalf("%q", word)
	}
}

// What a client makes of the updates is what a new search finds, whatever happens to the mailbox.
func TestContextModel(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	h.many(t, "ann", "INBOX", "30")
	account, box := h.accounts["ann"].ID, h.box(t, "ann", "INBOX").ID
	l := login(t, h)
	l.do("SELECT INBOX")
	contexts := map[string]*kept{
		"x1": {command: "UID SEARCH", keys: "FLAGGED"},
		"x2": {command: "UID SEARCH", keys: "OR NOT FLAGGED SUBJECT 1"},
		"x3": {command: "UID SEARCH", keys: "UID 10:*"},
		"x4": {command: "UID SEARCH", keys: "UID *"},
		"x5": {command: "UID SORT", keys: "(SUBJECT) UTF-8 UNSEEN"},
		"x6": {command: "UID SORT", keys: "(REVERSE SIZE SUBJECT) UTF-8 OR FLAGGED BODY 2"},
		"x7": {command: "UID SORT", keys: "(REVERSE SUBJECT) UTF-8 ALL"},
	}
	// talk runs a command and applies what comes.
	talk := func(tag, command string) {
		l.say("%s %s", tag, command)
		for {
			s := l.until("")
			if strings.HasPrefix(s, tag+" ") {
				if !strings.HasPrefix(s, tag+" OK") {
					t.Fatal(s)
				}
				return
			}
			if strings.Contains(s, "NOUPDATE") {
				t.Fatal(s)
			}
			if rest, ok := strings.CutPrefix(s, `* ESEARCH (TAG "`); ok {
				name, data, _ := strings.Cut(rest, `") UID`)
				contexts[name].take(data)
			}
		}
	}
	for tag, k := range contexts {
		k.t = t
		talk(tag, fmt.Sprintf("%s RETURN (UPDATE ALL) %s", k.command, k.keys))
	}
	r := rand.New(rand.NewPCG(7, 8))
	for round := range 60 {
		for range 1 + r.IntN(4) {
			p, err := h.store.Snapshot(t.Context(), box)
			if err != nil {
				t.Fatal(err)
			}
			var uids []uint32
			for i := range p.Len() {
				if r.IntN(6) == 0 {
					uids = append(uids, p.UID(i))
				}
			}
			switch {
			case r.IntN(3) == 0:
				n := 1 + r.IntN(4)
				if r.IntN(10) == 0 {
					n = 40
				}
				for range n {
					h.putAt(t, "ann", "INBOX", fmt.Sprintf("Subject: %d\r\n\r\n%d\r\n", r.IntN(1000), r.IntN(5)), time.Unix(r.Int64N(1e9), 0))
				}
			case len(uids) == 0:
			case r.IntN(3) == 0:
				_, err = h.store.Expunge(t.Context(), account, box, uids, true)
			default:
				change := storage.FlagChange{Op: []storage.FlagOp{storage.FlagsAdd, storage.FlagsRemove}[r.IntN(2)], Flags: []storage.Flags{storage.Flagged, storage.Seen}[r.IntN(2)]}
				_, _, err = h.store.SetFlags(t.Context(), account, box, uids, change)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		talk("n", "NOOP")
		for tag, k := range contexts {
			contexts["now"] = &kept{t: t}
			talk("now", fmt.Sprintf("%s RETURN (ALL) %s", k.command, k.keys))
			if !slices.Equal(contexts["now"].list, k.list) {
				t.Fatalf("round %d, %s %s: %v; want %v", round, tag, k.keys, k.list, contexts["now"].list)
			}
			delete(contexts, "now")
		}
	}
}
