package imap_test

import (
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
)

// How many messages one command processes (RFC 9738 section 3.1): the last ones, from the last on, and the client is told where it stopped.
func TestMessageLimit(t *testing.T) {
	h := open(t, imap.Options{Recents: imap.NothingRecent(), MessageLimit: 3}, auth.PlaintextLoopback)
	sessiontest.Play(t, `
		! many ann INBOX 8
		ann = imap
		ann<< \* OK *
		ann> a1 LOGIN ann@example.test secret
		ann<< a1 OK [CAPABILITY * MESSAGELIMIT=3*] *
		ann> a2 SELECT INBOX
		ann<< a2 OK *
		# FETCH, from the snapshot and from rows
		ann> b1 FETCH 1:7 (UID)
		ann< \* 7 FETCH (UID 7)
		ann< \* 6 FETCH (UID 6)
		ann< \* 5 FETCH (UID 5)
		ann< b1 OK [MESSAGELIMIT 3 5] *
		ann> b2 UID FETCH 1:4 (BODY.PEEK[TEXT])
		ann< \* 4 FETCH (UID 4 BODY[TEXT] {8}
		ann< body 4
		ann< )
		ann< \* 3 FETCH (UID 3 BODY[TEXT] {8}
		ann< body 3
		ann< )
		ann< \* 2 FETCH (UID 2 BODY[TEXT] {8}
		ann< body 2
		ann< )
		ann< b2 OK [MESSAGELIMIT 3 2] *
		ann> b3 UID FETCH 1:3 (UID)
		ann< \* 1 FETCH (UID 1)
		ann< \* 2 FETCH (UID 2)
		ann< \* 3 FETCH (UID 3)
		ann< b3 OK UID FETCH completed
		# with PARTIAL what is known to be too much is not begun
		ann> b4 UID FETCH 1:* (UID) (PARTIAL -1:-4)
		ann< b4 NO [MESSAGELIMIT 3] *
		ann> b5 UID FETCH 1:* (UID) (PARTIAL -1:-3)
		ann< \* 6 FETCH (UID 6)
		ann< \* 7 FETCH (UID 7)
		ann< \* 8 FETCH (UID 8)
		ann< b5 OK UID FETCH completed
		# SEARCH: what is looked at counts
		ann> c1 SEARCH ALL
		ann< \* SEARCH 6 7 8
		ann< c1 OK [MESSAGELIMIT 3 6] *
		ann> c2 UID SEARCH UID 2:6 SUBJECT "number"
		ann< \* SEARCH 4 5 6
		ann< c2 OK [MESSAGELIMIT 3 4] *
		ann> c3 SEARCH 1:3 UNSEEN
		ann< \* SEARCH 1 2 3
		ann< c3 OK SEARCH completed
		ann> c4 SEARCH RETURN (MIN COUNT) UID 1:*
		ann< \* ESEARCH (TAG "c4") MIN 6 COUNT 3
		ann< c4 OK [MESSAGELIMIT 3 6] *
		# section 3.4: so is what is saved
		ann> c5 UID SEARCH RETURN (SAVE) UNSEEN
		ann< c5 OK [MESSAGELIMIT 3 6] *
		ann> c6 UID SEARCH RETURN (ALL) $
		ann< \* ESEARCH (TAG "c6") UID ALL 6:8
		ann< c6 OK UID SEARCH completed
		# section 3.2
		ann> d1 UID SEARCH UIDAFTER 6
		ann< \* SEARCH 7 8
		ann< d1 OK UID SEARCH completed
		ann> d2 UID SEARCH UIDBEFORE 3
		ann< \* SEARCH 1 2
		ann< d2 OK UID SEARCH completed
		ann> d3 UID SEARCH OR UIDBEFORE 1 UIDAFTER 4294967295
		ann< \* SEARCH
		ann< d3 OK [MESSAGELIMIT *
		ann> d4 UID SEARCH UIDAFTER 8
		ann< \* SEARCH
		ann< d4 OK UID SEARCH completed
		ann> d5 UID SEARCH UIDAFTER 0
		ann< d5 BAD *
		# STORE
		ann> e1 STORE 1:5 +FLAGS.SILENT (\Deleted)
		ann< e1 OK [MESSAGELIMIT 3 3] *
		ann> e2 UID STORE 1:2 +FLAGS (\Deleted)
		ann< \* 1 FETCH (UID 1 FLAGS (\\Deleted))
		ann< \* 2 FETCH (UID 2 FLAGS (\\Deleted))
		ann< e2 OK UID STORE completed
		# a code that must be in the tagged response has MESSAGELIMIT give way
		ann> e3 UID STORE 1:8 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\Seen)
		ann< \* OK [HIGHESTMODSEQ *
		ann< \* 6 FETCH *
		ann< \* 7 FETCH *
		ann< \* 8 FETCH *
		ann< \* NO [MESSAGELIMIT 3 6] *
		ann< e3 OK [MODIFIED 6:8] *
		# COPY is all or nothing
		ann> f1 COPY 1:4 Archive
		ann< f1 NO [MESSAGELIMIT 3 2] *
		ann> f2 STATUS Archive (MESSAGES)
		ann< \* STATUS Archive (MESSAGES 0)
		ann< f2 OK *
		# MOVE takes the last
		ann> f3 UID MOVE 1:* Archive
		ann< \* OK [COPYUID * 6:8 1:3] *
		ann< \* 8 EXPUNGE
		ann< \* 7 EXPUNGE
		ann< \* 6 EXPUNGE
		ann< \* OK [HIGHESTMODSEQ *
		ann< f3 OK [MESSAGELIMIT 3 6] *
		# UID EXPUNGE counts those with \Deleted
		ann> g1 UID EXPUNGE 1:*
		ann< \* 5 EXPUNGE
		ann< \* 4 EXPUNGE
		ann< \* 3 EXPUNGE
		ann< \* OK [HIGHESTMODSEQ *
		ann< g1 OK [MESSAGELIMIT 3 3] *
		ann> g0 ENABLE QRESYNC
		ann< \* ENABLED QRESYNC
		ann< g0 OK *
		# RFC 7162 section 3.2.9: with QRESYNC the mod-sequence stands in the tagged response
		ann> g2 UID EXPUNGE 1:*
		ann< \* VANISHED 1:2
		ann< g2 OK [HIGHESTMODSEQ *
		# EXPUNGE and CLOSE have no limit
		! many ann INBOX 5
		ann> h1 NOOP
		ann< \* 5 EXISTS
		ann< h1 OK *
		ann> h2 STORE 1:3 +FLAGS.SILENT (\Deleted)
		ann<< h2 OK *
		ann> h3 STORE 4:5 +FLAGS.SILENT (\Deleted)
		ann<< h3 OK *
		ann> h4 EXPUNGE
		ann< \* VANISHED 9:13
		ann< h4 OK [HIGHESTMODSEQ *
		ann> h5 STATUS INBOX (MESSAGES)
		ann< \* STATUS INBOX (MESSAGES 0)
		ann< h5 OK *
	`, h.env(t))
}

// SAVELIMIT (RFC 9738 section 3) bounds COPY alone.
func TestSaveLimit(t *testing.T) {
	h := open(t, imap.Options{Recents: imap.NothingRecent(), MessageLimit: -1, SaveLimit: 2}, auth.PlaintextLoopback)
	sessiontest.Play(t, `
		! many ann INBOX 5
		ann = imap
		ann> a1 LOGIN ann@example.test secret
		ann<< a1 OK [CAPABILITY * SAVELIMIT=2*] *
		ann> a2 SELECT INBOX
		ann<< a2 OK *
		ann> a3 UID COPY 1,4:5 Archive
		ann< a3 NO [MESSAGELIMIT 2 4] *
		ann> a4 UID COPY 4:5 Archive
		ann< a4 OK [COPYUID * 4:5 1:2] *
		ann>- "b1 APPEND Drafts {6+}\r\nA: b\r\n {6+}\r\nA: b\r\n {6+}\r\nA: b\r\n\r\n"
		ann< b1 NO [MESSAGELIMIT 2] *
		ann> b2 STATUS Drafts (MESSAGES)
		ann< \* STATUS Drafts (MESSAGES 0)
		ann< b2 OK *
		ann> a5 UID STORE 1:* +FLAGS.SILENT (\Seen)
		ann< a5 OK UID STORE completed
		ann> a6 UID MOVE 1:* Archive
		ann<< a6 OK [HIGHESTMODSEQ *
	`, h.env(t))
}
