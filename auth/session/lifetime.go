package session

import (
	"context"
	"sync"
	"time"
)

// lifetime is a session's context. It is a part of the session, where one of package context's would be three or four
// allocations more in each that waits; what is made from it by context.WithCancel and its like, and context.AfterFunc, work as with one of those.
type lifetime struct {
	mu    sync.Mutex // guards the rest; taken last
	done  chan struct{}
	over  error
	after *afterwards
}

// afterwards is what is to be called at the end; a list.
type afterwards struct {
	f          func()
	prev, next *afterwards
	called     bool // or stopped
}

// over is the error of a lifetime: context.Canceled for who asks whether it is that, and why it ended.
type over struct{ cause error }

func (o *over) Error() string        { return o.cause.Error() }
func (o *over) Unwrap() error        { return o.cause }
func (o *over) Is(target error) bool { return target == context.Canceled }

func (l *lifetime) Deadline() (time.Time, bool) { return time.Time{}, false }
func (l *lifetime) Value(any) any               { return nil }

// closed is the Done of all lifetimes that ended before anybody asked.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (l *lifetime) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		if l.over != nil {
			return closed
		}
		l.done = make(chan struct{})
	}
	return l.done
}

func (l *lifetime) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// AfterFunc is what package context asks of a context that is not its own, instead of a goroutine for each child.
func (l *lifetime) AfterFunc(f func()) (stop func() bool) {
	a := &afterwards{f: f}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over != nil {
		a.called = true
		go f()
	} else {
		if a.next = l.after; a.next != nil {
			a.next.prev = a
		}
		l.after = a
	}
	return func() bool { return l.stop(a) }
}

func (l *lifetime) stop(a *afterwards) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.called {
		return false
	}
	a.called = true
	if a.next != nil {
		a.next.prev = a.prev
	}
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		l.after = a.next
	}
	return true
}

// end ends it; the first cause stays.
func (l *lifetime) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over != nil {
		return
	}
	l.over = &over{cause}
	if l.done != nil {
		close(l.done)
	}
	for a := l.after; a != nil; a = a.next {
		a.called = true
		go a.f()
	}
	l.after = nil
}
