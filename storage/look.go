package storage

import (
	"slices"
	"time"
)

// Look is what decides, at the last moment, whether an upload is put in place: when its bytes are durable and only the commit is missing.
type Look struct {
	// NotBefore is the earliest time to look, at most MaxLookWait ahead: what is longer is cut. Zero: at once. The upload waits behind those that need not wait.
	NotBefore time.Time
	// Whole tells why the upload must not be put in place; nil: it may be. It is asked once or more, by the store's writer while everybody waits: it must be
	// quick, and not use the store. When it fails nothing has happened, and the method that was given the upload fails with its error.
	Whole func() error
}

// MaxLookWait is how long an upload waits for its Look.
const MaxLookWait = 5 * time.Millisecond

// napStep is how long the writer sleeps at a time while nothing but uploads that are too young waits.
const napStep = 250 * time.Microsecond

// Last sets the last look at the upload, of PutFile, PutNewFile and Deliver; before them.
func (u *Upload) Last(l Look) {
	if most := time.Now().Add(MaxLookWait); l.NotBefore.After(most) {
		l.NotBefore = most
	}
	u.look = &l
}

// whole asks the look of a job, if it has one.
func (j *job) whole() error {
	if j.look == nil {
		return nil
	}
	return j.look.Whole()
}

// wait is how long until a job may run, at the time now; 0: it may.
func (j *job) wait(now time.Time) time.Duration {
	if j.look == nil || j.look.NotBefore.IsZero() {
		return 0
	}
	return max(j.look.NotBefore.Sub(now), 0)
}

// companyMost is how many jobs wait for others at most: so many are worth a commit of their own.
const companyMost = 4

// ripe moves those of pending that may run into batch, up to most. young is how long the first of those that are too young, or wait for company, has to wait when there are such.
func ripe(pending, batch []*job, most int) (left, full []*job, young time.Duration) {
	now := time.Now()
	alone := 0
	company := false
	take := func(j *job, d time.Duration) bool {
		if len(batch) == most {
			return false
		}
		if d == 0 {
			batch = append(batch, j)
		} else if young == 0 || d < young {
			young = d
		}
		return d == 0
	}
	left = slices.DeleteFunc(pending, func(j *job) bool {
		if j.until.After(now) {
			alone++
			return false
		}
		ran := take(j, j.wait(now))
		company = company || ran && !j.relaxed
		return ran
	})
	if alone == 0 {
		return left, batch, young
	}
	left = slices.DeleteFunc(left, func(j *job) bool {
		if !j.until.After(now) {
			return false
		}
		if company || alone >= companyMost {
			return take(j, 0)
		}
		return take(j, j.until.Sub(now))
	})
	return left, batch, young
}
