package imap_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
)

// A message whose bytes are lost is told apart from one that was expunged, and the others of the command are answered (RFC 5530 section 3:
// CORRUPTION).
func TestLostBytes(t *testing.T) {
	h := open(t, imap.Options{Recents: imap.NothingRecent()}, auth.PlaintextLoopback)
	h.put(t, "ann", "INBOX", "Subject: large\r\n\r\n"+strings.Repeat("x", 1<<20)+"\r\n")
	h.many(t, "ann", "INBOX", "1")
	err := filepath.WalkDir(filepath.Join(h.dir, "blobs"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			return os.Remove(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sessiontest.Play(t, `
		ann = imap
		ann> a1 LOGIN ann@example.test secret
		ann<< a1 OK *
		ann> a2 SELECT INBOX
		ann<< a2 OK *
		ann> a3 FETCH 1:2 (BODY.PEEK[TEXT])
		ann< \* 2 FETCH (BODY[TEXT] {8}
		ann< body 1
		ann< )
		ann< a3 NO [CORRUPTION] *
		ann> a4 FETCH 1 (BODY.PEEK[])
		ann< a4 NO [CORRUPTION] *
		ann> a5 FETCH 1 (UID ENVELOPE)
		ann< \* 1 FETCH (UID 1 ENVELOPE *
		ann< a5 OK *
	`, h.env(t))
}
