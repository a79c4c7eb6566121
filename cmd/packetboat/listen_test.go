package main

import (
	"slices"
	"testing"
)

// TestPorts: each listener has a port of its own with the base ports that are used, and people can reach the page.
func TestPorts(t *testing.T) {
	for _, base := range []int{0, 10000, 20000} {
		c := &config{BasePort: base}
		var all []int
		for _, l := range listenerTable {
			n := c.port(l)
			if slices.Contains(all, n) || n == browsersRefuse || n < base {
				t.Errorf("base port %d: %s has %d", base, l.name, n)
			}
			all = append(all, n)
		}
	}
	if n := (&config{BasePort: 10000, Ports: map[string]int{"http": browsersRefuse}}).port(listenerSpec{"http", 80}); n != browsersRefuse {
		t.Error("a port that is asked for:", n)
	}
}
