package imap

import (
	"math"
	"slices"
	"testing"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/storage"
)

// Ranges come out ascending, apart from one another and within what there is, whatever the client wrote.
func TestMergeUIDs(t *testing.T) {
	r := func(n ...uint32) (s goimap.SeqSet) {
		for i := 0; i < len(n); i += 2 {
			s = append(s, goimap.SeqRange{Start: n[i], Stop: n[i+1]})
		}
		return s
	}
	for _, c := range []struct {
		in      goimap.SeqSet
		largest uint32
		want    []storage.UIDRange
	}{
		{r(1, 0), 9, []storage.UIDRange{{First: 1, Last: 9}}},
		{r(0, 1), 9, []storage.UIDRange{{First: 1, Last: 9}}},
		{r(0, 0), 9, []storage.UIDRange{{First: 9, Last: 9}}},
		{r(12, 0), 9, []storage.UIDRange{{First: 9, Last: 9}}}, // RFC 9051 section 9, seq-range: "*" is the smaller end
		{r(1, math.MaxUint32), 9, []storage.UIDRange{{First: 1, Last: 9}}},
		{r(12, 14), 9, nil},
		{r(7, 5, 1, 2, 3, 3, 6, 8), 9, []storage.UIDRange{{First: 1, Last: 3}, {First: 5, Last: 8}}},
		{r(1, 0, 3, 4), 0, nil},
		{nil, 9, nil},
	} {
		if got := mergeUIDs(c.in, c.largest); !slices.Equal(got, c.want) {
			t.Errorf("%v up to %d: %v, want %v", c.in, c.largest, got, c.want)
		}
	}
}

// cutFront and cutRange keep what is asked for and nothing else.
func TestCutSpans(t *testing.T) {
	spans := func() []span { return []span{{0, 3}, {5, 6}, {8, 12}} }
	all := []int{0, 1, 2, 5, 8, 9, 10, 11}
	for n := range len(all) + 2 {
		got := slices.Collect(each(cutFront(spans(), n)))
		if want := all[min(n, len(all)):]; !slices.Equal(got, want) {
			t.Errorf("without the first %d: %v", n, got)
		}
	}
	odd := slices.Collect(each(filter(spans(), func(i int) bool { return i != 1 && i != 9 })))
	if !slices.Equal(odd, []int{0, 2, 5, 8, 10, 11}) {
		t.Error(odd)
	}
}
