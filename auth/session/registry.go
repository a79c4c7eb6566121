package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Limits are numbers of sessions at a time; 0 means no limit.
type Limits struct {
	Total       int
	PerAddress  int // IPv6: per /64. Loopback counts like any other address.
	PerAccount  int
	PerProtocol map[Protocol]int
	Outgoing    int // connections that Dial opened; the limits above do not count them
}

// Options of a Registry. The zero value is usable and limits nothing.
type Options struct {
	Limits  Limits
	Grace   time.Duration // between Kill and the forced close; 0 means 5 s
	Logger  *slog.Logger  // nil: discard
	Now     func() time.Time
	History func(Info) // called once a session, after its end, from a goroutine of the registry's; nil: nobody
}

// defaultGrace is the time for a goodbye, lastWord that at the end of a drain.
const (
	defaultGrace = 5 * time.Second
	lastWord     = time.Second
)

// ErrUnknown is returned (wrapped) by Find.
var ErrUnknown = errors.New("no such session")

// Registry holds the sessions of all protocols. It starts goroutines only for a refusal
// that is being written and while History has something to tell; Wait waits for them.
type Registry struct {
	o       Options
	epoch   time.Time // the zero of the clock
	alarm   alarm
	history history
	refusal refusals

	mu       sync.Mutex // taken before a session's mu, never after it
	entropy  io.Reader
	sessions map[string]*Session
	accounts map[int64]map[*Session]struct{}
	count    counts
	draining bool
	changed  chan struct{} // closed when the last session of a draining registry has ended
	admitted int64
}

// New returns an empty registry.
func New(o Options) *Registry {
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Registry{
		o:        o,
		epoch:    time.Now(),
		entropy:  ulid.Monotonic(rand.Reader, 0),
		sessions: make(map[string]*Session),
		accounts: make(map[int64]map[*Session]struct{}),
		count:    newCounts(),
		changed:  make(chan struct{}),
	}
	r.alarm.clock = r.clock
	r.history.tell = o.History
	r.history.log = o.Logger
	r.refusal.slots = make(chan struct{}, maxRefusals)
	r.refusal.log = o.Logger
	return r
}

// clock is the time since the registry was made, in nanoseconds and never 0. It is monotonic,
// while Options.Now is the wall's.
func (r *Registry) clock() int64 { return int64(time.Since(r.epoch)) + 1 }

// clockAt translates a deadline; 0 is none.
func (r *Registry) clockAt(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	left := int64(time.Until(t))
	if left > math.MaxInt64/2 {
		return 0
	}
	return max(1, r.clock()+left)
}

// at translates back.
func (r *Registry) at(clock int64) time.Time {
	if clock == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(clock - r.clock()))
}

// admit makes a session of a new connection, or says why it is refused. A refused one has cost no more than this lookup.
func (r *Registry) admit(l *listener, c net.Conn) (*Session, error) {
	remote := addrPort(c.RemoteAddr())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, ErrDrain
	}
	if err := r.count.add(r.o.Limits, l.o.Protocol, remote.Addr()); err != nil {
		return nil, err
	}
	return r.enterLocked(l, c, remote), nil
}

// enterLocked makes a session of a connection that was counted and puts it into the list.
func (r *Registry) enterLocked(l *listener, c net.Conn, remote netip.AddrPort) *Session {
	s := &Session{
		registry: r,
		listener: l,
		remote:   remote,
		started:  r.o.Now(),
		state:    Connected,
		next:     Idle,
		place:    nowhere,
	}
	s.id = r.newID(s.started)
	s.conn = Conn{Conn: c, s: s, opened: r.clock()}
	s.fresh.Store(s.conn.opened)
	if l.o.LoginTimeout > 0 {
		s.login = s.conn.opened + int64(l.o.LoginTimeout)
	}
	if l.o.MaxDuration > 0 {
		s.absolute = s.conn.opened + int64(l.o.MaxDuration)
	}
	r.sessions[s.id] = s
	r.admitted++
	return s
}

// newID makes ids that sort by time; the caller holds mu, as the entropy needs.
func (r *Registry) newID(t time.Time) string {
	id, err := ulid.New(ulid.Timestamp(t), r.entropy)
	if err != nil { // more than the random part can count in this millisecond
		id = ulid.MustNew(ulid.Timestamp(t), rand.Reader)
	}
	return id.String()
}

// join counts s as one of account a.
func (r *Registry) join(s *Session, a Account) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[s.id] != s {
		return ErrClosed
	}
	member := a.member()
	if s.member == member {
		return nil
	}
	limit, key := a.Limit, "limits.per_account"
	if a.Guest {
		key = "ftp.anonymous_sessions"
	}
	if limit == 0 {
		limit = r.o.Limits.PerAccount
	}
	if n := len(r.accounts[member]); limit > 0 && n >= limit {
		return overLimit("of this account", limit, key)
	}
	r.leaveLocked(s)
	if r.accounts[member] == nil {
		r.accounts[member] = make(map[*Session]struct{})
	}
	r.accounts[member][s] = struct{}{}
	s.member = member
	return nil
}

// leave takes s away from its account.
func (r *Registry) leave(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaveLocked(s)
}

func (r *Registry) leaveLocked(s *Session) {
	if s.member == 0 {
		return
	}
	delete(r.accounts[s.member], s)
	if len(r.accounts[s.member]) == 0 {
		delete(r.accounts, s.member)
	}
	s.member = 0
}

// remove takes an ended session out of the maps.
func (r *Registry) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[s.id] != s {
		return
	}
	delete(r.sessions, s.id)
	r.leaveLocked(s)
	if s.listener.outgoing {
		r.count.outgoing--
	} else {
		r.count.remove(s.Protocol(), s.Remote().Addr())
	}
	r.emptyLocked()
}

// emptyLocked tells Drain when nobody is left.
func (r *Registry) emptyLocked() {
	if r.draining && len(r.sessions) == 0 {
		select {
		case <-r.changed:
		default:
			close(r.changed)
		}
	}
}

// finish is the end of s, after its socket was closed.
func (s *Session) finish() {
	s.mu.Lock()
	s.state = Ended
	s.ended = s.registry.o.Now().UnixNano()
	if s.reason == "" {
		s.reason = lostReason(s.conn.lost, s.listener.outgoing)
	}
	cause := s.cause
	s.scheduleLocked()
	s.mu.Unlock()
	if cause == nil {
		cause = ErrClosed
	}
	s.life.end(cause)
	s.registry.tell(s)
	s.registry.remove(s) // after tell, so that a Drain that sees nobody left finds a History to wait for
}

// tell reports the end of s to the log and to History. What front ends do to see whether the server is there is left out.
func (r *Registry) tell(s *Session) {
	logs := r.o.Logger.Enabled(context.Background(), slog.LevelInfo)
	if !logs && r.history.tell == nil {
		return
	}
	i := s.Info()
	if s.checkup(i) {
		r.o.Logger.Debug("front end looked in", "session", i.ID, "listener", i.Listener, "remote", i.Remote, "reason", i.EndReason)
		return
	}
	if logs {
		r.o.Logger.Info("session ended", "session", i.ID, "protocol", i.Protocol, "listener", i.Listener,
			"remote", i.Remote, "account", i.Account, "reason", i.EndReason, "in", i.BytesIn, "out", i.BytesOut,
			"commands", i.Commands, "duration", i.Ended.Sub(i.Started))
	}
	r.history.add(i)
}

// List is a snapshot of all sessions, oldest first.
func (r *Registry) List() []Info {
	all := r.all()
	infos := make([]Info, len(all))
	for i, s := range all {
		infos[i] = s.Info()
	}
	return infos
}

// all sessions, oldest first.
func (r *Registry) all() []*Session {
	r.mu.Lock()
	all := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		all = append(all, s)
	}
	r.mu.Unlock()
	slices.SortFunc(all, older)
	return all
}

func older(a, b *Session) int {
	return cmp.Or(a.started.Compare(b.started), strings.Compare(a.id, b.id))
}

// Get finds a session by its id.
func (r *Registry) Get(id string) (*Session, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.sessions[strings.ToUpper(id)]
	return s, ok
}

// Find finds the one session whose id begins with prefix, in either case; ErrUnknown when there is
// none, another error when there are several.
func (r *Registry) Find(prefix string) (*Session, error) {
	if s, ok := r.Get(prefix); ok {
		return s, nil
	}
	upper := strings.ToUpper(prefix)
	var found []*Session
	for _, s := range r.all() {
		if upper != "" && strings.HasPrefix(s.id, upper) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%w: %q", ErrUnknown, prefix)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("the ids of %d sessions begin with %q, the first two are %s and %s",
		len(found), prefix, found[0].id, found[1].id)
}

// Of are the sessions of an account, oldest first.
func (r *Registry) Of(account int64) []*Session {
	r.mu.Lock()
	of := make([]*Session, 0, len(r.accounts[account])+len(r.accounts[-account]))
	for _, member := range []int64{account, -account} {
		for s := range r.accounts[member] {
			of = append(of, s)
		}
	}
	r.mu.Unlock()
	slices.SortFunc(of, older)
	return of
}

// KillAccount kills every session of an account and says how many there were.
func (r *Registry) KillAccount(account int64, cause error) int {
	of := r.Of(account)
	for _, s := range of {
		s.Kill(cause)
	}
	return len(of)
}

// Drain kills every session with ErrDrain (an idle one says goodbye at once, a busy one
// finishes its command first), waits until all have ended or ctx ends, then interrupts what is left with ErrHurry and closes it a second later. New connections are refused from the call on.
// Drain also waits for History to have been told of every session, in the second case for at most Grace.
// It returns nil when all sessions ended by themselves, else the cause of ctx.
func (r *Registry) Drain(ctx context.Context) error {
	r.mu.Lock()
	r.draining = true
	r.emptyLocked()
	r.mu.Unlock()
	for _, s := range r.all() {
		s.Kill(ErrDrain)
	}
	select {
	case <-r.changed:
		return r.settle(ctx)
	case <-ctx.Done():
	}
	left := r.all()
	for _, s := range left {
		s.Kill(ErrHurry)
	}
	select {
	case <-r.changed:
	case <-time.After(min(r.o.Grace, lastWord)):
	}
	for _, s := range r.all() {
		s.conn.end(false)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.o.Grace)
	defer cancel()
	return errors.Join(fmt.Errorf("%d sessions were closed forcibly: %w", len(left), context.Cause(ctx)), r.settle(last))
}

// settle is Wait with an end.
func (r *Registry) settle(ctx context.Context) error {
	if err := errors.Join(r.refusal.writing.wait(ctx), r.history.running.wait(ctx)); err != nil {
		return fmt.Errorf("waiting for the session history: %w", err)
	}
	return nil
}

// Wait waits until no goroutine of the registry's runs: refusals are written (1 s at most) and
// History was told of every session that has ended. It makes sense after Drain.
func (r *Registry) Wait() { r.settle(context.Background()) }

// Stats are numbers for metrics. The counters start at 0 with the registry.
type Stats struct {
	Sessions      int   // now
	Admitted      int64 // ever
	Refused       int64 // by a limit or a drain
	HistoryMissed int64 // ended sessions that History was not told of because it was too slow
}

// Stats is a snapshot.
func (r *Registry) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{
		Sessions:      len(r.sessions),
		Admitted:      r.admitted,
		Refused:       r.refusal.count.Load(),
		HistoryMissed: r.history.missed.Load(),
	}
}
