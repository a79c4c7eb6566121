package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage"
)

// TestRouteVerbs: addresses, groups, forwards and filters on a server that does not run.
func TestRouteVerbs(t *testing.T) {
	dir := t.TempDir()
	store, err := storage.Open(t.Context(), dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	verb := func(want int, args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		if code := run(append(args, "--data", dir), strings.NewReader("long secret passphrase\n"), &out, &errs); code != want {
			t.Fatalf("%v: %d, %s%s", args, code, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	script := filepath.Join(dir, "x.sieve")
	if err := os.WriteFile(script, []byte("keep;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.sieve")
	if err := os.WriteFile(bad, []byte("keep;\nfrobnicate;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	verb(exitOK, "domain", "add", "example.test")
	verb(exitOK, "domain", "add", "second.test")
	verb(exitOK, "account", "add", "ann", "--password-stdin")
	for _, c := range []struct {
		code int
		args string
		want string
	}{
		{exitOK, "alias add info@example.test ann", "info@example.test is an address of ann@example.test"},
		{exitFailed, "alias add info@example.test ann", "exists already"},
		{exitOK, "alias list", "info@example.test  ann@example.test"},
		{exitOK, "alias list ann", "info@example.test"},
		{exitOK, "alias remove info@example.test ann", "no longer"},
		{exitOK, "group add team ann x@foreign.example", "team@example.test has 2 members"},
		{exitFailed, "group add ann", "exists already"},
		{exitFailed, "group add bad not@an..address", ""},
		{exitOK, "group member add team y@foreign.example", "has 3 members"},
		{exitOK, "group member remove team x@foreign.example", "has 2 members"},
		{exitOK, "group member list team@example.test", "y@foreign.example"},
		{exitOK, "group list", "team@example.test  2        no"},
		{exitOK, "domain catchall second.test team@example.test", "catch-all: team@example.test"},
		{exitOK, "domain catchall second.test", "catch-all: team@example.test"},
		{exitOK, "domain catchall second.test --none", "catch-all: -"},
		{exitOK, "domain alias second.test example.test", "alias of: example.test"},
		{exitOK, "forward set ann z@foreign.example --keep", "all addresses  z@foreign.example  yes"},
		{exitOK, "forward show ann", "z@foreign.example"},
		{exitOK, "forward clear ann", "MAIL FOR"},
		{exitOK, "sieve check " + script, "valid"},
		{exitFailed, "sieve check " + bad, "line 2"},
		{exitOK, "sieve put ann work " + script + " --activate", "stored work (6 bytes)"},
		{exitFailed, "sieve put ann work " + bad, "line 2"},
		{exitOK, "sieve list ann", "work  yes     6"},
		{exitOK, "sieve get ann work", "keep;"},
		{exitFailed, "sieve remove ann work", "active"},
		{exitOK, "sieve activate ann --none", "active: -"},
		{exitOK, "sieve remove ann work", "removed work"},
		{exitFailed, "sieve get ann work", "there is none"},
		{exitOK, "group remove team", "removed team@example.test"},
	} {
		if got := verb(c.code, strings.Fields(c.args)...); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
}
