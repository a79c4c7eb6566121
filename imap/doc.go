// Package imap is packetboat's IMAP server: IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC
// 9051) with the extensions that capability.go lists, over the one account store.
//
// A connection is one goroutine that owns everything of its client: reader, encoder, view. While it
// waits it holds no buffers. Nobody else writes to the connection: who commits a
// change marks the sessions that listen and ends their Read by its deadline, and the
// goroutine itself looks at the mailbox's new snapshot and says what changed.
//
// What a client was told of its mailbox is one immutable storage.Snapshot (view.go): sequence
// numbers are indexes in it, and updates are the difference to the newest one. Nothing is queued.
//
// Commands are rows of a table (command.go): name, states, flags, function. Each group has
// its file, of the same name as the grammar in package wire. Errors become response codes in reply.go and nowhere else.
package imap
