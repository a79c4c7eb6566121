package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// The verbs on a server that does not run.
func TestQueueVerbs(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	store := storagetest.Open(t, data, storage.Options{})
	ann := storagetest.Account(t, store, "ann@example.test")
	put := func(queue string, account int64, from string, to ...string) {
		t.Helper()
		u, err := store.NewMail(t.Context(), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(u, "From: ann@example.test\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\nbody\r\n"); err != nil {
			t.Fatal(err)
		}
		o := storage.Outgoing{Queue: queue, Account: account, From: from}
		for _, a := range to {
			o.Recipients = append(o.Recipients, storage.OutgoingRecipient{Address: a})
		}
		if _, err := store.Enqueue(t.Context(), u, []storage.Outgoing{o}, nil); err != nil {
			t.Fatal(err)
		}
	}
	put("Q1", ann.ID, ann.Name, "joe@far.test", "sue@near.test")
	l, err := store.Lease(t.Context(), storage.LeaseRequest{Owner: "w", Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Settle(t.Context(), []storage.Outcome{{Recipient: l[0].ID, State: storage.Deferred, Due: l[0].Created.AddDate(1, 0, 0), Reply: "451 \x1b[31mcome back", Status: "4.3.0", Remote: "mx.far.test"}}, nil); err != nil {
		t.Fatal(err)
	}
	put("Q2", 0, "", "kim@far.test")
	put("01SENT99", 0, "", "1@gone.test", "2@gone.test")
	gone, err := store.Queue(t.Context(), storage.QueueFilter{Domain: "gone.test"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Settle(t.Context(), []storage.Outcome{{Recipient: gone[0].ID, State: storage.Relayed, Reply: "250 fine", Remote: "mx.gone.test"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"why 01sent99", exitOK, "<1@gone.test> relayed (attempt 1)\n  reply   mx.gone.test: 250 fine\nin the queue: <2@gone.test> waiting, next attempt now\n"},
		{"queue drop 01SENT99", exitOK, "removed: 1 recipient\n"},
		{"queue list", exitOK, "mx.far.test: 451 ?[31mcome back"},
		{"queue list --json --account ann --domain far.test", exitOK, `"to": "joe@far.test"`},
		{"queue list --account eve", exitFailed, `account "eve": there is none`},
		{"queue list --state gone", exitFailed, `"gone" is no state`},
		{"queue list --limit 1", exitOK, "There are more: --after"},
		{"queue list --from <>", exitOK, "kim@far.test"},
		{"queue show Q1", exitOK, "caf\u00e9"},
		{"queue show Q1 --json", exitOK, `"attempts_made"`},
		{"queue show Q9", exitFailed, "Q9: there is none"},
		{"queue retry", exitUsage, "say which"},
		{"queue hold --id Q1", exitOK, "held: 2 recipients\n"},
		{"queue retry Q1 Q2", exitOK, "due now: 1 recipient\n"},
		{"queue release --from ann@*", exitOK, "released: 2 recipients\n"},
		{"queue retry --all --json", exitOK, `"changed": 3`},
		{"queue fail --domain near.test --reason no", exitOK, "to fail: 1 recipient\nThe senders are told when the server runs.\n"},
		{"queue list --to sue@*", exitOK, "waiting, to fail"},
		{"queue drop --older 100h", exitOK, "removed: 0 recipients\n"},
		{"queue drop --all", exitOK, "removed: 3 recipients\n"},
		{"queue list --json", exitOK, "[]\n"},
		{"queue drop --older -1h", exitUsage, "say which"},
		{"suppress add Joe@far.test --reason asked", exitOK, "Joe@far.test is suppressed\n"},
		{"suppress add nobody", exitFailed, "address has no domain"},
		{"suppress list", exitOK, "joe@far.test  administrator  0"},
		{"suppress remove joe@far.test", exitOK, "no longer suppressed"},
		{"suppress remove joe@far.test", exitFailed, "there is none"},
		{"suppress list --json", exitOK, "[]\n"},
		{"webhook test", exitFailed, "no webhook is configured"},
		{"webhook test --set webhook.url=gopher://x", exitUsage, "want a URL"},
		{"webhook test --set webhook.url=http://127.0.0.1:1/", exitFailed, "needs a secret"},
		{"config print --set webhook.secret=0123456789abcdef", exitOK, "(set)"},
		{"config check --set webhook.secret=short-secret", exitUsage, `webhook.secret = "(set)": the secret is too short`},
	} {
		var out bytes.Buffer
		code := run(append([]string{"--data", data}, strings.Fields(c.args)...), strings.NewReader(""), &out, &out)
		if text := out.String(); code != c.code || !strings.Contains(text, c.want) || strings.Contains(text, "0123456789abcdef") {
			t.Errorf("%s: %d %s", c.args, code, text)
		}
	}
}

func TestWebhookVerb(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := storagetest.Open(t, data, storage.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	code := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }))
	defer srv.Close()
	for _, c := range []struct {
		answer, exit int
		want         string
	}{{200, exitOK, "was taken: 200 OK"}, {403, exitFailed, "403 Forbidden"}} {
		code = c.answer
		var out bytes.Buffer
		if exit := run([]string{"--data", data, "webhook", "test", "--set", "webhook.url=" + srv.URL, "--set", "webhook.secret=0123456789abcdef"}, strings.NewReader(""), &out, &out); exit != c.exit || !strings.Contains(out.String(), c.want) {
			t.Errorf("%d %s", exit, &out)
		}
	}
}
