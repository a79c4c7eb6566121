package imap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// writtenOut is the indexes of spans.
func writtenOut(spans []span) (list []int) {
	for i := range each(spans) {
		list = append(list, i)
	}
	return list
}

func randomSpans(r *rand.Rand) (spans []span) {
	for at := r.IntN(4); at < 60; at += 1 + r.IntN(9) {
		s := span{at, at + 1 + r.IntN(9)}
		spans = append(spans, s)
		at = s.end
	}
	return spans
}

func TestIntersect(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a, b := randomSpans(r), randomSpans(r)
		in := writtenOut(b)
		want := slices.DeleteFunc(writtenOut(a), func(i int) bool { return !slices.Contains(in, i) })
		if got := writtenOut(intersect(a, b)); !slices.Equal(got, want) {
			t.Fatalf("%v and %v: %v; want %v", a, b, got, want)
		}
	}
}

func TestNextSpan(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		spans, last, n := randomSpans(r), r.IntN(2) == 1, 1+r.IntN(7)
		want := writtenOut(spans)
		var got []int
		for {
			var part span
			if part, spans = nextSpan(spans, n, last); part.first == part.end {
				break
			}
			if part.end-part.first > n {
				t.Fatal(part)
			}
			all := writtenOut([]span{part})
			if last {
				slices.Reverse(all)
			}
			got = append(got, all...)
		}
		if last {
			slices.Reverse(got)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v; want %v", got, want)
		}
	}
}

// What lies within a limit.
func TestLimitCut(t *testing.T) {
	found := []int{1, 2, 3, 4, 5}
	for _, c := range []struct {
		l    limit
		want string
	}{{limit{}, "[1 2 3 4 5]"}, {limit{2, false}, "[1 2]"}, {limit{2, true}, "[4 5]"}, {limit{9, true}, "[1 2 3 4 5]"}} {
		if got := fmt.Sprint(c.l.cut(found)); got != c.want {
			t.Errorf("%v: %s; want %s", c.l, got, c.want)
		}
	}
}
