package main

import "testing"

// TestHeapPercent: the heap is never larger than 24 MiB or the double of what lives.
func TestHeapPercent(t *testing.T) {
	for live := uint64(1 << 20); live <= 64<<20; live += 1 << 20 {
		goal := live + live*uint64(heapPercent(live))/100
		if goal > max(24<<20, 2*live) || goal < 2*live {
			t.Errorf("%d MiB live: %d MiB", live>>20, goal>>20)
		}
	}
}
