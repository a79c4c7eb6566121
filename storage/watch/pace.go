package watch

import "time"

const (
	prompt = 16               // listeners that the publisher wakes itself
	step   = time.Millisecond // between two lots of the others
	within = 32               // lots, in which all are woken that wait at the beginning of one
	lotMin = 16               // of a lot
)

// pace wakes those whom the publisher did not. The Hub's mu guards what waits.
type pace struct {
	waiting []*Subscription
	hint    chan struct{} // capacity 1
	stop    chan struct{}
	stopped chan struct{}
}

// Start has listeners beyond a few woken by a goroutine of the Hub's, in lots with pauses between them, until Stop. The last one of thousands
// hears of a change after about 40 ms, and of several changes in that time once. It is called once, before anything is published.
func (h *Hub) Start() {
	p := &pace{hint: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
	h.mu.Lock()
	h.pace = p
	h.mu.Unlock()
	go h.run(p)
}

// Stop ends the goroutine, after which who publishes wakes all.
func (h *Hub) Stop() {
	h.mu.Lock()
	p := h.pace
	h.pace = nil
	h.mu.Unlock()
	if p != nil {
		close(p.stop)
		<-p.stopped
	}
}

// put is called with the Hub's mu held.
func (p *pace) put(s *Subscription) {
	if s.waits {
		return
	}
	s.waits = true
	p.waiting = append(p.waiting, s)
	select {
	case p.hint <- struct{}{}:
	default:
	}
}

// run is the goroutine.
func (h *Hub) run(p *pace) {
	defer close(p.stopped)
	pause := time.NewTimer(step)
	pause.Stop()
	var lot []*Subscription
	for {
		select {
		case <-p.hint:
		case <-p.stop:
			return
		}
		for size := 0; ; {
			lot, size = h.take(p, lot[:0], size)
			for _, s := range lot {
				s.wake()
			}
			clear(lot)
			if size == 0 {
				break
			}
			pause.Reset(step)
			select {
			case <-pause.C:
			case <-p.stop:
				return
			}
		}
	}
}

// take gives the next lot. size is how many one has, so that who waited at the begin has waited within lots; 0: nobody waits any more.
func (h *Hub) take(p *pace, lot []*Subscription, size int) ([]*Subscription, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	size = max(size, lotMin, (len(p.waiting)+within-1)/within)
	n := min(size, len(p.waiting))
	for _, s := range p.waiting[:n] {
		s.waits = false
		if !s.closed {
			lot = append(lot, s)
		}
	}
	rest := copy(p.waiting, p.waiting[n:])
	clear(p.waiting[rest:])
	p.waiting = p.waiting[:rest]
	if rest == 0 {
		p.waiting = nil
		return lot, 0
	}
	return lot, size
}
