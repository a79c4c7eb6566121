package storage

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestQuotaParallel: of thirty that come at once as many succeed as fit, and not one more.
func TestQuotaParallel(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	text := "Subject: x\r\n\r\n" + strings.Repeat("y", 1000-14)
	a := newAccount(t, s, "ann@example.test", 20_500)
	inbox := mailboxNamed(t, s, a.ID, "INBOX").ID
	var wg sync.WaitGroup
	var ok, refused atomic.Int64
	count := func(err error) {
		switch {
		case err == nil:
			ok.Add(1)
		case errors.Is(err, ErrQuota):
			refused.Add(1)
		default:
			t.Error(err)
		}
	}
	for i := range 30 {
		wg.Go(func() {
			if i%2 == 0 {
				u := newMessage(t, s, 0, text)
				defer u.Abort()
				res, err := s.Deliver(t.Context(), u, []Target{{Account: a.ID, Mailbox: inbox}})
				if err == nil {
					err = res[0].Err
				}
				count(err)
				return
			}
			u, err := s.NewUpload(t.Context(), a.ID, -1)
			if err != nil {
				count(err)
				return
			}
			defer u.Abort()
			io.WriteString(u, text)
			_, err = s.PutFile(t.Context(), a.ID, a.Home, fmt.Sprint(i), u, time.Time{})
			count(err)
		})
	}
	wg.Wait()
	u, err := s.Usage(t.Context(), a.ID)
	if err != nil || ok.Load() != 20 || refused.Load() != 10 || u.Bytes != 20_000 || u.Messages+u.Files != 20 {
		t.Fatalf("%d came in, %d refused, usage %+v, %v", ok.Load(), refused.Load(), u, err)
	}
	verifyStore(t, s)
}

// TestQuotaOneTarget: a target that is full does not harm the others.
func TestQuotaOneTarget(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	full, free := newAccount(t, s, "full@example.test", 10), newAccount(t, s, "free@example.test", 0)
	target := func(a *Account) Target {
		return Target{Account: a.ID, Mailbox: mailboxNamed(t, s, a.ID, "INBOX").ID}
	}
	u := newMessage(t, s, 0, "Subject: twenty bytes and more\r\n\r\n")
	res, err := s.Deliver(t.Context(), u, []Target{target(full), target(free), {Account: free.ID, Mailbox: 9999}})
	if err != nil || !errors.Is(res[0].Err, ErrQuota) || res[1].Err != nil || !isNotExist(res[2].Err) {
		t.Fatal(res, err)
	}
	u = newMessage(t, s, 0, "Subject: twenty bytes and more\r\n\r\n")
	res, err = s.Deliver(t.Context(), u, []Target{target(full)})
	if err != nil || !errors.Is(res[0].Err, ErrQuota) {
		t.Fatal(res, err)
	}
	// All refused it, so it is still there for another try.
	if res, err = s.Deliver(t.Context(), u, []Target{target(free)}); err != nil || res[0].Err != nil {
		t.Fatal(res, err)
	}
	u.Abort()
	if _, err := s.Deliver(t.Context(), u, []Target{target(free)}); err == nil {
		t.Fatal("an upload was taken twice")
	}
	verifyStore(t, s)
}

// TestReservation: what was announced counts until it is taken or given up.
func TestReservation(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 1000)
	first, err := s.NewUpload(t.Context(), a.ID, 700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewUpload(t.Context(), a.ID, 400); !errors.Is(err, ErrQuota) {
		t.Fatal("announced beside what is reserved:", err)
	}
	first.Abort()
	first.Abort()
	second, err := s.NewUpload(t.Context(), a.ID, 400)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(second, strings.Repeat("x", 800))
	if _, err := s.PutFile(t.Context(), a.ID, a.Home, "f", second, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewUpload(t.Context(), a.ID, 400); !errors.Is(err, ErrQuota) {
		t.Fatal("beyond what is used:", err)
	}
	// What takes the place of a file may have its room.
	again, err := s.NewFile(t.Context(), a.ID, a.Home, "f", 900, false)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(again, strings.Repeat("y", 900))
	n, err := s.PutFile(t.Context(), a.ID, a.Home, "f", again, time.Time{})
	if err != nil || n.Size != 900 {
		t.Fatal(n, err)
	}
	if len(s.reserved) != 0 {
		t.Fatal("reservations are left:", s.reserved)
	}
	verifyStore(t, s)
}

// TestQuotaCutsEarly: an upload of unknown size does not come in whole before it is refused.
func TestQuotaCutsEarly(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 3<<20)
	for _, read := range []bool{false, true} {
		u, err := s.NewUpload(t.Context(), a.ID, -1)
		if err != nil {
			t.Fatal(err)
		}
		if read {
			_, err = u.ReadFrom(io.LimitReader(zeros{}, 100<<20))
		} else {
			_, err = io.Copy(struct{ io.Writer }{u}, io.LimitReader(zeros{}, 100<<20))
		}
		if !errors.Is(err, ErrQuota) || u.Size() > 12<<20 {
			t.Errorf("%d bytes came in, %v", u.Size(), err)
		}
		u.Abort()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
