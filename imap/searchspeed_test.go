package imap_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

// crowded is a house whose ann has n short messages in INBOX: one of ten is \Seen, one of a hundred has a keyword.
func crowded(b *testing.B, n int) *house {
	h := open(b, imap.Options{}, auth.PlaintextLoopback)
	inbox := h.box(b, "ann", "INBOX")
	began := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := 0; i < n; {
		batch := h.store.NewBatch()
		for ; i < n && batch.Len() < storage.BatchMessages; i++ {
			u, err := h.store.NewMail(b.Context(), 0, -1)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = fmt.Fprintf(u, "Received: from mx.example.net by mail.example.test with ESMTPS id %x\r\nFrom: \"Joe Grün %d\" <joe%d@example.test>\r\nTo: ann@example.test, list@example.test\r\n"+
				"Subject: Re: message number %d about =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nDate: Mon, 2 Feb 2026 23:30:00 -0500\r\nMessage-ID: <%d@example.test>\r\nReferences: <%d@example.test>\r\n\r\nshort\r\n",
				i*i, i%500, i%500, i, i, i/4)
			to := storage.Target{Account: h.accounts["ann"].ID, Mailbox: inbox.ID, InternalDate: began.Add(time.Duration(i) * time.Hour)}
			if i%10 == 0 {
				to.Flags = storage.Seen
			}
			if i%100 == 0 {
				to.Keywords = []string{"$label1"}
			}
			if err := batch.Add(b.Context(), u, to); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := h.store.DeliverBatch(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	return h
}

// BenchmarkSearchKeys searches 100,000 messages by what needs no body.
func BenchmarkSearchKeys(b *testing.B) {
	const n = 100_000
	h := crowded(b, n)
	l := login(b, h)
	l.do("SELECT INBOX")
	for _, keys := range []string{
		"UNSEEN", "SEEN", "KEYWORD $label1 UNDELETED", "SINCE 1-Jan-2030", "1:50000 OR SEEN (LARGER 100 SMALLER 200)", "YOUNGER 86400", "MODSEQ 1000",
		"SUBJECT nothing", "SUBJECT GRÜSSE", "FROM joe42@", "OR SUBJECT nothing OR FROM nobody TO nobody", "SENTSINCE 1-Jan-2027", "HEADER Message-ID <500@example.test>",
	} {
		for _, r := range []string{"COUNT", "ALL", "MIN", "PARTIAL -1:-50"} {
			if r != "COUNT" && keys != "UNSEEN" && keys != "FROM joe42@" {
				continue
			}
			b.Run(strings.ReplaceAll(r+" "+keys, " ", "_"), func(b *testing.B) {
				for b.Loop() {
					if s := l.do("UID SEARCH RETURN (%s) CHARSET UTF-8 %s", r, strings.ReplaceAll(keys, "GRÜSSE", `"grüße"`)); !strings.HasPrefix(s, "t OK") {
						b.Fatal(s)
					}
				}
				b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}
