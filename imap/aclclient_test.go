package imap_test

import (
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
)

// Sharing as go-imap's client does it: what it writes is understood, and what it is answered it understands (RFC 4314, RFC 2342).
func TestImapclientACL(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	_, config := sessiontest.TLS(t)
	login := func(name string) *imapclient.Client {
		c, err := imapclient.DialTLS(h.tls, &imapclient.Options{TLSConfig: config})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.Login(name+"@example.test", "secret").Wait(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	ann, joe := login("ann"), login("joe")
	if err := ann.SetACL("Sent", "joe@example.test", goimap.RightModificationReplace, goimap.RightSet("lrs")).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := ann.SetACL("Sent", "joe@example.test", goimap.RightModificationAdd, goimap.RightSet("i")).Wait(); err != nil {
		t.Fatal(err)
	}
	list, err := ann.GetACL("Sent").Wait()
	if err != nil || string(list.Rights["joe@example.test"]) != "lrsi" || string(list.Rights["ann@example.test"]) != "lrswipkxtecda" {
		t.Errorf("%+v, %v", list, err)
	}
	space, err := joe.Namespace().Wait()
	if err != nil || len(space.Other) != 1 || len(space.Personal) != 1 || space.Shared != nil {
		t.Fatalf("%+v, %v", space, err)
	}
	var found []string
	boxes, err := joe.List("", space.Other[0].Prefix+"*", nil).Collect()
	for _, b := range boxes {
		found = append(found, b.Mailbox)
	}
	if err != nil || len(found) != 2 || found[1] != "Shared/ann@example.test/Sent" {
		t.Fatalf("%v, %v", found, err)
	}
	mine, err := joe.MyRights(found[1]).Wait()
	if err != nil || string(mine.Rights) != "lrsi" || mine.Mailbox != found[1] {
		t.Errorf("%+v, %v", mine, err)
	}
	s, err := joe.Select(found[1], nil).Wait()
	if err != nil || len(s.PermanentFlags) != 1 || s.PermanentFlags[0] != goimap.FlagSeen {
		t.Errorf("%+v, %v", s, err)
	}
}
