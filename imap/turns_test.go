package imap

import (
	"slices"
	"testing"
)

// TestTurns: an account with many sessions that wait does not keep another one waiting for all of them.
func TestTurns(t *testing.T) {
	s := turns{free: 2}
	for n, want := range []bool{true, true, false} {
		if s.take() != want {
			t.Fatal("there are two rights", n)
		}
	}
	type place struct {
		account int64
		ch      chan struct{}
	}
	var places []place
	for _, account := range []int64{1, 1, 1, 1, 2, 2, 3} {
		places = append(places, place{account, s.wait(account)})
	}
	next := func() int64 {
		s.give()
		for i, p := range places {
			select {
			case <-p.ch:
				places = slices.Delete(places, i, i+1)
				return p.account
			default:
			}
		}
		return 0
	}
	var order []int64
	for range 4 {
		order = append(order, next())
	}
	// One of account 1 and the one of account 2 go; so account 1 is next, then nobody.
	for i := range places {
		if places[i].account == 2 {
			s.leave(2, places[i].ch)
			places = slices.Delete(places, i, i+1)
			break
		}
	}
	for range 3 {
		order = append(order, next())
	}
	if want := []int64{1, 2, 3, 1, 1, 1, 0}; !slices.Equal(order, want) {
		t.Errorf("turns of %v, want %v", order, want)
	}
	if len(places) > 0 || len(s.lines) > 0 || s.free != 1 {
		t.Errorf("%d wait, %d lines, %d free", len(places), len(s.lines), s.free)
	}
	// who leaves with a right that came meanwhile gives it on
	s.take()
	a, b := s.wait(1), s.wait(2)
	s.give()
	s.leave(1, a)
	select {
	case <-b:
	default:
		t.Error("a right that nobody wanted is lost")
	}
	s.give()
	if s.free != 1 {
		t.Errorf("%d free", s.free)
	}
}
