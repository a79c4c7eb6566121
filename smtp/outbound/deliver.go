package outbound

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// runner takes the jobs of one lane, one after the other. It belongs to its goroutine.
type runner struct {
	w    *Worker
	lane *lane
	c    *client // of the job before, for the next one
}

// release gives the connection to the pool.
func (r *runner) release() {
	if r.c != nil {
		c := r.c
		r.c = nil
		r.w.park(c)
	}
}

// task is one recipient of a delivery.
type task struct {
	*storage.Leased
	attempt
	state   storage.OutcomeState // "" while nothing is decided
	reply   string               // of a success
	status  string
	remote  string
	dsn     bool // the peer that took it knows DSN
	by      bool // and DELIVERBY
	here    bool // it was delivered into our own store
	putOff  bool // nothing was tried
	due     time.Time
	delayed bool // a notice of the delay goes with the outcome
}

// decided tells whether no other host is to be tried.
func (t *task) decided() bool { return t.state != "" || t.fail != nil && t.fail.permanent || t.putOff }

// delivery is one job under way.
type delivery struct {
	r     *runner
	w     *Worker
	m     *storage.Leased // what is the same for all recipients
	tasks []*task
	route *Route
	mail  *original // opened when it is needed
	form  string    // what was done to it
	made  string    // the form that was signed
}

// deliver tries one message and settles what became of it.
func (r *runner) deliver(j *job) {
	w := r.w
	d := &delivery{r: r, w: w, m: &j.to[0]}
	for i := range j.to {
		if w.ours(j.to[i].ID) {
			d.tasks = append(d.tasks, &task{Leased: &j.to[i]})
		}
	}
	if len(d.tasks) == 0 {
		return
	}
	defer d.close()
	d.begin()
	d.settle()
}

func (d *delivery) close() {
	if d.mail != nil {
		d.mail.close()
	}
}

// begin decides what needs no server, and goes on to the servers with the rest.
func (d *delivery) begin() {
	w := d.w
	now := w.o.Now()
	for _, t := range d.tasks {
		by := deadline(t.Leased)
		switch {
		case t.Verdict != "":
			t.fail = &failure{status: t.VerdictStatus, permanent: true, text: t.Verdict}
		case !by.IsZero() && !now.Before(by):
			// RFC 2852 section 4.1.4: what could not be delivered in time comes back.
			t.fail = &failure{status: "5.4.7", permanent: true, text: "the time in which the message had to be delivered is over"}
		}
	}
	if len(d.open()) == 0 {
		return
	}
	if w.ctx.Err() != nil {
		d.putOff(now)
		return
	}
	if w.isOurs(d.m.Domain) {
		w.reached(d.r.lane)
		d.local()
		return
	}
	d.route = w.o.Routes.For(d.m.Domain, d.m.From, d.account())
	if d.route.Direct && w.o.Held != nil {
		if why := w.o.Held(); why != "" {
			for _, t := range d.open() {
				t.fail = &failure{status: "4.3.2", text: why}
				t.due = now.Add(heldFor)
			}
			return
		}
	}
	d.hosts()
}

// open are the tasks that are not decided.
func (d *delivery) open() (all []*task) {
	for _, t := range d.tasks {
		if !t.decided() {
			all = append(all, t)
		}
	}
	return all
}

// all fails the tasks that are not decided.
func (d *delivery) all(f *failure) {
	for _, t := range d.open() {
		t.fail = f
	}
}

// putOff leaves the tasks that are not decided as they were.
func (d *delivery) putOff(due time.Time) {
	for _, t := range d.open() {
		t.putOff, t.due, t.fail = true, due, nil
	}
}

// account is the name of whose mail it is, "" for the server's.
func (d *delivery) account() string {
	id := d.m.Account
	if id == 0 {
		return ""
	}
	w := d.w
	w.mu.Lock()
	name, ok := w.names[id]
	w.mu.Unlock()
	if ok {
		return name
	}
	a, err := w.store.Account(w.ctx, id)
	if err != nil {
		return ""
	}
	w.mu.Lock()
	w.names[id] = a.Name
	w.mu.Unlock()
	return a.Name
}

// maxSessions is how many servers are told of one message in one go: those behind the first get the recipients that the
// ones before put off.
const maxSessions = 2

// hosts tries the hosts of the domain, or of the route, one after the other, until each recipient is decided.
func (d *delivery) hosts() {
	w := d.w
	ctx := w.ctx
	p, err := d.r.lane.way.plan(ctx, w.finder, d.m.Domain, d.route)
	if err != nil {
		d.gaveUp(err)
		return
	}
	if err := d.read(); err != nil {
		d.unreadable(err)
		return
	}
	all, refused := w.targets(ctx, p, d.route, d.m.RequireTLS, d.mail.noTLS && !d.m.RequireTLS)
	up, down, until := w.pick(all)
	x := &search{down: down}
	for _, f := range refused {
		x.failed(f)
	}
	x.skipped = len(up) < len(all)
	for _, t := range up {
		if len(d.open()) == 0 || x.sessions >= maxSessions || x.ambiguous || x.done[t.host] {
			if x.done[t.host] {
				continue
			}
			break
		}
		if !d.visit(ctx, t, x) {
			return
		}
	}
	for _, t := range d.open() {
		if t.fail == nil {
			t.fail = x.verdict(d.m.Domain)
			if t.fail == down {
				t.due = until // nobody was asked: it is no attempt, and waits for the first host that may be up again
			}
		}
	}
}

// search is what was found out about the hosts so far.
type search struct {
	soft, hard *failure // of hosts as a whole
	down       *failure // of one that was not tried because it did not answer lately
	skipped    bool
	sessions   int
	ambiguous  bool // a message may have arrived, or somebody ended the session: nobody else is to get it now
	done       map[string]bool
}

func (x *search) failed(f *failure) {
	if f.permanent {
		x.hard = f
	} else {
		x.soft = f
	}
}

// verdict is what holds when no host took the recipient. It is permanent only when all hosts said so.
func (x *search) verdict(domain string) *failure {
	switch {
	case x.soft != nil:
		return x.soft
	case x.skipped && x.down != nil:
		return x.down
	case x.hard != nil:
		return x.hard
	}
	return &failure{status: "4.4.1", text: "no host of " + domain + " can be tried now"}
}

// gaveUp is an error of before any server was asked.
func (d *delivery) gaveUp(err error) {
	var f *failure
	switch {
	case d.w.ctx.Err() != nil || errors.Is(err, session.ErrDrain):
		d.putOff(d.w.o.Now())
	case errors.As(err, &f):
		d.all(f)
	default:
		d.all(&failure{status: "4.3.0", text: printable(err.Error())})
	}
}

// visit speaks to one address. It is false when nothing more is to be tried by anybody: the server ends.
func (d *delivery) visit(ctx context.Context, t *target, x *search) bool {
	for fresh := false; ; fresh = true {
		c, used, err := d.r.client(ctx, t, fresh)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, session.ErrDrain) {
				d.putOff(d.w.o.Now())
				return false
			}
			if isOurs(err) {
				d.w.log.Warn("no connection to another server can be opened", "error", err)
				d.putOff(d.w.o.Now().Add(soon))
				return false
			}
			var f *failure
			if !errors.As(err, &f) {
				f = &failure{status: "4.3.0", text: printable(err.Error()), remote: t.host}
			}
			if ending(f) {
				d.putOff(d.w.o.Now())
				return false
			}
			d.w.answered(t.addr, f)
			x.failed(f)
			x.ambiguous = x.ambiguous || errors.Is(f.err, session.ErrKilled) // whoever did it does not want it to go another way at once
			return true
		}
		d.w.reached(d.r.lane)
		err = d.exchange(c, t)
		d.r.keep(c)
		var f *failure
		switch {
		case err == nil:
		case !errors.As(err, &f):
			d.unreadable(err)
			return true
		case ending(f) && f.stage != atEnd:
			d.putOff(d.w.o.Now())
			return false
		case errors.Is(f.err, errLocal):
			// It takes no more on this connection. Those that it was not told of are leased again and go on with another one.
			for _, k := range d.open() {
				if k.fail == nil {
					k.putOff, k.due = true, d.w.o.Now()
					if f.reply.Code == 0 && c.ext.mailMax == 0 {
						k.due = k.due.Add(soon)
					}
				}
			}
		case used && !fresh && c.broken && (f.stage == atMail || f.stage == atRcpt && f.err != nil) && !errors.Is(f.err, session.ErrKilled) && d.untouched():
			continue // the server closed a connection that was left open for too long: that says nothing of the message
		default:
			d.note(f, x)
		}
		x.sessions++
		x.ended(t.host)
		for _, k := range d.tasks {
			x.ambiguous = x.ambiguous || k.fail != nil && k.fail.stage == atEnd && k.fail.reply.Code == 0
		}
		return true
	}
}

// soon is when mail is looked at again for which there was no connection left.
const soon = 10 * time.Second

// ending tells whether the session was ended because the server ends.
func ending(f *failure) bool {
	return errors.Is(f.err, session.ErrDrain) || errors.Is(f.err, session.ErrHurry)
}

// ended says that a host has had its say.
func (x *search) ended(host string) {
	if x.done == nil {
		x.done = map[string]bool{}
	}
	x.done[host] = true
}

// untouched tells whether no recipient has a reply from this server yet.
func (d *delivery) untouched() bool {
	for _, t := range d.open() {
		if t.taken || t.fail != nil {
			return false
		}
	}
	return true
}

// note is a failure of the whole transaction.
func (d *delivery) note(f *failure, x *search) {
	if f.reply.Code == 0 { // of the connection: another host may do
		x.failed(f)
		x.ambiguous = x.ambiguous || f.stage == atEnd || errors.Is(f.err, session.ErrKilled)
		return
	}
	for _, t := range d.open() {
		if t.fail == nil {
			t.fail = f
		}
	}
}

// client gives a connection to t: that of the job before, one of the pool, or a new one.
func (r *runner) client(ctx context.Context, t *target, fresh bool) (_ *client, used bool, err error) {
	if c := r.c; c != nil {
		if r.c = nil; c.key == t.key && !fresh && !c.broken && c.ses.Ending() == nil {
			return c, true, nil
		}
		r.w.park(c)
	}
	if !fresh {
		if c := r.w.fetch(t.key); c != nil {
			return c, true, nil
		}
	}
	c, err := r.w.connect(ctx, t)
	if err == nil {
		r.w.answered(t.addr, nil)
	}
	return c, false, err
}

// keep keeps a connection for the next job if it can be used.
func (r *runner) keep(c *client) {
	c.ses.OnBehalf(session.Account{})
	c.ses.Done()
	most := r.w.o.MaxMessages
	if c.broken || c.ses.Ending() != nil || c.ext.mailMax > 0 && c.messages >= c.ext.mailMax || most > 0 && c.messages >= most {
		c.quit()
		return
	}
	r.c = c
}

// read opens the message.
func (d *delivery) read() error {
	b, err := d.w.store.OpenOutgoing(d.w.ctx, d.m.Outbox)
	if err != nil {
		return err
	}
	d.mail, err = openOriginal(b)
	return err
}

// unreadable is a fault of ours: the message waits until somebody mends it.
func (d *delivery) unreadable(err error) {
	switch {
	case d.w.ctx.Err() != nil:
		d.putOff(d.w.o.Now())
	case errors.Is(err, errFixed):
		d.all(&failure{status: "5.6.3", permanent: true, text: "the receiving server takes 7-bit mail alone, and this message is signed in a form that must not be re-encoded"})
	case errors.Is(err, fs.ErrNotExist):
		d.putOff(d.w.o.Now().Add(heldFor)) // dropped meanwhile: Settle passes it over
	default:
		d.w.log.Error("a message of the outbox cannot be read", "queue", d.m.Queue, "error", err)
		d.all(&failure{status: "4.3.0", text: "the message cannot be read at the moment"})
	}
}

// isOurs tells whether a domain is one of ours by now.
func (w *Worker) isOurs(domain string) bool {
	w.mu.Lock()
	old := time.Since(w.domainsAt) > domainsFor
	w.mu.Unlock()
	if old {
		all, err := w.store.Domains(w.ctx)
		if err != nil {
			return false
		}
		set := make(map[string]bool, len(all))
		for _, d := range all {
			set[d.Name] = true
		}
		w.mu.Lock()
		w.domains, w.domainsAt = set, time.Now()
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.domains[domain]
}

// domainsFor is for how long the list of our domains is believed.
const domainsFor = 5 * time.Second

// local hands the message to recipients of ours: their domain has become one since it was queued, or the message was to leave later (FUTURERELEASE).
func (d *delivery) local() {
	for _, t := range d.open() {
		b, err := d.w.store.OpenOutgoing(d.w.ctx, t.Outbox)
		if err != nil {
			d.unreadable(err)
			return
		}
		t.here = true
		done := storage.Outcome{Recipient: t.ID, Owner: d.w.owner, State: storage.Delivered, Status: "2.1.5", Reply: "delivered here", Delayed: t.Delayed}
		err = d.w.o.Local(d.w.ctx, t.Leased, b, done)
		b.Close()
		if err == nil {
			t.state, t.status, t.reply = done.State, done.Status, done.Reply
			continue
		}
		if d.w.ctx.Err() != nil { // our own end is no attempt
			t.putOff, t.due = true, d.w.o.Now()
			continue
		}
		if errors.Is(err, storage.ErrConflict) {
			t.putOff, t.due = true, d.w.o.Now().Add(domainsFor)
			continue
		}
		t.fail = &failure{status: "4.3.0", text: fmt.Sprintf("local delivery: %v", err)}
		if r, ok := errors.AsType[spoken](err); ok {
			code, status, text := r.Refusal()
			t.fail = &failure{status: status, permanent: code/100 == 5, text: text}
		}
	}
}

// spoken is an error of Options.Local that is the reply of an SMTP server: its code, status and text.
type spoken interface {
	error
	Refusal() (code int, status, text string)
}
