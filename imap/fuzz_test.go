package imap_test

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

// FuzzCommand says anything to a client that has a mailbox selected: the server answers or closes, and nothing breaks in it.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"NOOP", "FETCH 1:* (FLAGS UID BODY.PEEK[HEADER.FIELDS (Subject)]<0.9> BINARY.SIZE[1] ENVELOPE BODYSTRUCTURE)", "UID SEARCH RETURN (MIN MAX COUNT SAVE) CHARSET UTF-8 OR SUBJECT a NOT (SEEN 1:3,$)",
		"STORE 1 +FLAGS.SILENT (\\Seen kw)", "COPY 1:2 Archive", "MOVE $ Archive", `LIST (SUBSCRIBED RECURSIVEMATCH) "" ("%" "*") RETURN (CHILDREN STATUS (MESSAGES SIZE))`, "APPEND INBOX (\\Seen) \"01-Feb-2026 00:00:00 +0000\" {3+}\r\na:b",
		"IDLE\r\nDONE", "IDLE\r\nx FETCH 1 FLAGS", "ENABLE IMAP4rev2 UTF8=ACCEPT CONDSTORE QRESYNC UIDONLY", "SELECT INBOX (QRESYNC (1 2 1:3))", "STATUS INBOX (MESSAGES UIDNEXT)", "CREATE \"a b\" (USE (\\Sent))", "RENAME a b", "UNAUTHENTICATE", "COMPRESS DEFLATE\r\n\x03\x00",
		"ID (\"name\" \"x\")", "EXPUNGE", "UID EXPUNGE 1:2", "GETQUOTAROOT INBOX", "SORT (REVERSE DATE) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "ESEARCH IN (personal) ALL", "NOTIFY SET STATUS (selected (MessageNew (UID) MessageExpunge)) (subtree Archive (MessageNew MessageExpunge))", "GETACL INBOX",
		"REPLACE 1 INBOX {3+}\r\na:b", "CATENATE", "AUTHENTICATE PLAIN =", "LOGOUT", "{5+}\r\nabcde", "FETCH {1+}\r\n1 FLAGS", "\x00", "((((", "UID", "FETCH 1 (BODY[1.2.3.TEXT] BODY[HEADER.FIELDS.NOT (a {1+}\r\nb)])",
	} {
		f.Add(s)
	}
	h := small(f)
	h.many(f, "ann", "INBOX", "3")
	dialer := sessiontest.TCP(h.plain)
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4<<10 {
			return
		}
		c, err := dialer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "a LOGIN ann@example.test secret\r\nb SELECT INBOX\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(l, "b OK") {
				break
			}
		}
		if _, err := io.WriteString(c, "c "+s+"\r\nDONE\r\nd LOGOUT\r\n"); err != nil {
			return // it was closed
		}
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		answer, err := io.ReadAll(io.LimitReader(r, 8<<20))
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("%q: %v after %.300q", s, err, answer)
		}
		if strings.Contains(string(answer), "SERVERBUG") {
			t.Fatalf("%q: %.300q", s, answer)
		}
	})
}
