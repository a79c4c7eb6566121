package imap_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
)

// The defects that were found in another server's engine, each as a test of this one.

// line is a connection that is talked to line by line.
type line struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, h *house) *line {
	t.Helper()
	c, err := sessiontest.TCP(h.plain)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	l := &line{t, c, bufio.NewReaderSize(c, 64<<10)}
	l.until("* OK ")
	return l
}

func dialTLS(t testing.TB, h *house) *line {
	t.Helper()
	_, config := sessiontest.TLS(t)
	c, err := tls.Dial("tcp", h.tls, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l := &line{t, c, bufio.NewReaderSize(c, 4<<10)}
	l.until("* OK ")
	return l
}

func (l *line) say(format string, args ...any) {
	l.t.Helper()
	if _, err := fmt.Fprintf(l.Conn, format+"\r\n", args...); err != nil {
		l.t.Fatal(err)
	}
}

// until reads lines up to one that begins with prefix and returns it.
func (l *line) until(prefix string) string {
	l.t.Helper()
	for {
		s, err := l.r.ReadString('\n')
		if err != nil {
			l.t.Fatalf("waiting for %q: %v after %q", prefix, err, s)
		}
		if strings.HasPrefix(s, prefix) {
			return strings.TrimSuffix(s, "\r\n")
		}
	}
}

// do runs a command and returns its tagged response.
func (l *line) do(format string, args ...any) string {
	l.t.Helper()
	l.say("t "+format, args...)
	return l.until("t ")
}

func login(t testing.TB, h *house) *line {
	t.Helper()
	l := dial(t, h)
	if s := l.do("LOGIN ann@example.test secret"); !strings.HasPrefix(s, "t OK") {
		t.Fatal(s)
	}
	return l
}

func small(t testing.TB) *house {
	return open(t, imap.Options{MaxAppend: 1 << 20}, auth.PlaintextLoopback)
}

// The bytes of a rejected literal are never commands (RFC 7888 section 4).
func TestRejectedLiteralIsNoCommand(t *testing.T) {
	h := small(t)
	for _, size := range []int{1<<20 + 100, 4 << 20} {
		for _, command := range []string{"APPEND INBOX {%d+}", "LOGIN {%d+}", "SELECT {%d+}", "FOO {%d+}", "APPEND Nowhere (\\Seen) ~{%d+}"} {
			l := login(t, h)
			go func() { // the server may close before it has read all
				_, _ = fmt.Fprintf(l.Conn, "a "+command+"\r\n", size)
				evil := strings.Repeat("x CREATE evil\r\n", size/15+1)[:size-2] + "\r\n"
				_, _ = io.WriteString(l.Conn, evil+"\r\nb NOOP\r\nc LOGOUT\r\n")
			}()
			b, _ := io.ReadAll(l.r)
			if s := string(b); strings.Contains(s, "\r\nx ") || !strings.Contains(s, "a NO") && !strings.Contains(s, "a BAD") && !strings.Contains(s, "BYE") {
				t.Errorf("%s of %d: %.200q", command, size, s)
			}
			l.Close()
		}
	}
	if s := login(t, h).do("STATUS evil (MESSAGES)"); !strings.HasPrefix(s, "t NO [NONEXISTENT]") {
		t.Error("a mailbox was made by a literal's bytes:", s)
	}
}

func TestRejectedLoginLiteral(t *testing.T) {
	l := dial(t, small(t))
	l.say("a LOGIN {5000}")
	if s := l.until("a "); !strings.HasPrefix(s, "a BAD [TOOBIG]") {
		t.Error(s)
	}
	if s := l.do("LOGIN {4294967295}"); !strings.HasPrefix(s, "t BAD [TOOBIG]") {
		t.Error(s)
	}
	if s := l.do("LOGIN ann@example.test secret"); !strings.HasPrefix(s, "t OK") {
		t.Error(s)
	}
}

// Input that was made to cost much costs little.
func TestCostlyInput(t *testing.T) {
	h := small(t)
	h.many(t, "ann", "INBOX", "3")
	l := login(t, h)
	l.do("SELECT INBOX")
	start := time.Now()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for command, want := range map[string]string{
		"FETCH " + strings.Repeat("(", 60000):                          "t BAD",
		"SEARCH " + strings.Repeat("(", 60000):                         "t BAD [LIMIT]",
		"SEARCH " + strings.Repeat("NOT ", 12000) + "ALL":              "t BAD [LIMIT]",
		"FETCH " + strings.Repeat("(", 200000):                         "t BAD",
		"UID FETCH 1:4294967295 FLAGS":                                 "t OK",
		"UID FETCH 4294967295:1,1:*,*:5,4294967294:4294967295 UID":     "t OK",
		"UID FETCH " + strings.Repeat("1:4294967295,", 4900) + "1 UID": "t OK",
		"UID SEARCH UID 1:4294967295":                                  "t OK",
		"FETCH 1:4294967295 FLAGS":                                     "t BAD",
		"UID STORE 1:4294967295 +FLAGS.SILENT (\\Seen)":                "t OK",
		"UID COPY 2:4294967294 Archive":                                "t OK",
		`LIST "" ` + strings.Repeat("%*", 500):                         "t OK",
		`LIST "" ` + strings.Repeat("%*", 30000):                       "t BAD",
		"FETCH 1 BODY.PEEK[]<9223372036854775806.9223372036854775806>": "t OK",
		"FETCH 1 BODY.PEEK[]<5000000000.10>":                           "t OK",
		"FETCH 1 BODY.PEEK[]<99999999999999999999.10>":                 "t BAD",
		"SEARCH RETURN (ALL) FROM nobody":                              "t OK",
		"SEARCH " + strings.Repeat("NOT BODY x ", 257) + "ALL":         "t BAD [LIMIT]",
		"SEARCH " + strings.Repeat("OR BODY x TEXT y ", 128) + "ALL":   "t OK",
		"UID SEARCH SUBJECT {70000}":                                   "t BAD [TOOBIG]",
		"STORE 1 +FLAGS (" + strings.Repeat("k", 60000) + ")":          "t NO [LIMIT]",
		strings.Repeat("x", 200000):                                    "t BAD [TOOBIG]",
	} {
		if s := l.do("%s", command); !strings.HasPrefix(s, want) {
			t.Errorf("%.60s: %.200s; want %s", command, s, want)
		}
	}
	runtime.ReadMemStats(&after)
	if d := time.Since(start); d > time.Minute { // where it is milliseconds
		t.Errorf("took %v", d)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("allocated %d MB", n>>20)
	}
	if s := l.do("NOOP"); s != "t OK NOOP completed" {
		t.Error(s)
	}
}

// A literal may stand wherever a string may; one that is refused is drained, and what follows is the next command.
func TestLiteralEverywhere(t *testing.T) {
	h := small(t)
	h.many(t, "ann", "INBOX", "2")
	l := login(t, h)
	l.do("SELECT INBOX")
	lit := func(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }
	long := strings.Repeat("x CREATE evil\r\n", 5000)
	for _, c := range []struct{ format, value string }{
		{"SELECT %s", "INBOX"}, {"EXAMINE %s", "INBOX"}, {"CREATE %s", "lit"}, {"RENAME %s lit2", "lit"}, {"RENAME lit2 %s", "lit3"}, {"DELETE %s", "lit3"},
		{"SUBSCRIBE %s", "INBOX"}, {"UNSUBSCRIBE %s", "INBOX"}, {"STATUS %s (MESSAGES)", "INBOX"}, {`LIST "" %s`, "*"}, {"LIST %s *", ""}, {`LSUB "" %s`, "*"},
		{"GETQUOTAROOT %s", "INBOX"}, {"COPY 1 %s", "Archive"}, {"UID COPY 1 %s", "Archive"}, {"SEARCH SUBJECT %s", "number"}, {"SEARCH HEADER %s number", "Subject"},
		{"SEARCH CHARSET %s ALL", "UTF-8"}, {"FETCH 1 BODY.PEEK[HEADER.FIELDS (%s)]", "Subject"}, {"ID (%s NIL)", "name"}, {`ID ("name" %s)`, "x"}, {"MOVE 1 %s", "Archive"},
	} {
		if s := l.do(c.format, lit(c.value)); !strings.HasPrefix(s, "t OK") {
			t.Errorf("%s: %s", c.format, s)
		}
		for _, bad := range []string{lit(long), lit("a\x00b"), lit("\xff\xfe"), "{4294967295}", "{99999999999999999999}", "{-1}", "{}", "{1", "{5+} ", "~{1+}\r\nx"} {
			if s := l.do(c.format, bad); strings.HasPrefix(s, "t OK") && !strings.Contains(bad, "\xff") {
				t.Errorf("%s with %.20q: %s", c.format, bad, s)
			}
			if s := l.do("NOOP"); s != "t OK NOOP completed" {
				t.Fatalf("after %s with %.20q: %s", c.format, bad, s)
			}
			l.do("SELECT INBOX")
		}
	}
	if s := l.do("STATUS evil (MESSAGES)"); !strings.HasPrefix(s, "t NO [NONEXISTENT]") {
		t.Error(s)
	}
}

// What another engine answered wrongly, with a disconnect or not at all.
func TestAnswered(t *testing.T) {
	h := small(t)
	h.many(t, "ann", "INBOX", "3")
	l := login(t, h)
	if s := l.do("ID NIL"); s != "t OK ID completed" {
		t.Error(s)
	}
	l.do("EXAMINE INBOX")
	for command, want := range map[string]string{
		"APPEND INBOX {5+}\r\nab\r\ncgarbage":  "t BAD",
		"APPEND INBOX {3+}\r\na:b {3+}\r\nc:d": "t OK [APPENDUID", // MULTIAPPEND
		"SEARCH NONSENSE":                      "t BAD",
		"SEARCH MODSEQ":                        "t BAD",
		"SEARCH OLDER x":                       "t BAD",
		"SEARCH EMAILID":                       "t BAD",
		"STORE 1 +FLAGS (\\Deleted)":           "t NO [READ-ONLY]",
		"EXPUNGE":                              "t NO [READ-ONLY]",
		"MOVE 1 Archive":                       "t NO [READ-ONLY]",
		"SEARCH RETURN (ALL) SUBJECT nothing":  "t OK",
		"FETCH 1 BODY.PEEK[]<4294967296.1>":    "t OK",
		"FETCH 1 FLAGS \x00":                   "t BAD",
		"FETCH 1 FL\xffGS":                     "t BAD",
		"\xff\xfe\x00":                         "t BAD",
		"FETCH 1 (FLAGS":                       "t BAD",
		"FETCH 1,, FLAGS":                      "t BAD",
		"FETCH 0 FLAGS":                        "t BAD",
		"UID FETCH 0:5 FLAGS":                  "t BAD",
		"FETCH 99999999999999999999 FLAGS":     "t BAD",
		"LOGIN \"a\\x\" b":                     "t BAD",
	} {
		if s := l.do("%s", command); !strings.HasPrefix(s, want) {
			t.Errorf("%q: %.200s; want %s", command, s, want)
		}
		if s := l.do("NOOP"); s != "t OK NOOP completed" {
			t.Fatalf("after %q: %s", command, s)
		}
	}
	l.say("")
	l.until("* BAD")
	l.say(" x NOOP")
	l.until("* BAD")
	l.say("%s", strings.Repeat("y", 70000))
	l.until("yyy")
	l.do("NOOP")
}

// A line without an end costs a buffer, and ends the connection.
func TestEndlessLine(t *testing.T) {
	h := small(t)
	l := login(t, h)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		chunk := []byte(strings.Repeat("x", 64<<10))
		for range 1000 {
			if _, err := l.Conn.Write(chunk); err != nil {
				return
			}
		}
	}()
	l.until("* BYE")
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("allocated %d KB", n>>10)
	}
}

// A message of 4,000 nested parts, and a small part of a large one, cost little (they were indexed when they came).
func TestCostlyMessages(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	var deep strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	h.put(t, "ann", "INBOX", deep.String())
	h.put(t, "ann", "INBOX", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\n"+strings.Repeat("0123456789\r\n", 1<<20)+"--b--\r\n")
	h.put(t, "ann", "INBOX", "X: "+strings.Repeat("long\r\n ", 1<<18)+"\r\nSubject: s\r\n\r\nbody\r\n")
	l := login(t, h)
	l.do("SELECT INBOX")
	for command, most := range map[string]uint64{
		"FETCH 1 BODYSTRUCTURE":                      4 << 20,
		"FETCH 2 BODY.PEEK[2]<0.1024>":               1 << 20,
		"FETCH 2 BODY.PEEK[2]<10000000.1024>":        1 << 20,
		"FETCH 3 (ENVELOPE BODYSTRUCTURE)":           1 << 20,
		"FETCH 3 BODY.PEEK[HEADER.FIELDS (SUBJECT)]": 8 << 20,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if s := l.do("%s", command); !strings.HasPrefix(s, "t OK") {
			t.Error(command, s)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%s allocated %d KB", command, n>>10)
		}
	}
}

// A client that says nothing, and one that ends in the middle of a command, leave nothing behind.
func TestCutConnections(t *testing.T) {
	h := small(t)
	for _, s := range []string{"", "a", "a LOGIN", "a LOGIN {5+}\r\nab", "a LOGIN ann@example.test secret\r\nb APPEND INBOX {100+}\r\nabc", "a LOGIN ann@example.test secret\r\nb IDLE\r\n"} {
		l := dial(t, h)
		if _, err := io.WriteString(l.Conn, s); err != nil {
			t.Fatal(err)
		}
		if c, ok := l.Conn.(*net.TCPConn); ok {
			_ = c.CloseWrite()
		}
		if _, err := io.ReadAll(l.r); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	if b := h.box(t, "ann", "INBOX"); b.Messages != 0 {
		t.Error("a cut APPEND was stored")
	}
}

// A slow reader of a large body is not cut off by a clock, and gets every byte.
func TestLargeBodyWhole(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	body := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 1<<17)
	text := "Subject: large\r\n\r\n" + body
	h.put(t, "ann", "INBOX", text)
	for _, l := range []*line{dial(t, h), dialTLS(t, h)} {
		l.do("LOGIN ann@example.test secret")
		l.do("SELECT INBOX")
		l.say("t FETCH 1 (BODY.PEEK[] BODY.PEEK[TEXT]<100.70000>)")
		want := fmt.Sprintf("* 1 FETCH (BODY[] {%d}", len(text))
		if s := l.until("* 1"); s != want {
			t.Fatal(s)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(l.r, got); err != nil || string(got) != text {
			t.Fatal("body differs", err)
		}
		l.until(" BODY[TEXT]<100> {70000}")
		got = got[:70000]
		if _, err := io.ReadFull(l.r, got); err != nil || string(got) != body[100:70100] {
			t.Fatal("part differs", err)
		}
		l.until("t OK")
	}
}

// Pipelined commands are answered in order, and their responses leave together.
func TestPipelining(t *testing.T) {
	h := small(t)
	h.many(t, "ann", "INBOX", "2")
	l := login(t, h)
	var b strings.Builder
	b.WriteString("p0 SELECT INBOX\r\n")
	for i := 1; i <= 200; i++ {
		fmt.Fprintf(&b, "p%d UID FETCH 1:* (FLAGS)\r\n", i)
	}
	if _, err := io.WriteString(l.Conn, b.String()); err != nil {
		t.Fatal(err)
	}
	for i := range 201 {
		l.until(fmt.Sprintf("p%d OK", i))
	}
}
