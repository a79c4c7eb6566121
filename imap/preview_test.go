package imap_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
)

// TestOldMessages: of messages from before previews and keys were kept PREVIEW (LAZY) is NIL, PREVIEW never (RFC 8970 section 4.1), and everything else is as of new
// ones. Once the background has been there LAZY has them too.
func TestOldMessages(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	h.letter(t, "ann", "INBOX", "2026-01-01T00:00:00Z", "Message-ID: <1@x>", "Subject: b", "", "one")
	h.letter(t, "ann", "INBOX", "2026-01-02T00:00:00Z", "References: <1@x>", "Subject: a", "", "two")
	db, err := sql.Open("sqlite", filepath.Join(h.dir, "packetboat.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE mail SET keys = NULL, preview = NULL; UPDATE counter SET value = (SELECT MAX(blob) FROM mail) WHERE name = 'keys'`); err != nil {
		t.Fatal(err)
	}
	script := `
		ann = imap
		ann> a1 LOGIN ann@example.test secret
		ann<< a1 OK *
		ann> a2 SELECT INBOX
		ann<< a2 OK *
		ann> a3 FETCH 1:2 (PREVIEW (LAZY))
		ann< \* 1 FETCH (PREVIEW LAZY1)
		ann< \* 2 FETCH (PREVIEW LAZY2)
		ann< a3 OK *
		ann> a4 FETCH 1:2 (PREVIEW (LAZY) PREVIEW)
		ann< \* 1 FETCH (PREVIEW "one")
		ann< \* 2 FETCH (PREVIEW "two")
		ann< a4 OK *
		ann> a5 FETCH 1:2 (THREADID)
		ann< \* 1 FETCH (THREADID ({thread}))
		ann< \* 2 FETCH (THREADID ($thread))
		ann< a5 OK *
		ann> a6 SORT (SUBJECT) UTF-8 ALL
		ann< \* SORT 2 1
		ann< a6 OK *
		ann> a7 THREAD REFS UTF-8 ALL
		ann< \* THREAD (1 2)
		ann< a7 OK *
		ann> a8 SEARCH SUBJECT b
		ann< \* SEARCH 1
		ann< a8 OK *
		ann> a9 LOGOUT
		ann<< a9 OK *
	`
	play := func(lazy1, lazy2 string) {
		t.Helper()
		sessiontest.Play(t, strings.NewReplacer("LAZY1", lazy1, "LAZY2", lazy2).Replace(script), h.env(t))
	}
	play("NIL", "NIL")
	if err := h.store.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	play(`"one"`, `"two"`)
}
