package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestDKIMVerbs: keys are replaced, and new ones do not sign before the DNS shows them.
func TestDKIMVerbs(t *testing.T) {
	g := newRegistered(t, "")
	h := g.control.handler()
	call := func(method, path string, status int) (all []dkimJSON, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != status {
			t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
		}
		if body = w.Body.String(); status == http.StatusOK {
			if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil {
				t.Fatal(err)
			}
		}
		return all, body
	}
	states := func(all []dkimJSON) (list []string) {
		for _, k := range all {
			list = append(list, k.Algorithm+" "+k.State)
		}
		return list
	}
	const keys = "/domains/example.test/dkim"
	all, body := call(http.MethodGet, keys, http.StatusOK)
	if got := states(all); !slices.Equal(got, []string{"rsa active", "ed25519 active"}) || strings.Contains(strings.ToLower(body), "private") {
		t.Error(got, body)
	}
	if _, body := call(http.MethodPost, keys+"/active", http.StatusNotFound); !strings.Contains(body, "there is none") {
		t.Error(body)
	}
	all, _ = call(http.MethodPost, keys, http.StatusOK)
	if got := states(all); !slices.Equal(got, []string{"rsa active", "ed25519 active", "rsa next", "ed25519 next"}) {
		t.Error(got)
	}
	call(http.MethodPost, keys, http.StatusConflict)
	if _, body := call(http.MethodPost, keys+"/active", http.StatusBadRequest); !strings.Contains(body, "does not show") {
		t.Error(body)
	}
	g.dns.Fail(all[2].Name + ".")
	if _, body := call(http.MethodPost, keys+"/active", http.StatusServiceUnavailable); !strings.Contains(body, "--force") {
		t.Error(body)
	}
	g.dns.Heal(all[2].Name + ".")
	for _, k := range all[2:] {
		g.dns.Text(k.Name+".", k.Record)
	}
	next, _ := call(http.MethodPost, keys+"/active", http.StatusOK)
	if got := states(next); !slices.Equal(got, []string{"rsa active", "ed25519 active", "rsa retired", "ed25519 retired"}) || next[0].Selector != all[2].Selector {
		t.Error(got)
	}
	call(http.MethodDelete, keys+"/"+next[0].Selector, http.StatusConflict)
	if left, _ := call(http.MethodDelete, keys+"/"+next[2].Selector, http.StatusOK); len(left) != 3 {
		t.Error(states(left))
	}
	call(http.MethodDelete, keys+"/nothing", http.StatusNotFound)
	call(http.MethodGet, "/domains/foreign.test/dkim", http.StatusBadRequest)
	call(http.MethodPost, keys, http.StatusOK)
	call(http.MethodPost, keys+"/active?force=1", http.StatusOK)
}
