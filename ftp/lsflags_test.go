package ftp

import (
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/packetboat/packetboat/storage/vfs"
)

// TestListFlags: what ls's options do to LIST and NLST.
func TestListFlags(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	for _, dir := range []string{"d", "d/sub", "d/sub/deep", "d/sub/deep/er", "d/zoo"} {
		p.cmd(257, "MKD %s", dir)
	}
	for i, name := range []string{"b", ".dot", "a", "c"} {
		h.put("/d/"+name, strings.Repeat("x", i*10))
		p.cmd(213, "MFMT 2020010%d000000 d/%s", 4-i, name)
	}
	for _, dir := range []string{"d/sub", "d/zoo"} {
		p.cmd(213, "MFMT 20190101000000 %s", dir)
	}
	p.cmd(200, "SITE CHMOD 755 d/a")
	h.put("/d/sub/deep/leaf", "")
	for _, tt := range []struct {
		cmd  string
		want []string
	}{
		{"NLST d", prefix("d/", ".dot", "a", "b", "c", "sub", "zoo")}, // nothing is hidden
		{"NLST -t d", prefix("d/", "b", ".dot", "a", "c", "sub", "zoo")},
		{"NLST -rt d", prefix("d/", "zoo", "sub", "c", "a", ".dot", "b")},
		{"NLST -S d", prefix("d/", "c", "a", ".dot", "b", "sub", "zoo")},
		{"NLST -r d", prefix("d/", "zoo", "sub", "c", "b", "a", ".dot")},
		{"NLST -lRF d", prefix("d/", ".dot", "a", "b", "c", "sub", "zoo")}, // ProFTPD: names are names
		{"NLST d/*", prefix("d/", "a", "b", "c", "sub", "zoo")},
		{"NLST -a d/*", prefix("d/", ".dot", "a", "b", "c", "sub", "zoo")},
		{"NLST d/.*", prefix("d/", ".dot")},
		{"LIST -1 d", []string{".dot", "a", "b", "c", "sub", "zoo"}},
		{"LIST -1F d", []string{".dot", "a*", "b", "c", "sub/", "zoo/"}},
		{"LIST -1 -S -r d/[abc]", []string{"b", "a", "c"}},
		{"LIST -1R d/sub", []string{"deep", "", "d/sub/deep:", "er", "leaf", "", "d/sub/deep/er:"}},
		{"LIST -1R d/a", []string{"a"}},
	} {
		if diff := cmp.Diff(tt.want, p.lines("%s", tt.cmd)); diff != "" {
			t.Errorf("%s: %s", tt.cmd, diff)
		}
	}
	for cmd, want := range map[string]string{
		"LIST -d d/sub":   "drwxr-xr-x   1 ftp      ftp                 0 Jan 01  2019 sub",
		"LIST -nF d/a":    "-rwxr-xr-x   1 0        0                  20 Jan 02  2020 a*",
		"LIST -1l d/a":    "-rwxr-xr-x   1 ftp      ftp                20 Jan 02  2020 a",
		"LIST -- d/a":     "-rwxr-xr-x   1 ftp      ftp                20 Jan 02  2020 a",
		"LIST -QXzhi d/a": "-rwxr-xr-x   1 ftp      ftp                20 Jan 02  2020 a",
	} {
		if got := p.lines("%s", cmd); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", cmd, got)
		}
	}
	p.cmd(250, "CWD d/sub")
	if diff := cmp.Diff([]string{"deep", "", "deep:", "er", "leaf", "", "deep/er:"}, p.lines("LIST -1R")); diff != "" {
		t.Error(diff)
	}
}

// A folder of more entries than are sorted comes whole, by name. LIST -R of a tree that is too deep is no success.
func TestListLimits(t *testing.T) {
	f := lsFlags{reverse: true}
	n := 0
	for range f.ordered(entriesOf(maxSorted + 5)) {
		n++
	}
	if n != maxSorted+5 {
		t.Error(n)
	}
	for range f.ordered(entriesOf(maxSorted + 5)) {
		break
	}
	h := newHouse(t)
	p := h.login()
	for i := range maxTreeDepth + 2 {
		p.cmd(257, "MKD n%d", i)
		p.cmd(250, "CWD n%d", i)
	}
	p.cmd(250, "CWD /")
	conn := p.open("LIST -R")
	p.expect(451)
	conn.Close()
}

// Times as ls shows them: of the last half year with the time of day, else, and of the future, with the year.
func TestListTimes(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	h.put("/f", "")
	now := time.Now().UTC()
	for _, tt := range []struct {
		when time.Time
		want string
	}{
		{now.Add(-time.Hour), "Jan 02 15:04"}, {now.AddDate(0, 0, -100), "Jan 02 15:04"}, {now.AddDate(0, 0, -200), "Jan 02  2006"},
		{now.AddDate(0, 0, 30), "Jan 02  2006"}, {time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), "Jan 02     1"}, {time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), "Jan 02  2006"},
	} {
		p.cmd(213, "MFMT %s f", tt.when.Format(timeLayout))
		want := tt.when.Format(tt.want)
		if tt.when.Year() == 1 {
			want = tt.want
		}
		if got := p.lines("LIST f")[0]; !strings.HasSuffix(got, fmt.Sprintf(" %s f", want)) {
			t.Errorf("%v: %q", tt.when, got)
		}
	}
}

func entriesOf(n int) iter.Seq2[vfs.Info, error] {
	return func(yield func(vfs.Info, error) bool) {
		for range n {
			if !yield(vfs.Info{}, nil) {
				return
			}
		}
	}
}
