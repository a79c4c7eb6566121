package ftp

import (
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// TestEntriesFull: where the account holds as many files and folders as it may, what would be one more is refused with 552, an upload before its data are sent; what is there
// can be replaced.
func TestEntriesFull(t *testing.T) {
	h := newHouseOn(t, storagetest.Open(t, t.TempDir(), storage.Options{MaxEntries: 10}), session.Options{})
	h.put("/f", "old")
	p := h.login()
	p.cmd(257, "MKD d")
	const full = "The account has as many files and folders as it may."
	for _, line := range []string{"MKD e", "MKD d/e", "SITE MKDIR d/e", "MKD /Mail/e"} {
		if got := p.cmd(552, "%s", line); !strings.Contains(got, full) {
			t.Errorf("%s: %s", line, got)
		}
	}
	p.cmd(350, "SITE CPFR f")
	p.cmd(552, "SITE CPTO g")
	p.cmd(229, "EPSV")
	p.cmd(552, "STOR g")
	if code := p.stor("new", "STOR f"); code != 226 {
		t.Error(code)
	}
	p.cmd(250, "RMD d")
	if code := p.stor("", "STOR g"); code != 226 {
		t.Error(code)
	}
	p.cmd(552, "MKD d")
}
