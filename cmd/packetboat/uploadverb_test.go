package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

// The administrator sees the parts of cut uploads, what they take and until when, and can throw one away; here while no server runs.
func TestUploadsVerb(t *testing.T) {
	dir := t.TempDir()
	store := storagetest.Open(t, dir, storage.Options{})
	ann := storagetest.Account(t, store, "ann@example.test")
	tree := vfs.New(store, vfs.Options{}).Tree(ann)
	if err := tree.Mkdir(t.Context(), "/in"); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{"/in/a b.bin": strings.Repeat("x", 2048), "/c": "123"} {
		w, err := tree.Create(t.Context(), path, vfs.CreateOptions{Expect: -1})
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err == nil {
			err = w.Abort(t.Context(), true)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := store.SetPathRights(t.Context(), ann.ID, "/in", storage.CanUpload); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	verb := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(append(args, "--data", dir), strings.NewReader(""), &out, &out); code != want {
			t.Fatalf("%q: exit %d\n%s", args, code, &out)
		}
		return out.String()
	}
	out := verb(exitOK, "account", "uploads", "ann")
	for _, want := range []string{"2.0 KiB", "/in/a b.bin", "3 B", "/c", "2 in all, 2.0 KiB"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	verb(exitFailed, "account", "uploads", "ann", "--drop", "/nothing")
	verb(exitFailed, "account", "uploads", "ann", "--drop", "")
	verb(exitFailed, "account", "uploads", "eve")
	verb(exitOK, "account", "uploads", "ann", "--drop", "/in/a b.bin")
	var all uploadsJSON
	if err := json.Unmarshal([]byte(verb(exitOK, "account", "uploads", "ann", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Uploads) != 1 || all.Account != "ann@example.test" || all.More {
		t.Fatalf("%+v", all)
	}
	u := all.Uploads[0]
	if u.Path != "/c" || u.Bytes != 3 || u.Replaces || u.Expires.Sub(u.Cut) != 48*time.Hour {
		t.Errorf("%+v", u)
	}
}
