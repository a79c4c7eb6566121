//go:build e2e

package main

import (
	"strings"
	"testing"
	"time"
)

// Each limit on sessions turns away with a line that names it, and spares the others.
func TestEndToEndLimits(t *testing.T) {
	for _, c := range []struct {
		set, want string
	}{
		{"limits.per_address=2", "limits.per_address"},
		{"limits.total=2", "limits.total"},
		{"limits.imap=2", "limits.imap"},
	} {
		t.Run(c.set, func(t *testing.T) {
			b := launch(t, "--set", c.set)
			var open []*line
			for range 2 {
				l := b.dial(143)
				if out, err := l.until("", "* OK"); err != nil {
					t.Fatalf("%v %s", err, out)
				}
				open = append(open, l)
			}
			out, err := b.dial(143).until("", "* BYE")
			if err != nil || !strings.Contains(out, c.want) {
				t.Errorf("%v %q, want a BYE that names %s", err, out, c.want)
			}
			open[0].Close()
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				if out, err := b.dial(143).until("", "* OK", "* BYE"); err == nil && strings.HasPrefix(out, "* OK") {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("a place that became free is not given")
				}
			}
		})
	}
	t.Run("limits.per_account", func(t *testing.T) {
		b := launch(t, "--set", "limits.per_account=2")
		login := func(standard int) string {
			l := b.dialTLS(standard)
			l.until("", "* OK")
			out, _ := l.until(`a LOGIN ann@example.test "`+annPassword+`"`, "a ")
			return out
		}
		for range 2 {
			if out := login(993); !strings.Contains(out, "a OK") {
				t.Fatal(out)
			}
		}
		if out := login(993); !strings.Contains(out, "a NO") || !strings.Contains(out, "limits.per_account") {
			t.Errorf("the third session got %q", out)
		}
		if _, err := b.ftp(); err == nil {
			t.Error("the third session of the account came in by FTP")
		}
	})
	t.Run("limits.max_duration", func(t *testing.T) {
		b := launch(t, "--set", "limits.max_duration=1s")
		l := b.dial(143)
		l.until("", "* OK")
		if out, err := l.until("", "* BYE"); err != nil {
			t.Errorf("no BYE: %v %q", err, out)
		}
	})
}
