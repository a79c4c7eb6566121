package imap

import (
	"strings"
	"testing"
)

// What a command means for others stands in the table, so that nobody forgets it.
func TestCommandTable(t *testing.T) {
	for name, c := range commands {
		uid := commands["UID "+name]
		// RFC 9586 section 3.2: what has a UID variant names messages by number; EXPUNGE names none
		if want := uid != nil && name != "EXPUNGE"; (c.flags&byNumber != 0) != want {
			t.Errorf("%s: byNumber is %v, want %v", name, !want, want)
		}
		if isUID := strings.HasPrefix(name, "UID ") || name == "ESEARCH"; (c.flags&byUID != 0) != isUID {
			t.Errorf("%s: byUID is %v, want %v", name, !isUID, isUID)
		}
	}
}
