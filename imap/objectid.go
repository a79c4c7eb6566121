package imap

import "strconv"

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

// mailboxObjectID is (objectid) of a mailbox.
func mailboxObjectID(id int64) string {
	return string(append(appendObjectID([]byte{'('}, mailboxPrefix, id), ')'))
}
