package session

import (
	"container/heap"
	"sync"
	"time"
)

// alarm strikes sessions whose time to log in, whole time or grace is over. One timer of
// the registry's serves them all, so that a session that may stay costs nothing.
type alarm struct {
	clock func() int64

	mu    sync.Mutex // taken after a session's mu, never before it
	queue queue
	timer *time.Timer
	set   int64 // when the timer fires; 0: it is not set
}

// nowhere is the place of a session that is not in the queue.
const nowhere = -1

// schedule makes at the time of s's next strike; 0 is none.
func (a *alarm) schedule(s *Session, at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case at == s.due:
	case at == 0:
		heap.Remove(&a.queue, s.place)
		s.due = 0
	case s.due == 0:
		s.due = at
		heap.Push(&a.queue, s)
	default:
		s.due = at
		heap.Fix(&a.queue, s.place)
	}
	a.windLocked()
}

// windLocked sets the timer to the first strike. A timer that is set too early is left alone.
func (a *alarm) windLocked() {
	if len(a.queue) == 0 || a.set != 0 && a.set <= a.queue[0].due {
		return
	}
	a.set = a.queue[0].due
	wait := time.Duration(a.set - a.clock())
	if a.timer == nil {
		a.timer = time.AfterFunc(wait, a.ring)
	} else {
		a.timer.Reset(wait)
	}
}

// ring strikes all sessions whose time has come.
func (a *alarm) ring() {
	a.mu.Lock()
	now := a.clock()
	var struck []*Session
	for len(a.queue) > 0 && a.queue[0].due <= now {
		s := heap.Pop(&a.queue).(*Session)
		s.due = 0
		struck = append(struck, s)
	}
	a.set = 0
	a.windLocked()
	a.mu.Unlock()
	for _, s := range struck {
		s.strike(now)
	}
}

// scheduleLocked tells the alarm what comes next for s; the caller holds mu.
func (s *Session) scheduleLocked() {
	at := earlier(s.login, s.absolute)
	if s.grace != 0 {
		at = s.grace
	}
	if s.state == Ended {
		at = 0
	}
	s.registry.alarm.schedule(s, at)
}

// strike ends s for what is due at now, or schedules it anew when nothing is.
func (s *Session) strike(now int64) {
	due := func(at int64) bool { return at != 0 && at <= now }
	s.mu.Lock()
	over := s.grace != 0 && due(s.grace)
	login := s.grace == 0 && due(s.login)
	absolute := s.grace == 0 && due(s.absolute)
	if !over && !login && !absolute {
		s.scheduleLocked()
	}
	s.mu.Unlock()
	switch {
	case over:
		s.conn.end(false)
	case login:
		s.Kill(ErrLogin)
	case absolute:
		s.Kill(ErrDeadline)
	}
}

// queue is a heap of sessions by due.
type queue []*Session

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *queue) Push(x any) {
	s := x.(*Session)
	s.place = len(*q)
	*q = append(*q, s)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	s.place = nowhere
	return s
}
