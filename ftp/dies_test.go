package ftp

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"
)

// TestDies: of clients that die at the end of what they sent, their control connection first, nothing is whole. What came before that was noticed is a part.
func TestDies(t *testing.T) {
	h := newHouse(t)
	tree := h.fs.Tree(h.ann)
	for _, sessions := range []int{1, 16} {
		var all sync.WaitGroup
		for i := range sessions {
			all.Go(func() {
				for k := range 200 / sessions {
					p := h.login()
					conn := p.open("STOR dies-%d-%d-%d", sessions, i, k)
					io.WriteString(conn, "all of it")
					p.raw.Close()
					conn.Close()
				}
			})
		}
		all.Wait()
		eventually(t, "the sessions end", func() bool { return len(h.reg.List()) == 0 })
		parts := 0
		for i := range sessions {
			for k := range 200 / sessions {
				name := fmt.Sprintf("/dies-%d-%d-%d", sessions, i, k)
				if _, ok := h.get(name); ok {
					t.Error(name, "is whole")
				}
				if n, err := tree.Partial(t.Context(), name); err == nil && n == 9 {
					parts++
				}
			}
		}
		if parts == 0 {
			t.Error("no part was kept")
		}
	}
}

// Who has sent for a while may take longer to die: a busy machine lets time pass between the ends of its two sockets.
func TestDiesSlowly(t *testing.T) {
	h := newHouse(t)
	tree := h.fs.Tree(h.ann)
	const tries = 20
	var all sync.WaitGroup
	for i := range tries {
		all.Go(func() {
			p := h.login()
			conn := p.open("STOR slowly-%d", i)
			io.WriteString(conn, "half of it")
			time.Sleep(100 * time.Millisecond)
			conn.Close()
			time.Sleep(3 * time.Millisecond)
			p.raw.Close()
		})
	}
	all.Wait()
	eventually(t, "the sessions end", func() bool { return len(h.reg.List()) == 0 })
	parts := 0
	for i := range tries {
		if n, err := tree.Partial(t.Context(), fmt.Sprintf("/slowly-%d", i)); err == nil && n == 10 {
			parts++
		}
	}
	if parts < tries/2 { // none without the longer grace; on a busy machine 3 ms may be 20
		t.Errorf("%d of %d are parts", parts, tries)
	}
}
