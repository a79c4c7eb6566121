package storage

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/packetboat/packetboat/storage/mime"
	"github.com/packetboat/packetboat/storage/textindex"
)

// What gathers for a segment is bounded by its size, not by the number of messages: thirty of much text that never repeats would take a gigabyte.
func TestTextIndexLargeTexts(t *testing.T) {
	l := openLibrary(t, t.TempDir(), Options{})
	defer l.close()
	const messages = 12
	random := rand.New(rand.NewPCG(1, 2))
	for n := range messages {
		text := make([]byte, 0, 1<<20)
		for len(text) < 1<<20-100 {
			for range 70 {
				text = append(text, 'a'+byte(random.IntN(26)))
			}
			text = append(text, "\r\n"...)
		}
		u, err := l.s.NewMail(t.Context(), 0, -1)
		if err == nil {
			_, err = fmt.Fprintf(u, "From: joe@example.test\r\nSubject: number %dy\r\n\r\nthe word%dx %s\r\n", n, n, text)
		}
		if err == nil {
			_, err = l.s.Deliver(context.Background(), u, []Target{l.to})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b := new(textindex.Builder)
	n, last, err := l.s.addTexts(t.Context(), b, new(mime.SearchText), textindex.Range{To: math.MaxInt64})
	if err != nil || n >= messages || n != b.Len() || last == 0 || !b.Full() {
		t.Errorf("%d messages at once, up to %d, full: %v, %v", n, last, b.Full(), err)
	}
	l.build()
	if st := l.stats(); st.Indexed != messages || st.Unindexed != 0 {
		t.Errorf("%+v", st)
	}
	if known := l.check(); known != messages {
		t.Error(known)
	}
}
