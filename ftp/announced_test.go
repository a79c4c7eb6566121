package ftp

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// announced is what FEAT says after login on a server with TLS: with the RFC or draft that the line is from, and a script or test that plays it.
var announced = []struct{ line, from, played string }{
	{"UTF8", "2640", "testdata/greeting.txt"},
	{"SIZE", "3659", "testdata/files.txt"},
	{"MDTM", "3659", "testdata/files.txt"},
	{"MFMT", "draft-somers-ftp-mfxx-03", "testdata/modify.txt"},
	{"MFF Modify;UNIX.mode;", "draft-somers-ftp-mfxx-03", "testdata/modify.txt"},
	{"REST STREAM", "3659", "transfer_test.go"},
	{"RANG STREAM", "draft-bryan-ftp-range-08", "range_test.go"},
	{"TVFS", "3659", "testdata/files.txt"},
	{"EPSV", "2428", "testdata/ports.txt"},
	{"EPRT", "2428", "testdata/ports.txt"},
	{"HOST", "7151", "testdata/host.txt"},
	{"LANG EN*", "2640", "testdata/lang.txt"},
	{"CLNT", "", "testdata/greeting.txt"},
	{"CSID", "", "testdata/greeting.txt"},
	{"AVBL", "", "testdata/parameters.txt"},
	{"XCRC", "draft-bryan-ftpext-hash-03", "testdata/hash.txt"},
	{"XMD5", "draft-bryan-ftpext-hash-03", "testdata/hash.txt"},
	{"XSHA", "draft-bryan-ftpext-hash-03", "testdata/hash.txt"},
	{"XSHA1", "draft-bryan-ftpext-hash-03", "testdata/hash.txt"},
	{"XSHA256", "draft-bryan-ftpext-hash-03", "testdata/hash.txt"},
	{"XSHA512", "draft-bryan-ftpext-hash-03", "testdata/hash.txt"},
	{"MD5", "draft-twine-ftpmd5-00", "testdata/hash.txt"},
	{"AUTH TLS", "4217", "testdata/tls.txt"},
	{"PBSZ", "4217", "testdata/tls.txt"},
	{"PROT", "4217", "testdata/tls.txt"},
	{"HASH SHA-256*;SHA-512;SHA-1;MD5;CRC32;", "draft-bryan-ftpext-hash-03", "testdata/hash.txt"},
	{"MLST type*;size*;modify*;perm*;unique*;UNIX.mode*;UNIX.owner;UNIX.ownername;UNIX.group;UNIX.groupname;", "3659", "testdata/opts.txt"},
}

// What FEAT says is in the table above, in docs/rfcs.md, and played; what is in the table is said, before login and after it (RFC 2389 section 3.2).
func TestFeatures(t *testing.T) {
	listed, err := os.ReadFile(filepath.Join("..", "docs", "rfcs.md"))
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	p := h.dial()
	before := p.cmd(211, "FEAT")
	if after := h.login().cmd(211, "FEAT"); after != before {
		t.Errorf("before login %q, after it %q", before, after)
	}
	var lines []string
	for line := range strings.Lines(before) {
		if line, ok := strings.CutPrefix(line, " "); ok {
			lines = append(lines, strings.TrimRight(line, "\r\n"))
		}
	}
	for _, line := range lines {
		if !slices.ContainsFunc(announced, func(a struct{ line, from, played string }) bool { return a.line == line }) {
			t.Errorf("FEAT has %q, which is not in the table", line)
		}
	}
	for _, a := range announced {
		if !slices.Contains(lines, a.line) {
			t.Errorf("FEAT has no %q", a.line)
		}
		if a.from != "" && !regexp.MustCompile(`(?m)^\| `+regexp.QuoteMeta(a.from)+` \|[^|]*\| (done|partly) \|`).Match(listed) {
			t.Errorf("%s: docs/rfcs.md does not tell what there is of %s", a.line, a.from)
		}
		verb, _, _ := strings.Cut(a.line, " ")
		word := map[string]string{"UTF8": "OPTS UTF8", "TVFS": "CWD //"}[verb]
		if word == "" {
			word = verb + " "
		}
		if text, err := os.ReadFile(a.played); err != nil || !strings.Contains(string(text)+" ", word) && !strings.Contains(string(text), verb+"\n") {
			t.Errorf("%s: %s does not play it: %v", a.line, a.played, err)
		}
	}
}

// Each command and each one behind SITE is in a dialogue of testdata or in a test, and HELP knows it.
func TestPlayed(t *testing.T) {
	var all strings.Builder
	for _, pattern := range []string{"testdata/*.txt", "*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) < 10 {
			t.Fatal(err, files)
		}
		for _, name := range files {
			if name == "announced_test.go" {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	text := all.String()
	played := func(command string) bool {
		return regexp.MustCompile(`(?im)(^\s*\w+>-? |["` + "`" + `]|\\n)` + command + `\b`).MatchString(text)
	}
	h := newHouse(t)
	p := h.dial()
	help := p.cmd(214, "HELP")
	for _, c := range commandTable() {
		if !played(c.name) {
			t.Errorf("%s is never said", c.name)
		}
		if shown := regexp.MustCompile(`\b` + c.name + `\b`).MatchString(help); shown == (c.flags&alias != 0) {
			t.Errorf("%s: in HELP %v", c.name, shown)
		}
		p.cmd(214, "HELP %s", strings.ToLower(c.name))
		if (c.run == nil) == (c.prepare == nil) || c.flags&needArg != 0 && c.syntax == "" {
			t.Errorf("%s: its row is not whole", c.name)
		}
	}
	site := p.cmd(214, "HELP SITE")
	for _, c := range siteTable() {
		if !played("SITE " + c.name) {
			t.Errorf("SITE %s is never said", c.name)
		}
		if !strings.Contains(site, " "+c.name) {
			t.Errorf("SITE %s is not in HELP SITE", c.name)
		}
	}
}
