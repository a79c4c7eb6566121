package outbound

import (
	"strings"
	"testing"
	"time"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// TestRotate: keys are replaced when they are old, but never by ones that the DNS does not show.
func TestRotate(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	store := storagetest.Open(t, t.TempDir(), storage.Options{Now: clock})
	r := dns.MockResolver{TXT: map[string][]string{}}
	signer := NewSigner(store, SignOptions{Resolver: &r, Rotate: 90 * 24 * time.Hour, Now: clock})
	step := func(what string, later time.Duration, want string) {
		t.Helper()
		now = now.Add(later)
		if err := signer.rotateAll(t.Context()); err != nil {
			t.Fatal(what, err)
		}
		all, err := store.DKIMKeys(t.Context(), "example.test")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range all {
			got = append(got, k.Selector+"="+string(k.State))
		}
		if strings.Join(got, " ") != want {
			t.Fatalf("%s: %s, want %s", what, got, want)
		}
	}
	const first = "pb202611r=active pb202611e=active"
	step("young", time.Hour, first)
	step("old", 90*24*time.Hour, first+" pb202702r=next pb202702e=next")
	step("not published", 48*time.Hour, first+" pb202702r=next pb202702e=next")
	all, err := store.DKIMKeys(t.Context(), "example.test")
	if err != nil {
		t.Fatal(err)
	}
	r.TXT[all[2].Name()+"."] = []string{all[2].Record()}
	step("one of them published", time.Hour, first+" pb202702r=next pb202702e=next")
	r.TXT[all[3].Name()+"."] = []string{"v=spf1 -all", strings.Replace(all[3].Record(), "p=", "p= ", 1)}
	step("both published", time.Hour, first+" pb202702r=next pb202702e=next")
	r.Fail = []string{"txt " + all[3].Name() + "."}
	step("no answer", 2*time.Hour, first+" pb202702r=next pb202702e=next")
	r.Fail = nil
	const second = "pb202702r=active pb202702e=active"
	step("published for a while", time.Hour, second+" pb202611r=retired pb202611e=retired")
	step("a week later", 7*24*time.Hour, second+" pb202611r=retired pb202611e=retired")
	step("and more", time.Second, second)
}
