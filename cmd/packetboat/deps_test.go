package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/packetboat/packetboat/"

// policy is who may import whom of ours (docs/architecture.md): each package with the ones it may import.
// A package that is not in the table fails the test, so that a new one is placed on purpose.
var policy = map[string][]string{
	// L0: leaves, know nothing of ours
	"auth/session":      {},
	"storage/sqldb":     {},
	"storage/blob":      {},
	"storage/watch":     {},
	"storage/mime":      {},
	"smtp/dsn":          {}, // writes delivery status notifications
	"smtp/resolve":      {}, // asks the DNS
	"smtp/verify":       {}, // SPF, DKIM, DMARC, ARC, lists: knows mail, nothing of ours
	"storage/textindex": {}, // knows texts and ids: what a message's text is, mime says, and when to build, storage
	// L1: transactions, knows no protocol
	"storage": {"storage/sqldb", "storage/blob", "storage/watch", "storage/mime", "storage/textindex"},
	// L2: the door, the view
	"auth":          {"auth/session", "storage"},
	"storage/vfs":   {"storage", "storage/mime"},
	"smtp/outbound": {"auth/session", "storage", "storage/mime", "smtp/dsn", "smtp/verify", "smtp/resolve", "smtp/report"},
	"smtp/sieve":    {"storage", "storage/mime"},
	"smtp/webhook":  {"storage"},
	"smtp/report":   {"storage", "smtp/verify"}, // reports to other domains
	// L3: servers, never one another
	"imap/wire":        {},
	"imap/deflate":     {},
	"imap":             {"imap/wire", "imap/deflate", "auth", "auth/session", "storage", "storage/mime", "storage/watch", "storage/vfs"},
	"smtp":             {"auth", "auth/session", "storage", "storage/mime", "smtp/dsn", "smtp/verify", "smtp/sieve", "smtp/report"},
	"smtp/managesieve": {"auth", "auth/session", "storage", "smtp/sieve"},
	"console":          {"auth", "auth/session", "storage"},
	"ftp":              {"auth", "auth/session", "storage", "storage/vfs"},
	// L4: wires all
	"cmd/packetboat": {"auth", "auth/session", "storage", "storage/vfs", "imap", "smtp", "smtp/resolve", "smtp/verify", "smtp/outbound", "smtp/report", "smtp/dsn", "smtp/sieve", "smtp/webhook", "smtp/managesieve", "console", "ftp"},
	// for tests only
	"auth/session/sessiontest": {"auth/session"},
	"storage/storagetest":      {"storage"},
	"smtp/resolve/resolvetest": {},
	"storage/blob/blobtest":    {"storage/blob"},
}

func TestImportPolicy(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		allowed, ok := policy[pkg]
		if !ok {
			t.Errorf("package %s is not in the import policy: say on which level it stands", pkg)
			continue
		}
		seen++
		for _, imp := range fields[1:] {
			ours, ok := strings.CutPrefix(imp, module)
			if ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s must not import %s", pkg, ours)
			}
		}
	}
	if seen < 10 {
		t.Fatalf("go list showed %d packages only", seen)
	}
}

// A rule of an RFC that the code cites must be listed in docs/rfcs.md with what is done of it.
func TestCitedRFCsAreListed(t *testing.T) {
	root := filepath.Join("..", "..")
	listed, err := os.ReadFile(filepath.Join(root, "docs", "rfcs.md"))
	if err != nil {
		t.Fatal(err)
	}
	cite := regexp.MustCompile(`\bRFC (\d{3,5})\b`)
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`\b(\d{3,5})\b`).FindAllSubmatch(listed, -1) {
		known[string(m[1])] = true
	}
	cited := 0
	err = eachGoFile(root, func(path string, text []byte) {
		for _, m := range cite.FindAllSubmatch(text, -1) {
			cited++
			if !known[string(m[1])] {
				t.Errorf("%s cites RFC %s, which docs/rfcs.md does not list", path, m[1])
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if cited < 50 {
		t.Fatalf("only %d citations found: the pattern is wrong", cited)
	}
}

// The limits of style that a tool can see: files under 600 lines, functions under 100.
func TestSizes(t *testing.T) {
	err := eachGoFile(filepath.Join("..", ".."), func(path string, text []byte) {
		lines := bytes.Split(text, []byte("\n"))
		if len(lines) > 601 {
			t.Errorf("%s has %d lines (limit 600)", path, len(lines)-1)
		}
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		start, name := 0, ""
		for i, l := range lines {
			switch {
			case bytes.HasPrefix(l, []byte("func ")):
				start, name = i, string(l)
			case bytes.Equal(l, []byte("}")) && name != "":
				if i-start > 100 {
					t.Errorf("%s:%d: %s is %d lines (limit 100)", path, start+1, name, i-start)
				}
				name = ""
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func eachGoFile(root string, f func(path string, text []byte)) error {
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root && d.Name() != ".." {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		f(path, text)
		return nil
	})
	if err == nil && n < 20 {
		return fmt.Errorf("only %d Go files found below %s", n, root)
	}
	return err
}
