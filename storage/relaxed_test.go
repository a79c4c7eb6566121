package storage

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// A relaxed upload is there at once and after the next start, beside others that are durable, and only a batch of nothing but relaxed uploads does not wait.
func TestRelaxed(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	texts := map[string]string{"small": "few", "large": strings.Repeat("many ", 100_000)}
	for name, text := range texts {
		u, err := s.NewFile(t.Context(), a.ID, a.Home, name, -1, false)
		if err != nil {
			t.Fatal(err)
		}
		u.Relax()
		if _, err := io.WriteString(u, text); err != nil {
			t.Fatal(err)
		}
		n, err := s.PutFile(t.Context(), a.ID, a.Home, name, u, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, s, n.Blob, text)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{})
	for name, text := range texts {
		n, err := s.Lookup(t.Context(), a.ID, a.Home, name)
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, s, n.Blob, text)
	}
	relaxed := &job{ctx: context.Background(), relaxed: true}
	durable := &job{ctx: context.Background()}
	for _, test := range []struct {
		batch []*job
		want  bool
	}{{[]*job{relaxed}, true}, {[]*job{relaxed, relaxed}, true}, {[]*job{relaxed, durable}, false}, {[]*job{durable}, false}, {nil, false}} {
		if got := relaxes(test.batch); got != test.want {
			t.Errorf("%d jobs: %v", len(test.batch), got)
		}
	}
}
