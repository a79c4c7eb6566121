package storage

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// job is a transaction that waits for the writer or is with it.
type job struct {
	ctx     context.Context
	run     func(*tx) error // may run more than once: a batch is begun anew when another job of it fails
	relaxed bool            // it need not be on disk when it is answered
	until   time.Time       // so long it waits for others that have to be on disk anyway; zero: not at all
	look    *Look           // nil: none
	err     error
	done    chan struct{}
}

// writer is what the writer's goroutine keeps between batches.
type writer struct {
	s  *Store
	db *sqldb.Writer
	rows
	routes map[string]bool // statements: whether they may change where mail goes
	// commit is db.Commit; tests put a failing one here.
	commit func() error
}

func (w *writer) init(s *Store) {
	w.s, w.db = s, s.db.Writer()
	w.commit = w.db.Commit
	w.rows.reset()
}

var errClosed = fmt.Errorf("%w: the store is closed", ErrTemporary)

// do runs fn in a transaction, together with what other sessions want to write at the moment, and returns when it is
// durable and published. Once fn has begun, the end of ctx does not stop it.
//
// fn must decide whether it fails before it changes anything: to fail later is right too, but makes the whole batch begin anew.
func (s *Store) do(ctx context.Context, fn func(*tx) error) error {
	return s.done(&job{ctx: ctx, run: fn})
}

// done is do for a job. A relaxed one is not waited for until it is on disk, unless one that is not relaxed shares its batch.
func (s *Store) done(j *job) error {
	ctx := j.ctx
	if err := ctx.Err(); err != nil {
		return err
	}
	j.done = make(chan struct{})
	select {
	case <-s.stop:
		return errClosed
	default:
	}
	select {
	case s.jobs <- j:
	case <-s.stop:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-j.done:
		return j.err
	case <-s.stopped:
	}
	// The writer ended: either before it saw the job, or with it.
	select {
	case <-j.done:
		return j.err
	default:
		return errClosed
	}
}

// write is the writer's goroutine. It takes whatever waits, runs it in one transaction and answers after the commit: while one batch
// is being synced the next gathers, so that nobody waits for a timer. Uploads that are too young to be looked at are left for a later one.
func (s *Store) write() {
	defer close(s.stopped)
	batch := make([]*job, 0, s.o.BatchMax)
	var pending []*job
	several := false // the batch before had more than one
	records := time.NewTimer(time.Hour)
	defer records.Stop()
	for {
		if len(pending) == 0 {
			select {
			case j := <-s.jobs:
				pending = append(pending, j)
			case <-s.journal.hint:
				records.Reset(journalDelay)
				continue
			case <-records.C:
				if s.journal.empty() {
					continue
				}
			case <-s.stop:
				s.writeRest()
				return
			}
		}
		var young time.Duration
		pending = s.gather(pending)
		// Where several write at a time, those who are about to ask and those who were answered just now go first, as long as that brings any.
		for n := 0; several && n < len(pending) && len(pending) < s.o.BatchMax; {
			n = len(pending)
			runtime.Gosched()
			pending = s.gather(pending)
		}
		if pending, batch, young = ripe(pending, batch[:0], s.o.BatchMax); len(batch) == 0 && young > 2*time.Millisecond {
			pending = s.await(pending, young-time.Millisecond)
			continue
		}
		if len(batch) == 0 && young > 0 {
			nap(min(young, napStep))
			continue
		}
		several = len(batch) > 1
		s.w.batch(batch)
	}
}

// await waits for a job, at most for d.
func (s *Store) await(pending []*job, d time.Duration) []*job {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case j := <-s.jobs:
		pending = append(pending, j)
	case <-t.C:
	case <-s.stop:
	}
	return pending
}

// gather adds what waits to pending.
func (s *Store) gather(pending []*job) []*job {
	for len(pending) < 2*s.o.BatchMax {
		select {
		case j := <-s.jobs:
			pending = append(pending, j)
		default:
			return pending
		}
	}
	return pending
}

// writeRest writes what waits when the store is closed.
func (s *Store) writeRest() {
	for {
		select {
		case j := <-s.jobs:
			nap(j.wait(time.Now()))
			s.w.batch([]*job{j})
			continue
		default:
		}
		break
	}
	for (!s.journal.empty() || !s.visits.idle()) && s.w.batch(nil) {
	}
}

// batch runs jobs in one transaction, without those that fail; with what waits beside them, unless it returns false.
func (w *writer) batch(batch []*job) bool {
	// What goes into the journal alone is not waited for by anybody.
	if !w.relax(batch, relaxes(batch) || len(batch) == 0 && w.s.visits.idle()) {
		return false
	}
	jobs := make([]*job, 0, len(batch)+3)
	if r := w.s.journal.take(len(batch) == 0); len(r) > 0 {
		jobs = append(jobs, &job{ctx: context.Background(), done: make(chan struct{}), run: func(t *tx) error { return t.addRecords(r) }})
	}
	if u := w.s.journal.takeUsed(); len(u) > 0 {
		jobs = append(jobs, &job{ctx: context.Background(), done: make(chan struct{}), run: func(t *tx) error { return t.putUsed(u) }})
	}
	if v := w.s.visits.take(); len(v) > 0 {
		jobs = append(jobs, &job{ctx: context.Background(), done: make(chan struct{}), run: func(t *tx) error { return t.putVisits(v) }})
	}
	for _, j := range batch {
		if j.err = j.ctx.Err(); j.err != nil {
			close(j.done)
			continue
		}
		jobs = append(jobs, j)
	}
	for len(jobs) > 0 {
		bad, err := w.attempt(jobs)
		if err == nil {
			return true
		}
		if bad < 0 && errors.Is(err, syscall.ENOSPC) && w.s.giveReserve() {
			continue
		}
		if bad < 0 {
			for _, j := range jobs {
				j.err = err
				close(j.done)
			}
			return true
		}
		jobs[bad].err = err
		close(jobs[bad].done)
		jobs = append(jobs[:bad], jobs[bad+1:]...)
	}
	return true
}

// relax tells whether the commit of a batch need not wait for the disk. When it cannot be made to wait again, the jobs fail.
func (w *writer) relax(batch []*job, relaxed bool) bool {
	err := w.db.Relax(relaxed)
	if err == nil || relaxed {
		return true // at worst durable without need
	}
	for _, j := range batch {
		j.err = fmt.Errorf("%w: %w", ErrTemporary, err)
		close(j.done)
	}
	return false
}

// relaxes tells whether none of the jobs has to be on disk when it is answered.
func relaxes(batch []*job) bool {
	return len(batch) > 0 && !slices.ContainsFunc(batch, func(j *job) bool { return !j.relaxed })
}

// attempt runs jobs in one transaction and answers them. When it cannot, nothing has happened: bad is the job whose fault it
// is, to be left out of the next attempt, or -1 when all fail.
func (w *writer) attempt(jobs []*job) (bad int, err error) {
	if err := w.db.Begin(); err != nil {
		return -1, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	t := newTx(w)
	for i, j := range jobs {
		t.wrote, t.by = false, watch.Origin(j.ctx)
		if j.err = j.whole(); j.err == nil { // early, as it costs less
			j.err = t.protect(j.run)
		}
		if j.err == nil || !t.wrote && !sqldb.Temporary(j.err) {
			continue
		}
		w.undo()
		// Trouble of the machine would meet each of the others in turn.
		if sqldb.Temporary(j.err) {
			return -1, fmt.Errorf("%w: %w", ErrTemporary, j.err)
		}
		return i, j.err
	}
	for i, j := range jobs {
		if j.err != nil {
			continue
		}
		if err := j.whole(); err != nil {
			w.undo()
			return i, err
		}
	}
	if err := t.flush(); err != nil {
		w.undo()
		return -1, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	if err := w.commit(); err != nil {
		w.undo()
		return -1, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	t.publish()
	for _, j := range jobs {
		close(j.done)
	}
	return 0, nil
}

// undo rolls back, and forgets the rows in memory, which may have been changed.
func (w *writer) undo() {
	w.db.Rollback()
	w.rows.reset()
}

var errPanic = errors.New("panic in a transaction")

// protect runs a job and makes an error of its panic, so that a fault of one does not end the writer for all.
func (t *tx) protect(run func(*tx) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			t.wrote = true
			err = fmt.Errorf("%w: %v", errPanic, r)
			t.s.log.Error("panic in a transaction", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	return run(t)
}
