package session

import (
	"errors"
	"net/netip"
	"testing"
)

// A session that is its front end's client's counts as the client's, and a limit that this would break leaves it what it was.
func TestBelieve(t *testing.T) {
	r := New(Options{Limits: Limits{PerAddress: 2}})
	a, _ := pair(t, r, ListenerOptions{Protocol: SMTP, LoginTimeout: -1})
	b, _ := pair(t, r, ListenerOptions{Protocol: SMTP, LoginTimeout: -1})
	client := netip.MustParseAddrPort("192.0.2.7:1234")
	front := a.s.Remote()
	if err := errors.Join(a.s.Believe(client), b.s.Believe(client)); err != nil {
		t.Fatal(err)
	}
	if i := a.s.Info(); a.s.Remote() != client || i.Remote != client.String() || i.Front != front.String() || a.s.Origin() != front || a.RemoteAddr().String() != client.String() {
		t.Errorf("%+v, from %v", i, a.s.Origin())
	}
	// The front end's own places are free again.
	c, _ := pair(t, r, ListenerOptions{Protocol: SMTP, LoginTimeout: -1})
	before := c.s.Remote()
	if err := c.s.Believe(client); !errors.Is(err, ErrLimit) || c.s.Remote() != before {
		t.Errorf("a third one: %v, %v", err, c.s.Remote())
	}
	if err := b.s.Believe(netip.AddrPort{}); err != nil || b.s.Info().Remote != "unknown" {
		t.Error(err, b.s.Info().Remote)
	}
	if err := c.s.Believe(client); err != nil {
		t.Error(err)
	}
	for _, x := range []*Conn{a, b, c} {
		x.Close()
	}
	r.mu.Lock()
	left := len(r.count.peer)
	r.mu.Unlock()
	if left != 0 || a.s.Believe(client) == nil {
		t.Errorf("%d addresses are still counted", left)
	}
}
