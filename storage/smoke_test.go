package storage_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

func mail(t testing.TB, s *storage.Store, account int64, text string) *storage.Upload {
	t.Helper()
	u, err := s.NewMail(context.Background(), account, int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, text); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSmoke(t *testing.T) {
	ctx := context.Background()
	s := storagetest.New(t)
	ann := storagetest.Account(t, s, "ann@example.test")
	boxes, err := s.Mailboxes(ctx, ann.ID)
	if err != nil || len(boxes) != 6 {
		t.Fatal(boxes, err)
	}
	in := boxes[0]
	for i := range 3 {
		u := mail(t, s, ann.ID, fmt.Sprintf("Subject: hello %d\r\n\r\nbody %d\r\n", i, i))
		res, err := s.Deliver(ctx, u, []storage.Target{{Account: ann.ID, Mailbox: in.ID}})
		if err != nil || res[0].Err != nil {
			t.Fatal(res, err)
		}
	}
	p, err := s.Snapshot(ctx, in.ID)
	if err != nil || p.Len() != 3 {
		t.Fatal(p, err)
	}
	for i, m := range s.Mail(ctx, p, []int{0, 1, 2}, 15) {
		if m.Err != nil {
			t.Fatal(m.Err)
		}
		t.Logf("%d %s %s %q", i, m.Envelope, m.Structure, m.Header)
		if _, err := m.Index(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := s.OpenBlob(ctx, p.At(1).Blob)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := io.ReadAll(b)
	t.Logf("%q", all)
	c, err := s.Copy(ctx, ann.ID, in.ID, []uint32{1, 2}, boxes[1].ID)
	t.Log(c, err)
	c, err = s.Move(ctx, ann.ID, in.ID, []uint32{1, 3}, boxes[1].ID)
	t.Log(c, err)
	ms, f, err := s.SetFlags(ctx, ann.ID, boxes[1].ID, []uint32{1, 2, 3, 4}, storage.FlagChange{Op: storage.FlagsAdd, Flags: storage.Deleted, Keywords: []string{"x"}})
	t.Log(ms, f, err)
	g, err := s.Expunge(ctx, ann.ID, boxes[1].ID, nil, false)
	t.Log(g, err)
	e, k, err := s.Expunged(ctx, boxes[1].ID, 0)
	t.Log(e, k, err)
	t.Log(s.Mailboxes(ctx, ann.ID))
	t.Log(s.Usage(ctx, ann.ID))
	u, err := s.NewUpload(ctx, ann.ID, 10)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(u, "0123456789")
	n, err := s.PutFile(ctx, ann.ID, ann.Home, "a.txt", u, time.Time{})
	t.Log(n, err)
	t.Log(s.Children(ctx, ann.ID, ann.Home, "", 10))
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMailbox(ctx, ann.ID, "Drafts", false); err != nil {
		t.Fatal(err)
	}
	if err := s.RenameMailbox(ctx, ann.ID, "INBOX", "old/in"); err != nil {
		t.Fatal(err)
	}
	t.Log(s.Mailboxes(ctx, ann.ID))
	if err := s.RemoveAccount(ctx, ann.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
}
