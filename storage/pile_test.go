package storage

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDueOfMany: what is known in memory of the queue of many accounts is what a list says.
func TestDueOfMany(t *testing.T) {
	s := &Store{}
	o := &s.outbox
	o.init()
	all := map[dueKey]int64{}
	for range 20_000 {
		k := dueKey{rand.Int64N(40), fmt.Sprintf("d%d.test", rand.IntN(5)), rand.IntN(2)}
		due := rand.Int64N(1000)
		was, there := all[k]
		switch rand.IntN(4) {
		case 0, 1:
			o.set(k, 0, false)
			delete(all, k)
		case 2:
			o.set(k, due, true)
			all[k] = due
		default:
			o.note(k, due)
			if !there || due < was {
				all[k] = due
			}
		}
		now, spent := rand.Int64N(1000), rand.Int64N(40)
		isSpent := func(a int64) bool { return a == spent }
		notThree := func(d string) bool { return d == "d3.test" }
		first, want := int64(-1), map[dueKey]bool{}
		for k, due := range all {
			if k.account == spent || k.domain == "d3.test" {
				continue
			}
			if first < 0 || due < first {
				first = due
			}
			if due <= now {
				want[k] = true
			}
		}
		if at, ok := s.NextDue(notThree, isSpent); ok != (first >= 0) || ok && at.Unix() != first {
			t.Fatal(at, ok, first)
		}
		keys := o.due(now, 1000, &LeaseRequest{Busy: notThree, Spent: isSpent})
		for _, k := range keys {
			if !want[k] {
				t.Fatalf("%+v is not due at %d", k, now)
			}
		}
		if len(keys) != len(want) || !slices.IsSortedFunc(keys, func(a, b dueKey) int { return cmp.Compare(b.priority, a.priority) }) {
			t.Fatalf("%d keys of %d: %+v", len(keys), len(want), keys)
		}
	}
}

// TestDueBounded: a look at a queue in which many accounts have much that is due takes some of each, and not all.
func TestDueBounded(t *testing.T) {
	s := &Store{}
	o := &s.outbox
	o.init()
	for a := range int64(500) {
		for d := range 300 {
			o.note(dueKey{a, fmt.Sprintf("d%d.test", d), 0}, int64(d))
		}
	}
	if n := len(o.candidates(1000, 256, &LeaseRequest{})); n < 500 || n > 16*256 {
		t.Errorf("%d are looked at", n)
	}
	seen := map[int64]bool{}
	for _, k := range o.due(1000, 500, &LeaseRequest{}) {
		seen[k.account] = true
	}
	if len(seen) != 500 {
		t.Errorf("500 keys are of %d accounts", len(seen))
	}
}

// BenchmarkDueOfMany: a look at a queue in which 20,000 accounts have mail that waits for later.
func BenchmarkDueOfMany(b *testing.B) {
	s := &Store{}
	s.outbox.init()
	for i := range int64(20_000) {
		s.outbox.note(dueKey{i, "x.test", 0}, 1000+i)
	}
	for b.Loop() {
		if len(s.outbox.due(999, 100, &LeaseRequest{})) > 0 {
			b.Fatal("something is due")
		}
		s.NextDue(nil, nil)
	}
}
