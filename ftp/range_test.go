package ftp

import (
	"strings"
	"testing"
)

// TestRange: RANG with RETR, STOR and APPE: draft-bryan-ftp-range-08 section 4.3.
func TestRange(t *testing.T) {
	h := newHouse(t)
	big := strings.Repeat("0123456789", 100_000)
	h.put("/f", "0123456789")
	h.put("/big", big)
	for _, p := range []*peer{h.login(), h.secureLogin(0)} {
		for _, tt := range []struct{ rang, name, want string }{
			{"0 0", "f", "0"}, {"3 5", "f", "345"}, {"8 100", "f", "89"}, {"10 20", "f", ""}, {"100 200", "f", ""}, {"0 9", "f", "0123456789"},
			{"1 0", "f", "0123456789"}, {"499995 600004", "big", big[499995:600005]},
		} {
			p.cmd(350, "RANG %s", tt.rang)
			if got := p.retr("RETR %s", tt.name); got != tt.want {
				t.Errorf("RANG %s: %d bytes", tt.rang, len(got))
			}
		}
		if got := p.retr("RETR f"); got != "0123456789" { // it counts once
			t.Errorf("%q", got)
		}
		p.cmd(350, "RANG 3 5")
		p.cmd(350, "REST 8")
		if got := p.retr("RETR f"); got != "89" {
			t.Errorf("%q", got)
		}
		p.cmd(350, "RANG 3 5")
		p.cmd(501, "RANG 5 3") // and resets
		if got := p.retr("RETR f"); got != "0123456789" {
			t.Errorf("%q", got)
		}
	}
	p := h.login()
	for _, tt := range []struct {
		rang, cmd, data string
		code            int
		want            string
	}{
		{"3 5", "STOR", "abc", 226, "012abc6789"},
		{"3 5", "APPE", "def", 226, "012def6789"},
		{"0 1", "STOR", "xy", 226, "xy2def6789"},
		{"9 11", "STOR", "end", 226, "xy2def678end"},
		{"12 12", "STOR", "!", 226, "xy2def678end!"},
		{"3 5", "STOR", "ab", 551, "xy2def678end!"},
		{"3 5", "STOR", "abcd", 551, "xy2def678end!"},
		{"3 5", "STOR", "", 551, "xy2def678end!"},
	} {
		if tt.rang == "3 5" && tt.data == "abc" {
			h.put("/f", "0123456789")
		}
		p.cmd(350, "RANG %s", tt.rang)
		if code := p.stor(tt.data, "%s f", tt.cmd); code != tt.code {
			t.Errorf("RANG %s, %s %q: %d", tt.rang, tt.cmd, tt.data, code)
		}
		if got, _ := h.get("/f"); got != tt.want || h.kept("/f") != -1 {
			t.Fatalf("RANG %s, %s %q: %q", tt.rang, tt.cmd, tt.data, got)
		}
	}
	p.cmd(350, "RANG 50 51")
	p.epsv()
	p.cmd(554, "STOR f")
	p.cmd(350, "RANG 0 2")
	if code := p.stor("new", "STOR made"); code != 226 {
		t.Error(code)
	}
	if got, _ := h.get("/made"); got != "new" {
		t.Errorf("%q", got)
	}
	p.cmd(350, "RANG 1 2")
	p.epsv()
	p.cmd(554, "STOR missing")
	if _, ok := h.get("/missing"); ok {
		t.Error("a file out of nothing")
	}
	// A message is never changed.
	if code := p.stor("From: joe@example.test\r\nSubject: hello\r\n\r\nbody\r\n", "STOR /Mail/INBOX/new.eml"); code != 226 {
		t.Fatal(code)
	}
	name := p.lines("NLST /Mail/INBOX")[0]
	p.cmd(350, "RANG 0 2")
	p.epsv()
	p.cmd(553, "STOR %s", name)
}
