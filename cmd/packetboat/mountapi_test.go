package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// Mounts come and go by the API that the verbs call.
func TestMountAPI(t *testing.T) {
	data := t.TempDir()
	store := storagetest.Open(t, data, storage.Options{})
	storagetest.Account(t, store, "ann@example.test")
	registry := session.New(session.Options{})
	h := (&control{store: store, door: auth.New(store, registry, auth.Options{}), registry: registry}).handler()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "gone")
	if err := os.Mkdir(gone, 0o755); err != nil {
		t.Fatal(err)
	}
	step := func(method, path, body string, status int, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		if w.Code != status || !strings.Contains(w.Body.String(), want) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s %s: %d %s", method, path, body, w.Code, w.Body)
		}
	}
	step("GET", "/mounts", "", 200, `[]`)
	step("POST", "/accounts/ann/mounts", `{"path":"/a/m","host":"`+dir+`","read_only":true}`, 200, `"path":"/a/m","host":"`+dir+`","read_only":true`)
	step("POST", "/accounts/ann/mounts", `{"path":"/gone","host":"`+gone+`"}`, 200, `"read_only":false`)
	step("POST", "/accounts/ann/mounts", `{"path":"/a/m","host":"`+dir+`"}`, 409, `a mount at /a/m: exists already`)
	step("POST", "/accounts/ann/mounts", `{"path":"/a","host":"`+dir+`"}`, 409, `a mount inside a mount (there is one at /a/m)`)
	step("POST", "/accounts/ann/mounts", `{"path":"/x","host":"`+data+`"}`, 400, `holds the server's own data`)
	step("POST", "/accounts/ann/mounts", `{"path":"/x","host":"/"}`, 400, `holds the server's own data`)
	step("POST", "/accounts/ann/mounts", `{"path":"/x","host":"`+dir+`/none"}`, 404, `no such file`)
	step("POST", "/accounts/ann/mounts", `{"path":"x","host":"`+dir+`"}`, 400, ``)
	step("POST", "/accounts/eve/mounts", `{"path":"/x","host":"`+dir+`"}`, 404, `account \"eve\"`)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	step("GET", "/accounts/ann/mounts", "", 200, `"problem":"`)
	step("DELETE", "/accounts/ann/mounts?path=/gone", "", 200, `"path":"/gone"`)
	step("DELETE", "/accounts/ann/mounts?path=/gone", "", 404, `a mount at /gone: there is none`)
	step("DELETE", "/accounts/ann/mounts", "", 400, `no path`)
	step("GET", "/mounts", "", 200, `"account":"ann@example.test"`)
}

// The verbs on a server that does not run.
func TestMountVerbs(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	store := storagetest.Open(t, data, storage.Options{})
	storagetest.Account(t, store, "ann@example.test")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"mount add ann /m " + dir + " --ro", exitOK, "ann@example.test shows " + dir + " at /m (read-only)\n"},
		{"mount add ann /m " + dir, exitFailed, "a mount at /m: exists already"},
		{"mount add ann m " + dir, exitUsage, "begins with /"},
		{"mount list", exitOK, dir},
		{"mount list eve", exitFailed, `account "eve"`},
		{"mount list ann --json", exitOK, `"read_only": true`},
		{"mount remove ann /m", exitOK, "no longer shows " + dir + "\n"},
		{"mount remove ann /m", exitFailed, "a mount at /m: there is none"},
		{"mount list --json", exitOK, "[]"},
		{"mount", exitOK, "A mount lays a folder of the host"},
		{"mount add ann", exitUsage, ""},
	} {
		var out bytes.Buffer
		code := run(append([]string{"--data", data}, strings.Fields(c.args)...), strings.NewReader(""), &out, &out)
		if text := out.String(); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s", c.args, code, text)
		}
	}
}
