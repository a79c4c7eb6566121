package main

import (
	"context"
	"runtime"
	"runtime/metrics"
	"time"
)

// trimEvery is how often the house looks whether its stacks are worth a garbage collection.
const trimEvery = 10 * time.Second

// stackNeed is what the stacks of a quiet house may take: some for itself, and for each goroutine that waits a few KiB.
const (
	stackBase = 4 << 20
	stackEach = 5 << 10
)

// trimmer decides when to collect for the sake of the stacks. The stack of a session grows to 32 KiB and more while it logs in
// and opens a mailbox; afterwards, when it waits, it needs a tenth of it. Only a garbage collection halves a stack, and a house in which thousands of
// sessions merely wait allocates so little that it has one every two minutes.
type trimmer struct {
	cycles uint64 // collections seen at the last look
	asked  bool   // the last look asked for one
	before uint64 // and what the stacks took then
	floor  uint64 // what the stacks take although they were collected; 0: not known
}

// due tells whether a collection is due: the stacks take more than waiting goroutines need, none happened since the last look,
// and the last one that was asked for did help.
func (t *trimmer) due(stacks, goroutines, cycles uint64) bool {
	idle := cycles == t.cycles
	if t.asked {
		idle = true // the one that was asked for
		if stacks > t.before-t.before/8 {
			t.floor = stacks
		}
	}
	t.cycles, t.asked = cycles, false
	if stacks < t.floor/2 {
		t.floor = 0
	}
	if !idle || stacks < stackBase+goroutines*stackEach || t.floor > 0 && stacks < t.floor+t.floor/4 {
		return false
	}
	t.asked, t.before, t.floor = true, stacks, 0
	return true
}

// trimStacks collects garbage while that gives back stacks that are too large; it returns when ctx ends.
func trimStacks(ctx context.Context) error {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/sched/goroutines:goroutines"}, {Name: "/gc/cycles/total:gc-cycles"}}
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	var t trimmer
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(samples)
		if t.due(samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()) {
			runtime.GC()
		}
	}
}
