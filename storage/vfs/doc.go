// Package vfs shows an account's tree as paths: files as files, mailboxes below
// /Mail as folders, messages as .eml files. One resolver serves every protocol.
//
// Paths are absolute, with "/", UTF-8 in NFC and case-sensitive (INBOX below /Mail in any case). ".." is resolved on the text before
// anything is looked up and stops at "/", so no path leads out of the home.
//
// A message is never rewritten. Removing its name moves it to Trash (in Trash it is expunged), renaming it into another mailbox moves it,
// making a folder below /Mail makes a mailbox, uploading an RFC 5322 file into a mailbox appends it.
//
// # Mounts
//
// A folder of the host can lie in the tree (storage.Mount). Below it everything goes through an os.Root and is as it is with files and folders, but that the host's
// permissions count, modes are enforced, and nothing is counted in the quota. Uploads are hidden files until they are whole, beside
// what they are to become. Not there are hidden files, links that lead out of the folder, what is neither file nor folder, and names that no
// path of the tree can have. Links that stay inside lead where they lead; removed, renamed and replaced they are themselves.
//
// # Rights
//
// What an account may do with which path, and the folder that it sees as "/", are looked at where a path enters a public method (access.go), before anything
// is looked up; what is behind knows nothing of it.
//
// # Names of messages
//
// A message is called "2006-01-02 1504 Subject (7).eml": its internal date in UTC, its subject and its UID, at most 200 bytes, and
// safe on every system. The name is stable as long as the message stays in the mailbox, and unique. A mailbox that has
// the very name of a message (IMAP lets one be made; here such a name is refused) hides it: paths lead to the mailbox, and the listing leaves the message out.
//
// The name under which a message is uploaded is not kept. But a client that uploaded x.eml asks for x.eml right after (SIZE, MDTM, MFMT, MLST),
// or renames x.eml.part to x.eml. So a Tree, which lives as long as the session, remembers the last names under which it took
// messages, at most 64, as aliases: paths of no listing that lead to the message until it is moved or removed.
//
// What is uploaded as a message must begin with a header field and hold no NUL. Bare LF becomes CRLF, so that its size may be
// another than that of the client's file; an mbox separator before the header is left out.
//
// # What can be done where
//
//	               files and folders    mailboxes                 messages
//	Create         replaces atomically  -                         appends; the same bytes over their own name do nothing
//	Mkdir          makes a folder       makes a mailbox           -
//	RemoveFile     removes              -                         moves to Trash; expunges in Trash and below it
//	RemoveDir      only when empty      only when empty, and not  -
//	                                    INBOX or special-use
//	Rename         moves and renames,   within /Mail; not INBOX   into another mailbox; not out of /Mail, as a copy
//	               replaces a file                                outside would be no message any more: download and upload
//	Rename of a    appends it if it is a message, then removes the file: at any moment it is in at least one place
//	file to /Mail
//	SetModified    sets                 refused                   refused but for an alias or the time it has: nothing is set then
//	SetMode        sets (shown only)    refused                   refused but for an alias: nothing is set then
package vfs
