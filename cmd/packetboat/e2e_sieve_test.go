//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A filter that sieve-connect stores over ManageSieve files what comes next, a group reaches its members, and all of it is there after kill -9.
func TestEndToEndFilters(t *testing.T) {
	b := launch(t)
	script := filepath.Join(t.TempDir(), "work.sieve")
	text := "require [\"fileinto\", \"mailbox\", \"vacation\"];\nif header :contains \"subject\" \"work\" { fileinto :create \"Work/In\"; stop; }\n"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sieve := func(args ...string) string {
		t.Helper()
		return b.must(annPassword+"\n", "sieve-connect", append([]string{"--server", "localhost", "--port", b.port(4190), "--user", "ann@example.test", "--tlscafile", b.ca(), "--passwordfd", "0"}, args...)...)
	}
	sieve("--upload", "--localsieve", script, "--remotesieve", "work")
	sieve("--activate", "--remotesieve", "work")
	if out := sieve("--list"); !strings.Contains(out, `"work" ACTIVE`) {
		t.Fatal(out)
	}
	b.run("", "group", "add", "team", "ann@example.test", "joe@example.test")
	b.kill()
	b.start()
	b.must("", "swaks", "--server", "127.0.0.1", "--port", b.port(25), "--from", "x@example.net", "--to", "team@example.test", "--header", "Subject: work to do", "--body", "hello")
	l, _ := b.login(t, "ann@example.test", annPassword)
	if out, err := l.until("a STATUS Work/In (MESSAGES)", "a "); err != nil || !strings.Contains(out, "MESSAGES 1") {
		t.Error(out, err)
	}
	b.message(t, "joe@example.test", joePassword, "work to do")
}
