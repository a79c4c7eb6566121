package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

// The rights on paths and the jail that the verbs set, by the API that they call.
func TestRightsAPI(t *testing.T) {
	store := storagetest.New(t)
	ann := storagetest.Account(t, store, "ann@example.test")
	registry := session.New(session.Options{})
	h := (&control{store: store, door: auth.New(store, registry, auth.Options{}), registry: registry}).handler()
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/accounts/ann/rights", "", 200, `{"account":"ann@example.test","jail":"/","rights":[]}`},
		{"PATCH", "/accounts/ann/rights", `{"path":"/","rights":"read"}`, 200, `"rights":[{"path":"/","name":"read","rights":["list","download"]}]}`},
		{"PATCH", "/accounts/ann/rights", `{"path":"/in/box/","rights":"drop,mkdir"}`, 200, `{"path":"/in/box","name":"upload,mkdir","rights":["upload","mkdir"]}],"made":"/in/box"}`},
		{"PATCH", "/accounts/ann/rights", `{"path":"/in/box","rights":"drop"}`, 200, `{"path":"/in/box","name":"drop","rights":["upload"]}]}`},
		{"PATCH", "/accounts/ann/rights", `{"path":"/Mail/inbox","rights":"none"}`, 200, `{"path":"/Mail/INBOX","name":"none","rights":[]}`},
		{"PATCH", "/accounts/ann/rights", `{"path":"/Mail/later","rights":"read"}`, 200, `"/Mail/later"`},
		{"PATCH", "/accounts/ann/rights", `{"path":"/Mail/later"}`, 200, `/in/box`},
		{"PATCH", "/accounts/ann/rights", `{"path":"/Mail/later"}`, 404, `\"/Mail/later\": there is none`},
		{"PATCH", "/accounts/ann/rights", `{"path":"/x","rights":"write"}`, 400, `\"write\" is no right`},
		{"PATCH", "/accounts/ann/rights", `{"path":"/x/../y","rights":"read"}`, 400, `path \"/x/../y\"`},
		{"PATCH", "/accounts/ann/rights", `{"path":"x","rights":"read"}`, 400, `path \"x\"`},
		{"PATCH", "/accounts/eve/rights", `{"path":"/x","rights":"read"}`, 404, `account \"eve\"`},
		{"PATCH", "/accounts/ann", `{"jail":"/scans/new"}`, 200, `"jail":"/scans/new"`},
		{"PATCH", "/accounts/ann", `{"jail":"scans"}`, 400, `path \"scans\"`},
		{"GET", "/accounts/ann/rights", "", 200, `"jail":"/scans/new"`},
		{"GET", "/accounts", "", 200, `"rights":[{"path":"/","name":"read"`},
		{"PATCH", "/accounts/ann", `{"jail":"/"}`, 200, `"jail":"/"`},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(step.method, step.path, strings.NewReader(step.body)))
		if w.Code != step.status || !strings.Contains(w.Body.String(), step.want) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s %s: %d %s", step.method, step.path, step.body, w.Code, w.Body)
		}
	}
	tree := vfs.New(store, vfs.Options{}).Whole(ann)
	for _, path := range []string{"/in/box", "/scans/new"} {
		if i, err := tree.Stat(t.Context(), path); err != nil || !i.IsDir() {
			t.Errorf("%s was not made: %v", path, err)
		}
	}
	if _, err := tree.Stat(t.Context(), "/Mail/later"); err == nil {
		t.Error("a mailbox was made")
	}
}

func TestRightsText(t *testing.T) {
	rule := func(path, name string) ruleJSON { return ruleJSON{Path: path, Name: name} }
	for want, a := range map[string]accountJSON{
		"full":                                 {Jail: "/"},
		"read":                                 {Jail: "/", Rights: []ruleJSON{rule("/", "read")}},
		"full (jailed to /x)":                  {Jail: "/x"},
		"/a drop":                              {Jail: "/", Rights: []ruleJSON{rule("/a", "drop")}},
		"/ read; /a drop; /b none; and 1 more": {Jail: "/", Rights: []ruleJSON{rule("/", "read"), rule("/a", "drop"), rule("/b", "none"), rule("/c", "none")}},
	} {
		if got := rightsText(a); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
