package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// The rights that the verbs give and take, by the API that they call.
func TestACLAPI(t *testing.T) {
	store := storagetest.New(t)
	storagetest.Account(t, store, "ann@example.test")
	joe := storagetest.Account(t, store, "joe@example.test")
	registry := session.New(session.Options{})
	h := (&control{store: store, door: auth.New(store, registry, auth.Options{}), registry: registry}).handler()
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/accounts/ann/acl", "", 200, `[]`},
		{"PATCH", "/accounts/ann/acl", `{"mailbox":"Archive","identifier":"joe","rights":"lrd"}`, 200,
			`{"account":"ann@example.test","mailbox":"Archive","shared":"Shared/ann@example.test/Archive","entries":[{"identifier":"ann@example.test","rights":"lrswipkxtecda"},{"identifier":"joe@example.test","rights":"lrted"}]}`},
		{"PATCH", "/accounts/ann/acl", `{"mailbox":"Archive","identifier":"-anyone","rights":"e"}`, 200, `{"identifier":"-anyone","rights":"ed"}`},
		{"GET", "/accounts/ann@example.test/acl", "", 200, `"mailbox":"Archive"`},
		{"GET", "/accounts/ann/acl?mailbox=Archive", "", 200, `{"identifier":"joe@example.test","rights":"lrted"}`},
		{"GET", "/accounts/ann/acl?mailbox=Nothing", "", 404, `mailbox \"Nothing\"`},
		{"PATCH", "/accounts/ann/acl", `{"mailbox":"Archive","identifier":"joe","rights":"lrz"}`, 400, `not \"lrz\"`},
		{"PATCH", "/accounts/ann/acl", `{"mailbox":"Archive","identifier":"eve","rights":"lr"}`, 404, `account \"eve\"`},
		{"PATCH", "/accounts/ann/acl", `{"mailbox":"Archive","identifier":"ann","rights":"lr"}`, 409, `the owner's always`},
		{"PATCH", "/accounts/eve/acl", `{"mailbox":"Archive","identifier":"ann","rights":"lr"}`, 404, `account \"eve\"`},
		{"PATCH", "/accounts/ann/acl", `{"mailbox":"Archive","identifier":"-anyone"}`, 200, `"rights":"lrted"}]`},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(step.method, step.path, strings.NewReader(step.body)))
		if w.Code != step.status || !strings.Contains(w.Body.String(), step.want) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s %s: %d %s", step.method, step.path, step.body, w.Code, w.Body)
		}
	}
	if shared, err := store.Shared(t.Context(), joe.ID); err != nil || len(shared) != 1 || shared[0].Rights.String() != "lrted" {
		t.Errorf("%+v, %v", shared, err)
	}
	if r, err := http.NewRequest("GET", aclPath("a b@example.test"), nil); err != nil || r.URL.Path != "/accounts/a b@example.test/acl" {
		t.Error(r, err)
	}
}
