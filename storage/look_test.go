package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"
)

// TestLook: an upload whose look fails, before its rows are written or after, is as if it had never been, can be taken all the same by another method, and those that
// share its batch are in place.
func TestLook(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	dead := errors.New("dead")
	upload := func(look *Look) *Upload {
		u, err := s.NewUpload(t.Context(), a.ID, -1)
		if err != nil {
			t.Fatal(err)
		}
		u.Write([]byte("content"))
		if look != nil {
			u.Last(*look)
		}
		return u
	}
	block, begun := make(chan struct{}), make(chan struct{})
	go s.do(t.Context(), func(*tx) error { close(begun); <-block; return nil })
	<-begun
	var all sync.WaitGroup
	for i := range 20 {
		looks := 0
		var look *Look
		if fails := i % 4; fails > 0 { // the first look, the second, none
			look = &Look{Whole: func() error {
				if looks++; looks >= fails && fails < 3 {
					return dead
				}
				return nil
			}}
		}
		u := upload(look)
		all.Go(func() {
			name := fmt.Sprint("file", i)
			_, err := s.PutFile(t.Context(), a.ID, a.Home, name, u, time.Time{})
			want := i%4 == 0 || i%4 == 3
			if (err == nil) != want || !want && !errors.Is(err, dead) {
				t.Errorf("%s: %v", name, err)
			}
			if err != nil {
				if err := s.SavePartial(t.Context(), a.ID, a.Home, name, u); err != nil {
					t.Error(err)
				}
			}
			n, err := s.Lookup(t.Context(), a.ID, a.Home, name)
			if want && (err != nil || n.Size != 7) || !want && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %+v, %v", name, n, err)
			}
			if p, _ := s.Partial(t.Context(), a.ID, a.Home, name); (p.Size == 7) == want {
				t.Errorf("%s: part %+v", name, p)
			}
		})
	}
	close(block)
	all.Wait()
	verifyStore(t, s)
}

// TestLookWaits: an upload is not looked at before its time, and holds up nobody meanwhile. A time that is too far away is cut.
func TestLookWaits(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	for i, ahead := range []time.Duration{-time.Hour, 0, time.Millisecond, time.Hour} {
		u, err := s.NewUpload(t.Context(), a.ID, -1)
		if err != nil {
			t.Fatal(err)
		}
		due := time.Now().Add(ahead)
		var looked time.Time
		u.Last(Look{NotBefore: due, Whole: func() error { looked = time.Now(); return nil }})
		other := make(chan error)
		go func() { other <- s.do(t.Context(), insertDomain(fmt.Sprint("d", i))) }()
		if _, err := s.PutFile(t.Context(), a.ID, a.Home, fmt.Sprint(i), u, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if err := <-other; err != nil {
			t.Error(err)
		}
		if ahead < time.Minute && looked.Before(due) {
			t.Errorf("looked %v early", due.Sub(looked))
		}
	}
}

// TestRipe: what is too young is left behind what came after it, in order, and no batch is larger than it may be.
func TestRipe(t *testing.T) {
	young := &job{look: &Look{NotBefore: time.Now().Add(time.Hour)}}
	younger := &job{look: &Look{NotBefore: time.Now().Add(2 * time.Hour)}}
	a, b, c := &job{}, &job{look: &Look{}}, &job{}
	left, batch, wait := ripe([]*job{younger, a, young, b, c}, nil, 2)
	if fmt.Sprint(left) != fmt.Sprint([]*job{younger, young, c}) || fmt.Sprint(batch) != fmt.Sprint([]*job{a, b}) {
		t.Error(left, batch)
	}
	if wait <= 0 || wait > time.Hour {
		t.Error(wait)
	}
}

// A job that may wait goes with one that is waited for, not with a relaxed one alone; when its time is over, or several wait, it needs nobody.
func TestCompany(t *testing.T) {
	now := time.Now()
	waits := func() *job { return &job{until: now.Add(time.Hour)} }
	for _, c := range []struct {
		name    string
		pending []*job
		run     int
	}{
		{"alone", []*job{waits()}, 0},
		{"with another that waits", []*job{waits(), waits()}, 0},
		{"with a relaxed one", []*job{waits(), {relaxed: true}}, 1},
		{"with one that must be on disk", []*job{waits(), {}, waits()}, 3},
		{"enough of them", []*job{waits(), waits(), waits(), waits()}, 4},
		{"its time is over", []*job{{until: now.Add(-time.Second)}}, 1},
		{"its time is over, and it takes others along", []*job{waits(), {until: now.Add(-time.Second)}}, 2},
		{"no room", []*job{waits(), {}, {}, {}, {}, {}, {}, {}, {}}, 8},
	} {
		left, batch, wait := ripe(append([]*job(nil), c.pending...), nil, 8)
		if len(batch) != c.run || len(left) != len(c.pending)-c.run {
			t.Errorf("%s: %d run and %d are left, want %d of %d", c.name, len(batch), len(left), c.run, len(c.pending))
		}
		if idle := len(batch) == 0; idle && (wait <= 0 || wait > time.Hour) {
			t.Errorf("%s: the writer would wait for %v", c.name, wait)
		}
	}
}
