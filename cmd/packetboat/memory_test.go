package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

func TestTrimmer(t *testing.T) {
	const mib = 1 << 20
	type look struct {
		stacks, goroutines, cycles uint64
		due                        bool
	}
	for name, looks := range map[string][]look{
		"small":              {{4 * mib, 100, 0, false}, {4 * mib, 100, 0, false}},
		"needed":             {{50 * mib, 10000, 0, false}},
		"halved until small": {{320 * mib, 10000, 0, true}, {160 * mib, 10000, 1, true}, {80 * mib, 10000, 2, true}, {50 * mib, 10000, 3, false}},
		"busy":               {{320 * mib, 10000, 5, false}, {320 * mib, 10000, 9, false}, {320 * mib, 10000, 9, true}},
		"of no use":          {{320 * mib, 10000, 0, true}, {310 * mib, 10000, 1, false}, {310 * mib, 10000, 1, false}, {330 * mib, 10000, 1, false}},
		"of use again":       {{320 * mib, 10000, 0, true}, {310 * mib, 10000, 1, false}, {400 * mib, 20000, 1, true}},
		"forgets the floor":  {{320 * mib, 10000, 0, true}, {310 * mib, 10000, 1, false}, {20 * mib, 100, 1, true}},
	} {
		var tr trimmer
		for i, l := range looks {
			if got := tr.due(l.stacks, l.goroutines, l.cycles); got != l.due {
				t.Errorf("%s, look %d: %v", name, i, got)
				break
			}
		}
	}
}

// TestTrimHelps: a collection gives back the stacks of goroutines that wait, and the metrics tell it.
func TestTrimHelps(t *testing.T) {
	const waiting = 2000
	up, down := make(chan struct{}), make(chan struct{})
	defer close(down)
	for range waiting {
		go func() {
			deep(200)
			up <- struct{}{}
			<-down
		}()
	}
	for range waiting {
		<-up
	}
	stacks := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := stacks()
	for range 3 {
		runtime.GC()
	}
	if after := stacks(); after > before/2 {
		t.Errorf("%d bytes of stacks became %d", before, after)
	}
}

//go:noinline
func deep(n int) (sum byte) {
	var frame [128]byte
	frame[n%128] = byte(n)
	if n > 0 {
		sum = deep(n - 1)
	}
	return sum + frame[n%128]
}
