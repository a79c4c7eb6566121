package watch_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage/watch"
)

type topic = watch.Topic

func TestTopics(t *testing.T) {
	mail := watch.Change{Account: 1, Mailbox: 10, Kind: watch.Appended}
	file := watch.Change{Account: 1, Node: 5, Kind: watch.NodePut}
	other := watch.Change{Account: 2, Mailbox: 20, Kind: watch.Flagged}
	nobody := watch.Change{Kind: watch.AccountChanged}
	tests := []struct {
		topic topic
		want  []watch.Change
	}{
		{topic{1, 10}, []watch.Change{mail}},
		{topic{1, 0}, []watch.Change{mail, file}},
		{topic{1, 11}, nil},
		{topic{2, 10}, nil},
		{topic{2, 20}, []watch.Change{other}},
		{topic{2, 0}, []watch.Change{other}},
		{topic{0, 20}, []watch.Change{other}},
		{topic{0, 0}, []watch.Change{mail, file, other, nobody}},
	}
	var h watch.Hub
	woken := make([]int, len(tests))
	subs := make([]*watch.Subscription, len(tests))
	for i, tt := range tests {
		subs[i] = h.Subscribe(tt.topic, 10, func() { woken[i]++ })
	}
	h.Publish([]watch.Change{mail, file, other, nobody})
	for i, tt := range tests {
		got, stale := subs[i].Take()
		if fmt.Sprint(got) != fmt.Sprint(tt.want) || stale {
			t.Errorf("%v: got %v, want %v, stale %v", tt.topic, got, tt.want, stale)
		}
		if want := min(len(tt.want), 1); woken[i] != want {
			t.Errorf("%v: woken %d times, want %d", tt.topic, woken[i], want)
		}
		if got, stale := subs[i].Take(); len(got) > 0 || stale {
			t.Errorf("%v: %v taken twice", tt.topic, got)
		}
	}
}

func TestStale(t *testing.T) {
	var h watch.Hub
	for _, keep := range []int{1, 3, 8} {
		for n := range 20 {
			s := h.Subscribe(topic{1, 1}, keep, nil)
			var want []uint64
			for i := range n {
				h.Publish([]watch.Change{{Account: 1, Mailbox: 1, ModSeq: uint64(i)}})
				want = append(want, uint64(i))
			}
			want = want[max(n-keep, 0):]
			changes, stale := s.Take()
			var got []uint64
			for _, c := range changes {
				got = append(got, c.ModSeq)
			}
			if !slices.Equal(got, want) || stale != (n > keep) {
				t.Fatalf("keep %d of %d: got %v, want %v, stale %v", keep, n, got, want, stale)
			}
			s.Close()
		}
	}
}

func TestClose(t *testing.T) {
	var h watch.Hub
	woken := make([]int, 5)
	subs := make([]*watch.Subscription, 5)
	for i := range subs {
		subs[i] = h.Subscribe(topic{1, 1}, 0, func() { woken[i]++ })
	}
	change := []watch.Change{{Account: 1, Mailbox: 1}}
	want := []int{0, 0, 0, 0, 0}
	open := map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true}
	for _, i := range []int{2, 4, 0, 3, 1} { // middle, one end, the other, then to none
		subs[i].Close()
		subs[i].Close()
		delete(open, i)
		h.Publish(change)
		for j := range open {
			want[j]++
		}
		if !slices.Equal(woken, want) {
			t.Fatalf("after closing %d: %v, want %v", i, woken, want)
		}
	}
}

// A wake that breaks the rule and closes its own subscription harms nobody.
func TestWakeCloses(t *testing.T) {
	var h watch.Hub
	var s *watch.Subscription
	n := 0
	s = h.Subscribe(topic{}, 0, func() { n++; s.Close() })
	h.Publish([]watch.Change{{Account: 1}})
	h.Publish([]watch.Change{{Account: 1}})
	if n != 1 {
		t.Fatal(n)
	}
}

// All at once, for the race detector; and no change is lost on the way to one who keeps enough.
func TestParallel(t *testing.T) {
	var h watch.Hub
	const publishers, each = 4, 200
	all := h.Subscribe(topic{}, publishers*each, nil)
	var wakes atomic.Int64
	level := h.Subscribe(topic{Account: 1}, 0, func() { wakes.Add(1) })
	defer level.Close()
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				h.Publish([]watch.Change{{Account: 1, Mailbox: int64(1 + p), ModSeq: uint64(i)}})
			}
		})
		wg.Go(func() {
			for range each {
				s := h.Subscribe(topic{1, int64(1 + p)}, 2, func() {})
				s.Take()
				s.Close()
			}
		})
	}
	wg.Wait()
	got, stale := all.Take()
	if len(got) != publishers*each || stale || wakes.Load() != publishers*each {
		t.Fatalf("%d changes, stale %v, %d wakes", len(got), stale, wakes.Load())
	}
}

// A waiting session costs its Subscription and its place in the map.
func TestMemory(t *testing.T) {
	var h watch.Hub
	const n = 5000
	subs := make([]*watch.Subscription, n)
	wake := func() {}
	before := heap()
	for i := range subs {
		subs[i] = h.Subscribe(topic{int64(i), int64(i)}, 0, wake)
	}
	per := (heap() - before) / n
	t.Logf("%d bytes a subscription", per)
	if per > 512 {
		t.Errorf("%d bytes a subscription", per)
	}
	runtime.KeepAlive(subs)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkPublish(b *testing.B) {
	var h watch.Hub
	for i := range int64(10_000) {
		h.Subscribe(topic{i/10 + 1, i + 1}, 0, func() {})
	}
	changes := []watch.Change{{Account: 500, Mailbox: 4995, UIDs: []uint32{1}}}
	b.ReportAllocs()
	for b.Loop() {
		h.Publish(changes)
	}
}

// With Start the publisher wakes a few itself, and everybody is woken, once for what comes meanwhile; after Stop it is as before.
func TestPace(t *testing.T) {
	var h watch.Hub
	h.Start()
	const n = 1000
	var woken [n]atomic.Int32
	var subs []*watch.Subscription
	for i := range n {
		subs = append(subs, h.Subscribe(topic{1, 1}, 0, func() { woken[i].Add(1) }))
	}
	subs[5].Close()
	count := func() (sum int) {
		for i := range woken {
			sum += int(woken[i].Load())
		}
		return sum
	}
	const publishes = 50
	for range publishes {
		h.Publish([]watch.Change{{Account: 1, Mailbox: 1}})
	}
	if got := count(); got > n*publishes/4 {
		t.Errorf("%d wakes for the publisher alone", got)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		all := true
		for i := range woken {
			all = all && (woken[i].Load() > 0) != (i == 5)
		}
		if all {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("not all were woken")
		}
	}
	h.Publish([]watch.Change{{Account: 1, Mailbox: 1}})
	h.Stop()
	before := count()
	h.Publish([]watch.Change{{Account: 1, Mailbox: 1}})
	if got := count() - before; got != n-1 {
		t.Errorf("%d of %d woken without the goroutine", got, n-1)
	}
	h.Stop()
}

func TestOrigin(t *testing.T) {
	ctx := watch.WithOrigin(t.Context(), "me")
	if watch.Origin(ctx) != "me" || watch.Origin(t.Context()) != nil {
		t.Error("origin is lost or invented")
	}
}
