package imap_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

// letters is a house whose ann has n messages in INBOX that are shaped like those of a busy account: threads of some messages, 2,000
// senders, subjects of some words of which many are replies, headers of 1 KiB.
func letters(b *testing.B, n int) *house {
	h := open(b, imap.Options{}, auth.PlaintextLoopback)
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the quarterly report of our new project plan for next week meeting notes invoice order shipping update question about release schedule lunch review draft proposal budget team holiday request password reset welcome newsletter sale offer")
	var subjects, references []string
	inbox := storage.Target{Account: h.accounts["ann"].ID, Mailbox: h.box(b, "ann", "INBOX").ID}
	batch := h.store.NewBatch()
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		subject, refs := "", ""
		if k := len(subjects) - 1 - r.IntN(400); k >= 0 && r.IntN(10) < 6 {
			subject, refs = "Re: "+strings.TrimPrefix(subjects[k], "Re: "), references[k]
		} else {
			for range 2 + r.IntN(6) {
				subject += words[r.IntN(len(words))] + " "
			}
			subject += fmt.Sprint(r.IntN(1000))
		}
		id := fmt.Sprintf("<%08x.%d@mail%d.example.test>", r.Uint32(), i, r.IntN(50))
		subjects, references = append(subjects, subject), append(references, refs+" "+id)
		at = at.Add(time.Duration(r.IntN(2000)) * time.Second)
		from := r.IntN(2000)
		u, err := h.store.NewMail(b.Context(), 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(u, "%sFrom: \"Person %d of Example\" <person%d@company%d.example>\r\nTo: Ann Other <ann@example.test>, list%d@example.test\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: %s\r\n",
			strings.Repeat("Received: from mx.example.test (mx.example.test [192.0.2.1]) by mail.example.test with ESMTPS id abcdef; Mon, 23 Nov 2026 00:00:00 +0000\r\n", 4), from, from, from%100, from%20, subject, at.Add(-time.Duration(r.IntN(3000))*time.Second).Format(time.RFC1123Z), id)
		if refs != "" {
			fmt.Fprintf(u, "References:%s\r\n", refs)
		}
		fmt.Fprintf(u, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s", strings.Repeat("Some words of a text that somebody wrote.\r\n", 10))
		inbox.InternalDate = at
		if err := batch.Add(b.Context(), u, inbox); err != nil {
			b.Fatal(err)
		}
		if batch.Len() == storage.BatchMessages || i == n-1 {
			if _, err := h.store.DeliverBatch(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = h.store.NewBatch()
		}
	}
	return h
}

// BenchmarkSort answers SORT and THREAD of 100,000 messages: once from the database, then from memory. It needs half a minute to fill the mailbox.
func BenchmarkSort(b *testing.B) {
	const n = 100_000
	h := letters(b, n)
	l := dial(b, h)
	_ = l.SetDeadline(time.Now().Add(10 * time.Minute))
	l.do("LOGIN ann@example.test secret")
	l.do("SELECT INBOX")
	run := func(command string) (time.Duration, int64) {
		begin := time.Now()
		l.say("t %s", command)
		var size int64
		for whole := true; ; {
			s, err := l.r.ReadSlice('\n')
			if err != nil && err != bufio.ErrBufferFull {
				b.Fatal(err)
			}
			size += int64(len(s))
			if whole && bytes.HasPrefix(s, []byte("t OK")) {
				return time.Since(begin), size
			}
			whole = err == nil
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	first, _ := run("UID SORT (SUBJECT) UTF-8 ALL")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Run("first_UID_SORT_(SUBJECT)_UTF-8_ALL", func(b *testing.B) {
		for b.Loop() { // it was the first only once
		}
		b.ReportMetric(float64(first), "ns/op")
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, "kept-B/message")
	})
	for _, command := range []string{
		"UID SORT (DATE) UTF-8 ALL", "UID SORT (SUBJECT) UTF-8 ALL", "UID SORT (FROM) UTF-8 ALL", "UID SORT (REVERSE ARRIVAL) UTF-8 ALL", "UID SORT (SUBJECT DATE) UTF-8 ALL",
		"UID SORT RETURN (PARTIAL 1:100) (REVERSE DATE) UTF-8 ALL",
		"UID THREAD REFERENCES UTF-8 ALL", "UID THREAD REFS UTF-8 ALL", "UID THREAD ORDEREDSUBJECT UTF-8 ALL", "UID SEARCH SUBJECT nothing",
	} {
		b.Run(strings.ReplaceAll(command, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			var size int64
			for b.Loop() {
				_, size = run(command)
			}
			b.ReportMetric(float64(size), "answer")
		})
	}
}
