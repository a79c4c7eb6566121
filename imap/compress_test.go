package imap_test

import (
	"bufio"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
)

// squeezed is a client's end of COMPRESS=DEFLATE, made of compress/flate.
type squeezed struct {
	net.Conn
	w *flate.Writer
	r io.Reader
}

func (s *squeezed) Read(p []byte) (int, error) { return s.r.Read(p) }

func (s *squeezed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.w.Flush()
	}
	return n, err
}

// compress switches l over.
func (l *line) compress() {
	l.t.Helper()
	if s := l.do("COMPRESS DEFLATE"); s != "t OK DEFLATE active" {
		l.t.Fatal(s)
	}
	w, err := flate.NewWriter(l.Conn, 6)
	if err != nil {
		l.t.Fatal(err)
	}
	s := &squeezed{l.Conn, w, flate.NewReader(l.r)}
	l.Conn, l.r = s, bufio.NewReader(s)
}

// COMPRESS (RFC 4978): everything works behind it as before, on a plain connection and over TLS.
func TestCompress(t *testing.T) {
	h := open(t, imap.Options{MaxAppend: 1 << 20, IdleKeepalive: 100 * time.Millisecond}, auth.PlaintextLoopback)
	for _, l := range []*line{dial(t, h), dialTLS(t, h)} {
		for command, want := range map[string]string{"COMPRESS DEFLATE": "t BAD Log in first"} {
			if s := l.do("%s", command); s != want {
				t.Error(s)
			}
		}
		l.do("LOGIN ann@example.test secret")
		for command, want := range map[string]string{"COMPRESS": "t BAD", "COMPRESS LZW": "t BAD Unknown compression", "COMPRESS DEFLATE x": "t BAD"} {
			if s := l.do("%s", command); !strings.HasPrefix(s, want) {
				t.Error(s)
			}
		}
		l.compress()
		if s := l.do("COMPRESS DEFLATE"); !strings.HasPrefix(s, "t BAD [COMPRESSIONACTIVE]") {
			t.Error(s)
		}
		body := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 4000)
		for range 3 {
			if s := l.do("APPEND INBOX {%d+}\r\n%s", len(body), body); !strings.HasPrefix(s, "t OK [APPENDUID") {
				t.Fatal(s)
			}
		}
		l.do("SELECT INBOX")
		l.say("t FETCH 1:* BODY.PEEK[]")
		for i := range 3 {
			l.until(fmt.Sprintf("* %d FETCH", i+1))
			got := make([]byte, len(body))
			if _, err := io.ReadFull(l.r, got); err != nil || string(got) != body {
				t.Fatal("body differs", err)
			}
		}
		l.until("t OK")
		// IDLE: the deadlines that wake it lose nothing
		l.say("t IDLE")
		l.until("+ ")
		l.until("* OK Still here")
		h.many(t, "ann", "INBOX", "1")
		l.until("* 4 EXISTS")
		l.until("* OK Still here")
		l.say("DONE")
		l.until("t OK IDLE")
		l.do("STORE 1:* +FLAGS.SILENT (\\Deleted)")
		l.do("EXPUNGE")
		l.say("t LOGOUT")
		l.until("* BYE")
		l.until("t OK")
		if _, err := l.r.ReadByte(); err == nil {
			t.Error("still open")
		}
	}
}

// What comes behind COMPRESS in clear is discarded, as with STARTTLS: whoever put it there, it is no command.
func TestCompressInjection(t *testing.T) {
	h := small(t)
	l := login(t, h)
	if _, err := io.WriteString(l.Conn, "t COMPRESS DEFLATE\r\nx CREATE evil\r\n"); err != nil {
		t.Fatal(err)
	}
	l.until("t OK")
	w, _ := flate.NewWriter(l.Conn, 6)
	s := &squeezed{l.Conn, w, flate.NewReader(l.r)}
	l.Conn, l.r = s, bufio.NewReader(s)
	if s := l.do("STATUS evil (MESSAGES)"); !strings.HasPrefix(s, "t NO [NONEXISTENT]") {
		t.Error(s)
	}
}

// Garbage instead of DEFLATE ends the connection with a word, and so does a bomb.
func TestCompressHostile(t *testing.T) {
	h := small(t)
	l := login(t, h)
	l.compress()
	raw := l.Conn.(*squeezed).Conn
	if _, err := io.WriteString(raw, "\xff\xff\xff NOOP\r\n"); err != nil {
		t.Fatal(err)
	}
	l.until("* BYE [CLIENTBUG] Compressed data is corrupt")

	l = login(t, h)
	l.compress()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		z := l.Conn.(*squeezed)
		_, _ = io.WriteString(z.w, "t APPEND INBOX {2000000000+}\r\n")
		zeros := make([]byte, 1<<20)
		for range 600 {
			if _, err := z.w.Write(zeros); err != nil {
				return
			}
		}
		_ = z.w.Flush()
	}()
	l.until("* BYE")
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("allocated %d MB", n>>20)
	}

	l = login(t, h)
	l.compress()
	go func() {
		z := l.Conn.(*squeezed)
		_, _ = io.WriteString(z.w, "t NOOP ")
		_, _ = z.w.Write(make([]byte, 100<<20)) // a line without an end
		_ = z.w.Flush()
	}()
	l.until("* BYE")
}

// UNAUTHENTICATE ends the compression of both sides (RFC 8437 section 4.1), and it can begin again.
func TestUnauthenticateCompressed(t *testing.T) {
	h := small(t)
	l := login(t, h)
	plain, r := l.Conn, l.r
	for range 3 {
		l.compress()
		z := l.Conn.(*squeezed)
		fmt.Fprintf(z.w, "t UNAUTHENTICATE\r\n")
		_ = z.w.Close()
		if _, err := io.WriteString(plain, "u LOGIN ann@example.test secret\r\n"); err != nil { // pipelined
			t.Fatal(err)
		}
		l.until("t OK")
		if _, err := io.ReadAll(l.r); err != nil { // the end of the server's stream
			t.Fatal(err)
		}
		l.Conn, l.r = plain, r
		l.until("u OK")
		l.do("SELECT INBOX")
	}
}

// What cannot be without a capability is withheld with it, and NOTIFY has no events of it.
func TestWithheldTogether(t *testing.T) {
	for withheld, gone := range map[string]string{
		"ACL": "RIGHTS= LIST-MYRIGHTS", "CONDSTORE": "QRESYNC", "CONTEXT=SEARCH": "CONTEXT=SORT", "ESORT": "CONTEXT=SORT", "LIST-EXTENDED": "LIST-STATUS LIST-MYRIGHTS LIST-METADATA",
		"METADATA": "LIST-METADATA", "QUOTA": "QUOTASET QUOTA=RES-STORAGE", "SORT": "SORT=DISPLAY ESORT CONTEXT=SORT", "THREAD": "THREAD=REFS",
	} {
		w, err := imap.ParseWithhold("listener imap: " + withheld)
		if err != nil {
			t.Fatal(err)
		}
		h := open(t, imap.Options{Withhold: []imap.Withhold{w}}, auth.PlaintextLoopback)
		l := dial(t, h)
		has := l.do("LOGIN ann@example.test secret")
		for _, name := range append(strings.Fields(gone), withheld) {
			if strings.Contains(has, " "+name) {
				t.Errorf("without %s there is %s", withheld, name)
			}
		}
		switch withheld {
		case "METADATA":
			if s := l.do("NOTIFY SET (personal (MailboxMetadataChange))"); !strings.HasPrefix(s, "t NO [BADEVENT (") || strings.Contains(s, "Metadata") {
				t.Error(s)
			}
		case "QUOTA":
			if s := l.do("SETQUOTA account (STORAGE 1)"); s != "t BAD Unknown command" {
				t.Error(s)
			}
		}
	}
}

// Capabilities are withheld by listener, account and client, with their commands.
func TestWithhold(t *testing.T) {
	var rules []imap.Withhold
	for _, s := range []string{"client iOS: COMPRESS=DEFLATE", "client *Outlook*: IDLE UIDONLY", "listener imaps: UNAUTHENTICATE AUTH=PLAIN", "account joe@*: MOVE LITERAL+", "listener imap client Phone 1.0: LITERAL+ LITERAL-",
		"account ann@example.test client Strict*: UTF8=ACCEPT APPENDLIMIT"} {
		w, err := imap.ParseWithhold(s)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, w)
	}
	h := open(t, imap.Options{MaxAppend: 1 << 20, Withhold: rules}, auth.PlaintextLoopback)
	sessiontest.Play(t, `
		ann = imap
		ann< \* OK [CAPABILITY * LITERAL+ * COMPRESS=DEFLATE * UNAUTHENTICATE *
		ann> a1 ID ("name" "Mail" "os" "ios" "os-version" "19.1")
		ann< \* ID *
		ann< a1 OK [CAPABILITY * UNAUTHENTICATE *
		ann> a2 LOGIN ann@example.test secret
		ann< a2 OK *
		ann> a3 COMPRESS DEFLATE
		ann< a3 BAD Unknown command
		ann> a4 ID ("name" "Microsoft Outlook" "version" "16")
		ann< \* ID *
		ann< a4 OK [CAPABILITY * COMPRESS=DEFLATE *
		ann> a5 IDLE
		ann< a5 BAD Unknown command
		ann> a6 ID ("name" "Strict" "version" "16")
		ann< \* ID *
		ann< a6 OK [CAPABILITY * IDLE *
		ann> a7 ENABLE UTF8=ACCEPT
		ann< \* ENABLED
		ann< a7 OK *
		ann> a8 ID NIL
		ann< \* ID *
		ann< a8 OK [CAPABILITY * UTF8=ACCEPT *
		ann> a9 ID NIL
		ann< \* ID *
		ann< a9 OK ID completed
		joe = imap
		joe< \* OK *
		joe> b1 LOGIN joe@example.test secret
		joe< b1 OK [CAPABILITY * LITERAL- *
		joe> b2 MOVE 1 Archive
		joe< b2 BAD Unknown command
		# LITERAL- (RFC 7888 section 5)
		joe> b3 APPEND INBOX {3+}
		joe> a:b
		joe< b3 OK *
		joe> b5 UNAUTHENTICATE
		joe< b5 OK [CAPABILITY * LITERAL+ *
		tls = imaps
		tls< \* OK *
		tls> c1 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=
		tls< c1 NO *
		tls> c2 LOGIN ann@example.test secret
		tls< c2 OK *
		tls> c3 UNAUTHENTICATE
		tls< c3 BAD Unknown command
	`, h.env(t))
	l := dial(t, h)
	l.do("LOGIN joe@example.test secret")
	for command, want := range map[string]string{"APPEND INBOX {4096+}": "t OK", "APPEND INBOX {4097+}": "t BAD [TOOBIG]", "STATUS {4097+}": "t BAD [TOOBIG]", "SELECT INBOX {4097+}": "t BAD"} {
		n, _ := strconv.Atoi(strings.Trim(command[strings.IndexByte(command, '{'):], "{+}"))
		if s := l.do("%s\r\n%s", command, strings.Repeat("x CREATE evil\r\n", n/15+1)[:n]); !strings.HasPrefix(s, want) {
			t.Error(command, s)
		}
	}
	l = dial(t, h)
	l.say(`t ID ("name" "phone" "version" "1.0")`)
	if s := l.until("t OK"); strings.Contains(s, "LITERAL") {
		t.Error(s)
	}
	for _, bad := range []string{"", "IDLE", "client Outlook", "client: IDLE", ": IDLE", "client x:", "who x: IDLE", "client listener: IDLE", "x client y: IDLE"} {
		if w, err := imap.ParseWithhold(bad); err == nil {
			t.Errorf("%q is %+v", bad, w)
		}
	}
}
