package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// collectLess lets a heap in which little lives grow further before it is collected than to the double of that: a house with few sessions that work
// hard otherwise collects its 4 MB thirty to a hundred times a second. From heapLarge on nothing is different. An administrator who has set GOGC
// has decided otherwise.
func collectLess() {
	if os.Getenv("GOGC") != "" {
		return
	}
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	now := 100
	var collected func(int)
	collected = func(int) {
		metrics.Read(samples)
		if p := heapPercent(samples[0].Value.Uint64() + samples[1].Value.Uint64()); p != now {
			now = p
			debug.SetGCPercent(p)
		}
		runtime.AddCleanup(new([16]*byte), collected, 0) // called after the next collection
	}
	collected(0)
}

// Bytes of what lives, stacks among it, from which on the heap may grow less.
const (
	heapSmall = 4 << 20
	heapLarge = 8 << 20
)

// heapPercent is how far, in percent of what lives, the heap may grow before it is collected. It then has 24 MB at most, or the double of what lives.
func heapPercent(live uint64) int {
	switch {
	case live <= heapSmall:
		return 400
	case live <= heapLarge:
		return 200
	}
	return 100
}
