package imap

import (
	"slices"
	"sync"
)

// turns are the rights to work hard, of which there are few. Those who wait for one stand in a line of their account, and the accounts take turns: who searches with
// fifty sessions at a time waits for himself, and not everybody else for fifty.
type turns struct {
	mu    sync.Mutex
	free  int     // 0 while anybody waits
	lines []*line // of the accounts of which somebody waits, whose turn is next first
}

// line is who waits of an account, first come first.
type line struct {
	account int64
	waiting []chan struct{}
}

// take takes a right if nobody need be waited for.
func (t *turns) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free == 0 {
		return false
	}
	t.free--
	return true
}

// wait takes a place in the line of an account. What it gives is closed once a right is had; who does not wait for that calls leave.
func (t *turns) wait(account int64) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := make(chan struct{})
	if t.free > 0 {
		t.free--
		close(ch)
		return ch
	}
	i := slices.IndexFunc(t.lines, func(l *line) bool { return l.account == account })
	if i < 0 {
		i = len(t.lines)
		t.lines = append(t.lines, &line{account: account})
	}
	t.lines[i].waiting = append(t.lines[i].waiting, ch)
	return ch
}

// leave gives up a place, or the right that was had meanwhile.
func (t *turns) leave(account int64, ch chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, l := range t.lines {
		if k := slices.Index(l.waiting, ch); l.account == account && k >= 0 {
			if l.waiting = slices.Delete(l.waiting, k, k+1); len(l.waiting) == 0 {
				t.lines = slices.Delete(t.lines, i, i+1)
			}
			return
		}
	}
	t.pass()
}

// give gives a right back.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass hands a right to who is next. t.mu is held.
func (t *turns) pass() {
	if len(t.lines) == 0 {
		t.free++
		return
	}
	l := t.lines[0]
	t.lines = slices.Delete(t.lines, 0, 1)
	close(l.waiting[0])
	if l.waiting = slices.Delete(l.waiting, 0, 1); len(l.waiting) > 0 {
		t.lines = append(t.lines, l)
	}
}
