package ftp

import (
	"testing"
	"time"
)

// TestNothingCame: an upload to which nothing came takes nothing of the part that it was to go on with, nor makes one of the file.
func TestNothingCame(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ConnectTimeout = 300 * time.Millisecond })
	h.mounted("/m", false)
	p := h.login()
	for _, f := range []string{"/f", "/m/f"} {
		h.part(f, "0123456789")
		h.put(f+"old", "abcdef")
		for _, begin := range []string{"NOOP", "REST 3", "REST 10"} {
			for _, store := range []string{"STOR", "APPE"} {
				p.cmd(map[bool]int{true: 200, false: 350}[begin == "NOOP"], "%s", begin)
				p.epsv()
				p.cmd(150, "%s %s", store, f)
				p.expect(425)
				p.send("%s", begin)
				p.reply()
				conn := p.open("%s %s", store, f)
				p.send("ABOR")
				p.expect(426)
				p.expect(226)
				conn.Close()
				if n := h.kept(f); n != 10 {
					t.Errorf("%s, %s %s: a part of %d bytes", begin, store, f, n)
				}
			}
		}
		p.epsv()
		p.cmd(150, "APPE %sold", f)
		p.expect(425)
		if n := h.kept(f + "old"); n != -1 {
			t.Errorf("%sold: a part of %d bytes", f, n)
		}
		p.cmd(350, "REST 10")
		if code := p.stor("ab", "STOR %s", f); code != 226 {
			t.Error(code)
		}
		if got, _ := h.get(f); got != "0123456789ab" {
			t.Errorf("%s is %q", f, got)
		}
		// What comes takes the place of what was behind the marker.
		h.part(f, "0123456789")
		p.cmd(350, "REST 3")
		if code := p.stor("x", "STOR %s", f); code != 226 {
			t.Error(code)
		}
		if got, _ := h.get(f); got != "012x" {
			t.Errorf("%s is %q", f, got)
		}
	}
}
