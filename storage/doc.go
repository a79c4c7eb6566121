// Package storage is the one account store: accounts, addresses, credentials, the
// tree of folders, mailboxes, messages and files, quota, changes, outbox and
// journal. Its API is transactions: each method that changes something is one,
// durable when it returns (blob before row, row before publish, publish before
// return), and everything that must commit together is in this package.
//
// Writes of many sessions are grouped by one writer into shared transactions and
// fsyncs; readers work on WAL snapshots and never wait for it.
//
// Where things are: writer.go has the writer, tx.go what a transaction sees,
// snapshot.go and snapshots.go the pictures of mailboxes that all sessions
// share, upload.go and blobs.go bytes on their way in and out, sweep.go what is
// removed later, schema/ the tables and what a crash leaves in each.
//
// Invariants: a job decides whether it fails before it writes; only the writer
// changes rows, and what it keeps of them in memory a rollback forgets; a
// picture is replaced after the commit and before the answer; a row never
// refers to a file that is not durable.
//
// Methods are safe for concurrent use. Errors are found with errors.Is:
// fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, ErrQuota, ErrConflict, ErrLimit, ErrInvalid,
// ErrTemporary; every other error is a fault of ours or the machine's.
package storage
