package imap_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
)

// go-imap's client, as somebody who reads the RFC with other eyes.
func TestImapclient(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	_, config := sessiontest.TLS(t)
	changed := make(chan uint32, 16)
	c, err := imapclient.DialTLS(h.tls, &imapclient.Options{TLSConfig: config, UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				changed <- *d.NumMessages
			}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(c.Login("ann@example.test", "secret").Wait())
	text := []byte(messages["parts"])
	a := c.Append("INBOX", int64(len(text)), &goimap.AppendOptions{Flags: []goimap.Flag{goimap.FlagFlagged, "$x"}, Time: time.Unix(1e9, 0)})
	_, err = a.Write(text)
	ok(err)
	ok(a.Close())
	appended, err := a.Wait()
	ok(err)
	if appended.UID != 1 {
		t.Errorf("appended as %+v", appended)
	}
	s, err := c.Select("INBOX", nil).Wait()
	ok(err)
	if s.NumMessages != 1 || s.UIDNext != 2 || s.UIDValidity != appended.UIDValidity {
		t.Errorf("%+v", s)
	}
	got, err := c.Fetch(goimap.SeqSetNum(1), &goimap.FetchOptions{
		Envelope: true, Flags: true, InternalDate: true, RFC822Size: true, UID: true,
		BodyStructure: &goimap.FetchItemBodyStructure{Extended: true},
		BodySection:   []*goimap.FetchItemBodySection{{Peek: true}, {Part: []int{1}, Peek: true}},
		BinarySection: []*goimap.FetchItemBinarySection{{Part: []int{2}, Peek: true}},
	}).Collect()
	ok(err)
	m := got[0]
	if m.Envelope.Subject != "parts" || m.UID != 1 || m.RFC822Size != int64(len(text)) || m.InternalDate.Unix() != 1e9 {
		t.Errorf("%+v", m)
	}
	if !slices.Contains(m.Flags, "$x") || !slices.Contains(m.Flags, goimap.FlagFlagged) {
		t.Error(m.Flags)
	}
	if b := m.FindBodySection(&goimap.FetchItemBodySection{}); !bytes.Equal(b, text) {
		t.Errorf("body is %q", b)
	}
	if b := m.FindBinarySection(&goimap.FetchItemBinarySection{Part: []int{2}}); !bytes.Equal(b, []byte{0, 1, 2, 3, 4, 5}) {
		t.Errorf("binary is %q", b)
	}
	parts := 0
	m.BodyStructure.Walk(func([]int, goimap.BodyStructure) bool { parts++; return true })
	if parts < 5 {
		t.Errorf("%d parts", parts)
	}
	found, err := c.UIDSearch(&goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Subject", Value: "PART"}}}, &goimap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	ok(err)
	if found.Count != 1 || !slices.Equal(found.AllUIDs(), []goimap.UID{1}) {
		t.Errorf("%+v", found)
	}
	moved, err := c.Move(goimap.UIDSetNum(1), "Archive").Wait()
	ok(err)
	if moved.UIDValidity == 0 || moved.DestUIDs.String() != "1" {
		t.Errorf("%+v", moved)
	}
	list, err := c.List("", "*", &goimap.ListOptions{ReturnStatus: &goimap.StatusOptions{NumMessages: true, UIDNext: true}, ReturnSpecialUse: true}).Collect()
	ok(err)
	i := slices.IndexFunc(list, func(d *goimap.ListData) bool { return d.Mailbox == "Archive" })
	if i < 0 || *list[i].Status.NumMessages != 1 || !slices.Contains(list[i].Attrs, goimap.MailboxAttrArchive) {
		t.Errorf("%+v", list)
	}
	idle, err := c.Idle()
	ok(err)
	h.many(t, "ann", "INBOX", "1")
	for n := range changed {
		if n == 1 {
			break
		}
	}
	ok(idle.Close())
	ok(idle.Wait())
	ok(c.Logout().Wait())
}

// CONDSTORE as go-imap's client understands it.
func TestImapclientCondstore(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	h.many(t, "ann", "INBOX", "3")
	_, config := sessiontest.TLS(t)
	c, err := imapclient.DialTLS(h.tls, &imapclient.Options{TLSConfig: config})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(c.Login("ann@example.test", "secret").Wait())
	if !c.Caps().Has(goimap.CapCondStore) {
		t.Error("CONDSTORE is not announced")
	}
	s, err := c.Select("INBOX", &goimap.SelectOptions{CondStore: true}).Wait()
	ok(err)
	if s.HighestModSeq == 0 {
		t.Errorf("%+v", s)
	}
	st, err := c.Status("INBOX", &goimap.StatusOptions{HighestModSeq: true}).Wait()
	ok(err)
	if st.HighestModSeq != s.HighestModSeq {
		t.Errorf("STATUS says %d, SELECT %d", st.HighestModSeq, s.HighestModSeq)
	}
	flagged := &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Flags: []goimap.Flag{goimap.FlagFlagged}}
	got, err := c.Store(goimap.SeqSetNum(2), flagged, &goimap.StoreOptions{UnchangedSince: s.HighestModSeq}).Collect()
	ok(err)
	if len(got) != 1 || got[0].ModSeq <= s.HighestModSeq {
		t.Errorf("%+v", got)
	}
	changed, err := c.Fetch(goimap.SeqSet{{Start: 1}}, &goimap.FetchOptions{UID: true, Flags: true, ModSeq: true, ChangedSince: s.HighestModSeq}).Collect()
	ok(err)
	if len(changed) != 1 || changed[0].UID != 2 || changed[0].ModSeq != got[0].ModSeq {
		t.Errorf("%+v", changed)
	}
	found, err := c.UIDSearch(&goimap.SearchCriteria{ModSeq: &goimap.SearchCriteriaModSeq{ModSeq: got[0].ModSeq}}, nil).Wait()
	ok(err)
	if !slices.Equal(found.AllUIDs(), []goimap.UID{2}) || found.ModSeq != got[0].ModSeq {
		t.Errorf("%+v", found)
	}
	ok(c.Logout().Wait())
}
