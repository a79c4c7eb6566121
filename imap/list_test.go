package imap_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
)

// manyNames gives ann 10,000 mailboxes.
func manyNames(t testing.TB, h *house, long string) {
	t.Helper()
	var wg sync.WaitGroup
	for g := range 100 {
		wg.Go(func() {
			for n := range 98 {
				if _, err := h.store.CreateMailbox(t.Context(), h.accounts["ann"].ID, fmt.Sprintf("group%d/%s%d", g, long, n), ""); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkList(b *testing.B) {
	h := open(b, imap.Options{}, auth.PlaintextLoopback)
	manyNames(b, h, "mailbox")
	ann := h.talker(b, "ann")
	for _, row := range []struct{ name, command string }{
		{"all", `LIST "" *`},
		{"top", `LIST "" %`},
		{"one", `LIST "" INBOX`},
		{"hostile", `LIST "" "` + strings.Repeat("%*", 400) + `x"`},
		{"letters", `LIST "" "` + strings.Repeat("%a", 30) + strings.Repeat("*o", 100) + `"`},
		{"subscribed", `LIST (SUBSCRIBED RECURSIVEMATCH) "" *`},
		{"status", `LIST "" * RETURN (STATUS (MESSAGES UNSEEN))`},
		{"metadata", `LIST "" * RETURN (METADATA (/shared/comment /private/comment /shared/vendor/x/color))`},
		{"lsub", `LSUB "" *`},
	} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				if s := ann.do(row.command); !strings.Contains(s, "tagged OK") {
					b.Fatal(s[max(0, len(s)-200):])
				}
			}
		})
	}
}
