package imap_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

// mixed is a house whose ann has n messages in INBOX, of which four of five have 4 KiB, most others 16 KiB, and one of twenty an attachment of 128 KiB.
func mixed(b *testing.B, n int) *house {
	h := open(b, imap.Options{}, auth.PlaintextLoopback)
	inbox := storage.Target{Account: h.accounts["ann"].ID, Mailbox: h.box(b, "ann", "INBOX").ID}
	work := make(chan int)
	done := make(chan error, 8)
	attachment := make([]byte, 90<<10)
	for i := range attachment {
		attachment[i] = byte(rand.Uint32())
	}
	encoded := base64.StdEncoding.EncodeToString(attachment)
	for range 8 {
		go func() {
			var failed error
			for i := range work {
				u, err := h.store.NewMail(b.Context(), 0, -1)
				if err == nil {
					_, err = u.Write([]byte(mixedMail(i, encoded)))
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
	for i := range n {
		work <- i
	}
	close(work)
	for range 8 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	return h
}

// vocabulary is common words, and rarer ones made of syllables.
var vocabulary = func() (w []string) {
	w = strings.Fields(`the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not what all were we when your
can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see
number no way could people my than first water been call who oil its now find long down day did get come made may part again report meeting invoice question answer`)
	r := rand.New(rand.NewPCG(5, 6))
	syllables := strings.Fields("ka ter lo min sor bel ta ni ro vex dal um pri sta con ver ing ed ly tion er al pre mo fa ge hu wi zo qua")
	for range 6000 {
		s := ""
		for range 2 + r.IntN(3) {
			s += syllables[r.IntN(len(syllables))]
		}
		w = append(w, s)
	}
	return w
}()

func mixedText(r *rand.Rand, n int) string {
	var b strings.Builder
	column := 0
	for b.Len() < n {
		w := vocabulary[min(r.IntN(len(vocabulary)), r.IntN(len(vocabulary)), r.IntN(len(vocabulary)))]
		if column += len(w) + 1; column > 72 {
			b.WriteString("\r\n")
			column = len(w)
		} else {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	return b.String()
}

func mixedMail(i int, encoded string) string {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	random := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	head := fmt.Sprintf("Received: from mx%d.example.net (mx.example.net [192.0.2.%d]) by mail.example.test with ESMTPS id %x\r\n\tfor <ann@example.test>; Mon, 2 Feb 2026 23:30:00 -0500\r\n"+
		"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=key; h=from:to:subject:date;\r\n\tbh=%s;\r\n\tb=%s\r\n"+
		"From: \"%s %d\" <joe%d@example.test>\r\nTo: ann@example.test\r\nSubject: %s\r\nDate: Mon, 2 Feb 2026 23:30:00 -0500\r\nMessage-ID: <%x.%d@example.test>\r\nMIME-Version: 1.0\r\n",
		i%7, i%250, r.Uint64(), random(32), random(256), vocabulary[r.IntN(3000)], i%500, i%500, mixedText(r, 40), r.Uint64(), i)
	mark := fmt.Sprintf("\r\nReference zqx%dz in this text.\r\n", i%100)
	switch k := i * 7 % 100; {
	case k < 80:
		return head + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + mark + mixedText(r, 3000)
	case k < 95:
		return head + "Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>" + mark + mixedText(r, 14500) + "</p></body></html>\r\n"
	}
	return head + "Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + mark + mixedText(r, 2000) +
		"\r\n--bb\r\nContent-Type: application/pdf; name=\"report.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded + "\r\n--bb--\r\n"
}

// BenchmarkSearchText builds the text index and searches by it. The first iteration of the build is the figure; size is what lies on disk.
func BenchmarkSearchText(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		if n > 10_000 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := mixed(b, n)
			start, cpu := time.Now(), spent()
			if err := h.store.BuildIndex(b.Context()); err != nil {
				b.Fatal(err)
			}
			took, cpu := time.Since(start), spent()-cpu
			st, err := h.store.TextStats(b.Context())
			if err != nil || st.Indexed != int64(n) || st.Unindexed != 0 {
				b.Fatal(st, err)
			}
			b.Logf("built in %v, %.3f ms of CPU a message; %d segments, %.1f MB for %.1f MB of text", took, cpu.Seconds()*1000/float64(n), st.Segments, float64(st.Bytes)/1e6, float64(st.Text)/1e6)
			l := login(b, h)
			l.do("SELECT INBOX")
			for _, keys := range []string{"TEXT zqx42z", "TEXT the", "TEXT question", "TEXT absentwordxyz", "TEXT kater", `TEXT "the question of nothing"`, "TEXT e", "TEXT th", "BODY the", "SUBJECT question", "FROM joe42@", "NOT TEXT the"} {
				b.Run(strings.ReplaceAll(keys, " ", "_"), func(b *testing.B) {
					cpu := spent()
					for b.Loop() {
						if s := l.do("SEARCH RETURN (COUNT) %s", keys); !strings.HasPrefix(s, "t OK") {
							b.Fatal(s)
						}
					}
					b.ReportMetric(float64((spent()-cpu).Microseconds())/1000/float64(b.N), "cpu-ms/op")
				})
			}
		})
	}
}

// spent is the CPU time of the process, which other processes do not lengthen.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
