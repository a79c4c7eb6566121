package imap_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

const manyMessages = 10000

// filled is a house whose ann has 10,000 messages of 4 KiB in INBOX.
func filled(b *testing.B) *house {
	h := open(b, imap.Options{}, auth.PlaintextLoopback)
	body := strings.Repeat("The quick brown fox jumps over the lazy dog, again and again and again.\r\n", 50)
	inbox := storage.Target{Account: h.accounts["ann"].ID, Mailbox: h.box(b, "ann", "INBOX").ID}
	work := make(chan int)
	done := make(chan error, 16)
	for range 16 {
		go func() {
			var failed error
			for i := range work {
				u, err := h.store.NewMail(b.Context(), 0, -1)
				if err == nil {
					_, err = fmt.Fprintf(u, "From: \"Joe %d\" <joe%d@example.test>\r\nTo: ann@example.test\r\nCc: list@example.test\r\nSubject: message number %d\r\n"+
						"Date: Mon, 2 Feb 2026 23:30:00 -0500\r\nMessage-ID: <%d@example.test>\r\nReferences: <%d@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n%s", i, i, i, i, i/2, body)
				}
				if err == nil {
					_, err = h.store.Deliver(b.Context(), u, []storage.Target{inbox})
				}
				if err != nil {
					failed = err
				}
			}
			done <- failed
		}()
	}
	for i := range manyMessages {
		work <- i
	}
	close(work)
	for range 16 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	return h
}

// BenchmarkFetch answers one FETCH of 10,000 messages an iteration. It needs a second or more to fill the mailbox.
func BenchmarkFetch(b *testing.B) {
	h := filled(b)
	for _, c := range []struct{ name, items string }{
		{"flags", "(UID FLAGS)"},
		{"envelope", "(UID ENVELOPE BODYSTRUCTURE)"},
		{"headers", "(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To Received)])"},
		{"bodies", "(UID BODY.PEEK[])"},
	} {
		for _, over := range []string{"plain", "tls"} {
			b.Run(c.name+"/"+over, func(b *testing.B) {
				l := dial(b, h)
				if over == "tls" {
					l = dialTLS(b, h)
				}
				l.do("LOGIN ann@example.test secret")
				l.do("SELECT INBOX")
				b.ReportAllocs()
				for b.Loop() {
					l.say("t UID FETCH 1:* %s", c.items)
					n := drain(b, l.r)
					b.SetBytes(n)
				}
				b.ReportMetric(manyMessages*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}

// drain reads to the tagged response.
func drain(b *testing.B, r *bufio.Reader) (n int64) {
	for {
		s, err := r.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		n += int64(len(s))
		if bytes.HasPrefix(s, []byte("t OK")) {
			return n
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	h := filled(b)
	l := login(b, h)
	l.do("SELECT INBOX")
	for _, keys := range []string{"UNSEEN", "SUBJECT nothing", "TEXT nothing"} {
		b.Run(strings.Fields(keys)[0], func(b *testing.B) {
			for b.Loop() {
				if s := l.do("UID SEARCH %s", keys); !strings.HasPrefix(s, "t OK") {
					b.Fatal(s)
				}
			}
		})
	}
}

func BenchmarkSelect(b *testing.B) {
	h := filled(b)
	l := login(b, h)
	for b.Loop() {
		l.do("SELECT INBOX")
	}
}

// resident is the process's memory in bytes, garbage given back.
func resident() int64 {
	for range 4 { // a stack is halved at most once in each
		debug.FreeOSMemory()
	}
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	return n * int64(os.Getpagesize())
}

func BenchmarkStore(b *testing.B) {
	h := filled(b)
	l := login(b, h)
	l.do("SELECT INBOX")
	for i := 0; b.Loop(); i++ {
		if s := l.do("UID STORE 1:* %sFLAGS.SILENT (\\Flagged)", []string{"+", "-"}[i&1]); !strings.HasPrefix(s, "t OK") {
			b.Fatal(s)
		}
	}
}
