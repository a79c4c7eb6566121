package imap_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

// BenchmarkAppend stores messages of 4 KiB: one a command from 1 and 16 sessions, and 16 in a command (RFC 3502).
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ sessions, batch int }{{1, 1}, {16, 1}, {1, 16}} {
		b.Run(fmt.Sprintf("%dx%d", c.sessions, c.batch), func(b *testing.B) {
			h := open(b, imap.Options{}, auth.PlaintextLoopback)
			text := "From: joe@example.test\r\nTo: ann@example.test\r\nSubject: hello\r\nMessage-ID: <1@example.test>\r\nContent-Type: text/plain\r\n\r\n" + strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 88)
			command := "t APPEND INBOX" + strings.Repeat(fmt.Sprintf(" (\\Seen) {%d+}\r\n%s", len(text), text), c.batch) + "\r\n"
			lines := make([]*line, c.sessions)
			for i := range lines {
				lines[i] = login(b, h)
				_ = lines[i].SetDeadline(time.Time{})
			}
			work := make(chan struct{})
			done := make(chan error, c.sessions)
			for _, l := range lines {
				go func() {
					var failed error
					for range work {
						if _, err := io.WriteString(l.Conn, command); err != nil {
							failed = err
						}
						if s, err := l.r.ReadString('\n'); !strings.HasPrefix(s, "t OK") {
							failed = fmt.Errorf("%q %w", s, err)
						}
					}
					done <- failed
				}()
			}
			b.ReportAllocs()
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			for range lines {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*c.batch)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// A MULTIAPPEND has a limit, and as many messages as it allows fit, however long that makes the command without its literals (RFC 3502).
func TestManyMessagesInOneAppend(t *testing.T) {
	h := small(t)
	l := login(t, h)
	one := func(i int) string {
		return fmt.Sprintf(" (\\Seen $some-keyword) \"17-Jul-1996 02:44:25 -0700\" {13+}\r\nS: %05d\r\n\r\n.", i)
	}
	var b strings.Builder
	for i := range storage.BatchMessages {
		b.WriteString(one(i))
	}
	l.say("t APPEND INBOX%s", b.String())
	if s := l.until("t "); !strings.HasPrefix(s, "t OK [APPENDUID ") || !strings.HasSuffix(s, fmt.Sprintf(" 1:%d] APPEND completed", storage.BatchMessages)) {
		t.Fatal(s)
	}
	l.say("t APPEND INBOX%s%s%s", b.String(), one(0), one(1))
	if s := l.until("t "); !strings.HasPrefix(s, "t NO [MESSAGELIMIT 2000] ") {
		t.Fatal(s)
	}
	if s := l.do("NOOP"); !strings.HasPrefix(s, "t OK") {
		t.Fatal(s)
	}
	if m := h.box(t, "ann", "INBOX"); m.Messages != storage.BatchMessages || m.UIDNext != storage.BatchMessages+1 {
		t.Fatal(m)
	}
}

// A CATENATE has a limit of parts and of bytes; what comes behind them is skipped (RFC 4469 section 4.2).
func TestManyPartsInOneCatenate(t *testing.T) {
	h := small(t)
	l := login(t, h)
	h.put(t, "ann", "INBOX", "S: x\r\n\r\n"+strings.Repeat("y", 300<<10))
	part := " TEXT {6+}\r\nS: 1\r\n"
	l.say("t APPEND INBOX CATENATE (%s)", strings.Repeat(part, 1000)[1:])
	if s := l.until("t "); !strings.HasPrefix(s, "t OK ") {
		t.Fatal(s)
	}
	l.say("t APPEND INBOX CATENATE (%s)", strings.Repeat(part, 1003)[1:])
	if s := l.until("t "); !strings.HasPrefix(s, "t NO [LIMIT] ") {
		t.Fatal(s)
	}
	for _, n := range []int{3, 4} {
		l.say("t APPEND INBOX CATENATE (%s)", strings.Repeat(" URL /INBOX/;UID=1", n)[1:])
		want := map[int]string{3: "t OK", 4: "t NO [TOOBIG] "}[n]
		if s := l.until("t "); !strings.HasPrefix(s, want) {
			t.Fatal(s)
		}
	}
	if s := l.do("NOOP"); !strings.HasPrefix(s, "t OK") {
		t.Fatal(s)
	}
}

// A message of many megabytes with binary parts comes back as it was, and its APPEND holds little of it in memory.
func TestLargeBinary(t *testing.T) {
	h := open(t, imap.Options{MaxAppend: 20 << 20}, auth.PlaintextLoopback)
	l := login(t, h)
	data := bytes.Repeat([]byte("\x00\xff\r\nabc\n"), 1<<20)
	head := "MIME-Version: 1.0\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	l.say("t APPEND INBOX ~{%d+}\r\n%s%s", len(head)+len(data), head, data)
	if s := l.until("t "); !strings.HasPrefix(s, "t OK") {
		t.Fatal(s)
	}
	l.do("SELECT INBOX")
	l.say("t FETCH 1 BINARY.PEEK[1]")
	if s := l.until("* 1 FETCH"); s != fmt.Sprintf("* 1 FETCH (BINARY[1] ~{%d}", len(data)) {
		t.Fatal(s)
	}
	got := make([]byte, len(data))
	if _, err := io.ReadFull(l.r, got); err != nil || !bytes.Equal(got, data) {
		t.Fatal(err)
	}
	l.until("t OK")
}

// RFC 6855 section 4 is for those who are offered UTF8=ACCEPT: withholding it lets a client move mail in as it is.
func TestAppendWithoutUTF8(t *testing.T) {
	h := open(t, imap.Options{Withhold: []imap.Withhold{{Client: "mover*", Names: []string{"UTF8=ACCEPT"}}}}, auth.PlaintextLoopback)
	sessiontest.Play(t, `
		ann = imap
		ann> a1 LOGIN ann@example.test secret
		ann<< a1 OK *
		ann>- "a2 APPEND INBOX {15+}\r\nS: gr\u00fcn\r\n\r\nabc\r\n"
		ann< a2 NO [CANNOT] *
		ann> a3 ID ("name" "mover")
		ann<< a3 OK *
		ann>- "a4 APPEND INBOX {15+}\r\nS: gr\u00fcn\r\n\r\nabc\r\n"
		ann< a4 OK *
		ann>- "a5 APPEND INBOX UTF8 (~{15+}\r\nS: gr\u00fcn\r\n\r\nabc)\r\n"
		ann< a5 NO [CANNOT] *
	`, h.env(t))
}
