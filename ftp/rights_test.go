package ftp

import (
	"strings"
	"testing"
)

// TestRightsOfLaterCommands: what digests, ranges, copies and facts do is what downloads and uploads may do, and in a drop box they tell nothing.
func TestRightsOfLaterCommands(t *testing.T) {
	h := newHouse(t)
	h.put("/taken.txt", "old")
	h.rights("/", "drop")
	p := h.login()
	for _, cmd := range []string{
		"HASH %s", "XCRC %s", `XMD5 "%s" 0 1`, "XSHA256 %s 0 1", "MFF Modify=20200101000000; %s", "SITE CPFR %s", "SITE MKDIR %s", "SITE RMDIR %s", "SITE CHMOD u+x %s", "MD5 %s",
	} {
		there, not := p.cmd(550, cmd, "taken.txt"), p.cmd(550, cmd, "absent.txt")
		if strings.ReplaceAll(there, "taken", "absent") != not {
			t.Errorf("%s tells: %q, %q", cmd, there, not)
		}
	}
	p.cmd(350, "RANG 0 1")
	there := p.refusedTransfer(550, "STOR taken.txt")
	p.cmd(350, "RANG 0 1")
	if not := p.refusedTransfer(550, "STOR absent.txt"); strings.ReplaceAll(there, "taken", "absent") != not {
		t.Errorf("RANG tells: %q, %q", there, not)
	}
	p.conn.Close()

	h.rights("/", "read")
	p = h.login()
	p.cmd(213, "HASH taken.txt")
	p.cmd(350, "SITE CPFR taken.txt")
	p.cmd(550, "SITE CPTO copy.txt")
	p.cmd(550, "SITE MKDIR a/b")
	p.cmd(550, "MFF UNIX.mode=600; taken.txt")
	p.cmd(350, "RANG 0 1")
	p.refusedTransfer(550, "STOR taken.txt")
}
