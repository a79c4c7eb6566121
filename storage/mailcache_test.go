package storage

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage/mime"
)

// rowsOf are the rows of a walk, copied.
func rowsOf(t *testing.T, s *Store, p *Snapshot, indexes []int, want MailWant) (list []Mail) {
	t.Helper()
	for _, m := range s.Mail(t.Context(), p, indexes, want) {
		if m.Err != nil {
			t.Fatal(m.Err)
		}
		c := m.Mail
		for _, b := range []*[]byte{&c.Envelope, &c.Structure, &c.Header, &c.Body, &c.index} {
			*b = slices.Clone(*b)
		}
		list = append(list, c)
	}
	return list
}

// TestMailCache: what comes of the cache is what the database has, whoever else's messages lie between and whatever happened to the mailbox.
func TestMailCache(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	other := openTest(t, t.TempDir(), Options{MailCache: -1})
	var boxes [2][2]int64
	var accounts [2]int64
	for k, st := range []*Store{s, other} {
		a := newAccount(t, st, "ann@example.test", 0)
		accounts[k] = a.ID
		boxes[k] = [2]int64{mailboxNamed(t, st, a.ID, "INBOX").ID, mailboxNamed(t, st, a.ID, "Sent").ID}
		for i := range 400 {
			u := newMessage(t, st, 0, fmt.Sprintf("Subject: number %d\r\nX-Long: %0*d\r\n\r\nbody %d\r\n", i, i%50, 0, i))
			// Three of four into INBOX, so that its messages do not lie one after the other.
			if _, err := st.Deliver(t.Context(), u, []Target{{Account: a.ID, Mailbox: boxes[k][min(1, i%4/3)]}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	compare := func(what string, indexes func(n int) []int) {
		t.Helper()
		for _, want := range []MailWant{WantEnvelope | WantStructure, WantHeader, WantIndex, WantHeader | WantEnvelope, WantHeader | WantBody} {
			for b := range 2 {
				var lists [2][]Mail
				for k, st := range []*Store{s, other} {
					p, err := st.Snapshot(t.Context(), boxes[k][b])
					if err != nil {
						t.Fatal(err)
					}
					lists[k] = rowsOf(t, st, p, indexes(p.Len()), want)
				}
				for i := range lists[1] {
					if x, y := lists[0][i], lists[1][i]; fmt.Sprint(x) != fmt.Sprint(y) {
						t.Fatalf("%s, %b, %d: %v, want %v", what, want, i, x, y)
					}
				}
			}
		}
	}
	compare("first", upTo)
	if len(s.mails.at) == 0 || len(other.mails.at) != 0 {
		t.Fatal("the one keeps nothing, or the other does")
	}
	compare("again", upTo)
	compare("same ends", func(n int) []int { // as many, with the same first and last, and another between
		l := upTo(min(n, 128))
		return append(slices.Delete(l, 60, 61), 128)[:min(n, 128)-1]
	})
	for k, st := range []*Store{s, other} {
		if _, err := st.Expunge(t.Context(), accounts[k], boxes[k][0], []uint32{3, 50, 51}, true); err != nil {
			t.Fatal(err)
		}
	}
	compare("after an expunge", upTo)
}

// TestMailCacheIsBounded: it counts what it holds, and gives up what was longest unused.
func TestMailCacheIsBounded(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{MailCache: 20_000})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	for i := range 300 {
		u := newMessage(t, s, 0, fmt.Sprintf("Subject: number %d\r\n\r\n", i))
		if _, err := s.Deliver(t.Context(), u, []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Snapshot(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+20 <= 300; i += 10 {
		rowsOf(t, s, p, upTo(300)[i:i+20], WantHeader)
		sum := 0
		for e := s.mails.order.Front(); e != nil; e = e.Next() {
			sum += e.Value.(*mailBatchKept).bytes()
		}
		if sum != s.mails.bytes || sum > 20_000 || sum == 0 || len(s.mails.at) != s.mails.order.Len() {
			t.Fatal(sum, s.mails.bytes, len(s.mails.at), s.mails.order.Len())
		}
		if i == 150 { // what is long unused gives way also to its own mailbox's
			for e := s.mails.order.Front(); e != nil; e = e.Next() {
				e.Value.(*mailBatchKept).used = time.Time{}
			}
		}
	}
	kept := map[int64]bool{}
	for k := range s.mails.at {
		kept[k.first] = true
	}
	if kept[p.at(0).blob] || kept[p.at(150).blob] || !kept[p.at(160).blob] || !kept[p.at(280).blob] {
		t.Error("not what came when the old could go")
	}
	// Another mailbox's does.
	sent := mailboxNamed(t, s, a.ID, "Sent").ID
	for i := range 30 {
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, fmt.Sprintf("Subject: number %d\r\n\r\n", i)), []Target{{Account: a.ID, Mailbox: sent}}); err != nil {
			t.Fatal(err)
		}
	}
	if p, err = s.Snapshot(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	rowsOf(t, s, p, upTo(30), WantHeader)
	if front := s.mails.order.Front().Value.(*mailBatchKept); front.key.mailbox != sent {
		t.Error("a mailbox holds all of the cache")
	}
}

// TestMailFiltered: headers come as the filter leaves them, from the database and from the cache, whoever asked for other fields before.
func TestMailFiltered(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	for i := range 200 {
		head := fmt.Sprintf("Subject: number %d\r\nX-Long: %0*d\r\nDate: today\r\n\r\nbody\r\n", i, i%50, 0)
		if i == 77 { // too long to lie ready
			head = "X-Long: " + strings.Repeat("x", 130<<10) + "\r\n" + head
		}
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, head), []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Snapshot(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	whole := rowsOf(t, s, p, upTo(200), WantHeader)
	long := mime.NewFilter([]string{strings.Repeat("n", filterKeyMax+1), "date"}, false)
	filters := []*mime.Filter{mime.NewFilter([]string{"SUBJECT", "date"}, false), mime.NewFilter([]string{"Date", "subject"}, true), mime.NewFilter([]string{"x-long"}, false), long}
	for range 2 {
		for k, f := range filters {
			for i, m := range s.MailFiltered(t.Context(), p, upTo(200), WantHeader|WantEnvelope, f) {
				if m.Err != nil || !m.Filtered || m.Envelope == nil {
					t.Fatal(m)
				}
				var want []byte
				if whole[i].Header != nil {
					want = f.Append(nil, whole[i].Header)
				}
				if string(m.Header) != string(want) || (m.Header == nil) != (i == 77) {
					t.Fatalf("filter %d, message %d: %q, want %q", k, i, m.Header, want)
				}
			}
		}
	}
	for k := range s.mails.at {
		if len(k.filter) > filterKeyMax {
			t.Error("kept under a key of", len(k.filter))
		}
	}
	if filters[0].Key() == filters[1].Key() || filters[0].Key() != mime.NewFilter([]string{"Date", "Subject", "DATE"}, false).Key() {
		t.Error(filters[0].Key(), filters[1].Key())
	}
	for _, m := range s.MailFiltered(t.Context(), p, upTo(20), WantHeader|WantBody, filters[0]) {
		if m.Filtered || !bytes.Contains(m.Header, []byte("X-Long")) {
			t.Fatal(m)
		}
	}
}
