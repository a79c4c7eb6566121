package imap

import (
	"fmt"
	"strconv"
	"strings"
)

// Prefixes of object identifiers (RFC 8474 section 7), so that one kind is never taken for another.
const (
	emailPrefix   = 'E' // EMAILID: the blob, which copies share
	mailboxPrefix = 'F' // MAILBOXID
	threadPrefix  = 'T' // THREADID
)

// appendObjectID appends the object identifier of an id.
func appendObjectID(b []byte, prefix byte, id int64) []byte {
	return strconv.AppendInt(append(b, prefix), id, 10)
}

// parseObjectID is the id of an object identifier; false for one that we never gave.
func parseObjectID(s string, prefix byte) (int64, bool) {
	if len(s) < 2 || s[0] != prefix || s[1] < '1' || s[1] > '9' {
		return 0, false
	}
	id, err := strconv.ParseInt(s[1:], 10, 64)
	return id, err == nil
}

// appendThreadID appends the THREADID of a storage.KeysRow.
func appendThreadID(b []byte, thread uint64) []byte {
	return fmt.Appendf(b, "%c%016x", threadPrefix, thread)
}

// parseThreadID is the thread of a THREADID; 0, which is nobody's, for one that we never gave.
func parseThreadID(s string) uint64 {
	if len(s) != 17 || s[0] != threadPrefix || strings.ToLower(s[1:]) != s[1:] {
		return 0
	}
	n, _ := strconv.ParseUint(s[1:], 16, 64)
	return n
}

// mailboxObjectID is (objectid) of a mailbox.
func mailboxObjectID(id int64) string {
	return string(append(appendObjectID([]byte{'('}, mailboxPrefix, id), ')'))
}
