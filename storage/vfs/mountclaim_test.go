package vfs

import (
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// TestClaims: who goes on with a part on a host that does not answer keeps his own account waiting and nobody else. All mounts of an account share the lock, as two
// of them may be of one folder.
func TestClaims(t *testing.T) {
	store := storagetest.New(t)
	f := New(store, Options{})
	mount := func(a *storage.Account, path string) *mount {
		t.Helper()
		if _, err := store.AddMount(t.Context(), a.ID, path, t.TempDir(), false); err != nil {
			t.Fatal(err)
		}
		m, err := f.Tree(a).mountOf(t.Context(), []string{path[1:]})
		if err != nil || m == nil {
			t.Fatal(m, err)
		}
		return m
	}
	ann, joe := storagetest.Account(t, store, "ann@example.test"), storagetest.Account(t, store, "joe@example.test")
	first := mount(ann, "/m")
	mount(joe, "/m")
	if second := mount(ann, "/a"); second.claims != first.claims {
		t.Error("two mounts of an account have a lock each")
	}
	first.claims.Lock() // the host does not answer
	defer first.claims.Unlock()
	done := make(chan error, 1)
	go func() {
		w, err := f.Tree(joe).Create(t.Context(), "/m/f", CreateOptions{Append: true})
		if err == nil {
			err = w.Abort(t.Context(), false)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("another account waits too")
	}
}
