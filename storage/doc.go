// Package storage is the one account store: accounts, addresses, credentials, the
// tree of folders, mailboxes, messages and files, quota, changes, outbox and
// journal. Its API is transactions: each method that changes something is one,
// durable when it returns (blob before row, row before publish, publish before
// return), and everything that must commit together is in this package.
//
// Writes of many sessions are grouped by one writer into shared transactions and
// fsyncs; readers work on WAL snapshots and never wait for it.
//
// Methods are safe for concurrent use. Errors are found with errors.Is:
// fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, ErrQuota, ErrConflict, ErrLimit, ErrInvalid,
// ErrTemporary; every other error is a fault of ours or the machine's.
package storage
