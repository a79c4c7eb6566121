package outbound

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mjl-/mox/dns"
	"github.com/oklog/ulid/v2"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// Options of a Worker. The zero value is usable.
type Options struct {
	Name     string       // in EHLO; "": an address literal
	Port     int          // of the hosts of other domains; 0: 25
	Bind     []netip.Addr // to dial from, the first of the peer's family; none: what the system takes
	Family   Family       // "": IPv6First
	Routes   Routes
	Schedule Schedule
	Timeouts Timeouts
	Roots    *x509.CertPool // who vouches for the certificates of routes; nil: the system's

	Concurrency int           // messages under way at a time; 0: 100
	PerDomain   int           // of one domain or route; 0: 10
	Idle        time.Duration // how long a connection is kept for another message; 0: 10 s
	MaxMessages int           // on one connection; 0: any number

	// Held is why nothing may leave for hosts of other domains, "" when it may; routes are not held. nil: never.
	Held func() string
	// NoLoopback leaves out hosts of other domains that are on this machine, as their DNS says.
	NoLoopback bool
	// Own tells whether a host and address is this server, so that mail does not go in circles. May be nil.
	Own func(host string, addr netip.AddrPort) bool

	// Local delivers a message to a recipient of ours and settles done in the same transaction, if there is one: done is settled once more. It tells the sender of success itself.
	// storage.ErrConflict: the recipient is somebody else's by now. An error may have the method Refusal. nil: such mail waits.
	Local func(ctx context.Context, l *storage.Leased, body storage.Body, done storage.Outcome) error

	Logger *slog.Logger
	Now    func() time.Time
}

func (o Options) withDefaults() Options {
	def(&o.Port, 25)
	def(&o.Family, IPv6First)
	def(&o.Concurrency, 100)
	def(&o.PerDomain, 10)
	def(&o.Idle, 10*time.Second)
	o.Schedule = o.Schedule.withDefaults()
	o.Timeouts = o.Timeouts.withDefaults()
	if o.Local == nil {
		o.Local = func(context.Context, *storage.Leased, storage.Body, storage.Outcome) error {
			return errors.New("nobody delivers here")
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// leaseTime is for how long recipients are leased; leases are extended three times as often. After a crash of the whole machine
// nothing waits for it: Run releases what the last run had.
const leaseTime = 10 * time.Minute

// heldFor is how long mail waits that may not leave at all, before it is looked at again.
const heldFor = 5 * time.Minute

// Worker delivers the outbox. There is one for a store.
type Worker struct {
	store    *storage.Store
	registry *session.Registry
	policies *Policies
	signer   *Signer
	finder   *finder
	o        Options
	log      *slog.Logger
	owner    string
	ctx      context.Context // Run's; set before the first runner

	notes    chan struct{} // capacity 1: a lane has room again
	goodbyes sync.WaitGroup
	runners  sync.WaitGroup

	mu        sync.Mutex
	lanes     map[string]*lane
	ready     []*lane                  // with jobs, and with less of them under way than may be; the first is next
	held      map[int64]bool           // recipients that are leased, queued or under way; false: somebody else's by now
	late      map[int64]storage.Leased // of those, what was leased once more
	queued    int                      // recipients in lanes
	shares    map[int64]*share         // by account; those that have nothing here are left out
	running   int                      // runners
	pool      pool
	down      map[netip.AddrPort]*outage
	names     map[int64]string // of accounts
	domains   map[string]bool  // ours
	domainsAt time.Time
	stopping  bool
}

// NewWorker makes one; Run sets it going.
func NewWorker(store *storage.Store, registry *session.Registry, resolver dns.Resolver, policies *Policies, signer *Signer, o Options) *Worker {
	o = o.withDefaults()
	return &Worker{
		store: store, registry: registry, policies: policies, signer: signer, o: o, log: o.Logger,
		finder: &finder{resolver: resolver, family: o.Family, port: o.Port, own: o.Own, noLoopback: o.NoLoopback},
		owner:  "outbound-" + ulid.Make().String(),
		notes:  make(chan struct{}, 1),
		lanes:  map[string]*lane{}, shares: map[int64]*share{}, held: map[int64]bool{}, late: map[int64]storage.Leased{}, names: map[int64]string{}, down: map[netip.AddrPort]*outage{},
		pool: pool{idle: map[string][]*client{}},
	}
}

// Run delivers until ctx ends; then it takes nothing more, lets what is under way come to its end (Registry.Drain hurries it), releases what it
// has leased and returns.
func (w *Worker) Run(ctx context.Context) error {
	w.ctx = ctx
	w.begin(ctx)
	chores := time.NewTicker(min(w.o.Idle/2, leaseTime/3))
	defer chores.Stop()
	extend := time.Now().Add(leaseTime / 3)
	wait := time.NewTimer(0)
	defer wait.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-w.store.OutboxChanged():
			w.take(ctx, wait)
		case <-w.notes:
			w.take(ctx, wait)
		case <-wait.C:
			w.take(ctx, wait)
		case <-chores.C:
			w.sweep(false)
			w.prune()
			if time.Now().After(extend) {
				extend = time.Now().Add(leaseTime / 3)
				w.extend(ctx)
			}
		}
	}
	return w.end()
}

// begin releases what the last run had leased, as soon as that can be written: a full disk must not end the server, in which mail is read and deleted.
func (w *Worker) begin(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.store.ReleaseLeases(ctx, "")
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			w.log.Error("nothing is sent yet: leases of the last run cannot be released", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(releaseAgain):
		}
	}
}

// releaseAgain is how long after a failure leases are released once more.
const releaseAgain = 5 * time.Second

// end is the end of Run.
func (w *Worker) end() error {
	w.mu.Lock()
	w.stopping = true
	w.ready = nil
	w.mu.Unlock()
	w.sweep(true)
	w.runners.Wait()
	w.sweep(true)
	w.goodbyes.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.store.ReleaseLeases(ctx, w.owner); err != nil {
		w.log.Warn("leases are left until they are over", "error", err)
	}
	return nil
}

// safety is how often the table is looked at when nothing seems to be due.
const safety = time.Minute

// take leases what is due as long as there is room, and sets the timer to what is due next.
func (w *Worker) take(ctx context.Context, wait *time.Timer) {
	for ctx.Err() == nil {
		room := w.room()
		if room <= 0 {
			wait.Reset(safety) // a lane that has room again tells
			return
		}
		all, err := w.store.Lease(ctx, storage.LeaseRequest{Owner: w.owner, For: leaseTime, Max: room, PerDomain: max(w.perLane()/2, 1), Busy: w.busy, Spent: w.spent})
		if err != nil {
			if ctx.Err() == nil {
				w.log.Error("cannot lease from the outbox", "error", err)
			}
			wait.Reset(5 * time.Second)
			return
		}
		if len(all) == 0 {
			next := safety
			if due, ok := w.store.NextDue(w.busy, w.spent); ok {
				next = max(min(next, due.Sub(w.o.Now())), 10*time.Millisecond)
			}
			wait.Reset(next)
			return
		}
		w.enter(all)
	}
}

// perLane is how many recipients wait in one lane at most, and maxQueued in all of them.
func (w *Worker) perLane() int { return max(4*w.o.PerDomain, 32) }

const maxQueued = 4096

// share is what an account has of the worker.
type share struct {
	queued  int // recipients in lanes
	running int // runners
}

// shareLocked changes that of an account by so much.
func (w *Worker) shareLocked(account int64, queued, running int) {
	s := w.shares[account]
	if s == nil {
		s = &share{}
		w.shares[account] = s
	}
	s.queued += queued
	if s.running += running; *s == (share{}) {
		delete(w.shares, account)
	}
}

// spent tells which accounts have enough here: one that sends to thousands of domains leaves room for others.
func (w *Worker) spent(account int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.shares[account]
	return s != nil && s.queued >= maxQueued/4
}

// room is how many recipients more may be leased.
func (w *Worker) room() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return min(maxQueued-w.queued, 512)
}

// busy tells which domains have enough.
func (w *Worker) busy(domain string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lanes[domain]
	return l != nil && l.recipients >= w.perLane()
}

// enter puts leased recipients into their lanes, those of one message together.
func (w *Worker) enter(all []storage.Leased) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// What is still here was leased anew while its runner settles it (then it is another attempt), or because its lease was over before it was
	// settled (then it is this one still): revive finds out when the runner is through.
	all = slices.DeleteFunc(all, func(l storage.Leased) bool {
		_, here := w.held[l.ID]
		if here {
			w.late[l.ID] = l
		}
		return here
	})
	for len(all) > 0 {
		n := 1
		for n < len(all) && n < maxBatch && all[n].Outbox == all[0].Outbox && all[n].Domain == all[0].Domain {
			n++
		}
		j := &job{to: all[:n:n]}
		all = all[n:]
		for i := range j.to {
			w.held[j.to[i].ID] = true
		}
		w.queued += n
		w.shareLocked(j.to[0].Account, n, 0)
		l := w.lanes[j.to[0].Domain]
		if l == nil {
			l = &lane{domain: j.to[0].Domain, window: min(firstRunners, w.o.PerDomain)}
			w.lanes[l.domain] = l
		}
		l.put(j)
		w.readyLocked(l)
	}
	w.dispatchLocked()
}

// readyLocked puts a lane into the ring when it has work that may be begun.
func (w *Worker) readyLocked(l *lane) {
	if !l.ready && len(l.jobs) > 0 && l.running < l.window && !w.stopping {
		l.ready = true
		w.ready = append(w.ready, l)
	}
}

// dispatchLocked begins runners, one lane after the other, so that none keeps others from their turn. The last quarter of them is for lanes that
// have none, and for accounts that have less than half of all: neither domains that hang nor who sends to many of these get everything.
func (w *Worker) dispatchLocked() {
	for w.running < w.o.Concurrency && len(w.ready) > 0 && !w.stopping {
		i := 0
		if len(w.lanes) > 1 && 4*(w.running+1) > 3*w.o.Concurrency {
			if i = slices.IndexFunc(w.ready, w.modestLocked); i < 0 {
				return
			}
		}
		l := w.ready[i]
		w.ready = slices.Delete(w.ready, i, i+1)
		l.ready = false
		j := l.next()
		if j == nil {
			continue
		}
		w.running++
		l.running++
		w.shareLocked(j.to[0].Account, 0, 1)
		w.readyLocked(l)
		w.runners.Go(func() { w.run(l, j) })
	}
}

// firstRunners is how many runners a lane has before a host answered: one that is silent takes no more of them. Each message for which a host is there makes it one more, up
// to PerDomain.
const firstRunners = 2

// reached notes that a host of a lane is there.
func (w *Worker) reached(l *lane) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.window < w.o.PerDomain {
		l.window++
		w.readyLocked(l)
		w.dispatchLocked()
	}
}

// modestLocked tells whether a lane has no runner yet, and the account whose turn it is there has few.
func (w *Worker) modestLocked(l *lane) bool {
	if l.running > 0 {
		return false
	}
	best := l.best()
	if best < 0 {
		return true // a runner took the last job meanwhile: out of the ring with it
	}
	s := w.shares[l.jobs[best].to[0].Account]
	return s == nil || 2*s.running < w.o.Concurrency
}

// turns is how many messages of one lane a runner takes while other lanes wait for a runner.
const turns = 8

// run takes jobs of one lane, with one connection as long as that lasts.
func (w *Worker) run(l *lane, j *job) {
	r := &runner{w: w, lane: l}
	for n := 1; j != nil; n++ {
		r.deliver(j)
		w.revive(j)
		j = w.another(l, j, n)
	}
	r.release()
}

// revive ends the hold on a job's recipients, and enters those that are leased again: to us, after they were settled.
func (w *Worker) revive(done *job) {
	var late []storage.Leased
	var ids []int64
	w.mu.Lock()
	for i := range done.to {
		id := done.to[i].ID
		delete(w.held, id)
		if l, ok := w.late[id]; ok {
			delete(w.late, id)
			late, ids = append(late, l), append(ids, id)
		}
	}
	w.mu.Unlock()
	if len(ids) == 0 || w.ctx.Err() != nil {
		return
	}
	kept, err := w.store.ExtendLease(w.ctx, w.owner, leaseTime, ids)
	if err != nil {
		return // they wait again when the lease is over
	}
	w.enter(slices.DeleteFunc(late, func(l storage.Leased) bool { return !slices.Contains(kept, l.ID) }))
}

// another ends a job and tells which one the runner takes next; nil: none.
func (w *Worker) another(l *lane, done *job, n int) *job {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued -= len(done.to)
	l.recipients -= len(done.to)
	w.shareLocked(done.to[0].Account, -len(done.to), -1)
	if l.recipients < w.perLane()/2 {
		select {
		case w.notes <- struct{}{}:
		default:
		}
	}
	if !w.stopping && (n < turns || len(w.ready) == 0) {
		if j := l.next(); j != nil {
			w.shareLocked(j.to[0].Account, 0, 1)
			return j
		}
	}
	w.running--
	l.running--
	l.used = time.Now()
	w.readyLocked(l)
	w.dispatchLocked()
	return nil
}

// extend keeps the leases of what is queued and under way, and takes out what is no longer ours.
func (w *Worker) extend(ctx context.Context) {
	w.mu.Lock()
	ids := make([]int64, 0, len(w.held))
	for id := range w.held {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	kept, err := w.store.ExtendLease(ctx, w.owner, leaseTime, ids)
	if err != nil {
		if ctx.Err() == nil {
			w.log.Error("cannot extend leases", "error", err)
		}
		return
	}
	still := make(map[int64]bool, len(kept))
	for _, id := range kept {
		still[id] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if !still[id] && w.held[id] {
			w.held[id] = false // a job that has not begun leaves it out
		}
	}
}

// ours tells whether a recipient is still leased by us.
func (w *Worker) ours(id int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[id]
}

// prune forgets lanes that have nothing to do.
func (w *Worker) prune() {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for d, l := range w.lanes {
		if l.recipients == 0 && l.running == 0 && !l.ready && now.Sub(l.used) > planTime {
			delete(w.lanes, d)
		}
	}
	for a, d := range w.down {
		if now.Sub(d.until) > forget {
			delete(w.down, a)
		}
	}
	if len(w.names) > 10000 {
		clear(w.names)
	}
}

// lane is what goes to one domain. The worker's mu guards it, but way has its own.
type lane struct {
	domain     string
	jobs       []*job
	recipients int // in jobs and under way
	running    int
	window     int // how many may run
	ready      bool
	used       time.Time
	turn       int64 // the account whose job was taken last

	way way
}

// job is one message to recipients of one domain.
type job struct{ to []storage.Leased }

func (l *lane) put(j *job) {
	l.jobs = append(l.jobs, j)
	l.recipients += len(j.to)
}

// best is the job that is next, -1 for none: of those with the highest priority (RFC 6710) that of the account whose turn it is, so that a sender of much does not keep
// others waiting.
func (l *lane) best() int {
	behind := func(j *job) int { // accounts in turn: those behind the last one first
		if j.to[0].Account > l.turn {
			return 0
		}
		return 1
	}
	before := func(a, b *job) bool {
		return cmp.Or(cmp.Compare(b.to[0].Priority, a.to[0].Priority), cmp.Compare(behind(a), behind(b)), cmp.Compare(a.to[0].Account, b.to[0].Account)) < 0
	}
	best := -1
	for i, j := range l.jobs {
		if best < 0 || before(j, l.jobs[best]) {
			best = i
		}
	}
	return best
}

// next takes the best job out; nil when there is none.
func (l *lane) next() *job {
	best := l.best()
	if best < 0 {
		return nil
	}
	j := l.jobs[best]
	l.turn = j.to[0].Account
	l.jobs = slices.Delete(l.jobs, best, best+1)
	return j
}
