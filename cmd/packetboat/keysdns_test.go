package main

import (
	"slices"
	"testing"
)

func TestNameServers(t *testing.T) {
	for v, want := range map[string][]string{
		"":                            nil,
		"127.0.0.1":                   {"127.0.0.1:53"},
		"127.0.0.1:5353, ::1":         {"127.0.0.1:5353", "[::1]:53"},
		"[::1], [2001:db8::1]:54":     {"[::1]:53", "[2001:db8::1]:54"},
		"fe80::1%lo":                  {"[fe80::1%lo]:53"},
		"localhost":                   {"error"},
		"127.0.0.1:0x35":              {"error"},
		"127.0.0.1:53:53, 192.0.2.53": {"error"},
	} {
		var got []string
		if err := nameServersInto(&got, v); err != nil {
			got = []string{"error"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", v, got, want)
		}
	}
}
